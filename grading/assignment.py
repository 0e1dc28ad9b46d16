"""The schema of an assignment: its exercises, how they are judged, and what they are worth.

An assignment is a solution notebook and a Python module or package in `assignments/` that defines
`ASSIGNMENTS`, a tuple of `Assignment`. There is no other list of assignments. How to write one is
explained in `docs/new-assignment.md`.
"""

import functools
import importlib
import math
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grading import UsageError
from grading.files import UnreadableError
from grading.inside.measurement import Measurement
from grading.run_all import NotebookRun, run_cells
from grading.submission import RunCell, Template, read_template
from grading.worker import Worker

ROOT = Path(__file__).parent.parent

Arrays = Mapping[str, np.ndarray]


class AssignmentError(UsageError):
    """An assignment contradicts itself; the message says what was found and expected."""


class Explained(str):
    """Why a part fails, with a hint that explains it whatever else the answer does.

    Attributes:
        hint: what to tell the student.
    """

    hint: str

    def __new__(cls, message: str, hint: str) -> "Explained":
        explained = super().__new__(cls, message)
        explained.hint = hint
        return explained


@dataclass(frozen=True)
class Part:
    """A part of an exercise that earns points of its own.

    Attributes:
        name: its name in reports and variants.
        title: what it is about, in words that students know.
        points: what it is worth.
        judge: takes the measurements of the submission and of each accepted solution, which include
            the inputs as `inputs/NAME`; returns why the part fails, "" if it passes. An exception
            counts as a failure, too. An `Explained` message needs no mutant to find its hint.
        evidence: returns the arrays that the verdict is based on. Two wrong answers make the same
            mistake in this part if these are equal. May raise KeyError if nothing was measured.
        may_be_left_out: whether other templates of the homework neither give it nor ask for it.
            Students of these lose no points by it.
    """

    name: str
    title: str
    points: float
    judge: Callable[[Measurement, Sequence[Measurement]], str]
    evidence: Callable[[Measurement], Sequence[np.ndarray]]
    may_be_left_out: bool = False


@dataclass(frozen=True)
class Fit:
    """An alternative measurement that fits another answer of the same student.

    The better of the two counts, so that one habit does not cost points twice.

    Attributes:
        exercise: the other exercise, which must come first.
        change: takes the inputs and the measurement of the other answer; returns inputs that fit
            that answer, or nothing if the usual inputs do.
        excuses: the other exercise's parts that require the usual way. They cost nothing if the
            student's template does not require it.
        remark: tells the teacher that the alternative measurement was judged.
    """

    exercise: str
    change: Callable[[Arrays, Measurement], Arrays]
    excuses: frozenset[str]
    remark: str


@dataclass(frozen=True)
class Exercise:
    """How an exercise is graded.

    Attributes:
        name: as in `# Exercise: name`; also passed to `Assignment.measure`.
        parts: the parts that earn points.
        inputs: draws the inputs of the measurement, arrays by name.
        tailor: takes the inputs and the measurement of a submission; returns inputs that put the
            solution in the submission's place, or nothing if that is impossible. By default, the
            solution gets the same inputs as every submission.
        beside: the name of an exercise whose answer runs before, as far as it can. Students' code
            meets there what it meets in the notebook.
        fit: an alternative measurement.
        remark: takes the measurements of a submission; returns a remark for the teacher that costs
            nothing, or "".
    """

    name: str
    parts: tuple[Part, ...]
    inputs: Callable[[np.random.Generator], Arrays]
    tailor: Callable[[Arrays, Measurement], Arrays] | None = None
    beside: str = ""
    fit: Fit | None = None
    remark: Callable[[Measurement], str] | None = None


