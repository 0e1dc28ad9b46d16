"""The exercise *loss*: is `train_on_rollout` right, number by number?

Every measured number is the gradient by one logit or value of a stand-in agent, see
`checks.measuring`. Cases are small: what each number should be is worked out by hand.
"""

import dataclasses
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from checks.arrays import TOLERANCE, factor, is_close
from checks.frameworks import find_adapter
from checks.measuring import LossCase, LossMeasurement, StepCalled, measure_loss
from checks.notebook import Sheet, describe_error, require

N_GAMES, ROLLOUT_LENGTH, N_ACTIONS = 2, 3, 14
PLAYED = np.array([[3, 7, 1, 0], [5, 2, 11, 0]], np.int32)  # the last column is never acted on
FAVOURITE = np.array([[3, 4, 1, 6], [9, 2, 8, 12]])  # as often the action that was played as not

POLICY_CASE = LossCase(
    actions=PLAYED,
    rewards=np.array([[0.2, 0.0, 0.3, 0.0], [0.0, 0.4, 0.1, 0.0]], np.float32),
    values=np.array([[0.2, 0.4, 0.2, 0.4], [0.2, 0.2, 0.6, 0.2]], np.float32),
    is_not_done=np.ones((2, 4), np.float32),
    logits=np.zeros((2, 4, 14), np.float32),
    memory=np.array([10.0, 20.0], np.float32),
    gamma=0.5,
    value_loss_weight=0.0,
    entropy_weight=0.0,
)
# Game 0 is over in the first and the last column, game 1 in the second. A reset tick pays nothing.
POLICY_CASE_WITH_ENDS = dataclasses.replace(
    POLICY_CASE,
    rewards=np.array([[0.0, 0.1, 0.2, 0.0], [0.3, 0.0, 0.1, 0.0]], np.float32),
    is_not_done=np.array([[0, 1, 1, 0], [1, 0, 1, 1]], np.float32),
)
# 2 · 1.5 / (2 games · 3 ticks) = 1/2: each value moves by half of its TD error.
VALUES_CASE = dataclasses.replace(POLICY_CASE, value_loss_weight=1.5)
VALUES_CASE_WITH_ENDS = dataclasses.replace(POLICY_CASE_WITH_ENDS, value_loss_weight=1.5)
# Nothing to earn or to expect; e^ln(13) stands against 13 times e^0: a probability of one half.
ENTROPY_CASE = dataclasses.replace(
    POLICY_CASE,
    rewards=np.zeros((2, 4), np.float32),
    values=np.zeros((2, 4), np.float32),
    logits=np.float32(np.log(13)) * np.eye(14, dtype=np.float32)[FAVOURITE],
    entropy_weight=0.8,
)
WHOLE_CASE = dataclasses.replace(POLICY_CASE, value_loss_weight=1.0, entropy_weight=0.01)


