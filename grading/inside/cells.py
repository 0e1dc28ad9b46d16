"""Runs the cells of an answer, and names the student's own line in which they fail."""

import linecache
import traceback
from collections.abc import Sequence
from typing import Any

MAX_WORDS = 200  # characters of an error that are shown


def run_cells(
    name: str, sources: Sequence[str], failed: list[str] | None = None, **provided: Any
) -> dict[str, Any]:
    """Runs cells in a namespace of their own and returns it.

    Args:
        name: the exercise's name, for tracebacks.
        sources: the cells, the answer last. Earlier cells may fail; then only the names that they
            should define are missing.
        failed: gets descriptions of the errors in cells before the last.
        provided: globals that other cells would have defined.
    """
    namespace: dict[str, Any] = {"__name__": "__main__", **provided}
    for number, source in enumerate(sources):
        file = f"<cell {name} {number}>"
        # Tracebacks, and tools that compile functions, read sources from this cache.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), namespace)
        except Exception as error:
            if number == len(sources) - 1:
                raise
            if failed is not None:
                failed.append(describe_failure(error))
    return namespace


def describe_failure(error: BaseException) -> str:
    """Names an error and the line of the student's own code that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.line for frame in frames if frame.filename.startswith("<cell ")]
    words = f"{type(error).__name__}: {error}".strip(": ")[:MAX_WORDS]
    return f"{words} (at `{own[-1]}`)" if own else words
