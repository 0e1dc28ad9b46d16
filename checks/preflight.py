"""What can be said of a notebook before it is handed in, without running it."""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from checks.notebook import lines_with_gaps
from checks.whole import EXERCISES

MAX_NOTEBOOK = 200_000_000  # bytes; the grader reads no larger one
# What an answer defines, and the line that does so.
DEFINES = {
    "agent": ("SimpleRecurrentAgent", re.compile(r"^class SimpleRecurrentAgent\b", re.MULTILINE)),
    "loss": ("train_on_rollout", re.compile(r"^def train_on_rollout\b", re.MULTILINE)),
    "optimizer": (
        "the optimizer",
        re.compile(r"^(?:optimizer|opt)\s*(?::[^=\n]*)?=(?!=)", re.MULTILINE),
    ),
}


class Cell(NamedTuple):
    """A code cell: its source, and the number that it got when it last ran, if it ever did."""

    source: str
    count: int | None


def read_cells(data: bytes) -> list[Cell]:
    """Reads the code cells of a notebook that are not empty.

    Raises:
        ValueError: it is not a notebook of format 4, which the grader reads.
    """
    notebook = json.loads(data.decode("utf-8-sig"))
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise ValueError("it has no cells: open it in Jupyter and save it again")
    code = [cell for cell in cells if isinstance(cell, dict) and cell.get("cell_type") == "code"]
    found = [Cell(_source_of(cell), cell.get("execution_count")) for cell in code]
    return [cell for cell in found if cell.source.strip()]


def _source_of(cell: dict) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(map(str, source))


def find_answers(cells: Sequence[Cell], exercise: str) -> list[Cell]:
    """Returns the cells that define what an exercise asks for, as far as it can be seen."""
    return [cell for cell in cells if DEFINES[exercise][1].search(cell.source)]


def has_answers(cells: Sequence[Cell]) -> bool:
    """Says whether any exercise has a cell, filled or not."""
    return any(find_answers(cells, exercise) for exercise in EXERCISES)


def find_problems(cells: Sequence[Cell], size: int) -> list[str]:
    """Returns what to put right before handing in, a line each.

    Args:
        cells: the code cells.
        size: of the notebook's file, in bytes.
    """
    problems = []
    if size > MAX_NOTEBOOK:
        problems.append(
            f"The notebook has {size / 1e6:,.0f} MB, and no more than {MAX_NOTEBOOK / 1e6:,.0f} "
            "are graded: clear its outputs (menu Edit), and save it."
        )
    for exercise, points in EXERCISES.items():
        found, name = find_answers(cells, exercise), DEFINES[exercise][0]
        if not found:
            problems.append(
                f"{exercise}: no cell defines {name}, which costs {points} points: has its cell "
                "been deleted?"
            )
            continue
        if len(found) > 1:
            problems.append(
                f"{exercise}: {len(found)} cells define {name}, and the last one counts: delete "
                "what you do not need."
            )
        problems += _problems_of(exercise, found[-1], cells)
    return problems


def _problems_of(exercise: str, answer: Cell, cells: Sequence[Cell]) -> list[str]:
    problems = []
    if count := _count_gaps(answer.source):
        problems.append(f"{exercise}: {count} {'gap is' if count == 1 else 'gaps are'} open.")
    below = cells[cells.index(answer) :]
    check = next((cell for cell in below if f"check_{exercise}(" in cell.source), None)
    counts = answer.count, check and check.count
    if all(isinstance(count, int) for count in counts) and counts[0] > counts[1]:
        problems.append(f"{exercise}: its cell ran after the check below it: run the check again.")
    return problems


def count_gaps(cells: Sequence[Cell], exercise: str) -> int:
    """Returns how many lines of the answer that counts have open gaps."""
    found = find_answers(cells, exercise)
    return _count_gaps(found[-1].source) if found else 0


def _count_gaps(source: str) -> int:
    lines = source.splitlines(keepends=True)
    return len(lines_with_gaps([line for line in lines if not line.lstrip().startswith("%")]))


def _is_same(source: str, other: str) -> bool:
    """Says whether two sources are the same but for blanks at the ends of lines."""
    lines, others = ([line.rstrip() for line in s.strip().splitlines()] for s in (source, other))
    return lines == others


def find_unsaved(cells: Sequence[Cell], ran: Sequence[str]) -> list[str]:
    """Returns the exercises whose answer that ran last is not in a notebook.

    Args:
        cells: the notebook's.
        ran: the sources that a kernel has run, in order.
    """
    unsaved = []
    for exercise in EXERCISES:
        # A cell with open gaps has changed nothing.
        done = [Cell(source, None) for source in ran if not _count_gaps(source)]
        answers = find_answers(done, exercise)
        saved = find_answers(cells, exercise)
        if answers and not any(_is_same(answers[-1].source, cell.source) for cell in saved):
            unsaved.append(exercise)
    return unsaved
