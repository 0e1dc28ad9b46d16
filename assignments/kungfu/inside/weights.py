"""Reads the weights file that a student hands in.

The file may be hostile, so this runs in a worker with limited time and memory.
"""

from measurement import Measurement

from checks.weights import WeightsError, read_weights


def read(data: bytes, max_bytes: int) -> bytes:
    """Reads a file; returns a `Measurement` with the arrays or the error."""
    try:
        weights = Measurement({f"arr_{i}": a for i, a in enumerate(read_weights(data, max_bytes))})
    except WeightsError as error:
        weights = Measurement(errors={"": str(error)})
    return weights.to_bytes()
