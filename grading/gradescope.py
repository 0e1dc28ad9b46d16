"""Gradescope: packs the grader for it, and grades there what a student hands in.

`python -m grading gradescope` writes the archive to upload. Gradescope runs its `setup.sh` once, to
build a container, and its `run_autograder` for each submission, in a fresh copy of that container.
See https://gradescope-autograders.readthedocs.io/en/latest/specs/.

Whatever happens there, `results/results.json` is valid. If the grader fails, it holds no score:
that of a failed run must not look like a verdict.

A container rarely lets anybody make the namespaces of a sandbox. Without them students' code runs
under another account, to which everything secret is closed first; if even that is impossible,
nothing is graded.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from grading import UsageError, archive
from grading.assignment import ROOT, Assignment, all_assignments
from grading.files import write_whole
from grading.grade import Grader
from grading.project import load_project, show
from grading.report import as_gradescope, as_table, clean
from grading.results import EXIT_FULL_MARKS, EXIT_GRADER_FAILED, Report
from grading.sandbox import PYTHON, SHARED_MEMORY_BYTES, Unsandboxed, why_unavailable
from grading.worker import Limits

SCRIPTS = ("run_autograder", "setup.sh")
SETTINGS = "autograder.json"
MINUTES = 10  # Gradescope's own default
RESERVE_SECONDS = 60  # Gradescope gives 0 points to whom it has to stop
ARCHIVE_LIMITS = archive.Limits(members=1_000, member_bytes=200_000_000, total_bytes=500_000_000)
MAX_NAMES = 20  # in a message

FAILED = "The autograder failed. This says nothing about the submission: it has to be graded again."
SEE_OUTPUT = "The teacher finds the reason in the autograder's output."
NOT_STARTED = f"{FAILED} It did not start. {SEE_OUTPUT}"
ENDED = f"{FAILED} It ended too early, as it does where there is too little memory."
TIME_IS_UP = (
    f"{FAILED} It did not finish within {{:g}} minutes; the teacher can give it more processors "
    "and time."
)
NO_NOTEBOOK = "ungradable: there is no notebook (.ipynb) among the files that were handed in: {}"
# Prints an account that can import the grader, and the paths that it can read but should not.
LOOK = """import grading.reader, os, sys
print(os.getuid(), *[path for path in sys.argv[1:] if os.access(path, os.R_OK)])"""
# A line of a list of packages; the module is named where the package has another name.
REQUIREMENT = re.compile(r"^([\w.-]+)[^#\n]*?(?:# import (\w+))?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the teacher chose when the archive was made.

    Attributes:
        assignments: the names of those that submissions may answer.
        template, seed, is_exact: as for `Grader`.
        minutes: the time limit that is set on Gradescope.
    """

    assignments: tuple[str, ...]
    template: str = ""
    seed: int | None = None
    is_exact: bool = False
    minutes: float = MINUTES

    @classmethod
    def read(cls, path: Path) -> "Settings":
        fields = json.loads(path.read_text("utf-8"))
        return cls(**fields | {"assignments": tuple(fields["assignments"])})

    def chosen(self) -> list[Assignment]:
        """Returns the assignments.

        Raises:
            UsageError: there is none of this name, or none that knows the template.
        """
        known = {assignment.name: assignment for assignment in all_assignments()}
        if unknown := sorted({*self.assignments} - {*known}):
            raise UsageError(
                f"there is no assignment {', '.join(unknown)}, expected some of {', '.join(known)}"
            )
        chosen = [known[name] for name in known if name in self.assignments]
        templates = {name for assignment in chosen for name in assignment.templates}
        if self.template and self.template not in templates:
            expected = ", ".join(sorted(templates)) or "none, as there is no other"
            raise UsageError(f"there is no template {self.template!r}, expected {expected}")
        return chosen


