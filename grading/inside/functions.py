"""Measures answers that are functions: calls them and records what they return.

The function has the exercise's name, such as `gradient_step` in the exercise `gradient-step`.
Inputs are named `CASE/ARGUMENT`. The result of a case is named `CASE`, or, if it is a tuple,
`CASE/0`, `CASE/1`, …
"""

import numpy as np
import run_all
from cells import describe_failure, run_cells
from measurement import Measurement


def measure(data: bytes, exercise: str, sources: list[str] | None) -> bytes:
    """Measures an answer; see `grading.assignment.Assignment.measure`.

    Args:
        data: the inputs, a `Measurement`.
        exercise: the exercise's name.
        sources: the cells of the answer; None if a whole notebook has run in this worker.

    Returns:
        A `Measurement`, with an error for each case that could not be measured.
    """
    inputs, results = Measurement.from_bytes(data), Measurement()
    try:
        name = exercise.replace("-", "_")
        names = run_all.namespace() if sources is None else run_cells(exercise, sources)
        function = names.get(name)
        if not callable(function):
            raise TypeError(f"{name} is not a function")
    except BaseException as error:  # the student's code may raise anything
        results.errors[""] = describe_failure(error)
        return results.to_bytes()
    for case in sorted({name.partition("/")[0] for name in inputs}):
        arguments = {
            name.partition("/")[2]: array.copy() if array.ndim else array.item()
            for name, array in inputs.items()
            if name.startswith(f"{case}/")
        }
        try:
            returned = function(**arguments)
            parts = enumerate(returned) if isinstance(returned, tuple) else [("", returned)]
            results.update({f"{case}/{i}".strip("/"): np.asarray(part) for i, part in parts})
        except BaseException as error:
            results.errors[case] = describe_failure(error)
    return results.to_bytes()
