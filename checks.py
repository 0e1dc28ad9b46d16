"""Checks that a student runs inside the notebook, right under the exercise they belong to.

Each check measures the student's code on a small case, prints one line for each property, passed or
not and why, and raises `CheckFailed` if any failed:

    check_agent(globals())          after the agent's cell
    check_loss(globals())           after the cell of train_on_rollout
    check_optimizer(globals())      after the optimizer's cell
    check_ready_to_train(globals()) before training: do pool, agent and optimizer belong together?

`prepare_notebook(…)` in the set-up cell makes IPython answer in plain words when a cell still has
`<YOUR CODE>` in it. `python checks.py NOTEBOOK` runs a whole notebook as `pytest --nbval` does.

How the loss is looked into. The student's `train_on_rollout` gets a stand-in agent, whose logits
and values are constants plus variables that are zero, and plain gradient descent. After the call
each variable has moved along its gradient, so what the loss wants from every single logit and value
can be read off. Expected moves are worked out by hand.

A check leaves no trace: weights, optimizer, globals and random state are as they were before it.
"""

import ast
import contextlib
import dataclasses
import importlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

GAP = "<YOUR CODE"
HELPERS = ("atari_util.py", "env_pool.py", "training.py", "checks.py")
HELPERS += ("conftest.py", "requirements.txt")
NO_PLUGINS = ("-p", "no:cacheprovider", "-p", "no:grading")
POINTS = {"agent": 20, "loss": 50, "optimizer": 10}  # the other 20 are for playing

# Over every right way to write the loss relative differences stay below 1e-6, and the nearest
# misconception is 0.09 away: benchmarks/tolerances.md.
TOLERANCE = 1e-3


# ------------------------------------------------------------------------------------ what is shown


class PlainError(Exception):
    """An error that a notebook shows as its message alone: the stack behind it would not help."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this name
        return [f"{type(self).__name__}: {self}"]


class CheckFailed(PlainError):  # noqa: N818 - reads as a verdict, not as an accident
    """At least one property of an exercise does not hold."""


class OpenGaps(PlainError):  # noqa: N818
    """A cell was run while some of its gaps were still to be filled."""


class Sheet:
    """The lines of one check: a property each, passed or not and why."""

    def __init__(self, title: str):
        self.title = title
        self.failures: list[str] = []
        self.lines: list[str] = []

    def add(self, title: str, problem: str = "", note: str = "") -> bool:
        """Adds a line; returns whether the property holds."""
        if problem:
            self.failures.append(f"  ✗ {title}: {problem}")
            self.lines.append(self.failures[-1])
        else:
            self.lines.append(f"  ✓ {title}" + (f" ({note})" if note else ""))
        return not problem

    def close(self) -> None:
        """Prints the table; raises `CheckFailed` with the failed lines if there are any."""
        print(self.title, *self.lines, sep="\n")
        if self.failures:
            count = len(self.failures)
            head = f"{self.title}: {count} of {len(self.lines)} lines failed"
            raise CheckFailed("\n".join([head, *self.failures]))
        print(f"All {len(self.lines)} lines passed.")


def prepare_notebook(framework: str) -> None:
    """Makes open gaps answer in plain words, and loads the framework without its noise.

    Args:
        framework: the module to load; TensorFlow writes log lines to the terminal before it can be
            told not to, and the notebook would show them.
    """
    from IPython import get_ipython

    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        importlib.import_module(framework)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)

    shell = get_ipython()
    if shell is None:  # a script has no cells
        return
    installed = shell.input_transformers_post  # speaks before the parser does
    installed[:] = [hook for hook in installed if hook.__name__ != _refuse_open_gaps.__name__]
    installed.append(_refuse_open_gaps)


def _refuse_open_gaps(lines: list[str]) -> list[str]:
    if not any(GAP in line for line in lines):
        return lines
    with contextlib.suppress(SyntaxError):  # the words may stand in a comment or a string
        ast.parse("".join(lines))
        return lines
    places = [f"  line {i}: {line.strip()}" for i, line in enumerate(lines, 1) if GAP in line]
    count = "1 gap is" if len(places) == 1 else f"{len(places)} gaps are"
    raise OpenGaps(
        f"{count} still open in this cell. Replace each <...> with your own code:\n"
        + "\n".join(places)
    )


def describe_error(error: BaseException) -> str:
    """Names an error and the line of the student's own code that it came from."""
    ours = {__file__}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.line]
    own = [
        frame
        for frame in frames
        if frame.filename not in ours and "site-packages" not in frame.filename
    ]
    text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    return f"{text} (at `{own[-1].line}`)" if own else text


def _require(namespace: dict[str, Any], sheet: Sheet, *names: str) -> None:
    """Stops the check with a clear line if the notebook lacks something that it needs."""
    for name in names:
        if name not in namespace:
            sheet.add(
                f"{name} is there", "it is not defined: run its cell, gaps filled, before this"
            )
            sheet.close()


# ------------------------------------------------------------------------------ leaving no trace


@contextlib.contextmanager
def _no_trace(namespace: dict[str, Any], **stand_ins: Any) -> Iterator[None]:
    """Puts stand-ins into the notebook's globals, and all back as it was: random state too."""
    import tensorflow as tf

    missing = object()
    before = {name: namespace.get(name, missing) for name in stand_ins}
    random_state, numpy_state = random.getstate(), np.random.get_state()
    eager = tf.config.functions_run_eagerly()
    namespace.update(stand_ins)
    tf.config.run_functions_eagerly(True)  # mistakes are found, and explained, line by line
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eager)
        for name, value in before.items():
            if value is missing:
                namespace.pop(name, None)
            else:
                namespace[name] = value
        random.setstate(random_state)
        np.random.set_state(numpy_state)


