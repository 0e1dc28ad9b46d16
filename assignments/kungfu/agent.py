"""The agent: what it is measured with, how each part is judged, and what it is worth.

The judgements are the visible check's, on inputs of the grader's own; see `checks.agent`.
"""

import functools
import re
from collections.abc import Sequence

import numpy as np

from assignments.kungfu.variants import IDEAS
from checks import points
from checks.agent import linear_remark, part_problem
from checks.loss_cases import N_ACTIONS
from checks.measuring import draw_agent_inputs
from grading.assignment import Arrays, Exercise, Explained, Part
from grading.inside.measurement import Measurement

NOTHING = np.zeros(0)  # stands for what was not measured, the memory of an agent without one, say
OUTPUTS = ("h", "c", "logits", "value")
# The arrays that show whether two agents make the same mistake.
EVIDENCE = {
    "logits": ("base/logits", "other/logits", "blank/logits"),
    "state_value": ("base/value", "other/value", "blank/value"),
    "heads": ("base/logits", "base/value"),
    "new_state": ("base/h", "base/c"),
    "games_apart": tuple(f"base/{output}" for output in OUTPUTS),
    "gradients": ("gradients/logits", "gradients/value"),
    "agreement": tuple(f"step/{output}" for output in OUTPUTS),
}


def agent_inputs(obs_shape: tuple[int, ...], generator: np.random.Generator) -> Arrays:
    """Draws the inputs; see `checks.measuring`."""
    return draw_agent_inputs(obs_shape, N_ACTIONS, generator)


def _part(name: str, part_points: float) -> Part:
    title, arrays = points.TITLES["agent"][name], EVIDENCE[name]

    def judge(measured: Measurement, accepted: Sequence[Measurement]) -> str:
        problem = part_problem(name, measured)
        idea = IDEAS["agent"].get(getattr(problem, "idea", ""))
        return Explained(problem, idea.hint) if idea else problem

    def evidence(measured: Measurement) -> list[np.ndarray]:
        return [measured.get(array, NOTHING) for array in arrays]

    return Part(name, title, part_points, judge, evidence)


PARTS = tuple(_part(name, part_points) for name, part_points in points.POINTS["agent"].items())


DESCRIPTION = re.compile(r"description/(parts|\w{1,40}/\d\d)", re.ASCII)


def put_in_its_place(inputs: Arrays, measured: Measurement) -> Arrays:
    """Gives the solution's agent the layers and weights of a student's; see `Exercise.tailor`."""
    described = {name: array for name, array in measured.items() if DESCRIPTION.fullmatch(name)}
    return {**inputs, **described} if "description/parts" in described else {}


def exercise(obs_shape: tuple[int, ...]) -> Exercise:
    """Returns how the agent is graded, on a track with observations of this shape."""
    inputs = functools.partial(agent_inputs, obs_shape)
    return Exercise("agent", PARTS, inputs, tailor=put_in_its_place, remark=linear_remark)
