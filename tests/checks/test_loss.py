"""The visible check of the loss: what it says of each right answer and of each mutant."""

import dataclasses

import pytest

from checks.loss import step_problem
from checks.measuring import Step
from grading.assignment import Variant
from tests.checks.variants import check_variant
from tests.frameworks import each_framework, each_variant


@each_variant(right=True, exercise="loss")
def test_a_right_loss_passes_however_it_is_written(framework, variant):
    assert check_variant(framework, variant).failures == []


@each_variant(right=False, exercise="loss")
def test_a_misconception_loses_its_parts_with_a_line_that_names_it(framework, variant):
    sheet = check_variant(framework, variant)
    assert {part for part, problem in sheet.parts().items() if problem} == variant.loses
    assert any(variant.idea.message in line for line in sheet.failures), sheet.failures
    if variant.loses == {"step"}:  # it hides no other line
        (line,) = sheet.failures
        assert line.strip().startswith(
            ("✗ the optimizer takes one step", "✗ each step has gradients")
        )


RIGHT_STEP = Step(
    n_updates=1,
    n_variables=12,
    n_moved=12,
    is_bypassed=False,
    is_replaced=False,
    has_gradients=True,
    has_gradients_first=True,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"is_replaced": True}, ""),  # made, but not used
        ({"has_gradients": False}, ""),  # computed in a way that is not seen
        ({"n_updates": 0, "is_replaced": True, "is_bypassed": True}, "a new optimizer is made"),
        ({"n_updates": 3}, "it takes 3 steps in one call"),
        ({"is_bypassed": True}, "weights change, but not by the optimizer"),
        ({"n_moved": 0, "has_gradients": False}, "no gradient is there that is not zero: advice"),
        ({"n_moved": 0, "n_updates": 0}, "for the optimizer takes no step: advice"),
        ({"n_moved": 0, "has_gradients_first": False}, "it comes before the gradients"),
        ({"n_moved": 0}, "gradients were cleared before it"),
        ({"n_moved": 4}, "some weights never learn: the step changes 4 of 12 variables"),
    ],
)
def test_what_is_wrong_with_a_step_is_named(changes, words):
    problem = step_problem(dataclasses.replace(RIGHT_STEP, **changes), "advice")
    assert words in problem
    assert bool(problem) == bool(words)


RETURNS = {
    "tensorflow": "return loss.numpy() if tf.executing_eagerly() else loss",
    "pytorch": "return loss.detach().numpy()",
}


@each_framework
@pytest.mark.parametrize("returned", ["", "return None", "return 'done'"])
def test_a_loss_that_is_not_returned_is_said_and_all_else_is_judged(framework, returned):
    forgetful = Variant("forgetful", "loss", ((RETURNS[framework], returned or "pass"),))
    sheet = check_variant(framework, forgetful)
    problems = {part: problem for part, problem in sheet.parts().items() if problem}
    assert problems == {"returned": "it returns: no number comes back: return the loss"}


SUM = "-J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg"


@each_framework
@pytest.mark.parametrize(
    ("factor", "part", "words"),
    [
        ("3 * ", "weights", "the whole loss is 3 times as large as it should be"),
        ("-", "policy_gradient", "the whole loss has the wrong sign"),
        ("-2 * ", "policy_gradient", "the whole loss has the wrong sign"),
    ],
)
def test_a_number_that_multiplies_the_whole_loss_costs_one_part(framework, factor, part, words):
    multiplied = Variant("multiplied", "loss", ((SUM, f"{factor}({SUM})"),))
    sheet = check_variant(framework, multiplied)
    problems = {part: problem for part, problem in sheet.parts().items() if problem}
    assert problems.keys() == {part}
    assert words in problems[part]


@pytest.mark.pytorch
@pytest.mark.parametrize("praise", ["logpi_a_s_t", "logpi_a_s_t * torch.ones_like(V_t)"])
def test_praise_is_not_taken_for_an_entropy_that_is_not_weighed(praise):
    edits = ("logpi_a_s_t * advantage", praise), (SUM, "-J_hat + value_loss - entropy_reg")
    sheet = check_variant("pytorch", Variant("praise, unweighed", "loss", edits))
    problems = {part: problem for part, problem in sheet.parts().items() if problem}
    assert problems.keys() == {"advantage", "weights"}
    assert "every action is praised alike" in problems["advantage"]


@pytest.mark.pytorch
@pytest.mark.parametrize("wrong", ["float('nan') * value_loss", "torch.sqrt(-1 - value_loss)"])
def test_what_is_not_finite_is_said_and_accuses_nothing_else(wrong):
    edits = ((SUM, SUM.replace("value_loss_weight * value_loss", f"value_loss_weight * {wrong}")),)
    sheet = check_variant("pytorch", Variant("not finite", "loss", edits))
    problems = {part: problem for part, problem in sheet.parts().items() if problem}
    values = {"value_loss", "semi_gradient", "value_ends", "constant_advantage"}
    assert problems.keys() == {*values, "entropy_value", "returned", "step"}
    assert all("NaN or infinite" in problem for problem in problems.values()), problems