# ------------------------------------------------------------------------------------------ agent


def check_agent(namespace: dict[str, Any]) -> None:
    """Checks `SimpleRecurrentAgent.forward` on a fresh agent.

    Args:
        namespace: the notebook's `globals()`: `SimpleRecurrentAgent`, `obs_shape`, `n_actions`.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: agent")
    _require(namespace, sheet, "SimpleRecurrentAgent", "obs_shape", "n_actions")
    with _no_trace(namespace):
        _check_agent(namespace, sheet)
    sheet.close()


def _check_agent(namespace: dict[str, Any], sheet: Sheet) -> None:
    import tensorflow as tf

    n_actions, n_games = int(namespace["n_actions"]), 5
    generator = np.random.default_rng(0)
    observations = generator.random((n_games, *namespace["obs_shape"]), dtype=np.float32)
    try:
        agent = namespace["SimpleRecurrentAgent"](namespace["obs_shape"], n_actions)
        blank = agent.get_initial_state(n_games)
        memory = [
            tf.constant(generator.uniform(-0.5, 0.5, np.shape(part)), tf.float32) for part in blank
        ]
        output = agent.forward(memory, tf.constant(observations))
        single = agent.forward([part[:1] for part in memory], tf.constant(observations[:1]))
    except Exception as error:
        sheet.add("forward runs", describe_error(error))
        return
    if not sheet.add(
        "forward returns new_state, (logits, state_value)", _structure_problem(output)
    ):
        return
    new_state, (logits, state_value) = output
    rows = [tf.convert_to_tensor(part) for part in (*new_state, logits, state_value)]
    sound = sheet.add(
        f"logits have shape (n, {n_actions})", _logits_problem(logits, n_games, n_actions)
    )
    sound &= sheet.add(
        "state_value has shape (n,)", _value_problem(state_value, single[1][1], n_games)
    )
    sound &= sheet.add(
        "new_state is the cell's new [h, c]",
        _memory_problem(agent, memory, observations, new_state),
    )
    if not sound:
        return

    def changed(other_memory, other_observations) -> list[bool]:
        _, (other_logits, other_value) = agent.forward(
            other_memory, tf.constant(other_observations)
        )
        return [
            not np.allclose(other_logits, logits, atol=1e-6),
            not np.allclose(other_value, state_value, atol=1e-6),
        ]

    sheet.add(
        "what the agent sees matters",
        _all_change(changed(memory, observations[:, ::-1]), "observation"),
    )
    sheet.add(
        "what the agent remembers matters",
        _all_change(changed(blank, observations), "memory")
        and "it makes no difference to what comes out: the heads must read the cell's output, "
        "not the backbone's",
    )
    backwards = agent.forward([part[::-1] for part in memory], tf.constant(observations[::-1]))
    mirrored = [*backwards[0], *backwards[1]]
    sheet.add(
        "each game is played on its own",
        ""
        if all(np.allclose(a[::-1], b, atol=1e-4) for a, b in zip(mirrored, rows, strict=True))
        else "the order of the games in the batch changes a game's result",
    )
    sheet.add("every weight learns", _gradient_problem(agent, memory, observations))
    sheet.add("forward can be compiled", _compile_problem(agent, memory, observations, logits))


def _structure_problem(output: Any) -> str:
    try:
        new_state, (logits, state_value) = output
        parts = len(new_state)
    except (TypeError, ValueError) as error:
        return f"what came back does not unpack so ({error})"
    if parts != 2 or np.ndim(new_state[0]) != 2:
        return (
            f"new_state must be the two arrays [h, c] that the cell gives back, "
            f"not something of shape {tuple(np.shape(new_state))}"
        )
    for name, part in (("logits", logits), ("state_value", state_value)):
        if not np.all(np.isfinite(np.asarray(part))):
            return f"{name} has NaN or infinite entries"
    return ""


def _logits_problem(logits: Any, n_games: int, n_actions: int) -> str:
    shape = tuple(np.shape(logits))
    if shape != (n_games, n_actions):
        return f"for {n_games} games they have shape {shape}, expected {(n_games, n_actions)}"
    rows = np.asarray(logits)
    if np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        return (
            "they are probabilities already (each row sums to 1): return the head's raw output, "
            "softmax is applied later"
        )
    if np.all(rows <= 0) and np.allclose(np.exp(rows).sum(axis=1), 1, atol=1e-3):
        return (
            "they are log-probabilities already: return the head's raw output, softmax comes later"
        )
    return ""


def _value_problem(state_value: Any, of_one_game: Any, n_games: int) -> str:
    shape = tuple(np.shape(state_value))
    if shape == (n_games, 1):
        return (
            f"state_value has shape {shape}: drop the last axis, or (n,) minus (n, 1) becomes "
            "(n, n) in the loss without a word"
        )
    if shape != (n_games,):
        return f"for {n_games} games it has shape {shape}, expected {(n_games,)}"
    if tuple(np.shape(of_one_game)) != (1,):
        return (
            f"for one game it has shape {tuple(np.shape(of_one_game))}, expected (1,): "
            "drop the last axis only, a bare squeeze drops the games' axis too"
        )
    return ""


class Listener:
    """Stands before a layer and keeps what went in and what came out."""

    def __init__(self, layer: Any):
        self.layer, self.calls = layer, []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.layer(*args, **kwargs)
        self.calls.append((args, kwargs, result))
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)


def _memory_problem(agent: Any, memory: list, observations: np.ndarray, new_state: Any) -> str:
    import tensorflow as tf

    for part, old in zip(new_state, memory, strict=True):
        if tuple(np.shape(part)) != tuple(np.shape(old)):
            return (
                f"its parts have shapes {[tuple(np.shape(part)) for part in new_state]}, "
                f"expected {[tuple(np.shape(old)) for old in memory]}"
            )
    if all(np.allclose(part, old, atol=1e-6) for part, old in zip(new_state, memory, strict=True)):
        return "it is the old memory: return the state that the cell gives back"
    cell = getattr(agent, "lstm_cell", None)
    if cell is None:  # an architecture of the student's own: its parts cannot be listened to
        return ""
    agent.lstm_cell = Listener(cell)
    try:
        replayed, _ = agent.forward(memory, tf.constant(observations))
        calls = agent.lstm_cell.calls
    finally:
        agent.lstm_cell = cell
    if not calls:
        return "self.lstm_cell is never called"
    _, _, (_, cell_state) = calls[-1]
    if not all(np.allclose(a, b, atol=1e-6) for a, b in zip(replayed, cell_state, strict=True)):
        return "it differs from the state that self.lstm_cell gives back: [h, c], in this order"
    return ""


def _all_change(changes: list[bool], what: str) -> str:
    same = [
        name for name, moved in zip(("logits", "state_value"), changes, strict=True) if not moved
    ]
    return f"another {what} leaves {' and '.join(same)} as before" if same else ""


def _gradient_problem(agent: Any, memory: list, observations: np.ndarray) -> str:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        _, (logits, state_value) = agent.forward(memory, tf.constant(observations))
        total = tf.reduce_sum(logits**2) + tf.reduce_sum(state_value**2)
    gradients = tape.gradient(total, agent.trainable_variables)
    stuck = [
        variable.path
        for variable, gradient in zip(agent.trainable_variables, gradients, strict=True)
        if gradient is None
    ]
    return f"no gradient reaches {', '.join(stuck)}" if stuck else ""


def _compile_problem(agent: Any, memory: list, observations: np.ndarray, logits: Any) -> str:
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    try:
        _, (compiled, _) = tf.function(agent.forward)(memory, tf.constant(observations))
    except Exception as error:
        return (
            f"{describe_error(error)}; training compiles it with tf.function, "
            "so keep to TensorFlow's operations and leave NumPy out"
        )
    finally:
        tf.config.run_functions_eagerly(True)
    return "" if np.allclose(compiled, logits, atol=1e-4) else "compiled, its logits are different"


# ------------------------------------------------------------------------------------------- loss


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A rollout, what the stand-in agent says about it, and the settings of the loss.

    Attributes:
        actions, rewards, values, is_not_done: `[n_games, n_ticks]`.
        logits: `[n_games, n_ticks, n_actions]`.
        memory: the memory before the first tick, a number for each game, `[n_games]`.
        gamma, value_loss_weight, entropy_weight: numbers.
    """

    actions: np.ndarray
    rewards: np.ndarray
    values: np.ndarray
    is_not_done: np.ndarray
    logits: np.ndarray
    memory: np.ndarray
    gamma: float
    value_loss_weight: float
    entropy_weight: float


