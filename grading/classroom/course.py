"""A teacher's own files: `course.toml`, a roster, and adjustments. All may be left out.

assignment = "kungfu_a2c_tensorflow"   # only this one; by default all of the project's
title = "Homework 8"
template = "original"                  # the notebooks were made from this other template
due = 2026-11-20T23:59:00+01:00
canvas = "Homework 8 (1234)"           # the column's name in Canvas

[late]
grace-minutes = 15
percent-per-day = 10                   # of all points, for each day that has begun
most-percent = 50
last-day = 7                           # later ones earn nothing

[points]                               # what parts are worth here
"loss: entropy" = 4

[limits]                               # for students' code
call-seconds = 300
total-seconds = 1200
memory-mebibytes = 3072
"""

import csv
import io
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from grading import UsageError
from grading.assignment import Assignment
from grading.classroom.records import Adjustment, Attempt, Student
from grading.report import clean
from grading.results import Check, ExerciseResult, Report
from grading.worker import Limits

MAX_CSV = 20_000_000  # bytes
LATE, BONUS = "late", "bonus"

# How platforms and people call the columns of a roster, in lower case.
COLUMNS = {
    "key": ("student", "username", "user name", "user", "login", "sis login id", "github_username"),
    "id": ("id", "sid", "student id", "id number", "sis user id", "identifier", "participant"),
    "name": ("name", "full name", "student name"),
    "first": ("first name", "given name", "firstname"),
    "last": ("last name", "surname", "family name", "lastname"),
    "email": ("email", "e-mail", "email address", "e-mail address", "mail"),
    "section": ("section", "group", "groups", "tutorial", "class"),
}


@dataclass(frozen=True, kw_only=True)
class LatePolicy:
    """What it costs to hand in after the due date.

    Attributes:
        due: the due date, with a time zone; None if there is none.
        grace: how much later costs nothing.
        percent_per_day: of all points, for each day that has begun.
        most_percent: the most that lateness costs.
        last_day: what comes more days later earns nothing; None if there is no end.
    """

    due: datetime | None = None
    grace: timedelta = timedelta()
    percent_per_day: float = 0.0
    most_percent: float = 100.0
    last_day: int | None = None

    def cost(self, attempt: Attempt) -> tuple[float, str]:
        """Returns the share of all points that lateness costs, from 0 to 1, and why."""
        if self.due is None:
            return 0.0, ""
        if attempt.submitted is None:
            if attempt.is_late:
                return 0.0, "late, says the platform, but not by how much: it costs nothing yet"
            return 0.0, ""
        late = attempt.submitted - self.due
        if late <= self.grace:
            return 0.0, ""
        days = math.ceil(late / timedelta(days=1))
        if self.last_day is not None and days > self.last_day:
            return 1.0, f"handed in {_duration(late)} late, after the last day"
        percent = min(self.percent_per_day * days, self.most_percent)
        return percent / 100, f"handed in {_duration(late)} late: {percent:g} % of all points"


@dataclass(frozen=True, kw_only=True)
class Course:
    """What `course.toml` says.

    Attributes:
        assignment, template, limits: as in `cluster.Settings`.
        title: of the assignment, for people.
        canvas: the name of its column in Canvas.
        late: what lateness costs.
        points: what parts are worth, if not what the assignment says; by `EXERCISE: PART`.
    """

    assignment: str = ""
    title: str = ""
    template: str = ""
    canvas: str = ""
    late: LatePolicy = field(default_factory=LatePolicy)
    points: Mapping[str, float] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


def read_course(path: Path) -> Course:
    """Reads `course.toml`.

    Raises:
        UsageError: it cannot be read, or a setting is unknown or has a wrong value.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    take = _Settings(path, table)
    late, limits = take.section("late"), take.section("limits")
    default = Limits()
    course = Course(
        assignment=take("assignment", str, ""),
        title=take("title", str, ""),
        template=take("template", str, ""),
        canvas=take("canvas", str, ""),
        late=LatePolicy(
            due=take("due", datetime, None),
            grace=timedelta(minutes=late("grace-minutes", float, 0.0)),
            percent_per_day=late("percent-per-day", float, 0.0),
            most_percent=late("most-percent", float, 100.0),
            last_day=late("last-day", int, None),
        ),
        points={name: take.number(f"points.{name}", v) for name, v in take.table("points").items()},
        limits=replace(
            default,
            call_seconds=limits("call-seconds", float, default.call_seconds),
            total_seconds=limits("total-seconds", float, default.total_seconds),
            memory_bytes=limits("memory-mebibytes", int, default.memory_bytes >> 20) << 20,
        ),
    )
    for settings in (take, late, limits):
        settings.refuse_others()
    if course.late.due and course.late.due.tzinfo is None:
        raise UsageError(
            f"{path}: due is {course.late.due}, without a time zone; expected one, such as +01:00"
        )
    return course


def check_points(course: Course, assignments: Sequence[Assignment]) -> None:
    """Makes sure that `[points]` names parts that exist.

    Raises:
        UsageError: it names another one.
    """
    known = dict.fromkeys(part_name(*part) for a in assignments for part in a.part_names())
    if unknown := [name for name in course.points if name not in known]:
        raise UsageError(
            f"[points] names {', '.join(map(repr, unknown))}, expected some of {', '.join(known)}"
        )


def part_name(exercise: str, part: str) -> str:
    """Returns the name of a part in a teacher's files and in the gradebook."""
    return exercise if exercise == part else f"{exercise}: {part}"


