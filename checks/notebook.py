"""What a check shows in a notebook: its table, errors at the student's own line, open gaps."""

import ast
import contextlib
import importlib
import json
import os
import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from checks.points import POINTS

GAP = "<YOUR CODE"
RECORD = "CHECKS_RECORD"  # the environment variable with the file that results go to

# What a framework's own error means, by a part of its message.
EXPLANATIONS = {
    "does not require grad": "no gradient leads from the loss to the agent: it was detached, "
    "turned into NumPy, or computed under no_grad",
    "modified by an inplace operation": "something that the gradient still needs was changed in "
    "place: a[...] = b, a *= b and functions like a.mul_(b) overwrite a, a = a * b makes a new one",
    "'SymbolicTensor' object has no attribute 'numpy'": "there is no .numpy() while TensorFlow "
    "compiles: use its own operations",
    "numpy() is only available when eager": "there is no .numpy() while TensorFlow compiles: use "
    "its own operations",
    "NumPy array conversion": "NumPy cannot work on tensors while TensorFlow compiles: use its own "
    "operations",
    "Can't call numpy() on Tensor that requires grad": "NumPy keeps no gradients: .detach() first "
    "where none are needed, and PyTorch's own operations where they are",
}
# What a framework adds to its messages for its own developers.
NOISE = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\x1b\[[0-9;]*m",
        r" with name 'None'(?= of layer)",
        r"Exception encountered when calling .*?\n\n",
        r"\n\n(Call a|A)rguments received by .*",
        r"\{\{function_node [^}]*\}\}",
        r" for '\{\{node [^}]*\}\} = .*?'(?= with|$)",
        r"\[Op:\w+\].*",
        r"\bname: \S*\s*$",
    )
)
SHAPE = r"([\[(][\d, ?None]*[\])])"
DO_NOT_FIT = "{} met {}: these shapes do not fit"
PRODUCT = "{} met {} in a matrix product: the inner lengths must be the same"
SHAPES = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (rf"Incompatible shapes: {SHAPE} vs\. {SHAPE}", DO_NOT_FIT),
        (rf"with input shapes: {SHAPE}, {SHAPE}", DO_NOT_FIT),
        (rf"values\[\d+\]\.shape = {SHAPE} != values\[\d+\]\.shape = {SHAPE}", DO_NOT_FIT),
        (rf"shape\[\d+\] = {SHAPE} vs\. shape\[\d+\] = {SHAPE}", DO_NOT_FIT),
        (rf"got {SHAPE} at entry \d+ and {SHAPE} at entry \d+", DO_NOT_FIT),
        (rf"broadcast together with shapes {SHAPE} {SHAPE}", DO_NOT_FIT),
        (
            r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)",
            "lengths {} and {} met along one axis: these shapes do not fit",
        ),
        (rf"In\[0\]: {SHAPE}, In\[1\]: {SHAPE}", PRODUCT),
        (r"shapes cannot be multiplied \((\d+x\d+) and (\d+x\d+)\)", PRODUCT),
    )
)
MAX_NAMES = 3  # of variables in a message
MAX_MESSAGE = 5000  # characters of a message that are read
# The files of cells: in a notebook, in IPython, and where a cell is run by itself.
CELL = re.compile(r"[/\\]ipykernel_\d+[/\\]|^<ipython-input-|^<cell ")


