"""The exercise *optimizer*: is it one of the framework's, and does it go downhill?"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from checks.frameworks import find_adapter
from checks.measuring import descend, find_optimizer, find_stuck, no_trace
from checks.notebook import describe_error, enumerate_names
from checks.sheet import Sheet, require


def check_optimizer(namespace: dict[str, Any]) -> None:
    """Checks that the notebook's optimizer is one of the framework's, and goes downhill.

    Args:
        namespace: the notebook's `globals()`, with `optimizer` or `opt`, and `agent`.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: optimizer", "optimizer")
    framework = find_adapter(namespace)
    name = find_optimizer(framework, namespace)
    require(namespace, sheet, name)
    with no_trace(framework, namespace):
        optimizer = namespace[name]
        problem = _kind_problem(framework, optimizer)
        if sheet.add(f"{name} is one of {framework.OPTIMIZERS}", problem, part="descent"):
            problem = _descent_problem(framework, optimizer, namespace.get("agent"))
            sheet.add("its steps go downhill", problem, part="descent")
    sheet.close()


def _kind_problem(framework: ModuleType, optimizer: Any) -> str:
    if framework.is_optimizer(optimizer):
        return ""
    if framework.is_optimizer_class(optimizer):
        return f"{optimizer.__name__} is the class: call it, with its arguments if you like"
    return f"it is {optimizer!r}: choose one of {framework.OPTIMIZERS}"


def _descent_problem(framework: ModuleType, optimizer: Any, agent: Any) -> str:
    copy = framework.copy_optimizer(optimizer)
    if copy is None:
        return ""
    try:
        path, has_moved = descend(framework, copy, np.float32([3.0, -2.0]))
    except Exception as error:
        return describe_error(error)
    stuck = find_stuck(framework, optimizer, agent, has_moved)
    return path_problem(path.astype(float)) or stuck_problem(stuck)


def path_problem(path: np.ndarray) -> str:
    """Says what is wrong with steps down the sum of squares, `[n_moves + 1, n_weights]`."""
    before, after = path[0], path[-1]
    if not np.all(np.isfinite(path)):
        return "weights become NaN or infinite: the learning rate is far too high"
    if np.all(path == before):
        return "weights stay where they are: the learning rate is zero"
    if np.linalg.norm(after) > 10 * np.linalg.norm(before):
        return "weights get ever further off: the learning rate is far too high, or negative"
    if np.sum((after - before) * before) > 0:
        return (
            "weights move uphill: the learning rate must be positive, and the optimizer must "
            "minimize"
        )
    return ""


def stuck_problem(names: Sequence[str]) -> str:
    """Says which of an agent's variables an optimizer does not move, "" if there are none."""
    return f"some weights never learn: it does not move {enumerate_names(names)}" if names else ""
