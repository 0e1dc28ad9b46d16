"""Measures what a class costs: `python -m grading class` beside grading its notebooks one by one.

    python -m benchmarks.class_cost

The class is synthetic: right answers, flawed ones, unfinished ones and hostile ones, always in the
same order. It is graded by `python -m grading grade`, a process for each notebook, half of them
before the two runs of `python -m grading class`, half after: a busy minute hits nobody alone. All
three have the same seed and the same limits, and must award the same points.

Beside them, otter-grader and nbgrader grade notebooks of the same length with the simplest tests
there are, in an environment of their own that is thrown away.

Costs are CPU seconds, user and system, of all processes: a control group counts them, those that
were killed included. Where this machine lets us make none, the processes are watched instead.
"""

import contextlib
import csv
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import numpy as np
import psutil
from tqdm import tqdm

from assignments.kungfu.tracks import PYTORCH, TENSORFLOW
from benchmarks.measuring import Spread, in_fresh_process, spread
from benchmarks.notebook_code import load_notebook, read_settings
from benchmarks.report import command_line, number, publish, table
from grading.assignment import ROOT, Assignment, Variant
from grading.control_group import JOIN, find_hierarchy
from grading.gaps import cut, find_gaps
from grading.results import EXIT_DEDUCTIONS, EXIT_FULL_MARKS, EXIT_UNGRADABLE

TRACKS = {"pytorch": PYTORCH, "tensorflow": TENSORFLOW}
SEED = 0
EXERCISES = ("agent", "loss", "optimizer")
KINDS = ("right", "flawed", "unfinished", "hostile")
# Of 20 notebooks 7 are right, 7 flawed, 4 unfinished and 2 hostile; then it begins again.
ORDER = "RFUHRFRFUHRFRFURFRFU"
N_PLAYING = 20  # of so many notebooks, the first comes with weights
WATCH_SECONDS = 0.5
END_SECONDS = 10  # how long the last processes of a command may take to end
# What each call of students' code may take, in wall time. By default it is 300, and the endless
# loop alone would cost more than all the others.
CALL_SECONDS = 30
N_PEERS = 8  # notebooks for the other graders
NB = nbformat.v4


# ---------------------------------------------------------------------------------- the submissions


HOSTILE = {
    "ends the process": "import os\n        os._exit(0)",
    "loops without end": "while True:\n            pass",
    "takes all memory": (
        "hoard = []\n        while True:\n            hoard.append(bytearray(b'1' * (1 << 26)))"
    ),
    "prints without end": "while True:\n            print('x' * 10_000)",
}


@dataclass(frozen=True)
class Submission:
    """A notebook that somebody handed in.

    Attributes:
        student: who.
        kind: one of `KINDS`.
        what: what is special about it.
        path: the notebook.
    """

    student: str
    kind: str
    what: str
    path: Path


def make_class(folder: Path, track: Assignment, n: int, weights: Path | None) -> list[Submission]:
    """Writes a class, a folder for each student.

    Args:
        folder: where.
        track: whose notebook they hand in.
        n: how many they are.
        weights: what some of them hand in as well.
    """
    submissions, counts = [], dict.fromkeys(KINDS, 0)
    for index in range(n):
        letter = ORDER[index % len(ORDER)]
        kind = next(kind for kind in KINDS if kind[0].upper() == letter)
        what, answers = _answers(track, kind, counts[kind])
        counts[kind] += 1
        student = f"student-{index:03}"
        path = folder / student / f"{track.name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(fill_in(track, answers, student), path)
        if weights and index % N_PLAYING == 0:
            path.with_suffix(".npz").write_bytes(weights.read_bytes())
        submissions.append(Submission(student, kind, what, path))
    return submissions


