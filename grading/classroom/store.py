"""What has been graded, on disk: a file for each submission and version of the grader.

Each file is written completely or not at all, the moment its result exists. So a run that was
interrupted resumes, one that repeats another does nothing, and a grader that has changed measures
only what it measures in another way.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from grading.files import write_whole
from grading.results import Report, report_from_json, report_to_json


@dataclass(frozen=True, kw_only=True)
class Graded:
    """The result of one submission.

    Attributes:
        report: what it earned.
        answers: the source of each exercise's answer, by exercise.
        graded_at: when, with a time zone.
        kept: what was measured; see `grading.kept`.
    """

    report: Report
    answers: Mapping[str, str]
    graded_at: datetime
    kept: Mapping[str, bytes]

    def to_bytes(self) -> bytes:
        """Writes everything as compressed JSON."""
        kept = {key: base64.b64encode(data).decode() for key, data in self.kept.items()}
        fields = {
            "report": report_to_json(self.report),
            "answers": dict(self.answers),
            "graded_at": self.graded_at.isoformat(),
            "kept": kept,
        }
        return zlib.compress(json.dumps(fields).encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Graded":
        """Reads what `to_bytes` wrote."""
        fields = json.loads(zlib.decompress(data))
        return cls(
            report=report_from_json(fields["report"]),
            answers=fields["answers"],
            graded_at=datetime.fromisoformat(fields["graded_at"]),
            kept={key: base64.b64decode(data) for key, data in fields["kept"].items()},
        )


class Store:
    """The results in one folder, which is made when it is first needed."""

    def __init__(self, folder: Path):
        self._folder = folder

    def get(self, submission: str, version: str) -> Graded | None:
        """Returns the result of a submission by this version of the grader."""
        return self._read(self._path(submission, version))

    def kept(self, submission: str) -> dict[str, bytes]:
        """Returns what any version of the grader has measured of a submission."""
        found: dict[str, bytes] = {}
        for path in sorted(self._folder.glob(f"{submission}-*")):
            if graded := self._read(path):
                found |= graded.kept
        return found

    def put(self, submission: str, version: str, graded: Graded) -> None:
        """Writes a result.

        Raises:
            OSError: it cannot be written, because the disk is full, for example.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(submission, version), graded.to_bytes())

    def forget_others(self, current: Iterable[tuple[str, str]]) -> None:
        """Removes the results of earlier versions of the grader, and of nobody else's."""
        current = set(current)
        for submission in {submission for submission, _ in current}:
            for path in self._folder.glob(f"{submission}-*"):
                if (submission, path.stem.removeprefix(f"{submission}-")) not in current:
                    path.unlink()

    def _path(self, submission: str, version: str) -> Path:
        return self._folder / f"{submission}-{version}.result"

    def _read(self, path: Path) -> Graded | None:
        try:
            return Graded.from_bytes(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, zlib.error):  # damaged: graded again
            return None
