"""What was measured of a submission, in bytes, so that a later grading need not measure it again.

A key is a digest of all that the measurement depends on. What is kept was measured in the sandbox
and may be hostile: it is read like a worker's reply, as numbers and texts.
"""

import base64
import dataclasses
import json
from collections.abc import Callable, Mapping

from grading.assignment import TrialResult
from grading.inside.measurement import Measurement

_MEASURED, _REASON = b"m", b"r"


class Kept:
    """What is kept of a submission, from an earlier grading or from this one.

    Attributes:
        used: what this grading has needed; all else is outdated.
    """

    def __init__(self, earlier: Mapping[str, bytes] | None = None):
        self._earlier = earlier or {}
        self.used: dict[str, bytes] = {}

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Returns what is kept under a key, made now if there is nothing."""
        if key not in self.used:
            self.used[key] = self._earlier[key] if key in self._earlier else make()
        return self.used[key]


def measured_to_bytes(found: Measurement | str | None) -> bytes:
    """Writes a measurement, why there is none, or nothing."""
    if found is None:
        return b""
    if isinstance(found, str):
        return _REASON + found.encode(errors="replace")
    return _MEASURED + found.to_bytes()


def measured_from_bytes(data: bytes) -> Measurement | str | None:
    """Reads what `measured_to_bytes` wrote."""
    if not data:
        return None
    if data[:1] == _REASON:
        return data[1:].decode(errors="replace")
    return Measurement.from_bytes(data[1:])


def trial_to_bytes(result: TrialResult) -> bytes:
    """Writes the result of a trial as JSON."""
    video = None if result.video is None else base64.b64encode(result.video).decode()
    return json.dumps(dataclasses.asdict(result) | {"video": video}).encode()


def trial_from_bytes(data: bytes) -> TrialResult:
    """Reads what `trial_to_bytes` wrote."""
    fields = json.loads(data)
    video = None if fields["video"] is None else base64.b64decode(fields["video"])
    return TrialResult(**fields | {"remarks": tuple(fields["remarks"]), "video": video})