def _answers(track: Assignment, kind: str, number: int) -> tuple[str, dict[str, str]]:
    """Returns what is special about some notebook of a kind, and its answers by exercise."""
    answers = {exercise.name: track.solution_of(exercise.name) for exercise in track.exercises}
    if kind == "hostile":
        what = list(HOSTILE)[number % len(HOSTILE)]
        head = "def sample_actions(self, agent_outputs):\n"
        assert answers["agent"].count(head) == 1
        answers["agent"] = answers["agent"].replace(head, f"{head}        {HOSTILE[what]}\n")
        return what, answers
    if kind == "unfinished":
        # One gap is open, or all from one on; in the loss, in the agent, in the loss, …
        exercise = ("loss", "agent")[number % 2]
        gaps = find_gaps(answers[exercise])
        first = number // 2 % len(gaps)
        last = first + 1 if number % 4 < 2 else len(gaps)
        answers[exercise] = cut(answers[exercise], gaps[first:last])
        return f"{exercise}: {last - first} of {len(gaps)} gaps are open", answers
    variants = _variants(track, kind == "right")
    variant = variants[number * len(variants) // 14 % len(variants)]
    answers[variant.exercise] = variant.apply(answers[variant.exercise])
    return f"{variant.exercise}: {variant.name}", answers


def _variants(track: Assignment, is_right: bool) -> list[Variant]:
    return [variant for variant in track.variants if (variant.idea is None) == is_right]


def fill_in(track: Assignment, answers: Mapping[str, str], student: str) -> nbformat.NotebookNode:
    """Returns the student's notebook with answers; no two students have the same."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{track.name}.ipynb", 4)
    names = {cell.cell_id: cell.name for cell in track.template.exercises}
    for cell in notebook.cells:
        if cell.id in names:
            cell.source = answers[names[cell.id]]
    notebook.cells.insert(0, NB.new_markdown_cell(f"Handed in by {student}", id="student"))
    return notebook


def save_random_weights(track: str, path: Path) -> None:
    """Writes the weights of an agent that has learnt nothing, and loses quickly."""
    agent = load_notebook(read_settings(track=track), SEED)["agent"]
    if track == "pytorch":
        arrays = [tensor.numpy() for tensor in agent.state_dict().values()]
    else:
        arrays = [variable.numpy() for variable in agent.trainable_variables]
    np.savez(path, *arrays)


# ---------------------------------------------------------------------------------- what they cost


@dataclass(frozen=True)
class Cost:
    """What a command took, all its processes together.

    Attributes:
        cpu_seconds: user and system.
        waited_seconds: of these, those of processes that somebody waited for.
        sampled_seconds: of these, those that were seen while their process lived.
        wall_seconds: from its start to its end.
        bytes_held: memory, shared pages counted once, at each look.
    """

    cpu_seconds: float
    waited_seconds: float
    sampled_seconds: float
    wall_seconds: float
    bytes_held: Sequence[int]

    @property
    def peak_bytes(self) -> int:
        return max(self.bytes_held, default=0)

    @property
    def median_bytes(self) -> float:
        return statistics.median(self.bytes_held) if self.bytes_held else 0


def add_up(costs: Sequence[Cost]) -> Cost:
    """Returns what commands took one after another."""
    return Cost(
        sum(cost.cpu_seconds for cost in costs),
        sum(cost.waited_seconds for cost in costs),
        sum(cost.sampled_seconds for cost in costs),
        sum(cost.wall_seconds for cost in costs),
        [held for cost in costs for held in cost.bytes_held],
    )


def meter(command: Sequence[str], codes: Sequence[int] = (0,), **options) -> Cost:
    """Runs a command and returns what it took.

    Args:
        command: the command.
        codes: the exit codes that are no failure.
        options: of `subprocess.Popen`.

    Raises:
        RuntimeError: it failed; the end of its output says why.
    """
    with TemporaryDirectory() as folder, _counting_group() as group:
        output = Path(folder) / "output"
        launcher = ["/bin/sh", "-c", JOIN, "sh", str(group / "cgroup.procs"), "--"] if group else []
        began = time.perf_counter()
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*launcher, *command], stdout=file, stderr=subprocess.STDOUT, **options
            )
            with _Watch(process.pid, group) as watch:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
        wall_seconds = time.perf_counter() - began
        if process.returncode not in codes:
            words = output.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{command} ended with {process.returncode}: {words}")
        waited = usage.ru_utime + usage.ru_stime
        sampled = sum(watch.cpu_seconds.values())
        counted = _counted_seconds(group) if group else max(waited, sampled)
    return Cost(counted, waited, sampled, wall_seconds, watch.bytes_held)


@contextlib.contextmanager
def _counting_group() -> Iterator[Path | None]:
    """Makes a control group that counts CPU time, or yields None where that is impossible."""
    try:
        # Not with version 2: there workers leave the group for their own.
        _, parent = find_hierarchy("cpuacct")
        folder = parent / f"class-cost-{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir()
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        _wait_for_end(folder)
        folder.rmdir()


def _wait_for_end(group: Path) -> None:
    deadline = time.monotonic() + END_SECONDS
    while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)


def _counted_seconds(group: Path) -> float:
    _wait_for_end(group)
    return int((group / "cpuacct.usage").read_text()) / 1e9


@dataclass
class _Watch(contextlib.AbstractContextManager):
    """Looks at all processes of a command again and again.

    Attributes:
        cpu_seconds: of each process, when it was last seen.
        bytes_held: at each look.
    """

    root: int
    group: Path | None
    cpu_seconds: dict[psutil.Process, float] = field(default_factory=dict)
    bytes_held: list[int] = field(default_factory=list)

    def __enter__(self) -> "_Watch":
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(WATCH_SECONDS):
            held = 0
            for process in self._processes():
                with contextlib.suppress(psutil.Error, OSError):
                    self.cpu_seconds[process] = sum(process.cpu_times()[:2])
                    held += process.memory_full_info().pss
            if held:
                self.bytes_held.append(held)

    def _processes(self) -> list[psutil.Process]:
        processes = []
        with contextlib.suppress(psutil.Error, OSError):
            if self.group is None:
                root = psutil.Process(self.root)
                return [root, *root.children(recursive=True)]
            for number in (self.group / "cgroup.procs").read_text().split():
                with contextlib.suppress(psutil.Error):
                    processes.append(psutil.Process(int(number)))
        return processes


# ------------------------------------------------------------------------------- grading the class

# `grade` as it is, but with the limits of the class, which only course.toml can set.
GRADE = """
import functools, sys
import grading.command
from grading.__main__ import main
from grading.grade import Grader
from grading.worker import Limits
grading.command.Grader = functools.partial(Grader, limits=Limits(call_seconds={seconds!r}))
sys.exit(main())
"""


def grade_alone(submission: Submission, reports: Path, seconds: float) -> Cost:
    """Grades a notebook by a process of its own.

    Args:
        submission: the notebook.
        reports: where its reports go.
        seconds: what each call of the student's code may take.
    """
    script = GRADE.format(seconds=seconds)
    options = ["grade", submission.path, "--reports", reports / submission.student]
    command = [sys.executable, "-c", script, *map(str, options), "--seed", str(SEED)]
    return meter(command, (EXIT_FULL_MARKS, EXIT_DEDUCTIONS, EXIT_UNGRADABLE), cwd=ROOT)


def grade_class(folder: Path, out: Path, n_workers: int, seconds: float) -> Cost:
    """Grades a folder of submissions as a class."""
    course = out.with_suffix(".toml")
    course.write_text(f"[limits]\ncall-seconds = {seconds!r}\n")
    options = [folder, "-o", out, "--course", course, "--workers", n_workers, "--seed", SEED]
    return meter([sys.executable, "-m", "grading", "class", *map(str, options)], cwd=ROOT)


def points_alone(reports: Path, student: str) -> float | None:
    """Returns somebody's points, graded one by one; None if nothing could be graded."""
    report = _report_of(reports, student)
    return report["score"] if report["status"] == "graded" else None


def _report_of(reports: Path, student: str) -> dict:
    (path,) = set((reports / student).glob("*.json")) - set((reports / student).glob("*.*.json"))
    return json.loads(path.read_text("utf-8"))


def points_of_class(out: Path) -> dict[str, float | None]:
    """Returns everybody's points, graded as a class; None for those who are ungradable."""
    with (out / "gradebook.csv").open(newline="", encoding="utf-8") as file:
        return {
            row["student"]: float(row["total"]) if row["status"] == "graded" else None
            for row in csv.DictReader(file)
        }


@dataclass(frozen=True)
class Measured:
    """What a class cost.

    Attributes:
        submissions: the class.
        alone: the cost of each notebook, one by one.
        together: of the class, by the number of workers.
    """

    submissions: Sequence[Submission]
    alone: Sequence[Cost]
    together: Mapping[int, Cost]


def measure(
    submissions: Sequence[Submission], scratch: Path, n_workers: Sequence[int], seconds: float
) -> Measured:
    """Grades a class one by one and as a class.

    Args:
        submissions: the class, in a folder of its own.
        scratch: where results go.
        n_workers: with how many workers.
        seconds: what each call of students' code may take.

    Raises:
        RuntimeError: points differ, or right answers were not graded as right.
    """
    reports, folder = scratch / "alone", submissions[0].path.parent.parent
    grade_alone(submissions[:2][-1], scratch / "warm-up", seconds)  # fills caches
    half = len(submissions) // 2
    with tqdm(total=len(submissions) + len(n_workers), unit=" runs") as progress:

        def grade_some(some: Sequence[Submission]) -> Iterator[Cost]:
            for submission in some:
                yield grade_alone(submission, reports, seconds)
                progress.update()

        alone = [*grade_some(submissions[:half])]
        together, points = {}, {}
        for number in n_workers:
            out = scratch / f"workers-{number}"
            together[number] = grade_class(folder, out, number, seconds)
            points[number] = points_of_class(out)
            progress.update()
        alone += grade_some(submissions[half:])
    expected = {s.student: points_alone(reports, s.student) for s in submissions}
    for number, found in points.items():
        if found != expected:
            raise RuntimeError(f"with {number} workers points are {found}, not {expected}")
    for submission in submissions:
        if is_right(_report_of(reports, submission.student)) != (submission.kind == "right"):
            raise RuntimeError(f"{submission} got {expected[submission.student]} points")
    return Measured(submissions, alone, together)


def is_right(report: dict) -> bool:
    """Says whether all exercises of a report have all their points; games do not matter."""
    exercises = [e for e in report["exercises"] if e["name"] in EXERCISES]
    return all(exercise["points"] == exercise["maximum"] for exercise in exercises)


# ---------------------------------------------------------------------------------- other graders


QUESTIONS = {"first": 1, "second": 2, "third": 3}
PEERS = {"otter": "otter-grader", "nbgrader": "nbgrader"}
OTTER_TEST = """OK_FORMAT = True
test = {{
    "name": "{name}",
    "points": 1,
    "suites": [
        {{
            "cases": [{{"code": ">>> {name}()\\n{value}", "hidden": False, "locked": False}}],
            "scored": True,
            "setup": "",
            "teardown": "",
            "type": "doctest",
        }}
    ],
}}
"""


def install_peers(folder: Path) -> Path | None:
    """Installs the other graders in an environment of their own; None if that is impossible.

    Returns:
        The folder of their commands.
    """
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PEERS.values()]
    for command in ([sys.executable, "-m", "venv", folder], pip):
        if subprocess.run(command, capture_output=True).returncode:
            return None
    return folder / "bin"


