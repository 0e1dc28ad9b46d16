"""Notebooks as other people write them cost what a careful reader takes, and get it explained."""

import pytest

from grading.grade import Grader
from grading.results import Report
from tests.corpus import ENTRIES, Entry
from tests.frameworks import TRACKS


def marks_of(entry: Entry) -> list[pytest.MarkDecorator]:
    """One in fifteen is graded with all other tests, the others by `make test-long`."""
    framework = getattr(pytest.mark, entry.framework)
    return [framework] if entry.number % 15 == 0 else [framework, pytest.mark.long]


MARKED = [pytest.param(entry, marks=marks_of(entry), id=entry.name) for entry in ENTRIES]


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        print("grading seed:", grader.seed)
        yield grader


def lost_parts(report: Report) -> set[str]:
    """Returns the names of the parts that cost points."""
    return {
        check.name
        for exercise in report.exercises[:3]  # nobody's agent is here to play
        for check in exercise.checks
        if not exercise.reason and not check.passed
    }


def words_of(report: Report) -> str:
    """Returns all that a report says about mistakes."""
    exercises = report.exercises[:3]
    checks = [check for exercise in exercises for check in exercise.checks]
    said = [exercise.reason for exercise in exercises]
    said += [words for check in checks for words in (check.message, check.hint)]
    return " ".join(" ".join(said).split())


@pytest.mark.parametrize("entry", MARKED)
def test_a_notebook_loses_what_a_careful_reader_takes(grader, tmp_path, entry: Entry):
    report = grader.grade(entry.write(tmp_path / "notebook.ipynb"))
    assert report.assignment == TRACKS[entry.framework].name
    assert {e.name for e in report.exercises[:3] if e.reason} == entry.ungradable
    assert lost_parts(report) == entry.loses
    said = words_of(report)
    assert [words for words in entry.named if words not in said] == [], said
