"""The adapter of TensorFlow and Keras; `pytorch.py` has the same names.

Nothing here judges: what is right is said elsewhere, once for both.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

OPTIMIZER, OPTIMIZERS = "optimizer", "keras.optimizers"
POLICY = "policy and log_policy"
OBS_SHAPE = (42, 42, 4)
GRADIENTS_ADD_UP = False  # from one step to the next, unless they are cleared
COMPILES = True
HOW_TO_STEP = "hand the gradients and agent.trainable_variables to the optimizer"
HOW_TO_STAY = "training compiles it with tf.function, so keep to TensorFlow's operations"


# ----------------------------------------------------------------------------------------- tensors


def to_array(value: Any) -> np.ndarray:
    """Returns what a student's code gave as an array."""
    return np.asarray(value)


def to_tensor(array: Any) -> tf.Tensor:
    """Returns a float32 tensor."""
    return tf.convert_to_tensor(array, tf.float32)


def as_pool_gives(array: np.ndarray) -> np.ndarray:
    """Returns a part of a memory as `pool.prev_memory_states` holds it."""
    return array


@contextlib.contextmanager
def leaving_no_trace() -> Iterator[None]:
    """Runs everything eagerly, so that errors name their line; restores the setting."""
    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eager)


# ------------------------------------------------------------------------------------------- agent


class _Listener:
    """Stands before a layer and keeps what came out."""

    def __init__(self, layer: Any, heard: list):
        self.layer, self.heard = layer, heard

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.layer(*args, **kwargs)
        self.heard.append(result[1])
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)


@contextlib.contextmanager
def listening_to_cell(agent: Any) -> Iterator[list | None]:
    """Keeps each state [h, c] that the LSTM cell returns; None if it is unclear which cell."""
    cell = getattr(agent, "lstm_cell", None)
    if cell is None:  # an architecture of the student's own
        yield None
        return
    heard: list = []
    agent.lstm_cell = _Listener(cell, heard)
    try:
        yield heard
    finally:
        agent.lstm_cell = cell


def trainable_variables(agent: Any) -> list:
    return list(agent.trainable_variables)


def gradient_sizes(agent: Any, run: Callable[[], Sequence[Any]]) -> list[tuple[str, float | None]]:
    """Returns each variable's name and largest gradient of the outputs' squares, None for none."""
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(output**2) for output in run()])
    variables = agent.trainable_variables
    gradients = tape.gradient(total, variables)
    return [
        (variable.path, None if g is None else float(tf.reduce_max(tf.abs(g))))
        for variable, g in zip(variables, gradients, strict=True)
    ]


def compiled(function: Callable) -> Callable:
    """Returns the function as it runs when compiled."""

    def run(*arguments: Any) -> Any:
        tf.config.run_functions_eagerly(False)
        try:
            return tf.function(function)(*arguments)
        finally:
            tf.config.run_functions_eagerly(True)

    return run


class StandInAgent:
    """Fixed logits and values, each of which can be moved; finds its place from the pixels.

    Its memory counts ticks. The count is worth nothing to the logits, but a gradient passes.

    Args:
        values: `[n_games, n_ticks]`, or `[n_games, n_ticks, 1]` for values of shape (n, 1).
        logits: `[n_games, n_ticks, n_actions]`.
        called: what is called with the tick and the memories `[n_games]` each time.
        step: what `step` is.
    """

    def __init__(self, values: np.ndarray, logits: np.ndarray, called: Callable, step: Callable):
        self.values, self.logits, self.called, self.step = values, logits, called, step
        shifts = (np.zeros_like(values), np.zeros_like(logits), np.zeros_like(logits[0, :, 0]))
        self.trainable_variables = [keras.Variable(shift) for shift in shifts]

    def get_initial_state(self, batch_size: int) -> list:
        return [tf.zeros((batch_size, 1)), tf.zeros((batch_size, 1))]

    def forward(self, prev_state: Any, obs_t: Any) -> tuple:
        value_shift, logit_shift, memory_shift = self.trainable_variables
        h, c = map(to_tensor, prev_state)
        place = tf.cast(tf.round(64 * tf.convert_to_tensor(obs_t)[:, 0, 0, :2]), tf.int32)
        tick = place[:, 1]
        self.called(int(tick[0]), h.numpy()[:, 0])
        path_through_time = (h - tf.stop_gradient(h)) * tf.one_hot([0], self.logits.shape[-1])
        never_none = 0.0 * tf.reduce_sum(memory_shift)
        logits = tf.gather_nd(logit_shift + self.logits, place)
        value = tf.gather_nd(value_shift + self.values, place)
        handed_on = tf.gather(tf.convert_to_tensor(memory_shift), tick)[:, None]
        new_state = [h + 1 + handed_on, c + 1 + handed_on]
        return new_state, (logits + path_through_time + never_none, value)

    __call__ = forward

    def take_shifts(self) -> list[np.ndarray]:
        """Returns how far values, logits and memory were moved, and moves them back."""
        shifts = [variable.numpy() for variable in self.trainable_variables]
        for variable in self.trainable_variables:
            variable.assign(tf.zeros_like(variable))
        return shifts


# --------------------------------------------------------------------------------------- optimizer


def gradient_descent(agent: StandInAgent, learning_rate: float) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.SGD(learning_rate=learning_rate)
    optimizer.build(agent.trainable_variables)
    return optimizer


def steps_taken(optimizer: keras.optimizers.Optimizer) -> int:
    return int(np.asarray(optimizer.iterations))


def is_optimizer(value: Any) -> bool:
    return isinstance(value, keras.optimizers.Optimizer)


def is_optimizer_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer)


def copy_optimizer(optimizer: Any) -> Any:
    """Returns a new one with the same settings, or None if it does not tell them."""
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception:  # a schedule of the student's own, say, does not tell its settings
        return None


def descend(optimizer: Any, start: np.ndarray, n_updates: int) -> np.ndarray:
    """Takes steps down the sum of squares; returns all places, `[n_updates + 1, len(start)]`."""
    weight = keras.Variable(start)
    path = [weight.numpy()]
    for _ in range(n_updates):
        optimizer.apply_gradients([(2 * weight.value, weight)])
        path.append(weight.numpy())
    return np.stack(path)


def optimized_variables(optimizer: Any) -> list | None:
    """Returns the variables that an optimizer belongs to, None if it belongs to none yet."""
    return getattr(optimizer, "_trainable_variables", []) if optimizer.built else None
