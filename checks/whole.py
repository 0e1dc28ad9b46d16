"""A whole notebook: `python -m checks NOTEBOOK` runs it and prints each exercise's points."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from checks.notebook import OpenGaps, is_slow
from checks.points import PLAYING, PLAYING_SHARES, POINTS, TITLES
from checks.sheet import RECORD, CheckFailed
from checks.unfinished import fill_gaps

EXERCISES = {name: sum(parts.values()) for name, parts in POINTS.items() if name != PLAYING}
KIT = Path(__file__).parent.parent  # where the helper files lie
CELL_SECONDS = 300
FILLED_BY_TRAINING = {"run", "rewards_history"}
NO_PLUGINS = ("-p", "no:cacheprovider", "-p", "no:grading")


SETUP = "checks.prepare_notebook("  # the end of the set-up cell
NOTHING_CHECKED = "The set-up cell failed, so nothing can be checked: {}"


@dataclass(frozen=True)
class Run:
    """What running the cells of a notebook showed.

    Attributes:
        failures: each cell's failure, "" where it ran.
        parts: for each exercise that was checked why each part fails, "" where it passes.
        playing: what `handing_in` records of the games, None if it recorded nothing.
    """

    failures: list[str]
    parts: dict[str, dict[str, str]]
    playing: dict[str, Any] | None = None


def main(arguments: list[str]) -> int:
    """Runs a notebook's checks as `pytest --nbval` does and prints the exercises with their points.

    It runs a copy without outputs in an empty folder, which finds the helper files as modules.

    Returns:
        0 if every cell runs and every check passes, 1 if not, 2 if there is no notebook to run.
        Cells that fail for lack of what training or Colab provides do not count.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m checks [hand-in] NOTEBOOK", file=sys.stderr)
        return 2
    try:
        sources = _code_of(Path(arguments[0]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"{arguments[0]} is not a notebook that can be read: {error}", file=sys.stderr)
        return 2
    print(f"Running the {len(sources)} code cells of {arguments[0]}, but for the slow ones …")
    run = run_cells([*sources, *missing_checks(sources)])
    if run is None:
        return 1
    if failure := failure_of_setup(sources, run.failures):
        print(NOTHING_CHECKED.format(failure))
        return 1
    total = print_exercises(sources, run)
    print(f"{'total':<12}{total:>4} / {sum(EXERCISES.values())}")
    print(
        f"Playing adds up to {sum(POINTS[PLAYING].values())} points, for a mean of "
        f"{PLAYING_SHARES[-1][0]:,} in 20 games: the grader lets your agent play, with the weights "
        "that you hand in."
    )
    others = print_others(sources, run.failures)
    return 1 if others or total < sum(EXERCISES.values()) else 0


def print_exercises(sources: Sequence[str], run: Run) -> int:
    """Prints the points of all exercises and their lost parts; returns the sum of the points."""
    return sum(_print_exercise(exercise, sources, run) for exercise in EXERCISES)


def _print_exercise(exercise: str, sources: Sequence[str], run: Run) -> int:
    """Prints an exercise's points and its lost parts; returns the points."""
    problems = run.parts.get(exercise)
    if problems is None:
        problems = dict.fromkeys(POINTS[exercise], _why_unchecked(exercise, sources, run.failures))
    points = sum(POINTS[exercise][part] for part, problem in problems.items() if not problem)
    print(f"{exercise:<12}{points:>4} / {EXERCISES[exercise]}")
    for problem in dict.fromkeys(filter(None, problems.values())):  # each once
        parts = [part for part, why in problems.items() if why == problem]
        titles = "everything" if len(parts) == len(problems) > 1 else ""
        titles = titles or "; ".join(TITLES[exercise][part] for part in parts)
        print(f"{-sum(POINTS[exercise][part] for part in parts):>8}  {titles}")
        print(*(f"{'':10}{line}" for line in problem.splitlines()), sep="\n")
    return points


def print_others(sources: Sequence[str], failures: Sequence[str]) -> bool:
    """Prints which cells of no exercise failed; returns whether any did that should not."""
    reasons = _excuses(sources, failures)
    own = "|".join(EXERCISES)
    own = re.compile(rf"^# Exercise: ({own})\b|\bcheck_({own})\(", re.MULTILINE)
    failed = False
    for source, failure, reason in zip(sources, failures, reasons, strict=False):
        if failure and not own.search(source):
            failed |= not reason
            what = f"passed over ({reason})" if reason else "also failed, which costs nothing"
            print(f"{what}: the cell that begins with {source.splitlines()[0]!r}: {failure}")
    return failed


def failure_of_setup(sources: Sequence[str], failures: Sequence[str]) -> str:
    """Returns why the set-up cell failed, without which no check can run; "" if it did not."""
    pairs = zip(sources, failures, strict=False)
    return next((failure for source, failure in pairs if SETUP in source and failure), "")


def _excuses(sources: Sequence[str], failures: Sequence[str]) -> list[str]:
    """Says which failed cells lack only what training or Colab provides, and what that is."""
    absent: set[str] = set()  # names that cells make which did not run
    reasons = []
    for source, failure in zip(sources, failures, strict=False):
        reason = _what_is_absent(source, failure, absent) if failure else ""
        if reason or is_slow(source):
            absent |= _names_made_by(source)
        elif not failure:
            absent -= _names_made_by(source)
        reasons.append(reason)
    return reasons


def _what_is_absent(source: str, failure: str, absent: set[str]) -> str:
    if re.match(r"ModuleNotFoundError: No module named '(google|google\.colab.*)'", failure):
        return "it needs Colab"
    if re.match(r"ModuleNotFoundError: .*tensorboard", failure, re.IGNORECASE):
        return "it needs TensorBoard"  # where the notebook trained there may be one
    if re.match(r"FileNotFoundError|.*\b(No such file|File not found)\b", failure):
        return "it needs a file, which training may make"
    name = re.match(r"NameError: name '(\w+)' is not defined", failure)
    if name and name[1] in absent:
        return "it needs what a cell that was passed over makes"
    asks_training = (_names_read_by(source) - _names_made_by(source)) & FILLED_BY_TRAINING
    return "it needs what training fills" if asks_training else ""


def _names_read_by(source: str) -> set[str]:
    try:
        nodes = _nodes_of(source)
    except SyntaxError:  # IPython's own commands
        return {*re.findall(r"\w+", source)}
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _names_made_by(source: str) -> set[str]:
    """Returns the names that a cell gives a value."""
    try:
        nodes = _nodes_of(source)
    except SyntaxError:  # IPython's own commands
        return {*re.findall(r"^(\w+) *=[^=]", source, re.MULTILINE)}
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return names | {
        (n.asname or n.name).partition(".")[0] for n in nodes if isinstance(n, ast.alias)
    }


def _nodes_of(source: str) -> list[ast.AST]:
    """Returns the parts of a cell's Python, without the lines that are magics."""
    return list(ast.walk(ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE))))


