"""Hostile arrays are equal to nothing."""

import numpy as np
import pytest

from grading.judge import is_close

RIGHT = np.float32([0.1, -0.2, 0.3])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
def test_extreme_numbers_are_never_right(value):
    wrong = np.float32([value, -value, value])
    assert not is_close(wrong, RIGHT)
    assert not is_close(RIGHT, np.float32([value, 0, 0]))
