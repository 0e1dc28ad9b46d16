"""Grades a submission: its answers are measured in a sandbox, and judged here.

Two kernels of the same kind, both sandboxed. The *reference* kernel runs the solution, the right
variants of it that count as well, and, only where something failed, the mutants that explain it.
The *student's* kernel runs the answers and nothing of the solution's. Both are given the same
inputs, drawn from the grading seed.
"""

import ast
import base64
import contextlib
import functools
import importlib.util
import io
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from grading.files import find_weights
from grading.judge import (
    Arrays,
    Part,
    error_of,
    excuse,
    is_close,
    judge,
    same_mistake,
    with_shapes_of,
)
from grading.kernel import CellResult, Kernel, KernelStartError, Limits
from grading.notebook import read_code_cells
from grading.npz import ArchiveError, read_npz
from grading.play import PlayRules, play
from grading.results import Check, ExerciseResult, Report
from grading.sandbox import SLOTS, Sandbox, Unsandboxed
from grading.submission import (
    Answer,
    read_assignment,
    read_submission,
    unreadable_submission,
)

MAX_ARRAY_BYTES = 16 << 20
START_ATTEMPTS = 3
WEIGHT = re.compile(r"weights/\w{1,40}/\d\d", re.ASCII)  # the name of an array of an answer's part
PLAY = "play"
FOREIGN = "made from another template: what that leaves out costs nothing"
EVERYTHING = ("*",)  # what a mutant loses with which nothing can be measured


class Variant(Protocol):
    """The solution with an edit, which is right too or a known mistake, a *mutant*.

    Attributes:
        name, exercise: what it is, and of which exercise.
        counts: whether it is right, with other numbers than the solution's.
        loses: the parts that a mutant fails, by name, or `EVERYTHING`.
        hint: what to tell a student whose numbers are a mutant's.
    """

    name: str
    exercise: str
    counts: bool
    loses: tuple[str, ...]
    hint: str

    def apply(self, source: str) -> str: ...


@dataclass(frozen=True)
class Fit:
    """How an exercise is measured once more, as another answer of the same student would have it.

    It is judged by that if that earns as much or more, so nobody pays for one habit twice.

    Attributes:
        exercise: the other one, which comes before.
        change: takes the inputs and what was measured of the other answer; returns inputs that fit
            it, or nothing if they fit anyway.
        excuses: the other exercise's parts that ask for the usual way; a template that does not ask
            for it leaves them out.
        remark: says that the fitted measurement is the one that was judged.
    """

    exercise: str
    change: Callable[[Arrays, Arrays], Arrays]
    excuses: frozenset[str]
    remark: str


@dataclass(frozen=True)
class ExercisePlan:
    """How an exercise is graded.

    Attributes:
        name: as in `# Exercise: name`, and what the measuring module calls it.
        parts: its points.
        inputs: draws what to measure with.
        rebuilds: whether the solution is to be measured with parts of the student's own making.
        fit: how it may be measured, too.
    """

    name: str
    parts: tuple[Part, ...]
    inputs: Callable[[np.random.Generator], Arrays]
    rebuilds: bool = False
    fit: Fit | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """An assignment in one framework.

    Attributes:
        name: the notebook's, without its ending.
        framework: the module that answers cannot do without.
        solution: the solution notebook.
        given: ids of its cells whose imports and definitions answers may use.
        kit: files and packages that kernels can import; they hold no answers.
        measure: the module among them that measures, by `run(exercise, sources, inputs)`.
        environment: variables of every kernel.
        hidden: packages of this Python that no answer needs, and that could play for it.
        exercises: in the notebook's order.
        variants: right answers and mutants.
        play: what the agent plays for, and how.
        pictures: for some hints what draws a picture of the idea, PNG.
    """

    name: str
    framework: str
    solution: Path
    given: tuple[str, ...]
    kit: tuple[Path, ...]
    measure: str
    environment: dict[str, str]
    hidden: tuple[str, ...]
    exercises: tuple[ExercisePlan, ...]
    play: PlayRules
    variants: Sequence[Variant]
    pictures: Mapping[str, Callable[[], bytes]]

    def part_names(self) -> list[tuple[str, str]]:
        """Returns exercise and name of every part, in order."""
        parts = [(plan.name, part.name) for plan in self.exercises for part in plan.parts]
        return [*parts, (PLAY, PLAY)]


