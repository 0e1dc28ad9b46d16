"""Judges the measurements of a submission against those of the solution.

No student code runs here: arrays come in, verdicts go out.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from grading.assignment import Part
from grading.inside.measurement import Measurement
from grading.results import Check

# Relative to the largest entry of an array. Over seeds, thread counts, and eager and compiled runs,
# the solution's own numbers vary by less than a tenth of it: see benchmarks/tolerances.py.
TOLERANCE = 1e-4


def is_close(
    measured: np.ndarray, *accepted: np.ndarray, tolerance: float = TOLERANCE, least: float = 1e-12
) -> bool:
    """Says whether an array equals an accepted one, up to tolerance × the latter's largest entry.

    An array with another shape, or with a NaN or an infinite entry, equals none. `least` counts as
    the largest entry of an array of smaller ones.
    """
    measured = np.asarray(measured)
    if measured.dtype.kind not in "fiu" or not np.all(np.isfinite(measured)):
        return False
    return any(
        measured.shape == np.shape(other)
        and np.all(np.isfinite(other))
        and _largest(measured - other) <= tolerance * max(_largest(other), least)
        for other in accepted
    )


def judge(
    parts: Sequence[Part], measured: Measurement, accepted: Sequence[Measurement]
) -> list[Check]:
    """Judges every part of an exercise."""
    checks = []
    for part in parts:
        try:
            message = part.judge(measured, accepted)
        except KeyError:  # it was not measured, or has the wrong shape
            message = measured.first_error or "the result does not have the right shape"
        except Exception:  # the student's arrays may hold anything
            message = "the result cannot be judged: its shapes do not fit"
        points, hint = 0 if message else part.points, getattr(message, "hint", "")
        checks.append(Check(part.name, part.title, points, part.points, str(message), hint))
    return checks


def excuse(checks: Sequence[Check], names: Collection[str]) -> list[Check]:
    """Excludes the failed ones of some parts, and spreads their points over all others."""
    excused = {check.name for check in checks if check.name in names and not check.passed}
    total = sum(check.maximum for check in checks)
    share = total / max(sum(c.maximum for c in checks if c.name not in excused), 1e-9)
    return [
        replace(
            check,
            points=0 if check.name in excused else check.points * share,
            maximum=0 if check.name in excused else check.maximum * share,
            message=f"{check.message}; this template leaves it out, so it costs nothing"
            if check.name in excused
            else check.message,
        )
        for check in checks
    ]


def same_mistake(
    part: Part, measured: Measurement, mutant: Measurement, accepted: Sequence[Measurement]
) -> bool:
    """Says whether a mutant fails a part in exactly the same way as the submission."""
    errors = [without_line(each.first_error) for each in (measured, mutant)]
    if any(errors):
        return errors[0] == errors[1]
    if {*map(without_line, mutant.notes)} - {*map(without_line, measured.notes)}:
        return False
    ours, theirs = _evidence(part, measured), _evidence(part, mutant)
    if ours is None or theirs is None:
        return ours is theirs
    return bool(part.judge(mutant, accepted)) and all(
        is_close(a, b, tolerance=10 * TOLERANCE) for a, b in zip(ours, theirs, strict=True)
    )


def without_line(words: str) -> str:
    """Returns the words on an error without the student's own line."""
    return words.partition(" (at ")[0]


def _evidence(part: Part, measured: Measurement) -> Sequence[np.ndarray] | None:
    """Returns the arrays that a verdict is based on, or None if they are missing."""
    try:
        return part.evidence(measured)
    except Exception:  # as in `judge`
        return None


def with_shapes_of(measured: Measurement, reference: Measurement) -> Measurement:
    """Keeps only the arrays with the shape and kind of the reference's array of the same name.

    Arithmetic on hostile shapes could fill the grader's memory.
    """
    fitting = {
        name: array
        for name, array in measured.items()
        if name in reference
        and array.shape == reference[name].shape
        and array.dtype.kind == reference[name].dtype.kind
    }
    return Measurement(fitting, measured.errors)


def _largest(array: np.ndarray) -> float:
    return float(np.max(np.abs(array), initial=0.0))
