"""Which idea of an entropy would give exactly the numbers that were measured?

A wrong entropy is described by its dimensions: sign, reduction, axis of the softmax, which actions,
which ticks, and what was left without a gradient. All combinations are predicted with the formulas
of the gradients, and the simplest one that gives the measured gradient and value is named.

For E = Σ w·f(π), with π = softmax(z), the gradient by a logit is dE/dz = π·(g - Σ π·g), where
g = w·f'(π), and the sum runs along the axis of the softmax. For an entropy this is
-π·(ln π + H) for each tick.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from checks.arrays import factor, is_close
from checks.naming import Factors, decompose, join

TOLERANCE = 1e-4  # over every right way to write it, numbers differ by less than 1e-6
NOTHING = 1e-6  # rounding moves logits by less, a right entropy by 1e-2

SIGN = (
    "wrong sign: entropy is made smaller, so the policy rushes to certainty. H = -Σ π·log π is "
    "positive"
)
OVER_GAMES = "summed over the games: take the mean over them"
OVER_TICKS = "summed over the ticks: take the mean over them"
OVER_ACTIONS = (
    "averaged over the actions too, {n} times too small: sum over the actions, then take the mean "
    "over games and ticks"
)
OVER_BOTH = (
    "summed over games and ticks, far too large: sum over the actions, then take the mean over "
    "games and ticks"
)
PLAYED = (
    "it depends on which action was played: an entropy sums over all actions, each weighted by its "
    "probability"
)
PLAYED_WEIGHTED = (
    "it depends on which action was played, weighted by its probability: an entropy sums over all "
    "actions"
)
UNWEIGHTED = "π is left out of the sum: each log π is weighted by its probability"
NO_GRADIENT = (
    "it has no gradient: neither π nor log π may be detached, stopped or turned into NumPy"
)
PI_STOPPED = "a part of its gradient is missing: π is detached or stopped"
LOG_STOPPED = "a part of its gradient is missing: log π is detached or stopped"
SOFTMAX_TWICE = "softmax is taken twice: it wants the logits, not the probabilities"
AXES = {
    -1: "",
    0: "softmax runs over the games: it must run over the actions, the last axis",
    1: "softmax runs over the ticks: it must run over the actions, the last axis",
}
TWICE_AS_FAR = (
    "twice as large as it should be: is it counted twice, or are weights moved without the "
    "optimizer?"
)
HALF = "half as large as it should be: the formula has no factor of 1/2"
# What people write in the place of an entropy's weight; 1 if they leave it out.
LITERALS = (1, 0.5, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0001)
LIKELY_LITERALS = (0.01, 1, 0.1, 0.001)
LIKE_THE_VALUE = "it is wrong in the same way as the entropy's value"


@dataclass(frozen=True)
class _Idea:
    """What an idea of an entropy gives.

    Attributes:
        words: what is wrong in it, () if nothing.
        gradient: by each logit, `[n_games, n_ticks, n_actions]`.
        value: the entropy itself.
        n_ticks: how many ticks count.
    """

    words: tuple[str, ...]
    gradient: np.ndarray
    value: float
    n_ticks: int


def problems(
    logits: np.ndarray,
    actions: np.ndarray,
    gradient: np.ndarray,
    value: float,
    policy_names: str = "π and log π",
    left_out: float | None = None,
) -> tuple[str, str]:
    """Says what is wrong with an entropy's value and with its gradient, "" where nothing is.

    Args:
        logits: `[n_games, n_ticks, n_actions]`, the last column not acted on.
        actions: those that were played, `[n_games, n_ticks]`.
        gradient: the measured one, `[n_games, n_ticks, n_actions]`.
        value: the measured one.
        policy_names: the names that the notebook gives to π and log π.
        left_out: how many times too large both would be for no other reason than that the weight is
            left out; None if it is there. A number may stand in its place, then.
    """
    ideas = _ideas(logits.tobytes(), logits.shape, logits.dtype.str, actions.tobytes())
    rights = [idea for idea in ideas if not idea.words]
    is_value_right = is_close(value, *(i.value for i in rights), tolerance=TOLERANCE)
    is_gradient_right = is_close(gradient, *(i.gradient for i in rights), tolerance=TOLERANCE)
    if is_value_right and is_gradient_right:
        return "", ""
    is_still = not np.any(np.abs(gradient) > NOTHING)
    if is_still and abs(value) < NOTHING:
        return "it is always 0", f"no logit moves: entropy_reg must be made of {policy_names}"
    words = _name(ideas, gradient, value, logits.shape, left_out)
    if words == ():
        return "", ""
    if words is not None:
        if is_value_right:
            return "", join(words)
        if is_gradient_right:
            return join(words), ""
        if NO_GRADIENT in words and len(words) > 1:
            return join([w for w in words if w != NO_GRADIENT]), NO_GRADIENT
        return join(words), LIKE_THE_VALUE
    alone = "" if is_gradient_right else _name_gradient(ideas, gradient, logits.shape, left_out)
    value_words = "" if is_value_right else "it is not the mean over games and ticks of H"
    if not is_gradient_right and not alone:
        alone = "it is not the gradient of the mean of H over games and ticks"
        if value_words:
            alone = LIKE_THE_VALUE
    return value_words, alone


def right(logits: np.ndarray, actions: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Returns the value and the gradient of each entropy that is right, see `problems`."""
    ideas = _ideas(logits.tobytes(), logits.shape, logits.dtype.str, actions.tobytes())
    return [(idea.value, idea.gradient) for idea in ideas if not idea.words]


