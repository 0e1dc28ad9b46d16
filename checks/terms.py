"""The parts of the loss: how each is read off the measured numbers, judged, and named.

The visible check and the grading both judge by this module, so they fail the same parts. They
differ in their inputs, and in where the right numbers come from.

Every measured number is the gradient with respect to one logit or value of a stand-in agent, see
`checks.measuring`. The inputs alone isolate one term at a time, so a loss with its weights written
out as numbers can be judged too:

-   `sure`: a logit of 40 on each played action makes it certain: only the value loss is left;
-   `uniform`: equal logits: played actions are pushed by their advantage, and by nothing else;
-   `idle`: no rewards and no values: only the entropy is left. If a wrong advantage pushes actions
    even then, the entropy is what changes with `entropy_weight`;
-   `peaked`, minus the entropy of `idle`, which has the same logits: the policy's gradient;
-   `…_ends` and `…_other_end` differ only after a game is over: before that, nothing may change.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from checks import arrays, entropy
from checks.arrays import is_close
from checks.naming import Factors, Finding, decompose, explain, join

Arrays = Mapping[str, np.ndarray]

ENTROPY_WEIGHT = 0.01
OTHER_VALUE_WEIGHT, OTHER_ENTROPY_WEIGHT = 1.7, 0.23
RICH = 8  # times as large, rewards are up to 4
NOTHING = 1e-6  # rounding moves logits by less; a right loss moves them by 1e-2
TOLERANCE = 1e-4  # over every right way to write the loss, numbers differ by less than 1e-6


@dataclass(frozen=True)
class Tables:
    """What each idea of a target or an advantage gives, for the inputs of one measurement.

    Attributes:
        errors: without episode ends, an idea's target minus V(s_t), `[n_games, rollout_length]`.
        errors_with_ends: with ends, by the idea and the mask.
        advantages: without ends, `[n_games, rollout_length]`.
        advantages_with_ends: with ends, by the idea and the mask.
        policy_names: what the notebook calls π and log π.
    """

    errors: Arrays
    errors_with_ends: Mapping[tuple[str, str], np.ndarray]
    advantages: Arrays
    advantages_with_ends: Mapping[tuple[str, str], np.ndarray]
    policy_names: str = "π and log π"


SIGNS = {"sign": "target", "return sign": "return"}  # of the absolute difference, by its idea
RIGHT_ERRORS = ("target", "return")
RIGHT_MASKS = ("right", "strict", "mean", "no reset ticks")  # a mean mask comes with mixed games


def build_cases(plain: Arrays, ends: np.ndarray, other: np.ndarray) -> dict[str, Arrays]:
    """Returns the fields of every case, by its name.

    Args:
        plain: actions, rewards, values, peaked logits, memory and gamma.
        ends: an `is_not_done` in which games end at several places, `[n_games, n_ticks]`.
        other: what rewards and values are in another game after the first, `[n_games, n_ticks]`.
    """
    plain = {
        **plain,
        "is_not_done": np.ones_like(ends),
        "value_loss_weight": np.array(1.0),
        "entropy_weight": np.array(ENTROPY_WEIGHT),
    }
    zeros, rewards = np.zeros_like(plain["rewards"]), plain["rewards"]
    uniform = {"logits": np.zeros_like(plain["logits"])}
    sure = {"logits": 40 * np.eye(plain["logits"].shape[-1], dtype=np.float32)[plain["actions"]]}
    with_ends = {"is_not_done": ends, "rewards": rewards * ends}
    first = first_game(ends)
    other_end = {
        "is_not_done": ends,
        "rewards": np.where(first, rewards, other) * ends,
        "values": np.where(first, plain["values"], other),
    }
    idle = {"rewards": zeros, "values": zeros}
    heavy_entropy = {"entropy_weight": np.array(OTHER_ENTROPY_WEIGHT)}
    heavy_value = {"value_loss_weight": np.array(OTHER_VALUE_WEIGHT)}
    cases = {
        "peaked": {},
        "peaked_ends": {**with_ends, **heavy_value},
        "idle": idle,
        "idle_weighted": {**idle, **heavy_entropy},
        "uniform": uniform,
        "uniform_idle": {**uniform, **idle},
        "uniform_idle_weighted": {**uniform, **idle, **heavy_entropy, **heavy_value},
        "uniform_ends": {**uniform, **with_ends},
        "uniform_other_end": {**uniform, **other_end},
        "sure": sure,
        "sure_ends": {**sure, **with_ends},
        "sure_other_end": {**sure, **other_end},
        "sure_rich": {**sure, "rewards": RICH * rewards},
        "sure_weighted": {**sure, **heavy_value},
    }
    return {name: plain | changes for name, changes in cases.items()}


def first_game(is_not_done: np.ndarray) -> np.ndarray:
    """Says which ticks belong to the game that a rollout begins in, `[n_games, n_ticks]`."""
    before = np.pad(is_not_done, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
    return np.cumprod(before, axis=1) > 0


# ----------------------------------------------------------------------- what the numbers say


def all_value_moves(measured: Arrays, case: str) -> np.ndarray:
    """Returns how far the value loss moves each value, `[n_games, n_ticks]`."""
    moves = measured[f"{case}/value_moves"]
    if case != "sure" or not is_value_weighed(measured):
        return moves
    # A policy's term that is not 0 even where played actions are certain may move values, too.
    heavily = measured["sure_weighted/value_moves"]
    return (heavily - moves) / (OTHER_VALUE_WEIGHT - 1)


def value_moves(measured: Arrays, case: str) -> np.ndarray:
    """Returns how far each acted-on value moves, `[n_games, rollout_length]`."""
    return all_value_moves(measured, case)[:, :-1]


def is_value_weighed(measured: Arrays) -> bool:
    """Says whether `value_loss_weight` matters to the values."""
    pair = [measured.get(f"{case}/value_moves") for case in ("sure_weighted", "sure")]
    return pair[0] is not None and bool(np.any(np.abs(pair[0] - pair[1]) > NOTHING))


def _is_pulled_when_sure(measured: Arrays) -> bool:
    """Says whether the policy's term moves values even where played actions are certain."""
    moves = measured["sure/value_moves"]
    return not is_close(moves, all_value_moves(measured, "sure"))


def policy_moves(measured: Arrays, case: str = "peaked") -> np.ndarray:
    """Returns how far the policy term alone moves each logit, `[n_games, n_ticks, n_actions]`."""
    return measured[f"{case}/logit_moves"] - entropy_moves(measured)


def entropy_moves(measured: Arrays, case: str = "idle") -> np.ndarray:
    """Returns how far the entropy term alone moves each logit, `[n_games, n_ticks, n_actions]`."""
    moves, praise = measured[f"{case}/logit_moves"], _praise(measured)
    if not _is_entropy_weighed(measured):
        return moves - praise * _log_policy_gradient(measured, case) if praise else moves
    alone = _entropy_alone(moves, measured[f"{case}_weighted/logit_moves"])
    # Where another weight multiplies it, too, its size is wrong; but then nothing else moves here.
    is_all = case == "uniform_idle" and not praise and arrays.factor(alone, moves)
    return moves if is_all else alone