def add_command(commands: argparse._SubParsersAction) -> None:
    """Adds `gradescope` to the command line."""
    parser = commands.add_parser("gradescope", help="make the archive to upload to Gradescope")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("autograder.zip"), metavar="FILE", help="its name"
    )
    parser.add_argument(
        "--assignment",
        action="append",
        metavar="NAME",
        help="grade this one only; can be repeated; by default, submissions may answer any",
    )
    parser.add_argument(
        "--template", default="", metavar="NAME", help="the submissions' template, as for `grade`"
    )
    parser.add_argument("--seed", type=int, help="grade all submissions with this seed")
    parser.add_argument("--exact", action="store_true", help="play all games, as for `grade`")
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        help=f"the time limit that is set on Gradescope; by default {MINUTES}",
    )
    parser.add_argument(
        "--package-index",
        default="",
        metavar="ADDRESS",
        help="another index to install from, such as PyTorch's of builds for CPUs",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = Settings(
        assignments=tuple(arguments.assignment or (a.name for a in all_assignments())),
        template=arguments.template,
        seed=arguments.seed,
        is_exact=arguments.exact,
        minutes=arguments.minutes,
    )
    if not 2 <= settings.minutes <= 24 * 60:
        raise UsageError(f"--minutes is {settings.minutes:g}, expected 2 or more")
    write_whole(arguments.output, pack(settings, arguments.package_index))
    print(f"{show(arguments.output)}: written, for {', '.join(settings.assignments)}")
    return 0


# Packing


def pack(settings: Settings, index: str = "") -> bytes:
    """Returns the archive; the same files and settings make the same bytes.

    Args:
        settings: what the teacher chose.
        index: the address of another index of packages, such as one of smaller builds.

    Raises:
        UsageError: the settings name something unknown, or a required package is listed nowhere.
    """
    files = _files()
    chosen = settings.chosen()
    fields = dataclasses.asdict(settings) | {"assignments": [a.name for a in chosen]}
    files[SETTINGS] = (json.dumps(fields, indent=1) + "\n").encode()
    for name in SCRIPTS:
        files[name] = _script(name, chosen, index).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:  # stored, since zlib's versions differ
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.create_system = 3  # where files have modes
            entry.external_attr = (0o100755 if name in SCRIPTS else 0o100644) << 16
            packed.writestr(entry, files[name])
    return buffer.getvalue()


def _files() -> dict[str, bytes]:
    """Returns all that the grader needs, by name.

    Every assignment is among it, since they all make sure that their files exist.
    """
    modules = [path for path in load_project(ROOT).helpers if path.suffix == ".py"]
    helpers = [path for path in modules if path.name != "conftest.py"]
    wanted = [ROOT / "grading", ROOT / "assignments", *helpers, *ROOT.glob("requirements*.txt")]
    wanted += [ROOT / "constraints.txt", ROOT / "pyproject.toml"]
    for assignment in all_assignments():
        wanted += [assignment.solution, *assignment.inside]
    found = {path for place in wanted for path in _files_in(place)}
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in found}


