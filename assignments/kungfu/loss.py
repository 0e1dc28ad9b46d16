"""The loss: what it is measured with, how each part is judged, and what it is worth.

How the loss is taken apart: every measured number is the gradient with respect to one logit or
value of a stand-in agent. The inputs alone isolate one term at a time, so a loss with its weights
written out as numbers can be judged too:

-   `sure`: a logit of 40 on each played action makes it certain: only the value loss is left;
-   `uniform`: equal logits: played actions are pushed by their advantage, and by nothing else;
-   `idle`: no rewards and no values: only the entropy is left. If a wrong advantage pushes actions
    even then, the entropy is what changes with `entropy_weight`;
-   `peaked`, minus the entropy of `idle`, which has the same logits: the policy's gradient;
-   `…_ends` and `…_other_end` differ only after a game is over: before that, nothing may change.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from checks import arrays, points
from checks.loss import N_ACTIONS, moves_through_memory, push_above_others
from grading.assignment import Arrays, Exercise, Fit, Part
from grading.inside.measurement import Measurement
from grading.judge import TOLERANCE, is_close

POINTS = points.POINTS["loss"]
N_GAMES, ROLLOUT_LENGTH = 3, 4

# Games end at the first tick, in the middle, at T - 1 and at T.
ENDS = np.array([[0, 1, 1, 1, 0], [1, 1, 0, 1, 1], [1, 1, 1, 0, 1]], np.float32)
FIRST_GAME = np.array([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)
ENTROPY_WEIGHT = 0.01
OTHER_VALUE_WEIGHT, OTHER_ENTROPY_WEIGHT = 1.7, 0.23
NO_VALUE_MOVES, NO_LOGIT_MOVES = "no value moves", "no logit moves"
factor = functools.partial(arrays.factor, tolerance=TOLERANCE)
NOTHING = 1e-6  # rounding moves logits by less; a right loss moves them by 1e-2


def loss_inputs(generator: np.random.Generator) -> Arrays:
    """Draws rollouts; gradients stay below ordinary clipping thresholds, 0.5 in all."""
    shape = (N_GAMES, ROLLOUT_LENGTH + 1)
    actions = np.argsort(generator.random((N_ACTIONS, *shape)), axis=0)[0].astype(np.int32)
    actions[:, -1] = 0
    rewards = generator.uniform(0.1, 0.5, shape).astype(np.float32)
    rewards[:, -1] = 0
    peaked = generator.normal(0, 1, (*shape, N_ACTIONS)).astype(np.float32)
    sure = 40 * np.eye(N_ACTIONS, dtype=np.float32)[actions]
    plain = {
        "actions": actions,
        "rewards": rewards,
        "values": generator.uniform(0.1, 0.6, shape).astype(np.float32),
        "is_not_done": np.ones(shape, np.float32),
        "logits": peaked,
        "memory": generator.uniform(5, 50, N_GAMES).astype(np.float32),
        "gamma": np.array(generator.uniform(0.6, 0.9)),
        "value_loss_weight": np.array(1.0),
        "entropy_weight": np.array(ENTROPY_WEIGHT),
    }
    zeros = np.zeros(shape, np.float32)
    ends = {"is_not_done": ENDS, "rewards": rewards * ENDS}
    other = generator.uniform(0.1, 0.5, shape).astype(np.float32)
    other_end = {
        "is_not_done": ENDS,
        "rewards": np.where(FIRST_GAME, rewards, other) * ENDS,
        "values": np.where(FIRST_GAME, plain["values"], other),
    }
    idle = {"rewards": zeros, "values": zeros}
    heavy_entropy = {"entropy_weight": np.array(OTHER_ENTROPY_WEIGHT)}
    cases = {
        "peaked": {},
        "idle": idle,
        "peaked_ends": ends,
        "uniform": {"logits": np.zeros_like(peaked)},
        "uniform_idle": {"logits": np.zeros_like(peaked), **idle},
        "sure": {"logits": sure},
        "sure_ends": {"logits": sure, **ends},
        "sure_other_end": {"logits": sure, **other_end},
        "peaked_other_end": other_end,
        "sure_weighted": {"logits": sure, "value_loss_weight": np.array(OTHER_VALUE_WEIGHT)},
        "idle_weighted": {**idle, **heavy_entropy},
        "uniform_idle_weighted": {"logits": np.zeros_like(peaked), **idle, **heavy_entropy},
    }
    return {
        f"{name}/{field}": value
        for name, changes in cases.items()
        for field, value in (plain | changes).items()
    }


def _steps(measured: Measurement, case: str) -> float:
    """Returns the number of updates, by which moves are divided: other parts ignore it."""
    return max(float(measured[f"{case}/n_updates"]), 1.0)


def _value_moves(measured: Measurement, case: str) -> np.ndarray:
    """Returns how far each acted-on value moves, `[n_games, rollout_length]`."""
    return measured[f"{case}/value_moves"][:, :ROLLOUT_LENGTH] / _steps(measured, case)


def _policy_moves(measured: Measurement, case: str) -> np.ndarray:
    """Returns how far the policy term alone moves each logit, `[n_games, n_ticks, n_actions]`."""
    moves = measured[f"{case}/logit_moves"] / _steps(measured, case)
    return moves - _entropy_moves(measured)


def _entropy_moves(measured: Measurement, case: str = "idle") -> np.ndarray:
    """Returns how far the entropy term alone moves each logit, `[n_games, n_ticks, n_actions]`."""
    cases = case, f"{case}_weighted"
    moves = (measured[f"{name}/logit_moves"] / _steps(measured, name) for name in cases)
    return _entropy_alone(measured, *moves)


def _entropy_loss(measured: Measurement) -> np.ndarray:
    """Returns what the entropy term alone adds to the loss."""
    return _entropy_alone(measured, measured["idle/loss"], measured["idle_weighted/loss"])


def _entropy_alone(measured: Measurement, lightly: np.ndarray, heavily: np.ndarray) -> np.ndarray:
    """Isolates the entropy in an idle case, measured with both entropy weights."""
    if not _is_entropy_weighed(measured):
        return lightly
    return (heavily - lightly) * ENTROPY_WEIGHT / (OTHER_ENTROPY_WEIGHT - ENTROPY_WEIGHT)


def _is_entropy_weighed(measured: Measurement) -> bool:
    """Says whether `entropy_weight` matters when no action is better than another."""
    difference = measured["idle_weighted/logit_moves"] - measured["idle/logit_moves"]
    return bool(np.any(np.abs(difference) > NOTHING))


def _pushes(measured: Measurement) -> np.ndarray:
    """Returns how far each played action is pushed above the others when logits are equal.

    This is the advantage times a constant, `[n_games, rollout_length]`.
    """
    moves = measured["uniform/logit_moves"] / _steps(measured, "uniform")
    moves = (moves - _entropy_moves(measured, "uniform_idle"))[:, :ROLLOUT_LENGTH]
    return push_above_others(moves, measured["inputs/uniform/actions"][:, :ROLLOUT_LENGTH])


def _policy_gradient(measured: Measurement, case: str) -> np.ndarray:
    """Predicts `_policy_moves` from how this same loss pushes actions of equal logits."""
    logits = measured[f"inputs/{case}/logits"].astype(float)
    policy = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    direction = np.eye(N_ACTIONS)[measured[f"inputs/{case}/actions"]] - policy
    pushes = np.pad(_pushes(measured), ((0, 0), (0, 1)))
    return pushes[..., None] * direction


def _value_loss_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    moves = _value_moves(measured, "sure")
    right = [_value_moves(arrays, "sure") for arrays in accepted]
    k = factor(moves, *right)
    if is_close(moves, *right):
        return ""
    if np.any(measured["sure/value_moves"][:, ROLLOUT_LENGTH]):
        # V(s_{t+1}) is pulled, too, by -γ times the move of its tick; another part judges that.
        pulled = measured["inputs/sure/gamma"] * np.pad(right[0], ((0, 0), (1, 0)))
        if is_close(moves, right[0] - pulled[:, :ROLLOUT_LENGTH]):
            return ""
    if not np.any(moves):
        return NO_VALUE_MOVES
    if k is not None:
        return f"values move {k:.3g} times as far as they should"
    return "values are not pulled to r_t + γ·V(s_{t+1})"


def _semi_gradient_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    if not np.any(_value_moves(measured, "sure")):
        return NO_VALUE_MOVES
    last = measured["sure/value_moves"][:, ROLLOUT_LENGTH]
    return "the value in the target, V(s_{t+1}), is moved as well" if np.any(last) else ""


def _value_ends_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    moves = measured["sure_ends/value_moves"], measured["sure_other_end/value_moves"]
    if not np.any(moves):
        return NO_VALUE_MOVES
    if not is_close(*(np.where(FIRST_GAME, m, 0) for m in moves)):
        return "the next game's value gets into the target of a game that is over"
    if factor(_value_moves(measured, "sure"), *(_value_moves(a, "sure") for a in accepted)):
        right = [_value_moves(arrays, "sure_ends") for arrays in accepted]
        if factor(_value_moves(measured, "sure_ends"), *right) is None:
            return "where is_not_done is 0, and only there, the target must be the reward alone"
    return ""


def _advantage_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    pushes = _pushes(measured)
    if not np.any(np.abs(pushes) > NOTHING):
        return "no action is pushed"
    if factor(pushes, *map(_pushes, accepted)) is None:
        return "actions are not pushed by the n-step return minus V(s_t)"
    return ""


def _policy_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    pushes, moves = _pushes(measured), _policy_moves(measured, "peaked")
    if not np.any(np.abs(pushes) > NOTHING):
        return NO_LOGIT_MOVES
    k = factor(pushes, *map(_pushes, accepted))
    if k is not None and k < 0:
        return "good actions are made rarer"
    if not is_close(moves, _policy_gradient(measured, "peaked"), tolerance=1e-3):
        return "it is not the gradient of log π(a_t|s_t) times the advantage"
    if k is not None and abs(k - 1) > 1e-3:
        return f"logits move {k:.3g} times as far as they should"
    return ""


def _actor_pull(measured: Measurement) -> np.ndarray:
    """Returns how far the policy term moves each value, which should be nowhere."""
    return measured["uniform/value_moves"] - measured["sure/value_moves"]


def _constant_advantage_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    if not np.any(np.abs(_pushes(measured)) > NOTHING):
        return NO_LOGIT_MOVES
    # If played actions have probability 1, log π is 0 and the policy term cannot move a value.
    same = is_close(measured["uniform/value_moves"], measured["sure/value_moves"], tolerance=1e-3)
    return "" if same else "the policy term moves the values"


def _policy_ends_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    moves = measured["peaked_ends/logit_moves"], measured["peaked_other_end/logit_moves"]
    if not np.any(np.abs(_policy_moves(measured, "peaked_ends")) > NOTHING):
        return NO_LOGIT_MOVES
    if not is_close(*(np.where(FIRST_GAME[..., None], m, 0) for m in moves)):
        return "the next game's rewards get into the return of a game that is over"
    if factor(_policy_moves(measured, "peaked"), *(_policy_moves(a, "peaked") for a in accepted)):
        right = [_policy_moves(arrays, "peaked_ends") for arrays in accepted]
        if factor(_policy_moves(measured, "peaked_ends"), *right) is None:
            return "where is_not_done is 0, and only there, the return must be cut"
    return ""


def _entropy_value_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    right = map(_entropy_loss, accepted)
    return "" if is_close(_entropy_loss(measured), *right) else "its value is wrong"


def _entropy_gradient_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    moves = _entropy_moves(measured)
    right = [_entropy_moves(arrays) for arrays in accepted]
    if is_close(moves, *right):
        return ""
    k = factor(moves, *right)
    if k is not None and k < 0:
        return "the policy is made surer, not less sure"
    if k is not None:
        return f"logits move {k:.3g} times as far as they should"
    return "it is not the mean over games and ticks of -Σ π·log π"


def _memory(measured: Measurement, case: str) -> list[np.ndarray]:
    return [measured[f"{case}/least_memory"], measured[f"{case}/greatest_memory"]]


def _memory_passed_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    for ours, right in zip(
        _memory(measured, "peaked"), _memory(accepted[0], "peaked"), strict=True
    ):
        if not is_close(ours, right):
            return "a tick does not get the memory of the tick before"
    return ""


def _memory_gradient_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    right = moves_through_memory(measured["peaked/logit_moves"])
    if not np.any(np.abs(right) > NOTHING):
        return NO_LOGIT_MOVES
    same = is_close(measured["peaked/memory_moves"], right, tolerance=1e-3)
    return "" if same else "gradients do not flow back through the memory"


def _memory_reset_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    right = _memory(accepted[0], "peaked_ends")
    ours = _memory(measured, "peaked_ends")
    if all(is_close(a, b) for a, b in zip(ours, right, strict=True)):
        return ""
    if _memory_passed_problem(measured, accepted):  # reported there; here: is it ever wiped?
        wiped = np.pad(ENDS[:, :-1] == 0, ((0, 0), (1, 0)))
        return "" if np.all(ours[1][wiped] == 0) else "a finished game's memory is not wiped"
    return "a finished game's memory is not wiped, or another's is"


def _weights_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    values = _value_moves(measured, "sure_weighted"), _value_moves(measured, "sure")
    if not np.any(values):
        return NO_VALUE_MOVES
    if not is_close(values[0], OTHER_VALUE_WEIGHT * values[1], tolerance=1e-3):
        return "value_loss_weight does not weigh the value loss"
    entropy = measured["idle_weighted/logit_moves"], measured["idle/logit_moves"]
    is_all = is_close(
        entropy[0], OTHER_ENTROPY_WEIGHT / ENTROPY_WEIGHT * entropy[1], tolerance=1e-3
    )
    # A wrong advantage may push actions even here; another part reports that.
    if not (is_all or (_is_entropy_weighed(measured) and _advantage_problem(measured, accepted))):
        return "entropy_weight does not weigh the entropy"
    return ""


def _returned_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    loss = measured["peaked/loss"]
    if loss.shape != () or loss.dtype.kind != "f":
        return f"it is an array of shape {loss.shape}, not one number"
    terms = (_value_loss_problem, _advantage_problem, _policy_problem, _entropy_value_problem)
    if loss == measured["uniform/loss"]:
        return "it is the same whatever was played"
    if any(problem(measured, accepted) for problem in terms):
        return ""  # a wrong term makes a wrong sum; its own part reports it
    right = [arrays["peaked/loss"] for arrays in accepted]
    return "" if is_close(loss, *right, tolerance=1e-3) else "it is not the sum of the three terms"


def _step_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    steps = int(measured["peaked/n_updates"])
    if steps != 1:
        return f"the optimizer takes {steps} steps in one call"
    for name in TWICE:
        if f"peaked/{name}_again" in accepted[0] and not is_close(
            measured[f"peaked/{name}_again"], measured[f"peaked/{name}"], tolerance=1e-3
        ):
            return "the same rollout moves the same weights another way the second time"
    return ""


TWICE = ("value_moves", "logit_moves")  # measured again if gradients add up over calls


def _steps_taken(measured: Measurement) -> list[np.ndarray]:
    """Returns the updates of a call, and how many times as far a second call moves the same."""
    again = [(measured.get(f"peaked/{name}_again"), measured[f"peaked/{name}"]) for name in TWICE]
    ratios = [factor(*pair) or 0.0 for pair in again if pair[0] is not None]
    return [measured["peaked/n_updates"], np.array(ratios)]


_PARTS = (
    Part(
        "value_loss",
        "value loss: V(s_t) is pulled to its target",
        POINTS["value_loss"],
        _value_loss_problem,
        lambda m: [_value_moves(m, "sure"), m["sure/n_updates"]],
    ),
    Part(
        "semi_gradient",
        "value loss: its target is a constant",
        POINTS["semi_gradient"],
        _semi_gradient_problem,
        lambda m: [m["sure/value_moves"]],
    ),
    Part(
        "advantage",
        "policy: the advantage",
        POINTS["advantage"],
        _advantage_problem,
        lambda m: [_pushes(m), m["peaked/n_updates"], m["uniform/value_moves"]],
    ),
    Part(
        "policy_gradient",
        "policy: log π times the advantage, maximised",
        POINTS["policy_gradient"],
        _policy_problem,
        lambda m: [_policy_moves(m, "peaked"), m["peaked/n_updates"], _actor_pull(m)],
    ),
    Part(
        "constant_advantage",
        "policy: the advantage is a constant",
        POINTS["constant_advantage"],
        _constant_advantage_problem,
        lambda m: [_actor_pull(m), _policy_moves(m, "peaked")],
    ),
    Part(
        "entropy_value",
        "entropy: its value",
        POINTS["entropy_value"],
        _entropy_value_problem,
        lambda m: [_entropy_loss(m)],
    ),
    Part(
        "entropy_gradient",
        "entropy: its gradient",
        POINTS["entropy_gradient"],
        _entropy_gradient_problem,
        lambda m: [_entropy_moves(m), m["idle/n_updates"]],
    ),
    Part(
        "value_ends",
        "episode ends in the value's target",
        POINTS["value_ends"],
        _value_ends_problem,
        lambda m: [_value_moves(m, "sure_ends")],
    ),
    Part(
        "policy_ends",
        "episode ends in the returns",
        POINTS["policy_ends"],
        _policy_ends_problem,
        lambda m: [_policy_moves(m, "peaked_ends")],
        is_given=True,
    ),
    Part(
        "memory_passed",
        "memory: from tick to tick",
        POINTS["memory_passed"],
        _memory_passed_problem,
        lambda m: _memory(m, "peaked"),
    ),
    Part(
        "memory_gradient",
        "memory: gradients through time",
        POINTS["memory_gradient"],
        _memory_gradient_problem,
        lambda m: [m["peaked/memory_moves"], *_memory(m, "peaked")],
    ),
    Part(
        "memory_reset",
        "memory: wiped when a game is over",
        POINTS["memory_reset"],
        _memory_reset_problem,
        lambda m: _memory(m, "peaked_ends"),
        is_given=True,
    ),
    Part(
        "weights",
        "the weights of the terms",
        POINTS["weights"],
        _weights_problem,
        lambda m: [m["sure_weighted/value_moves"], m["idle_weighted/logit_moves"]],
        is_given=True,
    ),
    Part(
        "returned",
        "the loss that comes back",
        POINTS["returned"],
        _returned_problem,
        lambda m: [m["peaked/loss"]],
    ),
    Part(
        "step", "one step, by this rollout's gradients", POINTS["step"], _step_problem, _steps_taken
    ),
)


def _has_moved(measured: Measurement) -> np.ndarray:
    """Says for each call whether anything moves."""
    calls = ("", "_again") if "peaked/logit_moves_again" in measured else ("",)
    return np.array([float(np.any(measured[f"peaked/logit_moves{call}"])) for call in calls])


# If nothing moves, what the whole call did tells mistakes apart.
PARTS = tuple(
    replace(
        part,
        evidence=lambda m, of=part.evidence: [*of(m), m["peaked/n_updates"], _has_moved(m)],
    )
    for part in _PARTS
)


def fit_values(inputs: Arrays, measured_agent: Measurement) -> Arrays:
    """Gives values the shape (n, 1) if the student's own agent does so; see `Fit`."""
    value = measured_agent.get("base/value")
    if value is None or value.ndim != 2 or value.shape[1] != 1:
        return {}
    columns = {name: v[..., None] for name, v in inputs.items() if name.endswith("/values")}
    return inputs | columns


FIT_VALUES = Fit(
    "agent",
    fit_values,
    frozenset({"state_value"}),
    "judged with values of shape (n, 1), which this agent gives and this loss takes",
)

EXERCISE = Exercise("loss", PARTS, loss_inputs, fit=FIT_VALUES)
