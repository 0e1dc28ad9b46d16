"""Lets a student's agent act, in its worker, in games that the grader runs; for every framework."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import run_all
from answers import AnswerError, described_errors
from cells import run_cells
from measurement import Measurement

from checks.measuring import make_agent as make_agent_of
from checks.weights import WeightsError, check_shapes


class Player:
    """An agent that plays several games side by side, each once.

    It plays through its public methods only: `get_initial_state`, `step` and `sample_actions`.

    Args:
        agent: the student's agent.
        n_games: the number of games.
        obs_shape: the shape of one observation.
        frame_axis: the axis of an observation that counts frames, the newest last.
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
        """Plays one tick.

        Args:
            message: a byte for each game, 1 if it is still running; then the newest frames of the
                running games, uint8 `[n_running, height, width]`.

        Returns:
            An action for each game, including finished ones, as little-endian int64.

        Raises:
            AnswerError: the agent fails, or does not return an integer for each game.
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
        """Appends the newest planes, `[n_running, 1, height, width]`, to the earlier ones."""
        if not self._stacks.shape[1]:
            self._stacks = np.repeat(planes, self._n_frames, axis=1)
        else:
            older = self._stacks[is_running, 1:]
            self._stacks[is_running] = np.concatenate([older, planes], axis=1)


_players: list[Player] = []  # the one that is playing


def start(player: Player) -> None:
    """Makes a player the one that plays the next ticks."""
    _players[:] = [player]


def act(message: bytes) -> bytes:
    """Plays one tick; see `Player.act`."""
    return _players[0].act(message)


def make_agent(
    sources: Sequence[str] | None,
    weights: bytes,
    obs_shape: tuple[int, ...],
    n_actions: int,
    framework: ModuleType,
) -> Any:
    """Runs the cells that define `SimpleRecurrentAgent`, and makes an agent with some weights.

    Args:
        sources: the cells, the answer last; None if the notebook has run in this worker.
        weights: a `Measurement` of `arr_0` and so on.
        obs_shape: the shape of one observation.
        n_actions: the number of actions.
        framework: the adapter of the agent's framework.

    Raises:
        AnswerError: there is no such agent, or the weights belong to another one.
    """
    with described_errors():
        names = run_all.namespace() if sources is None else run_cells("agent", sources)
        agent = make_agent_of(names, tuple(obs_shape), n_actions)
        framework.make_ready(agent, obs_shape)
        variables = framework.weights_of(agent)
        shapes = [tuple(variable.shape) for variable in variables]
    named = Measurement.from_bytes(weights)
    arrays = [named[f"arr_{i}"] for i in range(len(named))]
    try:
        check_shapes([array.shape for array in arrays], shapes)
    except WeightsError as error:
        raise AnswerError(str(error)) from None
    with described_errors():
        for variable, array in zip(variables, arrays, strict=True):
            framework.assign(variable, array.astype(np.float32))
    return agent
