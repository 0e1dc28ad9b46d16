"""Reports what a submission earned: as a table, JSON, Gradescope's JSON, JUnit XML, and a page.

Text from a submission is hostile: `clean` makes it harmless before anything else uses it.
Gradescope's file and the page are for the student. The seed, the protection and the remarks are for
the teacher, and appear only in the table and the JSON.
"""

import base64
import dataclasses
import json
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

import jinja2

from grading.results import Check, ExerciseResult, Report

WIDTH = 100  # of the table
MAX_LENGTH = 2_000  # of a text from a submission

# Commands to a terminal (ECMA-48): control sequences, strings with their end, other escapes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# Control characters; invisible marks, such as overrides of the text's direction; surrogates.
_INVISIBLE = {"Cc", "Cf", "Cs"}


def clean(text: str) -> str:
    r"""Makes a text safe for terminals, XML and JSON: only visible characters remain.

    Lines end in "\n", tabs become spaces, and the text is cut at `MAX_LENGTH` characters.
    """
    text = _ESCAPES.sub("", text[: 10 * MAX_LENGTH])
    lines = (
        "".join(character for character in line if _is_visible(character))
        for line in text.replace("\t", "    ").splitlines()
    )
    text = "\n".join(lines).strip()
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"


def as_table(report: Report) -> str:
    """Returns the table for the teacher's terminal, at most `WIDTH` characters wide."""
    report = _cleaned(report)
    names = [exercise.name for exercise in report.exercises]
    width = max(map(len, [*names, "total"]))
    lines = [
        *_wrap(f"{report.protection} Seed: {report.seed}."),
        "",
        *_wrap(report.submission, f"{report.assignment}: "),
        *(_wrap(report.reason, "ungradable: ") if report.reason else []),
        *_remark_lines(report.remarks),
        "",
    ]
    for exercise in report.exercises:
        name = exercise.name.ljust(width)
        lines += _row(name, exercise.points, exercise.maximum, _verdict(exercise))
        lines += _check_lines(exercise)
        lines += _remark_lines(exercise.remarks)
    verdict = "ungradable" if report.is_ungradable else ""
    lines += _row("total".ljust(width), report.score, report.maximum, verdict)
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Returns all results, for programs; the same seed gives the same results."""
    report = _cleaned(report)
    return {
        "assignment": report.assignment,
        "submission": report.submission,
        "seed": report.seed,
        "protection": report.protection,
        "status": "ungradable" if report.is_ungradable else "graded",
        "reason": report.reason,
        "score": round(report.score, 2),
        "maximum": round(report.maximum, 2),
        "exercises": [
            {
                "name": exercise.name,
                "status": "ungradable" if exercise.reason else "graded",
                "reason": exercise.reason,
                "points": round(exercise.points, 2),
                "maximum": round(exercise.maximum, 2),
                "checks": [
                    dataclasses.asdict(check) | {"passed": check.passed}
                    for check in exercise.checks
                ],
                "remarks": list(exercise.remarks),
            }
            for exercise in report.exercises
        ],
        "remarks": list(report.remarks),
    }


def as_gradescope(report: Report) -> dict[str, Any]:
    """Returns the content of Gradescope's `results.json`.

    See https://gradescope-autograders.readthedocs.io/en/latest/specs/. Every text is declared as
    plain text: by default, Gradescope reads the output at the top as HTML.
    """
    report = _cleaned(report)
    tests = [
        {
            "name": f"{exercise.name}: {check.title}",
            "number": f"{i}.{j}",
            "score": round(check.points, 2),
            "max_score": round(check.maximum, 2),
            "status": "passed" if check.passed else "failed",
            "output": _plain_output(exercise, check),
            "visibility": "visible",
        }
        for i, exercise in enumerate(report.exercises, 1)
        for j, check in enumerate(exercise.checks, 1)
    ]
    output = f"{_points(report.score)} of {_points(report.maximum)} points"
    if report.is_ungradable:
        output = f"ungradable: {report.reason or 'there was nothing to judge'}"
    return {
        "score": round(report.score, 2),
        "output": output,
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def as_html(
    report: Report,
    pictures: Mapping[str, bytes],
    about: Iterable[tuple[str, str]] = (),
    total: float | None = None,
) -> str:
    """Returns the student's page, which needs no other file.

    Args:
        report: the results.
        pictures: PNGs by the hint that they illustrate.
        about: what else the page tells at its top, such as the student's name; pairs of a label and
            a text.
        total: the points that count, if something changed those of the report.
    """
    filters = {"points": _points, "base64": _base64, "findings": _findings}
    return page_template("feedback.html", filters).render(
        report=_cleaned(report),
        pictures=pictures,
        about=[(clean(label), clean(text)) for label, text in about],
        total=report.score if total is None else total,
    )


def page_template(name: str, filters: Mapping[str, Callable[..., Any]]) -> jinja2.Template:
    """Returns the template of a page; whatever it is given is escaped.

    Args:
        name: its file in `templates/`.
        filters: what it may apply to its values, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("grading"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)


