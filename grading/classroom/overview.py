"""The teacher's page on a whole class, which needs no other file and no network.

Text from a submission is hostile, and so are names: `clean` makes it harmless, the template escapes
it, and long texts and long lists are cut, so that a class of 10,000 still makes a page that opens.
"""

import base64
import hashlib
import itertools
import math
import re
import statistics
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from grading.classroom.records import Standing
from grading.classroom.similar import Pair
from grading.report import clean, page_template

MAX_PEOPLE = 100  # in a list of students
MAX_GROUPS = 50  # texts in a list of reasons or remarks
MAX_PAIRS = 100
MAX_HINTS = 12  # that are shown at once
MAX_ADJUSTMENTS = 500
MAX_NAME = 80  # characters
MAX_TEXT = 600
MAX_LINE = 300  # of an answer
MAX_SOURCE = 6_000
MAX_LINES = 150
MAX_BARS = 24
CONTEXT = 2  # lines around one that is marked
MIN_FOLDED = 3  # lines
WHOLE = "the whole notebook"
STATUSES = ("graded", "ungradable", "not graded yet", "missing")

_KIND = re.compile(r"([^\W\d][^:\d]{1,70}): (.+)", re.DOTALL)  # as in "not used: cell 12"


@dataclass(frozen=True)
class _Person:
    """A student in a list: the name, and where the student's page is, "" if there is none."""

    name: str
    href: str


@dataclass
class _Group:
    """A text that some students have in common."""

    text: str
    people: dict[str, _Person] = field(default_factory=dict)  # by key

    @property
    def shown(self) -> list[_Person]:
        return list(itertools.islice(self.people.values(), MAX_PEOPLE))


def as_page(
    standings: Sequence[Standing],
    *,
    title: str,
    graded_at: datetime,
    version: str,
    seed: int,
    protection: str,
    pairs: Sequence[Pair],
    pictures: Mapping[str, bytes],
    pages: Callable[[Standing], str],
    remarks: Sequence[str] = (),
) -> str:
    """Returns the page.

    Args:
        standings: the lines of the gradebook, in the order of the table.
        title: the assignment's or the course's name.
        graded_at: when the last submission was graded.
        version: the grader's.
        seed: the seed of all inputs and trials.
        protection: a sentence on the sandbox that student code ran in.
        pairs: near-identical answers, the most unusual first.
        pictures: PNGs by the hint that they illustrate.
        pages: returns the path of a student's page, seen from this one.
        remarks: notes for the teacher on the class.
    """
    names = Counter(standing.student.shown for standing in standings)
    people = {s.student.key: _person(s, names, pages) for s in standings}
    reports = [standing.report for standing in standings if standing.report]
    exercises = list(dict.fromkeys(e.name for report in reports for e in report.exercises))
    page = {
        "title": _text(title, MAX_NAME),
        "made": _made(graded_at, version, seed, protection),
        "summary": _summary(standings),
        "chart": _chart(standings),
        "parts": _parts(standings),
        "hints": _hints(standings, people, pictures),
        "reasons": _reasons(standings, people),
        "kinds": _kinds(standings, people),
        "pairs": [_pair(pair, people) for pair in pairs[:MAX_PAIRS]],
        "n_pairs": len(pairs),
        "adjustments": _adjustments(standings, people),
        "exercises": [_text(name, MAX_NAME) for name in exercises],
        "rows": [_row(standing, people, exercises) for standing in standings],
        "statuses": STATUSES,
        "remarks": [_text(remark) for remark in remarks[:MAX_PEOPLE]],
        "n_remarks": len(remarks),
        "most": {"hints": MAX_HINTS, "groups": MAX_GROUPS, "adjustments": MAX_ADJUSTMENTS},
    }
    filters = {
        "points": _points,
        "count": _count,
        "students": _n_students,
        "base64": _base64,
        "sha256": _sha256,
    }
    return page_template("class.html", filters).render(page)


def _person(
    standing: Standing, names: Mapping[str, int], pages: Callable[[Standing], str]
) -> _Person:
    student = standing.student
    name = _text(student.shown, MAX_NAME) or "no name"
    if names[student.shown] > 1:
        name = f"{name} ({_text(student.key, MAX_NAME)})"
    # Quoting makes a path of whatever it is: a colon cannot begin a `javascript:`.
    href = urllib.parse.quote(clean(pages(standing)), safe="/") if standing.report else ""
    return _Person(name, href)


def _made(graded_at: datetime, version: str, seed: int, protection: str) -> str:
    time = f"{graded_at.day} {graded_at:%B %Y, %H:%M %Z}".strip()
    version = _text(version, MAX_NAME)
    return f"Graded on {time} with version {version}, seed {seed}. {_text(protection)}".strip()


# The class as a whole


