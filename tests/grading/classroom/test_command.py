"""What `python -m grading class` does when grading goes wrong; no submission is run here."""

import contextlib
import csv
import errno
from datetime import UTC, datetime

import pytest

from grading.__main__ import main
from grading.classroom import cluster
from grading.classroom.store import Graded, Store
from grading.classroom.task import Outcome
from grading.results import Check, ExerciseResult, Report

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def outcome_of(task) -> Outcome:
    """Returns what a notebook says of itself."""
    if task.notebook == b"deadly":
        return Outcome(key=task.key, failure="the process died each time", is_deadly=True)
    if task.notebook == b"unlucky":
        return Outcome(key=task.key, failure="MachineError: no memory")
    exercise = ExerciseResult("loss", (Check("step", "one step", 7, 10),))
    report = Report("toy", task.name, 1, "", (exercise,))
    graded = Graded(report=report, answers={}, graded_at=NOW, kept={"key": b"\x00"})
    return Outcome(key=task.key, result=graded.to_bytes())


@pytest.fixture
def grade(tmp_path, monkeypatch):
    """Grades a class of notebooks with these contents, without Dask; returns the exit code."""

    class Client:
        dashboard_link = "nowhere"

    connected = contextlib.nullcontext(Client())
    monkeypatch.setattr(cluster, "connected", lambda scheduler, n_workers: connected)
    monkeypatch.setattr(
        cluster, "grade_all", lambda client, settings, tasks: map(outcome_of, tasks)
    )

    def grade(**contents: str) -> int:
        for student, content in contents.items():
            (tmp_path / "in" / student).mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / student / "hw.ipynb").write_text(content)
        return main(["class", str(tmp_path / "in"), "-o", str(tmp_path / "out")])

    return grade


def lines(tmp_path) -> dict[str, dict[str, str]]:
    with (tmp_path / "out" / "gradebook.csv").open(newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_a_full_disk_loses_nothing_that_was_written(tmp_path, grade, monkeypatch, capsys):
    written, put = [], Store.put

    def fill_up(self, *arguments):
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, *arguments)
        written.append(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", fill_up)
        assert grade(ada="a", ben="b", cy="c") == 2
    error = capsys.readouterr().err
    assert "a result cannot be written: No space left on device. All earlier ones are kept" in error
    assert len(list((tmp_path / "out" / "results").iterdir())) == 2
    graded_again = []
    monkeypatch.setattr(
        cluster,
        "grade_all",
        lambda client, settings, tasks: (graded_again.append(t) or outcome_of(t) for t in tasks),
    )
    assert grade() == 0
    assert [task.notebook for task in graded_again] == [b"c"]
    assert {row["total"] for row in lines(tmp_path).values()} == {"7.0"}


def test_a_submission_that_kills_its_worker_is_ungradable(tmp_path, grade):
    assert grade(ada="a", eve="deadly") == 0
    assert lines(tmp_path)["eve"]["status"] == "ungradable"
    assert lines(tmp_path)["eve"]["comment"] == "the process died each time"
    assert "the process died each time" in (tmp_path / "out/feedback/eve.html").read_text()
    assert grade() == 0  # and is not tried again


def test_a_failure_of_the_grader_is_no_verdict(tmp_path, grade, capsys):
    assert grade(ada="a", ben="unlucky") == 20
    assert "ben/hw.ipynb: the grader failed: MachineError: no memory" in capsys.readouterr().err
    assert lines(tmp_path)["ben"]["status"] == "not graded yet"
    assert not (tmp_path / "out/feedback/ben.html").exists()
    assert grade(ben="b") == 0
    assert lines(tmp_path)["ben"]["status"] == "graded"


def test_a_damaged_result_is_made_again(tmp_path, grade):
    assert grade(ada="a") == 0
    (result,) = (tmp_path / "out" / "results").iterdir()
    result.write_bytes(b"damaged")
    assert grade() == 0
    assert lines(tmp_path)["ada"]["total"] == "7.0"


def test_a_damaged_seed_is_named(tmp_path, grade, capsys):
    assert grade(ada="a") == 0
    (tmp_path / "out" / "class.json").write_text("{")
    assert grade() == 2
    assert "class.json is damaged: name the seed with --seed" in capsys.readouterr().err


def test_two_students_with_the_same_file_are_graded_once(tmp_path, grade):
    assert grade(ada="a", ben="a") == 0
    assert len(list((tmp_path / "out" / "results").iterdir())) == 1
    assert {row["total"] for row in lines(tmp_path).values()} == {"7.0"}


def test_without_a_sandbox_no_class_is_graded(tmp_path, grade, monkeypatch, capsys):
    monkeypatch.setattr("grading.command.why_unavailable", lambda: "no namespaces")
    assert grade(ada="a") == 2
    assert "there is no sandbox for student code: no namespaces" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
