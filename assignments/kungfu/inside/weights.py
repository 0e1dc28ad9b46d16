"""Reads the file of weights that a student hands in, whatever it is.

It is hostile: this runs in a worker of bounded time and memory.
"""

import io

import numpy as np
from measurement import Measurement


class WeightsError(ValueError):
    """A file holds no weights that can be read; the message is for its author."""


def read(data: bytes, max_bytes: int) -> bytes:
    """Reads a file; returns a `Measurement` of the arrays, or of the error."""
    try:
        weights = Measurement({f"arr_{i}": a for i, a in enumerate(read_weights(data, max_bytes))})
    except WeightsError as error:
        weights = Measurement(errors={"": str(error)})
    return weights.to_bytes()


def read_weights(data: bytes, max_bytes: int) -> list[np.ndarray]:
    """Reads what `numpy.savez_compressed(file, *arrays)` wrote, of float16 or float32.

    Args:
        data: the file.
        max_bytes: of all that is in it.

    Returns:
        The arrays in their order, in native byte order.

    Raises:
        WeightsError: the file is something else, damaged, or too large.
    """
    if not data.startswith(b"PK"):
        raise WeightsError(
            "the weights file is no .npz file: write it with np.savez_compressed, as the end of "
            "the notebook does"
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            size = sum(entry.file_size for entry in file.zip.infolist())
            if size > max_bytes:
                raise WeightsError(
                    f"the weights file unpacks to {size:,} bytes, over {max_bytes:,}"
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
            f"the weights file holds {found}{', …' * (len(arrays) > 5)}, expected were arr_0, arr_1"
            " and so on: give np.savez_compressed the arrays alone, without names"
        )
    return [_check(name, arrays[name]) for name in names]


def _check(name: str, array: np.ndarray | bytes) -> np.ndarray:
    if isinstance(array, bytes):  # which is what NumPy makes of whatever else is in an archive
        raise WeightsError(f"{name} of the weights file is no array")
    native = array.dtype.newbyteorder("=")
    if native not in (np.float16, np.float32):
        raise WeightsError(f"{name} holds {array.dtype}, expected float16 or float32")
    if not np.all(np.isfinite(array)):
        raise WeightsError(f"{name} holds NaN or infinity: float16 ends at 65,504")
    return array.astype(native)
