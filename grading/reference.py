"""Measures the solution: what is right, and which known mistake explains a wrong answer.

The solution and those right variants that give other numbers are measured in a worker of their own,
with the same inputs as submissions. Mutants are measured only when something failed.
"""

import itertools
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from grading.assignment import Arrays, Assignment, Exercise, Part, Variant
from grading.draws import generator_of
from grading.gaps import find_gaps, leave_open, target_of, targets_of
from grading.inside.measurement import Measurement, MeasurementError
from grading.judge import is_close, judge, same_mistake, with_shapes_of, without_line
from grading.results import Check
from grading.worker import Limits, Reply, Worker

LIMITS = Limits(total_seconds=float("inf"))
# What explaining a submission may cost. Measured mutants are kept for the next one.
MOST_MUTANTS, MOST_PAIRS = 60, 4
# Wall time for all measurements of an answer's parts, which may be as slow as its author likes.
TAILORED_SECONDS = 90
CLAUSE_END = "; and "  # joins what a judgement says of two mistakes


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
        self._measured: dict[tuple[str, str, frozenset[str]], Measurement] = {}
        self._tailored_seconds = 0.0  # that are left for the current answer

    def inputs(self, exercise: Exercise) -> Arrays:
        """Draws an exercise's inputs, which depend on the seed, its name and nothing else here."""
        return exercise.inputs(generator_of(self._seed, exercise.name))

    def measure(
        self,
        exercise: Exercise,
        variant: Variant | None,
        inputs: Arrays | None = None,
        gaps: frozenset[str] = frozenset(),
        within: float = math.inf,
    ) -> Measurement:
        """Measures the solution or a variant of it, by default with the exercise's own inputs.

        Args:
            exercise: the exercise.
            variant: an edit of the solution, or None.
            inputs: the inputs.
            gaps: what the gaps that are left open assign to; see `gaps.leave_open`.
            within: the wall time that this may take, in seconds.

        Raises:
            GraderError: the worker fails.
        """
        if inputs is None:
            key = exercise.name, variant.name if variant else "", gaps
            if key not in self._measured:
                measured = self.measure(exercise, variant, self.inputs(exercise), gaps)
                if measured.first_error and not variant and not gaps:  # students would pay for it
                    raise GraderError(f"measuring the solution failed: {measured.first_error}")
                self._measured[key] = measured
            return self._measured[key]
        source = self._assignment.solution_of(exercise.name)
        source = leave_open(variant.apply(source) if variant else source, gaps)
        if self._worker is None or not self._worker.is_alive:
            self._worker = self._start(LIMITS)
        sources = [*self._assignment.template.support([source]), source]
        reply = run_measuring(self._worker, self._assignment, exercise, sources, inputs, within)
        if reply.status != "ok":
            raise GraderError(f"measuring the solution failed: {reply.problem}")
        try:
            return with_inputs(Measurement.from_bytes(reply.data), self.inputs(exercise))
        except MeasurementError as error:
            raise GraderError(f"measuring the solution failed: {error}") from error

    def accepted(self, exercise: Exercise, measured: Measurement) -> list[Measurement]:
        """Returns the measurements of the solution and of right variants with other numbers.

        Gaps that the submission left unfinished are open in them, too.

        Raises:
            GraderError: the worker fails, or the solution does not pass.
        """
        gaps = self.unfinished_gaps(exercise, measured)
        if exercise.tailor:
            self._tailored_seconds = TAILORED_SECONDS
            tailored = self._measure_tailored(exercise, None, measured, gaps)
            return [] if tailored is None or tailored.first_error else [tailored]
        solution = self.measure(exercise, None)
        if not gaps and _passes(exercise, with_shapes_of(measured, solution), [solution]):
            return [solution]  # what else would be right does not matter
        accepted = self._measure_right(exercise)
        for check in judge(exercise.parts, accepted[0], accepted):
            if not check.passed:  # students would pay for it
                reason = f"the solution fails {exercise.name}, {check.name}: {check.message}"
                raise GraderError(reason)
        return self._measure_right(exercise, gaps) if gaps else accepted

    def _measure_right(
        self, exercise: Exercise, gaps: frozenset[str] = frozenset()
    ) -> list[Measurement]:
        variants = self._assignment.variants
        right = [v for v in variants if v.exercise == exercise.name and v.counts]
        return [self.measure(exercise, variant, gaps=gaps) for variant in (None, *right)]

    def unfinished_gaps(self, exercise: Exercise, measured: Measurement) -> frozenset[str]:
        """Returns what a submission left open, or fails to assign, that the solution assigns."""
        source = self._assignment.solution_of(exercise.name)
        return frozenset(measured.unfinished) & targets_of(source)

    def gaps_of(self, exercise: Exercise) -> frozenset[str]:
        """Returns what the gaps of an exercise assign to, "" for gaps of whole statements."""
        source = self._assignment.solution_of(exercise.name)
        return frozenset(target_of(source, gap) for gap in find_gaps(source))

    def lost_by(self, exercise: Exercise, gap: str) -> frozenset[str]:
        """Returns the parts that a solution fails in which only this gap is open."""
        gaps = frozenset({gap})
        if exercise.tailor:  # judged by its properties, so that any agent is right
            opened = self.measure(exercise, None, gaps=gaps)
            accepted = [self.measure(exercise, None)]
        else:
            opened, accepted = (
                self.measure(exercise, None, gaps=gaps),
                self._measure_right(exercise),
            )
        failed = (check for check in judge(exercise.parts, opened, accepted) if not check.passed)
        return frozenset(check.name for check in failed)

    def explain(
        self,
        exercise: Exercise,
        checks: Sequence[Check],
        measured: Measurement,
        accepted: Sequence[Measurement],
    ) -> list[Check]:
        """Adds hints to failed checks whose numbers match a mutant's."""
        failed = {c.name: c for c in checks if not c.passed and not c.hint}
        hints: dict[str, str] = {}
        parts = {part.name: part for part in exercise.parts}
        mutants = self._suspects(exercise, failed) if accepted else []
        if all(name.startswith("inputs/") for name in measured):  # as in such mutants
            mutants = [mutant for mutant in mutants if mutant.loses >= parts.keys()]
        for mutant in mutants[:MOST_MUTANTS]:
            lost = failed.keys() & mutant.loses - hints.keys()
            if not lost:
                continue
            if exercise.tailor:
                theirs = self._measure_tailored(exercise, mutant, measured)
            else:
                theirs = self.measure(exercise, mutant)
            for name in lost:
                if theirs is not None and same_mistake(parts[name], measured, theirs, accepted):
                    hints[name] = mutant.hint
        if not exercise.tailor:
            unexplained = [parts[name] for name in failed if name not in hints]
            hints |= self._explain_by_pairs(exercise, unexplained, failed, measured, accepted)
        return [replace(check, hint=hints.get(check.name, check.hint)) for check in checks]

    def explain_failure(
        self, exercise: Exercise, gap: str, words: str, lost: Collection[str]
    ) -> str:
        """Returns the hint of a mutant that fails in a gap as the submission does, or nothing.

        Args:
            exercise: the exercise.
            gap: what the gap assigns to.
            words: the error.
            lost: the parts that depend on the gap.
        """
        for mutant in self._suspects(exercise, lost):
            if mutant.loses >= {*lost}:
                theirs = self.measure(exercise, mutant).unfinished.get(gap, "")
                if without_line(theirs) == without_line(words):
                    return mutant.hint
        return ""

    def _suspects(self, exercise: Exercise, failed: Collection[str]) -> list[Variant]:
        """Returns the mutants that lose a failed part, first those that lose most and no other."""
        mutants = [
            mutant
            for mutant in self._assignment.variants
            if mutant.exercise == exercise.name and mutant.loses & {*failed}
        ]
        return sorted(mutants, key=lambda m: (len(m.loses - {*failed}), len({*failed} - m.loses)))

    def _explain_by_pairs(
        self,
        exercise: Exercise,
        parts: Sequence[Part],
        failed: Mapping[str, Check],
        measured: Measurement,
        accepted: Sequence[Measurement],
    ) -> dict[str, str]:
        """Returns both hints for each part that two mutants together explain.

        A pair is worth measuring if what each mutant alone is told in this part is a clause of what
        the submission is told. All these mutants have been measured before.
        """
        hints: dict[str, str] = {}
        budget = MOST_PAIRS
        for part in parts:
            clauses = failed[part.name].message.split(CLAUSE_END)
            alone = {}
            for mutant in self._suspects(exercise, [part.name]):
                if (exercise.name, mutant.name, frozenset()) in self._measured:
                    told = judge([part], self.measure(exercise, mutant), accepted)[0].message
                    if told and told.partition(": ")[0] in clauses:
                        alone[mutant] = told
            for pair in itertools.combinations(alone, 2):
                if alone[pair[0]] == alone[pair[1]] or not budget:
                    continue
                try:
                    both = _together(exercise, pair)
                    both.apply(self._assignment.solution_of(exercise.name))
                except ValueError:  # both edit the same lines
                    continue
                budget -= 1
                theirs = self.measure(exercise, both)
                if same_mistake(part, measured, theirs, accepted):
                    hints[part.name] = both.hint
                    break
        return hints

    def _measure_tailored(
        self,
        exercise: Exercise,
        variant: Variant | None,
        measured: Measurement,
        gaps: frozenset[str] = frozenset(),
    ) -> Measurement | None:
        """Measures the solution in a submission's place; returns None if that is impossible."""
        inputs = exercise.tailor(self.inputs(exercise), measured)
        if not inputs or self._tailored_seconds <= 0:
            return None
        began = time.monotonic()
        try:
            return self.measure(exercise, variant, inputs, gaps, self._tailored_seconds)
        except GraderError:  # the inputs come from the student's answer, and caused it
            self._worker.stop()  # what it still holds of that answer goes with it
            return None
        finally:
            self._tailored_seconds -= time.monotonic() - began