def peers_notebook(track: Assignment, for_nbgrader: bool) -> nbformat.NotebookNode:
    """Returns a notebook as long as the student's, with three functions and their tests.

    It imports the track's framework. All other code of the student's notebook is there, but as
    comments: nothing is trained, nothing measured.

    Args:
        track: whose notebook.
        for_nbgrader: whether tests stand in the notebook; otter's stand beside it.
    """
    notebook = nbformat.read(ROOT / "notebooks" / f"{track.name}.ipynb", 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.source = "".join(f"# {line}" for line in cell.source.splitlines(keepends=True))
    packages = sysconfig.get_paths()["purelib"]  # the framework is not installed a second time
    imports = [
        f"import sys\nsys.path.append({packages!r})",
        *map("import {}".format, track.requires),
    ]
    code[0].source += "\n" + "\n".join(imports)
    for cell, (name, value) in zip(code[1:], QUESTIONS.items(), strict=False):
        cell.source += f"\ndef {name}():\n    return {value}"
        cell.metadata["nbgrader"] = _for_nbgrader(name, solution=True)
        if for_nbgrader:
            test = NB.new_code_cell(f"assert {name}() == {value}", id=f"test-{name}")
            test.metadata["nbgrader"] = _for_nbgrader(f"test-{name}", grade=True)
            notebook.cells.append(test)
    return notebook


def _for_nbgrader(name: str, grade: bool = False, solution: bool = False) -> dict:
    points = {"points": 1} if grade else {}
    kinds = {"grade": grade, "solution": solution, "locked": grade, "task": False}
    return {"grade_id": name, "schema_version": 3, **kinds, **points}


def measure_otter(commands: Path, track: Assignment, n: int, scratch: Path) -> Cost:
    """Grades n notebooks with otter-grader, a process for each, in no container."""
    (scratch / "tests").mkdir(parents=True)
    for name, value in QUESTIONS.items():
        test = OTTER_TEST.format(name=name, value=value)
        (scratch / "tests" / f"{name}.py").write_text(test)
    nbformat.write(peers_notebook(track, False), scratch / "submission.ipynb")
    options = {"cwd": scratch, "env": _environment(commands, scratch)}
    run, archive = str(commands / "otter"), "autograder.zip"
    without = ["--no-config", "--no-requirements", "--no-environment"]
    meter([run, "generate", "-t", "tests", "-o", archive, *without], **options)
    costs = []
    for out in (scratch / f"out{index}" for index in range(n)):
        out.mkdir()
        words = ["run", "submission.ipynb", "-a", archive, "-o", str(out)]
        costs.append(meter([run, *words], **options))
        tests = json.loads((out / "results.json").read_text("utf-8"))["tests"]
        if sum(test.get("score", 0) for test in tests) != len(QUESTIONS):
            raise RuntimeError(f"otter-grader does not find the answers right: {tests}")
    return add_up(costs)


def measure_nbgrader(commands: Path, track: Assignment, n: int, scratch: Path) -> Cost:
    """Grades n notebooks with nbgrader, all by one process."""
    notebook = peers_notebook(track, True)
    places = ["source/homework", *(f"submitted/student{i}/homework" for i in range(n))]
    for place in places:
        (scratch / place).mkdir(parents=True)
        nbformat.write(notebook, scratch / place / "homework.ipynb")
    (scratch / "nbgrader_config.py").write_text('c = get_config()\nc.CourseDirectory.root = "."\n')
    options = {"cwd": scratch, "env": _environment(commands, scratch)}
    run = str(commands / "nbgrader")
    meter([run, "generate_assignment", "homework"], **options)
    cost = meter([run, "autograde", "homework"], **options)
    meter([run, "export"], **options)
    with (scratch / "grades.csv").open(newline="") as file:
        scores = [float(row["score"]) for row in csv.DictReader(file)]
    if scores != [len(QUESTIONS)] * n:
        raise RuntimeError(f"nbgrader does not find the answers right: {scores}")
    return cost


def _environment(commands: Path, home: Path) -> dict[str, str]:
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "HOME": str(home), "PATH": path, "OMP_NUM_THREADS": "1"}