@dataclasses.dataclass(frozen=True)
class LossMeasurement:
    """What one call of `train_on_rollout` returned and did to the stand-ins.

    Attributes:
        loss: what came back.
        value_moves: `[n_games, n_ticks]`, minus the gradient of the loss by V(s_t).
        logit_moves: `[n_games, n_ticks, n_actions]`, minus the gradient by each logit.
        memory_moves: `[n_ticks]`, minus the gradient by the memory that each tick hands on.
        memories: for each tick the memories `[n_games]` that the agent was called with.
        n_steps: how many steps the optimizer took.
    """

    loss: Any
    value_moves: np.ndarray
    logit_moves: np.ndarray
    memory_moves: np.ndarray
    memories: list[list[np.ndarray]]
    n_steps: int


LEARNING_RATE = 0.5


class StepCalled(Exception):  # noqa: N818
    """The student called `agent.step`, which leaves the gradient tape."""


class _StandInAgent:
    """Fixed logits and values, each of which can be moved; finds its place from the pixels.

    Its memory counts ticks. The count is worth nothing to the logits, but a gradient passes.
    """

    def __init__(self, case: LossCase):
        import keras

        n_games, n_ticks, self.n_actions = case.logits.shape
        self.values, self.logits = case.values, case.logits
        self.value_shift = keras.Variable(np.zeros_like(self.values))
        self.logit_shift = keras.Variable(np.zeros_like(self.logits))
        self.memory_shift = keras.Variable(np.zeros(n_ticks, np.float32))
        self.trainable_variables = [self.value_shift, self.logit_shift, self.memory_shift]
        self.memories: list[list[np.ndarray]] = [[] for _ in range(n_ticks)]
        # Two pixels of each observation say which game and tick it is.
        self.observations = np.zeros((n_games, n_ticks, 42, 42, 4), np.float32)
        self.observations[:, :, 0, 0, 0] = np.arange(n_games)[:, None] / 64
        self.observations[:, :, 0, 0, 1] = np.arange(n_ticks) / 64

    def get_initial_state(self, batch_size: int) -> list:
        import tensorflow as tf

        return [tf.zeros((batch_size, 1)), tf.zeros((batch_size, 1))]

    def forward(self, prev_state: Any, obs_t: Any) -> tuple:
        import tensorflow as tf

        h, c = (tf.convert_to_tensor(part, tf.float32) for part in prev_state)
        place = tf.cast(tf.round(64 * tf.convert_to_tensor(obs_t)[:, 0, 0, :2]), tf.int32)
        tick = place[:, 1]
        self.memories[int(tick[0])].append(h.numpy()[:, 0])
        path_through_time = (h - tf.stop_gradient(h)) * tf.one_hot([0], self.n_actions)
        never_none = 0.0 * tf.reduce_sum(self.memory_shift)
        logits = tf.gather_nd(self.logit_shift + self.logits, place)
        value = tf.gather_nd(self.value_shift + self.values, place)
        handed_on = tf.gather(tf.convert_to_tensor(self.memory_shift), tick)[:, None]
        new_state = [h + 1 + handed_on, c + 1 + handed_on]
        return new_state, (logits + path_through_time + never_none, value)

    __call__ = forward

    def step(self, prev_state: Any, obs_t: Any) -> None:
        raise StepCalled("agent.step answers in NumPy: no gradient passes through it")