def missing_checks(sources: Sequence[str]) -> list[str]:
    """Returns cells for the checks that a notebook lacks, so that no point hangs on them."""
    code = "\n".join(sources)
    return [
        f"import checks\nchecks.check_{exercise}(globals())"
        for exercise in EXERCISES
        if f"check_{exercise}(" not in code
    ]


def _code_of(path: Path) -> list[str]:
    """Returns the sources of a notebook's code cells that are not empty."""
    import nbformat

    notebook = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [source for source in sources if source.strip()]


def _prepare(source: str) -> str:
    """Returns what runs in the place of a cell."""
    source = fill_gaps(source)
    # There is no Drive here, and without the folder on it there would be no run to speak of.
    return re.sub(r"^keep_on_drive *= *True\b", "keep_on_drive = False", source, flags=re.MULTILINE)


def run_cells(sources: Sequence[str], cell_seconds: int = CELL_SECONDS) -> Run | None:
    """Runs code cells under nbval, each within a time limit; returns None if pytest broke."""
    import nbformat

    cells = [nbformat.v4.new_code_cell(_prepare(source)) for source in sources]
    path = [str(KIT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Windows lets nobody remove what a kernel that is just ending still holds.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shutil.copy(KIT / "conftest.py", folder)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), Path(folder) / "notebook.ipynb")
        options = ["--nbval", "notebook.ipynb", "--junitxml=cells.xml", "--rootdir=.", "--color=no"]
        finished = subprocess.run(
            # On a teacher's machine the grader would take the notebook for itself.
            [sys.executable, "-m", "pytest", *options, *NO_PLUGINS],
            cwd=folder,
            env={
                **os.environ,
                "PYTEST_ADDOPTS": f"--nbval-cell-timeout={cell_seconds}",
                "PYTHONIOENCODING": "utf-8",
                "PYTHONPATH": os.pathsep.join(path),
                RECORD: str(Path(folder) / "record.jsonl"),
            },
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        try:
            cases = list(ElementTree.parse(Path(folder) / "cells.xml").iter("testcase"))
        except (OSError, ElementTree.ParseError):
            cases = []
        parts, playing = read_record(Path(folder) / "record.jsonl")
    if len(cases) != len(sources):
        print(
            finished.stdout, finished.stderr, "pytest could not run it", sep="\n", file=sys.stderr
        )
        return None
    return Run([_failure_of(case) for case in cases], parts, playing)


def read_record(path: Path) -> tuple[dict[str, dict[str, str]], dict[str, Any] | None]:
    """Returns the parts that each exercise's last check found, and what is said of the games."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    results = [json.loads(line) for line in lines]
    parts = {found["exercise"]: found["parts"] for found in results if "exercise" in found}
    return parts, next((found[PLAYING] for found in results if PLAYING in found), None)


def _failure_of(case: ElementTree.Element) -> str:
    failure = case.find("failure")
    skipped = case.find("skipped")
    if skipped is not None and skipped.get("type") == "pytest.xfail":
        return "not run: the kernel had died, or a cell before took too long"
    if failure is None:
        return ""
    text = re.sub(r"(\x1b|#x1B)\[[0-9;]*m", "", failure.text or "").strip()
    shown = text.partition("Traceback:")[2].strip() or text
    plain = shown.startswith((CheckFailed.__name__, OpenGaps.__name__))
    return shown if plain else shown.splitlines()[-1]


def _why_unchecked(exercise: str, sources: Sequence[str], failures: Sequence[str]) -> str:
    """Returns why no check of an exercise came to a verdict."""
    own = rf"^# Exercise: {exercise}\b|\bcheck_{exercise}\("
    failed = [
        failure
        for source, failure in zip([*sources, *missing_checks(sources)], failures, strict=True)
        if failure and re.search(own, source, re.MULTILINE)
    ]
    return failed[0] if failed else "its check did not run"
