"""Files are written completely and in the right place, or not at all."""

import pytest

from grading import UsageError
from grading.files import find_attachment, write_whole


def test_write_whole(tmp_path):
    path = tmp_path / "report.json"
    write_whole(path, b"old")
    write_whole(path, "Σ\n".encode())
    assert path.read_bytes() == "Σ\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_write_never_follows_a_link(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name, target in (("link", precious), ("broken", tmp_path / "new"), ("folder", tmp_path)):
        path = tmp_path / name
        path.symlink_to(target)
        write_whole(path, b"report")
        assert not path.is_symlink()
        assert path.read_text() == "report"
    assert precious.read_text() == "precious"
    assert not (tmp_path / "new").exists()


def test_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "report.json"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "text")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_says_what_is_missing(tmp_path):
    with pytest.raises(UsageError, match=r"there is no folder .*results"):
        write_whole(tmp_path / "results" / "report.json", b"")


@pytest.mark.parametrize(
    ("beside", "found"),
    [
        (["hw.npz", "kungfu_weights.npz"], "hw.npz"),
        (["kungfu_weights.npz", "other.npz"], "kungfu_weights.npz"),
        (["kungfu_weights (1).npz"], "kungfu_weights (1).npz"),
        (["my agent.npz", "my agent.npz.txt"], "my agent.npz"),
        (["another.ipynb", "hw.npz"], "hw.npz"),
    ],
)
def test_weights_are_found_beside_their_notebook(tmp_path, beside, found):
    for name in ["hw.ipynb", *beside]:
        (tmp_path / name).touch()
    assert find_attachment(tmp_path / "hw.ipynb", "kungfu_weights.npz") == (tmp_path / found, "")


@pytest.mark.parametrize(
    ("beside", "looked_for"),
    [
        ([], "hw.npz, kungfu_weights.npz, or a single .npz file beside the notebook"),
        (
            ["another.ipynb", "kungfu_weights.npz"],
            "hw.npz beside the notebook (other notebooks share",
        ),
        (
            ["a.npz", "b.npz"],
            "hw.npz, kungfu_weights.npz; found a.npz, b.npz: rename the right one",
        ),
    ],
)
def test_weights_without_a_clear_owner_are_not_used(tmp_path, beside, looked_for):
    for name in ["hw.ipynb", *beside]:
        (tmp_path / name).touch()
    weights, words = find_attachment(tmp_path / "hw.ipynb", "kungfu_weights.npz")
    assert weights is None
    assert words.startswith(looked_for)
