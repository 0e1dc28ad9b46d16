"""The loss: what it is measured with, how each part is judged, and what it is worth.

How the loss is taken apart, and how its parts are judged, stands in `checks.terms`, which the
student's own check shares.
"""

from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np

from assignments.kungfu.ideas_of_terms import tables_of
from checks import points, terms
from checks.arrays import factor
from checks.loss import own_gradients_problem, step_problem
from checks.loss_cases import N_ACTIONS
from checks.measuring import Step
from checks.terms import (
    UNANCHORED,
    evidence_of,
    find_problem,
    follows_rollout,
    unanchored_remark,
)
from grading.assignment import Arrays, Exercise, Fit, Part
from grading.inside.measurement import Measurement
from grading.judge import TOLERANCE

POINTS = points.POINTS["loss"]
N_GAMES, ROLLOUT_LENGTH = 3, 4

# Games end at the first tick, in the middle, at T - 1 and at T.
ENDS = np.array([[0, 1, 1, 1, 0], [1, 1, 0, 1, 1], [1, 1, 1, 0, 1]], np.float32)


def loss_inputs(generator: np.random.Generator) -> Arrays:
    """Draws rollouts; gradients stay below ordinary clipping thresholds, 0.5 in all."""
    shape = (N_GAMES, ROLLOUT_LENGTH + 1)
    actions = np.argsort(generator.random((N_ACTIONS, *shape)), axis=0)[0].astype(np.int32)
    actions[:, -1] = 0
    rewards = generator.uniform(0.1, 0.5, shape).astype(np.float32)
    rewards[:, -1] = 0
    plain = {
        "actions": actions,
        "rewards": rewards,
        "values": generator.uniform(0.1, 0.6, shape).astype(np.float32),
        "logits": generator.normal(0, 1, (*shape, N_ACTIONS)).astype(np.float32),
        "memory": generator.uniform(5, 50, N_GAMES).astype(np.float32),
        "gamma": np.array(generator.uniform(0.6, 0.9)),
    }
    other = generator.uniform(0.1, 0.5, shape).astype(np.float32)
    return {
        f"{name}/{field}": value
        for name, fields in terms.build_cases(plain, ENDS, other).items()
        for field, value in fields.items()
    }


def _step_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    if problem := step_problem(_step(measured)):
        return problem
    for name in TWICE:
        if f"peaked/{name}_again" in accepted[0]:
            again, first = measured[f"peaked/{name}_again"], measured[f"peaked/{name}"]
            if problem := own_gradients_problem(again, first):
                return problem
    return "" if follows_rollout(measured, tables_of(measured)) else UNANCHORED


TWICE = ("value_moves", "logit_moves")  # measured again if gradients add up over calls


def _step(measured: Measurement) -> Step:
    return Step(*map(int, measured["peaked/step"]))


def _step_evidence(measured: Measurement) -> list[np.ndarray]:
    """Returns what kind of step it was, and how many times as far a second call moves the same."""
    step = _step(measured)
    kind = replace(
        step,
        n_updates=min(step.n_updates, 2),
        n_moved=np.sign(step.n_moved) + (step.n_moved == step.n_variables),
    )
    again = [(measured.get(f"peaked/{name}_again"), measured[f"peaked/{name}"]) for name in TWICE]
    ratios = [factor(*pair, tolerance=TOLERANCE) or 0.0 for pair in again if pair[0] is not None]
    return [np.array(astuple(kind), float), np.array(ratios)]


TITLES = {
    "value_loss": "value loss: V(s_t) is pulled to its target",
    "semi_gradient": "value loss: its target is a constant",
    "advantage": "policy: the advantage",
    "policy_gradient": "policy: log π times the advantage, maximised",
    "constant_advantage": "policy: the advantage is a constant",
    "entropy_value": "entropy: its value",
    "entropy_gradient": "entropy: its gradient",
    "value_ends": "episode ends in the value's target",
    "policy_ends": "episode ends in the returns",
    "memory_passed": "memory: from tick to tick",
    "memory_gradient": "memory: gradients through time",
    "memory_reset": "memory: wiped when a game is over",
    "weights": "the weights of the terms",
    "returned": "the loss that comes back",
}
# What the original template neither gives nor asks for.
NOT_IN_ALL = {"value_ends", "policy_ends", "memory_reset", "weights", "returned"}


def _part(name: str) -> Part:
    return Part(
        name,
        TITLES[name],
        POINTS[name],
        lambda measured, accepted: find_problem(name, measured, accepted, tables_of(measured)),
        lambda measured: evidence_of(name, measured, tables_of(measured)),
        may_be_left_out=name in NOT_IN_ALL,
    )


_PARTS = (
    *map(_part, TITLES),
    Part(
        "step",
        "one step, by this rollout's gradients",
        POINTS["step"],
        _step_problem,
        _step_evidence,
    ),
)


def _what_is_known(measured: Measurement) -> np.ndarray:
    """Says whether anything is known of the gradients; if not, what kind of step there was."""
    step = _step(measured)
    is_known = step.has_gradients or step.n_moved
    return np.array([1.0, 0.0] if is_known else [0.0, min(step.n_updates, 2)])


# If nothing is known, what the whole call did tells mistakes apart.
PARTS = tuple(
    replace(part, evidence=lambda m, of=part.evidence: [*of(m), _what_is_known(m)])
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

EXERCISE = Exercise(
    "loss",
    PARTS,
    loss_inputs,
    beside="agent",
    fit=FIT_VALUES,
    remark=lambda measured: unanchored_remark(measured, tables_of(measured)),
)
