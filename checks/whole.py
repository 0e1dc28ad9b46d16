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
from xml.etree import ElementTree

from checks.notebook import RECORD, CheckFailed, OpenGaps
from checks.points import PLAYING, PLAYING_SHARES, POINTS, TITLES
from checks.unfinished import fill_gaps

EXERCISES = {name: sum(parts.values()) for name, parts in POINTS.items() if name != PLAYING}
KIT = Path(__file__).parent.parent  # where the helper files lie
NO_PLUGINS = ("-p", "no:cacheprovider", "-p", "no:grading")
SLOW = "# Slow:"  # conftest.py leaves out such cells


@dataclass(frozen=True)
class Run:
    """What running the cells of a notebook showed.

    Attributes:
        failures: each cell's failure, "" where it ran.
        parts: for each exercise that was checked why each part fails, "" where it passes.
    """

    failures: list[str]
    parts: dict[str, dict[str, str]]


def main(arguments: list[str]) -> int:
    """Runs a notebook's checks as `pytest --nbval` does and prints the exercises with their points.

    It runs a copy without outputs in an empty folder, which finds the helper files as modules.

    Returns:
        0 if every cell runs and every check passes, 1 if not, 2 if there is no notebook to run.
        Cells that fail for lack of what training or Colab provides do not count.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m checks NOTEBOOK", file=sys.stderr)
        return 2
    try:
        sources = _code_of(Path(arguments[0]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"{arguments[0]} is not a notebook that can be read: {error}", file=sys.stderr)
        return 2
    print(f"Running the {len(sources)} code cells of {arguments[0]}, but for the slow ones …")
    run = _run_cells([*sources, *_missing_checks(sources)])
    if run is None:
        return 1
    total = sum(_print_exercise(exercise, sources, run) for exercise in EXERCISES)
    print(f"{'total':<12}{total:>4} / {sum(EXERCISES.values())}")
    print(
        f"Playing adds up to {sum(POINTS[PLAYING].values())} points, for a mean of "
        f"{PLAYING_SHARES[-1][0]:,} in 20 games: the grader lets your agent play, with the weights "
        "that you hand in."
    )
    others = _print_others(sources, run.failures)
    return 1 if others or total < sum(EXERCISES.values()) else 0


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


def _print_others(sources: Sequence[str], failures: Sequence[str]) -> bool:
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


def _excuses(sources: Sequence[str], failures: Sequence[str]) -> list[str]:
    """Says which failed cells lack only what training or Colab provides, and what that is."""
    absent: set[str] = set()  # names that cells make which did not run
    reasons = []
    for source, failure in zip(sources, failures, strict=False):
        reason = _what_is_absent(failure, absent) if failure else ""
        if reason or source.lstrip().startswith(SLOW):
            absent |= _names_made_by(source)
        elif not failure:
            absent -= _names_made_by(source)
        reasons.append(reason)
    return reasons


def _what_is_absent(failure: str, absent: set[str]) -> str:
    if re.match(r"ModuleNotFoundError: No module named '(google|google\.colab.*)'", failure):
        return "it needs Colab"
    if failure.startswith("FileNotFoundError"):
        return "it needs a file, which training may make"
    name = re.match(r"NameError: name '(\w+)' is not defined", failure)
    return "it needs what a slow cell makes" if name and name[1] in absent else ""


def _names_made_by(source: str) -> set[str]:
    """Returns the names that a cell gives a value."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # IPython's own commands
        return {*re.findall(r"^(\w+) *=[^=]", source, re.MULTILINE)}
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return names | {
        (n.asname or n.name).partition(".")[0] for n in nodes if isinstance(n, ast.alias)
    }


def _missing_checks(sources: Sequence[str]) -> list[str]:
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


def _run_cells(sources: Sequence[str]) -> Run | None:
    """Runs code cells under nbval; returns None if pytest broke."""
    import nbformat

    cells = [nbformat.v4.new_code_cell(_prepare(source)) for source in sources]
    path = [str(KIT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(KIT / "conftest.py", folder)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), Path(folder) / "notebook.ipynb")
        options = ["--nbval", "notebook.ipynb", "--junitxml=cells.xml", "--rootdir=.", "--color=no"]
        finished = subprocess.run(
            # On a teacher's machine the grader would take the notebook for itself.
            [sys.executable, "-m", "pytest", *options, *NO_PLUGINS],
            cwd=folder,
            env={
                **os.environ,
                "PYTEST_ADDOPTS": "--nbval-cell-timeout=300",
                "PYTHONPATH": os.pathsep.join(path),
                RECORD: str(Path(folder) / "record.jsonl"),
            },
            capture_output=True,
            text=True,
        )
        try:
            cases = list(ElementTree.parse(Path(folder) / "cells.xml").iter("testcase"))
        except (OSError, ElementTree.ParseError):
            cases = []
        parts = _read_record(Path(folder) / "record.jsonl")
    if len(cases) != len(sources):
        print(
            finished.stdout, finished.stderr, "pytest could not run it", sep="\n", file=sys.stderr
        )
        return None
    return Run([_failure_of(case) for case in cases], parts)


def _read_record(path: Path) -> dict[str, dict[str, str]]:
    """Returns the parts that each exercise's last check found."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    results = map(json.loads, lines)
    return {result["exercise"]: result["parts"] for result in results}


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
        for source, failure in zip([*sources, *_missing_checks(sources)], failures, strict=True)
        if failure and re.search(own, source, re.MULTILINE)
    ]
    return failed[0] if failed else "its check did not run"
