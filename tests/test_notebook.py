"""The student notebook as a whole, run by plain `pytest --nbval` as on a student's machine."""

import contextlib
import functools
import itertools
import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest

from tests.frameworks import each_framework
from tests.notebooks import ROOT, filled, quick, run_nbval, solution_cells, student_path, wrong


def without_outputs(notebook: nbformat.NotebookNode) -> None:
    """As the generator leaves it."""


def as_tools_may_leave_it(notebook: nbformat.NotebookNode) -> None:
    """As if everything had passed, but without tags and ids, and with another kernel.

    Every other cell has lost its count: nbval compares the outputs of those that have one, and
    fails those that have none.
    """
    notebook.metadata = {"kernelspec": {"name": "conda-env-rl-py", "display_name": "rl"}}
    notebook.nbformat_minor = 4
    counts = itertools.cycle([1, None])
    for cell in notebook.cells:
        cell.metadata = {}
        cell.pop("id", None)
        if cell.cell_type == "code":
            cell.execution_count = next(counts)
            cell.outputs = [nbformat.v4.new_output("stream", text="All 13 lines passed.\n")]


STATES = [without_outputs, as_tools_may_leave_it]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """What became of a framework's right and wrong notebooks in each state; a kernel each."""

    @functools.cache
    def run(framework: str) -> dict:
        folder = tmp_path_factory.mktemp(framework)
        for make, state in itertools.product((filled, wrong), STATES):
            notebook = quick(make(framework))
            state(notebook)
            nbformat.write(notebook, folder / f"{state.__name__}-{make.__name__}.ipynb")
        return run_nbval(folder, *sorted(path.name for path in folder.glob("*.ipynb")))[1]

    return run


@each_framework
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_right_notebook_passes_whatever_outputs_it_holds(graded, framework, state):
    failures = graded(framework)[f"{state.__name__}-filled.ipynb"]
    assert len(failures) > 20
    assert failures == [None] * len(failures)


@each_framework
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_wrong_notebook_fails_whatever_outputs_it_holds(graded, framework, state):
    failures = [text for text in graded(framework)[f"{state.__name__}-wrong.ipynb"] if text]
    assert len(failures) == 1
    assert "✗ entropy: wrong sign: entropy is made smaller" in failures[0]


@each_framework
def test_an_unfilled_notebook_fails_and_names_its_gaps(tmp_path, framework):
    (tmp_path / "homework.ipynb").write_bytes(student_path(framework).read_bytes())
    exit_code, outcomes = run_nbval(tmp_path, "homework.ipynb")
    assert exit_code == 1
    text = "\n".join(filter(None, outcomes["homework.ipynb"]))
    assert "OpenGaps: 4 gaps are still open in this cell." in text
    assert re.search(r"line \d+: new_state = <YOUR CODE: [^>]+>\n", text)
    assert "✗ train_on_rollout is there: it is not defined: run its cell, gaps filled" in text
    assert "SyntaxError" not in text


def run_python(*arguments: str | Path) -> subprocess.CompletedProcess:
    """Runs Python as a student does; the limit only ends what hangs, on a busy machine, too."""
    # More threads would wait for one another where other tests run beside this one.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)


def set_learning_rate(framework, settings, iteration):
    """Runs the notebook's function of this name, with other settings than its own."""
    (cell,) = solution_cells("training-pool", framework=framework)
    before, pool, _ = cell.source.partition("pool = ")
    assert pool
    exec(before, settings)
    settings["set_learning_rate"](iteration)


@pytest.mark.tensorflow
def test_the_rate_falls_but_no_schedule_of_ones_own_is_touched(recwarn):
    import keras

    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 100, 1)
    rates = schedule, lambda: 0.1, 0.1, 0.1
    scheduled, called, plain, kept = map(keras.optimizers.Adam, rates)
    settings = {"keras": keras, "learning_rate": 0.25, "rollouts_to_half_rate": 400}
    set_learning_rate("tensorflow", {**settings, "optimizer": scheduled}, 400)
    set_learning_rate("tensorflow", {**settings, "optimizer": called}, 400)
    assert not recwarn.list
    set_learning_rate("tensorflow", {**settings, "optimizer": plain}, 400)
    set_learning_rate("tensorflow", {**settings, "optimizer": kept, "learning_rate": None}, 400)
    assert scheduled.get_config()["learning_rate"]["config"]["initial_learning_rate"] == 0.1
    assert called.learning_rate == 0.1
    assert float(plain.learning_rate) == 0.125
    assert float(kept.learning_rate) == pytest.approx(0.1)


@pytest.mark.pytorch
def test_the_rate_of_every_parameter_falls_unless_ones_own_is_kept():
    import torch

    def make_optimizer():
        groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.2}]
        return torch.optim.Adam(groups, lr=0.1)

    plain, kept = make_optimizer(), make_optimizer()
    settings = {"learning_rate": 0.25, "rollouts_to_half_rate": 400}
    set_learning_rate("pytorch", {**settings, "opt": plain}, 400)
    set_learning_rate("pytorch", {**settings, "opt": kept, "learning_rate": None}, 400)
    assert [group["lr"] for group in plain.param_groups] == [0.125, 0.125]
    assert [group["lr"] for group in kept.param_groups] == [0.1, 0.2]