class GraderError(RuntimeError):
    """The grader itself failed: nothing is said about the submission, and trying again may help."""


class Grader(contextlib.AbstractContextManager):
    """Grades submissions of one track, with one reference kernel for all of them.

    Args:
        track: the assignment.
        seed: what all inputs are drawn from; by default drawn afresh.
        sandboxed: whether student code runs in bubblewrap.
        limits: of every student kernel.

    Raises:
        GraderError: the track's framework is not installed.
    """

    def __init__(
        self,
        track: Track,
        seed: int | None = None,
        sandboxed: bool = True,
        limits: Limits | None = None,
    ):
        if importlib.util.find_spec(track.framework) is None:
            raise GraderError(f"{track.name} needs {track.framework}, which is not installed")
        self.track = track
        self.seed = secrets.randbits(53) if seed is None else seed
        self.limits = limits or Limits()
        self._sandbox = Sandbox if sandboxed else Unsandboxed
        self._assignment = read_assignment(track.solution)
        self._solution = {cell.id: cell.source for cell in read_code_cells(track.solution)}
        self._cleanup = contextlib.ExitStack()
        # Accounts limit how many processes run: graders side by side should not share one.
        self._reference_kernel: Kernel | None = None
        self._slot = 2 * secrets.randbelow(SLOTS // 2)
        self._measured: dict[tuple[str, str], Arrays] = {}

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def protection(self) -> str:
        """Which sandbox holds the student's code, in a sentence."""
        return self._make_sandbox(self._slot).protection

    def grade(self, path: Path, weights: Path | None = None, problem: str = "") -> Report:
        """Grades one submission.

        Args:
            path: the notebook.
            weights: the weights that were handed in with it; by default what lies beside it.
            problem: why the notebook cannot be read, if that is known already.

        Raises:
            GraderError: if the grader fails, not the submission.
        """
        if problem:
            submission = unreadable_submission(self._assignment, problem)
        else:
            submission = read_submission(path, self._assignment)
        answers = submission.answers
        results = {name: _ungradable(self._plan(name), a.problem) for name, a in answers.items()}
        complete = [answer for answer in answers.values() if answer.state == "complete"]
        if complete:
            for name, measured in self._measure_answers(complete).items():
                judged = [
                    self._judge(answers[name], arrays, submission.is_foreign) for arrays in measured
                ]
                results[name], *fitted = judged
                if fitted and fitted[0].points >= max(judged[0].points, 1):
                    results[name] = fitted[0]
                    self._note_fit(self._plan(name), results, submission.is_foreign)
        looked_for = ""
        if weights is None:
            weights, looked_for = find_weights(path, self.track.play.weights_name)
        played, video = self._play(answers[self.track.play.agent], weights, looked_for)
        return Report(
            assignment=self.track.name,
            submission=path.name,
            seed=self.seed,
            protection=self.protection,
            exercises=(*(results[plan.name] for plan in self.track.exercises), played),
            reason=submission.problem,
            remarks=(*submission.remarks, *[FOREIGN] * submission.is_foreign),
            video=video,
        )

    def try_variant(self, variant: Variant) -> ExerciseResult:
        """Returns what a variant of the solution would earn, measured in the reference kernel."""
        plan = self._plan(variant.exercise)
        measured = self._measure_solution(plan, variant, {}, plan.name)
        return self._judge(Answer(plan.name, "complete"), measured, is_foreign=False)

    def _plan(self, name: str) -> ExercisePlan:
        return next(plan for plan in self.track.exercises if plan.name == name)

    def _inputs(self, plan: ExercisePlan) -> Arrays:
        """Draws an exercise's inputs, which depend on nothing but the seed and its name."""
        return plan.inputs(np.random.default_rng([self.seed, *plan.name.encode()]))

    # ---- kernels

    @functools.cached_property
    def _kit(self) -> Path:
        """A folder with what kernels may import."""
        folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="kit-")))
        for path in self.track.kit:
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, folder / path.name, ignore=ignored)
            else:
                shutil.copy(path, folder)
        folder.chmod(0o755)
        return folder

    def _make_sandbox(self, slot: int) -> Sandbox | Unsandboxed:
        return self._sandbox(
            slot=slot,
            read_only=[self._kit],
            hidden=[folder for name in self.track.hidden for folder in package_folders(name)],
            environment=dict(self.track.environment),
        )

    def _start(self, cleanup: contextlib.ExitStack, slot: int, limits: Limits) -> Kernel:
        """Starts a kernel that can import the kit; nothing of a student's can make this fail."""
        for attempt in range(START_ATTEMPTS):
            try:
                kernel = cleanup.enter_context(Kernel(self._make_sandbox(slot), limits))
            except KernelStartError as error:
                if attempt == START_ATTEMPTS - 1:
                    raise GraderError(str(error)) from error
            else:
                kernel.run(f"import sys\nsys.path.insert(0, {str(self._kit)!r})")
                return kernel

    @property
    def _reference(self) -> Kernel:
        """The kernel in which the solution runs; another one if that has died."""
        if self._reference_kernel is None or not self._reference_kernel.is_alive:
            self._reference_kernel = self._start_reference()
        return self._reference_kernel

    def _start_reference(self) -> Kernel:
        # It hears its cells again on the channel of their output: weights are large.
        limits = Limits(total_seconds=float("inf"), output_bytes=64 << 20)
        return self._start(self._cleanup, self._slot, limits)

    def _run(
        self, kernel: Kernel, exercise: str, sources: Sequence[str], inputs: Arrays
    ) -> CellResult:
        """Measures one exercise in a kernel; the payload is an `.npz` file."""
        file = io.BytesIO()
        np.savez(file, **inputs)
        encoded = base64.b64encode(file.getvalue()).decode()
        result = f"result_{secrets.token_hex(8)}"
        cell = f"""
import base64, io, numpy
import {self.track.measure} as measure
{result} = measure.run(
    {exercise!r}, {list(sources)!r}, dict(numpy.load(io.BytesIO(base64.b64decode({encoded!r}))))
)
"""
        return kernel.run(cell, fetch=result)

    def _given(self, sources: Sequence[str]) -> list[str]:
        """Returns the given imports and definitions that some sources use, each a source."""
        cells = [self._solution[name] for name in self.track.given]
        return needed_statements("\n".join(cells), "\n".join(sources))

    # ---- the solution's side

    def _measure_solution(
        self, plan: ExercisePlan, variant: Variant | None, extra: Arrays, kind: str
    ) -> Arrays:
        """Measures the solution, or a variant of it, in the reference kernel."""
        source = self._solution[f"{plan.name}-exercise"]
        source = variant.apply(source) if variant else source
        inputs = self._inputs(plan)
        sources = [*self._given([source]), source]
        result = self._run(self._reference, kind, sources, inputs | extra)
        if result.status != "ok" or result.payload is None:
            raise GraderError(f"the solution's kernel failed: {result.error_value}")
        return read_npz(result.payload, MAX_ARRAY_BYTES) | _named_inputs(inputs)

    def _cached(self, plan: ExercisePlan, variant: Variant | None) -> Arrays:
        key = plan.name, variant.name if variant else ""
        if key not in self._measured:
            self._measured[key] = self._measure_solution(plan, variant, {}, plan.name)
        return self._measured[key]

    def _accepted(self, plan: ExercisePlan, measured: Arrays) -> list[Arrays]:
        """What the solution gives, and the right variants of it that give other numbers."""
        if plan.rebuilds:
            rebuilt = self._rebuild(plan, None, measured)
            return [rebuilt] if rebuilt else []
        right = [v for v in self.track.variants if v.exercise == plan.name and v.counts]
        return [self._cached(plan, variant) for variant in (None, *right)]

    def _rebuild(self, plan: ExercisePlan, variant: Variant | None, measured: Arrays) -> Arrays:
        """Measures the solution with parts that a student's kernel described.

        Returns:
            Nothing where there are none, or none that the solution could be made of.
        """
        parts = _parts(measured)
        if not parts:
            return {}
        try:
            rebuilt = self._measure_solution(plan, variant, parts, "rebuilt")
        except GraderError:  # the description is the student's, and so is the blame
            return {}
        return {} if error_of(rebuilt) and variant is None else rebuilt

    def _explain(
        self, plan: ExercisePlan, checks: list[Check], measured: Arrays, accepted: list[Arrays]
    ) -> list[Check]:
        """Adds hints to failed checks whose numbers are a mutant's."""
        failed = {check.name for check in checks if not check.passed}
        if not failed or (plan.rebuilds and not accepted):
            return checks
        hints: dict[str, str] = {}
        parts = {part.name: part for part in plan.parts}
        for mutant in self.track.variants:
            lost = failed if mutant.loses == EVERYTHING else failed & {*mutant.loses}
            if mutant.exercise != plan.name or not lost:
                continue
            if plan.rebuilds:
                theirs = self._rebuild(plan, mutant, measured)
            else:
                theirs = self._cached(plan, mutant)
            for name in lost:
                if name not in hints and same_mistake(parts[name], measured, theirs, accepted):
                    hints[name] = mutant.hint
        return [
            Check(c.name, c.title, c.points, c.maximum, c.message, hints.get(c.name, ""))
            for c in checks
        ]

    # ---- the student's side

    def _measure_answers(self, answers: Sequence[Answer]) -> dict[str, list[Arrays | str]]:
        """Measures answers in one kernel, in a fresh one after each that killed its kernel.

        Returns:
            For each exercise what was measured, or why nothing was; where another answer asks for
            it, in two ways.
        """
        measured: dict[str, list[Arrays | str]] = {}
        with contextlib.ExitStack() as kernels:
            kernel = None
            for answer in answers:
                plan = self._plan(answer.exercise)
                measured[plan.name] = []
                for inputs in self._all_inputs(plan, measured):
                    if kernel is None or not kernel.is_alive:
                        kernel = self._start(kernels, self._slot + 1, self.limits)
                    sources = [*self._given(answer.sources), *answer.sources]
                    result = self._run(kernel, plan.name, sources, inputs)
                    measured[plan.name].append(_read_result(result))
        return measured

    def _all_inputs(
        self, plan: ExercisePlan, measured: Mapping[str, list[Arrays | str]]
    ) -> list[Arrays]:
        """Returns an exercise's inputs, and those that fit another answer, if they differ."""
        inputs = self._inputs(plan)
        other = measured.get(plan.fit.exercise, [""])[0] if plan.fit else ""
        fitted = {} if isinstance(other, str) else plan.fit.change(inputs, other)
        return [inputs, fitted] if fitted else [inputs]

    def _note_fit(
        self, plan: ExercisePlan, results: dict[str, ExerciseResult], is_foreign: bool
    ) -> None:
        """Says that an exercise was judged by its fitted measurement, and what that excuses."""
        fitted, other = results[plan.name], results[plan.fit.exercise]
        results[plan.name] = replace(fitted, remarks=(*fitted.remarks, plan.fit.remark))
        if is_foreign:
            excused = tuple(excuse(other.checks, plan.fit.excuses))
            results[plan.fit.exercise] = replace(other, checks=excused)

    def _play(
        self, answer: Answer, weights: Path | None, looked_for: str
    ) -> tuple[ExerciseResult, bytes | None]:
        """Lets the agent play for marks, in a kernel of its own; returns the best game, too."""
        rules = self.track.play
        title = f"the mean of {rules.n_games} games"
        if answer.state != "complete" or weights is None:
            reason = "there is no agent to play"
            if weights is None:
                reason = f"no weights were handed in; looked for {looked_for}"
            return ExerciseResult(PLAY, (Check(PLAY, title, 0, rules.maximum),), reason), None
        sources = [*self._given(answer.sources), *answer.sources]
        limits = replace(self.limits, total_seconds=2 * rules.seconds)
        with contextlib.ExitStack() as kernels:
            kernel = self._start(kernels, self._slot + 1, limits)
            seed = int(np.random.default_rng([self.seed, *PLAY.encode()]).integers(2**63))
            result = play(
                kernel,
                sources,
                weights,
                rules,
                seed,
                start_another=lambda: self._start(kernels, self._slot + 1, limits),
            )
        check = Check(PLAY, title, result.points, rules.maximum, result.message)
        return ExerciseResult(PLAY, (check,), remarks=result.remarks), result.video

    def _judge(self, answer: Answer, measured: Arrays | str, is_foreign: bool) -> ExerciseResult:
        plan = self._plan(answer.exercise)
        if isinstance(measured, str):
            checks = [Check(p.name, p.title, 0, p.points, measured) for p in plan.parts]
            return ExerciseResult(plan.name, tuple(checks), remarks=answer.remarks)
        measured = measured | _named_inputs(self._inputs(plan))
        accepted = self._accepted(plan, measured)
        if not plan.rebuilds:
            measured = with_shapes_of(measured, accepted[0])
        checks = judge(plan.parts, measured, accepted)
        checks = self._explain(plan, checks, measured, accepted)
        if is_foreign:
            checks = excuse(checks, {part.name for part in plan.parts if part.is_given})
        remarks = answer.remarks
        if plan.rebuilds and not accepted:
            remarks += ("judged by its properties: the solution cannot be made of its parts",)
        elif plan.rebuilds and _differs(plan.parts, checks, measured, accepted):
            remarks += ("judged by its properties: the solution made of its parts differs",)
        return ExerciseResult(plan.name, tuple(checks), remarks=remarks)