def measure_peers(track: Assignment, n: int, scratch: Path) -> dict[str, Cost]:
    """Returns what other graders take for n notebooks; nothing if they cannot be installed."""
    commands = install_peers(scratch / "environment")
    if commands is None:
        return {}
    work = {"otter": measure_otter, "nbgrader": measure_nbgrader}
    return {name: work[name](commands, track, n, scratch / name) for name in PEERS}


# --------------------------------------------------------------------------------------- the report

WHAT_PEERS_LEAVE_OUT = (
    "The other graders' notebooks have the same text, but import the framework, define three "
    "functions of one line, and have a test of one line for each. What they do not do: keep "
    "students' code from files, network, the tests or the other submissions (`otter run` and "
    "`nbgrader autograde` start kernels in the teacher's account; otter-grader's containers are "
    "not used here); limit its memory; measure a function on drawn inputs and compare it with the "
    "solution's; judge parts of an unfinished or wrong answer; name the misconception; run the "
    "notebook a second time when an answer loses points; let an agent play."
)
LIMITED = (
    "Each call of students' code may take {:g} seconds, one by one as in the class, where 300 are "
    "the default: otherwise one endless loop would cost more than all the others."
)


def figures_of(measured: Measured, peers: Mapping[str, Cost], n_peers: int) -> dict[str, Spread]:
    """Returns all figures by name; what is one number stands there three times."""
    n, alone = len(measured.submissions), add_up(measured.alone)
    single = {
        "alone_cpu_seconds": alone.cpu_seconds / n,
        "alone_per_minute": 60 * n / alone.wall_seconds,
        "alone_peak_mb": alone.peak_bytes / 1e6,
        "alone_median_mb": alone.median_bytes / 1e6,
    }
    for workers, cost in measured.together.items():
        single |= {
            f"class_{workers}_cpu_seconds": cost.cpu_seconds / n,
            f"class_{workers}_ratio": cost.cpu_seconds / alone.cpu_seconds,
            f"class_{workers}_per_minute": 60 * n / cost.wall_seconds,
            f"class_{workers}_peak_mb": cost.peak_bytes / 1e6,
            f"class_{workers}_median_mb": cost.median_bytes / 1e6,
        }
        first = measured.together[1].wall_seconds
        single[f"class_{workers}_efficiency"] = first / cost.wall_seconds / workers
    for name, cost in peers.items():
        single[f"{name}_cpu_seconds"] = cost.cpu_seconds / n_peers
        single[f"{name}_per_minute"] = 60 * n_peers / cost.wall_seconds
        single[f"{name}_peak_mb"] = cost.peak_bytes / 1e6
    figures = {name: Spread(value, value, value) for name, value in single.items()}
    for kind, costs in by_kind(measured).items():
        figures[f"alone_{kind}_cpu_seconds"] = spread([cost.cpu_seconds for cost in costs])
    return figures