def _summary(standings: Sequence[Standing]) -> dict[str, Any]:
    totals = _totals(standings)
    counts = Counter(standing.status for standing in standings)
    return {
        "n_students": len(standings),
        "counts": {status: counts[status] for status in STATUSES},
        "maximum": _maximum(standings),
        "median": statistics.median(totals) if totals else None,
        "mean": statistics.fmean(totals) if totals else None,
    }


def _totals(standings: Iterable[Standing]) -> list[float]:
    totals = (s.total for s in standings if s.status == "graded")
    return [total for total in totals if total is not None and math.isfinite(total)]


def _maximum(standings: Iterable[Standing]) -> float:
    return max((s.report.maximum for s in standings if s.report), default=0.0)


def _chart(standings: Sequence[Standing]) -> dict[str, Any] | None:
    """Returns the bars of the histogram, and the marks on its axes, in percent of each axis."""
    totals = _totals(standings)
    if not totals:
        return None
    top = max(*totals, _maximum(standings), 1.0)
    step = _round_step(top / MAX_BARS)
    n_bars = math.ceil(round(top / step, 6))
    # Full marks belong to the last bar, not to one of their own.
    counts = Counter(min(int(round(total / step, 6)), n_bars - 1) for total in totals)
    x_step, y_step = _round_step(top / 5), max(1, round(_round_step(max(counts.values()) / 4)))
    y_top = y_step * math.ceil(max(counts.values()) / y_step)
    x_marks = [x_step * i for i in range(int(n_bars * step / x_step + 1e-6) + 1)]
    return {
        "bars": [
            {
                "low": step * i,
                "high": step * (i + 1),
                "count": counts[i],
                "x": 100 * i / n_bars,
                "width": 100 / n_bars,
                "height": 100 * counts[i] / y_top,
            }
            for i in range(n_bars)
        ],
        "x_marks": [(value, 100 * value / (n_bars * step)) for value in x_marks],
        "y_marks": [(y, 100 * y / y_top) for y in range(0, y_top + 1, y_step)],
        "median": 100 * statistics.median(totals) / (n_bars * step),
    }


def _round_step(least: float) -> float:
    """Returns the smallest of ..., 0.5, 1, 2, 5, 10, ... that is not smaller."""
    power = 10 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _parts(standings: Iterable[Standing]) -> dict[str, dict[str, Any]]:
    """Returns what each part earned, by exercise, among the answers that could be graded."""
    checks = defaultdict(lambda: defaultdict(list))
    for standing in standings:
        for exercise, check in standing.checks():
            graded = checks[exercise.name][check.name]
            if not exercise.reason:
                graded.append(check)
    titles = {
        (exercise.name, check.name): check
        for standing in standings
        for exercise, check in standing.checks()
    }
    return {
        _text(exercise, MAX_NAME): {
            "n_graded": max(map(len, parts.values())),
            "parts": [
                _part(_text(titles[exercise, name].title, MAX_TEXT), graded)
                for name, graded in parts.items()
            ],
        }
        for exercise, parts in checks.items()
    }


def _part(title: str, checks: Sequence[Any]) -> dict[str, Any]:
    n_graded = len(checks) or 1
    return {
        "title": title,
        "share": 100 * sum(check.passed for check in checks) / n_graded if checks else None,
        "mean": math.fsum(check.points for check in checks) / n_graded,
        "maximum": max((check.maximum for check in checks), default=0),
    }


# Texts and who has them


def _hints(
    standings: Iterable[Standing], people: Mapping[str, _Person], pictures: Mapping[str, bytes]
) -> list[dict[str, Any]]:
    """Returns the misconceptions, the most frequent first."""
    groups: dict[str, _Group] = {}
    exercises: dict[str, dict[str, None]] = defaultdict(dict)
    for standing in standings:
        for exercise, check in standing.checks():
            if check.hint:
                if check.hint not in groups:
                    groups[check.hint] = _Group(_text(check.hint))
                groups[check.hint].people[standing.student.key] = people[standing.student.key]
                exercises[check.hint][_text(exercise.name, MAX_NAME)] = None
    most = max((len(group.people) for group in groups.values()), default=1)
    return [
        {
            "group": group,
            "exercises": list(exercises[hint]),
            "picture": pictures.get(hint),
            "share": 100 * len(group.people) / most,
        }
        for hint, group in sorted(groups.items(), key=lambda item: -len(item[1].people))
    ]


def _reasons(
    standings: Iterable[Standing], people: Mapping[str, _Person]
) -> dict[str, list[_Group]]:
    """Returns why something could not be graded: by what it is, the most frequent first."""
    found = []
    for standing in standings:
        key, report = standing.student.key, standing.report
        if report is None:
            if standing.attempt and standing.attempt.problem:
                found.append((WHOLE, standing.attempt.problem, key))
        elif report.reason and report.is_ungradable:
            found.append((WHOLE, report.reason, key))
        else:
            found += [(e.name, e.reason, key) for e in report.exercises if e.reason]
    found.sort(key=lambda item: item[0] != WHOLE)
    return _by_kind(found, people)


