"""Finds the layers that an agent is made of, by watching one pass through it.

A loss may call these layers instead of the agent itself: the convolutions for all ticks at once,
say, and only the LSTM cell tick by tick. A stand-in for the agent then takes the place of the
layers, see `StandInAgent` in the adapters.
"""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from checks.notebook import PlainError

BYPASSED = (
    "train_on_rollout calls layers of the agent instead of the agent itself, as in memory, "
    "(logits, values) = agent(memory, obs): it cannot be measured"
)
CODE_SIZE = 4  # columns that the stand-in needs in what the cell gives back


class AgentBypassed(PlainError):  # noqa: N818
    """The student trains by layers of the agent, and nothing is known of its outputs."""

    def __init__(self, message: str = ""):  # what comes through Keras, it makes anew
        super().__init__(message or BYPASSED)


@dataclasses.dataclass(frozen=True)
class Parts:
    """The layers that an agent is made of.

    Attributes:
        backbone: the layers before the cell. They go on to compute what they do now, since the cell
            finds game and tick by it.
        cell: its LSTM cell.
        logits: the layer that makes the logits of the cell's output h.
        value: the layer that makes the value of the cell's output h.
        value_axes: the axes of what that layer gives, behind those of its input: (1,) or ().
        is_value_first: whether the value is the first of its columns, where one layer makes both.
        width: of h, of c and of each part of the agent's memory.
        features: what the cell is given for each game and tick, `[n_games, n_ticks, n_features]`.
        gap: how far the features of any two of them differ, at least.
    """

    backbone: list[Any]
    cell: Any
    logits: Any
    value: Any
    value_axes: tuple[int, ...]
    is_value_first: bool
    width: int
    features: np.ndarray
    gap: float

    def find(self, features: np.ndarray) -> np.ndarray:
        """Returns the game and the tick `[n, 2]` to which features `[n, n_features]` belong.

        Raises:
            AgentBypassed: they belong to none.
        """
        n_games, n_ticks, n_features = self.features.shape
        if np.ndim(features) != 2 or features.shape[1] != n_features:
            raise AgentBypassed
        distances = _distances(features, self.features.reshape(-1, n_features))
        if not np.all(distances.min(axis=1) < self.gap / 10):
            raise AgentBypassed
        return np.stack(np.unravel_index(distances.argmin(axis=1), (n_games, n_ticks)), axis=1)


def find_parts(framework: ModuleType, agent: Any, observations: np.ndarray) -> Parts | None:
    """Returns the parts of an agent, None if they cannot be told.

    Args:
        framework: its adapter.
        agent: the agent, which runs once.
        observations: what to run it with, `[n_games, n_ticks, *obs_shape]`.
    """
    calls = []

    def record(layer: Any, call: Callable, *args: Any, **settings: Any) -> Any:
        returned = call(*args, **settings)
        calls.append((layer, next(iter([*args, *settings.values()]), None), returned))
        return returned

    try:
        with framework.calling_layers_by(record):
            flat = observations.reshape(-1, *framework.OBS_SHAPE)
            memory, logits, value = framework.play(agent, flat)
        (at,) = [i for i, call in enumerate(calls) if isinstance(call[0], framework.LSTM_CELL)]
        cell, features, (h, *_) = calls[at]
        of_h = [call for call in calls[at + 1 :] if _are_same(framework, call[1], h)]
        outputs = [framework.to_array(output) for output in (logits, value)]
        both = [np.concatenate([*map(_as_columns, ones)], 1) for ones in (outputs, outputs[::-1])]
        # What contains others returns after them: a head of several layers is the last of them.
        logits_head, value_head, *joint = (
            next((c for c in of_h[::-1] if _are_same(framework, c[2], output)), None)
            for output in (*outputs, *both)
        )
        if any(joint):  # one layer makes the logits and the value
            logits_head = value_head = joint[0] or joint[1]
        features = framework.to_array(features)
        ((width,),) = {tuple(np.shape(part)[1:]) for part in [h, *memory]}
    except Exception:  # the student's code may raise anything, and be of other parts
        return None
    distances = _distances(features, features) + np.diag(np.full(len(features), np.inf))
    gap = float(distances.min())
    if width < CODE_SIZE or not gap > 1e-3 * np.abs(features).max():
        return None
    return Parts(
        backbone=[layer for layer, _, _ in calls[:at]],
        cell=cell,
        logits=logits_head[0],
        value=value_head[0],
        value_axes=tuple(np.shape(value_head[2])[1:]),
        is_value_first=joint[0] is None,
        width=int(width),
        features=features.reshape(*observations.shape[:2], -1),
        gap=gap,
    )


def _are_same(framework: ModuleType, one: Any, other: Any) -> bool:
    """Says whether two tensors hold the same numbers, in any shape."""
    if not hasattr(one, "shape"):
        return False
    return np.array_equal(framework.to_array(one).ravel(), framework.to_array(other).ravel())


def _as_columns(output: np.ndarray) -> np.ndarray:
    return output.reshape(len(output), -1)


def _distances(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the largest difference between each two rows, `[n_ones, n_others]`."""
    return np.abs(ones[:, None] - others).max(axis=-1)
