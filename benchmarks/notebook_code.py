"""The code of a solution notebook as it stands: its own cells, run outside a notebook.

What is measured is what students see and write, read anew from the notebook for every run. Values
of the settings can be replaced, and pieces of the source, to see what they bring. Settings say all
of this, and whose notebook it is.
"""

import ast
import contextlib
import functools
import io
import linecache
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import nbformat
import numpy as np

SOLUTIONS = Path(__file__).parent.parent / "solutions"
TRACKS = ("tensorflow", "pytorch")
SETTINGS_CELLS = ("pool", "select", "training-settings")
AGENT_CELLS = ("imports", "make-env", "agent-exercise", "select", "loss-exercise")
OPTIMIZER_CELLS = ("optimizer-exercise",)
POOL_CELLS = ("training-settings", "training-pool", "history")

# They change how long training may go on and what it shows, not what it does with a rollout.
SETTINGS_OF_THE_SESSION = {
    "evaluate_every",
    "keep_on_drive",
    "max_iterations",
    "max_minutes",
    "measure_every",
    "n_parallel_games",
    "passing_score",
    "stop_when_passed",
}

Settings = Mapping[str, Any]


# ----------------------------------------------------------------------------------------- settings


def read_settings(
    changes: Settings | None = None,
    track: str = "tensorflow",
    edits: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns what a notebook's settings are, by name, its track as "track" and edits as "edits".

    Settings are the numbers, booleans and strings that the settings cells assign by themselves.

    Args:
        changes: other values of some of them.
        track: one of `TRACKS`.
        edits: pieces of the notebook's source and what stands in their place. "edits" is there
            only if there are any.

    Raises:
        ValueError: If a change names no setting, or is neither None nor of the kind of the
            notebook's value; or if what is to be edited is nowhere in the code that trains.
    """
    sources = _sources(track)
    settings = {
        name: node.value.value
        for cell in SETTINGS_CELLS
        for name, node in _assignments(ast.parse(sources[cell])).items()
        if isinstance(node.value, ast.Constant)
        and node.value.value is not None
        and name not in SETTINGS_OF_THE_SESSION
    }
    for name, value in (changes or {}).items():
        if name not in settings:
            raise ValueError(f"there is no setting {name!r}; there are {', '.join(settings)}")
        if value is not None and _kind(value) != _kind(settings[name]):
            raise ValueError(f"{name} must be a {_kind(settings[name])} or None, got {value!r}")
        settings[name] = value
    for piece in edits or {}:
        if not any(piece in sources[cell] for cell in AGENT_CELLS + OPTIMIZER_CELLS + POOL_CELLS):
            raise ValueError(f"in the code that trains there is no {piece!r}")
    return {"track": track, **settings, **({"edits": dict(edits)} if edits else {})}


def sized_settings(n_games: int, n_ticks: int, track: str) -> dict[str, Any]:
    """Returns a notebook's settings with other numbers of games and of a rollout's columns."""
    return read_settings({"n_training_games": n_games, "n_steps": n_ticks}, track)


def parse_change(text: str) -> tuple[str, Any]:
    """Reads `name=value`, the value a Python literal.

    Raises:
        ValueError: If it is something else.
    """
    name, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        raise ValueError(
            f"a setting is changed by name=value, such as entropy_weight=0.01, got {text!r}"
        ) from None


def _kind(value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def _assignments(tree: ast.Module) -> dict[str, ast.Assign]:
    """Returns the statements at the top level that assign to one name."""
    return {
        node.targets[0].id: node
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


# -------------------------------------------------------------------------------------------- cells


def run_cells(cells: Sequence[str], namespace: dict[str, Any], settings: Settings) -> None:
    """Runs cells of a notebook in a namespace.

    Args:
        cells: their ids, in the order in which to run them.
        namespace: what the cells before have left; what these leave is added.
        settings: whose values and edits stand in the place of the notebook's own.
    """
    sources = _sources(settings["track"])
    for cell in cells:
        source, file = _with_settings(sources[cell], settings), f"<cell {cell}>"
        # tf.function reads the source of what it compiles through this cache.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, file, "exec"), namespace)


def _sources(track: str) -> dict[str, str]:
    notebook = nbformat.read(SOLUTIONS / f"kungfu_a2c_{track}.ipynb", 4)
    return {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "code"}


def _with_settings(source: str, settings: Settings) -> str:
    for piece, other in settings.get("edits", {}).items():
        source = source.replace(piece, other)
    tree = ast.parse(source)
    for name, node in _assignments(tree).items():
        if name in settings:
            node.value = ast.Constant(settings[name])
    return ast.unparse(tree)


def load_notebook(settings: Settings, seed: int) -> dict[str, Any]:
    """Returns the notebook's namespace with a new agent and its optimizer, the student's choice.

    Args:
        settings: as `read_settings` returns them.
        seed: of the agent's weights and of everything that it draws.
    """
    import checks

    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    checks.prepare_notebook(settings["track"])
    code = {"__name__": "__main__", "checks": checks, **settings}
    run_cells(AGENT_CELLS, code, settings)
    if settings["track"] == "tensorflow":
        code["keras"].utils.set_random_seed(seed)
    else:
        np.random.seed(seed)
        code["torch"].manual_seed(seed)
    code["agent"] = code["SimpleRecurrentAgent"](code["obs_shape"], code["n_actions"])
    run_cells(OPTIMIZER_CELLS, code, settings)
    return code


def load_make_env(settings: Settings, **options: Any) -> Callable[[], Any]:
    """Returns the notebook's function that makes a game, without anything else of the notebook.

    Args:
        settings: as `read_settings` returns them.
        options: of `PreprocessAtari`, in the place of the notebook's.
    """
    import gymnasium as gym

    from atari_util import PreprocessAtari

    def preprocess(env: gym.Env, **given: Any) -> PreprocessAtari:
        return PreprocessAtari(env, **given | options)

    code = {"gym": gym, "PreprocessAtari": preprocess if options else PreprocessAtari, **settings}
    run_cells(["make-env"], code, settings)
    return code["make_env"]


# ----------------------------------------------------------------------------------------- training


class Progress(NamedTuple):
    """How far training has come.

    Attributes:
        seconds: Since training began, compiling included, imports not.
        steps: Environment steps so far.
        episode_returns: Points of every game finished so far, in order.
    """

    seconds: float
    steps: int
    episode_returns: Sequence[float]


OnProgress = Callable[[Progress], bool]


class NotebookTraining:
    """Trains as the notebook's loop does: `update` is one rollout and one gradient step.

    Plots are not part of it, and no fresh games decide when it is over; keeping the best agent and
    checkpoints are, in a folder that goes when the training is left: it is a context manager.

    Args:
        settings: as `read_settings` returns them.
        seed: of agent and games.
        xla: let XLA compile the step.

    Attributes:
        settings: As they were given.
        code: The notebook's namespace.
        run: The notebook's `TrainingRun`.
        steps_per_update: Environment steps of one update.
    """

    def __init__(self, settings: Settings, seed: int, *, xla: bool = False):
        self.settings = settings
        self.code = load_notebook(settings, seed)
        self.code["EnvPool"] = functools.partial(self.code["EnvPool"], seed=seed)
        self._folder = TemporaryDirectory()
        run_cells(POOL_CELLS, self.code, {**settings, "checkpoint_folder": self._folder.name})
        self._pool = self.code["pool"]
        self.run = self.code["run"]
        self.step = self.run.compiled(self.code["train_on_rollout"], xla=xla)
        self.steps_per_update = settings["n_training_games"] * (settings["n_steps"] - 1)

    def __enter__(self) -> "NotebookTraining":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()
        self._folder.cleanup()

    def update(self) -> None:
        """Plays a rollout and learns from it."""
        settings, run = self.settings, self.run
        self.code["set_learning_rate"](run.n_iterations + 1)
        memory = list(self._pool.prev_memory_states)
        rollout = self._pool.interact(settings["n_steps"])
        loss = self.step(*rollout, memory, settings["gamma"])
        run.record(loss, rollout)
        if run.n_iterations % self.code["evaluate_every"] == 0:
            run.evaluate_recent(settings["n_training_games"], settings["go_back_below"])

    def train(self, minutes: float, on_progress: OnProgress) -> bool:
        """Trains for so many minutes of wall time.

        Args:
            minutes: after which training ends.
            on_progress: called after every rollout; True ends training.

        Returns:
            Whether training ended well; False if it diverged.
        """
        from training import TrainingDivergedError

        started, is_over = time.monotonic(), False
        while not is_over:
            try:
                self.update()
            except TrainingDivergedError:
                return False
            seconds = time.monotonic() - started
            progress = Progress(seconds, self.run.n_env_steps, self._pool.episode_returns)
            is_over = on_progress(progress) or seconds >= 60 * minutes
        return True
