"""`python -m grading grade SUBMISSION …`: grades notebooks one by one, and folders of them.

A submission is a notebook, or the zip that the notebook packs: the notebook and its weights.

Student code runs only in the sandbox. Files beside a submission never run, and no submission is
changed.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from grading import UsageError
from grading.assignment import ROOT
from grading.files import UnreadableError, write_whole
from grading.grade import Grader
from grading.handed_in import find_notebook
from grading.reader import Reader
from grading.report import REPORTS, as_table, clean
from grading.results import EXIT_GRADER_FAILED, Report
from grading.sandbox import Sandbox, Unsandboxed, why_unavailable
from grading.submission import read_template

SUBMISSION = "a notebook, or a zip with one in it"


def add_command(commands: argparse._SubParsersAction) -> None:
    """Adds `grade` and `which` to the command line."""
    parser = commands.add_parser("which", help="name the solution that a submission answers")
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help=SUBMISSION)
    parser.set_defaults(run=_which)
    parser = commands.add_parser("grade", help="grade submissions")
    parser.add_argument(
        "submissions", nargs="+", type=Path, metavar="SUBMISSION", help=f"{SUBMISSION}, or a folder"
    )
    parser.add_argument(
        "--attachment", type=Path, metavar="FILE", help="the file handed in with the notebook"
    )
    parser.add_argument(
        "--reports", type=Path, metavar="FOLDER", help="write reports for each notebook"
    )
    parser.add_argument(
        "--template",
        default="",
        metavar="NAME",
        help="the submissions were made from this other template; what it leaves out is free",
    )
    parser.add_argument("--seed", type=int, help="repeat a grading by its seed")
    parser.add_argument(
        "--exact", action="store_true", help="play on when the points are certain, for exact means"
    )
    parser.add_argument("--no-sandbox", action="store_true", help="run without bubblewrap (risky)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    submissions = list(_find_submissions(arguments.submissions))
    attachment = arguments.attachment
    if attachment and (len(submissions) > 1 or not os.path.lexists(attachment)):
        found = f"{len(submissions)} notebooks" if len(submissions) > 1 else "a missing file"
        raise UsageError(f"--attachment needs a single notebook and an existing file, got {found}")
    names = [f"{name}{ending}" for _, name in submissions for ending in REPORTS]
    if arguments.reports and (twice := sorted({n for n in names if names.count(n) > 1})):
        raise UsageError(
            f"two submissions would have the same reports, {', '.join(twice[:5])}: give the folder "
            "that holds them all"
        )
    require_sandbox(arguments.no_sandbox)
    codes = []
    sandboxed = not arguments.no_sandbox
    with Grader(
        arguments.seed, sandboxed, template=arguments.template, is_exact=arguments.exact
    ) as grader:
        for path, name in submissions:
            try:
                report = grader.grade(path, attachment)
                if arguments.reports:
                    write_reports(report, grader, arguments.reports / name)
            except Exception as error:  # no failure of the grader may cost a student points
                reason = clean(f"{type(error).__name__}: {error}")
                print(f"{clean(str(path))}: the grader failed: {reason}", file=sys.stderr)
                codes.append(EXIT_GRADER_FAILED)
                continue
            print(as_table(report), flush=True)
            codes.append(report.exit_code)
    return max(codes)


def _which(arguments: argparse.Namespace) -> int:
    """Prints the solution's name; works without the assignment's packages."""
    solutions = sorted((ROOT / "solutions").glob("*.ipynb"))
    templates = [read_template(solution.read_bytes()) for solution in solutions]
    sandbox = Unsandboxed() if why_unavailable() else Sandbox()
    with Reader(sandbox, templates) as reader, tempfile.TemporaryDirectory() as folder:
        try:
            notebook = find_notebook(arguments.submission, Path(folder))
        except UnreadableError as error:
            raise UsageError(f"{arguments.submission}: {error}") from None
        print(solutions[reader.read(notebook).number or 0].stem)
    return 0


def _find_submissions(given: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Yields each notebook or zip, and the path of its reports without an ending.

    Raises:
        UsageError: a file does not exist, or a folder contains neither.
    """
    for path in given:
        if not os.path.lexists(path):
            raise UsageError(f"there is no file {path}")
        if not path.is_dir() or path.suffix == ".ipynb":
            yield path, Path(path.stem.strip(".") or "submission")
            continue
        found = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() == ".ipynb" or (file.suffix.lower() == ".zip" and file.is_file())
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
        ]
        if not found:
            raise UsageError(f"there is no notebook in the folder {path}, and no zip")
        for file in found:
            yield file, file.relative_to(path).with_suffix("")


def require_sandbox(is_waived: bool) -> None:
    """Makes sure that there is a sandbox.

    Raises:
        UsageError: there is none, and it was not waived.
    """
    if not is_waived and (reason := why_unavailable()):
        raise UsageError(
            f"there is no sandbox for student code: {reason}. Change that, or take the risk with "
            "--no-sandbox"
        )


def write_reports(report: Report, grader: Grader, path: Path) -> None:
    """Writes a report in every format, each file completely or not at all.

    Args:
        report: the results.
        grader: has the pictures that belong to hints.
        path: the path of the files without their endings, which depend on the format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    assignment = next(a for a in grader.assignments if a.name == report.assignment)
    hints = {check.hint for exercise in report.exercises for check in exercise.checks}
    pictures = {hint: draw() for hint, draw in assignment.pictures.items() if hint in hints}
    for ending, write in REPORTS.items():
        write_whole(path.with_name(path.name + ending), write(report, pictures).encode())
