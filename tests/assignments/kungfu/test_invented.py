"""Arrays that agree with each other, but not with what was asked, earn nothing, or are told."""

import time

import numpy as np
import pytest

from checks.agent import linear_remark
from grading import reference as reference_of_one
from grading.assignment import Variant
from grading.grade import Grader, judge_exercise
from grading.judge import judge
from tests.frameworks import TRACKS, each_framework


@each_framework
def test_a_loss_that_is_consistent_in_itself_earns_nothing(framework):
    exercise = TRACKS[framework].exercise("loss")
    with Grader() as grader:
        reference = grader.reference(TRACKS[framework])
        solution = reference.measure(exercise, None)
        to_others = reference.measure(exercise, None, exercise.inputs(np.random.default_rng()))
    checks = judge(exercise.parts, to_others, [solution])
    # The entropies of any logits are much alike: one of 150 draws is within the tolerance.
    assert {check.name for check in checks if check.points} <= {"entropy_value"}
    said = {check.name: check.message for check in checks}
    assert said["semi_gradient"].startswith("it counts only if the value loss, the advantage")
    assert {check.message for check in judge(exercise.parts, solution, [solution])} == {""}


@each_framework
def test_terms_that_are_consistent_in_themselves_are_told(framework):
    exercise = TRACKS[framework].exercise("loss")
    with Grader() as grader:
        reference = grader.reference(TRACKS[framework])
        solution = reference.measure(exercise, None)
        to_others = reference.measure(exercise, None, exercise.inputs(np.random.default_rng()))
    assert exercise.remark(solution) == ""
    invented = {name: a for name, a in to_others.items() if name.endswith("/value_moves")}
    assert exercise.remark(solution | invented) == (
        "the value loss: no known idea gives these numbers. Parts that compare them with each "
        "other were paid if they agree"
    )


@each_framework
def test_an_agent_that_is_consistent_in_itself_is_told(framework):
    exercise = TRACKS[framework].exercise("agent")
    with Grader() as grader:
        reference = grader.reference(TRACKS[framework])
        to_others = reference.measure(exercise, None, exercise.inputs(np.random.default_rng()))
        result = judge_exercise(reference, exercise, to_others)
    assert any(remark.startswith("judged by its properties: ") for remark in result.remarks)


def test_arrays_of_odd_shapes_are_no_network():
    names = ("none", "one", "other", "both")
    shapes = ((60_000, 1), (1, 60_000), (1, 60_000), (1, 60_000))  # 29 GB if they met
    measured = {f"features/{n}": np.ones(s, np.float32) for n, s in zip(names, shapes, strict=True)}
    assert linear_remark(measured) == ""


@pytest.mark.pytorch
def test_layers_that_take_long_to_rebuild_have_one_budget(monkeypatch):
    track, budgets = TRACKS["pytorch"], []
    exercise = track.exercise("agent")
    constant = ("self.state_value(hidden)[:, 0]", "torch.zeros(len(obs_t))")  # no mutant's mistake

    def measure_slowly(*arguments):
        budgets.append(arguments[-1])
        time.sleep(0.4)
        return measure(*arguments)

    monkeypatch.setattr(reference_of_one, "TAILORED_SECONDS", 1.0)
    with Grader() as grader:
        reference = grader.reference(track)
        measure = reference.measure
        measured = measure(exercise, Variant("constant", "agent", (constant,)))
        monkeypatch.setattr(reference, "measure", measure_slowly)
        result = judge_exercise(reference, exercise, measured)
    assert result.points < result.maximum
    assert 2 <= len(budgets) <= 3  # of all that could explain it
    assert budgets == sorted(budgets, reverse=True)
    assert budgets[0] == 1.0
