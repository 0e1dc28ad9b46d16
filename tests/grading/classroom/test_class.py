"""`python -m grading class`, on classes as platforms export them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest

from grading.classroom.store import Graded

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}

ERROR = """# Exercise: mean-squared-error
import numpy as np
def mean_squared_error(x, y, slope, intercept):
    error = slope * x + intercept - y
    loss = {loss}
    return loss"""
FIT = """# Exercise: fit-line
def fit_line(x, y, learning_rate, n_steps):
    {first}
    slope, intercept = 0.0, 0.0
    for _ in range(n_steps):
        error = slope * x + intercept - y
        slope_gradient = {slope}
        slope -= learning_rate * slope_gradient
        intercept -= learning_rate * 2 * np.mean(error)
    return slope, intercept"""
RIGHT = {"loss": "np.mean(error ** 2)", "slope": "2 * np.mean(error * x)", "first": "pass"}
# What the students of every class hand in, and what that is worth.
STUDENTS = {
    "ada": (RIGHT, 10),
    "ben": (RIGHT | {"slope": "2 * np.mean(error)"}, 6),
    "cy": (RIGHT | {"loss": "np.sum(error ** 2)"}, 6),
    "dee": (RIGHT | {"loss": "<YOUR CODE: one number>"}, 6),
    "eve": (RIGHT | {"first": "import os; os._exit(3)"}, 4),
    "fay": (RIGHT | {"first": "import os; [os.kill(p, 9) for p in (os.getppid(), 1)]"}, 4),
    "gus": (RIGHT | {"loss": "(error @ error) / len(x)"}, 10),
    "hal": (RIGHT | {"slope": "0 * x[0]"}, 6),
    "ida": (RIGHT | {"loss": "undefined"}, 6),
    "jo": ("not a notebook", None),
    "kim": (RIGHT, 10),
    "lee": (RIGHT | {"slope": "<YOUR CODE>"}, 4),
}


def write_notebook(path: Path, answers: dict[str, str] | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(answers, str):
        path.write_text(answers)
        return
    cells = [nbformat.v4.new_code_cell(text.format(**answers)) for text in (ERROR, FIT)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def write_class(folder: Path, name_of: Callable[[int, str], str]) -> Path:
    """Writes everybody's notebook under the name that a platform gives it."""
    for number, (student, (answers, _)) in enumerate(STUDENTS.items(), 1):
        write_notebook(folder / name_of(number, student), answers)
    return folder