def measure_loss(namespace: dict[str, Any], case: LossCase) -> LossMeasurement:
    """Runs the `train_on_rollout` of a notebook's globals once, with stand-ins around it.

    Raises:
        StepCalled: if it calls `agent.step`.
        Exception: whatever the student's code raises.
    """
    import keras

    agent = _StandInAgent(case)
    # Not 1: who bypasses the optimizer moves weights twice as far.
    optimizer = keras.optimizers.SGD(learning_rate=LEARNING_RATE)
    optimizer.build(agent.trainable_variables)
    with _no_trace(
        namespace,
        agent=agent,
        optimizer=optimizer,
        n_actions=agent.n_actions,
        value_loss_weight=case.value_loss_weight,
        entropy_weight=case.entropy_weight,
    ):
        loss = namespace["train_on_rollout"](
            agent.observations,
            case.actions.copy(),
            case.rewards.copy(),
            case.is_not_done.copy(),
            [case.memory[:, None].copy(), case.memory[:, None].copy()],
            gamma=case.gamma,
        )
    return LossMeasurement(
        loss=loss,
        value_moves=np.asarray(agent.value_shift) / LEARNING_RATE,
        logit_moves=np.asarray(agent.logit_shift) / LEARNING_RATE,
        memory_moves=np.asarray(agent.memory_shift) / LEARNING_RATE,
        memories=agent.memories,
        n_steps=int(np.asarray(optimizer.iterations)),
    )


N_GAMES, ROLLOUT_LENGTH, N_ACTIONS = 2, 3, 14
PLAYED = np.array([[3, 7, 1, 0], [5, 2, 11, 0]], np.int32)  # the last column is never acted on
FAVOURITE = np.array([[3, 4, 1, 6], [9, 2, 8, 12]])  # as often the action that was played as not

POLICY_CASE = LossCase(
    actions=PLAYED,
    rewards=np.array([[0.2, 0.0, 0.3, 0.0], [0.0, 0.4, 0.1, 0.0]], np.float32),
    values=np.array([[0.2, 0.4, 0.2, 0.4], [0.2, 0.2, 0.6, 0.2]], np.float32),
    is_not_done=np.ones((2, 4), np.float32),
    logits=np.zeros((2, 4, 14), np.float32),
    memory=np.array([10.0, 20.0], np.float32),
    gamma=0.5,
    value_loss_weight=0.0,
    entropy_weight=0.0,
)
# Game 0 is over in the first and the last column, game 1 in the second. A reset tick pays nothing.
POLICY_CASE_WITH_ENDS = dataclasses.replace(
    POLICY_CASE,
    rewards=np.array([[0.0, 0.1, 0.2, 0.0], [0.3, 0.0, 0.1, 0.0]], np.float32),
    is_not_done=np.array([[0, 1, 1, 0], [1, 0, 1, 1]], np.float32),
)
# 2 · 1.5 / (2 games · 3 ticks) = 1/2: each value moves by half of its TD error.
VALUES_CASE = dataclasses.replace(POLICY_CASE, value_loss_weight=1.5)
VALUES_CASE_WITH_ENDS = dataclasses.replace(POLICY_CASE_WITH_ENDS, value_loss_weight=1.5)
# Nothing to earn or to expect; e^ln(13) stands against 13 times e^0: a probability of one half.
ENTROPY_CASE = dataclasses.replace(
    POLICY_CASE,
    rewards=np.zeros((2, 4), np.float32),
    values=np.zeros((2, 4), np.float32),
    logits=np.float32(np.log(13)) * np.eye(14, dtype=np.float32)[FAVOURITE],
    entropy_weight=0.8,
)
WHOLE_CASE = dataclasses.replace(POLICY_CASE, value_loss_weight=1.0, entropy_weight=0.01)


