"""`python -m grading class SUBMISSIONS -o OUT`: grades a whole class.

1.  Submissions are collected, in whatever form they come; see `collect`.
2.  What is graded already is left alone; all else is graded on a Dask cluster, and kept the moment
    its result exists. So an interrupted run goes on where it stopped.
3.  Points that differ from those of the run before are printed. Then gradebook, pages and the
    teacher's index are written, each file completely or not at all.
"""

import argparse
import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version as version_of_package
from pathlib import Path

from tqdm import tqdm

from grading import UsageError
from grading.assignment import Assignment
from grading.classroom.collect import Collection, collect
from grading.classroom.course import (
    Course,
    check_points,
    match_roster,
    part_name,
    read_adjustments,
    read_course,
    read_roster,
)
from grading.classroom.gradebook import (
    as_canvas,
    as_csv,
    as_moodle,
    feedback_zip,
    make_standings,
    what_changed,
)
from grading.classroom.overview import as_page
from grading.classroom.questions import Examiner, Sheet, as_student_page, as_teacher_page
from grading.classroom.records import Attempt, Standing
from grading.classroom.similar import Pair, find_pairs
from grading.classroom.store import Graded, Store
from grading.classroom.task import ClusterLostError, Settings, Task, choose_assignments, version_of
from grading.command import require_sandbox
from grading.draws import share_secret, why_not_repeatable
from grading.files import UnreadableError, read_regular_file, write_whole
from grading.gaps import cut, find_gaps
from grading.grade import Grader, ungradable_report
from grading.notebook import MAX_FILE
from grading.report import REPORTS, as_html, clean
from grading.results import EXIT_GRADER_FAILED, Report
from grading.versions import digest_of

EXIT_INTERRUPTED = 130
MAX_ROWS = 60  # of the table on the terminal
BESIDE = {"course": "course.toml", "roster": "roster.csv", "adjustments": "adjustments.csv"}


