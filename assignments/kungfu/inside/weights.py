"""Reads the weights file that a student hands in.

The file may be hostile, so this runs in a worker with limited time and memory.
"""

import io

import numpy as np
from measurement import Measurement

MAX_ARRAYS = 1000


class WeightsError(ValueError):
    """A file holds no readable weights; the message is for the student."""


def read(data: bytes, max_bytes: int) -> bytes:
    """Reads a file; returns a `Measurement` with the arrays or the error."""
    try:
        weights = Measurement({f"arr_{i}": a for i, a in enumerate(read_weights(data, max_bytes))})
    except WeightsError as error:
        weights = Measurement(errors={"": str(error)})
    return weights.to_bytes()


def read_weights(data: bytes, max_bytes: int) -> list[np.ndarray]:
    """Reads float16 or float32 arrays that `numpy.savez_compressed(file, *arrays)` wrote.

    Args:
        data: the file.
        max_bytes: the most bytes that its contents may have.

    Returns:
        The arrays in their order, in native byte order.

    Raises:
        WeightsError: the file is something else, damaged, or too large.
    """
    if not data.startswith(b"PK"):
        raise WeightsError(
            "the weights file is not an .npz file: write it with np.savez_compressed, as at the "
            "end of the notebook"
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            size = sum(entry.file_size for entry in file.zip.infolist())
            if size > max_bytes:
                raise WeightsError(
                    f"the weights file unpacks to {size:,} bytes, over {max_bytes:,}"
                )
            if len(file.files) > MAX_ARRAYS:
                raise WeightsError(
                    f"the weights file holds {len(file.files):,} arrays, over {MAX_ARRAYS:,}"
                )
            arrays = {name: file[name] for name in file.files}
            names = [f"arr_{i}" for i in range(len(file.files))]
    except WeightsError:
        raise
    except Exception as error:  # archives and headers can be damaged in many ways
        reason = str(error)[:200] or type(error).__name__
        raise WeightsError(f"the weights file is damaged: {reason}") from None
    if not arrays or arrays.keys() != set(names):
        found = ", ".join(ascii(name[:30]) for name in list(arrays)[:5]) or "nothing"
        raise WeightsError(
            f"the weights file holds {found}{', …' * (len(arrays) > 5)}, expected arr_0, arr_1 and "
            "so on: pass the arrays to np.savez_compressed without names"
        )
    return [_check(name, arrays[name]) for name in names]


def _check(name: str, array: np.ndarray | bytes) -> np.ndarray:
    if isinstance(array, bytes):  # NumPy returns bytes for anything else in an archive
        raise WeightsError(f"{name} of the weights file is not an array")
    native = array.dtype.newbyteorder("=")
    if native not in (np.float16, np.float32):
        raise WeightsError(f"{name} holds {array.dtype}, expected float16 or float32")
    if not np.all(np.isfinite(array)):
        raise WeightsError(f"{name} holds NaN or infinity: the largest float16 is 65,504")
    return array.astype(native)
