"""The solution's side of grading: what is right, and which known mistake explains what is wrong.

The solution, the right variants of it that count as well and, only where something failed, the
mutants are measured in a worker of their own, with the inputs that submissions are measured with.
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
    """The grader itself failed: nothing is said about the submission, and trying again may help."""


class Reference:
    """Measures the solution of an assignment and its variants.

    Args:
        assignment: whose solution.
        seed: what all inputs are drawn from.
        start: starts a worker.
    """

    def __init__(self, assignment: Assignment, seed: int, start: Callable[[Limits], Worker]):
        self._assignment = assignment
        self._seed = seed
        self._start = start
        self._worker: Worker | None = None
        self._measured: dict[tuple[str, str], Measurement] = {}

    def inputs(self, exercise: Exercise) -> Arrays:
        """Draws an exercise's inputs, which depend on nothing but the seed and its name."""
        return exercise.inputs(np.random.default_rng([self._seed, *exercise.name.encode()]))

    def measure(
        self, exercise: Exercise, variant: Variant | None, inputs: Arrays | None = None
    ) -> Measurement:
        """Measures the solution, or a variant of it; with other inputs, if given.

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
        """What the solution gives, and the right variants of it that give other numbers.

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
        """Adds hints to failed checks whose numbers are a mutant's."""
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
        """Measures the solution in a submission's place; None where that cannot be done."""
        inputs = exercise.tailor(self.inputs(exercise), measured)
        if not inputs:
            return None
        try:
            return self.measure(exercise, variant, inputs)
        except GraderError:  # the inputs are the student's, and so is the blame
            return None


def run_measuring(
    worker: Worker,
    assignment: Assignment,
    exercise: Exercise,
    sources: Sequence[str],
    inputs: Arrays,
) -> Reply:
    """Measures an answer, given by its sources, in a worker; the bytes are a `Measurement`."""
    data = Measurement(inputs).to_bytes()
    return worker.call(assignment.measure, data, exercise=exercise.name, sources=list(sources))


def with_inputs(measured: Measurement, inputs: Arrays) -> Measurement:
    """Adds what was measured with, under `inputs/`, whatever the submission may have put there."""
    return measured | {f"inputs/{name}": np.asarray(value) for name, value in inputs.items()}


def differs(
    exercise: Exercise,
    checks: Sequence[Check],
    measured: Measurement,
    accepted: Sequence[Measurement],
) -> bool:
    """Says whether a part that holds has other numbers than all accepted ones."""
    holding = [part for part, c in zip(exercise.parts, checks, strict=True) if c.passed]
    return any(
        not is_close(array, *others, tolerance=1e-3)
        for part in holding
        for array, *others in zip(
            part.evidence(measured), *map(part.evidence, accepted), strict=True
        )
    )
