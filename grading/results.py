"""The results of grading a submission, before they are formatted for a reader."""

import base64
import dataclasses
import json
from dataclasses import dataclass

EXIT_FULL_MARKS, EXIT_DEDUCTIONS, EXIT_UNGRADABLE, EXIT_GRADER_FAILED = 0, 1, 10, 20


@dataclass(frozen=True)
class Check:
    """The verdict on one part of an exercise.

    Attributes:
        name: the part's name in tables of points and in mutants.
        title: what it is about, in words that students know.
        points, maximum: the points that it earned, and those that it could have earned.
        message: why points are missing, with the student's own numbers.
        hint: the misunderstanding, if the mistake is a known one.
    """

    name: str
    title: str
    points: float
    maximum: float
    message: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        return self.points >= self.maximum


@dataclass(frozen=True)
class ExerciseResult:
    """What an exercise earned.

    Attributes:
        name: as in `# Exercise: name`, or the name of a trial.
        checks: the verdicts on its parts; all have 0 points if it is ungradable.
        reason: why it is ungradable, "" if it was graded. Ungradable is not the same as 0 points:
            there was nothing to judge.
        remarks: notes for the teacher.
    """

    name: str
    checks: tuple[Check, ...]
    reason: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        return sum(check.points for check in self.checks)

    @property
    def maximum(self) -> float:
        return sum(check.maximum for check in self.checks)


@dataclass(frozen=True)
class Report:
    """What a submission earned.

    Attributes:
        assignment: its name.
        submission: the file's name, without its folder.
        seed: the seed of all inputs and trials; the same seed gives the same report.
        protection: a sentence on the sandbox that student code ran in.
        exercises: in the notebook's order.
        reason: why the whole file is ungradable, "" if it is not.
        remarks: notes for the teacher.
        video: the first video that a trial made, MP4; None if there is none.
    """

    assignment: str
    submission: str
    seed: int
    protection: str
    exercises: tuple[ExerciseResult, ...]
    reason: str = ""
    remarks: tuple[str, ...] = ()
    video: bytes | None = None

    @property
    def score(self) -> float:
        return sum(exercise.points for exercise in self.exercises)

    @property
    def maximum(self) -> float:
        return sum(exercise.maximum for exercise in self.exercises)

    @property
    def is_ungradable(self) -> bool:
        return all(exercise.reason for exercise in self.exercises)

    @property
    def exit_code(self) -> int:
        if self.is_ungradable:
            return EXIT_UNGRADABLE
        return EXIT_FULL_MARKS if self.score >= self.maximum else EXIT_DEDUCTIONS


def report_to_json(report: Report) -> str:
    """Writes a whole report, with its video, for `report_from_json`."""
    video = None if report.video is None else base64.b64encode(report.video).decode()
    return json.dumps(dataclasses.asdict(report) | {"video": video})


def report_from_json(text: str) -> Report:
    """Reads what `report_to_json` wrote."""
    fields = json.loads(text)
    exercises = tuple(
        ExerciseResult(
            **exercise
            | {
                "checks": tuple(Check(**check) for check in exercise["checks"]),
                "remarks": tuple(exercise["remarks"]),
            }
        )
        for exercise in fields["exercises"]
    )
    video = None if fields["video"] is None else base64.b64decode(fields["video"])
    rest = {"exercises": exercises, "remarks": tuple(fields["remarks"]), "video": video}
    return Report(**fields | rest)