def read_roster(path: Path) -> list[Student]:
    """Reads the class list: a CSV file with a header, as platforms export it.

    Raises:
        UsageError: it cannot be read, no column tells students apart, or a student occurs twice.
    """
    students = []
    for row in _read_csv(path):
        row = {role: _first(row, names) for role, names in COLUMNS.items()}
        name = row["name"] or " ".join(filter(None, [row["first"], row["last"]]))
        number = re.sub(r"^Participant\s+", "", row["id"])
        key = row["key"] or row["email"] or number or name
        if not key:
            continue
        students.append(
            Student(
                key=key, name=name, email=row["email"], section=row["section"], platform_id=number
            )
        )
    if not students:
        expected = ", ".join(names[0] for names in COLUMNS.values())
        raise UsageError(f"{path} names no student; expected columns such as {expected}")
    keys = [student.key for student in students]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise UsageError(f"{path} names {', '.join(map(repr, twice[:5]))} more than once")
    return students


def match_roster(
    attempts: Iterable[Attempt], roster: Sequence[Student]
) -> tuple[list[Attempt], list[Student], list[str]]:
    """Gives each attempt the student of the roster to whom it belongs.

    A student is known by the key, the platform's number, the e-mail address (or what stands before
    its @) or the name, in whatever order and case. What fits several students fits none.

    Returns:
        The attempts; the students of the roster without any; the keys that nobody in it has.
    """
    known: dict[str, set[Student]] = {}
    for student in roster:
        for word in _names_of(student):
            known.setdefault(word, set()).add(student)
    matched, unknown = [], dict.fromkeys([])
    for attempt in attempts:
        found = [
            known[word] for word in _names_of(attempt.student) if len(known.get(word, ())) == 1
        ]
        if not found:
            unknown[attempt.student.key] = None
            matched.append(attempt)
            continue
        (student,) = found[0]
        # The platform wants its own number back.
        number = attempt.student.platform_id or student.platform_id
        matched.append(replace(attempt, student=replace(student, platform_id=number)))
    came = {attempt.student.key for attempt in matched}
    return matched, [s for s in roster if s.key not in came], list(unknown)


def read_adjustments(path: Path, parts: Iterable[str]) -> list[Adjustment]:
    """Reads the teacher's own verdicts: a CSV with the columns student, part, points, comment.

    Args:
        path: the file.
        parts: the parts that can be adjusted, besides `late` and `bonus`.

    Raises:
        UsageError: it cannot be read, a column is missing, a part is unknown or adjusted twice, or
            points are no number; says in which line.
    """
    parts = [*parts, LATE, BONUS]
    found: dict[tuple[str, str], Adjustment] = {}
    for line, row in enumerate(_read_csv(path), 2):
        if missing := [name for name in ("student", "part", "points") if name not in row]:
            raise UsageError(f"{path} has no column {', '.join(missing)}")
        where = f"{path}, line {line}"
        if row["part"] not in parts:
            raise UsageError(f"{where}: part is {row['part']!r}, expected one of {parts}")
        try:
            points = float(row["points"])
        except ValueError:
            points = math.nan
        if not math.isfinite(points):
            raise UsageError(f"{where}: points are {row['points']!r}, expected a number")
        key = row["student"], row["part"]
        if key in found:
            raise UsageError(f"{where}: {' and '.join(key)} occur a second time")
        found[key] = Adjustment(
            student=row["student"],
            part=row["part"],
            points=points,
            comment=clean(row.get("comment", "")),
        )
    return list(found.values())


def revalue(report: Report, points: Mapping[str, float]) -> Report:
    """Returns a report whose parts are worth what a course says; shares of points stay the same."""

    def revalued(exercise: ExerciseResult, check: Check) -> Check:
        worth = points.get(part_name(exercise.name, check.name), check.maximum)
        share = check.points / check.maximum if check.maximum else float(check.passed)
        return replace(check, points=share * worth, maximum=worth)

    return _with_checks(report, revalued)


