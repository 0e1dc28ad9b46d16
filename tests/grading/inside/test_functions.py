"""Answers that are functions are called on every case; a failure affects only its case."""

import numpy as np
import pytest

from grading.inside.measurement import Measurement
from grading.sandbox import Sandbox
from grading.worker import Limits, Worker


@pytest.fixture(scope="module")
def measure():
    with Worker(Sandbox(), Limits(call_seconds=20)) as worker:

        def measure(source: str, inputs: dict, exercise: str = "add-up") -> Measurement:
            data = Measurement({name: np.asarray(value) for name, value in inputs.items()})
            answer = worker.call(
                "functions:measure", data.to_bytes(), exercise=exercise, sources=[source]
            )
            assert answer.status == "ok", answer.problem
            return Measurement.from_bytes(answer.data)

        yield measure


CASES = {"small/x": [1.0, 2.0], "small/n": 2, "large/x": [3.0, 4.0], "large/n": 3}


def test_results_by_case(measure):
    measured = measure("def add_up(x, n): return x.sum() * n", CASES)
    assert {name: float(array) for name, array in measured.items()} == {"small": 6, "large": 21}
    assert measured.errors == {}


def test_a_tuple_is_several_results(measure):
    measured = measure("def add_up(x, n): return x + 1, n", CASES)
    assert measured.keys() == {"small/0", "small/1", "large/0", "large/1"}
    assert measured["large/0"].tolist() == [4, 5]


def test_one_case_that_fails_costs_no_other(measure):
    line = "if n == 3: raise ValueError('three')"
    measured = measure(f"def add_up(x, n):\n    {line}\n    x[:] = 0\n    return n", CASES)
    assert measured.keys() == {"small"}
    assert measured.errors == {"large": f"ValueError: three (at `{line}`)"}


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def add_up(: pass", "SyntaxError: invalid syntax"),
        ("1 / 0", "ZeroDivisionError: division by zero (at `1 / 0`)"),
        ("def add(x, n): return n", "TypeError: add_up is not a function"),
        ("add_up = 3", "TypeError: add_up is not a function"),
        ("raise SystemExit", "SystemExit (at `raise SystemExit`)"),
    ],
)
def test_an_answer_that_cannot_be_measured(measure, source, error):
    measured = measure(source, CASES)
    assert measured == {}
    assert measured.errors[""].startswith(error)


@pytest.mark.parametrize("returned", ["None", "'words'", "{}", "[[1], [1, 2]]", "object()"])
def test_results_that_are_not_numbers_are_left_out(measure, returned):
    measured = measure(f"def add_up(x, n): return {returned}", CASES)
    assert measured == {}
