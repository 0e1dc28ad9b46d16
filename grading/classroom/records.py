"""What is known of a class: who handed in what and when, and what it came to."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from grading.results import Check, ExerciseResult, Report


@dataclass(frozen=True, kw_only=True)
class Student:
    """One student, or one group that hands in together.

    Attributes:
        key: what tells students apart: a user name, a number, or the name of a folder.
        name: the full name, "" if nobody told it.
        email, section: from the roster or the platform, "" if nobody told them.
        platform_id: the number that the platform knows the student by, "" if there is none.
    """

    key: str
    name: str = ""
    email: str = ""
    section: str = ""
    platform_id: str = ""

    @property
    def shown(self) -> str:
        """The name, or the key of somebody without one."""
        return self.name or self.key


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a student handed in at one time.

    Attributes:
        student: whose it is.
        notebook: the file to grade; None if there is none among what was handed in.
        attachments: files that may have been handed in with the notebook, the likeliest first.
        label: the path of the attempt in what was collected, for people.
        folder: the name that the platform wants to see again in what it gets back, or "".
        submitted: when, as far as the platform says so; with a time zone.
        is_late: what the platform says of the due date; None if it says nothing.
        problem: why there is no notebook, for the student.
    """

    student: Student
    notebook: Path | None
    attachments: tuple[Path, ...] = ()
    label: str = ""
    folder: str = ""
    submitted: datetime | None = None
    is_late: bool | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """A teacher's own verdict, which no grading overrides.

    Attributes:
        student: the student's key.
        part: `EXERCISE: PART`, the name of a trial, `late` or `bonus`.
        points: what the part earns, whatever the grader found; a bonus is added to the total, and
            `late` replaces what lateness costs.
        comment: why, for the student.
    """

    student: str
    part: str
    points: float
    comment: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One line of the gradebook.

    Attributes:
        student: whose it is.
        file: the name of this student's files, without an ending.
        attempts: all of them, the oldest first; the last one counts. Empty if nothing came.
        report: what the last attempt earned, adjusted; None if it has not been graded.
        adjustments: those that belong to this student.
        late_points: what lateness costs, 0 or less.
        late_reason: how that came about, "" if it costs nothing.
        bonus: points that the teacher added.
    """

    student: Student
    file: str
    attempts: tuple[Attempt, ...]
    report: Report | None
    adjustments: tuple[Adjustment, ...] = ()
    late_points: float = 0.0
    late_reason: str = ""
    bonus: float = 0.0

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that counts."""
        return self.attempts[-1] if self.attempts else None

    @property
    def status(self) -> str:
        """One of `graded`, `ungradable`, `not graded yet`, `missing`."""
        if not self.attempts:
            return "missing"
        if self.report is None:
            return "not graded yet"
        return "ungradable" if self.report.is_ungradable and not self.bonus else "graded"

    @property
    def total(self) -> float | None:
        """The points of everything together, 0 or more; None if nothing could be graded."""
        if self.status != "graded":
            return None
        return max(0.0, self.report.score + self.late_points + self.bonus)

    def checks(self) -> Iterator[tuple[ExerciseResult, Check]]:
        """Yields every part with its exercise."""
        if self.report:
            yield from ((e, check) for e in self.report.exercises for check in e.checks)
