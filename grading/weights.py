"""Reads the file of weights that a student hands in, whatever it is."""

from pathlib import Path

import numpy as np

from grading.files import UnreadableFileError, read_regular_file
from grading.npz import ArchiveError, read_npz

MAX_BYTES = 64 << 20  # of the file, and of all that is in it


class WeightsError(ValueError):
    """A file holds no weights that can be read; the message is for its author."""


def read_weights(path: Path) -> list[np.ndarray]:
    """Reads what `numpy.savez_compressed(file, *arrays)` wrote, of float16 or float32.

    Returns:
        The arrays in their order.

    Raises:
        WeightsError: there is no such file, or it is something else, damaged, or too large. Links,
            devices and folders are not followed.
    """
    try:
        data = read_regular_file(path, MAX_BYTES, "the weights file")
    except UnreadableFileError as error:
        raise WeightsError(str(error)) from None
    if not data.startswith(b"PK"):
        raise WeightsError(
            "the weights file is no .npz file: write it with np.savez_compressed, as the end of "
            "the notebook does"
        )
    try:
        arrays = read_npz(data, MAX_BYTES)
    except ArchiveError as error:
        raise WeightsError(f"the weights file cannot be used: {error}") from None
    names = [f"arr_{i}" for i in range(len(arrays))]
    if not arrays or arrays.keys() != set(names):
        found = ", ".join(ascii(name[:30]) for name in list(arrays)[:5]) or "nothing"
        raise WeightsError(
            f"the weights file holds {found}{', …' * (len(arrays) > 5)}, expected were arr_0, arr_1"
            " and so on: give np.savez_compressed the arrays alone, without names"
        )
    for name in names:
        if arrays[name].dtype not in (np.float16, np.float32):
            raise WeightsError(f"{name} holds {arrays[name].dtype}, expected float16 or float32")
        if not np.all(np.isfinite(arrays[name])):
            raise WeightsError(f"{name} holds NaN or infinity: float16 ends at 65,504")
    return [arrays[name] for name in names]