def check_loss(namespace: dict[str, Any]) -> None:
    """Checks `train_on_rollout` number by number.

    Args:
        namespace: the notebook's `globals()`, with `train_on_rollout` and what it calls.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: loss")
    _require(namespace, sheet, "train_on_rollout")
    _check_loss(lambda case: measure_loss(namespace, case), sheet)
    sheet.close()


def _check_loss(measure: Callable[[LossCase], LossMeasurement], sheet: Sheet) -> None:
    try:
        values, values_with_ends = measure(VALUES_CASE), measure(VALUES_CASE_WITH_ENDS)
        policy, policy_with_ends = measure(POLICY_CASE), measure(POLICY_CASE_WITH_ENDS)
        entropy, whole = measure(ENTROPY_CASE), measure(WHOLE_CASE)
    except StepCalled as error:
        sheet.add("train_on_rollout runs", f"{error}: call the agent itself")
        return
    except Exception as error:
        sheet.add("train_on_rollout runs", describe_error(error))
        return
    if not sheet.add("the optimizer takes one step", _step_problem(values)):
        return  # nothing moved as it should, so no other line would speak of its own idea
    sheet.add("each tick gets the memory of the tick before", _memory_passing_problem(values))
    sheet.add("a finished game's memory is wiped", _memory_reset_problem(values_with_ends))
    sheet.add("gradients flow back through the memory", _path_problem(policy))
    if not sheet.add("the three terms have their weights", _weights_problem(policy, values, whole)):
        return
    on_returns = _matches(values.value_moves[:, :ROLLOUT_LENGTH], TOWARDS_RETURN)
    sheet.add(
        "value loss",
        _value_loss_problem(values),
        note="pulled to the n-step return: not what the text asks, and right too"
        if on_returns
        else "",
    )
    sheet.add("value loss: V(s_{t+1}) is a constant", _semi_gradient_problem(values))
    sheet.add("value loss: episode ends", _value_ends_problem(values_with_ends, on_returns))
    sheet.add("policy: J_hat and its advantage", _policy_problem(policy))
    sheet.add("policy: the advantage is a constant", _constant_advantage_problem(policy))
    sheet.add("policy: episode ends", _policy_ends_problem(policy_with_ends))
    sheet.add("entropy", _entropy_problem(entropy))
    sheet.add("the loss comes back as a number", _returned_loss_problem(whole, on_returns))


def _matches(measured: np.ndarray, *tables: list) -> bool:
    """Says whether an array equals one of the tables, by its largest difference."""
    return any(
        np.max(np.abs(measured - np.asarray(table))) <= TOLERANCE * max(np.max(np.abs(table)), 1e-6)
        for table in tables
    )


def _factor(measured: np.ndarray, table: list) -> float | None:
    """Returns k where measured = k · table, None where there is no such k."""
    expected = np.asarray(table)
    k = float(np.sum(measured * expected) / np.sum(expected * expected))
    return k if k != 0 and _matches(measured, k * expected) else None


def _factor_problem(measured: np.ndarray, table: list, named: dict[float, str]) -> str:
    """Explains a result that is right but for one factor; "" where it is not so."""
    k = _factor(measured, table)
    if k is None:
        return ""
    for factor, words in named.items():
        if abs(k - factor) <= TOLERANCE * abs(factor):
            return words
    return f"right but for a factor of {k:.3g}"


OF_SIZE = {
    2: "twice too large for 2 games: take the mean over the games, not the sum",
    3: "3 times too large for a rollout of 3: the mean over time is missing",
    6: "6 times too large for 2 games and a rollout of 3: take means, not sums",
    1 / 2: "half as large as it should be: the formula has no factor of 1/2",
    1 / 3: "3 times too small for a rollout of 3: it is divided by rollout_length once too often",
}


def _step_problem(values: LossMeasurement) -> str:
    moved = any(np.any(m != 0) for m in (values.value_moves, values.logit_moves))
    if values.n_steps == 1 and moved:
        return ""
    if values.n_steps == 1:
        return "the gradients that it is given are all zero"
    if values.n_steps > 1:
        return f"it takes {values.n_steps} steps in one call"
    if moved:
        return "weights change, but not by the optimizer"
    return "no weight changes: hand the gradients and agent.trainable_variables to the optimizer"


# The memory counts ticks. It comes in as 10 for game 0 and 20 for game 1.
COUNTED = [[10, 11, 12, 13], [20, 21, 22, 23]]
COUNTED_WITH_ENDS = [[10, 0, 1, 2], [20, 21, 0, 1]]
STUCK = [[10, 10, 10, 10], [20, 20, 20, 20]]
FORGOTTEN = [[0, 0, 0, 0], [0, 0, 0, 0]]


def _received(measurement: LossMeasurement) -> np.ndarray | None:
    """Returns the memories that the agent was given, `[n_games, n_ticks]`; None if unclear."""
    if any(not at_tick for at_tick in measurement.memories):
        return None
    if any(np.any(np.ptp(at_tick, axis=0) != 0) for at_tick in measurement.memories):
        return None  # called more than once in a tick is fine, but with one memory
    return np.stack([at_tick[0] for at_tick in measurement.memories], axis=1)


def _memory_passing_problem(values: LossMeasurement) -> str:
    received = _received(values)
    if received is None:
        return "the agent must be called in every tick, with that tick's memory"
    if _matches(received, COUNTED):
        return ""
    if _matches(received, STUCK):
        return "each tick gets the memory the rollout began with: assign what comes back to memory"
    if _matches(received[:, 1:], np.asarray(FORGOTTEN)[:, 1:]):
        return "the memory is blank again in every tick"
    return "the memory that the agent gives back must go into the next call"


def _memory_reset_problem(with_ends: LossMeasurement) -> str:
    received = _received(with_ends)
    if received is not None and _matches(received, COUNTED_WITH_ENDS):
        return ""
    if received is not None and _matches(received, COUNTED):
        return (
            "it is carried into the next game; the line that wipes it was given with the exercise"
        )
    return "after the tick where is_not_done is 0 that game's memory must be blank, and only then"


def _path_problem(policy: LossMeasurement) -> str:
    # What a tick hands on reaches the first action's logit in every later tick.
    later = np.cumsum(policy.logit_moves[:, ::-1, 0].sum(axis=0))[::-1]
    expected = np.append(later[1:], 0)
    if _matches(policy.memory_moves, expected):
        return ""
    if _matches(policy.memory_moves, [0, 0, 0, 0]):
        return "none does: within a rollout the memory must not be stopped or turned into NumPy"
    return "some of them are lost: within a rollout the memory must not be stopped"


# TD errors r + 0.5 V(s') - V, by hand: game 0: .2 + .2 - .2, 0 + .1 - .4, .3 + .2 - .2;
# game 1: 0 + .1 - .2, .4 + .3 - .2, .1 + .1 - .6. Gradient descent moves each value by half of it.
TOWARDS_TARGET = [[0.1, -0.15, 0.15], [-0.05, 0.25, -0.2]]
# Returns: game 0: .3 + .5·.4 = .5, 0 + .5·.5 = .25, .2 + .5·.25 = .325; game 1: .1 + .5·.2 = .2,
# .4 + .5·.2 = .5, 0 + .5·.5 = .25. Minus V: .125, -.15, .3 and .05, .3, -.4.
ADVANTAGES = [[0.125, -0.15, 0.3], [0.05, 0.3, -0.4]]
TOWARDS_RETURN = [[0.0625, -0.075, 0.15], [0.025, 0.15, -0.2]]
# r - V, without the future: 0, -.4, .1 and -.2, .2, -.5.
TOWARDS_REWARD = [[0, -0.2, 0.05], [-0.1, 0.1, -0.25]]
# The future not discounted: .4, -.2, .5 and 0, .8, -.3.
TOWARDS_UNDISCOUNTED = [[0.2, -0.1, 0.25], [0, 0.4, -0.15]]
# Rewards averaged over the two games to .1, .2, .2: .1, -.1, .2 and 0, .3, -.3.
TOWARDS_AVERAGED = [[0.05, -0.05, 0.1], [0, 0.15, -0.15]]


def _value_loss_problem(values: LossMeasurement) -> str:
    moves = values.value_moves[:, :ROLLOUT_LENGTH]
    # A V(s_{t+1}) that is not stopped moves by -0.5 of the tick before; that has a line of its own.
    unstopped = np.asarray(TOWARDS_TARGET) - 0.5 * np.pad(TOWARDS_TARGET, ((0, 0), (1, 0)))[:, :-1]
    if _matches(moves, TOWARDS_TARGET, TOWARDS_RETURN, unstopped):
        return ""
    if _matches(moves, np.zeros_like(moves)):
        return "it has no gradient: V(s_t) must be in it, and not stopped"
    for table, words in (
        (TOWARDS_REWARD, "its target is the reward alone: γ·V(s_{t+1}) is missing"),
        (TOWARDS_UNDISCOUNTED, "its target is not discounted: γ is missing"),
        (TOWARDS_AVERAGED, "rewards are averaged over the games: each game has its own"),
    ):
        if _matches(moves, table):
            return words
    negative = {-1: "it pushes V(s_t) away from its target: mind the signs"}
    return (
        _factor_problem(moves, TOWARDS_TARGET, negative | OF_SIZE)
        or _factor_problem(moves, TOWARDS_RETURN, negative | OF_SIZE)
        or "V(s_t) should be pulled to r_t + γ·V(s_{t+1}), each game and tick by its own difference"
    )


def _semi_gradient_problem(values: LossMeasurement) -> str:
    if _matches(values.value_moves[:, ROLLOUT_LENGTH:], [[0], [0]]):
        return ""
    return "V(s_{t+1}) is pulled as well: use V_next, which is stopped"


# With ends, r + 0.5 m V(s') - V: game 0: 0 - .2, .1 + .1 - .4, .2 + .2 - .2; game 1: .3 + .1 - .2,
# 0 - .2, .1 + .1 - .6.
TOWARDS_TARGET_WITH_ENDS = [[-0.1, -0.1, 0.1], [0.1, -0.1, -0.2]]
# The same, and V of a final observation counted as 0: game 0's last 0, game 1's first .1.
TOWARDS_STRICT_TARGET = [[-0.1, -0.1, 0], [0.05, -0.1, -0.2]]
# The mask taken from the next column only: 0, -.2, 0 and .1, .1, -.4.
TOWARDS_MASK_TOO_LATE = [[0, -0.1, 0], [0.05, 0.05, -0.2]]
# No mask: 0, -.2, .2 and .2, .1, -.4.
TOWARDS_UNMASKED = [[0, -0.1, 0.1], [0.1, 0.05, -0.2]]
# Returns, last first: .2, .1 + .1, 0 and .1 + .1, 0, .3. Minus V: -.2, -.2, 0 and .1, -.2, -.4.
ADVANTAGES_WITH_ENDS = [[-0.2, -0.2, 0], [0.1, -0.2, -0.4]]
TOWARDS_RETURN_WITH_ENDS = [[-0.1, -0.1, 0], [0.05, -0.1, -0.2]]
# The policy not taught by the reset ticks, whose action the game ignores.
ADVANTAGES_WITHOUT_RESET_TICKS = [[0, -0.2, 0], [0.1, 0, -0.4]]
# Returns that run across the ends: .15, .3, .4 and .35, .1, .2.
ADVANTAGES_UNMASKED = [[-0.05, -0.1, 0.2], [0.15, -0.1, -0.4]]
TOWARDS_UNMASKED_RETURN = [[-0.025, -0.05, 0.1], [0.075, -0.05, -0.2]]


def _value_ends_problem(with_ends: LossMeasurement, on_returns: bool) -> str:
    moves = with_ends.value_moves[:, :ROLLOUT_LENGTH]
    right = (TOWARDS_TARGET_WITH_ENDS, TOWARDS_STRICT_TARGET)
    if on_returns:
        right = (TOWARDS_RETURN_WITH_ENDS,)
    # Right but for a factor is another line's matter.
    if any(_factor(moves, table) for table in right):
        return ""
    if _factor(moves, TOWARDS_UNMASKED):
        return "a finished game has no future: multiply V_next by is_not_done[:, t]"
    if _factor(moves, TOWARDS_MASK_TOO_LATE):
        return (
            "the mask comes one column late: with is_not_done[:, t + 1] alone the reset tick "
            "learns the next game's value"
        )
    if _factor(moves, TOWARDS_UNMASKED_RETURN):
        return "the returns run on into the next game"
    if not _matches(with_ends.value_moves[:, ROLLOUT_LENGTH:], [[0], [0]]):
        return "cannot be told while V(s_{t+1}) is pulled as well"
    return "where is_not_done is 0 the target must be the reward alone"


def _pushes(measurement: LossMeasurement) -> np.ndarray:
    """Returns how far each played action is pushed above the others, `[n_games, rollout_length]`.

    With equal logits the gradient of log π(a) is 1 - 1/14 for the action and -1/14 for each other:
    a difference of 1, times advantage / (2 games · 3 ticks).
    """
    moves = measurement.logit_moves[:, :ROLLOUT_LENGTH]
    played = np.take_along_axis(moves, PLAYED[:, :ROLLOUT_LENGTH, None], axis=-1)[..., 0]
    others = (moves.sum(axis=-1) - played) / (N_ACTIONS - 1)
    return 6 * (played - others)


def _policy_problem(policy: LossMeasurement) -> str:
    pushes = _pushes(policy)
    if _matches(pushes, ADVANTAGES):
        return ""
    if _matches(pushes, np.zeros_like(pushes)):
        return "no logit moves: the log-probabilities are not in J_hat, or are stopped"
    if _matches(pushes, 2 * np.asarray(TOWARDS_TARGET)):
        return "the advantage looks one step ahead only: use cumulative_returns, the n-step return"
    # Returns without the baseline V, by hand above.
    if _matches(pushes, [[0.325, 0.25, 0.5], [0.25, 0.5, 0.2]]):
        return "the advantage lacks its baseline: how much better than V(s_t) did it go?"
    named = {
        -1: "good actions are made rarer: mind the sign of the advantage, and let J_hat be "
        "positive, it is negated in the loss",
        1 / N_ACTIONS: "the probability stands where its logarithm should",
    }
    return _factor_problem(pushes, ADVANTAGES, named | OF_SIZE) or (
        "each played action should be pushed by its own advantage, the return minus V(s_t)"
    )


def _constant_advantage_problem(policy: LossMeasurement) -> str:
    # The value loss has weight 0 here, so nothing may move a value.
    if _matches(policy.value_moves, np.zeros_like(policy.value_moves)):
        return ""
    return (
        "the policy term moves the values: the critic is trained to please the actor; "
        "stop the advantage"
    )


def _policy_ends_problem(with_ends: LossMeasurement) -> str:
    pushes = _pushes(with_ends)
    if any(
        _factor(pushes, table) for table in (ADVANTAGES_WITH_ENDS, ADVANTAGES_WITHOUT_RESET_TICKS)
    ):
        return ""
    if _factor(pushes, ADVANTAGES_UNMASKED):
        return "returns run on into the next game: the mask in G_t was given with the exercise"
    if _matches(pushes, np.zeros_like(pushes)):
        return "cannot be told while no logit moves"
    return "the return of a game that is over must not hold anything of the next game"


# One action has probability 1/2, thirteen have 1/26 each: H = (ln 2 + ln 26) / 2 = 1.97562. By a
# logit, dH = -p (ln p + H): -0.64124 for the favourite, 0.04933 for each other. Their difference
# 0.69056 times 0.8 / (2 games · 4 columns), or 0.8 / (2 · 3) without the column not acted on.
FLATTENED = [[0.0690563] * 4] * 2
FLATTENED_WITHOUT_LAST = [[0.0920751] * 3 + [0]] * 2


def _entropy_problem(entropy: LossMeasurement) -> str:
    favourite = np.take_along_axis(entropy.logit_moves, FAVOURITE[..., None], axis=-1)[..., 0]
    others = (entropy.logit_moves.sum(axis=-1) - favourite) / (N_ACTIONS - 1)
    moves = others - favourite
    if _matches(moves, FLATTENED, FLATTENED_WITHOUT_LAST):
        return ""
    if _matches(moves, np.zeros_like(moves)):
        return "no logit moves: entropy_reg must be computed from policy and log_policy"
    named = {
        -1: "wrong sign: entropy is made smaller, so the policy rushes to certainty. "
        "H = -Σ π·log π is positive",
        1 / N_ACTIONS: "averaged over the actions too, 14 times too small: sum over the actions, "
        "then take the mean over games and ticks",
        8: "summed over games and ticks, far too large: sum over the actions, then take the mean",
        2: "summed over the games: sum over the actions, then take the mean",
        4: "summed over the ticks: sum over the actions, then take the mean",
        6: "summed over games and ticks, far too large: sum over the actions, then take the mean",
    }
    problem = _factor_problem(moves, FLATTENED, named)
    problem = problem or _factor_problem(moves, FLATTENED_WITHOUT_LAST, named)
    uneven = np.ptp(moves[:, :ROLLOUT_LENGTH]) > TOLERANCE * np.max(np.abs(moves))
    if not problem and uneven:
        return "it depends on which action was played: an entropy sums over all actions"
    return problem or "it is not the mean over games and ticks of -Σ π·log π"


# J_hat = -ln 14 · (.125 - .15 + .3 + .05 + .3 - .4) / 6 = -0.0989646; squared TD errors / 6 =
# 0.1066667 (to returns 0.0634375); the entropy of equal logits is ln 14 = 2.6390573.
POLICY_LOSS, VALUE_LOSS, RETURN_VALUE_LOSS, ENTROPY = 0.0989646, 0.1066667, 0.0634375, 2.6390573


def _weights_problem(
    policy: LossMeasurement, values: LossMeasurement, whole: LossMeasurement
) -> str:
    losses = [float(np.asarray(m.loss)) for m in (policy, values, whole) if np.ndim(m.loss) == 0]
    if len(losses) == 3 and len(set(losses)) == 1:
        return "value_loss_weight and entropy_weight change nothing: they belong into the loss"
    still = np.allclose(values.value_moves, policy.value_moves)
    if still and np.any(policy.value_moves != 0):
        return "value_loss_weight changes nothing: it belongs into the loss"
    return ""


def _returned_loss_problem(whole: LossMeasurement, on_returns: bool) -> str:
    if not isinstance(whole.loss, float | np.floating | np.ndarray) or np.ndim(whole.loss) != 0:
        return (
            f"it is {type(whole.loss).__name__} of shape {tuple(np.shape(whole.loss))}, "
            "expected one NumPy number"
        )
    value_loss = RETURN_VALUE_LOSS if on_returns else VALUE_LOSS
    expected = POLICY_LOSS + value_loss - 0.01 * ENTROPY
    if abs(float(whole.loss) - expected) <= TOLERANCE * abs(expected):
        return ""
    return f"it is {float(whole.loss):.4f} where it should be {expected:.4f}: see the lines above"


# -------------------------------------------------------------------------- optimizer and training


def check_optimizer(namespace: dict[str, Any]) -> None:
    """Checks that `optimizer` is a Keras optimizer that goes downhill.

    Args:
        namespace: the notebook's `globals()`, with `optimizer`.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: optimizer")
    _require(namespace, sheet, "optimizer")
    with _no_trace(namespace):
        optimizer = namespace["optimizer"]
        if sheet.add("optimizer is a Keras optimizer", _kind_problem(optimizer)):
            sheet.add("its steps go downhill", _descent_problem(optimizer))
    sheet.close()


