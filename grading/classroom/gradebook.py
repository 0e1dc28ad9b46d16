"""The gradebook: every student's points, as a table and in the forms that platforms import.

    gradebook.csv   all there is to know
    canvas.csv      Canvas: Gradebook, Import
    moodle.csv      Moodle: the assignment, Upload grading worksheet
    feedback.zip    Moodle: the assignment, Upload multiple feedback files in a zip

Every cell of text is guarded: a spreadsheet takes one that begins with `= + - @` for a formula, see
https://owasp.org/www-community/attacks/CSV_Injection.
"""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence

from grading.classroom.course import BONUS, LATE, Course, adjust, part_name, revalue
from grading.classroom.records import Adjustment, Attempt, Standing, Student
from grading.report import clean
from grading.results import Report

FORMULAS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
MAX_FILE_NAME = 80  # characters
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of all members: the same pages make the same file


def make_standings(
    attempts: Iterable[Attempt],
    missing: Iterable[Student],
    reports: Mapping[Attempt, Report],
    course: Course,
    adjustments: Sequence[Adjustment] = (),
) -> list[Standing]:
    """Returns the lines of the gradebook, ordered by section, name and key.

    Args:
        attempts: all of them, each student's oldest first.
        missing: students who handed in nothing.
        reports: what the attempts that count have earned, as far as they are graded.
        course: what parts are worth, and what lateness costs.
        adjustments: a teacher's own verdicts.
    """
    by_student: dict[str, list[Attempt]] = {student.key: [] for student in missing}
    students = {student.key: student for student in missing}
    for attempt in attempts:
        by_student.setdefault(attempt.student.key, []).append(attempt)
        students[attempt.student.key] = attempt.student
    files = file_names(students)
    standings = []
    for key, student in students.items():
        own = [adjustment for adjustment in adjustments if adjustment.student == key]
        report = reports.get(by_student[key][-1]) if by_student[key] else None
        late_points, late_reason = 0.0, ""
        if report is not None:
            report = adjust(revalue(report, course.points), own)
            share, late_reason = course.late.cost(by_student[key][-1])
            late_points = -min(share * report.maximum, report.score)
        for adjustment in own:
            if adjustment.part == LATE:
                late_points = -abs(adjustment.points)
                late_reason = adjustment.comment or "set by the teacher"
        standings.append(
            Standing(
                student=student,
                file=files[key],
                attempts=tuple(by_student[key]),
                report=report,
                adjustments=tuple(own),
                late_points=late_points,
                late_reason=late_reason,
                bonus=sum(a.points for a in own if a.part == BONUS),
            )
        )
    return sorted(standings, key=lambda s: (s.student.section, s.student.shown.lower(), s.file))


