"""Finds the adapter of the framework that a notebook is written in."""

import importlib
import sys
from types import ModuleType
from typing import Any

from checks.sheet import CheckFailed

PACKAGES = {"tensorflow": {"tensorflow", "keras"}, "pytorch": {"torch"}}


def find_adapter(namespace: dict[str, Any]) -> ModuleType:
    """Returns the adapter of the framework that a notebook has imported.

    Where a notebook has imported both (each brings a writer for TensorBoard), it is the one for
    which its set-up cell called `prepare_notebook`.

    Args:
        namespace: the notebook's globals.

    Raises:
        CheckFailed: it has imported none, or both and its set-up says nothing.
    """
    used = {_package_of(value) for value in namespace.values()}
    found = [name for name, packages in PACKAGES.items() if packages & used]
    if len(found) > 1:
        found = [name for name in found if f"{__package__}.{name}" in sys.modules]
    if len(found) != 1:
        raise CheckFailed(
            "This notebook has imported neither TensorFlow nor PyTorch, or both: run its set-up "
            "cell and its imports, then this cell again."
        )
    return importlib.import_module(f"{__package__}.{found[0]}")


def _package_of(value: Any) -> str:
    """Returns the package that a module, or what was imported from it, belongs to."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return str(name).partition(".")[0]
