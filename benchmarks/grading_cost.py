"""Measures what grading costs: CPU seconds, user and system, of whole process trees.

    python -m benchmarks.grading_cost

prints a `name: value` line for each quantity: the median of paired runs, then the least and the
greatest. Wall time would measure what else the machine does; CPU seconds hardly do. A pair is one
bare kernel, as a student's own machine starts it, and one grading of the filled notebook. The
agent that plays has random weights, which lose each game within a minute or so; a good agent's
games are longer, and cost as much more.
"""

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import nbformat
import psutil
from jupyter_client.manager import start_new_kernel
from tqdm import tqdm

import grading.grade
import grading.reader
from assignments.kungfu import play
from assignments.kungfu.tracks import TENSORFLOW as TRACK
from grading.grade import Grader
from grading.worker import Worker

N_RUNS = 5
SEED = 0

SAVE_WEIGHTS = """
import numpy as np
keras.utils.set_random_seed(0)
agent = SimpleRecurrentAgent((42, 42, 4), 14)
np.savez({path!r}, *[variable.numpy() for variable in agent.trainable_variables])
"""


def answers() -> list[str]:
    """Returns the solution's exercise cells."""
    return [cell.source for cell in TRACK.template.exercises]


def bare_kernel_seconds(weights: Path) -> float:
    """Returns what a plain kernel takes to import TensorFlow and Keras and to run the answers.

    Args:
        weights: where random weights are left, after the clock was read.
    """
    manager, client = start_new_kernel(
        env={**os.environ, **TRACK.environment}, stderr=subprocess.DEVNULL
    )
    try:
        for source in ("import keras\nimport tensorflow as tf", *answers()):
            _run(client, source)
        seconds = _tree_seconds(psutil.Process(manager.provisioner.pid))
        _run(client, SAVE_WEIGHTS.format(path=str(weights)))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return seconds


def _run(client, source: str) -> None:
    reply = client.execute_interactive(source, output_hook=lambda message: None)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"a cell failed: {reply['content']['evalue']}")


def _tree_seconds(process: psutil.Process) -> float:
    return sum(sum(p.cpu_times()[:4]) for p in [process, *process.children(recursive=True)])


def own_seconds() -> float:
    """Returns what this process has taken, and the children that it has waited for."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@contextlib.contextmanager
def metered() -> Iterator[tuple[list[Worker], list[float]]]:
    """Keeps every worker that grading starts, and what the grader's own side of play takes."""
    workers, played = [], []
    play_games = play._play_games

    class KeptWorker(Worker):
        def __enter__(self) -> Worker:
            started = super().__enter__()
            workers.append(self)
            return started

    def metered_play(*arguments):
        before = own_seconds()
        result = play_games(*arguments)
        played.append(own_seconds() - before)
        return result

    with (
        mock.patch.object(grading.grade, "Worker", KeptWorker),
        mock.patch.object(grading.reader, "Worker", KeptWorker),
        mock.patch.object(play, "_play_games", metered_play),
    ):
        yield workers, played


def grading_seconds(notebook: Path, weights: Path) -> dict[str, float]:
    """Grades a submission once and returns the CPU seconds of each part of it."""
    with metered() as (workers, played), Grader(seed=SEED) as grader:
        report = grader.grade(notebook, weights)
    problems = [c.message for e in report.exercises[:-1] for c in e.checks if c.message]
    if problems or len(played) != 1:
        raise RuntimeError(f"the solution was not graded as right: {problems}")
    reader, student, reference, player = (worker.cpu_seconds for worker in workers)
    return {
        "reader_seconds": reader,
        "student_worker_seconds": student,
        "reference_worker_seconds": reference,
        "play_worker_seconds": player,
        "play_emulator_seconds": played[0],
    }


def measure() -> dict[str, float]:
    """Returns one pair's numbers."""
    with tempfile.TemporaryDirectory() as folder:
        notebook, weights = Path(folder) / "filled.ipynb", Path(folder) / "filled.npz"
        cells = [nbformat.v4.new_code_cell(source) for source in answers()]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
        bare = bare_kernel_seconds(weights)
        costs = grading_seconds(notebook, weights)
    ratio = costs["student_worker_seconds"] / bare
    return {"bare_kernel_seconds": bare, **costs, "student_side_ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading_cost")
    parser.add_argument("--runs", type=int, default=N_RUNS, help="pairs to measure")
    n_runs = parser.parse_args().runs
    runs = [measure() for _ in tqdm(range(n_runs), unit=" runs")]
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name}: {statistics.median(values):.2f} {min(values):.2f} {max(values):.2f}")


if __name__ == "__main__":
    main()
