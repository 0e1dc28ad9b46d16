"""The benchmark of grading a class: its notebooks, what it counts, and its report."""

import ast
import json
import re
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest

import grading.__main__
import grading.command
from benchmarks import class_cost
from benchmarks.class_cost import (
    GRADE,
    KINDS,
    QUESTIONS,
    Cost,
    Submission,
    grade_alone,
    grade_class,
    make_class,
    measure,
    meter,
    peers_notebook,
    points_alone,
    points_of_class,
)
from grading.grade import Grader
from tests.notebooks import STUDENT, solution_path, write_notebook

MB = 1_000_000
TRACK = class_cost.TRACKS["pytorch"]


# ------------------------------------------------------------------------------------ its notebooks


@pytest.fixture(scope="module")
def submissions(tmp_path_factory) -> list[Submission]:
    folder = tmp_path_factory.mktemp("class")
    weights = folder / "random.npz"
    weights.write_bytes(b"weights")
    return make_class(folder / "in", TRACK, 40, weights)


def answers_in(submission: Submission) -> dict[str, str]:
    cells = nbformat.read(submission.path, 4).cells
    return {c.id: c.source for c in cells if "exercise" in c.metadata.get("tags", [])}


def test_a_class_has_so_many_of_each_kind_and_no_notebook_twice(submissions):
    assert Counter(s.kind for s in submissions) == dict(zip(KINDS, (14, 14, 8, 4), strict=True))
    assert len({s.path.read_bytes() for s in submissions}) == 40
    for kind, least in {"right": 13, "flawed": 14, "unfinished": 4, "hostile": 4}.items():
        assert len({s.what for s in submissions if s.kind == kind}) >= least
    assert {s.kind for s in submissions[:4]} == set(KINDS)  # small classes have them all
    playing = [s.kind for s in submissions if s.path.with_suffix(".npz").exists()]
    assert playing == ["right", "right"]


def test_a_class_is_the_same_each_time(submissions, tmp_path):
    again = make_class(tmp_path, TRACK, 40, None)
    for one, other in zip(submissions, again, strict=True):
        assert (one.kind, one.what) == (other.kind, other.what)
        assert one.path.read_bytes() == other.path.read_bytes()


def test_notebooks_are_what_their_kind_says(submissions):
    solution = {c.id: c.source for c in nbformat.read(solution_path("pytorch"), 4).cells}
    ideas = {f"{v.exercise}: {v.name}": v.idea for v in TRACK.variants}
    for submission in submissions:
        if submission.kind in ("right", "flawed"):
            assert (ideas[submission.what] is None) == (submission.kind == "right")
        answers = answers_in(submission)
        assert len(answers) == 3
        n_gaps = sum(source.count("<YOUR CODE") for source in answers.values())
        assert (n_gaps > 0) == (submission.kind == "unfinished"), submission
        if not n_gaps:
            for source in answers.values():
                ast.parse(source)
        changed = [name for name, source in answers.items() if source != solution[name]]
        is_solution = submission.what.endswith(": the solution")
        assert len(changed) == (not is_solution), submission


# ---------------------------------------------------------------------------------- what it counts

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
# A process that is killed and that nobody waits for, as a sandbox is.
KILLS = f"""
import subprocess, sys, time, psutil
child = subprocess.Popen([sys.executable, "-c", {BURN.format(seconds=1.5) + "time.sleep(60)"!r}])
while sum(psutil.Process(child.pid).cpu_times()[:2]) < 1.4:
    time.sleep(0.05)
time.sleep({2 * class_cost.WATCH_SECONDS})
child.kill()
import os; os._exit(0)
"""
HOLDS = f"""
import os, time
held = bytearray(b"1" * {100 * MB})
for _ in range(3):
    if not os.fork():
        break
time.sleep({4 * class_cost.WATCH_SECONDS})
"""


