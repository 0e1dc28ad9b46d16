"""Measures how exactly right answers agree, and how far off the nearest known mistake is.

    python -m benchmarks.tolerances

writes `tolerances.md` beside this file. A tolerance is sound where it lies far above the first and
far below the second. Numbers depend on nothing but the seeds, and on how a machine rounds.
"""

import contextlib
import io
import logging
import multiprocessing
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np

import checks
import checks.agent
import checks.arrays
import checks.entropy
import checks.loss
import checks.terms
from assignments.kungfu import agent
from assignments.kungfu.tracks import HERE
from assignments.kungfu.tracks import TENSORFLOW as TRACK
from assignments.kungfu.variants import Variant
from assignments.kungfu.variants_tensorflow import ENTROPY, J_HAT, TD_TARGET, VALUE_LOSS
from grading import judge
from grading.assignment import Arrays, Exercise, Part
from grading.inside.measurement import Measurement
from grading.reference import with_inputs
from grading.worker import INSIDE

RIGHT = [variant for variant in TRACK.variants if variant.idea is None]
WRONG = [variant for variant in TRACK.variants if variant.idea]
TABLE = Path(__file__).with_suffix(".md")
SEEDS = range(10)
THREADS = (1, 2)
MUTANT_THREADS = 1  # mutants are far off, and threads move nothing that far
HINT_TOLERANCE = 10 * judge.TOLERANCE  # of `judge.same_mistake`, in every part
SOLUTION = "the solution"

XLA = Variant(
    "XLA",
    "agent",
    (("tf.function(self.forward)", "tf.function(self.forward, jit_compile=True)"),),
)
# The same numbers on paper, rounded elsewhere on the way; other right variants hardly differ.
REPHRASED = Variant(
    "rephrased",
    "loss",
    (
        (
            VALUE_LOSS,
            f"target = {TD_TARGET}\n            value_loss += tf.reduce_mean("
            "target**2 - 2 * target * V_t + V_t**2)",
        ),
        (J_HAT, "J_hat += tf.reduce_sum(logpi_a_s_t * advantage / rewards.shape[0])"),
        (
            ENTROPY,
            "tf.reduce_mean(tf.reduce_logsumexp(logits, -1) - tf.reduce_sum(policy * logits, -1))",
        ),
        ("tf.nn.log_softmax(logits)", "tf.math.log(policy)"),
    ),
)

Measured = dict[str, Measurement]  # by the variant, or by the way in which the solution was run


@dataclass(frozen=True)
class Row:
    """What was found for a part of an exercise; differences are relative, see `difference`.

    Attributes:
        part: `exercise/name`.
        spread: the greatest difference of a right answer.
        nearest: the least difference of a mutant that loses this part; None where the evidence of
            all of them is the solution's, or missing: they fail by an error or by another shape.
        mutant: its name.
        tolerances: with which the judgement compares; () where it compares exactly.
    """

    part: str
    spread: float
    nearest: float | None
    mutant: str
    tolerances: tuple[float, ...]


# ------------------------------------------------------------------------ in processes of their own


def _set_up(threads: int) -> None:
    """Prepares a process in which TensorFlow is yet to be imported."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    os.environ.update(TRACK.environment | dict.fromkeys(names, str(threads)))
    sys.path[:0] = [str(HERE / "inside"), str(INSIDE)]
    # Mutants lose gradients, and every agent is compiled anew: no news here.
    warnings.filterwarnings("ignore", message="Gradients do not exist")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _run(variant: Variant, inputs: Arrays) -> Measurement:
    """Measures a variant as the grader's workers do."""
    import measure_tensorflow

    data, sources = Measurement(inputs).to_bytes(), _sources(variant)
    return Measurement.from_bytes(measure_tensorflow.measure(data, variant.exercise, sources))


def _sources(variant: Variant) -> list[str]:
    source = variant.apply(TRACK.solution_of(variant.exercise))
    return [*TRACK.template.support([source]), source]


def measure_agent(seed: int, mutants: Sequence[Variant], inputs: Arrays) -> Measured:
    """Measures the solution's agent run in every way, and mutants with the same weights."""
    import keras

    def measure(variant: Variant) -> Measurement:
        keras.utils.set_random_seed(seed)  # all draw the same weights, in the same order
        return _run(variant, inputs)

    solution = measure(_variant("agent", SOLUTION))
    xla = measure(XLA)
    ways = {
        SOLUTION: solution,
        "rebuilt": _run(_variant("agent", SOLUTION), agent.put_in_its_place(inputs, solution)),
        "tf.function": solution | _in_place_of_base(solution, "compiled"),
        "XLA": solution | _in_place_of_base(xla, "step"),
    }
    measured = ways | {mutant.name: measure(mutant) for mutant in mutants}
    return {
        name: Measurement(
            {k: v for k, v in arrays.items() if not k.startswith("description/")}, arrays.errors
        )
        for name, arrays in measured.items()
    }


