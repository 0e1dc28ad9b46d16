"""Arrays that agree with each other, but not with what was asked, earn nothing, or are told."""

import numpy as np

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
    assert {check.name: check.points for check in checks if check.points} == {}
    said = {check.name: check.message for check in checks}
    assert said["semi_gradient"].startswith("it counts once the value loss, the advantage or the")
    assert {check.message for check in judge(exercise.parts, solution, [solution])} == {""}


@each_framework
def test_an_agent_that_is_consistent_in_itself_is_told(framework):
    exercise = TRACKS[framework].exercise("agent")
    with Grader() as grader:
        reference = grader.reference(TRACKS[framework])
        to_others = reference.measure(exercise, None, exercise.inputs(np.random.default_rng()))
        result = judge_exercise(reference, exercise, to_others)
    assert any(remark.startswith("judged by its properties: ") for remark in result.remarks)
