"""What the visible checks say of each variant of an exercise, as a student's notebook shows it."""

import importlib
import re
from types import SimpleNamespace

from assignments.kungfu.variants import Variant
from checks.loss import add_lines
from checks.sheet import Sheet
from grading.inside.cells import run_cells
from tests.frameworks import TRACKS
from tests.notebooks import run_nbval, solution_cells, write_notebook

GIVEN = ("setup", "imports", "make-env", "select", "agent-exercise", "agent-look")

# What nbval says of a variant's cell and of the check below it: None where it passed.
Outcome = tuple[str | None, str | None]


def run_variants(folder, framework: str, exercise: str) -> dict[Variant, Outcome]:
    """Runs all variants below each other in one notebook: a framework is imported once."""
    variants = [v for v in TRACKS[framework].variants if v.exercise == exercise]
    cells = solution_cells(*GIVEN, framework=framework)
    for variant in variants:
        names = (f"{exercise}-{kind}" for kind in ("exercise", "check"))
        answer, check = solution_cells(*names, framework=framework)
        answer.source = variant.apply(answer.source)
        cells += [answer, check]
    write_notebook(folder / "variants.ipynb", cells)
    failures = run_nbval(folder, "variants.ipynb")[1]["variants.ipynb"]
    assert failures[: len(GIVEN)] == [None] * len(GIVEN)
    # A variant whose own cell fails, an agent that cannot be made for example, is caught there.
    checked = failures[len(GIVEN) :]
    return dict(zip(variants, zip(checked[::2], checked[1::2], strict=True), strict=True))


def failed_lines(outcome: Outcome) -> list[str]:
    """Returns the lines that a check marked as failed."""
    assert outcome[1] is not None
    return re.findall(r"✗ .*", outcome[1])


def check_variant(framework: str, variant: Variant) -> Sheet:
    """Runs the check of the loss on a variant in this process, which is faster than a notebook."""
    track, adapter = TRACKS[framework], importlib.import_module(f"checks.{framework}")
    source = variant.apply(track.solution_of("loss"))
    space = SimpleNamespace(n=14)
    namespace = run_cells(
        "loss",
        [*track.template.support([source]), source],
        n_actions=space.n,
        env=SimpleNamespace(action_space=space),
    )
    sheet = Sheet(variant.name, "loss")
    add_lines(adapter, namespace, sheet)
    return sheet
