"""What each idea of a target or an advantage gives, worked out from the inputs of a measurement.

`checks.terms` names a wrong term by the idea that gives exactly the measured numbers. Here are the
formulas; students get numbers only, those of their own check's inputs, in `checks/loss_numbers.py`.
`tests/assignments/kungfu/test_ideas_of_terms.py` keeps the two equal.
"""

import numpy as np

from checks.terms import NORMALIZED, Arrays, Tables


def tables_of(measured: Arrays) -> Tables:
    """Returns the tables of the inputs in a measurement, `inputs/CASE/FIELD`."""
    fields = ("rewards", "values", "is_not_done")
    gamma = float(measured["inputs/sure/gamma"])
    *plain, every = (np.asarray(measured[f"inputs/sure/{name}"], float) for name in fields)
    *with_ends, mask = (np.asarray(measured[f"inputs/sure_ends/{name}"], float) for name in fields)
    return Tables(
        errors=_errors(*plain, gamma, every),
        errors_with_ends=_errors_with_ends(*with_ends, gamma, mask),
        advantages=_advantages(*plain, gamma, every, every[:, -1]),
        advantages_with_ends=_advantages_with_ends(*with_ends, gamma, mask),
    )


def _returns(rewards: np.ndarray, gamma: float, mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Returns the n-step returns, `[n_games, rollout_length]`.

    Args:
        rewards: `[n_games, n_ticks]`; the last column is not used.
        gamma: the discount.
        mask: what the future is multiplied by, `[n_games, n_ticks]`.
        start: the return beyond the rollout, `[n_games]`.
    """
    returns, future = [], start
    for tick in reversed(range(rewards.shape[1] - 1)):
        future = rewards[:, tick] + gamma * mask[:, tick] * future
        returns.insert(0, future)
    return np.stack(returns, axis=1)


def _forward(rewards: np.ndarray, gamma: float, mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Returns what a loop from the first tick to the last adds up; as in `_returns`."""
    sums, past = [], start
    for tick in range(rewards.shape[1] - 1):
        past = rewards[:, tick] + gamma * mask[:, tick] * past
        sums.append(past)
    return np.stack(sums, axis=1)


def _other_rewards(rewards: np.ndarray) -> Arrays:
    """Returns rewards that belong to other ticks or games, `[n_games, n_ticks]` each."""
    return {
        "mean rewards": np.broadcast_to(rewards.mean(axis=0), rewards.shape),
        "next reward": np.roll(rewards, -1, axis=1),
        "earlier reward": np.roll(rewards, 1, axis=1),
        "reversed rewards": np.roll(rewards[:, ::-1], -1, axis=1),
        "rotated rewards": rewards[:, ::-1],
        "backward rewards": np.roll(rewards[:, ::-1], 1, axis=1),
    }


def _errors(rewards: np.ndarray, values: np.ndarray, gamma: float, mask: np.ndarray) -> Arrays:
    """Returns what each idea of a target gives, minus V(s_t); arguments as in `_returns`."""
    r, v, v_next, m = rewards[:, :-1], values[:, :-1], values[:, 1:], mask[:, :-1]
    last = mask[:, -1] * values[:, -1]
    target = r + gamma * m * v_next
    others = _other_rewards(rewards)
    return {
        "target": target - v,
        "return": _returns(rewards, gamma, mask, last) - v,
        "late return": _late(rewards, values, gamma, mask, last),
        "reward": r - v,
        "undiscounted": r + m * v_next - v,
        "undiscounted return": _returns(rewards, 1.0, mask, last) - v,
        "no reward": gamma * m * v_next - v,
        "return without rewards": _returns(0 * rewards, gamma, mask, last) - v,
        "same value": r + gamma * m * v - v,
        "last value": r + gamma * m * values[:, -1:] - v,
        "mean target": target.mean(axis=0) - v,
        "mean value": target - v.mean(axis=0),
        "mean error": 0 * v + (target - v).mean(axis=0),
        "mean of all errors": 0 * v + (target - v).mean(),
        **{name: other[:, :-1] + gamma * m * v_next - v for name, other in others.items()},
    }


def _errors_with_ends(
    rewards: np.ndarray, values: np.ndarray, gamma: float, mask: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    next_mask = np.roll(mask, -1, axis=1)
    masks = {
        "right": mask,
        "strict": mask * next_mask,
        "none": np.ones_like(mask),
        "late": next_mask,
        "mean": np.broadcast_to(mask.mean(axis=0), mask.shape),
    }
    return {
        (idea, name): table
        for name, m in masks.items()
        for idea, table in _errors(rewards, values, gamma, m).items()
        # Returns have a mask or none; a mean mask comes with mixed games.
        if name in ("right", "none")
        or ("return" not in idea and (name != "mean" or "mean" in idea))
    }


def _advantages(
    rewards: np.ndarray, values: np.ndarray, gamma: float, mask: np.ndarray, at_end: np.ndarray
) -> Arrays:
    """Returns what each idea of an advantage gives.

    Args:
        rewards: `[n_games, n_ticks]`; the last column is not used.
        values: `[n_games, n_ticks]`.
        gamma: the discount.
        mask: what the future is multiplied by, `[n_games, n_ticks]`.
        at_end: what the bootstrap value is multiplied by, `[n_games]`.
    """
    r, v, v_next, m = rewards[:, :-1], values[:, :-1], values[:, 1:], mask[:, :-1]
    last = at_end * values[:, -1]
    returns = _returns(rewards, gamma, mask, last)
    own = returns - v
    mixed = _returns(rewards, gamma, mask, at_end * values[:, -1].mean())
    others = _other_rewards(rewards)
    return {
        "advantage": own,
        "no baseline": returns,
        "one step": r + gamma * m * v_next - v,
        "one-step target": r + gamma * m * v_next,
        "late": _late(rewards, values, gamma, mask, last),
        "forward": _forward(rewards, gamma, mask, last) - v,
        "mean advantage": np.broadcast_to(own.mean(axis=0), own.shape),
        "over mean value": returns - v.mean(axis=0),
        "mixed": mixed - v.mean(axis=0),
        "in place": _in_place(rewards, values, gamma, mask, last),
        "other baseline": returns - v_next,
        "reward": r - v,
        "praise": np.ones_like(own),
        "undiscounted": _returns(rewards, 1.0, mask, last) - v,
        "no bootstrap": _returns(rewards, gamma, mask, 0 * last) - v,
        "value alone": v,
        "no rewards": _returns(0 * rewards, gamma, mask, last) - v,
        **_normalized(own),
        **{name: _returns(other, gamma, mask, last) - v for name, other in others.items()},
    }


def _normalized(advantages: np.ndarray) -> Arrays:
    """Returns advantages without their mean, divided by their deviation, over n or n - 1."""
    tables = {}
    for idea, axis in zip(NORMALIZED, (0, 1, None), strict=True):
        centred = advantages - advantages.mean(axis, keepdims=True)
        for name, ddof in ((idea, 0), (f"{idea} by n - 1", 1)):
            spread = advantages.std(axis, keepdims=True, ddof=ddof)
            tables[name] = centred / np.maximum(spread, 1e-8)
    return tables | {"mean taken off": centred}


def _late(
    rewards: np.ndarray, values: np.ndarray, gamma: float, mask: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Returns advantages that leave out the last acted tick; there they are 0."""
    returns = _returns(rewards[:, :-1], gamma, mask, start)
    return np.pad(returns - values[:, :-2], ((0, 0), (0, 1)))


def _in_place(
    rewards: np.ndarray, values: np.ndarray, gamma: float, mask: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Returns advantages that overwrite the returns, which the tick before adds up."""
    advantages, future = [], start
    for tick in reversed(range(rewards.shape[1] - 1)):
        future = rewards[:, tick] + gamma * mask[:, tick] * future - values[:, tick]
        advantages.insert(0, future)
    return np.stack(advantages, axis=1)


def _advantages_with_ends(
    rewards: np.ndarray, values: np.ndarray, gamma: float, mask: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    every = np.ones_like(mask)
    masks = {
        "right": (mask, mask[:, -1]),
        "none": (every, every[:, -1]),
        "none in the recursion": (every, mask[:, -1]),
        "none at the start": (mask, every[:, -1]),
    }
    tables = {
        (idea, name): table
        for name, (m, at_end) in masks.items()
        for idea, table in _advantages(rewards, values, gamma, m, at_end).items()
        if name in ("right", "none") or idea == "advantage"
    }
    tables["advantage", "no reset ticks"] = mask[:, :-1] * tables["advantage", "right"]
    return tables


def write_numbers(tables: Tables) -> str:
    """Returns the source of `checks/loss_numbers.py`."""
    lines = [
        '"""What ideas of a target or an advantage give in the rollouts of `checks.loss_cases`.',
        "",
        "A row for each game, a number for each tick that is acted on: a target minus V(s_t), or",
        "an advantage. `checks.terms` says what each idea is.",
        '"""',
        "",
        "# fmt: off",
        "# ruff: noqa: E501",
        "",
        "import numpy as np",
        "",
    ]
    for name in ("errors", "errors_with_ends", "advantages", "advantages_with_ends"):
        lines.append(f"{name.upper()} = {{")
        for idea, table in getattr(tables, name).items():
            rows = [", ".join(f"{number + 0.0:.6g}" for number in row) for row in table.round(9)]
            lines.append(f"    {idea!r}: np.array([{', '.join(f'[{row}]' for row in rows)}]),")
        lines += ["}", ""]
    return "\n".join(lines)