def _differs(
    parts: Sequence[Part], checks: Sequence[Check], measured: Arrays, accepted: Sequence[Arrays]
) -> bool:
    """Says whether a part that holds has other numbers than all accepted ones."""
    holding = [part for part, check in zip(parts, checks, strict=True) if check.passed]
    return any(
        not is_close(array, *others, tolerance=1e-3)
        for part in holding
        for array, *others in zip(
            part.evidence(measured), *map(part.evidence, accepted), strict=True
        )
    )


def _ungradable(plan: ExercisePlan, reason: str) -> ExerciseResult:
    checks = tuple(Check(part.name, part.title, 0, part.points) for part in plan.parts)
    return ExerciseResult(plan.name, checks, reason)


def _named_inputs(inputs: Arrays) -> Arrays:
    return {f"inputs/{name}": value for name, value in inputs.items()}


def _parts(measured: Arrays) -> Arrays:
    """What a kernel told of an answer's own parts: their settings and weights."""
    parts = {k: v for k, v in measured.items() if k == "parts" or WEIGHT.fullmatch(k)}
    return parts if "parts" in parts else {}


def _read_result(result: CellResult) -> Arrays | str:
    """Returns the arrays that a student's kernel sent, or why there are none, in words."""
    if result.status not in ("ok", "error"):
        return result.error_value
    if result.payload is None:
        return f"it could not be measured: {result.error_name}: {result.error_value}"[:500]
    try:
        return read_npz(result.payload, MAX_ARRAY_BYTES)
    except ArchiveError as error:
        return f"what its kernel sent back cannot be read: {error}"


def package_folders(name: str) -> list[Path]:
    """Returns the folders that an installed package, or what came with it, lies in."""
    folders = (Path(folder) / name for folder in sys.path if folder)
    return [folder for folder in folders if folder.is_dir()]


def needed_statements(given: str, used_by: str) -> list[str]:
    """Returns those imports and definitions of given code whose names some other code reads."""
    statements = []
    for node in ast.parse(given).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            statements += [_alone(node, alias) for alias in node.names]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign):
            statements.append(node)
    wanted, kept = _names_read(ast.parse(used_by)), []
    for node in reversed(statements):  # what a kept one reads stands before it
        if _names_bound(node) & wanted:
            kept.append(ast.unparse(node))
            wanted |= _names_read(node)
    return kept[::-1]


def _alone(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(node, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(node.module, [alias], node.level)


def _names_read(node: ast.AST) -> set[str]:
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


def _names_bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    return _names_read(node)