def _kind_problem(optimizer: Any) -> str:
    import keras

    if isinstance(optimizer, keras.optimizers.Optimizer):
        return ""
    if isinstance(optimizer, type) and issubclass(optimizer, keras.optimizers.Optimizer):
        return f"{optimizer.__name__} is the class: call it, with its arguments if you like"
    return f"it is {optimizer!r}: choose one of keras.optimizers"


def _descent_problem(optimizer: Any) -> str:
    import keras

    try:
        copy = type(optimizer).from_config(optimizer.get_config())
    except Exception:  # a schedule of the student's own, say, does not tell its settings
        return ""
    try:
        weight = keras.Variable(np.float32([3.0, -2.0]))
        before = weight.numpy()
        for _ in range(3):
            copy.apply_gradients([(2 * weight.value, weight)])  # of the sum of squares
    except Exception as error:
        return describe_error(error)
    after = weight.numpy()
    if not np.all(np.isfinite(after)):
        return "weights become NaN or infinite: the learning rate is far too high"
    if np.array_equal(after, before):
        return "weights stay where they are: the learning rate is zero"
    if np.linalg.norm(after) > 10 * np.linalg.norm(before):
        return "weights get ever further off: the learning rate is far too high, or negative"
    if np.sum((after - before) * before) > 0:
        return "weights move uphill: the learning rate must be positive"
    return ""