class RunOfScores:
    """Stands in for a `TrainingRun` whose games bring 100 points more in each rollout but one."""

    def __init__(self):
        self.scored: list[tuple[int, int, float]] = []
        self.best_score = -math.inf
        self.n_restored = 0
        self._n_iterations = 0

    def compiled(self, train_on_rollout):
        return train_on_rollout

    @contextlib.contextmanager
    def progress(self, max_iterations, max_minutes):
        yield range(1, max_iterations + 1)

    def record(self, loss, rollout):
        self._n_iterations += 1

    def measure(self, *_):
        pass

    def evaluate_recent(self, n_games, go_back_below):
        self.scored.append((self._n_iterations, n_games, go_back_below))
        score = 950 if self._n_iterations == 12 else 100 * self._n_iterations
        self.best_score = max(self.best_score, score)
        return score

    def restore_best(self):
        self.n_restored += 1


@each_framework
@pytest.mark.parametrize(("stop_when_passed", "n_rollouts"), [(True, 14), (False, 16)])
def test_the_loop_ends_only_when_fresh_games_pass(framework, stop_when_passed, n_rollouts, capsys):
    (cell,) = solution_cells("train", framework=framework)
    run, rates, fresh_games = RunOfScores(), [], [[899.0], [901.0]]

    def play_20_games():
        assert run.n_restored == 3 - len(fresh_games)  # each time it is the best agent that plays
        return fresh_games.pop(0)

    names = {
        "run": run,
        "pool": SimpleNamespace(prev_memory_states=[], interact=lambda n: ()),
        "np": np,
        "train_on_rollout": lambda *_: 0.0,
        "draw_history": None,
        "LivePlot": lambda draw: SimpleNamespace(update=lambda **_: None),
        "set_learning_rate": rates.append,
        "play_20_games": play_20_games,
        "gamma": 0.99,
        "n_steps": 2,
        "n_training_games": 3,
        "max_iterations": 16,
        "max_minutes": 1,
        "measure_every": 5,
        "evaluate_every": 2,
        "go_back_below": 0.5,
        "passing_score": 900,
        "stop_when_passed": stop_when_passed,
    }
    exec(cell.source, names)

    assert rates == [*range(1, n_rollouts + 1)]
    assert run.scored == [(n, 3, 0.5) for n in range(2, n_rollouts + 1, 2)]
    assert ("The homework is passed!" in capsys.readouterr().out) == stop_when_passed
    assert fresh_games == ([] if stop_when_passed else [[899.0], [901.0]])


@each_framework
def test_training_without_a_browser_leaves_what_is_needed(tmp_path, framework):
    folder = tmp_path / "run"
    command = [ROOT / "solutions" / "train.py", "--track", framework, "--folder", folder]
    finished = run_python(*command, "--minutes", "0.1", "--frames", "400")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "A random policy, mean of 20 games: " in finished.stdout
    assert "Your agent, mean of 20 games: " in finished.stdout
    page = (folder / "notebook.html").read_text(encoding="utf-8")
    assert "data:video/mp4;base64," in page
    assert page.count("data:image/png;base64,") >= 7  # five figures, the look and the plots
    assert "notebooks/images" not in page
    assert len(list((folder / "videos" / "final").glob("*.mp4"))) == 20
    assert len(list((folder / "checkpoints").glob("kungfu.*"))) == 1
    assert (folder / "kungfu_weights.npz").stat().st_size < 3_000_000
    assert "hand_in.zip (" in finished.stdout
    with zipfile.ZipFile(folder / "hand_in.zip") as packed:
        assert packed.namelist() == ["notebook.ipynb", "kungfu_weights.npz"]

    again = run_python(*command)
    assert again.returncode == 2
    assert "already exists, and what is in it would be lost" in again.stderr


@pytest.mark.parametrize("n_measured", [0, 1, 30])
def test_the_plots_show_what_there_is_and_no_axis_is_empty_or_negative(n_measured):
    (cell,) = solution_cells("plots", framework="tensorflow")
    history = {name: [0.5] * n_measured for name in ("entropy", "value_loss", "gradient_norm")}
    scores = [math.nan, 700.0][: n_measured // 3]  # none until enough games have ended
    names = {
        "np": np,
        "pd": pd,
        "plt": plt,
        "run": SimpleNamespace(
            n_iterations=20 * n_measured,
            history={"iteration": [20 * (i + 1) for i in range(n_measured)], **history},
        ),
        "rewards_history": scores,
        "evaluate_every": 50,
        "n_training_games": 16,
        "passing_score": 10_000,
        "random_score": 410,
    }
    exec(cell.source, names)
    figure = names["draw_history"]()
    figure.canvas.draw()
    points, *others = figure.axes
    levels = {line.get_ydata()[0] for line in points.lines if len(line.get_ydata())}
    assert {10_000, 410} <= levels
    for panel in figure.axes:
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        assert 0 <= left < right
        assert 0 <= bottom < top
    for panel in others:
        (line,) = panel.lines
        assert line.get_marker() == "."  # a single point is visible
    width, height = figure.get_size_inches()
    assert width / 2 >= 5
    assert height / 2 >= 3
    plt.close(figure)
