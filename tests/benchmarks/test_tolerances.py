"""Benchmarks of grading: the measured tolerances bear out those in use, and costs are measured."""

import subprocess
import sys

import pytest

from assignments.kungfu.tracks import TENSORFLOW as TRACK
from benchmarks.tolerances import HINT_TOLERANCE, TABLE, Row, measure_rows, read_table
from checks import arrays
from grading import judge
from tests.notebooks import ROOT

pytestmark = pytest.mark.tensorflow

STORED = {row.part: row for row in read_table(TABLE.read_text(encoding="utf-8"))}
USED = {judge.TOLERANCE, 1e-3, arrays.TOLERANCE}


def test_every_part_of_agent_and_loss_has_a_row():
    parts = {f"{e}/{p}" for e, p in TRACK.part_names() if e in ("agent", "loss")}
    assert set(STORED) == {*parts, "checks.check_loss"}


@pytest.mark.parametrize("row", STORED.values(), ids=lambda row: row.part)
def test_right_answers_and_mutants_are_both_far_from_the_tolerance(row: Row):
    tolerances = row.tolerances or (HINT_TOLERANCE,)
    assert row.spread <= min(tolerances) / 10
    assert row.nearest is None or row.nearest >= 10 * max(tolerances)
    assert {*row.tolerances} <= USED


@pytest.mark.long
def test_rows_measured_again_are_the_stored_ones():
    names = ("entropy_value", "entropy_gradient")
    cases = ("idle", "idle_weighted", "peaked", "sure", "sure_ends", "uniform", "uniform_idle")
    for row in measure_rows("loss", names, cases):
        stored = STORED[row.part]
        # Another processor may round otherwise; the distances do not hang on the last digit.
        assert stored.spread / 4 <= row.spread <= stored.spread * 4
        assert row.nearest == pytest.approx(stored.nearest, rel=0.05)
        assert (row.mutant, row.tolerances) == (stored.mutant, stored.tolerances)


def test_what_grading_costs_can_be_measured():
    command = [sys.executable, "-m", "benchmarks.grading_cost", "--runs", "1"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    costs = dict(line.split(": ") for line in finished.stdout.splitlines())
    assert {"student_side_ratio", "reference_worker_seconds", "play_worker_seconds"} < costs.keys()
    assert all(float(number) > 0 for row in costs.values() for number in row.split())
