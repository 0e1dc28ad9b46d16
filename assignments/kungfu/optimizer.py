"""The optimizer: what it is measured with, how it is judged, and what it is worth."""

from collections.abc import Sequence

import numpy as np

from checks import points
from checks.optimizer import path_problem, stuck_problem
from grading.assignment import Arrays, Exercise, Part
from grading.inside.measurement import Measurement

POINTS = points.POINTS["optimizer"]


def optimizer_inputs(generator: np.random.Generator) -> Arrays:
    """Draws where the descent starts."""
    return {"start": generator.uniform(1, 3, 5).astype(np.float32)}


def _optimizer_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    path = measured["path"].astype(float)
    if path.ndim != 2 or len(path) != 4 or not np.all(np.isfinite(path)):
        return "its steps lead to NaN or infinity"
    names = measured["stuck"].tobytes().rstrip(b"\0").decode(errors="replace")
    return path_problem(path) or stuck_problem(names.splitlines())


PARTS = (
    Part(
        "descent",
        "an optimizer that goes downhill",
        POINTS["descent"],
        _optimizer_problem,
        lambda m: [m["path"], np.array([np.any(m["stuck"])], float)],
    ),
)


def _remark(measured: Measurement) -> str:
    if not np.any(measured["belongs_elsewhere"]):
        return ""
    return "it was made for other weights than those of the notebook's agent"


EXERCISE = Exercise("optimizer", PARTS, optimizer_inputs, beside="agent", remark=_remark)
