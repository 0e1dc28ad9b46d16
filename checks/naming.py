"""Which known ideas, alone or together, would give exactly the numbers that were measured?

A wrong term is described by its dimensions: what went into it, at which ticks, and by what factor
it is off. The simplest combination that explains the numbers is named; see `explain`.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from checks.arrays import factor

Factors = Sequence[tuple[float, str]]
MOST_FACTORS = 3
TOLERANCE = 1e-4  # rewards of a hundredth differ from none by 1e-2, rounding moves numbers by 1e-6


@dataclass(frozen=True)
class Finding:
    """An explanation of measured numbers.

    Attributes:
        idea: the name of the table that they follow.
        ticks: which ticks count, `[n_ticks]`, of 0 and 1.
        k: the factor between the numbers and this table.
        kind: what is wrong but for the size: the idea, the ticks; () if nothing.
        sizes: what is wrong with the size, or with the sign; () if nothing.
        is_full: whether known factors make up the size.
    """

    idea: str
    ticks: np.ndarray
    k: float
    kind: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    is_full: bool = True

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that is wrong, a phrase for each dimension."""
        return self.kind + self.sizes


def join(words: Sequence[str]) -> str:
    """Joins phrases; only the first sentence of each is kept if there are several."""
    if len(words) < 2:
        return "".join(words)
    return "; and ".join(phrase.partition(": ")[0] for phrase in words)


def decompose(k: float, factors: Factors) -> tuple[str, ...] | None:
    """Returns the words of the fewest factors whose product is k, None if there are none."""
    for count in range(MOST_FACTORS + 1):
        for chosen in itertools.combinations(factors, count):
            product = np.prod([number for number, _ in chosen])
            if abs(k - product) <= TOLERANCE * abs(k):
                return tuple(words for _, words in chosen)
    return None


def explain(
    measured: np.ndarray,
    tables: Mapping[str, np.ndarray],
    words: Mapping[str, str],
    factors: Factors,
) -> Finding | None:
    """Finds the simplest combination of an idea, of ticks, and of factors.

    Args:
        measured: `[n_games, n_ticks]`.
        tables: what each idea gives, `[n_games, n_ticks]`; the right ones come first.
        words: what is wrong with an idea; right ones are not in it.
        factors: numbers with what is wrong if all is this many times too large.

    Returns:
        None if no table is proportional to the numbers.
    """
    if not (np.all(np.isfinite(measured)) and np.any(measured)):
        return None
    found = []
    for idea, table in tables.items():
        for ticks, left_out in _choices_of_ticks(table.shape[1]):
            k = factor(measured, table * ticks, tolerance=TOLERANCE)
            if k is None:
                continue
            why = decompose(k, factors)
            is_full = why is not None
            if not is_full:
                direction = "too large" if abs(k) > 1 else "too small"
                times = abs(k) if abs(k) > 1 else 1 / abs(k)
                why = (f"it is {times:.3g} times {direction}",)
                if k < 0:
                    why = (*[w for number, w in factors if number == -1], *why)
            kind = tuple(filter(None, (words.get(idea, ""), left_out)))
            found.append(Finding(idea, ticks, k, kind, why, is_full))
    # A factor without an idea behind it explains less than two ideas that have one.
    return min(found, key=lambda one: (not one.is_full, len(one.words)), default=None)


def _choices_of_ticks(n_ticks: int) -> list[tuple[np.ndarray, str]]:
    every = np.ones(n_ticks)
    first, last = every.copy(), every.copy()
    first[0], last[-1] = 0, 0
    return [
        (every, ""),
        (last, "the last acted tick is left out: the loop must reach t = rollout_length - 1"),
        (first, "the first tick is left out: the loop must reach t = 0"),
        (1 - last, "only the last acted tick counts: add up all ticks"),
        (1 - first, "only the first tick counts: add up all ticks"),
    ]