def by_kind(measured: Measured) -> dict[str, list[Cost]]:
    """Returns what each notebook cost one by one, by its kind."""
    costs: dict[str, list[Cost]] = {}
    for submission, cost in zip(measured.submissions, measured.alone, strict=True):
        costs.setdefault(submission.kind, []).append(cost)
    return costs


def describe_class(measured: Measured, figures: Mapping[str, Spread]) -> str:
    """Returns the table of the class: one by one, then as a class."""
    header = ["", "CPU seconds a submission", "of one by one", "submissions a minute"]
    header += ["efficiency", "peak memory, MB", "median memory, MB"]
    names = {"alone": "one by one"}
    for n in measured.together:
        names[f"class_{n}"] = f"as a class, {n} worker{'s' if n > 1 else ''}"
    columns = ("cpu_seconds", "ratio", "per_minute", "efficiency", "peak_mb", "median_mb")
    rows = []
    for name, title in names.items():
        found = [figures.get(f"{name}_{column}") for column in columns]
        rows.append([title, *("" if value is None else number(value.median) for value in found)])
    return table(header, rows)


def describe_kinds(measured: Measured) -> str:
    """Returns the table of one-by-one costs: a row for each kind, and for each hostile notebook."""
    header = ["one by one, CPU seconds", "notebooks", "median", "least", "greatest"]
    rows = []
    for kind, costs in by_kind(measured).items():
        seconds = spread([cost.cpu_seconds for cost in costs])
        rows.append([kind, str(len(costs)), *map(number, seconds)])
    for submission, cost in zip(measured.submissions, measured.alone, strict=True):
        if submission.kind == "hostile":
            rows.append([f"hostile: {submission.what}", "1", number(cost.cpu_seconds), "", ""])
    return table(header, rows)


