"""Right answers earn full points; each mutant loses its own points and gets its own hint."""

import functools

import pytest

from assignments.kungfu.variants import IDEAS, make_variants
from grading.grade import Grader
from tests.frameworks import TRACKS, each_framework, each_variant


@pytest.fixture(scope="module")
def results():
    """Returns what each variant of a framework earns, measured in one worker on new inputs."""

    @functools.cache
    def run(framework: str) -> dict:
        track = TRACKS[framework]
        with Grader() as grader:
            print("grading seed:", grader.seed)
            return {variant: grader.try_variant(track, variant) for variant in track.variants}

    return run


@each_variant(right=True)
def test_a_right_answer_earns_all_points(results, framework, variant):
    checks = results(framework)[variant].checks
    assert {check.name: check.message for check in checks if not check.passed} == {}


@each_variant(right=False)
def test_a_mutant_loses_exactly_its_points(results, framework, variant):
    checks = results(framework)[variant].checks
    assert {check.name for check in checks if not check.passed} == variant.loses


@each_variant(right=False)
def test_a_mutant_gets_its_own_hint(results, framework, variant):
    checks = results(framework)[variant].checks
    hints = {check.name: check.hint for check in checks if not check.passed}
    assert hints == dict.fromkeys(hints, variant.hint)


def test_every_idea_is_seen_in_a_framework():
    used = {(v.exercise, v.name) for track in TRACKS.values() for v in track.variants if v.idea}
    assert used == {(exercise, name) for exercise, ideas in IDEAS.items() for name in ideas}


def test_a_misspelt_idea_is_named():
    wrong = {"loss": {"value forgoten": (("V_t", "0"),)}}
    with pytest.raises(ValueError, match=r"IDEAS\['loss'\] lacks 'value forgoten'"):
        make_variants({}, wrong)


@each_framework
def test_there_are_enough_mutants(framework):
    mutants = [variant for variant in TRACKS[framework].variants if variant.idea]
    assert len(mutants) >= 25
    assert all(variant.hint and variant.loses for variant in mutants)
