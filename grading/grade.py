"""Grades submissions: answers are measured in a sandbox and judged here.

There are three kinds of workers, all sandboxed. The *reader* finds the answers in a notebook. The
*student's* worker runs the answers and has no access to the solution. The *reference's* worker runs
the solution and no student code; see `reference`. Both get the same inputs, drawn from the seed.
"""

import contextlib
import functools
import importlib.util
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from grading import UsageError
from grading.assignment import (
    Arrays,
    Assignment,
    Exercise,
    Stage,
    Trial,
    TrialResult,
    Variant,
    all_assignments,
)
from grading.draws import generator_of, why_not_repeatable
from grading.files import UnreadableError, find_attachment, read_regular_file
from grading.gaps import PLACEHOLDER
from grading.handed_in import find_notebook
from grading.inside.measurement import ABSENT, UNGRADABLE, Measurement, MeasurementError
from grading.judge import excuse, judge, with_shapes_of
from grading.kept import (
    Kept,
    measured_from_bytes,
    measured_to_bytes,
    trial_from_bytes,
    trial_to_bytes,
)
from grading.notebook import MAX_FILE
from grading.reader import Reader, Reading
from grading.reference import GraderError, Reference, differs, run_measuring, with_inputs
from grading.results import Check, ExerciseResult, Report
from grading.run_all import NotebookRun, run_notebook
from grading.sandbox import (
    Sandbox,
    Unsandboxed,
    claimed_slots,
    seen_by_students,
    why_unavailable,
)
from grading.submission import Answer, Submission, unreadable_submission
from grading.versions import digest_of, grading_version, measuring_version
from grading.worker import Limits, Reply, Worker, WorkerStartError

START_ATTEMPTS = 3
LEFT_OUT = "left out, since it fails"
NOT_MEASURED, DEPENDS = "it could not be measured: ", "it depends on "
AS_A_WHOLE = "judged on the names that the whole notebook made, run from the top"
EXCUSED = "graded as made from the template {}: parts that it leaves out cost nothing"
FOREIGN = (
    "it looks as if made from another template: with --template {} what that leaves out is free"
)