def check_loss(namespace: dict[str, Any]) -> None:
    """Checks `train_on_rollout` number by number.

    Args:
        namespace: the notebook's `globals()`, with `train_on_rollout` and what it calls.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: loss")
    require(namespace, sheet, "train_on_rollout")
    framework = find_adapter(namespace)
    _check_loss(framework, functools.partial(measure_loss, framework, namespace), sheet)
    sheet.close()


def _check_loss(
    framework: ModuleType, measure: Callable[..., list[LossMeasurement]], sheet: Sheet
) -> None:
    try:
        values, again = measure(VALUES_CASE, 2)
        values_with_ends, policy, policy_with_ends, entropy, whole = (
            measure(case)[0]
            for case in (
                VALUES_CASE_WITH_ENDS,
                POLICY_CASE,
                POLICY_CASE_WITH_ENDS,
                ENTROPY_CASE,
                WHOLE_CASE,
            )
        )
    except StepCalled as error:
        sheet.add("train_on_rollout runs", f"{error}: call the agent itself")
        return
    except Exception as error:
        sheet.add("train_on_rollout runs", describe_error(error))
        return
    if not sheet.add("the optimizer takes one step", _step_problem(framework, values, again)):
        return  # nothing moved as it should, so no other line would speak of its own idea
    if framework.GRADIENTS_ADD_UP:
        sheet.add("each step has gradients of its own", _own_gradients_problem(values, again))
    sheet.add("each tick gets the memory of the tick before", _memory_passing_problem(values))
    sheet.add("a finished game's memory is wiped", _memory_reset_problem(values_with_ends))
    sheet.add("gradients flow back through the memory", _path_problem(policy))
    if not sheet.add("the three terms have their weights", _weights_problem(policy, values, whole)):
        return
    on_returns = _matches(values.value_moves[:, :ROLLOUT_LENGTH], TOWARDS_RETURN)
    sheet.add(
        "value loss",
        _value_loss_problem(values),
        note="pulled to the n-step return: not what the text asks, and right too"
        if on_returns
        else "",
    )
    sheet.add("value loss: V(s_{t+1}) is a constant", _semi_gradient_problem(values))
    sheet.add("value loss: episode ends", _value_ends_problem(values_with_ends, on_returns))
    sheet.add("policy: J_hat and its advantage", _policy_problem(policy))
    sheet.add("policy: the advantage is a constant", _constant_advantage_problem(policy))
    sheet.add("policy: episode ends", _policy_ends_problem(policy_with_ends))
    sheet.add("entropy", _entropy_problem(framework, entropy))
    sheet.add("the loss comes back as a number", _returned_loss_problem(whole, on_returns))


def _factor_problem(measured: np.ndarray, table: list, named: dict[float, str]) -> str:
    """Explains a result that is right except for a factor; "" if it is not."""
    k = factor(measured, table)
    if k is None:
        return ""
    for number, words in named.items():
        if abs(k - number) <= TOLERANCE * abs(number):
            return words
    return f"right but for a factor of {k:.3g}"


def _matches(measured: np.ndarray, *tables: list) -> bool:
    return is_close(measured, *tables, least=1e-6)  # smaller gradients are rounding


OF_SIZE = {
    2: "twice too large for 2 games: take the mean over the games, not the sum",
    3: "3 times too large for a rollout of 3: the mean over time is missing",
    6: "6 times too large for 2 games and a rollout of 3: take means, not sums",
    1 / 2: "half as large as it should be: the formula has no factor of 1/2",
    1 / 3: "3 times too small for a rollout of 3: it is divided by rollout_length once too often",
}


def _step_problem(framework: ModuleType, values: LossMeasurement, again: LossMeasurement) -> str:
    if values.n_updates > 1:
        return f"it takes {values.n_updates} steps in one call"
    if _has_moved(values):
        return "" if values.n_updates else "weights change, but not by the optimizer"
    if values.n_updates and _has_moved(again):
        return "it comes before the gradients: weights move only with the next rollout"
    if values.n_updates and framework.GRADIENTS_ADD_UP:
        return "it moves nothing: gradients are not there yet, or were cleared before the step"
    if values.n_updates:
        return "the gradients that it is given are all zero"
    return f"no weight changes: {framework.HOW_TO_STEP}"


def _has_moved(measurement: LossMeasurement) -> bool:
    return bool(np.any(measurement.value_moves) or np.any(measurement.logit_moves))


def _own_gradients_problem(values: LossMeasurement, again: LossMeasurement) -> str:
    # The same rollout twice, from the same weights, must move them twice the same way.
    if _matches(again.value_moves, values.value_moves):
        return ""
    if _matches(again.value_moves, 2 * values.value_moves):
        return (
            "the second step takes the first one's gradients once more: they add up from call to "
            "call until you clear them"
        )
    return "the same rollout moves the same weights another way the second time"


# The memory counts ticks. It comes in as 10 for game 0 and 20 for game 1.
COUNTED = [[10, 11, 12, 13], [20, 21, 22, 23]]
COUNTED_WITH_ENDS = [[10, 0, 1, 2], [20, 21, 0, 1]]
STUCK = [[10, 10, 10, 10], [20, 20, 20, 20]]
FORGOTTEN = [[0, 0, 0, 0], [0, 0, 0, 0]]


def _received(measurement: LossMeasurement) -> np.ndarray | None:
    """Returns the memories that the agent was given, `[n_games, n_ticks]`; None if unclear."""
    if any(not at_tick for at_tick in measurement.memories):
        return None
    if any(np.any(np.ptp(at_tick, axis=0) != 0) for at_tick in measurement.memories):
        return None  # called more than once in a tick is fine, but with one memory
    return np.stack([at_tick[0] for at_tick in measurement.memories], axis=1)


def _memory_passing_problem(values: LossMeasurement) -> str:
    received = _received(values)
    if received is None:
        return "the agent must be called in every tick, with that tick's memory"
    if _matches(received, COUNTED):
        return ""
    if _matches(received, STUCK):
        return "each tick gets the memory the rollout began with: assign what comes back to memory"
    if _matches(received[:, 1:], np.asarray(FORGOTTEN)[:, 1:]):
        return "the memory is blank again in every tick"
    return "the memory that the agent gives back must go into the next call"


def _memory_reset_problem(with_ends: LossMeasurement) -> str:
    received = _received(with_ends)
    if received is not None and _matches(received, COUNTED_WITH_ENDS):
        return ""
    if received is not None and _matches(received, COUNTED):
        return (
            "it is carried into the next game; the line that wipes it was given with the exercise"
        )
    return "after the tick where is_not_done is 0 that game's memory must be blank, and only then"


def _path_problem(policy: LossMeasurement) -> str:
    if _matches(policy.memory_moves, moves_through_memory(policy.logit_moves)):
        return ""
    if _matches(policy.memory_moves, [0, 0, 0, 0]):
        return "none does: within a rollout the memory must not be stopped or turned into NumPy"
    return "some of them are lost: within a rollout the memory must not be stopped"


# TD errors r + 0.5 V(s') - V, by hand: game 0: .2 + .2 - .2, 0 + .1 - .4, .3 + .2 - .2;
# game 1: 0 + .1 - .2, .4 + .3 - .2, .1 + .1 - .6. Gradient descent moves each value by half of it.
TOWARDS_TARGET = [[0.1, -0.15, 0.15], [-0.05, 0.25, -0.2]]
# Returns: game 0: .3 + .5·.4 = .5, 0 + .5·.5 = .25, .2 + .5·.25 = .325; game 1: .1 + .5·.2 = .2,
# .4 + .5·.2 = .5, 0 + .5·.5 = .25. Minus V: .125, -.15, .3 and .05, .3, -.4.
ADVANTAGES = [[0.125, -0.15, 0.3], [0.05, 0.3, -0.4]]
TOWARDS_RETURN = [[0.0625, -0.075, 0.15], [0.025, 0.15, -0.2]]
# Every game's return against the mean of the values, .2, .3, .4.
ADVANTAGES_OVER_MEAN_VALUE = [[0.125, -0.05, 0.1], [0.05, 0.2, -0.2]]
# Every action with the mean of both games' advantages.
MEAN_ADVANTAGES = [[0.0875, 0.075, -0.05]] * 2
# With the advantage of a tick in the place of its return: game 0: .3; 0 + .5·.3 - .4 = -.25;
# .2 - .5·.25 - .2 = -.125; game 1: -.4; .4 - .5·.4 - .2 = 0; 0 + 0 - .2.
ADVANTAGES_IN_PLACE = [[-0.125, -0.25, 0.3], [-0.2, 0, -0.4]]
# r - V, without the future: 0, -.4, .1 and -.2, .2, -.5.
TOWARDS_REWARD = [[0, -0.2, 0.05], [-0.1, 0.1, -0.25]]
# The future not discounted: .4, -.2, .5 and 0, .8, -.3.
TOWARDS_UNDISCOUNTED = [[0.2, -0.1, 0.25], [0, 0.4, -0.15]]
# Targets .4, .1, .5 and .1, .7, .2, the mean of both .25, .4, .35 for each: .05, 0, .15 and
# .05, .2, -.25.
TOWARDS_EVERYBODY = [[0.025, 0, 0.075], [0.025, 0.1, -0.125]]
# Rewards averaged over the two games to .1, .2, .2: .1, -.1, .2 and 0, .3, -.3.
TOWARDS_AVERAGED = [[0.05, -0.05, 0.1], [0, 0.15, -0.15]]


def _value_loss_problem(values: LossMeasurement) -> str:
    moves = values.value_moves[:, :ROLLOUT_LENGTH]
    # A V(s_{t+1}) that is not stopped moves by -0.5 of the tick before; that has a line of its own.
    unstopped = np.asarray(TOWARDS_TARGET) - 0.5 * np.pad(TOWARDS_TARGET, ((0, 0), (1, 0)))[:, :-1]
    if _matches(moves, TOWARDS_TARGET, TOWARDS_RETURN, unstopped):
        return ""
    if _matches(moves, np.zeros_like(moves)):
        return "it has no gradient: V(s_t) must be in it, and not stopped"
    for table, words in (
        (TOWARDS_REWARD, "its target is the reward alone: γ·V(s_{t+1}) is missing"),
        (TOWARDS_UNDISCOUNTED, "its target is not discounted: γ is missing"),
        (
            TOWARDS_AVERAGED,
            "rewards are averaged over the games: each game has its own (or did (n,) and (n, 1) "
            "become (n, n)? print the shapes)",
        ),
        (
            TOWARDS_EVERYBODY,
            "each value is pulled to the mean target of all games: (n,) and (n, 1) became (n, n)",
        ),
    ):
        if _matches(moves, table):
            return words
    negative = {-1: "it pushes V(s_t) away from its target: mind the signs"}
    return (
        _factor_problem(moves, TOWARDS_TARGET, negative | OF_SIZE)
        or _factor_problem(moves, TOWARDS_RETURN, negative | OF_SIZE)
        or "V(s_t) should be pulled to r_t + γ·V(s_{t+1}), each game and tick by its own difference"
    )


def _semi_gradient_problem(values: LossMeasurement) -> str:
    if _matches(values.value_moves[:, ROLLOUT_LENGTH:], [[0], [0]]):
        return ""
    return "V(s_{t+1}) is pulled as well: use V_next, which is stopped"


# With ends, r + 0.5 m V(s') - V: game 0: 0 - .2, .1 + .1 - .4, .2 + .2 - .2; game 1: .3 + .1 - .2,
# 0 - .2, .1 + .1 - .6.
TOWARDS_TARGET_WITH_ENDS = [[-0.1, -0.1, 0.1], [0.1, -0.1, -0.2]]
# The same, and V of a final observation counted as 0: game 0's last 0, game 1's first .1.
TOWARDS_STRICT_TARGET = [[-0.1, -0.1, 0], [0.05, -0.1, -0.2]]
# The mask taken from the next column only: 0, -.2, 0 and .1, .1, -.4.
TOWARDS_MASK_TOO_LATE = [[0, -0.1, 0], [0.05, 0.05, -0.2]]
# No mask: 0, -.2, .2 and .2, .1, -.4.
TOWARDS_UNMASKED = [[0, -0.1, 0.1], [0.1, 0.05, -0.2]]
# Returns, last first: .2, .1 + .1, 0 and .1 + .1, 0, .3. Minus V: -.2, -.2, 0 and .1, -.2, -.4.
ADVANTAGES_WITH_ENDS = [[-0.2, -0.2, 0], [0.1, -0.2, -0.4]]
TOWARDS_RETURN_WITH_ENDS = [[-0.1, -0.1, 0], [0.05, -0.1, -0.2]]
# The policy not taught by the reset ticks, whose action the game ignores.
ADVANTAGES_WITHOUT_RESET_TICKS = [[0, -0.2, 0], [0.1, 0, -0.4]]
# Returns that run across the ends: .15, .3, .4 and .35, .1, .2.
ADVANTAGES_UNMASKED = [[-0.05, -0.1, 0.2], [0.15, -0.1, -0.4]]
TOWARDS_UNMASKED_RETURN = [[-0.025, -0.05, 0.1], [0.075, -0.05, -0.2]]


def _value_ends_problem(with_ends: LossMeasurement, on_returns: bool) -> str:
    moves = with_ends.value_moves[:, :ROLLOUT_LENGTH]
    right = (TOWARDS_TARGET_WITH_ENDS, TOWARDS_STRICT_TARGET)
    if on_returns:
        right = (TOWARDS_RETURN_WITH_ENDS,)
    # A wrong factor is reported by the line of the value loss.
    if any(factor(moves, table) for table in right):
        return ""
    if factor(moves, TOWARDS_UNMASKED):
        return "a finished game has no future: multiply V_next by is_not_done[:, t]"
    if factor(moves, TOWARDS_MASK_TOO_LATE):
        return (
            "the mask comes one column late: with is_not_done[:, t + 1] alone the reset tick "
            "learns the next game's value"
        )
    if factor(moves, TOWARDS_UNMASKED_RETURN):
        return "the returns run on into the next game"
    if not _matches(with_ends.value_moves[:, ROLLOUT_LENGTH:], [[0], [0]]):
        return "cannot be checked until V(s_{t+1}) is no longer pulled"
    return "where is_not_done is 0 the target must be the reward alone"


def _pushes(measurement: LossMeasurement) -> np.ndarray:
    """Returns each played action's push times 2 games · 3 ticks: what should be its advantage."""
    moves = measurement.logit_moves[:, :ROLLOUT_LENGTH]
    return 6 * push_above_others(moves, PLAYED[:, :ROLLOUT_LENGTH])


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


