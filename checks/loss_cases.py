"""The small rollouts that the check of the loss runs, and what is right for them."""

import numpy as np

from checks import loss_numbers, terms
from checks.measuring import LossCase

N_GAMES, ROLLOUT_LENGTH, N_ACTIONS = 5, 3, 14
GAMMA = 0.5

# Five games and three ticks: a sum over the games is no other mistake's factor.
PLAYED = np.array(
    [[3, 7, 1, 0], [5, 2, 11, 0], [0, 9, 4, 0], [12, 6, 8, 0], [10, 13, 2, 0]], np.int32
)  # the last column is never acted on
REWARDS = np.array(
    [
        [0.2, 0.0, 0.3, 0],
        [0.0, 0.4, 0.1, 0],
        [0.1, 0.3, 0.0, 0],
        [0.4, 0.1, 0.2, 0],
        [0.3, 0.2, 0.4, 0],
    ],
    np.float32,
)
VALUES = np.array(
    [
        [0.2, 0.4, 0.2, 0.4],
        [0.2, 0.2, 0.6, 0.2],
        [0.3, 0.1, 0.2, 0.5],
        [0.1, 0.3, 0.5, 0.1],
        [0.5, 0.2, 0.1, 0.3],
    ],
    np.float32,
)
ENDS = np.array(
    [[0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]], np.float32
)  # after a game's last observation comes a reset tick, which pays nothing
MEMORY = np.array([10, 20, 30, 40, 50], np.float32)
_LOGITS = np.random.default_rng(1).normal(0, 1, (N_GAMES, ROLLOUT_LENGTH + 1, N_ACTIONS))

INPUTS = terms.build_cases(
    {
        "actions": PLAYED,
        "rewards": REWARDS,
        "values": VALUES,
        "logits": _LOGITS.astype(np.float32),
        "memory": MEMORY,
        "gamma": np.array(GAMMA),
    },
    ENDS,
    other=VALUES[::-1] + np.float32(0.15),
)
CASES = {
    name: LossCase(**{key: float(v) if np.ndim(v) == 0 else v for key, v in fields.items()})
    for name, fields in INPUTS.items()
}
TABLES = terms.Tables(
    errors=loss_numbers.ERRORS,
    errors_with_ends=loss_numbers.ERRORS_WITH_ENDS,
    advantages=loss_numbers.ADVANTAGES,
    advantages_with_ends=loss_numbers.ADVANTAGES_WITH_ENDS,
)

# The loss of `uniform`. Its advantages have the mean 0.0975; squared errors have the mean 0.0825 to
# the one-step target, 0.0671146 to the return. log π is -ln 14 everywhere, the entropy ln 14.
# 0.0975 · 2.6390573 + 0.0825 - 0.01 · 2.6390573, and the same with the other mean.
LOSSES = (0.3134175, 0.2980321)

# The memory counts ticks, from what it is when it comes in. After a reset tick it is blank.
COUNTED = MEMORY[:, None] + np.arange(4, dtype=np.float32)
COUNTED_WITH_ENDS = [
    [10, 0, 1, 2],
    [20, 21, 0, 1],
    [30, 31, 32, 0],
    [40, 41, 42, 43],
    [50, 51, 52, 53],
]


def right_numbers() -> list[dict[str, np.ndarray]]:
    """Returns what right answers measure, as far as it is not left to a formula of gradients.

    The critic may learn its one-step target or the n-step return.
    """
    pushes = TABLES.advantages["advantage"] / PLAYED[:, :-1].size
    chosen = np.pad(pushes, ((0, 0), (0, 1)))[..., None]
    still = np.zeros(_LOGITS.shape)
    moves = chosen * (np.eye(N_ACTIONS)[PLAYED] - 1 / N_ACTIONS)
    memories = {"peaked": COUNTED, "peaked_ends": np.array(COUNTED_WITH_ENDS, np.float32)}
    common = {
        "inputs/uniform/actions": PLAYED,
        "uniform/logit_moves": moves,
        **{f"uniform_idle{w}/logit_moves": still for w in ("", "_weighted")},
        **{f"idle{w}/logit_moves": still for w in ("", "_weighted")},
        **{f"{case}/n_updates": np.array(1) for case in CASES},
        **{f"{case}/{w}_memory": m for case, m in memories.items() for w in ("least", "greatest")},
    }
    return [
        common
        | {
            "sure/value_moves": _value_moves(TABLES.errors[target]),
            "sure_ends/value_moves": _value_moves(TABLES.errors_with_ends[target, "right"]),
            "uniform/loss": np.array(loss),
        }
        for target, loss in zip(terms.RIGHT_ERRORS, LOSSES, strict=True)
    ]


def _value_moves(errors: np.ndarray) -> np.ndarray:
    # Twice the error by 5 games · 3 ticks; the last value is never pulled.
    return np.pad(2 / 15 * np.asarray(errors), ((0, 0), (0, 1)))
