"""The optimizer: what it is measured with, how it is judged, and what it is worth."""

from collections.abc import Sequence

import numpy as np

from grading.assignment import Arrays, Exercise, Part
from grading.inside.measurement import Measurement


def optimizer_inputs(generator: np.random.Generator) -> Arrays:
    """Draws where the descent begins."""
    return {"start": generator.uniform(1, 3, 5).astype(np.float32)}


def _optimizer_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    path = measured["path"].astype(float)
    if path.ndim != 2 or len(path) != 4 or not np.all(np.isfinite(path)):
        return "its steps lead to NaN or infinity"
    downhill = -np.sum((path[1:] - path[:-1]) * path[0], axis=1)
    if np.all(path[1:] == path[0]):
        return "it stays where it is: the learning rate is zero"
    if downhill[0] <= 0:
        return "it goes uphill"
    far_off = np.linalg.norm(path[-1]) > 10 * np.linalg.norm(path[0])
    return "its steps are so long that it gets ever further off" if far_off else ""


PARTS = (
    Part(
        "descent", "an optimizer that goes downhill", 10, _optimizer_problem, lambda m: [m["path"]]
    ),
)

EXERCISE = Exercise("optimizer", PARTS, optimizer_inputs)