def adjust(report: Report, adjustments: Sequence[Adjustment]) -> Report:
    """Returns a report with a teacher's verdicts in it, each with its comment."""
    by_part = {adjustment.part: adjustment for adjustment in adjustments}

    def adjusted(exercise: ExerciseResult, check: Check) -> Check:
        adjustment = by_part.get(part_name(exercise.name, check.name))
        if adjustment is None:
            return check
        words = f"Set by your teacher to {adjustment.points:g} of {check.maximum:g} points"
        words = f"{words}: {adjustment.comment}" if adjustment.comment else f"{words}."
        message = "\n".join(filter(None, [words, check.message]))
        return replace(check, points=adjustment.points, message=message)

    adjusted_report = _with_checks(report, adjusted)
    changed = {part.partition(":")[0] for part in by_part}
    # What a teacher has judged is no longer ungradable.
    exercises = tuple(
        replace(exercise, reason="") if exercise.name in changed else exercise
        for exercise in adjusted_report.exercises
    )
    return replace(adjusted_report, exercises=exercises)


def _with_checks(report: Report, change: Callable[[ExerciseResult, Check], Check]) -> Report:
    exercises = tuple(
        replace(exercise, checks=tuple(change(exercise, check) for check in exercise.checks))
        for exercise in report.exercises
    )
    return replace(report, exercises=exercises)


class _Settings:
    """The settings of one table, each of which is taken once."""

    def __init__(self, path: Path, table: Mapping[str, Any], place: str = ""):
        self._path, self._place = path, place
        self._left = dict(table)
        self._known: list[str] = []

    def __call__(self, name: str, kind: type, default: Any) -> Any:
        self._known.append(name)
        if name not in self._left:
            return default
        value = self._left.pop(name)
        if kind in (int, float):
            value = self.number(name, value)
            if kind is int and value != int(value):
                raise self._error(name, value, "a whole number")
            return kind(value)
        if not isinstance(value, kind):
            expected = {str: "a text", datetime: "a date with time and time zone"}[kind]
            raise self._error(name, value, expected)
        return value

    def number(self, name: str, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0:
            raise self._error(name, value, "a number, 0 or more")
        return float(value)

    def table(self, name: str) -> Mapping[str, Any]:
        self._known.append(name)
        value = self._left.pop(name, {})
        if not isinstance(value, dict):
            raise self._error(name, value, f"a table [{name}]")
        return value

    def section(self, name: str) -> "_Settings":
        return _Settings(self._path, self.table(name), f"{name}.")

    def refuse_others(self) -> None:
        if self._left:
            name = next(iter(self._left))
            known = ", ".join(f"{self._place}{name}" for name in sorted(self._known))
            raise UsageError(
                f"{self._path}: {self._place}{name} is unknown, expected one of {known}"
            )

    def _error(self, name: str, value: Any, expected: str) -> UsageError:
        return UsageError(f"{self._path}: {self._place}{name} is {value!r}, expected {expected}")


def _read_csv(path: Path) -> list[dict[str, str]]:
    """Reads a CSV file of any common dialect; the names of its columns in lower case."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_CSV:
        raise UsageError(f"{path} has {len(data):,} bytes, over {MAX_CSV:,}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # as spreadsheets on Windows write it
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [name.strip().lower() for name in next(rows, [])]
        return [dict(zip(names, map(str.strip, row), strict=False)) for row in rows if any(row)]
    except csv.Error as error:
        raise UsageError(f"{path}, line {rows.line_num}: {error}") from None


def _first(row: Mapping[str, str], names: Iterable[str]) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _names_of(student: Student) -> list[str]:
    """Returns all that a student may be known by, the surest first."""
    email, name = student.email.lower(), student.name.lower()
    words = sorted(re.findall(r"\w+", name))
    key = student.key.lower()
    reversed_name = "".join([*re.findall(r"\w+", name)[-1:], *re.findall(r"\w+", name)[:-1]])
    return [
        word
        for word in (
            f"id {student.platform_id}" if student.platform_id else "",
            f"key {key}",
            f"key {email.partition('@')[0]}" if email else "",
            f"mail {email}" if email else "",
            f"mail {key}",
            f"id {key}",
            f"key {student.platform_id}" if student.platform_id else "",
            # Canvas writes "Ada Lovelace" as lovelaceada.
            f"run {reversed_name}" if name else f"run {key.partition('_')[0]}",
            f"words {' '.join(words)}" if words else "",
        )
        if word
    ]


def _duration(late: timedelta) -> str:
    minutes = max(1, int(late.total_seconds() // 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "day"), (hours, "hour"), (minutes, "minute")]
    told = [f"{n} {word}{'s' * (n != 1)}" for n, word in parts if n]
    return " and ".join(told[:2])
