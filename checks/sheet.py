"""The table of one check: a line for each property, with what was found and why it matters."""

import html
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from checks.notebook import PlainError
from checks.points import POINTS

RECORD = "CHECKS_RECORD"  # the environment variable with the file that results go to
AS_TEXT = "CHECKS_AS_TEXT"  # set where nobody looks at the notebook itself
PASSED, FAILED, ADVICE = "✓", "✗", "!"

# A mark's word and colours. Text on its own ground can be read in light and in dark.
_MARKS = {
    FAILED: ("fails", "#ffffff", "#b3261e"),
    ADVICE: ("advice", "#1f1f1f", "#f2c14e"),
    PASSED: ("passes", "#ffffff", "#1b6e3c"),
}
_CELL = "text-align: left; vertical-align: top; white-space: normal; overflow-wrap: break-word"


class CheckFailed(PlainError):  # noqa: N818 - reads as a verdict, not as an accident
    """At least one property of an exercise does not hold."""


class Line(NamedTuple):
    """A property, whether it holds, and what there is to say about it."""

    mark: str
    title: str
    words: str = ""

    def __str__(self) -> str:
        if self.mark == PASSED:
            return f"  {PASSED} {self.title}" + (f" ({self.words})" if self.words else "")
        return f"  {self.mark} {self.title}: {self.words}"


class Sheet:
    """The lines of one check: a property each, passed or not and why.

    Args:
        title: the heading.
        exercise: the exercise in `points.POINTS` whose parts the lines belong to, "" for none.
    """

    def __init__(self, title: str, exercise: str = ""):
        self.title, self.exercise = title, exercise
        self._lines: list[Line] = []
        self._advice: list[Line] = []
        self._problems: dict[str, list[str]] = {}  # of each part that has lines; "" for all parts

    @property
    def failures(self) -> list[str]:
        """The lines that fail, as text."""
        return [str(line) for line in self._lines if line.mark == FAILED]

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
            self._lines.append(Line(FAILED, title, problem))
        else:
            self._lines.append(Line(PASSED, title, note))
        return not problem

    def fail(self, title: str, problem: str, *parts: str) -> None:
        """Adds a line that fails, and with it some parts of the exercise, or none."""
        self._lines.append(Line(FAILED, title, problem))
        for part in parts:
            self._problems.setdefault(part, []).append(f"{title}: {problem}")

    def remark(self, title: str, words: str) -> None:
        """Adds advice, which costs nothing."""
        self._advice.append(Line(ADVICE, title, words))

    def parts(self) -> dict[str, str]:
        """Returns for each part of the exercise why it fails, "" if it passes."""
        return {part: self._problem_of(part) for part in POINTS.get(self.exercise, ())}

    def _problem_of(self, part: str) -> str:
        problems = [*self._problems.get(part, ()), *self._problems.get("", ())]
        is_checked = part in self._problems or not any(self._problems)
        if problems or (is_checked and self._problems):
            return problems[0] if problems else ""
        failures = self.failures
        first = failures[0].removeprefix(f"  {FAILED} ") if failures else "it has no line"
        return f"not checked: {first}"

    def close(self) -> None:
        """Shows the table, as HTML in a notebook.

        Raises:
            CheckFailed: if there are failed lines. Where the table is text, the message lists them.
        """
        self._record()
        failures = self.failures
        if _is_seen_in_notebook():
            from IPython.display import display

            display({"text/plain": self._as_text(), "text/html": self._as_html()}, raw=True)
            if failures:
                raise CheckFailed(f"{self._verdict()}, see the table above")
            return
        print(self._as_text())
        if failures:
            raise CheckFailed("\n".join([f"{self.title}: {self._verdict()}", *failures]))

    def _verdict(self) -> str:
        count, n_failed = len(self._lines), len(self.failures)
        return f"{n_failed} of {count} lines failed" if n_failed else f"All {count} lines passed."

    def _as_text(self) -> str:
        end = [] if self.failures else [self._verdict()]
        return "\n".join([self.title, *map(str, [*self._lines, *self._advice]), *end])

    def _as_html(self) -> str:
        order = [*_MARKS]
        lines = sorted([*self._lines, *self._advice], key=lambda line: order.index(line.mark))
        rows = "".join(map(_as_row, lines))
        heading = html.escape(f"{self.title}: {self._verdict()}")
        more = "<p>Begin with the first line: the others may follow from it.</p>"
        return (
            f'<div style="max-width: 70em"><p><strong>{heading}</strong></p>'
            f'<table style="border-collapse: collapse; width: 100%"><tbody>{rows}</tbody></table>'
            f"{more if len(self.failures) > 1 else ''}</div>"
        )

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


def _is_seen_in_notebook() -> bool:
    if os.environ.get(AS_TEXT) or "IPython" not in sys.modules:
        return False
    from IPython import get_ipython  # workers of the grader need none of it

    return hasattr(get_ipython(), "kernel")


def _as_row(line: Line) -> str:
    word, colour, ground = _MARKS[line.mark]
    mark = (
        f'<span style="color: {colour}; background: {ground}; padding: 0.1em 0.5em; '
        f'border-radius: 0.3em; white-space: nowrap">{line.mark} {word}</span>'
    )
    title = html.escape(line.title)
    words = re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(line.words))
    cells = f'<td style="{_CELL}; width: 6em">{mark}</td>'
    if words:
        cells += f'<td style="{_CELL}; width: 35%">{title}</td><td style="{_CELL}">{words}</td>'
    else:
        cells += f'<td style="{_CELL}" colspan="2">{title}</td>'
    return f"<tr>{cells}</tr>"
