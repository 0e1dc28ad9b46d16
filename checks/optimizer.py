"""The exercise *optimizer*: is it one of the framework's, and does it go downhill?"""

from types import ModuleType
from typing import Any

import numpy as np

from checks.frameworks import find_adapter
from checks.measuring import no_trace
from checks.notebook import Sheet, describe_error, require


def check_optimizer(namespace: dict[str, Any]) -> None:
    """Checks that the notebook's optimizer is one of the framework's, and goes downhill.

    Args:
        namespace: the notebook's `globals()`, with `optimizer`, in PyTorch `opt`.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: optimizer")
    framework = find_adapter(namespace)
    name = framework.OPTIMIZER
    require(namespace, sheet, name)
    with no_trace(framework, namespace):
        optimizer = namespace[name]
        if sheet.add(
            f"{name} is one of {framework.OPTIMIZERS}", _kind_problem(framework, optimizer)
        ):
            sheet.add("its steps go downhill", _descent_problem(framework, optimizer))
    sheet.close()


def _kind_problem(framework: ModuleType, optimizer: Any) -> str:
    if framework.is_optimizer(optimizer):
        return ""
    if framework.is_optimizer_class(optimizer):
        return f"{optimizer.__name__} is the class: call it, with its arguments if you like"
    return f"it is {optimizer!r}: choose one of {framework.OPTIMIZERS}"


def _descent_problem(framework: ModuleType, optimizer: Any) -> str:
    copy = framework.copy_optimizer(optimizer)
    if copy is None:
        return ""
    try:
        path = framework.descend(copy, np.float32([3.0, -2.0]), n_updates=3).astype(float)
    except Exception as error:
        return describe_error(error)
    return path_problem(path)


def path_problem(path: np.ndarray) -> str:
    """Says what is wrong with steps down the sum of squares, `[n_updates + 1, n_weights]`."""
    before, after = path[0], path[-1]
    if not np.all(np.isfinite(path)):
        return "weights become NaN or infinite: the learning rate is far too high"
    if np.all(path == before):
        return "weights stay where they are: the learning rate is zero"
    if np.linalg.norm(after) > 10 * np.linalg.norm(before):
        return "weights get ever further off: the learning rate is far too high, or negative"
    if np.sum((after - before) * before) > 0:
        return "weights move uphill: the learning rate must be positive"
    return ""