def entropy_loss(measured: Arrays) -> np.ndarray:
    """Returns what the entropy term alone adds to the loss."""
    loss = measured["idle/loss"]
    if _is_entropy_weighed(measured):
        return _entropy_alone(loss, measured["idle_weighted/loss"])
    policy, actions = _probabilities(measured, "idle"), measured["inputs/idle/actions"]
    played = np.take_along_axis(policy, actions[..., None], axis=-1)[:, :-1]
    return loss + _praise(measured) * np.sum(np.log(played))


def _entropy_alone(lightly: np.ndarray, heavily: np.ndarray) -> np.ndarray:
    """Isolates the entropy in an idle case, measured with both entropy weights."""
    return (heavily - lightly) * ENTROPY_WEIGHT / (OTHER_ENTROPY_WEIGHT - ENTROPY_WEIGHT)


def _praise(measured: Arrays) -> float:
    """Returns how far a policy term pushes all played actions alike without any reward, or 0.

    Entropy moves no equal logits, or those of the last tick, too.
    """
    actions = measured["inputs/uniform/actions"]
    pushed = push_above_others(measured["uniform_idle/logit_moves"], actions)
    alike = np.pad(np.full_like(pushed[:, :-1], pushed[0, 0]), ((0, 0), (0, 1)))
    is_praise = np.any(np.abs(pushed) > NOTHING) and is_close(pushed, alike)
    return float(pushed[0, 0]) if is_praise else 0.0


def _is_entropy_weighed(measured: Arrays) -> bool:
    """Says whether `entropy_weight` matters when no action is better than another."""
    pairs = [("idle_weighted/logit_moves", "idle/logit_moves")]
    pairs += [("idle_weighted/loss", "idle/loss")] * ("idle/loss" in measured)
    return any(bool(np.any(np.abs(measured[a] - measured[b]) > NOTHING)) for a, b in pairs)


def pushes(measured: Arrays, case: str = "uniform") -> np.ndarray:
    """Returns how far each played action is pushed above the others when logits are equal.

    This is the advantage times a constant, `[n_games, rollout_length]`.
    """
    moves = _as_read(_moves_of_pushes(measured, case), _length_read_across(measured))
    return push_above_others(moves[:, :-1], measured["inputs/uniform/actions"][:, :-1])


def _moves_of_pushes(measured: Arrays, case: str) -> np.ndarray:
    return measured[f"{case}/logit_moves"] - entropy_moves(measured, "uniform_idle")


def _length_read_across(measured: Arrays) -> int:
    """Returns how many ticks of logits are read as if games came first, when ticks do; else 0.

    `torch.stack(logits).view(n_games, n_ticks, -1)` does so: then other actions are pushed than
    those that were played, but which ones says what was read.
    """
    moves, actions = _moves_of_pushes(measured, "uniform"), measured["inputs/uniform/actions"]
    n_ticks = moves.shape[1]
    for length in (0, n_ticks, n_ticks - 1):
        read = _as_read(moves, length)[:, :-1]
        pushed = np.argmax(np.abs(read), axis=-1) == actions[:, :-1]
        if np.all(pushed | ~np.any(np.abs(read) > NOTHING, axis=-1)):
            return length
    return 0


