"""The IPython shell in which students' cells run, as they would in a notebook."""

import sys

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


class CellError(Exception):
    """A cell failed; the message is the name and the text of its error."""

    is_plain = True  # shown without the name of this class


def make() -> InteractiveShell:
    """Creates the only shell of this process, without history and colours."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor"
    shell = InteractiveShell.instance(config=config)
    shell.system = _system
    return shell


def _system(command: str) -> None:
    """Runs a command as `!` does, without a terminal, of which a sandbox has none."""
    sys.stdout.flush()
    InteractiveShell.instance().system_raw(command)


def run_cell(data: bytes) -> None:
    """Runs a cell, including its magics, and shows its output.

    Raises:
        CellError: the cell raises an error or is not Python.
    """
    result = InteractiveShell.instance().run_cell(data.decode(), store_history=True)
    error = result.error_before_exec or result.error_in_exec
    if error is not None or not result.success:
        raise CellError(f"{type(error).__name__}: {error}")


def evaluate(data: bytes) -> bytes:
    """Evaluates an expression in the shell's namespace; its value must be bytes."""
    return eval(data.decode(), InteractiveShell.instance().user_ns)