def _kinds(standings: Iterable[Standing], people: Mapping[str, _Person]) -> dict[str, list[_Group]]:
    """Returns the remarks: by how they begin, the rarest kind first, as it tells the most."""
    found = []
    for standing in standings:
        if report := standing.report:
            for remark in report.remarks:
                found.append((*_split(remark), standing.student.key))
            for exercise in report.exercises:
                for remark in exercise.remarks:
                    kind, text = _split(remark)
                    found.append((kind, f"{exercise.name}: {text}", standing.student.key))
    kinds = _by_kind(found, people)
    return dict(sorted(kinds.items(), key=lambda item: _n_students(item[1])))


def _split(remark: str) -> tuple[str, str]:
    """Returns the kind of a remark, and the rest."""
    match = _KIND.match(remark)
    return (match[1], match[2]) if match else ("other remarks", remark)


def _n_students(groups: Iterable[_Group]) -> int:
    return len({key for group in groups for key in group.people})


def _by_kind(
    found: Iterable[tuple[str, str, str]], people: Mapping[str, _Person]
) -> dict[str, list[_Group]]:
    kinds: dict[str, dict[str, _Group]] = defaultdict(dict)
    for kind, text, key in found:
        if text not in kinds[kind]:
            kinds[kind][text] = _Group(_text(text))
        kinds[kind][text].people[key] = people[key]
    return {
        _text(kind, MAX_NAME): sorted(groups.values(), key=lambda group: -len(group.people))
        for kind, groups in kinds.items()
    }


# Pairs, adjustments and the table


def _pair(pair: Pair, people: Mapping[str, _Person]) -> dict[str, Any]:
    """Returns a pair with its lines side by side."""
    first, second = _lines(pair.first_source), _lines(pair.second_source)
    return {
        "exercise": _text(pair.exercise, MAX_NAME),
        "percent": math.floor(100 * pair.similarity),
        "people": [
            people.get(key) or _Person(_text(key, MAX_NAME), "")
            for key in (pair.first, pair.second)
        ],
        "sources": [
            _fold(first, second, pair.first_lines),
            _fold(second, first, pair.second_lines),
        ],
    }


def _lines(source: str) -> list[str]:
    """Returns the lines of an answer as they are shown; `clean` would strip the indentation."""
    lines = []
    for line in source[:MAX_SOURCE].split("\n")[:MAX_LINES]:
        code = line[:MAX_LINE].expandtabs(4)
        indentation = code[: len(code) - len(code.lstrip(" "))]
        text = " ".join(clean(code).split("\n"))
        lines.append(f"{indentation}{text}".rstrip() + "…" * (len(line) > MAX_LINE))
    is_cut = len(source) > MAX_SOURCE or source.count("\n") >= MAX_LINES
    return lines + ["…"] * is_cut


def _fold(
    lines: Sequence[str], others: Iterable[str], shared: Collection[int]
) -> list[tuple[bool, list[tuple[str, str]]]]:
    """Returns the lines with their marks, in runs, and whether a run is shown only when asked for.

    A mark is made of `≈` for unusual code that is in both, and `≠` for a line that only one has.
    """
    known = {" ".join(line.split()) for line in others}
    marked = [
        ("≈" * (number in shared) + "≠" * (" ".join(line.split()) not in known), line)
        for number, line in enumerate(lines, 1)
    ]
    near = {
        number + k
        for number, (mark, _) in enumerate(marked)
        for k in range(-CONTEXT, CONTEXT + 1)
        if mark
    }
    runs = []
    for is_near, run in itertools.groupby(enumerate(marked), key=lambda item: item[0] in near):
        lines = [line for _, line in run]
        runs.append((bool(near) and not is_near and len(lines) >= MIN_FOLDED, lines))
    return runs


def _adjustments(
    standings: Iterable[Standing], people: Mapping[str, _Person]
) -> list[tuple[_Person, str, float, str]]:
    return [
        (people[s.student.key], _text(a.part, MAX_NAME), a.points, _text(a.comment))
        for s in standings
        for a in s.adjustments
    ]


def _row(
    standing: Standing, people: Mapping[str, _Person], exercises: Sequence[str]
) -> dict[str, Any]:
    results = {e.name: e for e in standing.report.exercises} if standing.report else {}
    points = [
        None if name not in results or results[name].reason else results[name].points
        for name in exercises
    ]
    return {
        "person": people[standing.student.key],
        "section": _text(standing.student.section, MAX_NAME),
        "points": points,
        "total": standing.total,
        "late": standing.late_points,
        "late_reason": _text(standing.late_reason, MAX_NAME),
        "n_adjustments": len(standing.adjustments),
        "n_attempts": len(standing.attempts),
        "status": standing.status,
    }


def _text(text: str, most: int = MAX_TEXT) -> str:
    text = clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _points(points: float) -> str:
    return f"{round(points, 2):g}".replace("-", "−")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sha256(text: str) -> str:
    return _base64(hashlib.sha256(str(text).encode()).digest())
