"""The visible check of the loss, run as a student runs it."""

import functools

import pytest

from tests.checks.variants import failed_lines, run_variants
from tests.frameworks import each_variant


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return functools.cache(
        lambda framework: run_variants(tmp_path_factory.mktemp(framework), framework, "loss")
    )


@each_variant(right=True, exercise="loss")
def test_a_right_loss_passes_however_it_is_written(outcomes, framework, variant):
    assert outcomes(framework)[variant] == (None, None)


@each_variant(right=False, exercise="loss")
def test_a_misconception_fails_with_a_line_that_names_it(outcomes, framework, variant):
    lines = failed_lines(outcomes(framework)[variant])
    assert any(variant.idea.message in line for line in lines), "\n".join(lines)
