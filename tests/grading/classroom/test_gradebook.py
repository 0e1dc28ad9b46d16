"""The gradebook and what platforms import of it."""

import csv
import io
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from grading.classroom.course import Course, LatePolicy
from grading.classroom.gradebook import (
    as_canvas,
    as_csv,
    as_moodle,
    feedback_zip,
    file_names,
    make_standings,
    what_changed,
)
from grading.classroom.records import Adjustment, Attempt, Standing, Student
from grading.results import Check, ExerciseResult, Report

DUE = datetime(2026, 11, 20, tzinfo=UTC)


def attempt(key: str, **fields) -> Attempt:
    student = Student(key=key, name=key.title(), platform_id=fields.pop("number", ""))
    return Attempt(student=student, notebook=None, label=f"{key}/hw.ipynb", **fields)


def report(points: float) -> Report:
    checks = (Check("entropy", "Entropy", points, 10), Check("step", "Step", 10, 10))
    return Report("toy", "hw.ipynb", 1, "", (ExerciseResult("loss", checks),))


def standings(points: dict[Attempt, float | None], **options) -> list[Standing]:
    reports = {a: report(p) for a, p in points.items() if p is not None}
    missing = options.pop("missing", [])
    course, adjustments = options.pop("course", Course()), options.pop("adjustments", [])
    return make_standings(points, missing, reports, course, adjustments)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_student_has_a_line():
    points = {attempt("ada"): 4.0, attempt("ben"): None}
    lines = rows(as_csv(standings(points, missing=[Student(key="cy", section="Z")])))
    assert [(r["student"], r["status"], r["total"], r["loss: entropy"]) for r in lines] == [
        ("ada", "graded", "14.0", "4.0"),
        ("ben", "not graded yet", "", ""),
        ("cy", "missing", "", ""),
    ]


def test_ungradable_is_no_zero():
    one = attempt("ada")
    lost = Report("toy", "hw.ipynb", 1, "", (ExerciseResult("loss", (), "no notebook"),), "lost")
    made = make_standings([one], [], {one: lost}, Course())
    (line,) = rows(as_csv(made))
    assert (line["status"], line["total"], line["comment"]) == ("ungradable", "", "lost")
    assert rows(as_moodle(made))[0]["Grade"] == ""
    assert as_canvas(made, "HW").splitlines()[-1].endswith('""')


def test_the_newest_attempt_counts_and_all_are_listed():
    first, second = attempt("ada"), replace(attempt("ada"), label="ada/hw (1).ipynb")
    (line,) = rows(as_csv(standings({first: 10.0, second: 0.0})))
    assert (line["total"], line["attempts"], line["counted"]) == ("10.0", "2", "ada/hw (1).ipynb")
    assert line["earlier"] == "ada/hw.ipynb"


def test_late_points_and_bonus_count_and_say_why():
    late = attempt("ada", submitted=DUE + timedelta(hours=3))
    course = Course(late=LatePolicy(due=DUE, percent_per_day=10))
    bonus = Adjustment(student="ada", part="bonus", points=3, comment="a fine plot")
    (line,) = rows(as_csv(standings({late: 10.0}, course=course, adjustments=[bonus])))
    assert (line["total"], line["late"], line["bonus"]) == ("21.0", "-2.0", "3.0")
    expected = "bonus: a fine plot; handed in 3 hours late: 10 % of all points"
    assert line["comment"] == expected
    excused = Adjustment(student="ada", part="late", points=0, comment="was ill")
    (line,) = rows(as_csv(standings({late: 10.0}, course=course, adjustments=[excused])))
    assert (line["total"], line["late"], line["comment"]) == ("20.0", "", "was ill")


def test_nobody_has_less_than_nothing():
    late = attempt("ada", submitted=DUE + timedelta(days=9))
    course = Course(late=LatePolicy(due=DUE, last_day=1))
    (line,) = rows(as_csv(standings({late: 0.0}, course=course)))
    assert (line["total"], line["late"]) == ("0.0", "-10.0")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-2", "@x", "＝1", "\t=1", "\x00=1", "\u202e=1"])
def test_no_cell_is_a_formula(name):
    student = Student(key=name, name=name, email=name, section=name)
    one = Attempt(student=student, notebook=None, label=name)
    made = standings({one: 4.0})
    for text in (as_csv(made), as_canvas(made, "Homework"), as_moodle(made)):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not [
            c for c in cells if c.lstrip()[:1] in {*"=+-@＝"} and c[1:2] not in "0123456789"
        ]
        assert "\u202e" not in text


def test_a_text_keeps_to_its_cell_where_semicolons_separate():
    one = Attempt(student=Student(key="a;=1+1", name="a"), notebook=None)
    line = as_csv(standings({one: 4.0})).splitlines()[1]
    assert next(csv.reader([line], delimiter=";"))[0].startswith("a;=1+1")


def test_canvas_gets_its_numbers_and_the_maximum():
    lines = list(
        csv.reader(io.StringIO(as_canvas(standings({attempt("ada", number="77"): 4.0}), "HW")))
    )
    assert lines[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "HW"]
    assert lines[1] == ["    Points Possible", "", "", "", "", "20.0"]
    assert lines[2] == ["Ada", "77", "", "ada", "", "14.0"]


def test_moodle_gets_its_participants_and_its_folders():
    one = attempt("ada", number="123", folder="Ada_123_assignsubmission_file_")
    two = attempt("ben")
    made = standings({one: 4.0, two: None})
    assert rows(as_moodle(made))[0]["Identifier"] == "Participant 123"
    packed = feedback_zip(made, lambda standing: standing.file.encode())
    assert packed == feedback_zip(made, lambda standing: standing.file.encode())
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["Ada_123_assignsubmission_file_/feedback.html"]
        assert archive.read(archive.namelist()[0]) == b"ada"


def test_names_of_files_are_plain_and_differ():
    names = file_names(["Ada", "ada", "../../x", "a/b", "", ".hidden", "é" * 200, "-rf"])
    assert len({name.lower() for name in names.values()}) == 8
    assert not [name for name in names.values() if "/" in name or name.startswith((".", "-"))]
    assert max(map(len, names.values())) <= 85


def test_what_changed_is_told():
    before = as_csv(standings({attempt("ada"): 4.0, attempt("ben"): 1.0, attempt("cy"): 2.0}))
    after = as_csv(standings({attempt("ada"): 5.0, attempt("ben"): 1.0, attempt("dee"): None}))
    assert what_changed(before, after) == [
        "ada: 14.0 points → 15.0 points",
        "dee: new, not graded yet",
        "cy: no longer there",
    ]
    assert what_changed(before, before) == []