def _together(exercise: Exercise, pair: Sequence[Variant]) -> Variant:
    """Returns a mutant that makes the mistakes of two."""
    return Variant(
        name=" and ".join(mutant.name for mutant in pair),
        exercise=exercise.name,
        edits=tuple(edit for mutant in pair for edit in mutant.edits),
        loses=frozenset().union(*(mutant.loses for mutant in pair)),
        hint=" ".join(mutant.hint for mutant in pair),
    )


def _passes(exercise: Exercise, measured: Measurement, accepted: Sequence[Measurement]) -> bool:
    return all(check.passed for check in judge(exercise.parts, measured, accepted))


def run_measuring(
    worker: Worker,
    assignment: Assignment,
    exercise: Exercise,
    sources: Sequence[str] | None,
    inputs: Arrays,
    within: float = math.inf,
    beside: Sequence[str] = (),
) -> Reply:
    """Measures an answer in a worker; the bytes of the reply are a `Measurement`.

    Args:
        worker: the worker.
        assignment: the assignment.
        exercise: the exercise.
        sources: the code of the answer; None if a whole notebook has run in this worker.
        inputs: the inputs.
        within: the wall time that this may take, in seconds.
        beside: the code of the answer that this one may use; see `Exercise.beside`.
    """
    data = Measurement(inputs).to_bytes()
    sources = None if sources is None else list(sources)
    others = {"beside": list(beside)} if beside else {}
    return worker.call(
        assignment.measure, data, within=within, exercise=exercise.name, sources=sources, **others
    )


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
        # However small: numbers that are nearly zero on both sides are not equal for that.
        not is_close(array, *others, tolerance=1e-3, least=0)
        for part in passed
        for array, *others in zip(
            part.evidence(measured), *map(part.evidence, accepted), strict=True
        )
    )
