"""`course.toml`, rosters and adjustments, as teachers write them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from assignments.kungfu import PYTORCH
from grading import UsageError
from grading.classroom.course import (
    LatePolicy,
    adjust,
    check_points,
    match_roster,
    read_adjustments,
    read_course,
    read_roster,
    revalue,
)
from grading.classroom.records import Adjustment, Attempt, Student
from grading.results import Check, ExerciseResult, Report

COURSE = """
assignment = "kungfu_a2c_pytorch"
title = "Homework 8"
due = 2026-11-20T23:59:00+01:00
[late]
grace-minutes = 15
percent-per-day = 10
most-percent = 50
last-day = 7
[points]
"loss: entropy_value" = 4
play = 0
[limits]
call-seconds = 60
memory-mebibytes = 2048
"""
DUE = datetime(2026, 11, 20, 22, 59, tzinfo=UTC)


def attempt(**fields) -> Attempt:
    return Attempt(student=Student(key="ada"), notebook=None, **fields)


def report(*points: float) -> Report:
    checks = tuple(Check(f"part{i}", f"Part {i}", p, 10) for i, p in enumerate(points))
    exercises = (ExerciseResult("loss", checks), ExerciseResult("play", (), "no weights"))
    return Report("toy", "hw.ipynb", 1, "", exercises)


def test_a_course_is_read(tmp_path):
    path = tmp_path / "course.toml"
    path.write_text(COURSE)
    course = read_course(path)
    assert (course.assignment, course.title) == ("kungfu_a2c_pytorch", "Homework 8")
    assert course.late.due == DUE
    assert course.points == {"loss: entropy_value": 4, "play": 0}
    assert (course.limits.call_seconds, course.limits.total_seconds) == (60, 1200)
    assert course.limits.memory_bytes == 2 << 30
    check_points(course, [PYTORCH])


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("title =", "titel =", "titel is unknown, expected one of assignment, canvas, due"),
        ("grace-minutes", "grace", "late.grace is unknown, expected one of late.grace-minutes"),
        ("= 10", '= "ten"', "percent-per-day is 'ten', expected a number, 0 or more"),
        ("= 10", "= -10", "percent-per-day is -10, expected a number, 0 or more"),
        ("= 7", "= 7.5", "last-day is 7.5, expected a whole number"),
        ("23:59:00+01:00", "23:59:00", "without a time zone; expected one, such as +01:00"),
        ("2026-11-20T23:59:00+01:00", '"soon"', "due is 'soon', expected a date with time"),
        ("play = 0", "play = nan", "points.play is nan, expected a number"),
        ("[late]", "late = 3\n[other]", "late is 3, expected a table [late]"),
        ("[late]", "[late", "course.toml cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, right, wrong, words):
    path = tmp_path / "course.toml"
    path.write_text(COURSE.replace(right, wrong))
    with pytest.raises(UsageError) as error:
        read_course(path)
    assert words in str(error.value)


def test_points_of_parts_that_do_not_exist_are_refused(tmp_path):
    (tmp_path / "course.toml").write_text('[points]\n"loss: entropie" = 3')
    with pytest.raises(UsageError, match=r"names 'loss: entropie', expected some of agent: logits"):
        check_points(read_course(tmp_path / "course.toml"), [PYTORCH])


@pytest.mark.parametrize(
    ("late", "share", "words"),
    [
        (timedelta(minutes=-1), 0, ""),
        (timedelta(minutes=15), 0, ""),
        (timedelta(minutes=16), 0.1, "handed in 16 minutes late: 10 % of all points"),
        (timedelta(days=1, hours=2, minutes=5), 0.2, "handed in 1 day and 2 hours late: 20 %"),
        (timedelta(days=6, minutes=1), 0.5, "handed in 6 days and 1 minute late: 50 %"),
        (timedelta(days=7, minutes=1), 1, "late, after the last day"),
    ],
)
def test_lateness_costs_what_the_course_says(late, share, words):
    policy = LatePolicy(
        due=DUE, grace=timedelta(minutes=15), percent_per_day=10, most_percent=50, last_day=7
    )
    cost, why = policy.cost(attempt(submitted=DUE + late))
    assert cost == pytest.approx(share)
    assert words in why
    assert bool(words) == bool(why)


def test_lateness_of_unknown_length_is_told_and_costs_nothing():
    policy = LatePolicy(due=DUE, percent_per_day=10)
    assert policy.cost(attempt(is_late=True)) == (
        0,
        "late, says the platform, but not by how much: it costs nothing yet",
    )
    assert policy.cost(attempt(is_late=False)) == (0, "")
    assert LatePolicy().cost(attempt(submitted=DUE, is_late=True)) == (0, "")


@pytest.mark.parametrize(
    "text",
    [
        "Student,ID,SIS Login ID,Section\nAda Lovelace,7,ada,A\nBen Bitdiddle,8,ben,B\n",
        "First name;Surname;ID number;Email address;Groups;Username\n"
        "Ada;Lovelace;7;a@b.c;A;ada\nBen;Bitdiddle;8;;B;ben\n",
        "\ufeffName\tUsername\tSection\tParticipant\nAda Lovelace\tada\tA\t7\n"
        "Ben Bitdiddle\tben\tB\t8\n\n",
    ],
)
def test_rosters_are_read_as_platforms_write_them(tmp_path, text):
    path = tmp_path / "roster.csv"
    path.write_text(text.replace("Student,ID", "Full name,ID"), encoding="utf-8")
    ada, ben = read_roster(path)
    assert (ada.key, ada.name, ada.section, ada.platform_id) == ("ada", "Ada Lovelace", "A", "7")
    assert (ben.key, ben.name, ben.section, ben.platform_id) == ("ben", "Ben Bitdiddle", "B", "8")


def test_a_roster_of_a_spreadsheet_on_windows_is_read(tmp_path):
    (tmp_path / "roster.csv").write_bytes("name;username\nJosé Müller;jm\n".encode("cp1252"))
    assert read_roster(tmp_path / "roster.csv")[0].name == "José Müller"


def test_a_roster_that_names_nobody_or_somebody_twice_is_refused(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("colour,size\nred,3\n")
    with pytest.raises(UsageError, match="names no student; expected columns such as student"):
        read_roster(path)
    path.write_text("username\nada\nada\n")
    with pytest.raises(UsageError, match="names 'ada' more than once"):
        read_roster(path)


ROSTER = [
    Student(key="ada", name="Ada Lovelace", email="ada@uni.edu", section="A", platform_id="7"),
    Student(key="ben", name="Ben van Dyke", email="b.dyke@uni.edu", platform_id="8"),
    Student(key="cy", name="Cy Lee", platform_id="9"),
    Student(key="cy2", name="Cy Lee", platform_id="10"),
]


@pytest.mark.parametrize(
    ("student", "key"),
    [
        (Student(key="ADA"), "ada"),
        (Student(key="Ada Lovelace_7", name="Ada Lovelace", platform_id="7"), "ada"),
        (Student(key="lovelaceada_77", platform_id="77"), "ada"),
        (Student(key="x", name="lovelace, ada"), "ada"),
        (Student(key="x", email="B.Dyke@uni.edu"), "ben"),
        (Student(key="b.dyke@uni.edu"), "ben"),
        (Student(key="b.dyke"), "ben"),
        (Student(key="x", name="Cy Lee", platform_id="10"), "cy2"),
        (Student(key="x", name="Cy Lee"), "x"),  # which one?
        (Student(key="eve"), "eve"),
    ],
)
def test_attempts_find_their_students(student, key):
    matched, missing, unknown = match_roster([Attempt(student=student, notebook=None)], ROSTER)
    assert matched[0].student.key == key
    assert len(missing) == len(ROSTER) - (key in {s.key for s in ROSTER})
    assert unknown == ([key] if key in ("x", "eve") else [])


def test_the_platform_gets_its_own_number_back():
    student = Student(key="lovelaceada_77", platform_id="77")
    matched, _, _ = match_roster([Attempt(student=student, notebook=None)], ROSTER)
    assert matched[0].student == replace(ROSTER[0], platform_id="77")


def test_adjustments_are_read(tmp_path):
    path = tmp_path / "adjustments.csv"
    path.write_text("student,part,points,comment\nada,loss: part0,7.5,Nearly\nada,bonus,2,\n")
    first, second = read_adjustments(path, ["loss: part0"])
    assert first == Adjustment(student="ada", part="loss: part0", points=7.5, comment="Nearly")
    assert (second.part, second.points) == ("bonus", 2)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("ada,los,3,", "line 2: part is 'los', expected one of ['loss', 'late', 'bonus']"),
        ("ada,loss,three,", "line 2: points are 'three', expected a number"),
        ("ada,loss,inf,", "line 2: points are 'inf', expected a number"),
        ("ada,loss,1,\nada,loss,2,", "line 3: ada and loss occur a second time"),
    ],
)
def test_a_wrong_adjustment_is_named_with_its_line(tmp_path, row, words):
    path = tmp_path / "adjustments.csv"
    path.write_text(f"student,part,points,comment\n{row}\n")
    with pytest.raises(UsageError) as error:
        read_adjustments(path, ["loss"])
    assert words in str(error.value)


def test_a_teacher_has_the_last_word_and_it_is_told():
    before = report(0, 10)
    given = Adjustment(student="ada", part="loss: part0", points=7, comment="a slip")
    after = adjust(before, [given])
    assert [check.points for check in after.exercises[0].checks] == [7, 10]
    words = "Set by your teacher to 7 of 10 points: a slip"
    assert after.exercises[0].checks[0].message == words
    assert before.score == 10


def test_what_a_teacher_has_judged_is_not_ungradable():
    lost = replace(report(0), exercises=(ExerciseResult("play", (Check("play", "", 0, 20),), "?"),))
    given = Adjustment(student="ada", part="play", points=20, comment="")
    after = adjust(lost, [given])
    assert (after.score, after.is_ungradable) == (20, False)


def test_parts_are_worth_what_the_course_says():
    after = revalue(report(5, 10), {"loss: part0": 4, "loss: part1": 0})
    assert [(c.points, c.maximum) for c in after.exercises[0].checks] == [(2, 4), (0, 0)]
