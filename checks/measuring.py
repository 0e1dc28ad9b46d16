"""Measures a student's answers with arrays in and arrays out; what they should be stands elsewhere.

Used by the checks and, beside a student's code, by the grader. `framework` is one of the adapters,
`checks.tensorflow` or `checks.pytorch`.

How the loss is looked into. The student's `train_on_rollout` gets a stand-in agent, whose logits
and values are constants plus variables that are zero, and plain gradient descent. After the call
each variable has moved along its gradient, so what the loss wants from every single logit and value
can be read off.

Nothing leaves a trace: weights, optimizer, globals and random state are as they were before.
"""

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np


@contextlib.contextmanager
def no_trace(framework: ModuleType, namespace: dict[str, Any], **stand_ins: Any) -> Iterator[None]:
    """Puts stand-ins into the notebook's globals, then restores everything, random state too."""
    missing = object()
    before = {name: namespace.get(name, missing) for name in stand_ins}
    random_state, numpy_state = random.getstate(), np.random.get_state()
    namespace.update(stand_ins)
    try:
        with framework.leaving_no_trace():
            yield
    finally:
        for name, value in before.items():
            if value is missing:
                namespace.pop(name, None)
            else:
                namespace[name] = value
        random.setstate(random_state)
        np.random.set_state(numpy_state)


@dataclasses.dataclass(frozen=True)
class AgentOutputs:
    """What `forward` gave, as arrays: `[n_games, …]` each."""

    new_state: list[np.ndarray]
    logits: np.ndarray
    value: np.ndarray


def run_forward(
    framework: ModuleType, forward: Callable, memory: Sequence[Any], observations: Any
) -> AgentOutputs:
    """Runs an agent on arrays.

    Args:
        framework: its adapter.
        forward: takes a memory and observations, as the agent's `forward` does.
        memory: arrays `[n_games, …]`, in a list or a tuple as the agent wants it.
        observations: `[n_games, …]`.

    Raises:
        Exception: whatever the student's code raises; what it gives may not unpack.
    """
    tensors = type(memory)(framework.to_tensor(part) for part in memory)
    new_state, (logits, value) = forward(tensors, framework.to_tensor(observations))
    state = [framework.to_array(part) for part in new_state]
    return AgentOutputs(state, framework.to_array(logits), framework.to_array(value))


def draw_memory(blank: Sequence[Any], generator: np.random.Generator) -> Sequence[np.ndarray]:
    """Draws a memory like a blank one, whose entries are in [-0.5, 0.5]."""
    shapes = [tuple(np.shape(part)) for part in blank]
    return type(blank)(generator.uniform(-0.5, 0.5, shape).astype("float32") for shape in shapes)


def gradient_sizes(
    framework: ModuleType, agent: Any, memory: Sequence[np.ndarray], observations: np.ndarray
) -> list[tuple[str, float | None]]:
    """Returns the name of each variable and the largest gradient that reaches it, None for none."""

    def run() -> list[Any]:
        tensors = type(memory)(map(framework.to_tensor, memory))
        _, outputs = agent.forward(tensors, framework.to_tensor(observations))
        return [*outputs]

    return framework.gradient_sizes(agent, run)


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A rollout, what the stand-in agent says about it, and the settings of the loss.

    Attributes:
        actions, rewards, is_not_done: `[n_games, n_ticks]`.
        values: `[n_games, n_ticks]`, or `[n_games, n_ticks, 1]` from an agent that leaves its
            values' last axis.
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
        loss: what came back, its tensor as an array.
        is_number: whether what came back was one plain or NumPy number.
        value_moves: `[n_games, n_ticks]`, minus the gradient of the loss by V(s_t).
        logit_moves: `[n_games, n_ticks, n_actions]`, minus the gradient by each logit.
        memory_moves: `[n_ticks]`, minus the gradient by the memory that each tick hands on.
        memories: for each tick the memories `[n_games]` that the agent was called with.
        n_updates: how many steps the optimizer took.
    """

    loss: np.ndarray
    is_number: bool
    value_moves: np.ndarray
    logit_moves: np.ndarray
    memory_moves: np.ndarray
    memories: list[list[np.ndarray]]
    n_updates: int


LEARNING_RATE = 0.5


class StepCalled(Exception):  # noqa: N818
    """The student trains by `agent.step`, which is for playing."""


def _step(prev_state: Any, obs_t: Any) -> None:
    raise StepCalled("agent.step is for playing: no gradient passes through what it returns")


def measure_loss(
    framework: ModuleType, namespace: dict[str, Any], case: LossCase, n_calls: int = 1
) -> list[LossMeasurement]:
    """Runs the `train_on_rollout` of a notebook's globals, with stand-ins around it.

    Args:
        framework: its adapter.
        namespace: the notebook's globals.
        case: what to run it with.
        n_calls: how often, one after the other; what was moved is moved back in between, so all
            calls should do the same.

    Returns:
        What each call did.

    Raises:
        StepCalled: if it calls `agent.step`.
        Exception: whatever the student's code raises.
    """
    n_games, n_ticks, n_actions = case.logits.shape
    memories: list[list[np.ndarray]] = []
    agent = framework.StandInAgent(
        case.values, case.logits, lambda tick, memory: memories[tick].append(memory), _step
    )
    # Not 1: who bypasses the optimizer moves weights twice as far.
    optimizer = framework.gradient_descent(agent, LEARNING_RATE)
    # Two pixels of each observation say which game and tick it is.
    observations = np.zeros((n_games, n_ticks, *framework.OBS_SHAPE), np.float32)
    observations[:, :, 0, 0, 0] = np.arange(n_games)[:, None] / 64
    observations[:, :, 0, 0, 1] = np.arange(n_ticks) / 64
    stand_ins = {
        "agent": agent,
        framework.OPTIMIZER: optimizer,
        "n_actions": n_actions,
        "value_loss_weight": case.value_loss_weight,
        "entropy_weight": case.entropy_weight,
    }
    measured = []
    with no_trace(framework, namespace, **stand_ins):
        for _ in range(n_calls):
            memories[:] = [[] for _ in range(n_ticks)]
            steps_before = framework.steps_taken(optimizer)
            loss = namespace["train_on_rollout"](
                observations.copy(),
                case.actions.copy(),
                case.rewards.copy(),
                case.is_not_done.copy(),
                [framework.as_pool_gives(case.memory[:, None].copy()) for _ in range(2)],
                gamma=case.gamma,
            )
            value_moves, logit_moves, memory_moves = (
                shift / LEARNING_RATE for shift in agent.take_shifts()
            )
            measured.append(
                LossMeasurement(
                    loss=framework.to_array(loss),
                    is_number=isinstance(loss, float | np.floating | np.ndarray)
                    and np.ndim(loss) == 0,
                    value_moves=value_moves.reshape(n_games, n_ticks),
                    logit_moves=logit_moves,
                    memory_moves=memory_moves,
                    memories=[list(at_tick) for at_tick in memories],
                    n_updates=framework.steps_taken(optimizer) - steps_before,
                )
            )
    return measured