def _in_place_of_base(arrays: Measurement, way: str) -> Arrays:
    return {f"base/{k.partition('/')[2]}": v for k, v in arrays.items() if k.startswith(f"{way}/")}


def measure_loss(seed: int, mutants: Sequence[Variant], inputs: Arrays) -> Measured:
    """Measures the right ways to write the loss that give the solution's numbers, and mutants."""
    right = [v for v in RIGHT if v.exercise == "loss" and not v.counts]
    return {v.name: _run(v, inputs) for v in [*right, REPHRASED, *mutants]}


def _variant(exercise: str, name: str) -> Variant:
    return next(v for v in RIGHT + WRONG if (v.exercise, v.name) == (exercise, name))


MEASURES = {"agent": measure_agent, "loss": measure_loss}


def measure_visible() -> Row:
    """Measures the comparisons that the notebook's own check of the loss makes."""
    from cells import run_cells

    is_close, equal, different = checks.arrays.is_close, [], []

    def watched(measured: np.ndarray, *tables: list, **settings: float) -> bool:
        is_equal = is_close(measured, *tables, **settings)
        nearest = min(difference(measured, np.asarray(table)) for table in tables)
        tolerance = settings.get("tolerance", checks.arrays.TOLERANCE)
        (equal if is_equal else different).append((nearest, tolerance, variant))
        return is_equal

    for variant in [*RIGHT, REPHRASED, *WRONG]:
        if variant.exercise == "loss":
            namespace = run_cells("loss", _sources(variant))
            with (
                mock.patch.object(checks.loss, "is_close", watched),
                mock.patch.object(checks.terms, "is_close", watched),
                mock.patch.object(checks.entropy, "is_close", watched),
                mock.patch.object(checks.arrays, "is_close", watched),
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.suppress(checks.CheckFailed),
            ):
                checks.check_loss(namespace)
    spread = max(size for size, _, variant in equal if variant not in WRONG)
    nearest, tolerance, mutant = min(
        (one for one in different if one[2] in WRONG), key=lambda one: one[0] / one[1]
    )
    return Row("checks.check_loss", spread, nearest, mutant.name, (tolerance,))


# ------------------------------------------------------------------------------------- comparisons


def difference(array: np.ndarray, right: np.ndarray) -> float:
    """Returns max|a - b| / max|b|; infinity where the shapes differ or only b is zero."""
    if np.shape(array) != np.shape(right):
        return float("inf")
    off = float(np.max(np.abs(array - right), initial=0))
    size = float(np.max(np.abs(right), initial=0))
    return off / size if size else float("inf") if off else 0.0


def measure_rows(exercise: str, names: Iterable[str] = (), cases: Iterable[str] = ()) -> list[Row]:
    """Measures the rows of an exercise.

    Args:
        exercise: `agent` or `loss`.
        names: of its parts; by default all.
        cases: of its inputs that the evidence of these parts needs; by default all.
    """
    plan = TRACK.exercise(exercise)
    parts = [part for part in plan.parts if part.name in names or not names]
    lost = {part.name for part in parts}
    mutants = [v for v in WRONG if v.exercise == exercise and lost & {*v.loses}]
    inputs = {seed: _inputs(plan, seed, cases) for seed in SEEDS}
    with contextlib.ExitStack() as pools:
        results: dict[tuple[int, int], Future[Measured]] = {}
        for threads in THREADS:
            pool = pools.enter_context(_processes(threads))
            also = mutants if threads == MUTANT_THREADS else []
            for seed in SEEDS:
                work = MEASURES[exercise], seed, also, inputs[seed]
                results[threads, seed] = pool.submit(*work)
        measured = {key: result.result() for key, result in results.items()}
    complete = {
        (threads, seed): {
            name: with_inputs(arrays, inputs[seed]) for name, arrays in by_name.items()
        }
        for (threads, seed), by_name in measured.items()
    }
    return [_row(exercise, part, complete) for part in parts]


def _processes(threads: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_set_up,
        initargs=(threads,),
    )


def _inputs(plan: Exercise, seed: int, cases: Iterable[str]) -> Arrays:
    inputs = plan.inputs(np.random.default_rng([seed, *plan.name.encode()]))
    return {k: v for k, v in inputs.items() if not cases or k.partition("/")[0] in cases}