def _axis_problem(measurement: LossMeasurement) -> str:
    # Adding a number to all logits of a softmax changes nothing: along its axis gradients sum to 0.
    moves = measurement.logit_moves
    largest = [np.max(np.abs(np.sum(moves, axis=axis))) for axis in (-1, 0, 1)]
    is_zero = [size <= TOLERANCE * np.max(np.abs(moves)) for size in largest]
    for of, over_this in zip(("games", "ticks"), is_zero[1:], strict=True):
        if over_this and not is_zero[0]:
            return f"softmax runs over the {of}: it must run over the actions, the last axis"
    return ""


def _policy_problem(policy: LossMeasurement) -> str:
    pushes = _pushes(policy)
    if problem := _axis_problem(policy):
        return problem
    if _matches(pushes, ADVANTAGES):
        return ""
    if _matches(pushes, np.zeros_like(pushes)):
        return "no logit moves: the log-probabilities are not in J_hat, or are stopped"
    for table, words in (
        (MEAN_ADVANTAGES, "every game gets the mean of all advantages"),
        (ADVANTAGES_OVER_MEAN_VALUE, "every return is compared with the mean of all values"),
    ):
        if _matches(pushes, table):
            return f"{words}: (n,) and (n, 1) became (n, n), print the shapes"
    if _matches(pushes, ADVANTAGES_IN_PLACE):
        return (
            "the advantage overwrites the returns, and the tick before adds it up: functions whose "
            "name ends in _ and operators like -= work in place"
        )
    if _matches(pushes, 2 * np.asarray(TOWARDS_TARGET)):
        return "the advantage looks one step ahead only: use cumulative_returns, the n-step return"
    # Returns without the baseline V, by hand above.
    if _matches(pushes, [[0.325, 0.25, 0.5], [0.25, 0.5, 0.2]]):
        return "the advantage lacks its baseline: how much better than V(s_t) did it go?"
    named = {
        -1: "good actions are made rarer: mind the sign of the advantage, and let J_hat be "
        "positive, it is negated in the loss",
        1 / N_ACTIONS: "the probability stands where its logarithm should",
    }
    return _factor_problem(pushes, ADVANTAGES, named | OF_SIZE) or (
        "each played action should be pushed by its own advantage, the return minus V(s_t)"
    )