class PlainError(Exception):
    """An error that a notebook shows as its message alone: the stack behind it would not help."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this name
        return [f"{type(self).__name__}: {self}"]


class CheckFailed(PlainError):  # noqa: N818 - reads as a verdict, not as an accident
    """At least one property of an exercise does not hold."""


class OpenGaps(PlainError):  # noqa: N818
    """A cell was run while some of its gaps were still to be filled."""


class Sheet:
    """The lines of one check: a property each, passed or not and why.

    Args:
        title: the heading.
        exercise: the exercise in `points.POINTS` whose parts the lines belong to, "" for none.
    """

    def __init__(self, title: str, exercise: str = ""):
        self.title, self.exercise = title, exercise
        self.failures: list[str] = []
        self.lines: list[str] = []
        self.remarks: list[str] = []
        self._problems: dict[str, list[str]] = {}  # of each part that has lines; "" for all parts

    def add(self, title: str, problem: str = "", note: str = "", part: str = "") -> bool:
        """Adds a line; returns whether the property holds.

        Args:
            title: the property.
            problem: why it does not hold, "" if it does.
            note: more about a property that holds.
            part: the part of the exercise that the line belongs to. A line without one belongs to
                all parts: if it fails, nothing could be checked.
        """
        if part and part not in POINTS[self.exercise]:
            raise ValueError(f"{self.exercise} has the parts {[*POINTS[self.exercise]]}, no {part}")
        problems = self._problems.setdefault(part, [])
        if problem:
            problems.append(f"{title}: {problem}")
            self.failures.append(f"  ✗ {problems[-1]}")
            self.lines.append(self.failures[-1])
        else:
            self.lines.append(f"  ✓ {title}" + (f" ({note})" if note else ""))
        return not problem

    def fail(self, title: str, problem: str, *parts: str) -> None:
        """Adds a line that fails, and with it some parts of the exercise, or none."""
        self.failures.append(f"  ✗ {title}: {problem}")
        self.lines.append(self.failures[-1])
        for part in parts:
            self._problems.setdefault(part, []).append(f"{title}: {problem}")

    def remark(self, title: str, words: str) -> None:
        """Adds advice, which costs nothing."""
        self.remarks.append(f"  ! {title}: {words}")

    def parts(self) -> dict[str, str]:
        """Returns for each part of the exercise why it fails, "" if it passes."""
        return {part: self._problem_of(part) for part in POINTS.get(self.exercise, ())}

    def _problem_of(self, part: str) -> str:
        problems = [*self._problems.get(part, ()), *self._problems.get("", ())]
        is_checked = part in self._problems or not any(self._problems)
        if problems or (is_checked and self._problems):
            return problems[0] if problems else ""
        first = self.failures[0].removeprefix("  ✗ ") if self.failures else "it has no line"
        return f"not checked: {first}"

    def close(self) -> None:
        """Prints the table; raises `CheckFailed` with the failed lines if there are any."""
        self._record()
        print(self.title, *self.lines, *self.remarks, sep="\n")
        if self.failures:
            count = len(self.failures)
            head = f"{self.title}: {count} of {len(self.lines)} lines failed"
            raise CheckFailed("\n".join([head, *self.failures]))
        print(f"All {len(self.lines)} lines passed.")

    def _record(self) -> None:
        """Appends the parts to the file that `python -m checks` reads, if it runs the notebook."""
        if self.exercise and (path := os.environ.get(RECORD)):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"exercise": self.exercise, "parts": self.parts()}) + "\n")


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


def describe_error(error: BaseException, missing: Mapping[str, str] = MappingProxyType({})) -> str:
    """Says in plain words what went wrong, and at which line of the student's own code.

    Args:
        error: what was raised.
        missing: why names are not defined, by name: an import or a cell failed before.
    """
    message = str(error)[:MAX_MESSAGE]
    line = _own_line_in(message) or _own_line(error)
    words = f"{type(error).__name__}: {_plain(message)}".strip(": ")
    if isinstance(error, NameError) and error.name in missing:
        words = f"{error.name} is not there: {missing[error.name]}"
    return _shorten(words, 200) + (f" (at `{_shorten(line, 80)}`)" if line else "")


def enumerate_names(names: Sequence[str]) -> str:
    """Returns names for a message, the first few and how many more there are."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{more}"


def _own_line(error: BaseException) -> str:
    """Returns the innermost line of an error that stands in a cell, "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.line for f in reversed(frames) if f.line and CELL.search(f.filename)), "")


def _own_line_in(message: str) -> str:
    """Returns the same from a message in which TensorFlow tells where compiling failed."""
    places = re.findall(r'^ *File "(.+)", line \d+, in .*\n *(.+)$', message, re.MULTILINE)
    return next((line for file, line in reversed(places) if CELL.search(file)), "")


def _plain(message: str) -> str:
    """Returns the sentence of a framework's message that says something, in plain words."""
    for part, words in EXPLANATIONS.items():
        if part in message:
            return words
    if message.startswith("in user code:"):  # places, then the error itself
        message = message.strip().split("\n\n")[-1].strip().partition(": ")[2]
    for noise in NOISE:
        message = noise.sub("", message)
    for pattern, words in SHAPES:
        if found := pattern.search(message):
            return words.format(*map(_in_python, found.groups()))
    return next((line.strip() for line in message.splitlines() if line.strip()), "")


def _in_python(shape: str) -> str:
    """Returns a shape, `[5,3]` or `5x3`, as `(5, 3)`, and a single length as it is."""
    if shape.isdigit():
        return shape
    lengths = re.findall(r"\d+|None|\?", shape)
    return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def _shorten(text: str, n_characters: int) -> str:
    return text if len(text) <= n_characters else f"{text[: n_characters - 2].rstrip()} …"
