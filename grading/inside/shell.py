"""The IPython shell in which students' cells run, as they would in a notebook."""

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


class CellError(Exception):
    """A cell failed; the message is its error's name and words."""

    is_plain = True  # it needs no name before it


def make() -> InteractiveShell:
    """Makes the one shell of this process, which keeps no history and shows no colours."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor"
    return InteractiveShell.instance(config=config)


def run_cell(data: bytes) -> None:
    """Runs a cell, magics and all, and shows what it displays.

    Raises:
        CellError: if it raises or is not Python.
    """
    result = InteractiveShell.instance().run_cell(data.decode(), store_history=True)
    error = result.error_before_exec or result.error_in_exec
    if error is not None or not result.success:
        raise CellError(f"{type(error).__name__}: {error}")


def evaluate(data: bytes) -> bytes:
    """Evaluates an expression in the shell's namespace; it must give bytes."""
    return eval(data.decode(), InteractiveShell.instance().user_ns)
