"""What a notebook says in plain words: errors at the student's own line, and open gaps.

Also which of its cells are slow.
"""

import ast
import codecs
import contextlib
import importlib
import io
import os
import re
import sys
import traceback
import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType

GAP = "<YOUR CODE"

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
    "and bias type (": "a layer's input and its weights are numbers of different types: what the "
    "games give is float32, and so are weights unless they are told otherwise",
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
# The files of cells: in a notebook, in Colab, in IPython, and where a cell is run by itself.
CELL = re.compile(
    r"[/\\]ipykernel_\d+[/\\]|[/\\]ipython-input-[\d-]+\.py$|^<ipython-input-|^<cell "
)
SLOW = re.compile(r"#+\s*Slow\s*:")
# What is printed where an encoding lacks a character and it is not made of others.
INSTEAD = {"✓": "+", "✗": "x", "·": "*", "×": "x", "−": "-", "→": "->", "≠": "!=", "’": "'"}


class PlainError(Exception):
    """An error that a notebook shows as its message alone: the stack behind it would not help."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this name
        return [f"{type(self).__name__}: {self}"]


class OpenGaps(PlainError):  # noqa: N818
    """A cell was run while some of its gaps were still to be filled."""


def is_slow(source: str) -> bool:
    """Says whether a cell is marked `# Slow:`, so that nobody runs it without need.

    Magics, other comments and blank lines may stand above the mark, but no Python.
    """
    for line in map(str.strip, source.removeprefix("\ufeff").splitlines()):
        if SLOW.match(line):
            return True
        if line and line[0] not in "#%!":
            return False
    return False


def print_in_any_encoding() -> None:
    """Makes printing replace what the encoding lacks, where it would fail.

    What Windows prints into a file or to another program is in an encoding of some 200 characters.
    """
    codecs.register_error("readable", _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a kernel's are not, and take everything
            stream.reconfigure(errors="readable")


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Writes characters that cannot be encoded with others."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_in_ascii, lacking)), error.end


def _in_ascii(character: str) -> str:
    if character in INSTEAD:
        return INSTEAD[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK") and " LETTER " in name:
        return name.rpartition(" ")[2].lower()  # π is pi
    parts = [c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)]
    return "".join(parts) if "".join(parts).isascii() else "?"


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
        print_in_any_encoding()
        return
    installed = shell.input_transformers_post  # speaks before the parser does
    installed[:] = [hook for hook in installed if hook.__name__ != _refuse_open_gaps.__name__]
    installed.append(_refuse_open_gaps)


def lines_with_gaps(lines: Sequence[str]) -> list[int]:
    """Returns the numbers of a cell's lines, from 1, in which gaps are open."""
    numbers = [number for number, line in enumerate(lines, 1) if GAP in line]
    with contextlib.suppress(SyntaxError):  # the words may stand in a comment or a string
        if numbers:
            ast.parse("".join(lines))
        return []
    return numbers


def _refuse_open_gaps(lines: list[str]) -> list[str]:
    places = [f"  line {i}: {lines[i - 1].strip()}" for i in lines_with_gaps(lines)]
    if not places:
        return lines
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