def _files_in(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for path in place.rglob("*"):
        parts = path.relative_to(place).parts
        if path.is_file() and not any(p[0] == "." or p == "__pycache__" for p in parts):
            yield path


def _script(name: str, assignments: Iterable[Assignment], index: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("grading"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quote"] = shlex.quote
    return environment.get_template(name).render(
        requirements=_requirements(assignments),
        modules=sorted({"grading", *(m for a in assignments for m in a.requires)}),
        index=index,
        not_started=json.dumps(_failure(NOT_STARTED)),
    )


def _requirements(assignments: Iterable[Assignment]) -> list[str]:
    """Returns the lists of packages to install: the grader's, and those with what is required."""
    grading = ROOT / "requirements-grading.txt"
    lists = {}
    for path in sorted({*ROOT.glob("requirements*.txt")} - {grading}):
        lines = REQUIREMENT.findall(path.read_text("utf-8"))
        lists[path.name] = {module or package for package, module in lines}
    needed = {}
    for assignment in assignments:
        required = {*assignment.requires}
        holding = [name for name, modules in lists.items() if required <= modules]
        if required and not holding:
            raise UsageError(
                f"{assignment.name} needs {', '.join(sorted(required))}, which none of "
                f"{', '.join(lists) or 'no list'} brings"
            )
        needed |= dict.fromkeys(holding[:1] if required else ())
    return [grading.name, *needed]


# Grading


def main(arguments: Sequence[str]) -> int:
    """Grades what lies in Gradescope's folder; `run_autograder` calls this.

    Returns:
        0, or the code of a grader that has failed.
    """
    root = Path(arguments[0])
    results = root / "results" / "results.json"
    _write(results, _failure(ENDED))
    seconds = 0.0
    try:
        settings = Settings.read(root / "source" / SETTINGS)
        # Gradescope's own program passes its limit on, which no page promises.
        seconds = float(os.environ.get("TIMEOUT_SECONDS") or 60 * settings.minutes)
        with _alarm(max(seconds - RESERVE_SECONDS, seconds / 2)):
            content = _grade(root, settings, seconds)
    except _TimeIsUpError:
        content = _failure(TIME_IS_UP.format(seconds / 60))
    except Exception as error:  # no failure of the grader may cost a student points
        # The reason may quote the solution: what is printed, students do not see.
        print(clean(f"{type(error).__name__}: {error}"))
        content = _failure(f"{FAILED} {SEE_OUTPUT}")
    _write(results, content)
    return EXIT_FULL_MARKS if "score" in content else EXIT_GRADER_FAILED


class _TimeIsUpError(BaseException):
    """The limit is near; nothing that handles an `Exception` keeps it."""


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def _failure(output: str) -> dict[str, Any]:
    """Returns results without a score, which Gradescope takes for those of a failed autograder."""
    return {
        "output": output,
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
    }


def _grade(root: Path, settings: Settings, seconds: float) -> dict[str, Any]:
    """Returns Gradescope's results; prints the teacher's table."""
    assignments = settings.chosen()
    closed = close(root, all_assignments())
    no_sandbox = why_unavailable()
    if no_sandbox:
        print(f"There is no sandbox here: {no_sandbox}.")
        require_separation(closed)
    # Not all of the time is for one endless loop.
    limits = Limits(call_seconds=min(300, seconds / 5), total_seconds=min(1200, seconds / 2))
    with contextlib.ExitStack() as cleanup:
        folders = [
            Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
            for name in ("unpacked", "submission")
        ]
        handed_in, remarks = collect(root / "submission", folders[0])
        notebooks = [name for name in handed_in if name.endswith(".ipynb")]
        if not notebooks:
            output = NO_NOTEBOOK.format(_listed(handed_in) or "there are none")
            return _failure("\n".join([output, *remarks])) | {"score": 0.0}
        grader = cleanup.enter_context(
            Grader(
                settings.seed,
                not no_sandbox,
                limits,
                assignments,
                settings.template,
                settings.is_exact,
            )
        )
        chosen = max(notebooks, key=lambda name: _rank(grader, handed_in[name]))
        if others := [name for name in notebooks if name != chosen]:
            remarks.insert(0, f"Graded: {chosen}. Not graded: {_listed(others)}.")
        path = _put_together(chosen, handed_in, _endings(assignments), folders[1])
        report = grader.grade(path)
    return _results(report, remarks)


def _results(report: Report, remarks: Sequence[str]) -> dict[str, Any]:
    remarks = [clean(remark) for remark in remarks]
    print(as_table(report), *remarks, sep="\n")
    results = as_gradescope(report)
    results["output"] = "\n".join([results["output"], *remarks])
    return results | {"extra_data": {"protection": report.protection}}


def close(root: Path, assignments: Iterable[Assignment]) -> list[Path]:
    """Closes what is secret in Gradescope's folder to other accounts; returns it.

    Their processes run `source/grading`, and get copies of helper files, with the modes of these.
    """
    source = root / "source"
    solutions = [source / assignment.solution.relative_to(ROOT) for assignment in assignments]
    closed = [path for path in root.iterdir() if path != source]
    closed += [source / "assignments", source / SETTINGS, *solutions]
    for path in closed:
        path.chmod(path.stat().st_mode & 0o700)
    root.chmod(0o711)  # to be entered, not listed
    source.chmod(0o755)  # Python finds modules in no folder that it cannot list
    return closed


def require_separation(secret: Iterable[Path]) -> None:
    """Makes sure that, without a sandbox, students' code runs under an account of its own.

    Args:
        secret: files and folders that this account must not be able to read.

    Raises:
        RuntimeError: it runs as the grader itself, or can read some of these.
    """
    account = Unsandboxed(environment={"PYTHONPATH": str(ROOT)})
    command = [PYTHON, "-c", LOOK, *map(str, secret)]
    with account.start(command, processes=64, scratch_bytes=SHARED_MEMORY_BYTES) as process:
        printed = process.communicate()[0].decode(errors="replace")
    said = printed.split()
    if process.returncode or int(said[0]) == os.geteuid():
        raise RuntimeError(
            "there is neither a sandbox nor another account that students' code could run under: "
            f"a test said {printed!r}"
        )
    if said[1:]:
        raise RuntimeError(f"students' code could read {', '.join(said[1:])}")


# What was handed in


def collect(folder: Path, unpacked: Path) -> tuple[dict[str, Path], list[str]]:
    """Finds the files that a student handed in, also those in archives.

    Args:
        folder: where they lie.
        unpacked: an empty folder for what is in archives.

    Returns:
        The files by the name to show, and remarks for the student.
    """
    found, remarks = _files_below(folder), []
    for number, name in enumerate([name for name in found if name.lower().endswith(".zip")]):
        target = unpacked / str(number)
        try:
            remarks += [
                f"{name}: {why}" for why in archive.unpack(found[name], target, ARCHIVE_LIMITS)
            ]
        except UsageError as error:
            remarks.append(f"{name} cannot be unpacked: {error}")
        inside = _files_below(target)
        found |= {f"{name}/{member}": path for member, path in inside.items()}
    return found, remarks


def _files_below(folder: Path) -> dict[str, Path]:
    """Returns files by their names in a folder; links are left out, and what is hidden."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not path.is_symlink() and not _is_hidden(parts):
            found["/".join(parts)] = path
    return found


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _rank(grader: Grader, path: Path) -> tuple[bool, int]:
    """Says how much of an assignment a notebook answers, to be compared."""
    reading = grader.read(path)
    states = [answer.state for answer in reading.submission.answers.values()]
    return reading.number is not None, states.count("complete")


def _endings(assignments: Iterable[Assignment]) -> set[str]:
    """Returns the endings of the files that notebooks write and students hand in."""
    return {Path(trial.attachment).suffix for a in assignments for trial in a.trials}


def _put_together(
    chosen: str, handed_in: Mapping[str, Path], endings: set[str], folder: Path
) -> Path:
    """Copies a notebook and what may belong to it; returns its path.

    What bears another notebook's name belongs to that one.
    """
    stems = {Path(name).stem for name in handed_in if name.endswith(".ipynb")}
    beside = [
        name
        for name in handed_in
        if Path(name).suffix in endings and Path(name).stem not in stems - {Path(chosen).stem}
    ]
    # Of two files with the same name the one in the notebook's own folder counts.
    beside.sort(key=lambda name: Path(name).parent == Path(chosen).parent)
    for name in [*beside, chosen]:
        target = folder / Path(name).name
        target.unlink(missing_ok=True)
        shutil.copyfile(handed_in[name], target, follow_symlinks=False)
    return target


def _listed(names: Iterable[str]) -> str:
    names = [clean(name) for name in names]
    return ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