def add_command(commands: argparse._SubParsersAction) -> None:
    """Adds `class` to the command line."""
    parser = commands.add_parser("class", help="grade a whole class")
    parser.add_argument(
        "submissions", type=Path, metavar="SUBMISSIONS", help="a folder, or a zip of it"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="where all results go")
    for name, file in BESIDE.items():
        parser.add_argument(
            f"--{name}", type=Path, metavar="FILE", help=f"by default {file} beside SUBMISSIONS"
        )
    parser.add_argument("--seed", type=int, help="by default that of the run before, or a new one")
    parser.add_argument("--template", metavar="NAME", help="instead of what course.toml says")
    parser.add_argument("--exact", action="store_true", help="play all games to their ends")
    parser.add_argument("--workers", type=int, metavar="N", help="by default one for each core")
    parser.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster, tcp://HOST:PORT"
    )
    parser.add_argument(
        "--questions",
        type=int,
        default=0,
        metavar="N",
        help="ask everybody N questions about what they handed in",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say whose points would change")
    parser.set_defaults(run=_run)


@dataclass
class _Class:
    """A class on its way to its grades.

    Attributes:
        settings: how it is graded.
        course, attempts, missing, adjustments, remarks: what the teacher's files and the
            submissions say.
        keys: the key of each attempt that counts and has a notebook.
        graded: the results so far, without videos; by key.
        failures: why the grader failed, by key.
    """

    settings: Settings
    course: Course
    collection: Collection
    store: Store
    attempts: list[Attempt] = field(default_factory=list)
    missing: list = field(default_factory=list)
    adjustments: list = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    keys: dict[Attempt, str] = field(default_factory=dict)
    graded: dict[str, Graded] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def _run(arguments: argparse.Namespace) -> int:
    if not arguments.scheduler:
        # Without one, students' code could tell Dask's scheduler what to run.
        require_sandbox(is_waived=False)
    if reason := why_not_repeatable():
        raise UsageError(f"a class cannot be graded here: {reason}")
    out = arguments.out
    with tempfile.TemporaryDirectory(prefix="class-") as scratch:
        group = _read_class(arguments, Path(scratch))
        todo = [key for key in dict.fromkeys(group.keys.values()) if key not in group.graded]
        is_interrupted = False
        try:
            if todo:
                _grade(group, todo, arguments)
        except (KeyboardInterrupt, SystemExit):
            is_interrupted = True
        except ClusterLostError as error:
            is_interrupted = True
            print(f"the Dask scheduler is gone: {clean(str(error))}", file=sys.stderr)
        except OSError as error:
            raise UsageError(
                f"a result cannot be written: {error.strerror}. All earlier ones are kept: run the "
                "same command again"
            ) from None
        standings = _standings(group)
        _print_changes(out / "gradebook.csv", as_csv(standings))
        if not arguments.dry_run:
            _write_all(out, group, standings)
            if arguments.questions > 0 and not is_interrupted:
                _write_questions(out, group, standings, arguments.questions)
    _print_table(standings, out, arguments.dry_run)
    for attempt, key in group.keys.items():
        if key in group.failures:
            words = f"{clean(attempt.label)}: the grader failed: {group.failures[key]}"
            print(words, file=sys.stderr)
    if is_interrupted:
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_GRADER_FAILED if group.failures else 0


def _read_class(arguments: argparse.Namespace, scratch: Path) -> _Class:
    """Reads the teacher's files and the submissions, and finds what is graded already."""
    source: Path = arguments.submissions
    if not source.exists():
        raise UsageError(f"there is no {source}")
    files = {}
    for name, file in BESIDE.items():
        path = getattr(arguments, name) or source.resolve().parent / file
        if getattr(arguments, name) or path.is_file():
            files[name] = path
            print(f"{name}: {os.path.relpath(path)}")
    course = read_course(files["course"]) if "course" in files else Course()
    assignments = choose_assignments(course.assignment)
    check_points(course, assignments)
    template = course.template if arguments.template is None else arguments.template
    settings = Settings(
        seed=_seed_of(arguments.out, arguments.seed),
        secret=share_secret(),
        version=version_of(assignments),
        template=template,
        assignment=course.assignment,
        is_exact=arguments.exact,
        limits=course.limits,
    )
    with Grader(settings.seed, assignments=assignments, template=template) as grader:
        collection = collect(source, scratch, lambda path: _is_begun(grader, path))
    group = _Class(settings, course, collection, Store(arguments.out / "results"))
    group.attempts, group.remarks = list(collection.attempts), list(collection.remarks)
    print(f"{collection.layout}: {len(group.attempts)} submissions")
    if "roster" in files:
        matched = match_roster(group.attempts, read_roster(files["roster"]))
        group.attempts, group.missing, unknown = matched
        group.remarks += [f"{clean(key)} is not in the roster" for key in unknown]
    if "adjustments" in files:
        group.adjustments = read_adjustments(files["adjustments"], _part_names(assignments))
        there = {s.key for s in [*(a.student for a in group.attempts), *group.missing]}
        strangers = dict.fromkeys(a.student for a in group.adjustments if a.student not in there)
        group.remarks += [f"adjustments name {clean(s)}, who is not there" for s in strangers]
    group.attempts = [_readable(attempt) for attempt in group.attempts]
    for attempt in _counting(group.attempts):
        if attempt.notebook is not None:
            key = group.keys[attempt] = _key_of(settings, attempt)
            if found := group.store.get(key, settings.version):
                group.graded[key] = _slim(found)
    return group


def _readable(attempt: Attempt) -> Attempt:
    """Returns an attempt whose notebook can be read, or that says why it has none."""
    if attempt.notebook is None:
        return attempt
    try:
        read_regular_file(attempt.notebook, MAX_FILE)
    except UnreadableError as error:
        return replace(attempt, notebook=None, problem=str(error))
    return attempt


def _part_names(assignments: Iterable[Assignment]) -> list[str]:
    return list(dict.fromkeys(part_name(*part) for a in assignments for part in a.part_names()))


def _is_begun(grader: Grader, path: Path) -> bool:
    """Says whether a notebook answers an exercise, at least in part."""
    reading = grader.read(path)
    states = {answer.state for answer in reading.submission.answers.values()}
    return reading.number is not None and bool(states & {"complete", "broken"})


def _seed_of(out: Path, given: int | None) -> int:
    """Returns the seed of a class: the given one, that of the run before, or a new one."""
    path = out / "class.json"
    if given is not None:
        return given
    try:
        return int(json.loads(path.read_text())["seed"])
    except FileNotFoundError:
        return secrets.randbits(53)
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is damaged: name the seed with --seed, or remove it") from None


def _counting(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Returns the last attempt of each student."""
    return list({attempt.student.key: attempt for attempt in attempts}.values())


def _attached(attempt: Attempt) -> tuple[str, bytes] | None:
    """Returns the name and the content of what was handed in with a notebook."""
    for path in attempt.attachments:
        try:
            return path.name, read_regular_file(path, MAX_FILE)
        except UnreadableError:
            continue
    return None


def _key_of(settings: Settings, attempt: Attempt) -> str:
    """Returns what a result is kept under: all that it depends on but the grader itself."""
    notebook = read_regular_file(attempt.notebook, MAX_FILE)
    name, attached = _attached(attempt) or ("", b"")
    options = (settings.template, settings.assignment, settings.is_exact)
    told = repr((settings.seed, settings.limits, *options))
    return digest_of(settings.secret, told, attempt.notebook.name, notebook, name, attached)


def _tasks(group: _Class, keys: Sequence[str]) -> Iterator[Task]:
    by_key = {key: attempt for attempt, key in group.keys.items()}
    for key in keys:
        attempt = by_key[key]
        yield Task(
            key=key,
            name=attempt.notebook.name,
            notebook=read_regular_file(attempt.notebook, MAX_FILE),
            attachment=_attached(attempt),
            kept=group.store.kept(key),
        )


def _grade(group: _Class, keys: Sequence[str], arguments: argparse.Namespace) -> None:
    """Grades submissions and keeps each result at once."""
    from grading.classroom.cluster import connected, grade_all  # Dask takes a while to import

    version = group.settings.version
    arguments.out.mkdir(parents=True, exist_ok=True)
    # Whoever goes on from here must ask the same.
    seed = json.dumps({"seed": group.settings.seed}) + "\n"
    write_whole(arguments.out / "class.json", seed.encode())
    with connected(arguments.scheduler, arguments.workers) as client:
        print(f"Dask's dashboard: {client.dashboard_link}", flush=True)
        outcomes = grade_all(client, group.settings, _tasks(group, keys))
        for outcome in tqdm(outcomes, "graded", len(keys), unit="submission", smoothing=0.1):
            if outcome.failure and not outcome.is_deadly:
                group.failures[outcome.key] = outcome.failure
                continue
            graded = (
                _ungradable(group, outcome.key, outcome.failure)
                if outcome.is_deadly
                else Graded.from_bytes(outcome.result)
            )
            group.store.put(outcome.key, version, graded)
            group.graded[outcome.key] = _slim(graded)


def _ungradable(group: _Class, key: str, reason: str) -> Graded:
    name = next(a.notebook.name for a, own in group.keys.items() if own == key)
    report = _ungradable_report(group.settings, name, reason)
    return Graded(report=report, answers={}, graded_at=_now(), kept={})


def _ungradable_report(settings: Settings, name: str, reason: str) -> Report:
    assignment = settings.assignments[0]
    return ungradable_report(assignment, name, settings.seed, reason)


def _slim(graded: Graded) -> Graded:
    """Returns a result without what only pages need: thousands of them must fit in memory."""
    return replace(graded, kept={}, report=replace(graded.report, video=None))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _standings(group: _Class) -> list[Standing]:
    reports = {
        attempt: group.graded[key].report
        for attempt, key in group.keys.items()
        if key in group.graded
    }
    for attempt in _counting(group.attempts):
        if attempt.notebook is None:
            name = attempt.label or attempt.student.key
            reports[attempt] = _ungradable_report(group.settings, name, attempt.problem)
    return make_standings(group.attempts, group.missing, reports, group.course, group.adjustments)


def _print_changes(path: Path, gradebook: str) -> None:
    """Says whose points will change, before anything is written."""
    if not path.exists():
        return
    changes = what_changed(path.read_text("utf-8"), gradebook)
    print("\n".join(["Changes:", *changes]) if changes else "No points change.")


def _write_all(out: Path, group: _Class, standings: Sequence[Standing]) -> None:
    """Writes everything that a teacher wants to see or to upload."""
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    (out / "reports").mkdir(exist_ok=True)
    settings, course = group.settings, group.course
    pictures = _pictures(settings, standings)
    title = course.title or standings_title(standings)

    def write(name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        write_whole(out / name, data)

    for standing in standings:
        if standing.report:
            write(f"feedback/{standing.file}.html", _page(group, standing, pictures, title))
            for ending, format_report in REPORTS.items():
                if ending != ".html":
                    content = format_report(standing.report, pictures)
                    write(f"reports/{standing.file}{ending}", content)
    write("gradebook.csv", as_csv(standings))
    write("canvas.csv", as_canvas(standings, course.canvas or title))
    write("moodle.csv", as_moodle(standings))
    pages = {s.file: (out / "feedback" / f"{s.file}.html") for s in standings}
    write("feedback.zip", feedback_zip(standings, lambda s: pages[s.file].read_bytes()))
    page = as_page(
        standings,
        title=title,
        graded_at=max((graded.graded_at for graded in group.graded.values()), default=_now()),
        version=version_of_package("deep-kung-fu"),
        seed=settings.seed,
        protection=next((g.report.protection for g in group.graded.values()), ""),
        pairs=_pairs(group),
        pictures=pictures,
        pages=lambda standing: f"feedback/{standing.file}.html",
        remarks=group.remarks,
    )
    write("index.html", page)
    group.store.forget_others((key, settings.version) for key in group.graded)


def _write_questions(out: Path, group: _Class, standings: Sequence[Standing], n: int) -> None:
    """Writes a page of questions for everybody who is graded, and one with all answers."""
    shutil.rmtree(out / "questions", ignore_errors=True)  # others may have been asked before
    (out / "questions").mkdir()
    settings, sheets = group.settings, []
    title = group.course.title or standings_title(standings)
    with Grader(settings.seed, assignments=settings.assignments) as grader:
        examiner = Examiner(grader)
        for standing in tqdm(standings, "asked", unit="student"):
            graded = group.graded.get(group.keys.get(standing.attempt))
            if graded:
                key, page = standing.student.key, f"questions/{standing.file}.html"
                questions = examiner.make_questions(key, graded.answers, graded.report, n)
                sheets.append(Sheet(name=standing.student.shown, questions=questions, page=page))
                write_whole(out / page, as_student_page(sheets[-1], title).encode())
    write_whole(out / "answers.html", as_teacher_page(sheets, title).encode())


def standings_title(standings: Sequence[Standing]) -> str:
    """Returns a title for a class whose course gives none: its assignments' names."""
    names = dict.fromkeys(standing.report.assignment for standing in standings if standing.report)
    return ", ".join(names) or "class"


def _pictures(settings: Settings, standings: Iterable[Standing]) -> dict[str, bytes]:
    """Draws the pictures of all hints that somebody gets, each once."""
    hints = {check.hint for standing in standings for _, check in standing.checks()}
    draws = {h: draw for a in settings.assignments for h, draw in a.pictures.items()}
    return {hint: draws[hint]() for hint in sorted(hints & draws.keys())}


def _page(group: _Class, standing: Standing, pictures: Mapping[str, bytes], title: str) -> str:
    """Returns a student's page, with what a teacher and the calendar changed."""
    key = group.keys.get(standing.attempt)
    graded = group.store.get(key, group.settings.version) if key else None
    report = replace(standing.report, video=graded.report.video if graded else None)
    number, label = len(standing.attempts), standing.attempt.label
    about = [
        ("Student", standing.student.shown),
        ("Assignment", title),
        ("Attempt", f"{number} of {number}, {label}" if number > 1 else label),
        ("Graded", f"{graded.graded_at:%d %B %Y, %H:%M} UTC" if graded else ""),
        ("Version", version_of_package("deep-kung-fu")),
        ("Seed", str(group.settings.seed)),
        ("Late", f"{standing.late_points:g} points: {standing.late_reason}"),
        ("Bonus", f"{standing.bonus:+g} points"),
    ]
    about = [(name, text) for name, text in about if text]
    if not standing.late_reason:
        about = [pair for pair in about if pair[0] != "Late"]
    if not standing.bonus:
        about = [pair for pair in about if pair[0] != "Bonus"]
    for adjustment in standing.adjustments:
        if adjustment.part in ("late", "bonus") and adjustment.comment:
            about.append((f"On {adjustment.part}", adjustment.comment))
    own = {check.hint for _, check in standing.checks()}
    shown = {hint: picture for hint, picture in pictures.items() if hint in own}
    return as_html(report, shown, about, standing.total)


def _pairs(group: _Class) -> list[Pair]:
    """Returns near-identical answers of different students."""
    answers = {
        attempt.student.key: group.graded[key].answers
        for attempt, key in group.keys.items()
        if key in group.graded
    }
    given = {
        cell.name: cut(cell.source, find_gaps(cell.source))
        for assignment in group.settings.assignments
        for cell in assignment.template.exercises
    }
    return find_pairs(answers, given)


def _print_table(standings: Sequence[Standing], out: Path, is_dry: bool) -> None:
    width = min(40, max([len("student"), *(len(clean(s.student.shown)) for s in standings)]))
    print()
    for standing in standings[:MAX_ROWS]:
        name = clean(standing.student.shown).replace("\n", " ")[:width].ljust(width)
        points = f"{standing.total:7.2f}" if standing.status == "graded" else "      –"
        print(f"{name} {points}  {'' if standing.status == 'graded' else standing.status}".rstrip())
    if len(standings) > MAX_ROWS:
        print(f"and {len(standings) - MAX_ROWS:,} more")
    counts = {}
    for standing in standings:
        counts[standing.status] = counts.get(standing.status, 0) + 1
    totals = [s.total for s in standings if s.status == "graded"]
    middle = f"; median {statistics.median(totals):g} points" if totals else ""
    print(f"\n{', '.join(f'{n:,} {status}' for status, n in counts.items())}{middle}")
    if not is_dry:
        free = shutil.disk_usage(out).free
        note = f" (only {free >> 20} MiB left on this disk)" if free < 1 << 30 else ""
        print(f"Look at {os.path.relpath(out / 'index.html')}{note}")