def describe_peers(peers: Mapping[str, Cost], n: int, figures: Mapping[str, Spread]) -> str:
    """Returns the table of the other graders, or why there is none."""
    if not peers:
        return "otter-grader and nbgrader could not be installed here, and were not measured."
    header = ["", "notebooks", "CPU seconds a notebook", "notebooks a minute", "peak memory, MB"]
    columns = ("cpu_seconds", "per_minute", "peak_mb")
    rows = [
        [PEERS[name], str(n), *(number(figures[f"{name}_{column}"].median) for column in columns)]
        for name in peers
    ]
    return table(header, rows)


def describe_meter(measured: Measured) -> str:
    """Says how far the ways to count CPU time agree."""
    whole = add_up([*measured.alone, *measured.together.values()])
    waited, sampled = (
        100 * seconds / whole.cpu_seconds
        for seconds in (whole.waited_seconds, whole.sampled_seconds)
    )
    return (
        f"Of all CPU seconds, {sampled:.0f} % were seen by looking at the processes every "
        f"{WATCH_SECONDS:g} seconds, and {waited:.0f} % belong to processes that somebody waited "
        "for: sandboxes are killed."
    )


def main() -> None:
    parser = command_line("class_cost", __doc__, tuple(TRACKS), n=40)
    arguments = parser.parse_args()
    track, n = TRACKS[arguments.track], arguments.n
    with TemporaryDirectory(prefix="class-cost-") as name:
        scratch = Path(name)
        weights = scratch / "weights.npz"
        in_fresh_process(save_random_weights, arguments.track, weights)
        submissions = make_class(scratch / "class", track, n, weights)
        measured = measure(submissions, scratch, (1, 2), CALL_SECONDS)
        n_peers = min(n, N_PEERS)
        peers = measure_peers(track, n_peers, scratch)
    figures = figures_of(measured, peers, n_peers)
    counts = ", ".join(f"{len(costs)} {kind}" for kind, costs in by_kind(measured).items())
    n_playing = len(range(0, n, N_PLAYING))
    sections = [
        f"## {n} submissions",
        f"{counts}. {n_playing} of the right ones come with weights, so their agents play. All "
        "three ways award the same points. " + LIMITED.format(CALL_SECONDS),
        describe_class(measured, figures),
        "Efficiency is the speed-up over one worker, divided by the workers. "
        + describe_meter(measured),
        describe_kinds(measured),
        "## Other graders",
        WHAT_PEERS_LEAVE_OUT,
        describe_peers(peers, n_peers, figures),
    ]
    publish(arguments, sections, figures)


if __name__ == "__main__":
    main()
