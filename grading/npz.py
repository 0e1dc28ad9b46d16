"""Reads `.npz` files that may be hostile: bounded in memory, and never unpickled.

`numpy.load` makes arrays as large as their headers say, and unpacks whole what is no array. Here
every size is checked before anything is unpacked.
"""

import io
import math
import warnings
import zipfile

import numpy as np

MAX_ARRAYS = 1000
MAX_HEADER = 1000  # characters: more would let a header nest deeper than Python's parser can

_DIRECTORY_ENTRY = b"PK\x01\x02"
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class ArchiveError(ValueError):
    """An archive of arrays cannot be read."""


def read_npz(data: bytes, max_bytes: int) -> dict[str, np.ndarray]:
    """Reads what `numpy.savez` or `numpy.savez_compressed` wrote.

    Args:
        data: the file.
        max_bytes: of all arrays together, with their headers.

    Returns:
        Arrays of numbers or truth values by their names, in native byte order.

    Raises:
        ArchiveError: the file is something else, damaged, or too large.
    """
    # A directory becomes objects, many times its size, before it can be asked for its length.
    if data.count(_DIRECTORY_ENTRY) > MAX_ARRAYS:
        raise ArchiveError(f"it holds more than {MAX_ARRAYS} arrays")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries, max_bytes)
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive, entry)
                for entry in entries
            }
    except ArchiveError:
        raise
    except Exception as error:  # archives and headers can be damaged in many ways
        reason = str(error)[:200] or type(error).__name__
        raise ArchiveError(f"it is damaged: {reason}") from None


def _check_entries(entries: list[zipfile.ZipInfo], max_bytes: int) -> None:
    if len({entry.filename for entry in entries}) < len(entries):
        raise ArchiveError("it holds two arrays of one name")
    for entry in entries:
        if not entry.filename.endswith(".npy"):
            raise ArchiveError(f"it holds {entry.filename[:50]!a}, which is no array")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(f"{entry.filename[:50]!a} is packed as NumPy packs nothing")
    size = sum(entry.file_size for entry in entries)
    if size > max_bytes:
        raise ArchiveError(f"it unpacks to {size:,} bytes, over {max_bytes:,}")


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    name = f"{entry.filename[:50]!a}"
    with archive.open(entry) as member:
        data = member.read(entry.file_size)  # without a number it would unpack it all first
    if len(data) != entry.file_size:
        raise ArchiveError(f"{name} is shorter than the archive says")
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in _HEADER_READERS:
        raise ArchiveError(f"{name} is of version {version}, which no array of numbers needs")
    with warnings.catch_warnings(action="ignore"):  # about headers that Python 2 wrote
        shape, is_fortran, dtype = _HEADER_READERS[version](file, max_header_size=MAX_HEADER)
    if dtype.kind not in "fiub":
        raise ArchiveError(f"{name} holds {str(dtype)[:50]}, which is no type of numbers")
    numbers = file.read()
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(numbers):
        raise ArchiveError(
            f"{name} has {len(numbers):,} bytes, which is not what {dtype} of shape "
            f"{str(shape)[:100]} takes"
        )
    array = np.frombuffer(numbers, dtype).reshape(shape, order="F" if is_fortran else "C")
    return np.array(array, dtype.newbyteorder("="), order="C")