def course(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "course.toml"
    path.write_text('assignment = "line_fit"\ntitle = "Lines"\n[limits]\ncall-seconds = 20\n')
    return path


def command(project: Path, submissions: Path, out: Path, *options: str | Path) -> list[str]:
    words = [sys.executable, "-m", "grading", "class", submissions, "-o", out]
    return [
        *map(str, words),
        "--course",
        str(course(out.parent)),
        *map(str, options),
    ]


def grade(project: Path, submissions: Path, out: Path, *options: str | Path) -> str:
    """Grades a class; returns what was printed."""
    finished = subprocess.run(
        command(project, submissions, out, *options),
        cwd=project,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def gradebook(out: Path) -> dict[str, dict[str, str]]:
    with (out / "gradebook.csv").open(newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def points(out: Path, student_of: Callable[[str], str] = str) -> dict[str, float | None]:
    """Returns everybody's points; None for somebody who is ungradable."""
    return {
        student_of(key): float(row["total"]) if row["status"] == "graded" else None
        for key, row in gradebook(out).items()
    }


EXPECTED = {student: worth for student, (_, worth) in STUDENTS.items()}


def test_the_right_student_has_the_right_points_on_one_worker_and_on_two(project, tmp_path):
    folder = write_class(tmp_path / "in", lambda n, student: f"{student}.ipynb")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    printed = grade(project, folder, tmp_path / "out", "--workers", "1")
    assert points(tmp_path / "out") == EXPECTED
    assert "11 graded, 1 ungradable; median 6 points" in printed
    grade(project, folder, tmp_path / "two" / "out", "--workers", "2")
    ours, theirs = ((tmp_path / name / "gradebook.csv") for name in ("out", "two/out"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


LAYOUTS = {
    "one folder a student": lambda n, s: f"{s}/homework.ipynb",
    "Moodle": lambda n, s: f"{s.title()} Doe_{n}_assignsubmission_file_/homework.ipynb",
    "Canvas": lambda n, s: f"doe{s}_{'LATE_' * (n % 2)}{n}_{n + 400}_homework-1.ipynb",
    "Gradescope": lambda n, s: f"submission_{n}/homework.ipynb",
    "GitHub Classroom": lambda n, s: f"lines-{s}/notebooks/line_fit.ipynb",
    "nbgrader": lambda n, s: f"submitted/{s}/lines/line_fit.ipynb",
}
KEYS = {
    "Moodle": lambda key: key.partition(" ")[0].lower(),
    "Canvas": lambda key: key.partition("_")[0].removeprefix("doe"),
    "Gradescope": lambda key: key.partition("@")[0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_classes_come_as_platforms_export_them(project, tmp_path, layout):
    folder = write_class(tmp_path / "in", LAYOUTS[layout])
    if layout == "Gradescope":
        entries = [
            f"submission_{n}:\n  :submitters:\n  - :name: {s}\n    :email: {s}@uni.edu\n"
            for n, s in enumerate(STUDENTS, 1)
        ]
        (folder / "submission_metadata.yml").write_text("".join(entries))
    if layout == "GitHub Classroom":
        for clone in folder.iterdir():
            (clone / ".git").mkdir()
    packed = shutil.make_archive(str(tmp_path / "export"), "zip", folder)
    printed = grade(project, Path(packed), tmp_path / "out", "--workers", "2")
    assert f"{layout}: 12 submissions" in printed
    assert points(tmp_path / "out", KEYS.get(layout, str)) == EXPECTED
    if layout == "Moodle":
        with zipfile.ZipFile(tmp_path / "out" / "feedback.zip") as archive:
            names = archive.namelist()
        assert "Ada Doe_1_assignsubmission_file_/feedback.html" in names


@pytest.fixture(scope="module")
def graded(project, tmp_path_factory) -> tuple[Path, Path]:
    """Three students' notebooks, graded."""
    folder = tmp_path_factory.mktemp("graded")
    for student in ("ada", "ben", "cy"):
        write_notebook(folder / "in" / f"{student}.ipynb", STUDENTS[student][0])
    grade(project, folder / "in", folder / "out", "--workers", "1")
    return folder / "in", folder / "out"


@pytest.fixture
def copied(graded, tmp_path) -> tuple[Path, Path]:
    """The same, to be changed."""
    for path in graded:
        shutil.copytree(path, tmp_path / path.name)
    return tmp_path / "in", tmp_path / "out"


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_grading_again_changes_nothing_and_starts_nothing(project, copied):
    folder, out = copied
    before = contents(out)
    printed = grade(project, folder, out)
    assert "No points change." in printed
    assert "dashboard" not in printed
    assert contents(out) == before


def test_what_a_teacher_changes_needs_no_grading(project, copied, tmp_path):
    folder, out = copied
    adjustments = tmp_path / "adjustments.csv"
    adjustments.write_text("student,part,points,comment\nben,fit-line: slope,2,only a slip\n")
    dry = grade(project, folder, out, "--adjustments", adjustments, "--dry-run")
    assert "ben: 6.0 points → 8.0 points" in dry
    assert points(out)["ben"] == 6
    printed = grade(project, folder, out, "--adjustments", adjustments)
    assert "ben: 6.0 points → 8.0 points" in printed
    assert "dashboard" not in printed
    assert points(out)["ben"] == 8
    assert "only a slip" in gradebook(out)["ben"]["comment"]
    for page in ("feedback/ben.html", "index.html"):
        assert "only a slip" in (out / page).read_text()


def kept(out: Path) -> dict[str, bytes]:
    """Returns all that was measured."""
    results = [Graded.from_bytes(path.read_bytes()) for path in out.glob("results/*.result")]
    return {key: data for graded in results for key, data in graded.kept.items()}


def test_a_changed_hint_is_told_without_measuring_again(project, copied):
    folder, out = copied
    # This answer gives other numbers whenever it runs.
    unsteady = RIGHT | {"loss": "int.from_bytes(__import__('os').urandom(6))"}
    write_notebook(folder / "zed.ipynb", unsteady)
    grade(project, folder, out, "--workers", "1")
    before = kept(out)
    module = project / "assignments" / "line_fit.py"
    source = module.read_text()
    try:
        module.write_text(source.replace("so its derivative contains x", "and so is its error"))
        printed = grade(project, folder, out, "--workers", "1")
    finally:
        module.write_text(source)
    assert "No points change." in printed
    assert "and so is its error" in (out / "feedback" / "ben.html").read_text()
    assert kept(out) == before
    measuring = project / "grading" / "inside" / "functions.py"
    honest = measuring.read_text()
    try:
        measuring.write_text(honest + "\n")
        grade(project, folder, out, "--workers", "1")
    finally:
        measuring.write_text(honest)
    assert not kept(out).keys() & before.keys()


def test_a_changed_judgement_measures_nothing_and_says_whose_points_change(project, copied):
    folder, out = copied
    module = project / "assignments" / "line_fit.py"
    source = module.read_text()
    assert source.count('"its value", 4') == 1
    try:
        module.write_text(source.replace('"its value", 4', '"its value", 3'))
        printed = grade(project, folder, out, "--workers", "1")
    finally:
        module.write_text(source)
    assert "ada: 10.0 points → 9.0 points" in printed
    assert "cy:" not in printed.partition("Changes:")[2].partition("\n\n")[0]
    assert points(out) == {"ada": 9, "ben": 5, "cy": 6}


def test_everybody_is_asked_about_what_they_handed_in(project, copied):
    folder, out = copied
    grade(project, folder, out, "--questions", "1")
    asked = {path.stem: path.read_text() for path in (out / "questions").iterdir()}
    assert {*asked} == {"ada", "ben", "cy"}
    assert "np.mean(error ** 2)" in asked["ben"]  # what Ben got right
    assert "A mean does not grow" not in "".join(asked.values())
    assert "A mean does not grow with the number of points." in (out / "answers.html").read_text()


def test_the_roster_says_who_is_missing(project, copied, tmp_path):
    folder, out = copied
    roster = tmp_path / "roster.csv"
    roster.write_text("username,name,section\nada,Ada L.,A\nben,Ben B.,B\nzoe,Zoe Z.,B\n")
    grade(project, folder, out, "--roster", roster)
    lines = gradebook(out)
    assert {key: row["status"] for key, row in lines.items()} == {
        "ada": "graded",
        "ben": "graded",
        "zoe": "missing",
        "cy": "graded",
    }
    assert lines["ada"]["name"] == "Ada L."
    assert "cy is not in the roster" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scheduler", "tcp://127.0.0.1:1"], "there are no Dask workers at tcp://127.0.0.1:1"),
        (["--course", "/nowhere/course.toml"], "course.toml cannot be read"),
        (["--template", "nobody's"], "there is no template"),
    ],
)
def test_what_cannot_start_says_why_and_writes_nothing(project, graded, tmp_path, options, words):
    out = tmp_path / "out"
    finished = subprocess.run(
        [*command(project, graded[0], out), *options],
        cwd=project,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 2
    assert words in finished.stderr
    assert not (out / "gradebook.csv").exists()


def wait_for(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


SLOW = RIGHT | {"first": "import time; time.sleep(1)"}


@pytest.fixture(scope="module")
def slow_class(tmp_path_factory) -> Path:
    """Six notebooks whose grading takes a while."""
    folder = tmp_path_factory.mktemp("slow")
    for number in range(6):
        loss = f"np.mean(error ** 2) + {number}" if number % 2 else "np.mean(error ** 2)"
        write_notebook(folder / f"student{number}.ipynb", SLOW | {"loss": loss})
    return folder


@pytest.fixture(scope="module")
def uninterrupted(project, slow_class, tmp_path_factory) -> bytes:
    """The gradebook of these notebooks, from a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    grade(project, slow_class, out, "--workers", "1")
    assert points(out) == {f"student{n}": 6.0 if n % 2 else 10.0 for n in range(6)}
    return (out / "gradebook.csv").read_bytes()


def start(project: Path, folder: Path, out: Path, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(project, folder, out, *options),
        cwd=project,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may have them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def n_results(out: Path) -> int:
    return len(list(out.glob("results/*.result")))


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_stopped(
    project, slow_class, uninterrupted, tmp_path, number
):
    out = tmp_path / "out"
    run = start(project, slow_class, out, "--workers", "1")
    wait_for(lambda: n_results(out) >= 2)
    children = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(number)
    printed, _ = run.communicate(timeout=60)
    assert psutil.wait_procs(children, timeout=20)[1] == []
    n_before = n_results(out)
    assert 2 <= n_before < 6
    if number != signal.SIGKILL:
        assert run.returncode == 130
        assert "The same command goes on from here." in printed
        statuses = [row["status"] for row in gradebook(out).values()]
        assert len(statuses) == 6
        assert statuses.count("graded") == n_before
    grade(project, slow_class, out, "--workers", "1")
    assert (out / "gradebook.csv").read_bytes() == uninterrupted


@pytest.mark.alone
def test_a_worker_that_dies_costs_a_retry(project, slow_class, uninterrupted, tmp_path):
    out = tmp_path / "out"
    run = start(project, slow_class, out, "--workers", "2")
    wait_for(lambda: n_results(out) >= 1)
    workers = [
        process
        for process in psutil.Process(run.pid).children()
        if "spawn_main" in " ".join(process.cmdline())
    ]
    workers[0].kill()
    printed, _ = run.communicate(timeout=180)
    assert run.returncode == 0, printed
    assert (out / "gradebook.csv").read_bytes() == uninterrupted


@pytest.mark.alone
def test_a_scheduler_that_dies_leaves_what_was_graded(project, slow_class, uninterrupted, tmp_path):
    out, file = tmp_path / "out", tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    scheduler = [*dask, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    worker = [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
    worker += ["--death-timeout", "5", "--local-directory", str(tmp_path)]
    options = {"cwd": project, "env": ENVIRONMENT, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(scheduler, **options) as schedules:
        wait_for(file.exists)
        with subprocess.Popen(worker, **options) as works:
            address = json.loads(file.read_text())["address"]
            run = start(project, slow_class, out, "--scheduler", address)
            wait_for(lambda: n_results(out) >= 2)
            schedules.kill()
            printed, _ = run.communicate(timeout=120)
            works.terminate()
    assert run.returncode == 130, printed
    assert "the Dask scheduler is gone" in printed
    grade(project, slow_class, out, "--workers", "1")
    assert (out / "gradebook.csv").read_bytes() == uninterrupted
