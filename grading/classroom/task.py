"""One submission of a class: what is sent to a worker of the cluster, and how it is graded there.

The worker shares no file with whoever asks, and keeps its grader from one submission to the next:
the reference's numbers are measured once.
"""

import atexit
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from grading import UsageError
from grading.assignment import Assignment, all_assignments
from grading.classroom.store import Graded
from grading.draws import adopt_secret
from grading.grade import Grader, GraderError
from grading.kept import Kept
from grading.versions import digest_of, grading_version
from grading.worker import Limits


class ClusterLostError(RuntimeError):
    """The scheduler is gone; what has been graded is kept."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How all submissions of a class are graded.

    Attributes:
        seed, template, is_exact, limits: as for `Grader`.
        assignment: the name of the only assignment, "" for all of the project's.
        secret: what all draws follow from, besides the seed.
        version: of the grader, which must be the same everywhere.
    """

    seed: int
    secret: bytes = field(repr=False)
    version: str
    template: str = ""
    assignment: str = ""
    is_exact: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """The assignments that submissions may answer."""
        return choose_assignments(self.assignment)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A submission to grade.

    Attributes:
        key: tells submissions apart.
        name: the notebook's file name.
        notebook: its content.
        attachment: the name and the content of the file handed in with it, if there is one.
        kept: what was measured of it before.
    """

    key: str
    name: str
    notebook: bytes = field(repr=False)
    attachment: tuple[str, bytes] | None = field(default=None, repr=False)
    kept: dict[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task.

    Attributes:
        key: the task's.
        result: a `Graded` in bytes; empty if there is none.
        failure: why not: the grader failed.
        is_deadly: whether each of its workers died, so that the submission itself is to blame.
    """

    key: str
    result: bytes = b""
    failure: str = ""
    is_deadly: bool = False


def choose_assignments(name: str) -> tuple[Assignment, ...]:
    """Returns the assignment of this name, or all of them for "".

    Raises:
        UsageError: there is none of this name.
    """
    found = tuple(a for a in all_assignments() if name in ("", a.name))
    if not found:
        names = ", ".join(a.name for a in all_assignments())
        raise UsageError(f"there is no assignment {name!r}, expected one of {names}")
    return found


def version_of(assignments: Sequence[Assignment]) -> str:
    """Returns a digest of all that verdicts on some assignments depend on."""
    return digest_of(*(grading_version(assignment) for assignment in assignments))


_graders: dict[Settings, Grader] = {}  # in the cluster's worker: one, for the class of now


def grade_one(settings: Settings, task: Task) -> bytes:
    """Grades a submission, in the cluster's worker; returns a `Graded` in bytes.

    Raises:
        GraderError: the grader itself fails, or is not the one that asks.
        MachineError: this machine has too little memory left.
    """
    grader = _grader_for(settings)
    # Only this account may look in; students' code has none of the folder in its sandbox.
    with tempfile.TemporaryDirectory(prefix="submission-") as folder:
        path = Path(folder) / task.name
        path.write_bytes(task.notebook)
        if task.attachment:
            name, data = task.attachment
            path.with_name(name).write_bytes(data)
        attachment = path.with_name(task.attachment[0]) if task.attachment else None
        kept = Kept(task.kept)
        report = grader.grade(path, attachment, kept)
        answers = grader.read(path).submission.answers.values()
    return Graded(
        report=report,
        answers={answer.exercise: answer.source for answer in answers},
        graded_at=datetime.now(UTC).replace(microsecond=0),
        kept=kept.used,
    ).to_bytes()


def _grader_for(settings: Settings) -> Grader:
    """Returns the grader of this class, which is started when its first submission arrives."""
    if settings not in _graders:
        while _graders:
            _graders.popitem()[1].__exit__()
        if (version := version_of(settings.assignments)) != settings.version:
            raise GraderError(
                f"this worker has another version of the grader, {version[:8]} and not "
                f"{settings.version[:8]}: install the same one everywhere"
            )
        adopt_secret(settings.secret)
        _graders[settings] = Grader(
            settings.seed,
            limits=settings.limits,
            assignments=settings.assignments,
            template=settings.template,
            is_exact=settings.is_exact,
        )
    return _graders[settings]


@atexit.register
def _end_graders() -> None:
    while _graders:
        _graders.popitem()[1].__exit__()