def follows(logits: np.ndarray, actions: np.ndarray, gradient: np.ndarray, value: float) -> bool:
    """Says whether a gradient or a value is made of these logits as a known idea would make it.

    The arguments are those of `problems`; the gradient may be of any size.
    """
    ideas = _ideas(logits.tobytes(), logits.shape, logits.dtype.str, actions.tobytes())
    # Entropies of any logits are much alike: within a thousandth, a single number says little.
    right = [idea.value for idea in ideas if not idea.words]
    is_value_right = is_close(value, *right, tolerance=1e-5)
    return is_value_right or any(
        factor(gradient, idea.gradient) is not None for idea in ideas if np.any(idea.gradient)
    )


def _name(
    ideas: Sequence[_Idea],
    gradient: np.ndarray,
    value: float,
    shape: Sequence[int],
    left_out: float | None,
) -> tuple[str, ...] | None:
    """Returns the fewest words that explain gradient and value, None if nothing does."""
    found = []
    is_still = not np.any(np.abs(gradient) > NOTHING)
    for idea in ideas:
        k = value / idea.value
        is_idea_still = not np.any(np.abs(idea.gradient) > NOTHING)
        if is_still != is_idea_still or not np.isfinite(k) or k == 0:
            continue
        if is_still or is_close(gradient, k * idea.gradient):
            words = _size_words(k, idea, shape, left_out)
            if words is not None:
                found.append((*idea.words, *words))
    return min(found, key=len, default=None)


def _name_gradient(
    ideas: Sequence[_Idea], gradient: np.ndarray, shape: Sequence[int], left_out: float | None
) -> str:
    """Explains a gradient whose value does not go with it, "" if nothing does."""
    if not np.any(np.abs(gradient) > NOTHING):
        return NO_GRADIENT
    found, only_factor = [], ""
    for idea in ideas:
        k = factor(gradient, idea.gradient) if np.any(idea.gradient) else None
        words = None if k is None else _size_words(k, idea, shape, left_out)
        if words is not None:
            found.append((*idea.words, *words))
        elif k is not None and not idea.words:
            only_factor = only_factor or f"logits move {k:.3g} times as far as they should"
    return join(min(found, key=len)) if found else only_factor


def _size_words(
    k: float, idea: _Idea, shape: Sequence[int], left_out: float | None
) -> tuple[str, ...] | None:
    """Says why an entropy is k times as large as it should be, None if nothing is known for it."""
    factors = _factors(idea, shape)
    if left_out is None:
        return decompose(k, factors)
    sign = (SIGN,) if k < 0 else ()
    weight = abs(k) / left_out
    if is_close(weight, *LITERALS, tolerance=TOLERANCE):
        return sign
    for literal in LIKELY_LITERALS:
        words = decompose(weight / literal, factors)
        if words and len(words) == 1 and words[0] not in (TWICE_AS_FAR, HALF):
            return sign + words
    return sign


def _factors(idea: _Idea, shape: Sequence[int]) -> Factors:
    n_games, n_columns, n_actions = shape
    length = n_columns - 1
    return (
        (-1, SIGN),
        (n_games, OVER_GAMES),
        (idea.n_ticks, OVER_TICKS),
        (n_games * idea.n_ticks, OVER_BOTH),
        (1 / n_actions, OVER_ACTIONS.format(n=n_actions)),
        (1 / length, "divided by rollout_length once too often: it is a mean already"),
        (n_columns / length, "summed over rollout_length + 1 ticks, but divided by rollout_length"),
        (length / n_columns, "summed over rollout_length ticks, but divided by one more"),
        (1 / n_games, "divided by the number of games once too often: it is a mean already"),
        (
            1 / np.log(n_actions),
            f"divided by its largest value, log({n_actions}): the formula does not scale it",
        ),
        (1 / np.log(2), "the logarithm has base 2: it must be the natural one"),
        (2, TWICE_AS_FAR),
        (1 / 2, HALF),
    )


@functools.lru_cache(maxsize=4)
def _ideas(logits: bytes, shape: tuple[int, ...], kind: str, actions: bytes) -> tuple[_Idea, ...]:
    """Predicts every combination of ideas, the simplest first; arrays come as bytes, to cache."""
    array = np.frombuffer(logits, kind).reshape(shape).astype(float)
    width = len(actions) // (shape[0] * shape[1])
    played = np.frombuffer(actions, f"i{width}").reshape(shape[:2])
    ideas = itertools.chain(_predict(array, played), _predict_twice(array))
    return tuple(sorted(ideas, key=lambda idea: len(idea.words)))


