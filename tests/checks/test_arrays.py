"""Hostile arrays are neither equal nor proportional to anything."""

import numpy as np
import pytest

from checks.arrays import factor, is_close

RIGHT = np.float32([0.1, -0.2, 0.3])


def test_what_is_proportional_has_its_factor():
    assert factor(-2 * RIGHT, RIGHT) == pytest.approx(-2)
    assert factor(RIGHT, RIGHT[:2], 3 * RIGHT) == pytest.approx(1 / 3)
    assert factor(RIGHT[::-1], RIGHT) is None
    assert factor(0 * RIGHT, RIGHT) is None


def test_tolerance_is_relative_to_the_largest_entry():
    assert is_close(RIGHT + 2.9e-4, RIGHT, tolerance=1e-3)
    assert not is_close(RIGHT + 3.1e-4, RIGHT, tolerance=1e-3)
    assert factor(2 * RIGHT + 3e-4, RIGHT, tolerance=1e-3) is not None
    assert factor(2 * RIGHT + 3e-4, RIGHT, tolerance=1e-5) is None


def test_least_makes_rounding_of_nothing_nothing():
    nothing = np.zeros(3)
    assert is_close(nothing + 1e-10, nothing, least=1e-6)
    assert not is_close(nothing + 1e-8, nothing, least=1e-6)
    assert not is_close(nothing + 1e-10, nothing)


def test_another_shape_is_not_close():
    assert not is_close(RIGHT[:, None], RIGHT)
    assert factor(RIGHT[:, None], RIGHT) is None


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
def test_no_number_is_large_enough_to_be_right(value):
    wrong = np.float32([value, -value, value])
    assert not is_close(wrong, RIGHT)
    assert not is_close(RIGHT, np.float32([value, 0, 0]))
    assert factor(wrong, RIGHT) is None