def _row(exercise: str, part: Part, measured: dict[tuple[int, int], Measured]) -> Row:
    wrong = {v.name for v in WRONG if v.exercise == exercise}
    losing = {v.name for v in WRONG if v.exercise == exercise and part.name in v.loses}
    spread, tolerances = 0.0, set()
    mutants: list[tuple[float, str]] = []
    for (_, seed), by_name in measured.items():
        solution = measured[THREADS[0], seed][SOLUTION]
        for name, arrays in by_name.items():
            if name in wrong - losing:
                continue
            tolerances |= _tolerances(part, arrays, solution)
            if name not in losing:
                spread = max(spread, _evidence_difference(part, arrays, solution))
                continue
            with contextlib.suppress(KeyError):  # a mutant of which nothing could be measured
                mutants.append((_evidence_difference(part, arrays, solution), name))
    nearest, mutant = min((m for m in mutants if m[0] > 0), default=(None, ""))
    return Row(f"{exercise}/{part.name}", spread, nearest, mutant, tuple(sorted(tolerances)))


def _evidence_difference(part: Part, arrays: Measurement, solution: Measurement) -> float:
    """Returns how far the array of the evidence that differs most is from the solution's."""
    pairs = zip(part.evidence(arrays), part.evidence(solution), strict=True)
    return max(difference(ours, right) for ours, right in pairs)


def _tolerances(part: Part, arrays: Measurement, solution: Measurement) -> set[float]:
    """Returns the tolerances with which a part's judgement compares."""
    used, is_close = set(), judge.is_close

    def watched(*compared: np.ndarray, tolerance: float = judge.TOLERANCE, **others: float) -> bool:
        used.add(tolerance)
        return is_close(*compared, tolerance=tolerance, **others)

    with (
        mock.patch.object(judge, "is_close", watched),
        mock.patch.object(checks.arrays, "is_close", watched),
        mock.patch.object(checks.terms, "is_close", watched),
        mock.patch.object(checks.entropy, "is_close", watched),
        mock.patch.object(checks.agent, "is_close", watched),
    ):
        judge.judge([part], arrays, [solution])
    return used


# ------------------------------------------------------------------------------------------- table


def write_table(rows: Sequence[Row]) -> str:
    """Returns the table and how it was made, as Markdown."""
    python = f"Python {platform.python_version()}"
    packages = [f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy")]
    lines = [
        "# How far right answers and mistakes are from the solution",
        "",
        f"Written by `python -m benchmarks.tolerances` on {datetime.now(UTC):%Y-%m-%d}, with "
        f"{', '.join([python, *packages])} on {platform.machine()}.",
        "",
        f"Differences are max|a − b| / max|b| of the array of a part's evidence that differs most, "
        f"over {len(SEEDS)} grading seeds. Right answers ran with {THREADS[0]} and {THREADS[1]} "
        "threads: the agent eagerly, rebuilt from its parts, under `tf.function` and under XLA; "
        "the loss in every right way of `assignments/kungfu/variants.py` that gives the solution's "
        "numbers, and rephrased to round elsewhere. The nearest mutant is the one among those that "
        "lose the part: inf where its array has another shape, or the solution's is all zeros; "
        "none where only errors, or shapes outside the evidence, give mutants away. What compares "
        f"exactly is matched with mutants, for hints, within {HINT_TOLERANCE:.0e}.",
        "",
        "| part | right answers differ by | nearest mutant differs by | which | tolerance |",
        "|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_write_row(row) for row in rows]) + "\n"


def _write_row(row: Row) -> str:
    nearest = "" if row.nearest is None else f"{row.nearest:.1e}"
    tolerances = ", ".join(f"{tolerance:.0e}" for tolerance in row.tolerances) or "exact"
    return f"| {row.part} | {row.spread:.1e} | {nearest} | {row.mutant} | {tolerances} |"


def read_table(text: str) -> Iterator[Row]:
    """Yields the rows of a table that `write_table` wrote."""
    for line in re.findall(r"^\| (\w+[/.].*) \|$", text, re.MULTILINE):
        part, spread, nearest, mutant, tolerances = (cell.strip() for cell in line.split("|"))
        used = () if tolerances == "exact" else tuple(map(float, tolerances.split(", ")))
        yield Row(part, float(spread), float(nearest) if nearest else None, mutant, used)


def main() -> None:
    rows = [row for exercise in MEASURES for row in measure_rows(exercise)]
    with _processes(THREADS[0]) as pool:
        rows.append(pool.submit(measure_visible).result())
    TABLE.write_text(write_table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
