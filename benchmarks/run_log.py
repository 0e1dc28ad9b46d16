"""Keeps long runs in a JSON-lines file, one finished run a line, so that none is run twice.

The file is replaced as a whole whenever a run ends: whatever happens meanwhile, it holds complete
lines only.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Run = dict[str, Any]


class RunLog:
    """The finished runs in a file.

    Args:
        path: The file; it need not exist yet.
        identity: Names of the entries that make one run differ from another.

    Attributes:
        runs: What the file holds, in order of finishing.

    Raises:
        ValueError: If a line of the file is no run.
    """

    def __init__(self, path: Path, identity: Sequence[str]):
        self._path = path
        self._identity = identity
        self.runs = self._read_all()

    def __contains__(self, run: Mapping[str, Any]) -> bool:
        return self._key(run) in map(self._key, self.runs)

    def append(self, run: Run) -> None:
        """Writes a finished run down, behind those that others have written meanwhile."""
        runs = [*self._read_all(), run]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(run) + "\n" for run in runs)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        self.runs = runs

    def _read_all(self) -> list[Run]:
        path = self._path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [self._read(line, number) for number, line in enumerate(lines, 1)]

    def _read(self, line: str, number: int) -> Run:
        try:
            run = json.loads(line)
            self._key(run)
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{self._path}, line {number}, is no finished run of this benchmark: "
                f"it must be a JSON object with {', '.join(self._identity)}, got {line[:60]!r}"
            ) from None
        return run

    def _key(self, run: Mapping[str, Any]) -> str:
        return json.dumps([run[name] for name in self._identity], sort_keys=True)
