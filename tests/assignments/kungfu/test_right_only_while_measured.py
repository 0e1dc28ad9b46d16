"""Code that looks at whom it meets, and is right only where it is measured, is met as in training.

While a loss is measured, a stand-in takes the place of the student's agent. It must not be told by
its type, its module or what it has.
"""

import contextlib

import pytest

from grading.grade import Grader, judge_exercise
from grading.inside.measurement import Measurement
from grading.reference import run_measuring, with_inputs
from grading.worker import Limits
from tests.frameworks import TRACKS, each_framework
from tests.notebooks import solution_cells

# What is true of the agent in training.
LOOKS = (
    'type(agent).__name__ != "StandInAgent"',
    'type(agent).__module__ == "__main__"',
    'type(agent).__qualname__ == "SimpleRecurrentAgent"',
    "isinstance(agent, SimpleRecurrentAgent)",
    'hasattr(agent, "sample_actions")',
    "type(agent).__doc__ == SimpleRecurrentAgent.__doc__",
)


@pytest.fixture(scope="module")
def measured():
    """Measures a loss beside the solution's agent and returns its result."""
    with Grader() as grader, contextlib.ExitStack() as workers:
        started = {}

        def measure(framework: str, loss: str):
            track = TRACKS[framework]
            exercise, reference = track.exercise("loss"), grader.reference(track)
            if framework not in started:
                started[framework] = grader.start_worker(workers, track, Limits())
            given, agent = solution_cells("select", "agent-exercise", framework=framework)
            support = track.template.support([agent.source, loss])
            inputs = reference.inputs(exercise)
            reply = run_measuring(
                *(started[framework], track, exercise, [*support, given.source, loss], inputs),
                beside=[*support, agent.source],
            )
            found = with_inputs(Measurement.from_bytes(reply.data), inputs)
            return judge_exercise(reference, exercise, found)

        yield measure


@each_framework
@pytest.mark.parametrize("look", ["False", *LOOKS])
def test_a_loss_that_looks_at_the_agent(measured, framework, look):
    (cell,) = solution_cells("loss-exercise", framework=framework)
    first = "    rollout_length = rewards.shape[1] - 1\n"
    assert cell.source.count(first) == 1
    source = cell.source.replace(first, f"{first}    if {look}:\n        return 0.0\n")
    result = measured(framework, source)
    assert (result.points == result.maximum) == (look == "False")
