"""What a check shows in a notebook: its table, errors at the student's own line, open gaps."""

import ast
import contextlib
import importlib
import os
import traceback
from pathlib import Path
from typing import Any

GAP = "<YOUR CODE"

# What a framework's own error means, by a part of its message.
EXPLANATIONS = {
    "does not require grad": "no gradient leads from the loss to the agent: it was detached, "
    "turned into NumPy, or computed under no_grad",
    "modified by an inplace operation": "something that the gradient still needs was changed in "
    "place: a[...] = b, a *= b and functions like a.mul_(b) overwrite a, a = a * b makes a new one",
}


class PlainError(Exception):
    """An error that a notebook shows as its message alone: the stack behind it would not help."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this name
        return [f"{type(self).__name__}: {self}"]


class CheckFailed(PlainError):  # noqa: N818 - reads as a verdict, not as an accident
    """At least one property of an exercise does not hold."""


class OpenGaps(PlainError):  # noqa: N818
    """A cell was run while some of its gaps were still to be filled."""


class Sheet:
    """The lines of one check: a property each, passed or not and why."""

    def __init__(self, title: str):
        self.title = title
        self.failures: list[str] = []
        self.lines: list[str] = []

    def add(self, title: str, problem: str = "", note: str = "") -> bool:
        """Adds a line; returns whether the property holds."""
        if problem:
            self.failures.append(f"  ✗ {title}: {problem}")
            self.lines.append(self.failures[-1])
        else:
            self.lines.append(f"  ✓ {title}" + (f" ({note})" if note else ""))
        return not problem

    def close(self) -> None:
        """Prints the table; raises `CheckFailed` with the failed lines if there are any."""
        print(self.title, *self.lines, sep="\n")
        if self.failures:
            count = len(self.failures)
            head = f"{self.title}: {count} of {len(self.lines)} lines failed"
            raise CheckFailed("\n".join([head, *self.failures]))
        print(f"All {len(self.lines)} lines passed.")


def require(namespace: dict[str, Any], sheet: Sheet, *names: str) -> None:
    """Stops the check with a clear line if the notebook lacks something that it needs."""
    for name in names:
        if name not in namespace:
            sheet.add(
                f"{name} is there", "it is not defined: run its cell, gaps filled, before this"
            )
            sheet.close()


def prepare_notebook(name: str) -> None:
    """Makes open gaps answer in plain words, and loads the framework without its noise.

    Args:
        name: `tensorflow` or `pytorch`. A framework may write log lines to the terminal before it
            can be told not to, and the notebook would show them.
    """
    from IPython import get_ipython

    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        importlib.import_module(f"{__package__}.{name}")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)

    shell = get_ipython()
    if shell is None:  # a script has no cells
        return
    installed = shell.input_transformers_post  # speaks before the parser does
    installed[:] = [hook for hook in installed if hook.__name__ != _refuse_open_gaps.__name__]
    installed.append(_refuse_open_gaps)


def _refuse_open_gaps(lines: list[str]) -> list[str]:
    if not any(GAP in line for line in lines):
        return lines
    with contextlib.suppress(SyntaxError):  # the words may stand in a comment or a string
        ast.parse("".join(lines))
        return lines
    places = [f"  line {i}: {line.strip()}" for i, line in enumerate(lines, 1) if GAP in line]
    count = "1 gap is" if len(places) == 1 else f"{len(places)} gaps are"
    raise OpenGaps(
        f"{count} still open in this cell. Replace each <...> with your own code:\n"
        + "\n".join(places)
    )


def describe_error(error: BaseException) -> str:
    """Names an error and the line of the student's own code that it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.line]
    own = [
        frame
        for frame in frames
        if Path(frame.filename).parent != Path(__file__).parent
        and "site-packages" not in frame.filename
    ]
    message = str(error).strip()
    meanings = [words for part, words in EXPLANATIONS.items() if part in message]
    words = meanings[0] if meanings else message
    text = f"{type(error).__name__}: {words.splitlines()[0] if words else ''}"
    return f"{text} (at `{own[-1].line}`)" if own else text