@pytest.mark.parametrize("has_group", [True, False])
def test_processes_that_were_killed_are_counted(has_group, monkeypatch):
    if not has_group:

        def none_here(controller):
            raise FileNotFoundError(controller)

        monkeypatch.setattr(class_cost, "find_hierarchy", none_here)
    cost = meter([sys.executable, "-c", KILLS])
    assert cost.cpu_seconds >= 1.4
    assert cost.sampled_seconds >= 1.3
    assert cost.waited_seconds < 1.2
    assert cost.wall_seconds >= 1.5


def test_memory_of_all_processes_is_added_and_shared_pages_count_once():
    cost = meter([sys.executable, "-c", HOLDS])
    assert 100 * MB < cost.peak_bytes < 200 * MB
    assert 0 < cost.median_bytes <= cost.peak_bytes


def test_a_command_that_fails_says_why():
    with pytest.raises(RuntimeError, match="ended with 3: no luck"):
        meter([sys.executable, "-c", "print('no luck', end=''); raise SystemExit(3)"])


def test_one_by_one_has_the_limits_of_the_class(monkeypatch):
    def main() -> int:
        with grading.command.Grader(None, sandboxed=False) as grader:
            assert grader.limits.call_seconds == 7
        return 5

    monkeypatch.setattr(grading.__main__, "main", main)
    monkeypatch.setattr(grading.command, "Grader", Grader)
    with pytest.raises(SystemExit, match="5"):
        exec(GRADE.format(seconds=7), {})


def test_both_ways_grade_a_notebook(tmp_path):
    path = tmp_path / "class" / "zoe" / "homework.ipynb"
    path.parent.mkdir(parents=True)
    write_notebook(path, ["1 + 1"])  # no answer at all, so nothing is measured
    submission = Submission("zoe", "unfinished", "everything", path)
    alone = grade_alone(submission, tmp_path / "alone", 20)
    together = grade_class(tmp_path / "class", tmp_path / "out", 1, 20)
    assert points_alone(tmp_path / "alone", "zoe") is None
    assert points_of_class(tmp_path / "out") == {"zoe": None}
    for cost in (alone, together):
        assert cost.cpu_seconds > 0.3


# -------------------------------------------------------------------------------------- its report


@pytest.fixture
def pretended(monkeypatch):
    """Grading is pretended: it takes 10 s alone, 4 s in a class, and gives out made-up points."""
    points = {"right": 9, "flawed": 5, "unfinished": 3, "hostile": 4}

    def cost_of(seconds: float, wall_seconds: float) -> Cost:
        held = (500 * MB, 800 * MB, 600 * MB)
        return Cost(seconds, seconds / 2, 0.9 * seconds, wall_seconds, held)

    def alone(submission: Submission, reports: Path, seconds: float) -> Cost:
        got = points[submission.kind]
        exercises = [{"name": "agent", "points": got, "maximum": 9}]
        exercises.append({"name": "play", "points": 0, "maximum": 20})
        report = {"status": "graded", "score": got, "exercises": exercises}
        folder = reports / submission.student
        folder.mkdir(parents=True)
        (folder / "homework.json").write_text(json.dumps(report))
        (folder / "homework.gradescope.json").write_text("{}")
        return cost_of(12 if submission.kind == "hostile" else 8, 20)

    def together(folder: Path, out: Path, n_workers: int, seconds: float) -> Cost:
        out.mkdir()
        lines = ["student,status,total"]
        for path in sorted(folder.iterdir()):
            kind = class_cost.ORDER[int(path.name[-3:])]
            got = next(value for name, value in points.items() if name[0].upper() == kind)
            lines.append(f"{path.name},graded,{got}.0")
        (out / "gradebook.csv").write_text("\n".join(lines) + "\n")
        n = len(lines) - 1
        return cost_of(4 * n, (8 if n_workers == 1 else 5) * n)

    monkeypatch.setattr(class_cost, "grade_alone", alone)
    monkeypatch.setattr(class_cost, "grade_class", together)
    monkeypatch.setattr(class_cost, "in_fresh_process", lambda call, track, path: path.touch())
    return points


