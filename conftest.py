"""Makes `pytest --nbval NOTEBOOK` sound, whatever a tool has done to the notebook's metadata.

Stored outputs prove nothing, so they are not compared: a cell passes if it runs without an error.
Cells that take minutes are skipped: a comment at their top says `# Slow:`. Notebooks run on the
Python that runs pytest, whatever kernel they name.
"""

import os

import pytest

from checks.notebook import is_slow


def pytest_configure(config: pytest.Config) -> None:
    os.environ["CHECKS_AS_TEXT"] = "1"  # so that the kernel's errors say what failed
    config.option.nbval_current_env = not getattr(config.option, "nbval_kernel_name", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if type(item).__name__ == "IPyNbCell":
            skip = is_slow(item.cell.source)
            item.options.update(check=False, check_exception=False, skip=skip)
            item.cell.outputs = []  # nbval fails cells that hold outputs but no execution count
