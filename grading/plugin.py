"""A pytest plugin: where the project is installed, `pytest --nbval SUBMISSION.ipynb` grades.

A notebook that answers one of the project's assignments is graded: each part of an exercise is a
test. Any other notebook is left to nbval. For the exit codes, see `grading.results`.
"""

import argparse
import functools
import importlib.machinery
from collections.abc import Iterator
from pathlib import Path

import pytest

from grading import UsageError
from grading.assignment import ROOT, Assignment, all_assignments
from grading.command import require_sandbox, write_reports
from grading.grade import Grader, GraderError
from grading.report import as_table, clean
from grading.results import EXIT_GRADER_FAILED, Report

# Files in a submission's folder that pytest would run or that Python would import.
CONFIGURATION = {"conftest.py", "setup.cfg", "tox.ini", "pyproject.toml"}
CONFIGURATION |= {f"{dot}pytest.{kind}" for dot in ("", ".") for kind in ("ini", "toml")}
IMPORTED = (*importlib.machinery.all_suffixes(), ".pth")


SESSION = pytest.StashKey["GradingSession"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("grading", "grading of student notebooks")
    group.addoption("--grading-seed", type=int, help="repeat a grading by its seed")
    group.addoption(
        "--grading-reports", type=Path, metavar="FOLDER", help="write reports for each submission"
    )
    group.addoption(
        "--grading-template",
        default="",
        metavar="NAME",
        help="the submissions were made from this other template",
    )
    group.addoption(
        "--grading-exact", action="store_true", help="play on when the points are certain"
    )
    group.addoption(
        "--no-sandbox", action="store_true", help="run student code without bubblewrap (risky)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Looks at what is given before pytest runs any file that lies there."""
    option = early_config.known_args_namespace
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)):
        return
    session = early_config.stash[SESSION] = GradingSession(option, early_config.rootpath)
    for argument in option.file_or_dir or [""]:
        path = early_config.invocation_params.dir / argument.partition("::")[0]
        notebooks = sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
        for notebook in notebooks:
            if notebook.suffix == ".ipynb" and notebook.is_file() and session.find(notebook):
                refuse_dangerous_folder(notebook, early_config.rootpath, path)


def pytest_configure(config: pytest.Config) -> None:
    if session := config.stash.get(SESSION, None):
        config.pluginmanager.register(session, "grading-session")


class GradingSession:
    """Grades the submissions of one pytest run."""

    def __init__(self, option: argparse.Namespace, root: Path):
        self.option, self.root = option, root
        try:
            self.grader = Grader(
                self.option.grading_seed,
                not self.option.no_sandbox,
                template=self.option.grading_template,
                is_exact=self.option.grading_exact,
            )
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        self.reports: dict[Path, Report] = {}
        self.has_failed = False

    def find(self, path: Path) -> Assignment | None:
        """Returns the assignment that a notebook answers.

        Raises:
            pytest.UsageError: it answers one, but there is no sandbox.
        """
        number = self.grader.read(path).number
        if number is None:
            return None
        try:
            require_sandbox(self.option.no_sandbox)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        return self.grader.assignments[number]

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Iterator:
        collected = yield
        # Look at every notebook that nbval would run, however it was named.
        if not collected or file_path.suffix != ".ipynb":
            return collected
        assignment = self.find(file_path)
        if assignment is None:
            return collected
        return [
            SubmissionFile.from_parent(parent, path=file_path, grading=self, assignment=assignment)
        ]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in self.reports.values():
            terminalreporter.section(clean(report.submission))
            terminalreporter.write_line(as_table(report))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.option.grading_reports:
            for path, report in self.reports.items():
                is_below = path.is_relative_to(self.root)
                name = path.relative_to(self.root).with_suffix("") if is_below else path.stem
                write_reports(report, self.grader, self.option.grading_reports / name)
        if self.has_failed:
            session.exitstatus = EXIT_GRADER_FAILED
        elif self.reports and session.exitstatus in (0, 1):
            session.exitstatus = max(report.exit_code for report in self.reports.values())

    def pytest_unconfigure(self) -> None:
        self.grader.__exit__(None, None, None)


class SubmissionFile(pytest.File):
    """A submission, which is graded when its first part runs."""

    def __init__(self, *, grading: GradingSession, assignment: Assignment, **rest):
        super().__init__(**rest)
        self.grading, self.assignment = grading, assignment

    def collect(self) -> Iterator[pytest.Item]:
        for exercise, part in self.assignment.part_names():
            yield PartItem.from_parent(self, name=f"{exercise}: {part}", key=(exercise, part))

    @functools.cached_property
    def graded(self) -> Report | GraderError:
        try:
            report = self.grading.grader.grade(self.path)
        except Exception as error:  # no failure of the grader may cost points
            self.grading.has_failed = True
            return GraderError(f"{type(error).__name__}: {error}")
        self.grading.reports[self.path] = report
        return report


class PartFailed(Exception):  # noqa: N818 - a verdict, not an error
    """A part of an exercise did not earn its points."""


class PartItem(pytest.Item):
    """A part of an exercise."""

    def __init__(self, *, key: tuple[str, str], **rest):
        super().__init__(**rest)
        self.key = key

    def runtest(self) -> None:
        report = self.parent.graded
        if isinstance(report, GraderError):
            raise report
        exercise = next(e for e in report.exercises if e.name == self.key[0])
        check = next(check for check in exercise.checks if check.name == self.key[1])
        if exercise.reason:
            raise PartFailed(f"ungradable: {clean(exercise.reason)}")
        if not check.passed:
            lines = [f"{check.points:g} of {check.maximum:g} points", check.message, check.hint]
            raise PartFailed("\n".join(clean(line) for line in lines if line))

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        if isinstance(excinfo.value, PartFailed):
            return str(excinfo.value)
        if isinstance(excinfo.value, GraderError):
            return f"the grader failed: {clean(str(excinfo.value))}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name}: {self.name}"


def refuse_dangerous_folder(path: Path, root: Path, given: Path) -> None:
    """Stops pytest if files near a submission could run or be imported.

    Args:
        path: the submission.
        root: pytest's root folder.
        given: what pytest was given, the submission or a folder above it.

    Raises:
        pytest.UsageError: names the files and the safe command; or the submission's name has
            characters that pytest would print as they are.
    """
    if clean(path.name) != path.name:
        raise pytest.UsageError(f"rename {clean(path.name)}: it has unprintable characters")
    # The project's own folders of notebooks.
    own = {ROOT, ROOT / "notebooks", *(a.solution.parent for a in all_assignments())}
    folders = [folder for folder in (path.parent, *path.parent.parents) if folder not in own]
    if root in folders:
        folders = folders[: folders.index(root) + 1]
    found = [
        file
        for folder in folders
        for file in folder.iterdir()
        if file.name in CONFIGURATION or (folder == path.parent and is_importable(file))
    ]
    if given.is_dir() and given not in (ROOT, *own):
        found += [file for name in CONFIGURATION for file in given.rglob(name)]
    if found:
        names = ", ".join(sorted({clean(file.name) for file in found}))
        raise pytest.UsageError(
            f"{clean(path.name)} shares its folder with files that would run, and that may have "
            f"come with it: {names}. The safe command is: python -m grading grade FILE"
        )


def is_importable(path: Path) -> bool:
    """Says whether Python would import a file, or a folder as a package."""
    return path.name.endswith(IMPORTED) or any(
        (path / f"__init__{ending}").exists() for ending in IMPORTED
    )