def _as_read(moves: np.ndarray, length: int) -> np.ndarray:
    """Returns moves `[n_games, n_ticks, …]` where a loss that reads across has read them."""
    if not length:
        return moves
    n_games = len(moves)
    place = np.arange(n_games * length).reshape(n_games, length)
    read = np.zeros_like(moves)
    read[:, :length] = moves[place % n_games, place // n_games]
    return read


def push_above_others(logit_moves: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Returns how far one action of each tick is pushed above the mean of the others.

    With equal logits the gradient of log π(a) is 1 - 1/14 for the action and -1/14 for each other:
    a difference of 1, so the push is the factor of log π(a) in the loss.

    Args:
        logit_moves: `[n_games, n_ticks, n_actions]`.
        actions: `[n_games, n_ticks]`.

    Returns:
        `[n_games, n_ticks]`.
    """
    chosen = np.take_along_axis(logit_moves, actions[..., None], axis=-1)[..., 0]
    return chosen - (logit_moves.sum(axis=-1) - chosen) / (logit_moves.shape[-1] - 1)


def moves_through_memory(logit_moves: np.ndarray) -> np.ndarray:
    """Returns the gradient that should reach what each tick hands on, `[n_ticks]`.

    With the stand-in agent it reaches the first action's logit in every later tick.
    """
    by_tick = logit_moves[:, :, 0].sum(axis=0)
    return np.append(np.cumsum(by_tick[::-1])[::-1][1:], 0)


def actor_pull(measured: Arrays) -> np.ndarray:
    """Returns how far the policy term moves each value, which should be nowhere."""
    return measured["uniform/value_moves"] - measured["sure/value_moves"]


def _probabilities(measured: Arrays, case: str) -> np.ndarray:
    logits = measured[f"inputs/{case}/logits"].astype(float)
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def _policy_gradient(measured: Arrays, case: str, pushed_in: str = "uniform") -> np.ndarray:
    """Predicts `policy_moves` from how this same loss pushes actions of equal logits."""
    own = np.pad(pushes(measured, pushed_in), ((0, 0), (0, 1)))
    return own[..., None] * _log_policy_gradient(measured, case)


def _log_policy_gradient(measured: Arrays, case: str) -> np.ndarray:
    """Returns the gradient of log π(a) by each logit, 0 in the last tick: it is not acted on."""
    policy, actions = _probabilities(measured, case), measured[f"inputs/{case}/actions"]
    gradient = np.eye(policy.shape[-1])[actions] - policy
    return np.where(np.arange(gradient.shape[1])[:, None] < gradient.shape[1] - 1, gradient, 0)


def _wrong_axis(moves: np.ndarray) -> str:
    """Says along which wrong axis softmax runs, "" if along none."""
    # Adding a number to all logits of a softmax changes nothing: along its axis gradients sum to 0.
    most = max(float(np.max(np.abs(moves))), 1e-30)
    is_zero = {
        axis: np.max(np.abs(np.sum(moves, axis=axis))) <= arrays.TOLERANCE * most
        for axis in (-1, 0, 1)
    }
    return next((entropy.AXES[axis] for axis in (0, 1) if is_zero[axis] and not is_zero[-1]), "")


STILL = "it cannot be checked until a weight moves"


def _is_still(measured: Arrays) -> bool:
    """Says whether no term moves anything: then nothing is known about any of them."""
    cases = ("sure", "uniform", "idle_weighted")
    kinds = ("value_moves", "logit_moves")
    return not any(np.any(measured.get(f"{case}/{kind}", 0)) for case in cases for kind in kinds)


# ----------------------------------------------------------------------------- the value loss

SUMMED = "summed over the games: take the mean over them"
NO_MEAN_OVER_TIME = "the mean over time is missing: divide by rollout_length, once"
HALF = entropy.HALF
HUBER = "it is a Huber loss: the formula has the plain square"
COLUMN = "(n,) and (n, 1) became (n, n), print the shapes"

LAST_LEFT_OUT = "the last acted tick is left out: the loop must reach t = rollout_length - 1"
OTHER_TICK = "rewards are those of another tick: r_t belongs to column t"
MEAN_SQUARED = "the mean of the errors is squared: square each error, then take the mean"
ROTATED = "rewards are in reversed order, rotated by one: r_t belongs to column t"
REWARD_WORDS = {
    "mean rewards": "rewards are averaged over the games: each game has its own (or did (n,) and "
    "(n, 1) become (n, n)? print the shapes)",
    "next reward": OTHER_TICK,
    "earlier reward": OTHER_TICK,
    "reversed rewards": "rewards are in reversed order: r_t belongs to column t",
    "rotated rewards": ROTATED,
    "backward rewards": ROTATED,
}
ERROR_WORDS = {
    "reward": "its target is the reward alone: γ·V(s_{t+1}) is missing",
    "undiscounted": "its target is not discounted: γ is missing",
    "undiscounted return": "the return in it is not discounted: γ is missing",
    "no reward": "its target lacks the reward: r_t is missing",
    "return without rewards": "its target lacks the rewards",
    "same value": "its target holds V of its own tick: the future begins with V(s_{t+1})",
    "last value": "its target holds V of the rollout's last column: it must be V(s_{t+1})",
    "mean target": f"each value is pulled to the mean target of all games: {COLUMN}",
    "mean value": f"the mean value of all games is pulled to each target: {COLUMN}",
    "mean error": MEAN_SQUARED,
    "mean of all errors": MEAN_SQUARED,
    "late return": LAST_LEFT_OUT,
    **REWARD_WORDS,
    "sign": "it is the absolute difference, not its square",
    "return sign": "it is the absolute difference, not its square",
}
# Ideas that mix games, or ticks, with each other: where games end they say nothing more.
MIXING = {"mean target", "mean value", "mean rewards", "mean advantage", "over mean value", "mixed"}
MIXING |= {"mean error", "mean of all errors", "last value", *REWARD_WORDS}
VALUE_SIGN = "it pushes V(s_t) away from its target: mind the signs"
NOT_PULLED = (
    "V(s_t) should be pulled to r_t + γ·V(s_{t+1}), each game and tick by its own difference"
)
NO_VALUE_MOVES = "it has no gradient: V(s_t) must be in it, and not stopped"


def _factors(n_games: int, length: int, sign: str) -> Factors:
    return (
        (-1, sign),
        (n_games, SUMMED),
        (n_games**2, "summed over the games, and over all pairs of them: take the mean over them"),
        (length, NO_MEAN_OVER_TIME),
        (1 / length, "divided by rollout_length once too often: it is a mean already"),
        (1 / n_games, "divided by the number of games once too often: it is a mean already"),
        (length / (length + 1), "divided by one tick too many: rollout_length ticks are acted on"),
        (1 / 2, HALF),
        (2, entropy.TWICE_AS_FAR),
    )


def _without_pull_on_target(measured: Arrays, case: str = "sure") -> np.ndarray:
    """Returns how far values move by their own errors, where V(s_{t+1}) is pulled as well.

    A target that is not stopped moves V(s_{t+1}) by -γ times the move of its tick, or by -1 times
    where γ is missing.
    """
    moves = all_value_moves(measured, case)
    if not np.any(np.abs(moves[:, -1]) > NOTHING):
        return moves[:, :-1]
    for gamma in (float(measured[f"inputs/{case}/gamma"]), 1.0):
        own = np.zeros_like(moves)
        for tick in range(moves.shape[1]):
            own[:, tick] = moves[:, tick] + (gamma * own[:, tick - 1] if tick else 0)
        if is_close(own[:, -1] + moves[:, -1], moves[:, -1], tolerance=1e-3):
            return own[:, :-1]
    return moves[:, :-1]


def _explain_values(measured: Arrays, tables: Tables) -> Finding | None:
    moves = _without_pull_on_target(measured)
    n_games, length = moves.shape
    scale = 2 / (n_games * length)
    scaled = {idea: scale * table for idea, table in tables.errors.items()}
    for name, idea in SIGNS.items():
        scaled[name] = scale / 2 * np.sign(tables.errors[idea])
    factors = _factors(n_games, length, VALUE_SIGN)
    found = explain(moves, scaled, ERROR_WORDS, factors)
    return found or _explain_rescaled(moves, scaled["target"], scaled["no reward"], factors)


def _explain_rescaled(
    moves: np.ndarray, right: np.ndarray, rest: np.ndarray, factors: Factors
) -> Finding | None:
    """Finds rewards that count some times as much as they should.

    Args:
        moves: measured, `[n_games, rollout_length]`.
        right: what they should be.
        rest: what they should be if there were no rewards.
        factors: as in `explain`.
    """
    both = np.stack([rest.ravel(), (right - rest).ravel()], axis=1)
    (size, of_rewards), *_ = np.linalg.lstsq(both, moves.ravel().astype(float))
    sizes = decompose(size, factors) if size else None
    if sizes is None or not is_close(moves.ravel(), both @ [size, of_rewards]):
        return None
    words = "rewards are rescaled in the function: they come in as they should be"
    return Finding("rescaled", np.ones(moves.shape[1]), size, (words,), sizes)


def _clipping_problem(measured: Arrays, tables: Tables) -> str:
    """Says whether large rewards, or large errors, are cut off; "" if not."""
    moves = _without_pull_on_target(measured, "sure_rich")
    rewards = tables.errors["target"] - tables.errors["no reward"]
    discounted = tables.errors["return"] - tables.errors["return without rewards"]
    right = (
        tables.errors["target"] + (RICH - 1) * rewards,
        tables.errors["return"] + (RICH - 1) * discounted,
    )
    # A clipped gradient is smaller, no more.
    if arrays.factor(moves, *right) is not None or _is_pulled_when_sure(measured):
        return ""
    return "large rewards or errors are cut off: no clipping, and no Huber loss, in the formula"


def value_loss_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if _is_still(measured):
        return STILL
    moves = _without_pull_on_target(measured)
    if not np.any(np.abs(moves) > NOTHING):
        return NO_VALUE_MOVES
    if is_close(moves, *(value_moves(one, "sure") for one in accepted), tolerance=TOLERANCE):
        return _clipping_problem(measured, tables)
    found = _explain_values(measured, tables)
    if found is None:
        return NOT_PULLED
    is_clipped = found.idea in RIGHT_ERRORS and bool(_clipping_problem(measured, tables))
    sizes = tuple(HUBER if is_clipped and phrase == HALF else phrase for phrase in found.sizes)
    if not is_value_weighed(measured) and _may_be_weight(found):
        sizes = ()  # that its weight is another number costs the weights
    return join(found.kind + sizes) or _clipping_problem(measured, tables)


def _may_be_weight(found: Finding) -> bool:
    """Says whether a number in the place of a setting explains the size of a term."""
    is_known = found.is_full and len(found.sizes) == 1 and found.sizes != (HALF,)
    return found.k > 0 and not is_known


def follows_return(measured: Arrays, tables: Tables) -> bool:
    """Says whether the critic learns the n-step return instead of its one-step target."""
    found = _explain_values(measured, tables)
    return found is not None and found.idea == "return"


def semi_gradient_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if not np.any(np.abs(measured["sure/value_moves"]) > NOTHING):
        return "it cannot be checked until a value moves"
    last = measured["sure/value_moves"][:, -1]
    return "V(s_{t+1}) is pulled as well: use V_next, which is stopped" if np.any(last) else ""


LATE = (
    "the mask comes one column late: with is_not_done[:, t + 1] alone the reset tick learns the "
    "next game's value"
)
RETURNS_RUN_ON = "returns run on into the next game: multiply G_{t+1} by is_not_done[:, t]"
ERROR_ENDS = {
    "none": "a finished game has no future: multiply V_next by is_not_done[:, t]",
    "late": LATE,
}


def _find_mask(
    moves: np.ndarray, found: Finding, tables: Mapping[tuple[str, str], np.ndarray]
) -> str:
    """Returns the mask with which an idea gives some moves where games end, "" if none does."""
    if found.idea == "rescaled":
        return _find_mask_of_rescaled(moves, tables)
    is_sign, is_uneven = found.idea in SIGNS, UNEVEN in found.sizes

    def fits(table: np.ndarray) -> bool:
        if is_uneven:  # by numbers that ends may change
            return _sizes_by_tick(moves, table) is not None
        expected = (np.sign(table) if is_sign else table) * found.ticks
        return arrays.factor(moves, expected) is not None

    fitting = (
        mask
        for (idea, mask), table in tables.items()
        if idea == SIGNS.get(found.idea, found.idea) and fits(table)
    )
    return next(fitting, "")


def _find_mask_of_rescaled(moves: np.ndarray, tables: Mapping[tuple[str, str], np.ndarray]) -> str:
    """As `_find_mask`, where rewards are rescaled."""
    for right, rest in (("target", "no reward"), ("advantage", "no rewards")):
        for idea, mask in tables:
            if idea == right and (rest, mask) in tables:
                basis = np.stack([tables[name, mask].ravel() for name in (right, rest)], axis=1)
                sizes, *_ = np.linalg.lstsq(basis, moves.ravel().astype(float))
                if is_close(moves.ravel(), basis @ sizes):
                    return mask
    return ""


def value_ends_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if not np.any(measured["sure_ends/value_moves"]):
        return "it cannot be checked until a value moves"
    moves = _without_pull_on_ends(measured)
    found = _explain_values(measured, tables)
    if found and (mask := _find_mask(moves, found, tables.errors_with_ends)):
        if mask in RIGHT_MASKS:
            return ""
        return RETURNS_RUN_ON if "return" in found.idea else ERROR_ENDS[mask]
    if arrays.factor(moves, *(value_moves(one, "sure_ends") for one in accepted)):
        return ""
    if found and found.idea in MIXING:
        return ""  # the value loss says that games are mixed: their ends cannot be told apart
    if _is_pulled_when_sure(measured):
        return ""  # so is every value, by a policy's term that says so itself
    if _leaks(measured, "sure", "value_moves"):
        return "the next game's value gets into the target of a game that is over"
    if found and found.idea in RIGHT_ERRORS:
        return "where is_not_done is 0, and only there, the target must be the reward alone"
    return ""


def _without_pull_on_ends(measured: Arrays) -> np.ndarray:
    """Returns how far values move by their own errors, where games end and V(s_{t+1}) is pulled."""
    moves = measured["sure_ends/value_moves"]
    if not np.any(np.abs(all_value_moves(measured, "sure")[:, -1]) > NOTHING):
        return moves[:, :-1]
    gamma, mask = (measured[f"inputs/sure_ends/{name}"] for name in ("gamma", "is_not_done"))
    for pulled in (mask, np.ones_like(mask), np.roll(mask, -1, axis=1)):
        own = np.zeros_like(moves)
        for tick in range(moves.shape[1]):
            before = float(gamma) * pulled[:, tick - 1] * own[:, tick - 1] if tick else 0
            own[:, tick] = moves[:, tick] + before
        if np.max(np.abs(own[:, -1])) <= 1e-3 * np.max(np.abs(moves)):
            return own[:, :-1]
    return moves[:, :-1]


def _leaks(measured: Arrays, logits: str, moves: str) -> bool:
    """Says whether what comes after a game's end changes anything before it."""
    pair = measured[f"{logits}_ends/{moves}"], measured[f"{logits}_other_end/{moves}"]
    first = first_game(measured[f"inputs/{logits}_ends/is_not_done"])
    first = first.reshape(*first.shape, *[1] * (pair[0].ndim - 2))
    return not is_close(*(np.where(first, array, 0) for array in pair), tolerance=TOLERANCE)


# --------------------------------------------------------------------------------- the policy

NO_LOGIT_MOVES = "no logit moves: the log-probabilities are not in J_hat, or are stopped"
NORMALIZED = ("normalized over the games", "normalized over time", "normalized over games and time")
ADVANTAGE_WORDS = {
    "late": LAST_LEFT_OUT,
    "forward": "the returns are added up forwards in time: the loop must begin at the last tick",
    **REWARD_WORDS,
    "mean advantage": f"every game gets the mean of all advantages: {COLUMN}",
    "mixed": f"every return and value is that of all games: {COLUMN}",
    "over mean value": f"every return is compared with the mean of all values: {COLUMN}",
    "in place": "the advantage overwrites the returns, and the tick before adds it up: functions "
    "whose name ends in _ and operators like -= work in place",
    "one step": "the advantage looks one step ahead only: use cumulative_returns, the n-step "
    "return",
    "no baseline": "the advantage lacks its baseline: how much better than V(s_t) did it go?",
    "one-step target": "the advantage is the one-step target: it lacks its baseline, V(s_t), and "
    "looks one step ahead only",
    "other baseline": "the advantage has another state's baseline: it must be V(s_t)",
    "praise": "every action is praised alike: an advantage says how much better than V(s_t) it "
    "went",
    "reward": "the advantage holds the rewards alone: the return looks further ahead",
    "undiscounted": "the return in the advantage is not discounted: γ is missing",
    "no bootstrap": "the return begins with 0: beyond the rollout it is V of the last column",
    "no rewards": "the return lacks the rewards",
    "value alone": "the advantage is V(s_t) alone: the return is missing",
    **{
        f"{idea}{over}": f"advantages are {idea}: the formula has them as they are"
        for idea in NORMALIZED
        for over in ("", " by n - 1")
    },
    "mean taken off": "the mean of all advantages is taken off: the formula has them as they are",
}
POLICY_SIGN = (
    "good actions are made rarer: mind the sign of the advantage, and let J_hat be positive, it is "
    "negated in the loss"
)
NOT_PUSHED = "each played action should be pushed by its own advantage, the return minus V(s_t)"
LIKE_THE_VALUES = "it is wrong in the same way as the value loss"
PROBABILITY = "the probability stands where its logarithm should"
NOT_LOGARITHM = "it is not the gradient of log π(a_t|s_t) times the advantage"
READ_ACROSS = (
    "logits meet the actions of other games and ticks: reshape and view do not swap axes, stack "
    "along axis 1 or transpose"
)
BY_POWER = "each tick is weighted by γ to the power of t: all ticks count alike"
UNEVEN = "ticks count differently, each by a number of its own: all count alike"
SOFTMAX_FIRST = "it cannot be checked until softmax runs over the actions"


def _explain_pushes(measured: Arrays, tables: Tables) -> Finding | None:
    own = pushes(measured)
    if not np.any(np.abs(own) > NOTHING):
        return None
    factors = _factors(*own.shape, POLICY_SIGN)
    n_actions = measured["inputs/uniform/logits"].shape[-1]
    if _form_of_logarithm(measured):
        own = own * n_actions
    scaled = {idea: table / table.size for idea, table in tables.advantages.items()}
    found = explain(own, scaled, ADVANTAGE_WORDS, factors) or _explain_rescaled(
        own, scaled["advantage"], scaled["no rewards"], factors
    )
    if found:
        return found
    powers = float(measured["inputs/uniform/gamma"]) ** np.arange(own.shape[1])
    if found := explain(own / powers, scaled, ADVANTAGE_WORDS, factors):
        return replace(found, ticks=found.ticks * powers, sizes=(*found.sizes, BY_POWER))
    by_tick = _sizes_by_tick(own, scaled["advantage"])
    if by_tick is None:
        return None
    return Finding("advantage", by_tick, 1.0, sizes=(UNEVEN,), is_full=False)


def _sizes_by_tick(moves: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """Returns the factor between moves and right ones in each tick, None if there is none."""
    by_tick = [
        arrays.factor(*pair, tolerance=TOLERANCE) for pair in zip(moves.T, right.T, strict=True)
    ]
    return None if None in by_tick else np.array(by_tick)


def _form_of_logarithm(measured: Arrays) -> str | None:
    """Says what stands where log π should, "" if it does; None if something unknown does."""
    policy, actions = _probabilities(measured, "peaked"), measured["inputs/peaked/actions"]
    of_logarithm = _policy_gradient(measured, "peaked")
    moves = policy_moves(measured)
    if is_close(moves, of_logarithm):
        return ""
    chosen = np.take_along_axis(policy, actions[..., None], axis=-1)
    n_actions = policy.shape[-1]
    if is_close(moves, n_actions * chosen * of_logarithm):
        return PROBABILITY
    # With log softmax(π) in its place, too, equal logits are pushed 1 / n_actions as far.
    pushed = np.pad(pushes(measured), ((0, 0), (0, 1)))[..., None]
    by_policy = n_actions * pushed * (np.eye(n_actions)[actions] - entropy.softmax(policy))
    if is_close(moves, entropy.through_softmax(policy, by_policy)):
        return entropy.SOFTMAX_TWICE
    return None


def advantage_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if _is_still(measured):
        return STILL
    own = pushes(measured)
    if not np.any(np.abs(own) > NOTHING):
        return NO_LOGIT_MOVES
    if arrays.factor(own, *map(pushes, accepted), tolerance=TOLERANCE) is not None:
        return ""
    if axis := _wrong_axis(policy_moves(measured)):
        return axis
    found = _explain_pushes(measured, tables)
    if found and not found.kind and {*found.sizes} & {UNEVEN, BY_POWER}:
        return ""  # each tick has its advantage, though not all count alike
    if not (found and found.kind):
        return NOT_PUSHED
    of_values = _explain_values(measured, tables)
    return LIKE_THE_VALUES if of_values and of_values.kind == found.kind else join(found.kind)


def policy_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    own, moves = pushes(measured), policy_moves(measured)
    if not np.any(np.abs(own) > NOTHING):
        return "no logit moves"
    if _wrong_axis(moves):
        return SOFTMAX_FIRST
    if _length_read_across(measured):
        return READ_ACROSS
    form = _form_of_logarithm(measured)
    if form is None:
        return NOT_LOGARITHM
    found = _explain_pushes(measured, tables)
    sizes = [form] if form else []
    is_of_any_size = found and (found.idea == "praise" or found.idea.startswith(NORMALIZED))
    if found and (found.is_full or not is_of_any_size):
        sizes += found.sizes
    elif found and found.k < 0:
        sizes.append(POLICY_SIGN)
    return join(sizes)


def constant_advantage_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if not np.any(np.abs(pushes(measured)) > NOTHING):
        return "it cannot be checked until a logit moves"
    # If played actions have probability 1, log π is 0 and the policy term cannot move a value.
    if is_close(measured["uniform/value_moves"], measured["sure/value_moves"], tolerance=1e-3):
        return ""
    return (
        "the policy term moves the values: the critic is trained to please the actor; stop the "
        "advantage"
    )


def policy_ends_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    own = pushes(measured, "uniform_ends")
    if not np.any(np.abs(own) > NOTHING):
        return "it cannot be checked until a logit moves"
    if _wrong_axis(policy_moves(measured)):
        return SOFTMAX_FIRST
    found = _explain_pushes(measured, tables)
    is_right = arrays.factor(pushes(measured), *map(pushes, accepted)) is not None
    if found and (mask := _find_mask(own, found, tables.advantages_with_ends)):
        return "" if mask in RIGHT_MASKS else RETURNS_RUN_ON
    if found and found.idea in MIXING:
        return ""  # the advantage's line says that games are mixed
    if _leaks(measured, "uniform", "logit_moves"):
        return "the next game's rewards get into the return of a game that is over"
    if is_right:
        return "where is_not_done is 0, and only there, the return must be cut"
    return ""


# -------------------------------------------------------------------------------- the entropy


def _are_weights_swapped(measured: Arrays) -> bool:
    """Says whether value_loss_weight stands where entropy_weight should."""
    light, heavy = (measured.get(f"uniform_idle{w}/loss") for w in ("", "_weighted"))
    if light is None or heavy is None or not np.any(np.abs(light) > NOTHING):
        return False
    return is_close(heavy, OTHER_VALUE_WEIGHT * light)


def _entropy_problems(measured: Arrays, tables: Tables) -> tuple[str, str]:
    weight = 1.0 if _are_weights_swapped(measured) else ENTROPY_WEIGHT
    return entropy.problems(
        measured["inputs/idle/logits"],
        measured["inputs/idle/actions"],
        entropy_moves(measured) / weight,
        float(-entropy_loss(measured) / weight),
        tables.policy_names,
        left_out=None if _is_entropy_weighed(measured) else 1 / weight,
    )


def _explain_entropy(measured: Arrays, tables: Tables) -> bool:
    loss = entropy_loss(measured) if "idle/loss" in measured else np.nan
    return entropy.follows(
        measured["inputs/idle/logits"],
        measured["inputs/idle/actions"],
        entropy_moves(measured),
        float(-loss / ENTROPY_WEIGHT),
    )


def entropy_value_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    return _entropy_problems(measured, tables)[0]


def entropy_gradient_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    return STILL if _is_still(measured) else _entropy_problems(measured, tables)[1]


# --------------------------------------------------------------------------------- the memory


NOT_ASKED = "the agent must be called in every tick, with that tick's memory"


def memories(measured: Arrays, case: str) -> list[np.ndarray]:
    """Returns the least and the greatest memory that each tick was given, `[n_games, n_ticks]`."""
    return [measured[f"{case}/least_memory"], measured[f"{case}/greatest_memory"]]


def _was_asked(measured: Arrays, case: str) -> bool:
    """Says whether the agent was called in every tick; KeyError if the case was not measured."""
    return f"{case}/least_memory" in measured


def memory_passed_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if not _was_asked(measured, "peaked"):
        return NOT_ASKED
    own, right = memories(measured, "peaked"), memories(accepted[0], "peaked")
    if all(is_close(a, b, tolerance=TOLERANCE) for a, b in zip(own, right, strict=True)):
        return ""
    stuck = np.broadcast_to(measured["inputs/peaked/memory"][:, None], own[0].shape)
    if all(is_close(array, stuck) for array in own):
        return "each tick gets the memory the rollout began with: assign what comes back to memory"
    if not np.any(own[1][:, 1:]):
        return "the memory is blank again in every tick"
    return "the memory that the agent gives back must go into the next call"


def memory_gradient_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    right = moves_through_memory(measured["peaked/logit_moves"])
    if not np.any(np.abs(right) > NOTHING):
        return "it cannot be checked until a logit moves"
    moves = measured["peaked/memory_moves"]
    if is_close(moves, right, tolerance=1e-3):
        return ""
    if not np.any(np.abs(moves) > NOTHING):
        return "none does: within a rollout the memory must not be stopped or turned into NumPy"
    return "some of them are lost: within a rollout the memory must not be stopped"


def memory_reset_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if not _was_asked(measured, "peaked_ends"):
        return NOT_ASKED
    own, right = memories(measured, "peaked_ends"), memories(accepted[0], "peaked_ends")
    if all(is_close(a, b, tolerance=TOLERANCE) for a, b in zip(own, right, strict=True)):
        return ""
    ends = measured["inputs/peaked_ends/is_not_done"]
    wiped = np.pad(ends[:, :-1] == 0, ((0, 0), (1, 0)))
    if memory_passed_problem(measured, accepted, tables) and np.all(own[1][wiped] == 0):
        return ""  # reported there; here: is it wiped?
    if np.any(own[1][wiped]):
        if np.any(ends == 0) and not np.any(own[1][ends == 0]):
            return (
                "it is wiped one tick too early: the tick where is_not_done is 0 still belongs to "
                "the game that ends, so wipe the memory after it, not before"
            )
        return "it is carried into the next game: wipe it after the tick where is_not_done is 0"
    return "after the tick where is_not_done is 0 that game's memory must be blank, and only then"


# -------------------------------------------------------------------------------- the whole loss


def weights_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    if _are_weights_swapped(measured):
        return "value_loss_weight multiplies the entropy: each term has its own weight"
    problems = _value_weight_problem(measured), _entropy_weight_problem(measured, tables)
    if all(problem is None for problem in problems):
        return "they cannot be checked until a term moves something"
    wrong = [problem for problem in problems if problem]
    if not wrong:
        return _stray_weight_problem(measured)
    both = "value_loss_weight and entropy_weight change nothing: they belong in the loss"
    return both if len(wrong) == 2 else "".join(wrong)


def _value_weight_problem(measured: Arrays) -> str | None:
    """Returns what is wrong, "" if nothing, None if there is no value loss to be weighed."""
    words = "value_loss_weight changes nothing, or too much: it belongs in the loss"
    heavy, light = (measured[f"{case}/value_moves"] for case in ("sure_weighted", "sure"))
    if np.any(np.abs(light) > NOTHING):
        if is_close(heavy, OTHER_VALUE_WEIGHT * light):
            return ""
        # An advantage that is not stopped may move values even here.
        is_pulled = is_value_weighed(measured) and np.any(np.abs(actor_pull(measured)) > NOTHING)
        return "" if is_pulled else words
    heavy, light = (measured.get(f"{case}/loss") for case in ("sure_weighted", "sure"))
    if light is None or heavy is None or not np.any(np.abs(light) > NOTHING):
        return None
    # A loss that stays the same may have no value loss in it, but another term.
    return "" if np.any(np.abs(heavy - light) > NOTHING) else None


def _entropy_weight_problem(measured: Arrays, tables: Tables) -> str | None:
    """Returns what is wrong, "" if nothing, None if there is no entropy to be weighed."""
    ratio = OTHER_ENTROPY_WEIGHT / ENTROPY_WEIGHT
    # A wrong advantage may push actions even here, a wrong value loss may add to the loss.
    found = _explain_pushes(measured, tables)
    is_idle = not np.any(np.abs(measured["uniform_idle/logit_moves"]) > NOTHING)
    is_idle = is_idle or (found is not None and not found.kind)
    for name in ("logit_moves", "loss"):
        heavy, light = (measured.get(f"{case}/{name}") for case in ("idle_weighted", "idle"))
        if light is None or heavy is None or not np.any(np.abs(light) > NOTHING):
            continue
        if is_close(heavy, ratio * light, tolerance=1e-3):
            return ""
        if not is_idle:
            continue
        if np.any(np.abs(heavy - light) > NOTHING):
            continue
        return "entropy_weight changes nothing, or too much: it belongs in the loss"
    return "" if _is_entropy_weighed(measured) else None


def _stray_weight_problem(measured: Arrays) -> str:
    """Says which other terms the value loss's weight multiplies, as a misplaced bracket does."""
    also, entropy_alone = [], entropy_moves(measured)
    light, heavy = (measured.get(f"uniform_idle{w}/loss") for w in ("", "_weighted"))
    if light is not None and heavy is not None and np.any(np.abs(light) > NOTHING):
        by_its_own_weight = OTHER_ENTROPY_WEIGHT / ENTROPY_WEIGHT * light
        if is_close(heavy, OTHER_VALUE_WEIGHT * by_its_own_weight):
            also.append("the entropy")
            entropy_alone = OTHER_VALUE_WEIGHT * entropy_alone
    moves = measured["peaked_ends/logit_moves"] - entropy_alone
    expected = _policy_gradient(measured, "peaked_ends", pushed_in="uniform_ends")
    if np.any(np.abs(expected) > NOTHING) and is_close(moves, OTHER_VALUE_WEIGHT * expected):
        also.append("J_hat")
    words = f"value_loss_weight multiplies {' and '.join(also)}, too: mind the brackets"
    return words if also else ""


def returned_problem(measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    loss = measured["uniform/loss"]
    if loss.shape != () or loss.dtype.kind != "f":
        return f"it has shape {loss.shape}, expected one NumPy number"
    if not measured["uniform/is_number"]:
        return "it is the first of several things that come back: return it alone"
    losses = {name: float(a) for name, a in measured.items() if name.endswith("/loss")}
    if len(set(losses.values())) == 1:
        return "it is the same whatever was played"
    terms = (value_loss_problem, advantage_problem, policy_problem, entropy_value_problem)
    if any(problem(measured, accepted, tables) for problem in (*terms, weights_problem)):
        return ""  # a wrong term makes a wrong sum; its own part reports it
    right = [one["uniform/loss"] for one in accepted]
    if is_close(loss, *right, tolerance=1e-3):
        return ""
    return "it is not the sum of the three terms, with their signs and weights"


WHOLE = (
    "the whole loss is {k:.3g} times as large as it should be: leave the sum of its terms as it is"
)
WHOLE_NEGATED = (
    "the whole loss has the wrong sign: the step makes J_hat smaller and the value loss larger"
)


def _size_of_all(measured: Arrays, tables: Tables) -> float:
    """Returns the number that multiplies the sum of all terms, 1 if none does."""
    try:
        values, own = _without_pull_on_target(measured), pushes(measured)
        entropies = entropy_moves(measured)
    except KeyError:  # a case was not measured
        return 1.0
    sizes = [
        arrays.factor(values, *(2 / values.size * tables.errors[idea] for idea in RIGHT_ERRORS)),
        arrays.factor(own, tables.advantages["advantage"] / own.size),
        arrays.factor(
            entropies / ENTROPY_WEIGHT, *(gradient for _, gradient in _right_entropies(measured))
        ),
    ]
    k = sizes[0]
    is_shared = k is not None and all(size and is_close(size, k) for size in sizes)
    return k if is_shared and not is_close(k, 1.0, tolerance=TOLERANCE) else 1.0


def _right_entropies(measured: Arrays) -> list[tuple[float, np.ndarray]]:
    return entropy.right(measured["inputs/idle/logits"], measured["inputs/idle/actions"])


def _divided(measured: Arrays, k: float) -> Arrays:
    """Returns what would be measured if all terms were divided by a number."""
    divided = {
        name: array / k if name.endswith("_moves") else array for name, array in measured.items()
    }
    losses = [name for name in measured if name.endswith("/loss")]
    values = (-ENTROPY_WEIGHT * k * value for value, _ in _right_entropies(measured))
    # `(k * loss).backward()` leaves the loss as it is.
    if {"idle/loss", "idle_weighted/loss"} <= {*losses} and is_close(
        entropy_loss(measured), *values
    ):
        divided |= {name: measured[name] / k for name in losses}
    return divided


@dataclass(frozen=True)
class Term:
    """A part of the loss.

    Attributes:
        title: of its line in the student's check.
        judge: takes a measurement, accepted ones and the tables of ideas; returns why it fails.
        evidence: takes the same; returns what the verdict is based on, free of other mistakes.
    """

    title: str
    judge: Callable[[Arrays, Sequence[Arrays], Tables], str]
    evidence: Callable[[Arrays, Sequence[Arrays], Tables], list[np.ndarray]]


def _direction(moves: np.ndarray) -> np.ndarray:
    """Returns moves without their size and sign."""
    largest = moves.flat[np.argmax(np.abs(moves))]
    return moves / largest if abs(largest) > NOTHING else np.zeros_like(moves)


def _value_loss_evidence(measured: Arrays, *_: object) -> list[np.ndarray]:
    rich = _direction(_without_pull_on_target(measured, "sure_rich"))
    return [_without_pull_on_target(measured), rich]


def _advantage_evidence(measured: Arrays, *_: object) -> list[np.ndarray]:
    return [_direction(pushes(measured))]


def _policy_evidence(measured: Arrays, accepted: object, tables: Tables) -> list[np.ndarray]:
    """Returns the size of the pushes, and whether log π moves, or π in its place."""
    found = _explain_pushes(measured, tables)
    size = _direction(pushes(measured))
    if found:
        is_uneven = bool({*found.sizes} & {UNEVEN, BY_POWER})
        size = found.ticks if is_uneven else np.array(found.k)
    is_still = not np.any(np.abs(pushes(measured)) > NOTHING)
    form = "" if is_still else _form_of_logarithm(measured)
    if form is None:
        return [size, _direction(policy_moves(measured))]
    return [size, np.array(float(("", PROBABILITY, entropy.SOFTMAX_TWICE).index(form)))]


def _constant_evidence(measured: Arrays, *_: object) -> list[np.ndarray]:
    flags = [np.any(np.abs(m) > NOTHING) for m in (actor_pull(measured), pushes(measured))]
    return [np.array(flags, float)]


def _ends_evidence(
    moves: np.ndarray, found: Finding | None, tables: Mapping[tuple[str, str], np.ndarray]
) -> list[np.ndarray]:
    """Returns which mask explains the moves where games end; else their direction."""
    mask = _find_mask(moves, found, tables) if found else ""
    masks = sorted({name for _, name in tables})
    return [np.array(float(masks.index(mask)))] if mask else [_direction(moves)]


def _value_ends_evidence(measured: Arrays, _: object, tables: Tables) -> list[np.ndarray]:
    found = _explain_values(measured, tables)
    return _ends_evidence(_without_pull_on_ends(measured), found, tables.errors_with_ends)


def _policy_ends_evidence(measured: Arrays, _: object, tables: Tables) -> list[np.ndarray]:
    found = _explain_pushes(measured, tables)
    return _ends_evidence(pushes(measured, "uniform_ends"), found, tables.advantages_with_ends)


def _memory_evidence(measured: Arrays, case: str) -> list[np.ndarray]:
    if _was_asked(measured, case):
        return memories(measured, case)
    return [np.full(measured[f"{case}/logit_moves"].shape[:2], -1.0)] * 2  # no memory at all


def _entropy_gradient_evidence(measured: Arrays, *_: object) -> list[np.ndarray]:
    is_there = np.any(np.abs(entropy_loss(measured)) > NOTHING)
    return [entropy_moves(measured), np.array(float(is_there))]


def _weights_evidence(measured: Arrays, _: object, tables: Tables) -> list[np.ndarray]:
    problems = _value_weight_problem(measured), _entropy_weight_problem(measured, tables)
    known = [-1.0 if p is None else float(bool(p)) for p in problems]
    strays = _are_weights_swapped(measured), bool(_stray_weight_problem(measured))
    return [np.array([*known, *map(float, strays)])]


TERMS = {
    "value_loss": Term(
        "value loss",
        value_loss_problem,
        _value_loss_evidence,
    ),
    "semi_gradient": Term(
        "value loss: V(s_{t+1}) is a constant",
        semi_gradient_problem,
        lambda m, *_: [np.any(m["sure/value_moves"], axis=0)[[0, -1]].astype(float)],
    ),
    "advantage": Term("policy: the advantage", advantage_problem, _advantage_evidence),
    "policy_gradient": Term("policy: J_hat", policy_problem, _policy_evidence),
    "constant_advantage": Term(
        "policy: the advantage is a constant",
        constant_advantage_problem,
        _constant_evidence,
    ),
    "entropy_value": Term("entropy", entropy_value_problem, lambda m, *_: [entropy_loss(m)]),
    "entropy_gradient": Term(
        "entropy: its gradient", entropy_gradient_problem, _entropy_gradient_evidence
    ),
    "value_ends": Term("value loss: episode ends", value_ends_problem, _value_ends_evidence),
    "policy_ends": Term("policy: episode ends", policy_ends_problem, _policy_ends_evidence),
    "memory_passed": Term(
        "each tick gets the memory of the tick before",
        memory_passed_problem,
        lambda m, *_: _memory_evidence(m, "peaked"),
    ),
    "memory_gradient": Term(
        "gradients flow back through the memory",
        memory_gradient_problem,
        lambda m, *_: [m["peaked/memory_moves"], *_memory_evidence(m, "peaked")],
    ),
    "memory_reset": Term(
        "a finished game's memory is wiped",
        memory_reset_problem,
        lambda m, *_: _memory_evidence(m, "peaked_ends"),
    ),
    "weights": Term(
        "the terms have their weights",
        weights_problem,
        _weights_evidence,
    ),
    "returned": Term(
        "the loss comes back as a number", returned_problem, lambda m, *_: [m["uniform/loss"]]
    ),
}


# These compare a submission's numbers with each other; all others compare them with right ones.
RELATIVE = {"semi_gradient", "policy_gradient", "constant_advantage", "value_ends", "policy_ends"}
RELATIVE |= {"memory_gradient", "memory_reset", "weights", "returned"}
UNANCHORED = (
    "it counts only if the value loss, the advantage or the entropy follows from the rollout, and "
    "none of them does"
)


# Each term of the loss, what shows that it is there, and what explains it.
_ANCHORS = {
    "the value loss": (_without_pull_on_target, _explain_values),
    "the advantage": (pushes, _explain_pushes),
    "the entropy": (entropy_moves, _explain_entropy),
}


def _is_anchored(term: str, measured: Arrays, tables: Tables) -> bool:
    """Says whether a term follows from its rollout, rightly or as a known mistake does.

    Numbers that only agree with each other may have been invented, and prove nothing; nor do those
    that are the same in every game and tick. Of the entropy its value is enough.
    """
    read, explain_term = _ANCHORS[term]
    with contextlib.suppress(KeyError):  # a case was not measured
        moves = read(measured)
        moves = moves[np.abs(moves) > NOTHING]
        is_constant = not moves.size or np.ptp(moves) <= TOLERANCE * np.max(np.abs(moves))
        if is_constant and term != "the entropy":
            return False
        return bool(explain_term(measured, tables))
    return False


def follows_rollout(measured: Arrays, tables: Tables) -> bool:
    """Says whether any term follows from its rollout, rightly or as a known mistake does."""
    return any(_is_anchored(term, measured, tables) for term in _ANCHORS)


def unanchored_remark(measured: Arrays, tables: Tables) -> str:
    """Returns a remark on terms that are there and follow from nothing known, "" if all do.

    Where none follows, no part counts that would need one.
    """

    def is_there(term: str) -> bool:
        with contextlib.suppress(KeyError):
            return bool(np.any(np.abs(_ANCHORS[term][0](measured)) > NOTHING))
        return False

    terms = [
        term for term in _ANCHORS if is_there(term) and not _is_anchored(term, measured, tables)
    ]
    if not terms or len(terms) == len(_ANCHORS):
        return ""
    return (
        f"{' and '.join(terms)}: no known idea gives these numbers. Parts that only compare them "
        "with one another earned their points all the same, where they agree"
    )


def find_problem(part: str, measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    """Says why a part of the loss fails, "" if it passes.

    Args:
        part: its name.
        measured: the arrays of all cases, `CASE/FIELD`.
        accepted: what right losses give.
        tables: what each idea gives for these inputs.

    Raises:
        KeyError: the loss was no number, and this part cannot be judged without.
    """
    if problem := _infinity_problem(part, measured):
        return problem
    k = _size_of_all(measured, tables)
    divided = measured if k == 1 else _divided(measured, k)
    problem = TERMS[part].judge(divided, accepted, tables) or _problem_of_all(part, k)
    if not problem and part in RELATIVE and not follows_rollout(measured, tables):
        return UNANCHORED
    return problem


# What each part is read off first; the rest of a loss may be sound.
READ_OFF = {
    **dict.fromkeys(("value_loss", "semi_gradient", "value_ends", "constant_advantage"), "value"),
    **dict.fromkeys(("advantage", "policy_gradient", "policy_ends", "entropy_gradient"), "logit"),
}


def _infinity_problem(part: str, measured: Arrays) -> str:
    """Says that a part's numbers are not finite, which proves nothing else about them."""
    if part in READ_OFF:
        ending = f"/{READ_OFF[part]}_moves"
        words = f"it cannot be checked: a gradient of the {READ_OFF[part]}s is NaN or infinite"
    elif part in ("entropy_value", "returned"):
        ending, words = "/loss", "it cannot be checked: the loss is NaN or infinite"
    else:
        return ""
    numbers = [
        array
        for name, array in measured.items()
        if name.endswith(ending) and not name.startswith("inputs/")
    ]
    return "" if all(np.all(np.isfinite(array)) for array in numbers) else words


def _problem_of_all(part: str, k: float) -> str:
    """Says what a number is that multiplies all terms, in the one part that it costs."""
    if k == 1:
        return ""
    if k < 0:
        return WHOLE_NEGATED if part == "policy_gradient" else ""
    return WHOLE.format(k=k) if part == "weights" else ""


def evidence_of(part: str, measured: Arrays, tables: Tables) -> list[np.ndarray]:
    """Returns what the verdict on a part is based on, free of mistakes in other parts."""
    k = _size_of_all(measured, tables)
    divided = measured if k == 1 else _divided(measured, k)
    size = [np.array(k)] if _problem_of_all(part, k) else []
    return TERMS[part].evidence(divided, (), tables) + size
