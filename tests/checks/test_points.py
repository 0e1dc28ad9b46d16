"""Points stand in one table, which the student's checks and the grader read."""

import pytest

from checks.points import POINTS, TITLES
from checks.whole import EXERCISES
from tests.frameworks import TRACKS

ROWS = {(exercise, part): n for exercise, parts in POINTS.items() for part, n in parts.items()}


@pytest.mark.parametrize("track", TRACKS.values(), ids=TRACKS)
def test_every_part_has_a_row_and_every_row_a_part(track):
    assert sorted(track.part_names()) == sorted(ROWS)


@pytest.mark.parametrize("track", TRACKS.values(), ids=TRACKS)
def test_the_grader_gives_the_points_of_the_table(track):
    given = {(plan.name, part.name): part.points for plan in track.exercises for part in plan.parts}
    assert {**given, ("play", "play"): track.trials[0].points} == ROWS


@pytest.mark.parametrize("track", TRACKS.values(), ids=TRACKS)
def test_student_and_grader_call_parts_the_same(track):
    assert {e.name: {part.name: part.title for part in e.parts} for e in track.exercises} == TITLES


def test_the_students_sums_are_those_of_the_table():
    assert EXERCISES == {"agent": 20, "loss": 50, "optimizer": 10}
    assert sum(ROWS.values()) == 100
