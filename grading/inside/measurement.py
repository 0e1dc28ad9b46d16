"""What was measured of an answer, and how it travels: numbers only, and nothing is unpickled.

The form is safetensors (https://github.com/huggingface/safetensors), which checks every size before
it makes an array.
"""

from collections.abc import Mapping

import numpy as np
import safetensors.numpy

MAX_HEADER_BYTES = 1 << 20  # JSON, which grows many times when it is read
ERROR = "error/"  # before the name of what could not be measured
MAX_WORDS = 2000  # bytes
KINDS = "fiub"  # of NumPy's: real numbers and truth values


class MeasurementError(ValueError):
    """Some bytes are no measurement; the message says why."""


class Measurement(dict[str, np.ndarray]):
    """Arrays by name, and in words why others are missing.

    Names are paths: the logits that were measured in a case `base`, say, are called `base/logits`.

    Attributes:
        errors: for what could not be measured, an output or a whole case, the reason; under "" that
            of an answer of which nothing was.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray] | None = None,
        errors: Mapping[str, str] | None = None,
    ):
        super().__init__(arrays or {})
        self.errors = dict(errors or {})

    def __or__(self, other: Mapping[str, np.ndarray]) -> "Measurement":
        return Measurement({**self, **other}, {**self.errors, **getattr(other, "errors", {})})

    __ior__ = __or__

    @property
    def first_error(self) -> str:
        """The first error by the name of what was measured, "" if there was none."""
        return self.errors[min(self.errors)] if self.errors else ""

    def to_bytes(self) -> bytes:
        """Writes the errors, and the arrays that hold numbers."""
        arrays = {name: np.array(array, order="C") for name, array in self.items()}
        arrays = {name: a for name, a in arrays.items() if a.dtype.kind in KINDS}
        for name, words in self.errors.items():
            arrays[ERROR + name] = np.frombuffer(
                words.encode(errors="replace")[:MAX_WORDS], np.uint8
            )
        return safetensors.numpy.save(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Measurement":
        """Reads what `to_bytes` wrote, or whatever somebody else did.

        Raises:
            MeasurementError: it is something else.
        """
        if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
            raise MeasurementError("it holds more names than anything measured")
        try:
            arrays = safetensors.numpy.load(data)
        except Exception as error:  # whatever the library makes of bytes that are not its own
            raise MeasurementError(f"it cannot be read: {str(error)[:100]}") from None
        measurement = cls()
        for name in sorted(arrays):
            if name.startswith(ERROR) and arrays[name].dtype == np.uint8:
                words = arrays[name].tobytes()[:MAX_WORDS].decode(errors="replace")
                measurement.errors[name.removeprefix(ERROR)] = words
            elif arrays[name].dtype.kind in KINDS:
                measurement[name] = arrays[name]
        return measurement
