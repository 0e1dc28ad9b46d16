"""The exercise *agent*: is `SimpleRecurrentAgent.forward` right?"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from checks.frameworks import find_adapter
from checks.measuring import draw_memory, gradient_sizes, no_trace, run_forward
from checks.notebook import Sheet, describe_error, require


def check_agent(namespace: dict[str, Any]) -> None:
    """Checks `SimpleRecurrentAgent.forward` on a fresh agent.

    Args:
        namespace: the notebook's `globals()`: `SimpleRecurrentAgent`, `obs_shape`, `n_actions`.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: agent")
    require(namespace, sheet, "SimpleRecurrentAgent", "obs_shape", "n_actions")
    framework = find_adapter(namespace)
    with no_trace(framework, namespace):
        _check_agent(framework, namespace, sheet)
    sheet.close()


def _check_agent(framework: ModuleType, namespace: dict[str, Any], sheet: Sheet) -> None:
    n_actions, n_games = int(namespace["n_actions"]), 5
    generator = np.random.default_rng(0)
    observations = generator.random((n_games, *namespace["obs_shape"]), dtype=np.float32)
    try:
        agent = namespace["SimpleRecurrentAgent"](namespace["obs_shape"], n_actions)
        blank = agent.get_initial_state(n_games)
        memory = draw_memory(blank, generator)
        raw = agent.forward(
            type(blank)(map(framework.to_tensor, memory)), framework.to_tensor(observations)
        )
        problem = _structure_problem(framework, raw)
        if not problem:
            output = run_forward(framework, agent.forward, memory, observations)
            one = type(memory)(part[:1] for part in memory)
            single = run_forward(framework, agent.forward, one, observations[:1])
    except Exception as error:
        sheet.add("forward runs", describe_error(error))
        return
    if not sheet.add("forward returns new_state, (logits, state_value)", problem):
        return
    rows = [*output.new_state, output.logits, output.value]
    sound = sheet.add(
        f"logits have shape (n, {n_actions})", logits_problem(output.logits, n_games, n_actions)
    )
    sound &= sheet.add(
        "state_value has shape (n,)", _value_problem(output.value, single.value, n_games)
    )
    sound &= sheet.add(
        "new_state is the cell's new [h, c]",
        _memory_problem(framework, agent, memory, observations, output.new_state),
    )
    if not sound:
        return

    def changed(other_memory, other_observations) -> list[bool]:
        other = run_forward(framework, agent.forward, other_memory, other_observations)
        return [
            not np.allclose(other.logits, output.logits, atol=1e-6),
            not np.allclose(other.value, output.value, atol=1e-6),
        ]

    sheet.add(
        "what the agent sees matters",
        _all_change(changed(memory, np.flip(observations, (1, 2))), "observation"),
    )
    sheet.add(
        "what the agent remembers matters",
        _all_change(changed(blank, observations), "memory")
        and "it makes no difference to what comes out: the heads must read the cell's output, "
        "not what goes into the cell",
    )
    backwards = run_forward(
        framework, agent.forward, type(memory)(part[::-1] for part in memory), observations[::-1]
    )
    mirrored = [*backwards.new_state, backwards.logits, backwards.value]
    sheet.add(
        "each game is played on its own",
        ""
        if all(np.allclose(a[::-1], b, atol=1e-4) for a, b in zip(mirrored, rows, strict=True))
        else "the order of the games in the batch changes a game's result",
    )
    sheet.add("every weight learns", _gradient_problem(framework, agent, memory, observations))
    if framework.COMPILES:
        problem = _compile_problem(framework, agent, memory, observations, output.logits)
        sheet.add("forward can be compiled", problem)


def _structure_problem(framework: ModuleType, output: Any) -> str:
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
        if not np.all(np.isfinite(framework.to_array(part))):
            return f"{name} has NaN or infinite entries"
    return ""


def logits_problem(logits: np.ndarray, n_games: int, n_actions: int) -> str:
    """Says what is wrong with an actor's logits if their shape is, or if softmax came too early."""
    if logits.shape != (n_games, n_actions):
        return (
            f"for {n_games} games they have shape {logits.shape}, expected {(n_games, n_actions)}"
        )
    if np.all(logits >= 0) and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        return (
            "they are probabilities already (each row sums to 1): return the head's raw output, "
            "softmax is applied later"
        )
    if np.all(logits >= 0) and np.allclose(logits.sum(axis=0), 1, atol=1e-3):
        return (
            "they are probabilities already, and each column sums to 1, over the games: return "
            "the head's raw output, softmax is applied later, to each row"
        )
    # No logit above 1 can be one, and its exponential could overflow.
    if np.allclose(np.exp(np.minimum(logits, 1)).sum(axis=1), 1, atol=1e-3):
        return (
            "they are log-probabilities already: return the head's raw output, softmax comes later"
        )
    return ""


def _value_problem(state_value: np.ndarray, of_one_game: np.ndarray, n_games: int) -> str:
    shape = state_value.shape
    if shape == (n_games, 1):
        return (
            f"state_value has shape {shape}: drop the last axis, or (n,) minus (n, 1) becomes "
            "(n, n) in the loss without a word"
        )
    if shape != (n_games,):
        return f"for {n_games} games it has shape {shape}, expected {(n_games,)}"
    if of_one_game.shape != (1,):
        return (
            f"for one game it has shape {of_one_game.shape}, expected (1,): "
            "drop the last axis only, a bare squeeze drops the games' axis too"
        )
    return ""


def _memory_problem(
    framework: ModuleType,
    agent: Any,
    memory: Sequence[np.ndarray],
    observations: np.ndarray,
    new_state: list[np.ndarray],
) -> str:
    for part, old in zip(new_state, memory, strict=True):
        if part.shape != old.shape:
            return (
                f"its parts have shapes {[part.shape for part in new_state]}, "
                f"expected {[old.shape for old in memory]}"
            )
    if all(np.allclose(part, old, atol=1e-6) for part, old in zip(new_state, memory, strict=True)):
        return "it is the old memory: return the state that the cell gives back"
    with framework.listening_to_cell(agent) as heard:
        replayed = run_forward(framework, agent.forward, memory, observations).new_state
    if heard is None:
        return ""
    if not heard:
        return "the LSTM cell is never called"
    given_back = map(framework.to_array, heard[-1])
    if not all(np.allclose(a, b, atol=1e-6) for a, b in zip(replayed, given_back, strict=True)):
        return "it differs from the state that the LSTM cell gives back: [h, c], in this order"
    return ""


def _all_change(changes: list[bool], what: str) -> str:
    same = [
        name for name, moved in zip(("logits", "state_value"), changes, strict=True) if not moved
    ]
    return f"another {what} leaves {' and '.join(same)} as before" if same else ""


def _gradient_problem(
    framework: ModuleType, agent: Any, memory: Sequence[np.ndarray], observations: np.ndarray
) -> str:
    sizes = gradient_sizes(framework, agent, memory, observations)
    stuck = [name for name, size in sizes if size is None]
    return f"no gradient reaches {', '.join(stuck)}" if stuck else ""


def _compile_problem(
    framework: ModuleType,
    agent: Any,
    memory: Sequence[np.ndarray],
    observations: np.ndarray,
    logits: np.ndarray,
) -> str:
    try:
        compiled = run_forward(
            framework, framework.compiled(agent.forward), memory, observations
        ).logits
    except Exception as error:
        return f"{describe_error(error)}; {framework.HOW_TO_STAY} and leave NumPy out"
    return "" if np.allclose(compiled, logits, atol=1e-4) else "compiled, its logits are different"
