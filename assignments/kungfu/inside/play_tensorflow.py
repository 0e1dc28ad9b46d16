"""Makes a player from a student's TensorFlow agent and weights, in the student's worker."""

from collections.abc import Sequence
from typing import Any

import keras
import player
import tensorflow as tf


def make_player(
    weights: bytes,
    sources: Sequence[str] | None,
    n_games: int,
    obs_shape: Sequence[int],
    n_actions: int,
) -> None:
    """Starts a player with the agent that the sources define; see `player.make_agent`."""

    def weights_of(agent: Any) -> list[keras.Variable]:
        agent.forward(agent.get_initial_state(1), tf.zeros((1, *obs_shape)))  # creates the weights
        return agent.trainable_variables

    keras.utils.set_random_seed(0)  # a constant: it reveals nothing about the games
    agent = player.make_agent(
        sources, weights, obs_shape, n_actions, weights_of, keras.Variable.assign
    )
    player.start(player.Player(agent, n_games, obs_shape, frame_axis=-1))
