"""A zip counts as the notebook in it, whoever made it; that it is graded, `test_command` sees."""

import json
import os
import zipfile
from pathlib import Path

import nbformat
import pytest

from grading import handed_in
from grading.__main__ import main
from grading.archive import Limits
from grading.files import UnreadableError, find_attachment
from tests.notebooks import ROOT

NOTEBOOK = nbformat.writes(nbformat.v4.new_notebook()).encode()


def pack(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members:
            packed.writestr(name, data)
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize("folder", ["", "homework/", "__MACOSX/../"])
def test_weights_belong_to_the_notebook_that_they_lie_beside(tmp_path, folder):
    packed = pack(
        tmp_path / "Hand In.ZIP",
        ("homework/hw.ipynb", NOTEBOOK),
        (f"{folder}kungfu_weights.npz", b"weights"),
        ("__MACOSX/homework/._hw.ipynb", b"mac"),
    )
    (tmp_path / "kungfu_weights.npz").write_bytes(b"of another")
    notebook = handed_in.find_notebook(packed, tmp_path / "new")
    assert notebook == tmp_path / "new" / "homework" / "hw.ipynb"
    found, _ = find_attachment(notebook, "kungfu_weights.npz")
    assert (found and found.read_bytes()) == (b"weights" if folder == "homework/" else None)


def test_what_is_no_zip_is_left_as_it_is(tmp_path):
    for name in ("hw.ipynb", "hw", "missing.ipynb"):
        assert handed_in.find_notebook(tmp_path / name, tmp_path / "new") == tmp_path / name
    assert not (tmp_path / "new").exists()


HOSTILE = {
    "text.zip": (b"no zip", "text.zip cannot be unpacked: File is not a zip file"),
    "empty.zip": (b"", "empty.zip cannot be unpacked: "),
    "none.zip": ([("a/hw.py", b"x"), ("w.npz", b"x")], "holds no notebook (.ipynb); found a/hw.py"),
    "nothing.zip": ([], "this zip holds no notebook (.ipynb); found nothing"),
    "hidden.zip": ([(".hw.ipynb", NOTEBOOK)], "holds no notebook (.ipynb); found nothing"),
    "nested.zip": ([("hand_in.zip", b"PK")], "holds no notebook (.ipynb); found hand_in.zip"),
    "two.zip": (
        [("b.ipynb", NOTEBOOK), ("a/a.IPYNB", NOTEBOOK)],
        "this zip holds 2 notebooks, expected one: a/a.IPYNB, b.ipynb",
    ),
    "out.zip": (
        [("../hw.ipynb", NOTEBOOK)],
        "found nothing; ../hw.ipynb: left out: its name leads out of the zip",
    ),
    "link.zip": (
        [(link("hw.ipynb"), b"/etc/passwd")],
        "found nothing; hw.ipynb: left out: it is a link or a device",
    ),
    "bomb.zip": (
        [("hw.ipynb", bytes(2_000_000))],
        "found nothing; hw.ipynb: left out: it has more than 1,000,000 bytes",
    ),
    "many.zip": ([(f"{i}", b"") for i in range(101)], "it holds more than 100 files"),
}


def write_hostile(folder: Path) -> None:
    folder.mkdir()
    for name, (content, _) in HOSTILE.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            pack(folder / name, *content)


@pytest.fixture
def few(monkeypatch):
    limits = Limits(members=100, member_bytes=1_000_000, total_bytes=10_000_000)
    monkeypatch.setattr(handed_in, "LIMITS", limits)


def test_zips_of_an_enemy(tmp_path, few):
    write_hostile(tmp_path / "all")
    for name, (_, words) in HOSTILE.items():
        with pytest.raises(UnreadableError) as error:
            handed_in.find_notebook(tmp_path / "all" / name, tmp_path / "new" / name)
        assert words in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"all", "new"}


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "missing"])
def test_nothing_is_opened_but_a_file(tmp_path, kind):
    path = tmp_path / "hand_in.zip"
    if kind == "link":
        path.symlink_to(pack(tmp_path / "good.zip", ("hw.ipynb", NOTEBOOK)))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    words = "No such file" if kind == "missing" else "this zip is a link, or not a regular file"
    with pytest.raises(UnreadableError, match=words):
        handed_in.find_notebook(path, tmp_path / "new")


def test_a_bad_zip_is_ungradable_and_stops_no_other(tmp_path, few, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_hostile(tmp_path / "all")
    (tmp_path / "all" / "folder.zip").mkdir()
    (tmp_path / "all" / "ada").mkdir()
    pack(tmp_path / "all" / "ada" / "hand_in.zip", ("hw.ipynb", NOTEBOOK))
    assert main(["grade", str(tmp_path / "all"), "--reports", str(tmp_path / "out")]) == 10
    for name, (_, words) in HOSTILE.items():
        report = json.loads((tmp_path / "out" / name).with_suffix(".json").read_text())
        assert report["status"] == "ungradable"
        assert report["submission"] == name
        assert words in report["reason"]
    report = json.loads((tmp_path / "out" / "ada" / "hand_in.json").read_text())
    assert "does not define SimpleRecurrentAgent" in report["exercises"][0]["reason"]

    capsys.readouterr()
    assert main(["which", str(tmp_path / "all" / "two.zip")]) == 2
    assert "two.zip: this zip holds 2 notebooks, expected one" in capsys.readouterr().err
