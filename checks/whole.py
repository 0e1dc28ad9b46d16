"""A whole notebook: `python -m checks NOTEBOOK` runs it and prints each exercise's points."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from checks.notebook import CheckFailed, OpenGaps
from checks.points import PLAYING, POINTS

EXERCISES = {name: sum(parts.values()) for name, parts in POINTS.items() if name != PLAYING}
KIT = Path(__file__).parent.parent  # where the helper files lie
NO_PLUGINS = ("-p", "no:cacheprovider", "-p", "no:grading")


def main(arguments: list[str]) -> int:
    """Runs a notebook's checks as `pytest --nbval` does and prints the exercises with their points.

    It runs a copy without outputs in an empty folder, which finds the helper files as modules.

    Returns:
        0 if every cell runs and every check passes, 1 if not, 2 if there is no notebook to run.
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
    failures = _run_cells(sources)
    if failures is None:
        return 1
    total = 0
    for exercise, points in EXERCISES.items():
        problem = _exercise_problem(exercise, sources, failures)
        total += 0 if problem else points
        print(f"{exercise:<12}{0 if problem else points:>4} / {points:<4}{problem or 'passed'}")
    print(f"{'total':<12}{total:>4} / {sum(EXERCISES.values())}")
    others = [
        (source, failure)
        for source, failure in zip(sources, failures, strict=True)
        if failure and not re.search(r"^# Exercise:|checks\.check_\w+\(", source, re.MULTILINE)
    ]
    for source, failure in others:
        print(f"also failed: the cell that begins with {source.splitlines()[0]!r}: {failure}")
    return 1 if any(failures) or total < sum(EXERCISES.values()) else 0


def _code_of(path: Path) -> list[str]:
    """Returns the sources of a notebook's code cells that are not empty."""
    import nbformat

    notebook = nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [source for source in sources if source.strip()]


def _run_cells(sources: list[str]) -> list[str] | None:
    """Runs code cells under nbval; returns each one's failure or "", None if pytest broke."""
    import nbformat

    cells = [nbformat.v4.new_code_cell(source) for source in sources]
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
            },
            capture_output=True,
            text=True,
        )
        try:
            cases = list(ElementTree.parse(Path(folder) / "cells.xml").iter("testcase"))
        except (OSError, ElementTree.ParseError):
            cases = []
    if len(cases) != len(sources):
        print(
            finished.stdout, finished.stderr, "pytest could not run it", sep="\n", file=sys.stderr
        )
        return None
    return [_failure_of(case) for case in cases]


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


def _exercise_problem(exercise: str, sources: list[str], failures: list[str]) -> str:
    """Returns why an exercise earns nothing, "" if it passed."""
    heading = re.compile(rf"^# Exercise: {exercise}\b", re.MULTILINE)
    check = f"checks.check_{exercise}(globals())"
    own = [i for i, source in enumerate(sources) if heading.search(source)]
    checks = [i for i, source in enumerate(sources) if check in source]
    if not own:
        return f"its cell, which begins with # Exercise: {exercise}, is missing"
    if not checks:
        return f"its check is missing: put a cell with {check} below it"
    return failures[own[-1]] or failures[checks[-1]]