def file_names(keys: Iterable[str]) -> dict[str, str]:
    """Returns a name for each student's files: plain characters, and no two that differ in case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key in sorted(keys):
        plain = re.sub(r"[^\w.@+-]+", "-", clean(key)).strip("-.")[:MAX_FILE_NAME] or "student"
        name, number = plain, 2
        while name.lower() in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.lower())
        names[key] = name
    return names


def as_csv(standings: Sequence[Standing]) -> str:
    """Returns all that is known of every student."""
    reports = [standing.report for standing in standings if standing.report]
    parts = dict.fromkeys(
        part_name(exercise.name, check.name)
        for report in reports
        for exercise in report.exercises
        for check in exercise.checks
    )
    header = ["student", "name", "email", "section", "status", "total", "maximum", *parts]
    header += ["late", "bonus", "comment", "attempts", "counted", "earlier", "submitted"]
    rows = []
    for standing in standings:
        earned = {part_name(e.name, check.name): check.points for e, check in standing.checks()}
        student, attempt = standing.student, standing.attempt
        rows.append(
            [
                *(student.key, student.name, student.email, student.section, standing.status),
                _number(standing.total),
                _number(standing.report and standing.report.maximum),
                *(_number(earned.get(part)) for part in parts),
                *(_number(standing.late_points or None), _number(standing.bonus or None)),
                comment_of(standing),
                len(standing.attempts),
                attempt.label if attempt else "",
                "; ".join(earlier.label for earlier in standing.attempts[:-1]),
                attempt.submitted.isoformat() if attempt and attempt.submitted else "",
            ]
        )
    return _write(header, rows)


def as_canvas(standings: Sequence[Standing], column: str) -> str:
    """Returns what Canvas imports.

    Args:
        standings: the gradebook.
        column: the name of the assignment there, with its number if it has one.
    """
    maximum = max((s.report.maximum for s in standings if s.report), default=0)
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", column]
    # Canvas knows this row by its indentation.
    top = ["    Points Possible", "", "", "", "", _number(maximum)]
    rows = []
    for standing in standings:
        student = standing.student
        row = [student.shown, student.platform_id, "", student.email or student.key]
        rows.append([*row, student.section, _number(standing.total)])
    return _write(header, rows, top)


def as_moodle(standings: Sequence[Standing]) -> str:
    """Returns Moodle's grading worksheet."""
    header = ["Identifier", "Full name", "Email address", "Grade", "Feedback comments"]
    rows = []
    for standing in standings:
        student = standing.student
        number = f"Participant {student.platform_id}" if student.platform_id else student.key
        points = _number(standing.total)
        rows.append([number, student.shown, student.email, points, comment_of(standing)])
    return _write(header, rows)


def feedback_zip(standings: Sequence[Standing], page: Callable[[Standing], bytes]) -> bytes:
    """Returns the students' pages, in the folders in which Moodle handed out their submissions."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for standing in standings:
            if standing.report is None:
                continue
            folder = standing.attempt.folder or standing.file
            member = zipfile.ZipInfo(f"{folder}/feedback.html", EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, page(standing))
    return packed.getvalue()


def comment_of(standing: Standing) -> str:
    """Returns one line: what a teacher or the calendar changed, or why nothing was graded."""
    words = [
        f"{adjustment.part}: {adjustment.comment}"
        for adjustment in standing.adjustments
        if adjustment.comment and adjustment.part != LATE
    ]
    if standing.late_reason:
        words.append(standing.late_reason)
    if standing.status == "ungradable" and standing.report.reason:
        words.append(standing.report.reason)
    return "; ".join(" ".join(clean(word).split()) for word in words)


def what_changed(old: str, new: str) -> list[str]:
    """Says whose points or status differ between two gradebooks, one line for each student."""
    before, after = _totals(old), _totals(new)
    lines = []
    for student, (status, total) in after.items():
        if student not in before:
            lines.append(f"{student}: new, {_told(status, total)}")
        elif before[student] != (status, total):
            was = _told(*before[student])
            lines.append(f"{student}: {was} → {_told(status, total)}")
    lines += [f"{student}: no longer there" for student in before if student not in after]
    return lines


def _told(status: str, total: str) -> str:
    return f"{total} points" if status == "graded" else status


def _totals(text: str) -> dict[str, tuple[str, str]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return {
        row.get("student") or "": (row.get("status") or "", row.get("total") or "") for row in rows
    }


def _number(points: float | None) -> str | float:
    return "" if points is None else float(f"{points:.2f}")


def _write(
    header: Sequence[str], rows: Iterable[Sequence[object]], top: Sequence[object] = ()
) -> str:
    """Writes a table; `top` is a row of our own."""
    text = io.StringIO(newline="")
    # In quotes, a text keeps to its cell also where a semicolon separates cells.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(header)
    if top:
        writer.writerow(top)
    writer.writerows([[_guarded(cell) for cell in row] for row in rows])
    return text.getvalue()


def _guarded(cell: object) -> object:
    """Returns a cell that no spreadsheet takes for a formula."""
    if not isinstance(cell, str):
        return cell
    text = clean(cell)
    return f"'{text}" if text.startswith(FORMULAS) else text
