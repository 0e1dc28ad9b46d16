"""Right answers earn full points; each mutant loses its own points and gets its own hint."""

import contextlib
import functools
import itertools
import random
from dataclasses import replace

import pytest

from assignments.kungfu.variants import IDEAS, Variant, make_variants
from grading.gaps import OPEN, find_gaps, target_of
from grading.grade import Grader
from grading.results import ExerciseResult
from tests.checks.variants import check_variant
from tests.frameworks import TRACKS, each_framework, each_variant, find_variant


@pytest.fixture(scope="module")
def result_of():
    """Returns what a variant of a framework earns, measured in one worker on new inputs."""
    with contextlib.ExitStack() as graders:

        @functools.cache
        def grader(framework: str) -> Grader:
            grader = graders.enter_context(Grader())
            print("grading seed:", grader.seed)
            return grader

        @functools.cache
        def result_of(framework: str, variant: Variant) -> ExerciseResult:
            return grader(framework).try_variant(TRACKS[framework], variant)

        yield result_of


@each_variant(right=True)
def test_a_right_answer_earns_all_points(result_of, framework, variant):
    result = result_of(framework, variant)
    assert {check.name: check.message for check in result.checks if not check.passed} == {}
    assert not any("no known idea" in remark for remark in result.remarks)


@each_variant(right=False)
def test_a_mutant_loses_exactly_its_points_and_gets_its_own_hint(result_of, framework, variant):
    checks = result_of(framework, variant).checks
    hints = {check.name: check.hint for check in checks if not check.passed}
    assert hints == dict.fromkeys(variant.loses, variant.hint)


@each_framework
def test_the_solution_is_rebuilt_and_needs_no_remark(result_of, framework):
    solution = find_variant(framework, "agent", "the solution")
    assert result_of(framework, solution).remarks == ()


COSTS = {  # the parts that depend on a gap of the loss, by what it assigns to
    "memory, (logits_t, values_t)": {"memory_passed", "memory_gradient"},
    "value_loss": {"value_loss", "semi_gradient", "value_ends"},
    "advantage": {"advantage"},
    "J_hat": {"policy_gradient"},
    "entropy_reg": {"entropy_value", "entropy_gradient"},
    "": {"step"},
}


@each_framework
def test_an_open_gap_costs_its_own_parts_on_both_sides(framework):
    source = TRACKS[framework].solution_of("loss")
    with Grader() as grader:
        for gap in find_gaps(source):
            target = target_of(source, gap)
            variant = Variant(f"open: {target}", "loss", ((source[gap.start : gap.end], OPEN),))
            checks = grader.try_variant(TRACKS[framework], variant).checks
            lost = {check.name: check.message for check in checks if not check.passed}
            told = check_variant(framework, variant)
            assert lost.keys() == COSTS[target]
            assert {part for part, problem in told.parts().items() if problem} == lost.keys()
            assert sum("a gap is open" in message for message in lost.values()) == 1
            assert sum("a gap is open" in line for line in told.failures) == 1


RAISE = 'raise NotImplementedError("later")'
LENGTH = "    rollout_length = rewards.shape[1] - 1\n"
GUARD = f"{LENGTH}    if len(states) != 16:\n        raise ValueError('16 games')\n"


@pytest.mark.pytorch
@pytest.mark.parametrize(
    ("edits", "lost"),
    [
        ((("J_hat += torch.mean(logpi_a_s_t * advantage)", RAISE),), {"policy_gradient"}),
        ((("advantage = cumulative_returns - V_t", RAISE),), {"advantage"}),
        (((LENGTH, GUARD),), set()),
        # Another name for the policy's term is no sign that it is missing.
        (
            (
                (LENGTH, GUARD),
                ("J_hat = 0.0", "policy_term = 0.0"),
                ("J_hat += ", "policy_term += "),
                ("J_hat /= ", "policy_term /= "),
                ("-J_hat", "-policy_term"),
            ),
            set(),
        ),
    ],
)
def test_a_raise_costs_what_the_gap_costs_in_whose_place_it_stands(edits, lost):
    parts = check_variant("pytorch", Variant("raises", "loss", edits)).parts()
    assert {part for part, problem in parts.items() if problem} == lost


TERMS = {
    "entropy": {"entropy_value", "entropy_gradient"},
    "value": {"value_loss", "semi_gradient", "value_ends"},
    "policy": {"advantage", "policy_gradient", "constant_advantage", "policy_ends"},
    "memory": {"memory_passed", "memory_gradient", "memory_reset"},
}
N_PAIRS = 30


def pairs_of_mutants(framework: str) -> list[Variant]:
    """Returns pairs of mutants, each of one term, and of two terms: every mutant, some partners."""
    mutants = {
        term: [v for v in TRACKS[framework].variants if v.loses and v.loses <= parts]
        for term, parts in TERMS.items()
    }
    pairs = [
        Variant(
            f"{a.name} + {b.name}", "loss", a.edits + b.edits, loses=a.loses | b.loses, hint="both"
        )
        for one, other in itertools.combinations(mutants, 2)
        for a, b in itertools.product(mutants[one], mutants[other])
    ]
    random.Random(0).shuffle(pairs)
    return pairs[:N_PAIRS]


@pytest.mark.long
@each_framework
def test_mistakes_in_two_terms_both_keep_their_names(framework):
    track, unnamed = TRACKS[framework], []
    with Grader(seed=5) as grader:
        for pair in pairs_of_mutants(framework):
            alone = [find_variant(framework, "loss", name) for name in pair.name.split(" + ")]
            checks = grader.try_variant(track, pair).checks
            hints = {check.name: check.hint for check in checks if not check.passed}
            expected = {part: mutant.hint for mutant in alone for part in mutant.loses}
            lines = check_variant(framework, pair).failures
            is_told = all(any(m.idea.message in line for line in lines) for m in alone)
            if hints != expected or not is_told:
                unnamed.append(pair.name)
    assert unnamed == []


@pytest.mark.pytorch
def test_two_mistakes_in_one_part_get_both_hints():
    track = TRACKS["pytorch"]
    alone = [
        find_variant("pytorch", "loss", name)
        for name in ("policy summed over the games", "policy loss minimised the wrong way round")
    ]
    edits = tuple(edit for mutant in alone for edit in mutant.edits)
    with Grader(seed=5) as grader:
        result = grader.try_variant(track, Variant("both", "loss", edits))
    (check,) = (check for check in result.checks if not check.passed)
    assert check.name == "policy_gradient"
    assert check.message == "good actions are made rarer; and summed over the games"
    assert all(mutant.hint in check.hint for mutant in alone)


@each_framework
def test_a_forgotten_step_costs_the_step_and_hides_no_other_mistake(framework):
    track = TRACKS[framework]
    step, entropy = (
        find_variant(framework, "loss", name)
        for name in ("no step taken", "entropy with the wrong sign")
    )
    both = replace(step, edits=step.edits + entropy.edits)
    with Grader() as grader:
        checks = grader.try_variant(track, both).checks
    hints = {check.name: check.hint for check in checks if not check.passed}
    assert hints == {
        "step": step.hint,
        "entropy_value": entropy.hint,
        "entropy_gradient": entropy.hint,
    }


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
