"""Hostile arrays are neither equal nor proportional to anything."""

import numpy as np
import pytest

from grading.judge import factor, is_close

RIGHT = np.float32([0.1, -0.2, 0.3])


def test_proportional_arrays_have_a_factor():
    assert factor(-2 * RIGHT, RIGHT) == pytest.approx(-2)
    assert factor(RIGHT[::-1], RIGHT) is None


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
def test_extreme_numbers_are_never_right(value):
    wrong = np.float32([value, -value, value])
    assert not is_close(wrong, RIGHT)
    assert not is_close(RIGHT, np.float32([value, 0, 0]))
    assert factor(wrong, RIGHT) is None