def check_ready_to_train(namespace: dict[str, Any]) -> None:
    """Checks before training that pool, agent and optimizer belong together.

    Re-running one cell and not the next leaves the old object behind, and training would go on with
    it without a word.

    Args:
        namespace: the notebook's `globals()`, with `agent`, `pool`, `optimizer`.

    Raises:
        CheckFailed: if they do not; its message says which cell to run again.
    """
    sheet = Sheet("Before training")
    _require(namespace, sheet, "agent", "pool", "optimizer", "train_on_rollout")
    agent, pool, optimizer = (namespace[name] for name in ("agent", "pool", "optimizer"))
    sheet.add(
        "the agent is of the class above",
        ""
        if type(agent) is namespace.get("SimpleRecurrentAgent")
        else "the agent's class was defined anew: run the cell that makes the agent again",
    )
    sheet.add(
        "the pool plays this agent",
        ""
        if pool.agent is agent
        else "it plays an older one: run the cell that makes the pool again",
    )
    known = {id(variable) for variable in getattr(optimizer, "_trainable_variables", [])}
    sheet.add(
        "the optimizer belongs to this agent",
        ""
        if not optimizer.built or known == {id(variable) for variable in agent.trainable_variables}
        else "it was made for an older agent: run the optimizer's cell again",
    )
    sheet.close()


