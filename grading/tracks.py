"""The project's assignments, as `[tool.grading]` in its `pyproject.toml` lists them."""

import functools
import importlib
import re
import sys
from pathlib import Path

from grading.grade import Track
from grading.notebook import UnreadableError, read_code_cells
from grading.project import load_project
from grading.submission import read_assignment, read_submission

ROOT = Path(__file__).parent.parent

_IMPORT = re.compile(r"^(?:import|from) .*", re.MULTILINE)


@functools.cache
def all_tracks() -> tuple[Track, ...]:
    """Returns the tracks that `pyproject.toml` lists as `MODULE:NAME`."""
    if sys.path[0] != str(ROOT):  # first, or an installed package of the same name would win
        sys.path.insert(0, str(ROOT))
    entries = [entry.partition(":") for entry in load_project(ROOT).tracks]
    return tuple(getattr(importlib.import_module(module), name) for module, _, name in entries)


@functools.cache
def _assignment(track: Track):
    return read_assignment(track.solution)


@functools.cache
def _imported_words(track: Track) -> frozenset[str]:
    """Returns the words of the statements by which a solution imports something."""
    code = "\n".join(cell.source for cell in read_code_cells(track.solution))
    return frozenset(re.findall(r"\w+", " ".join(_IMPORT.findall(code))))


def find_track(path: Path) -> Track | None:
    """Returns the track that a notebook answers, the first one if it cannot be read at all.

    Tracks ask for much the same names, so what decides is whose framework a notebook speaks of
    most: the words that one solution imports and the others do not.
    """
    try:
        words = re.findall(r"\w+", "\n".join(cell.source for cell in read_code_cells(path)))
    except UnreadableError:
        return all_tracks()[0]

    def likeness(track: Track) -> int:
        others = (_imported_words(other) for other in all_tracks() if other is not track)
        own = _imported_words(track).difference(*others)
        return sum(word in own for word in words)

    for track in sorted(all_tracks(), key=likeness, reverse=True):
        submission = read_submission(path, _assignment(track))
        if {answer.state for answer in submission.answers.values()} - {"missing"}:
            return track
    return None


def own_folders() -> set[Path]:
    """Returns the project's folders that notebooks of its own lie in."""
    return {ROOT, ROOT / "notebooks", *(track.solution.parent for track in all_tracks())}
