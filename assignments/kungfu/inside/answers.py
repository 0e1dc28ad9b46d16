"""Runs a student's answers beside the grader's modules, in their kernel; of no framework."""

import contextlib
import linecache
from collections.abc import Iterator, Sequence
from typing import Any

from checks.notebook import describe_error


class AnswerError(Exception):
    """A student's code failed or broke its contract; the message says how, in their terms."""


def run_cells(name: str, sources: Sequence[str], **provided: Any) -> dict[str, Any]:
    """Runs cells in a namespace of their own and returns it.

    Args:
        name: of the exercise, for tracebacks.
        sources: the answer last. Cells before may fail: what they were to define is missing then,
            and nothing else.
        provided: globals that other cells would have made.
    """
    namespace: dict[str, Any] = {"__name__": "__main__", **provided}
    for number, source in enumerate(sources):
        file = f"<cell {name} {number}>"
        # tf.function reads the source of what it compiles through this cache, tracebacks do, too.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), namespace)
        except Exception:
            if number == len(sources) - 1:
                raise
    return namespace


@contextlib.contextmanager
def described_errors() -> Iterator[None]:
    """Turns whatever is raised into an `AnswerError` that names the student's own line."""
    try:
        yield
    except BaseException as error:  # the student's code may raise anything
        raise AnswerError(describe_error(error)) from None