# ------------------------------------------------------------------------------- the whole notebook


def main(arguments: list[str]) -> int:
    """Runs a notebook's checks as `pytest --nbval` does and prints the exercises with their points.

    Works on a copy without outputs, in a folder of its own with fresh helper files beside it.

    Returns:
        0 if every cell runs and every check passes, 1 if not, 2 if there is no notebook to run.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python checks.py NOTEBOOK", file=sys.stderr)
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
    for exercise, points in POINTS.items():
        problem = _exercise_problem(exercise, sources, failures)
        total += 0 if problem else points
        print(f"{exercise:<12}{0 if problem else points:>4} / {points:<4}{problem or 'passed'}")
    print(f"{'total':<12}{total:>4} / {sum(POINTS.values())}")
    others = [
        (source, failure)
        for source, failure in zip(sources, failures, strict=True)
        if failure and not re.search(r"^# Exercise:|checks\.check_\w+\(", source, re.MULTILINE)
    ]
    for source, failure in others:
        print(f"also failed: the cell that begins with {source.splitlines()[0]!r}: {failure}")
    return 1 if any(failures) or total < sum(POINTS.values()) else 0


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
    kit = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        for helper in HELPERS:
            shutil.copy(kit / helper, folder)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), Path(folder) / "notebook.ipynb")
        options = ["--nbval", "notebook.ipynb", "--junitxml=cells.xml", "--rootdir=.", "--color=no"]
        finished = subprocess.run(
            # On a teacher's machine the grader would take the notebook for itself.
            [sys.executable, "-m", "pytest", *options, *NO_PLUGINS],
            cwd=folder,
            env={**os.environ, "PYTEST_ADDOPTS": "--nbval-cell-timeout=300"},
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
