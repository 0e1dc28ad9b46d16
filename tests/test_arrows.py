"""Who may import whom: what students get knows no grader, the grader no assignment."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HELPERS = {
    "atari_util",
    "env_pool",
    "training",
    "learners",
    "checkpoints",
    "checks",
    "setup_notebook",
}
OWN = {*HELPERS, "grading", "assignments", "benchmarks", "tests", "solutions"}
INSIDE = {path.stem for path in ROOT.glob("*/**/inside/*.py")}
# What each folder or module may import of the project's own, beside itself.
ALLOWED = {
    **dict.fromkeys(HELPERS, HELPERS),
    "grading": set(),
    "assignments": {"grading", *HELPERS},
    "benchmarks": {"grading", "assignments", *HELPERS},
}


def modules() -> list[Path]:
    named = [ROOT / f"{name}.py" for name in ALLOWED]
    folders = [path for name in ALLOWED for path in (ROOT / name).rglob("*.py")]
    return sorted(path for path in [*named, *folders] if path.exists())


def imported(path: Path) -> set[str]:
    """Returns the first names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    place = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert imported(path) & OWN <= ALLOWED[place] | {place}


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if path.parent.name == "inside"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_runs_beside_a_student_knows_only_what_runs_there(path):
    assert imported(path) & OWN <= HELPERS


def test_there_is_something_to_look_at():
    assert {"serve", "measurement", "measure", "player"} <= INSIDE
    assert len(modules()) > 50
