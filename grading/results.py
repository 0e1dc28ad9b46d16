"""What comes out of grading one submission, before anybody has to read it."""

from dataclasses import dataclass

EXIT_FULL_MARKS, EXIT_DEDUCTIONS, EXIT_UNGRADABLE, EXIT_GRADER_FAILED = 0, 1, 10, 20


@dataclass(frozen=True)
class Check:
    """The verdict on one part of an exercise.

    Attributes:
        name: how tables of points and mutants call the part.
        title: what it is about, in the student's words.
        points, maximum: what it earned, and what it could have.
        message: why points are missing, in the grader's words and the student's own numbers.
        hint: the idea that went wrong, where the mistake is a known one.
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
        name: as in `# Exercise: name`; `play` for the games that were played.
        checks: the verdicts on its parts; of an ungradable exercise all with 0 points.
        reason: why it is ungradable, "" if it was graded. Not the same as 0 points: there was
            nothing to judge.
        remarks: what a teacher may want to know.
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
        seed: what all inputs and games were drawn from; the same seed gives the same report.
        protection: which sandbox held the student's code, in a sentence.
        exercises: in the notebook's order.
        reason: why the whole file is ungradable, "" if it is not.
        remarks: what a teacher may want to know.
        video: the best game played, MP4; None if none was.
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
