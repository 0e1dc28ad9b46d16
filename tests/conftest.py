"""Leaves out the tests of a framework that is not installed, and spares the home folder."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

# Where an installation keeps its secret; processes that tests start see it, too.
os.environ["XDG_STATE_HOME"] = str(Path(__file__).parents[1] / "build" / "state")

MODULES = {"tensorflow": "tensorflow", "pytorch": "torch"}


def absent_frameworks() -> list[str]:
    return [name for name, module in MODULES.items() if find_spec(module) is None]


def pytest_report_header() -> list[str]:
    return [f"not installed, so its tests are deselected: {name}" for name in absent_frameworks()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    absent = absent_frameworks()
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in absent)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
