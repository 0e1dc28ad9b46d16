"""A wrong entropy is named by its dimensions, alone and together."""

import itertools

import numpy as np
import pytest

from checks import entropy

GENERATOR = np.random.default_rng(2)
LOGITS = GENERATOR.normal(0, 1, (5, 4, 14)).astype(np.float32)
ACTIONS = GENERATOR.integers(0, 14, (5, 4)).astype(np.int32)
POLICY = np.exp(LOGITS.astype(float))
POLICY /= POLICY.sum(axis=-1, keepdims=True)
H = -np.sum(POLICY * np.log(POLICY), axis=-1)
GRADIENT = -POLICY * (np.log(POLICY) + H[..., None])  # of each tick's own H

SIZES = {"wrong sign": -1, "summed over the games": 5, "averaged over the actions too": 1 / 14}
TICKS = {
    "": [1, 1, 1, 1],
    "only the first tick counts": [1, 0, 0, 0],
    "only the last acted tick counts": [0, 0, 1, 0],
}


def name(
    size: float = 1, ticks=(1, 1, 1, 1), moves: float = 1, left_out: float | None = None
) -> tuple[str, str]:
    weights = size * np.array(ticks) / (5 * np.sum(ticks))
    gradient = moves * weights[:, None] * GRADIENT
    value = float(np.sum(weights * H))
    return entropy.problems(LOGITS, ACTIONS, gradient, value, left_out=left_out)


@pytest.mark.parametrize("ticks", [(1, 1, 1, 1), (1, 1, 1, 0)])
def test_right_with_the_last_column_and_without(ticks):
    assert name(ticks=ticks) == ("", "")


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("ticks", TICKS)
def test_every_dimension_is_named_and_no_other(ticks, count):
    for sizes in itertools.combinations(SIZES, count):
        value, gradient = name(np.prod([SIZES[size] for size in sizes]), TICKS[ticks])
        expected = {*sizes, ticks} - {""}
        clauses = value.split("; and ") if value else []
        assert len(clauses) == len(expected)
        assert all(any(clause.startswith(words) for clause in clauses) for words in expected)
        assert gradient == (entropy.LIKE_THE_VALUE if expected else "")


def test_a_gradient_that_is_missing():
    assert name(moves=0) == ("", entropy.NO_GRADIENT)
    assert name(size=-1, moves=0) == (entropy.SIGN, entropy.NO_GRADIENT)


def test_nothing_of_it_in_the_loss():
    value, gradient = name(size=0)
    assert value == "it is always 0"
    assert "must be made of π and log π" in gradient


def test_the_played_action_only_and_summed():
    chosen = np.eye(14)[ACTIONS]
    value = -np.sum(chosen * np.log(POLICY)) / 4
    gradient = -(chosen - POLICY) / 4
    told, _ = entropy.problems(LOGITS, ACTIONS, gradient, value)
    assert told == "it depends on which action was played; and summed over the games"


def test_softmax_over_the_games_with_the_wrong_sign():
    policy = np.exp(LOGITS.astype(float))
    policy /= policy.sum(axis=0)
    value = np.sum(policy * np.log(policy)) / 20
    inner = np.sum(policy * np.log(policy), axis=0)
    told, _ = entropy.problems(LOGITS, ACTIONS, policy * (np.log(policy) - inner) / 20, value)
    assert told == "softmax runs over the games; and wrong sign"


def test_a_number_that_no_idea_gives_is_not_explained_away():
    value, gradient = name(size=2.7)
    assert value == "it is not the mean over games and ticks of H"
    assert gradient == "logits move 2.7 times as far as they should"


@pytest.mark.parametrize(
    ("number", "size", "words"),
    [
        (1, 1, ""),  # left out
        (0.05, 1, ""),  # a number in its place is another part's mistake
        (0.01, 20, "summed over games and ticks"),  # rather than 0.2
        (1, -1, "wrong sign: "),
        (0.1, -1, "wrong sign: "),
        (1, 20, "summed over games and ticks"),
        (0.1, 20, "summed over games and ticks"),
        (1, 5, "summed over the games"),
        (1, 1 / 14, "averaged over the actions too"),
        (0.01, -1 / 14, "wrong sign; and averaged over the actions too"),
        (1, 2.7, ""),  # whatever it is, no size of an entropy without its weight is sure
    ],
)
def test_an_entropy_whose_weight_is_left_out_is_judged_whatever_number_is_there(
    number, size, words
):
    value, _ = name(size=size * number / 0.01, left_out=1 / 0.01)
    assert value.startswith(words)
    assert bool(value) == bool(words)
