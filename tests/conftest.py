"""Leaves out, by name, the tests of a framework that is not installed."""

from importlib.util import find_spec

import pytest

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
