"""The settings of a project, as `pyproject.toml` says them."""

import re

import pytest

from grading import UsageError
from grading.project import load_project
from tests.grading import toy

PYPROJECT = toy.PYPROJECT.replace('"setup.sh"', '"kit"')


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kit" / "deep").mkdir(parents=True)
    (tmp_path / "kit" / "__pycache__").mkdir()
    for name in ("helper.py", "kit/b.py", "kit/deep/a.py", "kit/.hidden", "kit/__pycache__/b.pyc"):
        (tmp_path / name).write_text("")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path


def test_settings_are_read_from_a_folder_below(project):
    loaded = load_project(project / "kit" / "deep")
    assert loaded.root == project
    assert (loaded.repository, loaded.ref) == ("school/toy", "v1.2.3")
    assert loaded.given_away == {"f(a) + g(b)"}


def test_the_student_repository_may_be_named_later(project):
    (project / "pyproject.toml").write_text(PYPROJECT.replace("school/toy", ""))
    assert load_project(project).repository == ""


def test_a_helper_folder_counts_with_all_its_files(project):
    loaded = load_project(project)
    assert loaded.helper_names == ["helper.py", "kit/b.py", "kit/deep/a.py"]
    assert [*loaded.helpers] == [project / name for name in loaded.helper_names]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (PYPROJECT, "[tool", "pyproject.toml cannot be read: "),
        ("[tool.grading]", "[tool.other]", "pyproject.toml lacks 'tool'"),
        ('student-repository = "school/toy"', "", "pyproject.toml lacks 'student-repository'"),
        (
            '"school/toy"',
            '"https://x.org/school/toy"',
            "'https://x.org/school/toy', expected owner",
        ),
        ('"school/toy"', '"toy"', "student-repository is 'toy', expected owner/name"),
        ('"school/toy"', '"a/.."', "student-repository is 'a/..', expected owner/name"),
        ('"school/toy"', "7", "student-repository is 7, expected owner/name"),
        (', reason = "the text derives it"', "", "pyproject.toml lacks 'reason'"),
        ("the text derives it", "", "pyproject.toml gives no reason for an answer"),
        ("g( b )", "g(", "pyproject.toml cannot be read: "),
        ("helper.py", "none.py", "pyproject.toml lists a helper file that is missing: none.py"),
    ],
)
def test_what_is_wrong_is_said(project, old, new, message):
    text = PYPROJECT.replace(old, new).replace("tool.other", "other.tool")
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)):
        load_project(project)


def test_without_settings_there_is_no_project(tmp_path):
    with pytest.raises(UsageError, match=r"there is no pyproject\.toml in"):
        load_project(tmp_path)
