"""The visible check of the agent, run as a student runs it."""

import functools
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from checks import agent
from checks.measuring import AgentArrays
from tests.checks.variants import failed_lines, run_variants
from tests.frameworks import each_variant
from tests.notebooks import ROOT, solution_cells


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return functools.cache(
        lambda framework: run_variants(tmp_path_factory.mktemp(framework), framework, "agent")
    )


@each_variant(right=True, exercise="agent")
def test_a_right_agent_passes_however_it_is_written(outcomes, framework, variant):
    assert outcomes(framework)[variant] == (None, None)


@each_variant(right=False, exercise="agent")
def test_a_misconception_fails_with_a_line_that_names_it(outcomes, framework, variant):
    lines = failed_lines(outcomes(framework)[variant])
    assert any(variant.idea.message in line for line in lines), "\n".join(lines)


PRECISION = """
import keras
for policy in ("mixed_float16", "float64", "float32"):
    keras.config.set_dtype_policy(policy)
    try:
        checks.check_agent(globals())
    except checks.CheckFailed as failed:
        print(policy, "fails:", failed)
    else:
        print(policy, "passes")
"""


@pytest.mark.tensorflow
def test_another_precision_is_named_before_it_ends_the_next_cell(tmp_path):
    cells = solution_cells("imports", "make-env", "agent-exercise")
    sources = ["import checks\nchecks.prepare_notebook('tensorflow')", *(c.source for c in cells)]
    script = tmp_path / "notebook.py"
    script.write_text("\n".join([*sources, PRECISION]), encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, script],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        encoding="utf-8",
    )
    assert finished.returncode == 0, finished.stderr
    for policy, kind in (("mixed_float16", "float16"), ("float64", "float64")):
        named = rf"h, c, logits and 1 more are {kind}, but .*set_dtype_policy\(\"float32\"\)"
        line = rf"  ✗ the agent computes in float32: {named}"
        failed = rf"{policy} fails: .*: 1 of \d+ lines failed\n{line}"
        assert re.search(failed, finished.stdout), finished.stdout
    assert "float32 passes\n" in finished.stdout


def test_a_value_next_to_nothing_is_equal_up_to_rounding(monkeypatch):
    monkeypatch.setattr(agent, "_outputs_that_are_right", lambda measured: ["value"])
    measured = AgentArrays()
    measured["inputs/observations"] = np.zeros((2, 1))
    measured["base/value"] = np.float32([0.5, 1e-6])
    measured["backwards/value"] = np.float32([1e-6, 0.5])
    measured["alone/0/value"] = np.float32([0.5])
    measured["alone/1/value"] = np.float32([1.01e-6])
    assert agent._games_apart_problem(measured) == ""
    measured["alone/1/value"] = np.float32([0.02])
    assert "the other games in the batch" in agent._games_apart_problem(measured)