def _constant_advantage_problem(policy: LossMeasurement) -> str:
    # The value loss has weight 0 here, so nothing may move a value.
    if _matches(policy.value_moves, np.zeros_like(policy.value_moves)):
        return ""
    return (
        "the policy term moves the values: the critic is trained to please the actor; "
        "stop the advantage"
    )


def _policy_ends_problem(with_ends: LossMeasurement) -> str:
    pushes = _pushes(with_ends)
    if any(
        factor(pushes, table) for table in (ADVANTAGES_WITH_ENDS, ADVANTAGES_WITHOUT_RESET_TICKS)
    ):
        return ""
    if factor(pushes, ADVANTAGES_UNMASKED):
        return "returns run on into the next game: the mask in G_t was given with the exercise"
    if _matches(pushes, np.zeros_like(pushes)):
        return "cannot be checked until a logit moves"
    return "the return of a game that is over must not hold anything of the next game"


# One action has probability 1/2, thirteen have 1/26 each: H = (ln 2 + ln 26) / 2 = 1.97562. By a
# logit, dH = -p (ln p + H): -0.64124 for the favourite, 0.04933 for each other. Their difference
# 0.69056 times 0.8 / (2 games · 4 columns), or 0.8 / (2 · 3) without the column not acted on.
FLATTENED = [[0.0690563] * 4] * 2
FLATTENED_WITHOUT_LAST = [[0.0920751] * 3 + [0]] * 2


