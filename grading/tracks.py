"""The project's assignments, as `[tool.grading]` in its `pyproject.toml` lists them."""

import functools
import importlib
import sys
import tomllib
from pathlib import Path

from grading.grade import Track
from grading.submission import read_assignment, read_submission

ROOT = Path(__file__).parent.parent


@functools.cache
def all_tracks() -> tuple[Track, ...]:
    """Returns the tracks that `pyproject.toml` lists as `MODULE:NAME`."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["grading"]
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    entries = [entry.partition(":") for entry in table["tracks"]]
    return tuple(getattr(importlib.import_module(module), name) for module, _, name in entries)


@functools.cache
def _assignment(track: Track):
    return read_assignment(track.solution)


def find_track(path: Path) -> Track | None:
    """Returns the track that a notebook answers, the first one if it cannot be read at all."""
    for track in all_tracks():
        submission = read_submission(path, _assignment(track))
        answered = {answer.state for answer in submission.answers.values()} - {"missing"}
        if submission.problem or answered:
            return track
    return None


def own_folders() -> set[Path]:
    """Returns the project's folders that notebooks of its own lie in."""
    return {ROOT, ROOT / "notebooks", *(track.solution.parent for track in all_tracks())}
