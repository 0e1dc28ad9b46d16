"""The simplest combination of ideas that gives the measured numbers is named."""

import numpy as np

from checks.naming import decompose, explain, join

FACTORS = ((-1, "sign: mind it"), (5, "summed: take the mean"), (1 / 2, "half: no 1/2"))
TABLES = {
    "right": np.array([[1.0, 2, 3], [4, -5, 6]]),
    "other": np.array([[2.0, 1, 0], [-1, 3, 4]]),
}
WORDS = {"other": "another target"}


def told(measured: np.ndarray) -> str:
    found = explain(measured, TABLES, WORDS, FACTORS)
    return "" if found is None else join(found.words)


def test_right_numbers_need_no_words():
    found = explain(TABLES["right"], TABLES, WORDS, FACTORS)
    assert (found.idea, found.words) == ("right", ())


def test_ideas_ticks_and_factors_are_combined():
    assert told(5 * TABLES["right"]) == "summed: take the mean"
    assert told(-2.5 * TABLES["right"]) == "sign; and summed; and half"
    assert told(-TABLES["other"]) == "another target; and sign"
    assert told(TABLES["right"] * [1, 1, 0]).startswith("the last acted tick is left out: ")


def test_a_bare_factor_is_the_last_resort():
    assert told(-7 * TABLES["right"]) == "sign; and it is 7 times too large"
    assert told(TABLES["right"] / 7) == "it is 7 times too small"


def test_numbers_of_no_idea():
    assert told(np.array([[1.0, 1, 1], [1, 1, 1]])) == ""
    assert told(np.full((2, 3), np.nan)) == ""
    assert told(np.zeros((2, 3))) == ""


def test_the_fewest_factors():
    assert decompose(1.0, FACTORS) == ()
    assert decompose(-5.0, FACTORS) == ("sign: mind it", "summed: take the mean")
    assert decompose(3.0, FACTORS) is None