def _entropy_problem(framework: ModuleType, entropy: LossMeasurement) -> str:
    moves = -push_above_others(entropy.logit_moves, FAVOURITE)
    if _matches(moves, FLATTENED, FLATTENED_WITHOUT_LAST):
        return ""
    if _matches(moves, np.zeros_like(moves)):
        return f"no logit moves: entropy_reg must be computed from {framework.POLICY}"
    if problem := _axis_problem(entropy):
        return problem
    named = {
        -1: "wrong sign: entropy is made smaller, so the policy rushes to certainty. "
        "H = -Σ π·log π is positive",
        1 / N_ACTIONS: "averaged over the actions too, 14 times too small: sum over the actions, "
        "then take the mean over games and ticks",
        8: "summed over games and ticks, far too large: sum over the actions, then take the mean",
        2: "summed over the games: sum over the actions, then take the mean",
        4: "summed over the ticks: sum over the actions, then take the mean",
        6: "summed over games and ticks, far too large: sum over the actions, then take the mean",
    }
    problem = _factor_problem(moves, FLATTENED, named)
    problem = problem or _factor_problem(moves, FLATTENED_WITHOUT_LAST, named)
    uneven = np.ptp(moves[:, :ROLLOUT_LENGTH]) > TOLERANCE * np.max(np.abs(moves))
    if not problem and uneven:
        return "it depends on which action was played: an entropy sums over all actions"
    return problem or "it is not the mean over games and ticks of -Σ π·log π"


