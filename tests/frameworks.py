"""For tests that run once for each framework, on its track."""

import pytest

from assignments.kungfu.tracks import PYTORCH, TENSORFLOW
from assignments.kungfu.variants import Variant

TRACKS = {"tensorflow": TENSORFLOW, "pytorch": PYTORCH}

FRAMEWORKS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in TRACKS]
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def each_variant(*, right: bool, exercise: str = ""):
    """Runs a test for each right variant of each framework, or for each mutant.

    Args:
        right: whether the variants are right.
        exercise: whose variants; by default those of all exercises.
    """
    return pytest.mark.parametrize(
        ("framework", "variant"),
        [
            pytest.param(
                name,
                variant,
                marks=getattr(pytest.mark, name),
                id=f"{name}-{variant.exercise}: {variant.name}",
            )
            for name, track in TRACKS.items()
            for variant in track.variants
            if (variant.idea is None) == right and exercise in ("", variant.exercise)
        ],
    )


def find_variant(framework: str, exercise: str, name: str) -> Variant:
    """Returns a track's variant of this name."""
    variants = TRACKS[framework].variants
    return next(v for v in variants if (v.exercise, v.name) == (exercise, name))