@dataclass(frozen=True)
class Variant:
    """An edit of the solution: another right answer, or a known mistake (a *mutant*).

    Attributes:
        name: what it does differently.
        exercise: the exercise that it edits.
        edits: pairs of old and new text; each old text occurs exactly once in the solution's cell.
        counts: whether it is right although its numbers differ from the solution's.
        loses: the names of the parts that a mutant fails.
        hint: what to tell a student whose numbers match the mutant's.
    """

    name: str
    exercise: str
    edits: tuple[tuple[str, str], ...]
    counts: bool = False
    loses: frozenset[str] = frozenset()
    hint: str = ""

    def apply(self, source: str) -> str:
        """Returns the edited source; raises ValueError if an edit does not fit."""
        for old, new in self.edits:
            if source.count(old) != 1:
                raise ValueError(
                    f"{self.name}: {old!r} occurs {source.count(old)} times in the cell"
                )
            source = source.replace(old, new)
        return source


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a trial has to work with.

    Attributes:
        sources: the code that defines the answer, in order.
        cells: if not empty, the notebook's cells, which run as a whole instead.
        prepare: what to call before they do; see `Assignment.prepare`.
        attachment: the file handed in with the notebook.
        seed: the seed of everything that the trial draws.
        is_exact: whether a trial goes on to its end when its points are certain.
        start_worker: starts a fresh worker with this time limit in seconds, for all calls together.
            The worker ends with the trial, or when another is started.
    """

    sources: Sequence[str]
    cells: Sequence[RunCell] = ()
    prepare: str = ""
    attachment: Path
    seed: int
    is_exact: bool = False
    start_worker: Callable[[float], Worker]

    def define_in(self, worker: Worker) -> list[str] | None:
        """Returns the code to run in a worker; None if the notebook has run there instead."""
        if not self.cells:
            return [*self.sources]
        run_cells(NotebookRun(worker), self.cells, self.prepare)
        return None


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The result of a trial.

    Attributes:
        points: the points earned.
        message: the reason, for the student.
        remarks: notes for the teacher.
        video: a video to show, MP4.
    """

    points: float = 0.0
    message: str
    remarks: tuple[str, ...] = ()
    video: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A test of a whole answer, such as playing games, that the assignment itself runs.

    Attributes:
        name, title: as in `Part`.
        points: the most that it can earn.
        exercise: the exercise whose answer is tested.
        attachment: the file that the notebook writes and students hand in with it, `NAME.ending`.
        missing: what to say if the file was not handed in.
        run: runs the trial.
    """

    name: str
    title: str
    points: float
    exercise: str
    attachment: str
    missing: str
    run: Callable[[Stage], TrialResult]


@dataclass(frozen=True, eq=False, kw_only=True)
class Assignment:
    """An assignment, in one framework.

    Attributes:
        name: its name in reports.
        solution: the solution notebook.
        exercises: in the notebook's order.
        variants: right answers and mutants.
        trials: further tests of whole answers.
        templates: names of other templates that students may have filled in, and that leave out
            some of what this one gives; see `Part.may_be_left_out`.
        given: ids of the solution's cells whose imports and definitions answers may use.
        inside: files and folders that workers can import; they must not contain answers.
        measure: the function that measures an answer, as `module:function`, in a module of `inside`
            or `grading/inside/`. The default, in `grading/inside/functions.py`, is an example.
        prepare: a function called before a whole notebook runs, as `module:function`.
        requires: modules that must be installed.
        environment: environment variables of every worker.
        hidden: installed packages that no answer needs and that could help students to cheat.
        pictures: functions that draw a picture (PNG) of a hint's idea, by hint.

    Raises:
        AssignmentError: the assignment contradicts itself.
    """

    name: str
    solution: Path
    exercises: tuple[Exercise, ...]
    variants: Sequence[Variant] = ()
    trials: tuple[Trial, ...] = ()
    templates: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    inside: tuple[Path, ...] = ()
    measure: str = "functions:measure"
    prepare: str = ""
    requires: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    pictures: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_names("exercises and trials", [e.name for e in (*self.exercises, *self.trials)])
        for exercise in self.exercises:
            self._check_names(f"parts of {exercise.name}", [part.name for part in exercise.parts])
            if not exercise.parts:
                raise self._error(f"exercise {exercise.name} has no parts, expected one or more")
            if exercise.fit:
                self._check_exercise(f"the fit of {exercise.name}", exercise.fit.exercise)
        for part in [*(p for e in self.exercises for p in e.parts), *self.trials]:
            if not (math.isfinite(part.points) and part.points >= 0):
                raise self._error(f"{part.name} is worth {part.points}, expected 0 or more points")
        for variant in self.variants:
            self._check_variant(variant)
        for trial in self.trials:
            self._check_exercise(f"trial {trial.name}", trial.exercise)
        for path in (self.solution, *self.inside):
            if not path.exists():
                raise self._error(f"there is no {path}")

    @functools.cached_property
    def template(self) -> Template:
        """What the solution notebook asks for and provides.

        Raises:
            AssignmentError: it cannot be read, or its exercises are not the assignment's.
        """
        try:
            template = read_template(self.solution.read_bytes(), self.given)
        except UnreadableError as error:
            raise self._error(f"{self.solution}: {error}") from None
        found, expected = [e.name for e in template.exercises], [e.name for e in self.exercises]
        if found != expected:
            raise self._error(f"{self.solution} has the exercises {found}, expected {expected}")
        return template

    def solution_of(self, exercise: str) -> str:
        """Returns the source of the solution's answer."""
        return next(cell.source for cell in self.template.exercises if cell.name == exercise)

    def exercise(self, name: str) -> Exercise:
        """Returns the exercise of this name."""
        return next(exercise for exercise in self.exercises if exercise.name == name)

    def part_names(self) -> list[tuple[str, str]]:
        """Returns the exercise and the name of every part, including trials, in order."""
        parts = [(e.name, part.name) for e in self.exercises for part in e.parts]
        return [*parts, *((trial.name, trial.name) for trial in self.trials)]

    def _check_names(self, what: str, names: list[str]) -> None:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise self._error(f"two {what} are called {', '.join(twice)}")

    def _check_exercise(self, what: str, name: str) -> None:
        known = [exercise.name for exercise in self.exercises]
        if name not in known:
            raise self._error(f"{what} names the exercise {name!r}, expected one of {known}")

    def _check_variant(self, variant: Variant) -> None:
        what = f"variant {variant.name!r}"
        self._check_exercise(what, variant.exercise)
        parts = [part.name for part in self.exercise(variant.exercise).parts]
        if unknown := sorted(variant.loses - {*parts}):
            raise self._error(f"{what} loses {', '.join(unknown)}, expected some of {parts}")
        if variant.loses and (variant.counts or not variant.hint):
            raise self._error(f"{what} loses points: it needs a hint and cannot count as right")

    def _error(self, words: str) -> AssignmentError:
        return AssignmentError(f"assignment {self.name}: {words}")


@functools.cache
def all_assignments() -> tuple[Assignment, ...]:
    """Returns the assignments of all modules in `assignments/`.

    Raises:
        AssignmentError: there are no assignments, or a module defines none.
    """
    if sys.path[0] != str(ROOT):  # first, or an installed package of the same name would win
        sys.path.insert(0, str(ROOT))
    package = importlib.import_module("assignments")
    found: list[Assignment] = []
    for info in pkgutil.iter_modules(package.__path__, "assignments."):
        module = importlib.import_module(info.name)
        if not isinstance(getattr(module, "ASSIGNMENTS", None), tuple):
            raise AssignmentError(f"{info.name} defines no tuple ASSIGNMENTS")
        found += module.ASSIGNMENTS
    if not found:
        raise AssignmentError(f"there is no assignment in {ROOT / 'assignments'}")
    return tuple(found)