# J_hat = -ln 14 · (.125 - .15 + .3 + .05 + .3 - .4) / 6 = -0.0989646; squared TD errors / 6 =
# 0.1066667 (to returns 0.0634375); the entropy of equal logits is ln 14 = 2.6390573.
POLICY_LOSS, VALUE_LOSS, RETURN_VALUE_LOSS, ENTROPY = 0.0989646, 0.1066667, 0.0634375, 2.6390573


def _weights_problem(
    policy: LossMeasurement, values: LossMeasurement, whole: LossMeasurement
) -> str:
    losses = [float(m.loss) for m in (policy, values, whole) if m.loss.ndim == 0]
    if len(losses) == 3 and len(set(losses)) == 1:
        return "value_loss_weight and entropy_weight change nothing: they belong in the loss"
    still = np.allclose(values.value_moves, policy.value_moves)
    if still and np.any(policy.value_moves != 0):
        return "value_loss_weight changes nothing: it belongs in the loss"
    return ""


def _returned_loss_problem(whole: LossMeasurement, on_returns: bool) -> str:
    if whole.loss.shape != ():
        return f"it has shape {whole.loss.shape}, expected one NumPy number"
    if not whole.is_number:
        return "it is no NumPy number: take it out of its tensor"
    value_loss = RETURN_VALUE_LOSS if on_returns else VALUE_LOSS
    expected = POLICY_LOSS + value_loss - 0.01 * ENTROPY
    if abs(float(whole.loss) - expected) <= TOLERANCE * abs(expected):
        return ""
    return f"it is {float(whole.loss):.4f} where it should be {expected:.4f}: see the lines above"
