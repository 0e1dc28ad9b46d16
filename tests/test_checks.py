"""The visible checks, in a notebook run by `pytest --nbval` as a student runs it."""

import copy
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest

from tests.variants import RIGHT, WRONG, Variant

ROOT = Path(__file__).parent.parent
SOLUTION = ROOT / "solutions" / "kungfu_a2c_tensorflow.ipynb"
HELPERS = ("atari_util.py", "env_pool.py", "checks.py", "conftest.py", "requirements.txt")
VARIANTS = RIGHT + WRONG
GIVEN = ("setup", "imports", "make-env", "select")


def variant_id(variant: Variant) -> str:
    return f"{variant.exercise}: {variant.name}"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What nbval says of each variant's check cell: None if it passed, else the message.

    All variants stand below each other in one notebook, so that TensorFlow is imported once.
    """
    folder = tmp_path_factory.mktemp("variants")
    solution = {cell.id: cell for cell in nbformat.read(SOLUTION, as_version=4).cells}
    cells = [copy.deepcopy(solution[name]) for name in GIVEN]
    for variant in VARIANTS:
        exercise = copy.deepcopy(solution[f"{variant.exercise}-exercise"])
        exercise.source = variant.apply(exercise.source)
        cells += [exercise, copy.deepcopy(solution[f"{variant.exercise}-check"])]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "variants.ipynb")
    for name in HELPERS:
        (folder / name).write_bytes((ROOT / name).read_bytes())

    command = [sys.executable, "-m", "pytest", "--nbval", "variants.ipynb", "--junitxml=out.xml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider"], cwd=folder, env=environment, timeout=600
    )
    failures = []
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        failure = case.find("failure")
        failures.append(None if failure is None else failure.text)
    assert failures[: len(GIVEN)] == [None] * len(GIVEN)
    # A variant whose own cell fails, an agent that cannot be made for example, is caught there.
    checked = failures[len(GIVEN) :]
    return dict(zip(VARIANTS, zip(checked[::2], checked[1::2], strict=True), strict=True))


@pytest.mark.parametrize("variant", RIGHT, ids=variant_id)
def test_a_right_solution_passes_however_it_is_written(outcomes, variant):
    assert outcomes[variant] == (None, None)


@pytest.mark.parametrize("variant", WRONG, ids=variant_id)
def test_a_misconception_fails_with_a_line_that_names_it(outcomes, variant):
    _, message = outcomes[variant]
    assert message is not None
    lines = re.findall(r"✗ .*", message)
    assert any(variant.message in line for line in lines), lines
