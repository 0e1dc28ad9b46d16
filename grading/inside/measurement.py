"""The measurement of an answer, and its form as bytes: numbers only; nothing is unpickled.

The format is safetensors (https://github.com/huggingface/safetensors), which checks every size
before it creates an array.
"""

from collections.abc import Mapping

import numpy as np
import safetensors.numpy

MAX_HEADER_BYTES = 1 << 20  # JSON, which takes many times its size when parsed
ERROR = "error/"  # precedes the name of anything that could not be measured
UNFINISHED, NOTE = "unfinished/", "note/"
MAX_NOTES = 20
UNGRADABLE = "ungradable"
ABSENT = "absent"
MAX_WORDS = 600  # bytes; an error and the student's own line take up to 300 characters
KINDS = "fiub"  # the NumPy kinds of real numbers and booleans


class MeasurementError(ValueError):
    """Some bytes are not a measurement; the message says why."""


class Measurement(dict[str, np.ndarray]):
    """Arrays by name, and the reasons why others are missing.

    Names are paths: the logits measured in a case `base`, for example, are named `base/logits`.

    Attributes:
        errors: the reasons, by the name of an output or a whole case; the name is "" if nothing
            could be measured. Under `UNFINISHED` stand the errors of statements that were replaced
            by a neutral value, by what they assign to; under `NOTE` what else is worth telling.
            Under `UNGRADABLE` stands why an answer that may be right cannot be measured, under
            `ABSENT` that there is none.
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
        """The error with the first name in alphabetical order, "" if there is none."""
        names = [name for name in self.errors if not name.startswith((UNFINISHED, NOTE))]
        return self.errors[min(names)] if names else ""

    @property
    def unfinished(self) -> dict[str, str]:
        """The errors of statements that were replaced, by what they assign to."""
        return self._errors_under(UNFINISHED)

    @property
    def notes(self) -> list[str]:
        """What else is worth telling, in order; of very many the first."""
        notes = [words for _, words in sorted(self._errors_under(NOTE).items())]
        more = [f"and {len(notes) - MAX_NOTES} more"] if len(notes) > MAX_NOTES else []
        return notes[:MAX_NOTES] + more

    def _errors_under(self, prefix: str) -> dict[str, str]:
        return {
            name.removeprefix(prefix): words
            for name, words in self.errors.items()
            if name.startswith(prefix)
        }

    def to_bytes(self) -> bytes:
        """Writes the errors and the arrays of numbers."""
        arrays = {name: np.array(array, order="C") for name, array in self.items()}
        arrays = {name: a for name, a in arrays.items() if a.dtype.kind in KINDS}
        for name, words in self.errors.items():
            arrays[ERROR + name] = np.frombuffer(
                words.encode(errors="replace")[:MAX_WORDS], np.uint8
            )
        return safetensors.numpy.save(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Measurement":
        """Reads what `to_bytes` wrote; the bytes may also be anything else.

        Raises:
            MeasurementError: they are something else.
        """
        if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
            raise MeasurementError("its header is too large")
        try:
            arrays = safetensors.numpy.load(data)
        except Exception as error:  # the library may raise anything for foreign bytes
            raise MeasurementError(f"it cannot be read: {str(error)[:100]}") from None
        measurement = cls()
        for name in sorted(arrays):
            if name.startswith(ERROR) and arrays[name].dtype == np.uint8:
                words = arrays[name].tobytes()[:MAX_WORDS].decode(errors="replace")
                measurement.errors[name.removeprefix(ERROR)] = words
            elif arrays[name].dtype.kind in KINDS:
                measurement[name] = arrays[name]
        return measurement
