"""Measures the solution: what is right, and which known mistake explains a wrong answer.

The solution and those right variants that give other numbers are measured in a worker of their own,
with the same inputs as submissions. Mutants are measured only when something failed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from grading.assignment import Arrays, Assignment, Exercise, Variant
from grading.inside.measurement import Measurement, MeasurementError
from grading.judge import is_close, judge, same_mistake
from grading.results import Check
from grading.worker import Limits, Reply, Worker

LIMITS = Limits(total_seconds=float("inf"))


class GraderError(RuntimeError):
    """The grader itself failed, whatever the submission; trying again may help."""


class Reference:
    """Measures the solution of an assignment and its variants.

    Args:
        assignment: the assignment.
        seed: the seed of all inputs.
        start: starts a worker.
    """

    def __init__(self, assignment: Assignment, seed: int, start: Callable[[Limits], Worker]):
        self._assignment = assignment
        self._seed = seed
        self._start = start
        self._worker: Worker | None = None
        self._measured: dict[tuple[str, str], Measurement] = {}

    def inputs(self, exercise: Exercise) -> Arrays:
        """Draws an exercise's inputs, which depend only on the seed and its name."""
        return exercise.inputs(np.random.default_rng([self._seed, *exercise.name.encode()]))

    def measure(
        self, exercise: Exercise, variant: Variant | None, inputs: Arrays | None = None
    ) -> Measurement:
        """Measures the solution or a variant of it, by default with the exercise's own inputs.

        Raises:
            GraderError: the worker fails.
        """
        if inputs is None:
            key = exercise.name, variant.name if variant else ""
            if key not in self._measured:
                measured = self.measure(exercise, variant, self.inputs(exercise))
                if measured.errors and not variant:  # students would pay for it
                    raise GraderError(f"measuring the solution failed: {measured.first_error}")
                self._measured[key] = measured
            return self._measured[key]
        source = self._assignment.solution_of(exercise.name)
        source = variant.apply(source) if variant else source
        if self._worker is None or not self._worker.is_alive:
            self._worker = self._start(LIMITS)
        sources = [*self._assignment.template.support([source]), source]
        reply = run_measuring(self._worker, self._assignment, exercise, sources, inputs)
        if reply.status != "ok":
            raise GraderError(f"measuring the solution failed: {reply.problem}")
        try:
            return with_inputs(Measurement.from_bytes(reply.data), self.inputs(exercise))
        except MeasurementError as error:
            raise GraderError(f"measuring the solution failed: {error}") from error

    def accepted(self, exercise: Exercise, measured: Measurement) -> list[Measurement]:
        """Returns the measurements of the solution and of right variants with other numbers.

        Raises:
            GraderError: the worker fails, or the solution does not pass.
        """
        if exercise.tailor:
            tailored = self._measure_tailored(exercise, None, measured)
            return [] if tailored is None or tailored.errors else [tailored]
        variants = self._assignment.variants
        right = [v for v in variants if v.exercise == exercise.name and v.counts]
        accepted = [self.measure(exercise, variant) for variant in (None, *right)]
        for check in judge(exercise.parts, accepted[0], accepted):
            if not check.passed:  # students would pay for it
                reason = f"the solution fails {exercise.name}, {check.name}: {check.message}"
                raise GraderError(reason)
        return accepted

    def explain(
        self,
        exercise: Exercise,
        checks: Sequence[Check],
        measured: Measurement,
        accepted: Sequence[Measurement],
    ) -> list[Check]:
        """Adds hints to failed checks whose numbers match a mutant's."""
        failed = {check.name for check in checks if not check.passed}
        hints: dict[str, str] = {}
        parts = {part.name: part for part in exercise.parts}
        for mutant in self._assignment.variants:
            lost = failed & mutant.loses - hints.keys()
            if mutant.exercise != exercise.name or not lost or not accepted:
                continue
            if exercise.tailor:
                theirs = self._measure_tailored(exercise, mutant, measured)
            else:
                theirs = self.measure(exercise, mutant)
            for name in lost:
                if theirs is not None and same_mistake(parts[name], measured, theirs, accepted):
                    hints[name] = mutant.hint
        return [replace(check, hint=hints.get(check.name, "")) for check in checks]

    def _measure_tailored(
        self, exercise: Exercise, variant: Variant | None, measured: Measurement
    ) -> Measurement | None:
        """Measures the solution in a submission's place; returns None if that is impossible."""
        inputs = exercise.tailor(self.inputs(exercise), measured)
        if not inputs:
            return None
        try:
            return self.measure(exercise, variant, inputs)
        except GraderError:  # the inputs come from the student's answer, and caused it
            return None


def run_measuring(
    worker: Worker,
    assignment: Assignment,
    exercise: Exercise,
    sources: Sequence[str],
    inputs: Arrays,
) -> Reply:
    """Measures an answer in a worker; the bytes of the reply are a `Measurement`."""
    data = Measurement(inputs).to_bytes()
    return worker.call(assignment.measure, data, exercise=exercise.name, sources=list(sources))


def with_inputs(measured: Measurement, inputs: Arrays) -> Measurement:
    """Adds the inputs under `inputs/`, replacing anything that the submission put there."""
    return measured | {f"inputs/{name}": np.asarray(value) for name, value in inputs.items()}


def differs(
    exercise: Exercise,
    checks: Sequence[Check],
    measured: Measurement,
    accepted: Sequence[Measurement],
) -> bool:
    """Says whether a part passes with numbers that differ from all accepted ones."""
    passed = [part for part, c in zip(exercise.parts, checks, strict=True) if c.passed]
    return any(
        not is_close(array, *others, tolerance=1e-3)
        for part in passed
        for array, *others in zip(
            part.evidence(measured), *map(part.evidence, accepted), strict=True
        )
    )
