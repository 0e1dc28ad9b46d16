"""Compares arrays by their largest difference."""

import numpy as np

# Over every right way to write the loss relative differences stay below 1e-6, and the nearest
# misconception is 0.09 away: benchmarks/tolerances.md.
TOLERANCE = 1e-3


def is_close(
    measured: np.ndarray, *accepted: np.ndarray, tolerance: float = TOLERANCE, least: float = 1e-12
) -> bool:
    """Says whether an array equals one of the accepted, up to their largest entry × tolerance.

    Args:
        measured: what was measured.
        accepted: arrays of another shape, or with a NaN or an infinite entry, equal none.
        tolerance: relative.
        least: what counts as the largest entry of an array of smaller ones.
    """
    measured = np.asarray(measured)
    if not np.all(np.isfinite(measured)):
        return False
    return any(
        measured.shape == other.shape
        and np.all(np.isfinite(other))
        and _largest(measured - other) <= tolerance * max(_largest(other), least)
        for other in map(np.asarray, accepted)
    )


def factor(
    measured: np.ndarray, *accepted: np.ndarray, tolerance: float = TOLERANCE
) -> float | None:
    """Returns k ≠ 0 where `measured` is k times one of the accepted arrays, None if it is not."""
    # In float64, in which no float32 overflows.
    measured = np.asarray(measured, float)
    if not np.all(np.isfinite(measured)):
        return None
    for other in (np.asarray(array, float) for array in accepted):
        if other.shape == measured.shape:
            k = float(np.sum(measured * other) / max(np.sum(other * other), 1e-30))
            # Relative however small they are: else all tiny numbers would be alike.
            close = is_close(measured, k * other, tolerance=tolerance, least=0)
            if k != 0 and np.isfinite(k) and close:
                return k
    return None


def _largest(array: np.ndarray) -> float:
    return float(np.max(np.abs(array), initial=0.0))
