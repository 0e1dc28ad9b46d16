"""What fingerprints depend on: whatever could change a measurement or a verdict, no more."""

import dataclasses

import pytest

from grading import versions
from grading.versions import digest_of, grading_version, measuring_version
from tests.grading.test_hostile import make_toy


def test_texts_are_told_apart_wherever_they_are_cut():
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("a") == digest_of(b"a")
    assert digest_of("\ud800") != digest_of("?")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A toy whose modules, and whose grader, lie in a folder of its own."""
    for name in ("inside", "judging"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("x = 1")
    monkeypatch.setattr(versions, "JUDGES", [tmp_path / "judging"])
    return make_toy(tmp_path, inside=(tmp_path / "inside",)), tmp_path


def versions_of(assignment) -> tuple[str, str]:
    fresh = dataclasses.replace(assignment)  # nothing is remembered of it
    return measuring_version(fresh), grading_version(fresh)


def test_what_measures_changes_both(toy):
    assignment, folder = toy
    measuring, grading = versions_of(assignment)
    assert versions_of(assignment) == (measuring, grading)
    (folder / "inside" / "__pycache__").mkdir()
    (folder / "inside" / "__pycache__" / "module.pyc").write_text("")
    assert versions_of(assignment) == (measuring, grading)
    (folder / "inside" / "module.py").write_text("x = 2")
    assert all(map(str.__ne__, versions_of(assignment), (measuring, grading)))


def test_what_judges_changes_the_verdict_alone(toy):
    assignment, folder = toy
    measuring, grading = versions_of(assignment)
    (folder / "judging" / "module.py").write_text("x = 2")
    assert versions_of(assignment)[0] == measuring
    assert versions_of(assignment)[1] != grading


@pytest.mark.parametrize("change", [{"environment": {"A": "1"}}, {"prepare": "module:other"}])
def test_settings_count(toy, change):
    assignment, _ = toy
    changed = dataclasses.replace(assignment, **change)
    assert measuring_version(changed) != measuring_version(assignment)


def test_versions_of_libraries_count(toy, monkeypatch):
    assignment, _ = toy
    before = versions_of(assignment)
    monkeypatch.setattr(versions, "_version", lambda name: "99")
    assert versions_of(assignment)[0] != before[0]
    monkeypatch.undo()
    assert versions._version("cv2")  # a module whose package has another name
