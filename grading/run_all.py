"""Runs a whole submission in the sandbox, as *Run All* would.

What is cut out of a notebook to be graded imitates the notebook. Whatever the imitation does not
think of would be held against the student, so an answer that loses points by it is measured once
more, on the names that the notebook itself has made. See `inside/run_all.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from grading.submission import RunCell
from grading.worker import Limits, Worker

MAX_NOTES = 20
MAX_WORDS = 500  # bytes that a cell's notes may have


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """How long the cells of a notebook may run, seconds of CPU time and of wall time.

    Attributes:
        cell_cpu_seconds, cell_seconds: a cell, before it is interrupted.
        stop_seconds: a cell that goes on all the same, before its process is killed; wall time.
        cpu_seconds: all cells together, before each of the rest has only `least_cpu_seconds`.
        least_cpu_seconds: enough for a cell that only defines something.
        worker_seconds: everything, measuring included, before the process is killed.
    """

    cell_cpu_seconds: float = 1
    cell_seconds: float = 20
    stop_seconds: float = 60
    cpu_seconds: float = 5
    least_cpu_seconds: float = 0.3
    worker_seconds: float = 300


LIMITS = RunLimits()


@dataclass
class NotebookRun:
    """A notebook that has run, or died on the way.

    Attributes:
        worker: where its names are; it may be dead.
        notes: what was interrupted, failed or skipped, for the teacher.
    """

    worker: Worker
    notes: list[str] = field(default_factory=list)


def run_notebook(
    cells: Sequence[RunCell],
    start: Callable[[Limits], Worker],
    worker_limits: Limits,
    prepare: str = "",
    limits: RunLimits = LIMITS,
) -> NotebookRun:
    """Runs all cells of a notebook, in order. If one ends the process, all others run once more.

    Args:
        cells: its code cells.
        start: starts a worker.
        worker_limits: for the worker, except for its time.
        prepare: a function to call before, `module:function`; see `Assignment.prepare`.
        limits: for the cells.
    """
    seconds = min(limits.worker_seconds, worker_limits.total_seconds)
    worker_limits = replace(worker_limits, total_seconds=seconds)
    run = NotebookRun(start(worker_limits))
    fatal = run_cells(run, cells, prepare, limits)
    if fatal:
        ended = run.notes[-1]
        others = [cell for cell in cells if cell.number != fatal]
        run = NotebookRun(start(worker_limits), [ended])
        run_cells(run, others, prepare, limits)
    if len(run.notes) > MAX_NOTES:
        run.notes[MAX_NOTES:] = [f"and {len(run.notes) - MAX_NOTES} more"]
    if slow := [str(cell.number) for cell in cells if cell.is_slow]:
        run.notes.append(f"skipped, as they are marked # Slow: {', '.join(slow)}")
    return run


def run_cells(
    run: NotebookRun, cells: Sequence[RunCell], prepare: str = "", limits: RunLimits = LIMITS
) -> int:
    """Runs cells in a worker; returns the number of the one that ended it, 0 if none did."""
    for function in filter(None, ("run_all:prepare", prepare)):
        run.worker.call(function)
    deadline = run.worker.cpu_seconds + limits.cpu_seconds
    for cell in cells:
        if cell.is_slow:
            continue
        left = min(limits.cell_cpu_seconds, deadline - run.worker.cpu_seconds)
        reply = run.worker.call(
            "run_all:run_cell",
            cell.source.encode(),
            within=limits.stop_seconds,
            cpu_seconds=max(left, limits.least_cpu_seconds),
            seconds=limits.cell_seconds,
        )
        if not run.worker.is_alive:
            run.notes.append(f"cell {cell.number} ended the process: {reply.problem}")
            return cell.number
        words = reply.data if reply.status == "ok" else f"failed: {reply.problem}".encode()
        notes = words[:MAX_WORDS].decode(errors="replace").splitlines()[:MAX_NOTES]
        run.notes += [f"cell {cell.number} {note}" for note in notes]
    return 0
