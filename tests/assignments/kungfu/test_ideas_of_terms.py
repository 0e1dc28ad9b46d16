"""The numbers that students have are those of the formulas, and the formulas are the solution's."""

import numpy as np
import pytest

from assignments.kungfu.ideas_of_terms import tables_of
from checks import terms
from checks.loss_cases import INPUTS, LOSSES, TABLES

MEASURED = {
    # Written in decimal, as a person reads them: 0.1, not the nearest float32.
    f"inputs/{case}/{field}": np.round(np.asarray(value, float), 6)
    for case, fields in INPUTS.items()
    for field, value in fields.items()
}
FIELDS = ("errors", "errors_with_ends", "advantages", "advantages_with_ends")


@pytest.mark.parametrize("field", FIELDS)
def test_the_numbers_are_those_of_the_formulas(field):
    numbers, formulas = getattr(TABLES, field), getattr(tables_of(MEASURED), field)
    assert list(numbers) == list(formulas)
    for idea, table in numbers.items():
        assert table == pytest.approx(formulas[idea], rel=1e-5, abs=1e-6), idea


def test_right_numbers_by_hand():
    # Game 0 earns 0.2, 0, 0.3; its values are 0.2, 0.4, 0.2, 0.4; each future counts half.
    assert TABLES.errors["target"][0] == pytest.approx(
        [0.2 + 0.2 - 0.2, 0 + 0.1 - 0.4, 0.3 + 0.2 - 0.2]
    )
    last = 0.3 + 0.5 * 0.4
    middle = 0 + 0.5 * last
    first = 0.2 + 0.5 * middle
    returns = pytest.approx([first - 0.2, middle - 0.4, last - 0.2])
    assert TABLES.errors["return"][0] == returns
    assert TABLES.advantages["advantage"][0] == returns
    # With ends it is over in its first column, and in the last.
    assert TABLES.errors_with_ends["target", "right"][0] == pytest.approx([-0.2, -0.3, 0.3])
    assert TABLES.advantages_with_ends["advantage", "right"][0] == pytest.approx(
        [-0.2, 0.15 - 0.4, 0.3 - 0.2]
    )


def test_the_loss_that_comes_back_by_hand():
    log = np.log(14)
    advantages = np.mean(TABLES.advantages["advantage"])
    for target, loss in zip(terms.RIGHT_ERRORS, LOSSES, strict=True):
        squares = np.mean(TABLES.errors[target] ** 2)
        assert loss == pytest.approx(log * advantages + squares - 0.01 * log, abs=1e-6)


@pytest.mark.parametrize("field", ["errors", "advantages"])
def test_every_wrong_idea_has_words(field):
    words = {"errors": terms.ERROR_WORDS, "advantages": terms.ADVANTAGE_WORDS}[field]
    right = {"errors": {*terms.RIGHT_ERRORS}, "advantages": {"advantage"}}[field]
    assert {*getattr(TABLES, field)} - right <= {*words}
