"""Arrays that agree with each other, but not with what was asked, earn nothing, or are told."""

import contextlib
import time

import numpy as np
import pytest

from checks.agent import linear_remark
from grading import reference as reference_of_one
from grading.assignment import Variant
from grading.grade import Grader, judge_exercise
from grading.inside.measurement import Measurement
from grading.judge import judge
from grading.reference import run_measuring
from grading.results import ExerciseResult
from grading.worker import Limits
from tests.frameworks import TRACKS, each_framework
from tests.notebooks import solution_cells


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
        "the value loss: no known idea gives these numbers. Parts that only compare them with one "
        "another earned their points all the same, where they agree"
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


# Each climbs the slope, or goes nowhere near it; a decay of weights alone used to hide that.
WRONG_WAYS = (
    "opt = torch.optim.SGD(agent.parameters(), lr=0.1, maximize=True, weight_decay=10)",
    "opt = torch.optim.Adam(agent.parameters(), lr=0.1, maximize=True, weight_decay=10)",
    "class Shrinking(torch.optim.SGD):\n"
    "    @torch.no_grad()\n"
    "    def step(self):\n"
    "        for group in self.param_groups:\n"
    "            for weight in group['params']: weight.mul_(0.9)\n"
    "opt = Shrinking(agent.parameters(), lr=0.1)",
)


def optimizer_result(framework: str, source: str) -> ExerciseResult:
    track = TRACKS[framework]
    exercise = track.exercise("optimizer")
    (agent,) = solution_cells("agent-exercise", framework=framework)
    support = track.template.support([agent.source, source])
    with Grader() as grader, contextlib.ExitStack() as workers:
        reference, worker = grader.reference(track), grader.start_worker(workers, track, Limits())
        reply = run_measuring(
            *(worker, track, exercise, [*support, source], reference.inputs(exercise)),
            beside=[*support, agent.source],
        )
        return judge_exercise(reference, exercise, Measurement.from_bytes(reply.data))


@pytest.mark.pytorch
@pytest.mark.parametrize("source", WRONG_WAYS)
def test_what_shrinks_weights_is_no_way_downhill(source):
    assert optimizer_result("pytorch", source).points == 0


@pytest.mark.pytorch
def test_an_optimizer_of_other_weights_is_told():
    source = "opt = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))])"
    assert optimizer_result("pytorch", source).remarks == (
        "it was made for other weights than those of the notebook's agent",
    )
    right = "opt = torch.optim.AdamW(agent.parameters(), lr=3e-4, weight_decay=0.01)"
    result = optimizer_result("pytorch", right)
    assert (result.points, result.remarks) == (10, ())


@pytest.mark.pytorch
def test_tiny_numbers_explain_nothing():
    track = TRACKS["pytorch"]
    weight = "value_loss_weight * value_loss"
    with Grader() as grader:
        tiny = Variant("tiny", "loss", ((weight, "1e-20 * torch.stack(state_values).mean()"),))
        lost = {c.name for c in grader.try_variant(track, tiny).checks if not c.passed}
    assert lost >= {"value_loss", "semi_gradient"}


@pytest.mark.pytorch
def test_constants_are_no_anchor():
    """Praise for whatever was played, and nothing else, knows nothing of the rollout."""
    praise = (
        ("value_loss_weight * value_loss", "0 * value_loss"),
        ("entropy_weight * entropy_reg", "0"),
        ("advantage = cumulative_returns - V_t", "advantage = torch.ones_like(V_t)"),
    )
    with Grader() as grader:
        result = grader.try_variant(TRACKS["pytorch"], Variant("praise", "loss", praise))
    assert {c.name for c in result.checks if c.passed} == {"memory_passed"}
