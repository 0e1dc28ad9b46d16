"""What an assignment says of itself: its exercises, how they are judged, and what they are worth.

An assignment is a solution notebook and a Python module, or package, in `assignments/` that defines
`ASSIGNMENTS`, a tuple of `Assignment`. Nothing else lists them. How to write one is told in
`docs/new-assignment.md`.
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
from grading.submission import Template, read_template
from grading.worker import Worker

ROOT = Path(__file__).parent.parent

Arrays = Mapping[str, np.ndarray]


class AssignmentError(UsageError):
    """An assignment contradicts itself; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Part:
    """A part of an exercise that earns points of its own.

    Attributes:
        name: how reports and variants call it.
        title: what it is about, in the student's words.
        points: what it is worth.
        judge: takes what was measured of the submission and of each accepted solution, with the
            inputs among it as `inputs/NAME`; returns why the part fails, "" if it holds. Whatever
            it raises over a submission is a failure too.
        evidence: picks the arrays that the judgement rests on. Two wrong answers are the same
            mistake in this part if these are equal. May raise KeyError where nothing was measured.
        is_given: whether the student's notebook comes with it; a template that leaves it out is not
            the student's fault.
    """

    name: str
    title: str
    points: float
    judge: Callable[[Measurement, Sequence[Measurement]], str]
    evidence: Callable[[Measurement], Sequence[np.ndarray]]
    is_given: bool = False


@dataclass(frozen=True)
class Fit:
    """An alternative measurement, made to fit another answer of the same student.

    The better of the two counts, so that nobody pays twice for one habit.

    Attributes:
        exercise: the other one, which comes before.
        change: takes the inputs and what was measured of the other answer; returns inputs that fit
            it, or nothing if they fit anyway.
        excuses: the other exercise's parts that ask for the usual way; a template that does not ask
            for it leaves them out.
        remark: says that the fitted measurement is the one that was judged.
    """

    exercise: str
    change: Callable[[Arrays, Measurement], Arrays]
    excuses: frozenset[str]
    remark: str


@dataclass(frozen=True)
class Exercise:
    """How an exercise is graded.

    Attributes:
        name: as in `# Exercise: name`, and what `Assignment.measure` is told.
        parts: what it is worth.
        inputs: draws what to measure with, arrays by name.
        tailor: takes the inputs and what was measured of a submission; returns inputs with which
            the solution shows what it would do in the submission's place, or nothing where it
            cannot. By default the solution is measured with the same inputs as everybody.
        fit: how it may be measured, too.
    """

    name: str
    parts: tuple[Part, ...]
    inputs: Callable[[np.random.Generator], Arrays]
    tailor: Callable[[Arrays, Measurement], Arrays] | None = None
    fit: Fit | None = None


@dataclass(frozen=True)
class Variant:
    """The solution with an edit, which is right too or a known mistake, a *mutant*.

    Attributes:
        name: what is done differently.
        exercise: of which exercise.
        edits: pairs of old and new text; each old text stands in the solution's cell exactly once.
        counts: whether it is right, with other numbers than the solution's.
        loses: the parts that a mutant fails, by name.
        hint: what to tell a student whose numbers are a mutant's.
    """

    name: str
    exercise: str
    edits: tuple[tuple[str, str], ...]
    counts: bool = False
    loses: frozenset[str] = frozenset()
    hint: str = ""

    def apply(self, source: str) -> str:
        """Returns the edited source; raises ValueError where an edit does not fit."""
        for old, new in self.edits:
            if source.count(old) != 1:
                raise ValueError(
                    f"{self.name}: {old!r} stands {source.count(old)} times in the cell"
                )
            source = source.replace(old, new)
        return source


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a trial is given.

    Attributes:
        sources: what defines the answer, in order.
        attachment: the file that was handed in with the notebook.
        seed: of all that the trial draws.
        start_worker: starts a fresh worker, of so many seconds in all, which ends with the trial.
    """

    sources: Sequence[str]
    attachment: Path
    seed: int
    start_worker: Callable[[float], Worker]


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What came of a trial.

    Attributes:
        points: what it earned.
        message: why, for the student.
        remarks: what a teacher may want to know.
        video: something to look at, MP4.
    """

    points: float = 0.0
    message: str
    remarks: tuple[str, ...] = ()
    video: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What an answer is put through as a whole, such as games, by code of the assignment's own.

    Attributes:
        name, title: as of a `Part`.
        points: the most that it can earn.
        exercise: whose answer takes part.
        attachment: the file that the notebook writes and students hand in with it, `NAME.ending`.
        missing: what to say where it was not handed in.
        run: puts the answer through it.
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
        name: as reports call it.
        solution: the solution notebook.
        exercises: in the notebook's order.
        variants: right answers and mutants.
        trials: what answers are put through beyond that.
        given: ids of the solution's cells whose imports and definitions answers may use.
        inside: files and folders that workers can import; they hold no answers.
        measure: `module:function` among them, or among those of `grading/inside/`, that measures:
            see `grading/inside/functions.py`, which is the default.
        requires: modules that must be installed.
        environment: variables of every worker.
        hidden: packages of this Python that no answer needs, and that could help to cheat.
        pictures: for some hints what draws a picture of the idea, PNG.

    Raises:
        AssignmentError: it contradicts itself.
    """

    name: str
    solution: Path
    exercises: tuple[Exercise, ...]
    variants: Sequence[Variant] = ()
    trials: tuple[Trial, ...] = ()
    given: tuple[str, ...] = ()
    inside: tuple[Path, ...] = ()
    measure: str = "functions:measure"
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
        """What the solution notebook asks for and gives.

        Raises:
            AssignmentError: it cannot be read, or its exercises are others than these.
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
        """Returns exercise and name of every part, trials included, in order."""
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
            raise self._error(f"{what} is a mistake: it needs a hint, and cannot count as right")

    def _error(self, words: str) -> AssignmentError:
        return AssignmentError(f"assignment {self.name}: {words}")


@functools.cache
def all_assignments() -> tuple[Assignment, ...]:
    """Returns the assignments of all modules in `assignments/`.

    Raises:
        AssignmentError: there is none, or a module defines none.
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
