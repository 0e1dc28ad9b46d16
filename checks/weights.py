"""The file of weights that is handed in with the notebook: written here, read as in grading."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FILE = "kungfu_weights.npz"
# Of the file, and of its unpacked contents: six times what the larger of the solutions' agents has.
MAX_BYTES = 16 << 20
MAX_ARRAYS = 1000


class WeightsError(ValueError):
    """Weights cannot be read, or belong to another agent; the message is for the student."""


def pack_weights(framework: ModuleType, agent: Any) -> bytes:
    """Returns the file of an agent's weights: float16, which is precise enough to play."""
    with np.errstate(over="ignore"):  # infinite then, which reading names
        arrays = [
            framework.to_array(weight).astype(np.float16) for weight in framework.weights_of(agent)
        ]
    file = io.BytesIO()
    np.savez_compressed(file, *arrays)
    return file.getvalue()


def read_file(path: Path) -> list[np.ndarray]:
    """Reads a file of weights; see `read_weights`.

    Raises:
        WeightsError: it is something else, damaged, or too large.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(f"the weights file has {size:,} bytes, over {MAX_BYTES:,}")
    return read_weights(path.read_bytes(), MAX_BYTES)


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
            "the weights file is not an .npz file: the notebook's last cell writes one"
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


@contextlib.contextmanager
def other_weights(
    framework: ModuleType, agent: Any, arrays: Sequence[np.ndarray]
) -> Iterator[None]:
    """Lends other weights to an agent that is ready to play.

    Raises:
        WeightsError: they belong to another agent.
    """
    weights = framework.weights_of(agent)
    check_shapes([array.shape for array in arrays], [tuple(weight.shape) for weight in weights])
    before = [np.array(framework.to_array(weight)) for weight in weights]
    try:
        _assign(framework, weights, arrays)
        yield
    finally:
        _assign(framework, weights, before)


def _assign(framework: ModuleType, weights: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
    for weight, array in zip(weights, arrays, strict=True):
        framework.assign(weight, array.astype(np.float32))


def check_shapes(given: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    """Makes sure that the arrays of a file have the shapes of an agent's weights.

    Raises:
        WeightsError: they have not.
    """
    if len(given) != len(expected):
        raise WeightsError(
            f"the weights file holds {len(given)} arrays, the notebook's agent has {len(expected)} "
            "trainable variables: do they belong to the same agent?"
        )
    for i, (ours, theirs) in enumerate(zip(given, expected, strict=True)):
        if ours != theirs:
            raise WeightsError(
                f"arr_{i} of the weights file has shape {ours}, the notebook's agent needs {theirs}"
                ": do they belong to the same agent?"
            )