def _predict(logits: np.ndarray, played: np.ndarray) -> Iterator[_Idea]:
    chosen = np.eye(logits.shape[-1])[played]
    everything = np.ones_like(chosen)
    for (axis, axis_words), (ticks, tick_words), is_played, form, stopped in itertools.product(
        AXES.items(),
        _ticks(logits.shape[1]),
        (False, True),
        ("π log π", "log π"),
        ("", "π", "log π", "all"),
    ):
        if form == "log π" and stopped in ("π", "log π"):
            continue
        logs = logits - _log_sum_exp(logits, axis)
        policy = np.exp(logs)
        weights = (chosen if is_played else everything) * ticks[:, None]
        weights = weights / (logits.shape[0] * ticks.sum())
        is_weighted = form == "π log π"
        value = float(np.sum(weights * -logs * (policy if is_weighted else 1)))
        slope = weights * _slope(policy, logs, form, stopped)
        gradient = through_softmax(policy, slope, axis)
        is_still = stopped == "all" or not np.any(np.abs(gradient) > NOTHING)
        # Where log π is stopped, the gradient is the whole one: what is missing sums to 0.
        whole = through_softmax(policy, weights * _slope(policy, logs, form, ""), axis)
        is_partial = stopped and not is_still and not is_close(gradient, whole)
        words = (
            axis_words,
            {(True, True): PLAYED_WEIGHTED, (True, False): PLAYED, (False, False): UNWEIGHTED}.get(
                (is_played, is_weighted), ""
            ),
            tick_words,
            NO_GRADIENT if is_still else "",
            {"π": PI_STOPPED, "log π": LOG_STOPPED}.get(stopped, "") if is_partial else "",
        )
        gradient = np.zeros_like(gradient) if is_still else gradient
        yield _Idea(tuple(filter(None, words)), gradient, value, int(ticks.sum()))


def _slope(policy: np.ndarray, logs: np.ndarray, form: str, stopped: str) -> np.ndarray:
    """Returns f'(π) of an idea, by the shape of the policy."""
    if stopped == "all":
        return np.zeros_like(policy)
    if form == "log π":
        return -1 / policy
    through_pi = 0 if stopped == "π" else -logs
    through_log = 0 if stopped == "log π" else -1
    return through_pi + through_log + np.zeros_like(policy)


def _predict_twice(logits: np.ndarray) -> Iterator[_Idea]:
    """Predicts entropies in which softmax of the policy stands for π, for log π or for both."""
    policy = softmax(logits)
    for (ticks, _), (weight_twice, log_twice) in itertools.product(
        _ticks(logits.shape[1])[:2], ((True, True), (False, True), (True, False))
    ):
        share = ticks[:, None] / (logits.shape[0] * ticks.sum())
        twice = softmax(policy)
        weights = twice if weight_twice else policy
        logs = np.log(twice if log_twice else policy)
        # By the weights, and by the logarithms; each softmax on the way passes it on.
        by_weights, by_logs = -share * logs, -share * weights / np.exp(logs)
        by_policy, by_twice = np.zeros_like(policy), np.zeros_like(policy)
        (by_twice if weight_twice else by_policy)[...] += by_weights
        (by_twice if log_twice else by_policy)[...] += by_logs
        gradient = through_softmax(policy, by_policy + through_softmax(twice, by_twice))
        value = float(np.sum(-share * weights * logs))
        yield _Idea((SOFTMAX_TWICE,), gradient, value, int(ticks.sum()))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities along the last axis."""
    return np.exp(logits - _log_sum_exp(logits, -1))


def through_softmax(policy: np.ndarray, gradient: np.ndarray, axis: int = -1) -> np.ndarray:
    """Returns the gradient by the logits, given the one by the probabilities."""
    return policy * (gradient - np.sum(policy * gradient, axis=axis, keepdims=True))


def _log_sum_exp(logits: np.ndarray, axis: int) -> np.ndarray:
    most = logits.max(axis=axis, keepdims=True)
    return most + np.log(np.exp(logits - most).sum(axis=axis, keepdims=True))


def _ticks(n_columns: int) -> list[tuple[np.ndarray, str]]:
    """Returns which ticks count, and what is wrong if only these do."""
    every, first, last = np.ones(n_columns), np.zeros(n_columns), np.zeros(n_columns)
    first[0], last[-1] = 1, 1
    last_acted = np.roll(last, -1)
    return [
        (every, ""),
        (1 - last, ""),  # not acted on: as right as with it
        (last, "only the last column counts: take the mean over all ticks"),
        (last_acted, "only the last acted tick counts: take the mean over all ticks"),
        (first, "only the first tick counts: take the mean over all ticks"),
        (1 - last - last_acted, "the last acted tick is left out: take the mean over all ticks"),
    ]
