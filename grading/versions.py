"""Fingerprints of what a verdict depends on, so that nothing is measured twice in vain.

A kept measurement is good as long as whatever measures is unchanged; a kept report, as long as the
whole project is.
"""

import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

from grading.assignment import ROOT, Assignment

HERE = Path(__file__).parent
# Whatever takes part in measuring, beside the assignment's own modules.
MEASURES = [HERE / "inside", HERE / "worker.py", HERE / "sandbox.py", HERE / "run_all.py"]
JUDGES = [ROOT / "grading", ROOT / "assignments", ROOT / "checks"]
LIBRARIES = ("numpy", "safetensors", "ipython")


def digest_of(*parts: bytes | str) -> str:
    """Returns a digest of some texts, in this order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


@functools.cache
def measuring_version(assignment: Assignment) -> str:
    """Returns a digest of all that measures an answer: modules, libraries, Python."""
    settings = repr(
        (assignment.measure, assignment.prepare, sorted(assignment.environment.items()))
    )
    files = _digest_of_files([*MEASURES, *assignment.inside])
    return digest_of(settings, files, *_libraries(assignment.requires))


@functools.cache
def grading_version(assignment: Assignment) -> str:
    """Returns a digest of all that a verdict depends on, the solution included."""
    files = _digest_of_files([*JUDGES, assignment.solution])
    return digest_of(measuring_version(assignment), files)


def _libraries(required: Iterable[str]) -> list[str]:
    versions = [f"{name} {_version(name)}" for name in sorted({*LIBRARIES, *required})]
    return [sys.version, *versions]


def _version(module: str) -> str:
    """Returns the version of a library; only for odd names must all that is installed be read."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        packages = importlib.metadata.packages_distributions().get(module, [])
        return " ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(packages))


def _digest_of_files(places: Iterable[Path]) -> str:
    """Returns a digest of files, and of all modules, texts and pictures in folders."""
    parts = []
    for place in places:
        paths = [place] if place.is_file() else place.rglob("*")
        for path in sorted(p for p in paths if p.is_file() and "__pycache__" not in p.parts):
            parts += [str(path.relative_to(place.parent)), path.read_bytes()]
    return digest_of(*parts)