def as_junit(report: Report) -> str:
    """Returns JUnit XML, with a test case for each part."""
    report = _cleaned(report)
    suite = ElementTree.Element("testsuite", name=report.submission)
    for exercise in report.exercises:
        for check in exercise.checks:
            name = f"{exercise.name}: {check.name}"
            case = ElementTree.SubElement(suite, "testcase", classname=report.assignment, name=name)
            if not check.passed:
                failure = ElementTree.SubElement(case, "failure", message=check.title)
                failure.text = _plain_output(exercise, check)
    return ElementTree.tostring(suite, "unicode", xml_declaration=True)


# The formats by file ending. Each takes a report, and pictures by hint.
REPORTS: dict[str, Callable[[Report, Mapping[str, bytes]], str]] = {
    ".json": lambda report, pictures: json.dumps(as_json(report), indent=1) + "\n",
    ".html": as_html,
    ".gradescope.json": lambda report, pictures: json.dumps(as_gradescope(report), indent=1) + "\n",
    ".junit.xml": lambda report, pictures: as_junit(report),
}


def _is_visible(character: str) -> bool:
    # XML allows neither U+FFFE nor U+FFFF.
    return unicodedata.category(character) not in _INVISIBLE and character not in "\ufffe\uffff"


def _cleaned(value: Any) -> Any:
    """Returns a report with every text in it cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, tuple):
        return tuple(map(_cleaned, value))
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{k: _cleaned(v) for k, v in fields.items()})
    return value


def _findings(exercise: ExerciseResult) -> dict[str, dict[str, list[Check]]]:
    """Returns the checks that failed or have a message, by hint and then by message."""
    findings: dict[str, dict[str, list[Check]]] = {}
    for check in exercise.checks:
        if not check.passed or check.message:
            findings.setdefault(check.hint, {}).setdefault(check.message, []).append(check)
    return findings


def _plain_output(exercise: ExerciseResult, check: Check) -> str:
    if exercise.reason:
        return f"ungradable: {exercise.reason}"
    return "\n\n".join(filter(None, [check.message, check.hint and f"Hint: {check.hint}"]))


def _verdict(exercise: ExerciseResult) -> str:
    if exercise.reason:
        return f"ungradable: {exercise.reason}"
    return "passed" if all(check.passed for check in exercise.checks) else ""


def _row(name: str, points: float, maximum: float, verdict: str) -> list[str]:
    return _wrap(verdict, f"{name}  {_points(points):>5} / {_points(maximum):<5}  ")


def _check_lines(exercise: ExerciseResult) -> Iterator[str]:
    if exercise.reason:
        return
    for hint, by_message in _findings(exercise).items():
        for message, checks in by_message.items():
            for check in checks:
                points = f"{_points(check.points):>3} / {_points(check.maximum):<3}"
                yield from _wrap(check.title, f"  {'✓' if check.passed else '✗'} {points} ")
            if message:
                yield from _wrap(message, " " * 14)
        if hint:
            yield from _wrap(f"Hint: {hint}", " " * 14)


def _remark_lines(remarks: Iterable[str]) -> list[str]:
    return [line for remark in remarks for line in _wrap(remark, "  Note: ")]


def _wrap(text: str, start: str = "") -> list[str]:
    """Breaks one paragraph into lines, so that no text can forge a row of the table."""
    is_wide = any(unicodedata.east_asian_width(character) in "WF" for character in text)
    width = WIDTH // (1 + is_wide)  # such characters take two columns
    rest = " " * min(len(start), width // 2)
    return textwrap.wrap(start + text, width, subsequent_indent=rest)


def _points(points: float) -> str:
    return f"{round(points, 2):g}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