class Grader(contextlib.AbstractContextManager):
    """Grades submissions, with one reference for each assignment that they answer.

    Args:
        seed: the seed of all inputs, together with a secret of this installation; random by
            default.
        sandboxed: whether student code runs in bubblewrap.
        limits: for every worker that runs student code.
        assignments: those that submissions may answer; by default, all of the project's.
        template: the template that submissions were made from, if it is not the assignment's own;
            see `Assignment.templates`.
        is_exact: whether trials go on to their ends when their points are certain.

    Raises:
        UsageError: no assignment knows the template, or a seed can repeat nothing.
    """

    def __init__(
        self,
        seed: int | None = None,
        sandboxed: bool = True,
        limits: Limits | None = None,
        assignments: Sequence[Assignment] | None = None,
        template: str = "",
        is_exact: bool = False,
    ):
        if seed is not None and (reason := why_not_repeatable()):
            raise UsageError(f"a seed repeats no grading here: {reason}")
        self.seed = secrets.randbits(53) if seed is None else seed
        self.assignments = all_assignments() if assignments is None else tuple(assignments)
        self.limits = limits or Limits()
        self.template = template
        self.is_exact = is_exact
        known = {name for assignment in self.assignments for name in assignment.templates}
        if template and template not in known:
            expected = ", ".join(sorted(known)) or "none, as there is no other"
            raise UsageError(f"there is no template {template!r}, expected {expected}")
        self._sandbox = Sandbox if sandboxed else Unsandboxed
        self._cleanup = contextlib.ExitStack()
        # Processes are limited by account: graders that run side by side must not share one.
        self._slot = self._cleanup.enter_context(claimed_slots())
        self._reader: Reader | None = None
        self._references: dict[str, Reference] = {}
        self._folders: dict[str, Path] = {}

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def protection(self) -> str:
        """A sentence on the sandbox that student code runs in."""
        return self._sandbox(slot=self._slot).protection

    def read(self, path: Path) -> Reading:
        """Finds the answers in a submission, which may be any file.

        Raises:
            GraderError: the reader itself fails.
        """
        if self._reader is None:
            templates = [assignment.template for assignment in self.assignments]
            # Nothing of a student's runs there, so a notebook can be read without a sandbox, too.
            sandbox = Unsandboxed if why_unavailable() else self._sandbox
            reader = Reader(sandbox(slot=self._slot), templates)
            self._reader = self._cleanup.enter_context(reader)
        try:
            return self._reader.read(path)
        except WorkerStartError as error:
            raise GraderError(str(error)) from error

    def grade(
        self,
        path: Path,
        attachment: Path | None = None,
        kept: Kept | None = None,
    ) -> Report:
        """Grades one submission.

        Args:
            path: the notebook, or a zip with one in it. If it answers no assignment, the first one
                is used.
            attachment: the file handed in with it; by default, one found beside the notebook.
            kept: what was measured of this submission before; gets what is measured.

        Raises:
            GraderError: the grader itself fails, or students' code could read other submissions.
        """
        if self._sandbox is Sandbox and (folder := seen_by_students(path.parent)):
            raise GraderError(
                f"{path} lies in {folder}, which all submissions can read: copy it to another place"
            )
        # Only this account may look in; students' code has none of the folder in its sandbox.
        with tempfile.TemporaryDirectory(prefix="handed-in-") as folder:
            try:
                notebook = find_notebook(path, Path(folder))
                reading = self.read(notebook)
            except UnreadableError as error:
                template = self.assignments[0].template
                notebook, reading = path, Reading(unreadable_submission(template, str(error)), 0)
            assignment = self.assignments[reading.number or 0]
            submission, kept = reading.submission, kept or Kept()
            grading = _Grading(self, assignment, notebook, attachment, submission, kept)
            return replace(grading.report(), submission=path.name)

    def try_variant(self, assignment: Assignment, variant: Variant) -> ExerciseResult:
        """Returns what a variant of the solution would earn, measured like the reference."""
        exercise = assignment.exercise(variant.exercise)
        reference = self.reference(assignment)
        measured = reference.measure(exercise, variant)
        return judge_exercise(reference, exercise, measured)

    def reference(self, assignment: Assignment) -> Reference:
        """Returns the reference of an assignment."""
        if assignment.name not in self._references:
            self._references[assignment.name] = Reference(
                assignment,
                self.seed,
                lambda limits: self.start_worker(self._cleanup, assignment, limits, False),
            )
        return self._references[assignment.name]

    def start_worker(
        self,
        cleanup: contextlib.ExitStack,
        assignment: Assignment,
        limits: Limits,
        for_student: bool = True,
        is_playing: bool = True,
    ) -> Worker:
        """Starts a worker that can import the assignment's `inside` modules.

        No student code can make this fail. Students' workers have an account of their own.

        Args:
            cleanup: stops the worker at the end.
            assignment: the assignment.
            limits: what the worker may use.
            for_student: whether student code runs in it.
            is_playing: whether what could help students to cheat is hidden.

        Raises:
            GraderError: the worker does not start, or a required module is not installed.
        """
        for module in assignment.requires:
            if importlib.util.find_spec(module) is None:
                raise GraderError(f"{assignment.name} needs {module}, which is not installed")
        sandbox = self._sandbox(
            slot=self._slot + for_student,
            hidden=[
                folder
                for name in assignment.hidden * is_playing
                for folder in package_folders(name)
            ],
            environment=dict(assignment.environment),
        )
        for attempt in range(START_ATTEMPTS):
            try:
                modules = [self._inside(assignment)]
                return cleanup.enter_context(Worker(sandbox, limits, modules))
            except WorkerStartError as error:
                if attempt == START_ATTEMPTS - 1:
                    raise GraderError(str(error)) from error

    def _inside(self, assignment: Assignment) -> Path:
        """Returns a folder that every account can read, with copies of what workers may import."""
        if assignment.name in self._folders:
            return self._folders[assignment.name]
        name = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="inside-"))
        folder = self._folders[assignment.name] = Path(name)
        for path in assignment.inside:
            if path.is_dir():
                shutil.copytree(
                    path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(path, folder)
        folder.chmod(0o755)
        return folder


class _Grading:
    """Grades one submission of an assignment."""

    def __init__(
        self,
        grader: Grader,
        assignment: Assignment,
        path: Path,
        attachment: Path | None,
        submission: Submission,
        kept: Kept,
    ):
        self._grader = grader
        self._kept = kept
        self._assignment = assignment
        self._path = path
        self._attachment = attachment
        self._submission = submission
        self._reference = grader.reference(assignment)
        self._is_excused = grader.template in assignment.templates

    def report(self) -> Report:
        submission, answers = self._submission, self._submission.answers
        measured = self._measure_answers()
        results = self._judge_all(measured)
        doubtful = [
            name
            for name, result in results.items()
            if _is_doubtful(result) and not self._is_settled(result, measured.get(name, [""])[0])
        ]
        remarks = []
        if doubtful and submission.cells:
            for name, result in self._judge_run(doubtful, remarks).items():
                if _is_better(result, results[name]):
                    results[name] = replace(result, remarks=(*result.remarks, AS_A_WHOLE))
        video = None
        for trial in self._assignment.trials:
            as_a_whole = AS_A_WHOLE in results[trial.exercise].remarks
            answer = answers[trial.exercise]
            results[trial.name], shown = self._run_trial(trial, answer, as_a_whole)
            video = video or shown
        return Report(
            assignment=self._assignment.name,
            submission=self._path.name,
            seed=self._grader.seed,
            protection=self._grader.protection,
            exercises=tuple(results.values()),
            reason=submission.problem,
            remarks=(*submission.remarks, *self._on_template(), *remarks),
            video=video,
        )

    def _is_settled(self, result: ExerciseResult, measured: Measurement | str) -> bool:
        """Says whether the whole notebook would say the same, so that nobody need run it."""
        is_open = self._submission.answers[result.name].state == "open"
        if is_open and result.reason:  # gaps that are all open are open in the notebook, too
            return True
        if not self._submission.is_all_answers or _n_left_out(result):
            return False
        if isinstance(measured, str):
            # What ended the process may be the answer that was run beside this one.
            is_own = not self._assignment.exercise(result.name).beside
            return bool(measured) and is_own and not measured.startswith(NOT_MEASURED)
        return all(
            check.passed or check.hint or (is_open and _is_left_open(check.message))
            for check in result.checks
        )

    def _on_template(self) -> list[str]:
        if self._is_excused:
            return [EXCUSED.format(self._grader.template)]
        if self._submission.is_foreign and self._assignment.templates:
            return [FOREIGN.format(" or ".join(self._assignment.templates))]
        return []

    def _judge_all(
        self, measured: Mapping[str, list[Measurement | str]]
    ) -> dict[str, ExerciseResult]:
        """Judges all exercises, those that were not measured, too."""
        results = {}
        for exercise in self._assignment.exercises:
            name, answer = exercise.name, self._submission.answers[exercise.name]
            if name not in measured:
                results[name] = _ungradable(exercise, answer.problem)
                continue
            results[name], *fitted = [self._judge(answer, one) for one in measured[name]]
            if fitted and fitted[0].points >= max(results[name].points, 1):
                results[name] = fitted[0]
                self._note_fit(exercise, results)
        return results

    def _judge_run(self, names: Sequence[str], remarks: list[str]) -> dict[str, ExerciseResult]:
        """Runs the whole notebook, and judges some exercises by the names that it made.

        Args:
            names: the exercises.
            remarks: gets what the run skipped, interrupted, or saw fail.
        """
        with contextlib.ExitStack() as workers:

            @functools.cache
            def run() -> NotebookRun:
                return run_notebook(
                    self._submission.cells,
                    lambda limits: self._grader.start_worker(
                        workers, self._assignment, limits, is_playing=False
                    ),
                    self._grader.limits,
                    self._assignment.prepare,
                )

            def measure(exercise: Exercise, inputs: Arrays) -> Measurement | str | None:
                if not run().worker.is_alive:
                    return None
                reply = run_measuring(run().worker, self._assignment, exercise, None, inputs)
                return _read_measurement(reply)

            cells = repr(self._submission.cells)
            notes = self._kept.get(
                self._key("run", cells), lambda: json.dumps(run().notes).encode()
            )
            remarks.append("; ".join(["the whole notebook ran as well", *json.loads(notes)]))
            measured: dict[str, list[Measurement | str]] = {}
            for exercise in self._assignment.exercises:
                if exercise.name not in names:
                    continue
                for inputs in self._all_inputs(exercise, measured):
                    key = self._key("run", cells, exercise.name, Measurement(inputs).to_bytes())
                    found = self._keep_measured(key, functools.partial(measure, exercise, inputs))
                    if found is not None:
                        measured.setdefault(exercise.name, []).append(found)
        there = {name: found for name, found in measured.items() if not _is_absent(found[0])}
        results = self._judge_all(there)
        return {name: results[name] for name in there}

    def _key(self, *parts: str | bytes) -> str:
        """Returns the key of something measured of this submission."""
        return digest_of(measuring_version(self._assignment), repr(self._grader.limits), *parts)

    def _keep_measured(
        self, key: str, measure: Callable[[], Measurement | str | None]
    ) -> Measurement | str | None:
        kept = self._kept.get(key, lambda: measured_to_bytes(measure()))
        return measured_from_bytes(kept)

    def _measure_answers(self) -> dict[str, list[Measurement | str]]:
        """Measures complete answers in one worker, which is replaced after an answer kills it.

        Returns:
            For each exercise its measurement, or why there is none; also an alternative measurement
            if another answer calls for it.
        """
        measured: dict[str, list[Measurement | str]] = {}
        answers = self._submission.answers
        with contextlib.ExitStack() as workers:
            worker = None

            def measure(exercise: Exercise, beside: Sequence[str], inputs: Arrays):
                nonlocal worker
                if worker is None or not worker.is_alive:
                    limits = self._grader.limits
                    worker = self._grader.start_worker(workers, self._assignment, limits)
                sources = answers[exercise.name].sources
                reply = run_measuring(
                    worker, self._assignment, exercise, sources, inputs, beside=beside
                )
                return _read_measurement(reply)

            for answer in answers.values():
                if not answer.sources:
                    continue
                exercise = self._assignment.exercise(answer.exercise)
                beside = answers[exercise.beside].sources if exercise.beside in answers else ()
                code = repr((exercise.name, answer.sources, beside))
                measured[exercise.name] = []
                for inputs in self._all_inputs(exercise, measured):
                    key = self._key("cut out", code, Measurement(inputs).to_bytes())
                    found = self._keep_measured(
                        key, functools.partial(measure, exercise, beside, inputs)
                    )
                    measured[exercise.name].append(found)
        return measured

    def _all_inputs(
        self, exercise: Exercise, measured: Mapping[str, list[Measurement | str]]
    ) -> list[Arrays]:
        """Returns an exercise's inputs and, if they differ, those that fit another answer."""
        inputs = self._reference.inputs(exercise)
        other = measured.get(exercise.fit.exercise, [""])[0] if exercise.fit else ""
        fitted = {} if isinstance(other, str) else exercise.fit.change(inputs, other)
        return [inputs, fitted] if fitted else [inputs]

    def _judge(self, answer: Answer, measured: Measurement | str) -> ExerciseResult:
        exercise = self._assignment.exercise(answer.exercise)
        if isinstance(measured, str):
            checks = [Check(p.name, p.title, 0, p.points, measured) for p in exercise.parts]
            return ExerciseResult(exercise.name, tuple(checks), remarks=answer.remarks)
        measured = with_inputs(measured, self._reference.inputs(exercise))
        result = judge_exercise(self._reference, exercise, measured)
        if answer.state == "open" and not result.points:
            return replace(_ungradable(exercise, answer.problem), remarks=answer.remarks)
        checks = result.checks
        if self._is_excused:
            checks = excuse(checks, {part.name for part in exercise.parts if part.may_be_left_out})
        return replace(result, checks=tuple(checks), remarks=(*answer.remarks, *result.remarks))

    def _note_fit(self, exercise: Exercise, results: dict[str, ExerciseResult]) -> None:
        """Adds the remark on an alternative measurement, and excuses the parts that it explains."""
        fit = exercise.fit
        fitted, other = results[exercise.name], results[fit.exercise]
        results[exercise.name] = replace(fitted, remarks=(*fitted.remarks, fit.remark))
        if self._is_excused:
            excused = tuple(excuse(other.checks, fit.excuses))
            results[fit.exercise] = replace(other, checks=excused)

    def _run_trial(
        self, trial: Trial, answer: Answer, as_a_whole: bool
    ) -> tuple[ExerciseResult, bytes | None]:
        """Runs a trial of an answer, cut out or in its notebook; returns its result and video."""
        attachment, looked_for = self._attachment, ""
        if attachment is None:
            attachment, looked_for = find_attachment(self._path, trial.attachment)
        if (answer.state != "complete" and not as_a_whole) or attachment is None:
            reason = f"there is no {trial.exercise} to {trial.name}"
            if attachment is None:
                reason = f"{trial.missing}; looked for {looked_for}"
            checks = (Check(trial.name, trial.title, 0, trial.points),)
            return ExerciseResult(trial.name, checks, reason), None
        seed = generator_of(self._grader.seed, trial.name)
        with contextlib.ExitStack() as workers:

            def start_worker(seconds: float) -> Worker:
                workers.close()  # an earlier one may hold all that the account may have
                limits = replace(self._grader.limits, total_seconds=seconds)
                return self._grader.start_worker(workers, self._assignment, limits)

            stage = Stage(
                sources=answer.sources,
                cells=self._submission.cells if as_a_whole else (),
                prepare=self._assignment.prepare,
                attachment=attachment,
                seed=int(seed.integers(2**63)),
                is_exact=self._grader.is_exact,
                start_worker=start_worker,
            )
            run = functools.partial(trial.run, stage)
            result = self._keep_trial(trial, stage, run)
        check = Check(trial.name, trial.title, result.points, trial.points, result.message)
        return ExerciseResult(trial.name, (check,), remarks=result.remarks), result.video

    def _keep_trial(
        self, trial: Trial, stage: Stage, run: Callable[[], TrialResult]
    ) -> TrialResult:
        """Returns a trial's result; it is run now unless it is kept."""
        try:
            attached = read_regular_file(stage.attachment, MAX_FILE)
        except UnreadableError:
            return run()
        told = repr((trial.name, stage.sources, stage.cells, stage.seed, stage.is_exact))
        # The rules of a trial are the assignment's: they may change what is played.
        key = self._key("trial", grading_version(self._assignment), told, attached)
        return trial_from_bytes(self._kept.get(key, lambda: trial_to_bytes(run())))


def ungradable_report(assignment: Assignment, name: str, seed: int, reason: str) -> Report:
    """Returns the report of a submission that nobody can grade, and why not."""
    exercises = [_ungradable(exercise, reason) for exercise in assignment.exercises]
    for trial in assignment.trials:
        check = Check(trial.name, trial.title, 0, trial.points)
        exercises.append(ExerciseResult(trial.name, (check,), reason))
    return Report(assignment.name, name, seed, "", tuple(exercises), reason)


@np.errstate(all="ignore")  # the student's numbers may be infinite
def judge_exercise(
    reference: Reference, exercise: Exercise, measured: Measurement
) -> ExerciseResult:
    """Judges the measurement of an answer, and explains its mistakes."""
    if UNGRADABLE in measured.errors:
        return _ungradable(exercise, measured.errors[UNGRADABLE])
    unfinished = measured.unfinished
    if unfinished and reference.gaps_of(exercise) - {""} <= unfinished.keys():  # nothing was done
        return _ungradable(exercise, next(iter(unfinished.values())))
    accepted = reference.accepted(exercise, measured)
    if not exercise.tailor:
        measured = with_shapes_of(measured, accepted[0])
    checks = judge(exercise.parts, measured, accepted)
    checks, lost = _charge_unfinished(reference, exercise, measured, checks)
    remarks = [f"{LEFT_OUT}: {note}" for note in measured.notes]
    if exercise.tailor and not accepted:
        remarks.append(
            "judged by its properties: the solution cannot be rebuilt from the answer's parts"
        )
    elif exercise.tailor and differs(exercise, checks, measured, accepted):
        remarks.append(
            "judged by its properties: the solution rebuilt from the answer's parts differs"
        )
    if exercise.remark:
        with contextlib.suppress(Exception):  # the arrays may be anything
            remarks += filter(None, [exercise.remark(measured)])
    others = [check for check in checks if check.name not in lost]
    hints = reference.explain(exercise, others, measured, accepted)
    explained = {check.name: check for check in hints}
    checks = [explained.get(check.name, check) for check in checks]
    return ExerciseResult(exercise.name, tuple(checks), remarks=tuple(remarks))


def _charge_unfinished(
    reference: Reference, exercise: Exercise, measured: Measurement, checks: Sequence[Check]
) -> tuple[list[Check], set[str]]:
    """Takes the points of what depends on gaps that are open, or in which the answer fails.

    Returns:
        The checks, and the names of those that depend on a gap.
    """
    lost: dict[str, Check] = {}
    for gap in sorted(reference.unfinished_gaps(exercise, measured)):
        depending = reference.lost_by(exercise, gap)
        words = measured.unfinished[gap]
        hint = reference.explain_failure(exercise, gap, words, depending)
        for check in checks:
            if check.name in depending and check.name not in lost:
                lost[check.name] = replace(check, points=0, message=words, hint=hint)
                words = f"{DEPENDS}{gap or 'these lines'}, see above"
    return [lost.get(check.name, check) for check in checks], set(lost)


def _is_absent(measured: Measurement | str) -> bool:
    """Says whether an answer's names were not there to be measured."""
    return isinstance(measured, Measurement) and ABSENT in measured.errors


def _is_doubtful(result: ExerciseResult) -> bool:
    """Says whether a second look could be better for the student."""
    return result.points < result.maximum or _n_left_out(result) > 0


def _is_better(second: ExerciseResult, first: ExerciseResult) -> bool:
    """Says whether a second look at the same answer replaces the first one."""
    if second.points != first.points:
        return second.points > first.points
    if first.reason or second.reason:  # what cannot be measured is accused of nothing
        return not first.reason
    return _n_left_out(second) < _n_left_out(first)


def _is_left_open(message: str) -> bool:
    """Says whether a check failed because of a gap that is open."""
    return message.startswith(DEPENDS) or bool(PLACEHOLDER.search(message))


def _n_left_out(result: ExerciseResult) -> int:
    return sum(note.startswith(LEFT_OUT) for note in result.remarks)


def _ungradable(exercise: Exercise, reason: str) -> ExerciseResult:
    checks = tuple(Check(part.name, part.title, 0, part.points) for part in exercise.parts)
    return ExerciseResult(exercise.name, checks, reason)


def _read_measurement(reply: Reply) -> Measurement | str:
    """Returns the measurement by a student's worker, or why there is none."""
    if reply.status == "error":
        return f"{NOT_MEASURED}{reply.problem}"[:500]
    if reply.status != "ok":
        return reply.problem
    try:
        return Measurement.from_bytes(reply.data)
    except MeasurementError as error:
        return f"its process sent back an invalid reply: {error}"


def package_folders(name: str) -> list[Path]:
    """Returns the folders of this name from which Python could import."""
    folders = (Path(folder) / name for folder in sys.path if folder)
    return [folder for folder in folders if folder.is_dir()]
