"""The visible check of the agent, run as a student runs it."""

import functools

import numpy as np
import pytest

from checks import agent
from checks.measuring import AgentArrays
from tests.checks.variants import failed_lines, run_variants
from tests.frameworks import each_variant


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
