"""The exercise *loss*: is `train_on_rollout` right, number by number?

Every measured number is the gradient by one logit or value of a stand-in agent, see
`checks.measuring`. `checks.loss_cases` holds small rollouts and what is right for them,
`checks.terms` judges and names, for this check and for the grading alike.
"""

import dataclasses
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from checks.arrays import is_close
from checks.frameworks import find_adapter
from checks.loss_cases import CASES, INPUTS, TABLES, right_numbers
from checks.measuring import (
    LossCase,
    LossMeasurement,
    Step,
    StepCalled,
    finish_loss,
    measure_loss,
)
from checks.notebook import describe_error
from checks.parts import AgentBypassed
from checks.sheet import Sheet, require
from checks.terms import (
    TERMS,
    UNANCHORED,
    Arrays,
    Tables,
    find_problem,
    follows_return,
    follows_rollout,
)
from checks.unfinished import Unfinished


def check_loss(namespace: dict[str, Any]) -> None:
    """Checks `train_on_rollout` number by number.

    Args:
        namespace: the notebook's `globals()`, with `train_on_rollout` and what it calls.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: loss", "loss")
    require(namespace, sheet, "train_on_rollout")
    framework = find_adapter(namespace)
    add_lines(framework, namespace, sheet)
    sheet.close()


def add_lines(framework: ModuleType, namespace: dict[str, Any], sheet: Sheet) -> None:
    """Adds all lines of the check.

    Args:
        framework: its adapter.
        namespace: the notebook's globals.
        sheet: where the lines go.
    """
    unfinished = Unfinished(namespace, framework, "loss")

    def measure(case: LossCase, n_calls: int = 1) -> list[LossMeasurement]:
        return unfinished.run(lambda: measure_loss(framework, namespace, case, n_calls))

    try:
        finish_loss(framework, namespace, CASES["peaked"], unfinished)
        peaked, again = measure(CASES["peaked"], 2)
        others = {name: measure(case)[0] for name, case in CASES.items() if name != "peaked"}
    except StepCalled as error:
        sheet.add("train_on_rollout runs", f"{error}: call the agent itself")
        return
    except AgentBypassed as error:
        sheet.add("train_on_rollout runs", str(error))
        return
    except Exception as error:
        sheet.add("train_on_rollout runs", describe_error(error))
        return
    finally:
        unfinished.restore()
    measured = _as_arrays({"peaked": peaked, **others})
    tables = dataclasses.replace(TABLES, policy_names=framework.POLICY)
    told = unfinished.tell(sheet)
    if "step" not in told:
        problem = step_problem(peaked.step, framework.HOW_TO_STEP)
        if not problem and not follows_rollout(measured, tables):
            problem = UNANCHORED
        sheet.add("the optimizer takes one step", problem, part="step")
    if framework.GRADIENTS_ADD_UP and (peaked.step.has_gradients or peaked.step.n_moved):
        problem = own_gradients_problem(again.value_moves, peaked.value_moves)
        problem = problem or own_gradients_problem(again.logit_moves, peaked.logit_moves)
        sheet.add("each step has gradients of its own", problem, part="step")
    _add_terms(measured, sheet, tables, told)


def _as_arrays(measurements: dict[str, LossMeasurement]) -> Arrays:
    """Returns the inputs and the measurements of all cases, by `CASE/FIELD`."""
    arrays = {
        f"inputs/{case}/{field}": np.asarray(value)
        for case, fields in INPUTS.items()
        for field, value in fields.items()
    }
    for case, measurement in measurements.items():
        for field in ("loss", "is_number", "value_moves", "logit_moves", "memory_moves"):
            arrays[f"{case}/{field}"] = np.asarray(getattr(measurement, field))
        if arrays[f"{case}/loss"].dtype.kind != "f":  # None came back, for example
            del arrays[f"{case}/loss"]
        if all(measurement.memories):  # the agent was called in every tick
            for which, pick in (("least", np.min), ("greatest", np.max)):
                ticks = [pick(calls, axis=0) for calls in measurement.memories]
                arrays[f"{case}/{which}_memory"] = np.stack(ticks, axis=1)
    return arrays


def _add_terms(measured: Arrays, sheet: Sheet, tables: Tables, told: set[str]) -> None:
    """Adds a line for each part of the loss."""
    accepted = right_numbers()
    for part, term in TERMS.items():
        if part in told:
            continue
        problem = _judge(part, measured, accepted, tables)
        note = ""
        if part == "value_loss" and follows_return(measured, tables):
            note = "pulled to the n-step return: not what the text asks, and right too"
        sheet.add(term.title, problem, note=note, part=part)


def _judge(part: str, measured: Arrays, accepted: Sequence[Arrays], tables: Tables) -> str:
    try:
        return find_problem(part, measured, accepted, tables)
    except KeyError:  # the loss is missing, since it was no number
        return "it cannot be checked: train_on_rollout must return the loss, one number"


def step_problem(step: Step, how_to_step: str = "") -> str:
    """Says what is wrong with the step of one call, whatever the loss.

    Args:
        step: what it did.
        how_to_step: advice for whoever takes none.
    """
    advice = f": {how_to_step}" if how_to_step else ""
    if step.is_replaced and (step.n_updates != 1 or step.is_bypassed):
        return "a new optimizer is made in every call: its averages are forgotten each time"
    if step.n_updates > 1:
        return f"it takes {step.n_updates} steps in one call"
    if step.is_bypassed:
        return "weights change, but not by the optimizer"
    if not step.n_moved and not step.has_gradients:
        return f"no weight changes, and no gradient is there that is not zero{advice}"
    if not step.n_updates:
        return f"no weight changes, for the optimizer takes no step{advice}"
    if not step.n_moved and not step.has_gradients_first:
        return "it comes before the gradients, so it cannot use them"
    if not step.n_moved:
        return "it moves nothing: gradients were cleared before it, or never got to the optimizer"
    if step.n_moved < step.n_variables:
        return (
            f"some weights never learn: the step changes {step.n_moved} of {step.n_variables} "
            "variables"
        )
    return ""


def own_gradients_problem(again: np.ndarray, first: np.ndarray) -> str:
    """Compares the moves of two calls with the same rollout, from the same weights."""
    if not np.all(np.isfinite(first)) or not np.all(np.isfinite(again)):
        return "it cannot be checked: a gradient is NaN or infinite"
    if is_close(again, first, least=1e-6):
        return ""
    if is_close(again, 2 * first, least=1e-6):
        return (
            "the second step takes the first one's gradients once more: they add up from call to "
            "call until you clear them"
        )
    return "the same rollout moves the same weights another way the second time"
