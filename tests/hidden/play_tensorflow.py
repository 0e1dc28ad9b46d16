"""Makes a player of a student's TensorFlow agent and weights, in their kernel."""

import io
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from answers import AnswerError, described_errors, run_cells
from player import Player


def make_player(
    sources: Sequence[str], weights: bytes, n_games: int, obs_shape: tuple[int, ...], n_actions: int
) -> Player:
    """Runs the cells that define `SimpleRecurrentAgent`, and gives an agent its weights.

    Args:
        sources: cells, the answer last.
        weights: an `.npz` file, `arr_0` and so on, in the order of `trainable_variables`.
        n_games: how many games it is going to play at once.
        obs_shape: of one observation.
        n_actions: how many actions there are.

    Raises:
        AnswerError: there is no such agent, or the weights are another's.
    """
    keras.utils.set_random_seed(0)  # a constant: it tells nothing of the games
    with described_errors():
        agent = run_cells("agent", sources)["SimpleRecurrentAgent"](obs_shape, n_actions)
        agent.forward(agent.get_initial_state(1), tf.zeros((1, *obs_shape)))  # creates the weights
        variables = list(agent.trainable_variables)
        shapes = [tuple(variable.shape) for variable in variables]
    with np.load(io.BytesIO(weights), allow_pickle=False) as file:
        arrays = [file[f"arr_{i}"] for i in range(len(file.files))]
    _check_shapes([array.shape for array in arrays], shapes)
    with described_errors():
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array.astype(np.float32))
    return Player(agent, n_games, obs_shape, frame_axis=-1)


def _check_shapes(given: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    if len(given) != len(expected):
        raise AnswerError(
            f"the weights file holds {len(given)} arrays, the notebook's agent has {len(expected)} "
            "trainable variables: are they of the same agent?"
        )
    for i, (ours, theirs) in enumerate(zip(given, expected, strict=True)):
        if ours != theirs:
            raise AnswerError(
                f"arr_{i} of the weights file has shape {ours}, the notebook's agent needs {theirs}"
                ": are they of the same agent?"
            )
