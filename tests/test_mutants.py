"""What is right earns full points; each mutant loses its own, and is named."""

import pytest

from grading.grade import EVERYTHING, Grader
from tests.hidden.tensorflow_track import TRACK
from tests.hidden.variants import RIGHT, WRONG, Variant


def variant_id(variant: Variant) -> str:
    return f"{variant.exercise}: {variant.name}"


@pytest.fixture(scope="module")
def results():
    """What each variant earns, with inputs drawn afresh, in one reference kernel."""
    with Grader(TRACK) as grader:
        print("grading seed:", grader.seed)
        return {variant: grader.try_variant(variant) for variant in RIGHT + WRONG}


@pytest.mark.parametrize("variant", RIGHT, ids=variant_id)
def test_a_right_answer_earns_all_points(results, variant):
    failed = {check.name: check.message for check in results[variant].checks if not check.passed}
    assert failed == {}


@pytest.mark.parametrize("variant", WRONG, ids=variant_id)
def test_a_mutant_loses_exactly_its_points(results, variant):
    checks = results[variant].checks
    expected = {check.name for check in checks} if variant.loses == EVERYTHING else {*variant.loses}
    assert {check.name for check in checks if not check.passed} == expected


@pytest.mark.parametrize("variant", WRONG, ids=variant_id)
def test_a_mutant_gets_its_own_hint(results, variant):
    hints = {check.name: check.hint for check in results[variant].checks if not check.passed}
    assert hints == dict.fromkeys(hints, variant.hint)


def test_there_are_mutants_enough():
    assert len(WRONG) >= 25
    assert all(variant.hint and variant.loses for variant in WRONG)
