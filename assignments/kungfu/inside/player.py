"""Plays a student's agent, in their worker, for a grader that holds the games; of no framework."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from answers import AnswerError, described_errors
from cells import run_cells
from measurement import Measurement


class Player:
    """An agent in the middle of some games, side by side, each played once.

    What counts as its policy is its contract: `get_initial_state`, `step`, `sample_actions`.

    Args:
        agent: the student's.
        n_games: how many.
        obs_shape: of one observation.
        frame_axis: which axis of it counts frames, the newest last.
    """

    def __init__(self, agent: Any, n_games: int, obs_shape: tuple[int, ...], frame_axis: int):
        self._agent = agent
        self._frame_axis = frame_axis if frame_axis < 0 else frame_axis + 1
        self._n_frames = obs_shape[frame_axis]
        self._frame_shape = np.delete(obs_shape, frame_axis)
        self._stacks = np.zeros((n_games, 0, *self._frame_shape), np.uint8)
        with described_errors():
            self._memory = agent.get_initial_state(n_games)

    def act(self, message: bytes) -> bytes:
        """Takes one tick.

        Args:
            message: a byte for each game, 1 where it is still running, and the newest frames of
                these, uint8 `[n_running, height, width]`.

        Returns:
            An action for each game, also for those that are over, as little-endian int64.

        Raises:
            AnswerError: the agent fails, or gives something else than an integer for each game.
        """
        n_games = len(self._stacks)
        data = np.frombuffer(message, np.uint8)
        self._push(data[:n_games] > 0, data[n_games:].reshape(-1, 1, *self._frame_shape))
        observations = np.moveaxis(self._stacks, 1, self._frame_axis)
        observations = np.divide(observations, 255, dtype=np.float32, order="C")
        with described_errors():
            self._memory, outputs = self._agent.step(self._memory, observations)
            actions = np.asarray(self._agent.sample_actions(outputs))
        if actions.shape != (n_games,) or actions.dtype.kind not in "iu":
            raise AnswerError(
                f"sample_actions must return {n_games} integers, one for each game, "
                f"got {actions.dtype} of shape {actions.shape}"
            )
        return actions.astype("<i8").tobytes()

    def _push(self, is_running: np.ndarray, planes: np.ndarray) -> None:
        """Puts the newest planes `[n_running, 1, height, width]` behind those before."""
        if not self._stacks.shape[1]:
            self._stacks = np.repeat(planes, self._n_frames, axis=1)
        else:
            older = self._stacks[is_running, 1:]
            self._stacks[is_running] = np.concatenate([older, planes], axis=1)


_players: list[Player] = []  # the one that plays now


def start(player: Player) -> None:
    """Lets a player take the ticks from now on."""
    _players[:] = [player]


def act(message: bytes) -> bytes:
    """Takes one tick; see `Player.act`."""
    return _players[0].act(message)


def make_agent(
    sources: Sequence[str],
    weights: bytes,
    obs_shape: tuple[int, ...],
    n_actions: int,
    weights_of: Callable[[Any], Sequence[Any]],
    assign: Callable[[Any, np.ndarray], None],
) -> Any:
    """Runs the cells that define `SimpleRecurrentAgent`, and gives an agent its weights.

    Args:
        sources: cells, the answer last.
        weights: a `Measurement` of `arr_0` and so on.
        obs_shape: of one observation.
        n_actions: how many actions there are.
        weights_of: returns the agent's weights in the order of the file.
        assign: gives one of these its numbers.

    Raises:
        AnswerError: there is no such agent, or the weights are another's.
    """
    with described_errors():
        agent = run_cells("agent", sources)["SimpleRecurrentAgent"](obs_shape, n_actions)
        variables = list(weights_of(agent))
        shapes = [tuple(variable.shape) for variable in variables]
    named = Measurement.from_bytes(weights)
    arrays = [named[f"arr_{i}"] for i in range(len(named))]
    _check_shapes([array.shape for array in arrays], shapes)
    with described_errors():
        for variable, array in zip(variables, arrays, strict=True):
            assign(variable, array.astype(np.float32))
    return agent


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