def run(monkeypatch, capsys, peers: dict[str, Cost]) -> tuple[list[list[str]], dict, str]:
    """Returns the cells of all tables, the figures' medians, and the report."""
    monkeypatch.setattr(sys, "argv", ["class_cost.py", "--n", "4"])
    monkeypatch.setattr(class_cost, "measure_peers", lambda track, n, scratch: peers)
    class_cost.main()
    report = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in report.splitlines() if line[:1] == "|"]
    figures = re.findall(r"^(\w+): (\S+) \S+ \S+$", report, re.MULTILINE)
    return rows, {name: float(value) for name, value in figures}, report


def test_the_report_compares(pretended, monkeypatch, capsys):
    peers = {"otter": Cost(12, 12, 12, 24, [1]), "nbgrader": Cost(8, 8, 8, 16, [1])}
    rows, figures, report = run(monkeypatch, capsys, peers)
    cells = {row[0]: row[1:] for row in rows}
    assert cells["one by one"][0] == "9"
    assert cells["as a class, 1 worker"][:4] == ["4", "0.444", "7.5", "1"]
    assert cells["as a class, 2 workers"][:4] == ["4", "0.444", "12", "0.8"]
    assert [cells[kind][1] for kind in KINDS] == ["8", "8", "8", "12"]
    assert cells["hostile: ends the process"][1] == "12"
    assert cells["otter-grader"][:2] == ["4", "3"]
    assert cells["nbgrader"][:2] == ["4", "2"]
    assert figures["class_2_ratio"] == pytest.approx(4 / 9, abs=1e-3)
    assert figures["class_2_efficiency"] == 0.8
    assert (figures["alone_peak_mb"], figures["alone_median_mb"]) == (800, 600)
    assert figures["otter_cpu_seconds"] == 3
    assert "1 right, 1 flawed, 1 unfinished, 1 hostile" in report
    assert "90 % were seen" in report


def test_without_the_other_graders_the_report_says_so(pretended, monkeypatch, capsys):
    rows, figures, report = run(monkeypatch, capsys, {})
    assert "could not be installed here" in report
    assert "otter-grader" not in {row[0] for row in rows}
    assert "otter_cpu_seconds" not in figures


def test_other_points_are_no_result(pretended, monkeypatch, tmp_path):
    submissions = make_class(tmp_path / "in", TRACK, 4, None)
    measure(submissions, tmp_path / "first", (1,), 5)
    right = class_cost.points_of_class
    wrong = lambda out: right(out) | {submissions[1].student: 6.0}  # noqa: E731
    monkeypatch.setattr(class_cost, "points_of_class", wrong)
    with pytest.raises(RuntimeError, match="with 1 workers points are"):
        measure(submissions, tmp_path / "second", (1,), 5)


@pytest.mark.parametrize(("kind", "points"), [("right", 8), ("flawed", 9)])
def test_a_class_graded_wrongly_is_no_result(pretended, tmp_path, kind, points):
    submissions = make_class(tmp_path / "in", TRACK, 4, None)
    pretended[kind] = points
    with pytest.raises(RuntimeError, match=f"kind='{kind}'.* got {points} points"):
        measure(submissions, tmp_path / "out", (1,), 5)


# ----------------------------------------------------------------------------------- other graders


@pytest.mark.parametrize("for_nbgrader", [True, False])
def test_other_graders_get_notebooks_as_long_that_run(for_nbgrader):
    track = class_cost.TRACKS["tensorflow"]
    notebook, students = peers_notebook(track, for_nbgrader), nbformat.read(STUDENT, 4)
    nbformat.validate(notebook)
    n_tests = len(QUESTIONS) * for_nbgrader
    assert len(notebook.cells) == len(students.cells) + n_tests
    for ours, theirs in zip(students.cells, notebook.cells, strict=False):
        assert len(theirs.source) >= len(ours.source)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert code.count("import tensorflow") >= 1
    assert code.count("\nassert ") == n_tests
    names: dict = {}
    exec(code.replace("\nimport tensorflow", "").replace("sys.path.append", "str"), names)
    assert {name: names[name]() for name in QUESTIONS} == QUESTIONS


def test_peers_that_cannot_be_installed_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(class_cost, "install_peers", lambda folder: None)
    assert class_cost.measure_peers(TRACK, 2, tmp_path) == {}
