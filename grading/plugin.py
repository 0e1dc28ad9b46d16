"""What `pytest --nbval SUBMISSION.ipynb` does where the project is installed.

A notebook that answers one of the project's assignments is graded: each part of an exercise is a
test. Any other notebook is left to nbval. The exit code says what came out, see
`grading.results`.
"""

import importlib.machinery
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from grading import tracks
from grading.files import write_whole
from grading.grade import Grader, GraderError
from grading.report import as_gradescope, as_html, as_json, as_table, clean
from grading.results import EXIT_GRADER_FAILED, Check, ExerciseResult, Report
from grading.sandbox import why_unavailable

# What pytest or Python would run or import from a submission's folder.
CONFIGURATION = {"conftest.py", "setup.cfg", "tox.ini", "pyproject.toml"}
CONFIGURATION |= {f"{dot}pytest.{kind}" for dot in ("", ".") for kind in ("ini", "toml")}
IMPORTED = (*importlib.machinery.all_suffixes(), ".pth")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("grading", "grading of student notebooks")
    group.addoption("--grading-seed", type=int, help="repeat the grading that had this seed")
    group.addoption("--grading-report", type=Path, metavar="FILE", help="write a report as JSON")
    group.addoption(
        "--grading-feedback", type=Path, metavar="FILE", help="write the student's page as HTML"
    )
    group.addoption(
        "--grading-gradescope", type=Path, metavar="FILE", help="write Gradescope's results.json"
    )
    group.addoption(
        "--grading-weights", type=Path, metavar="FILE", help="the weights that were handed in"
    )
    group.addoption("--grading-only", action="store_true", help="leave no notebook to nbval")
    group.addoption("--grading-done", type=Path, help="make this file when all has been graded")
    group.addoption("--grading-problem", default="", help="why the notebook cannot be read")
    group.addoption(
        "--no-sandbox", action="store_true", help="run student code without bubblewrap: a risk"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not (getattr(config.option, "nbval", False) or getattr(config.option, "nbval_lax", False)):
        return
    given = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    folders = [path for path in given if path.is_dir()]
    notebooks = [path for path in given if path.suffix == ".ipynb" and path.is_file()]
    for path in [*notebooks, *(file for folder in folders for file in folder.rglob("*.ipynb"))]:
        if config.option.grading_only or tracks.find_track(path):
            refuse_dangerous_folder(path, config.rootpath)
            if not config.option.no_sandbox and (reason := why_unavailable()):
                raise pytest.UsageError(
                    f"there is no sandbox for student code: {reason}. Install bubblewrap, or take "
                    "the risk with --no-sandbox"
                )
    config.pluginmanager.register(GradingSession(config), "grading-session")


class GradingSession:
    """Grades the submissions of one pytest run, with a reference kernel for each track."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.graders: dict[str, Grader] = {}
        self.reports: list[Report] = []
        self.has_failed = False

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Iterator:
        collected = yield
        if not collected or file_path.suffix != ".ipynb":
            return collected
        # Whatever nbval would run is looked at, however it was asked for: pytest writes paths in
        # other ways than those who gave them.
        track = tracks.find_track(file_path)
        if track is None and self.config.option.grading_only:
            track = tracks.all_tracks()[0]
        if track is None:
            return collected
        # In place of what nbval collected.
        return [SubmissionFile.from_parent(parent, path=file_path, grading=self, track=track)]

    def grade(self, path: Path, track: tracks.Track) -> Report:
        option = self.config.option
        if track.name not in self.graders:
            self.graders[track.name] = Grader(track, option.grading_seed, not option.no_sandbox)
        grader = self.graders[track.name]
        report = grader.grade(path, option.grading_weights, option.grading_problem)
        self.reports.append(report)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in self.reports:
            terminalreporter.section(clean(report.submission))
            terminalreporter.write_line(as_table(report))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for grader in self.graders.values():
            grader.__exit__(None, None, None)
        option = self.config.option
        for path, form in (
            (option.grading_report, lambda report: _dump(as_json(report))),
            (option.grading_gradescope, lambda report: _dump(as_gradescope(report))),
            (option.grading_feedback, lambda report: as_html(report, draw_pictures(report))),
        ):
            if path and len(self.reports) == 1:
                write_whole(path, form(self.reports[0]).encode())
        if option.grading_done and self.reports:
            option.grading_done.touch()
        if self.has_failed:
            session.exitstatus = EXIT_GRADER_FAILED
        elif self.reports and session.exitstatus in (0, 1):
            session.exitstatus = max(report.exit_code for report in self.reports)


class SubmissionFile(pytest.File):
    """A submission; it is graded when its first part is asked for."""

    def __init__(self, *, grading: GradingSession, track: tracks.Track, **rest):
        super().__init__(**rest)
        self.grading, self.track = grading, track
        self.result: Report | None = None
        self.failure: GraderError | None = None

    def collect(self) -> Iterator[pytest.Item]:
        for exercise, part in self.track.part_names():
            yield PartItem.from_parent(self, name=f"{exercise}: {part}", key=(exercise, part))

    def report(self) -> Report:
        if self.failure:
            raise self.failure
        if self.result is None:
            try:
                self.result = self.grading.grade(self.path, self.track)
            except Exception as error:  # whatever it is, the student must not pay for it
                reason = f"{type(error).__name__}: {error}"
                self.failure, self.grading.has_failed = GraderError(reason), True
                raise self.failure from error
        return self.result


class PartFailed(Exception):  # noqa: N818 - a verdict, not an accident
    """A part of an exercise did not earn its points."""


class PartItem(pytest.Item):
    """A part of an exercise."""

    def __init__(self, *, key: tuple[str, str], **rest):
        super().__init__(**rest)
        self.key = key

    def runtest(self) -> None:
        exercise, check = find_check(self.parent.report(), *self.key)
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


def find_check(report: Report, exercise: str, part: str) -> tuple[ExerciseResult, Check]:
    """Returns the result of an exercise and the check of one of its parts."""
    result = next(result for result in report.exercises if result.name == exercise)
    return result, next(check for check in result.checks if check.name == part)


def draw_pictures(report: Report) -> dict[str, bytes]:
    """Draws the pictures that belong to a report's hints."""
    track = next(track for track in tracks.all_tracks() if track.name == report.assignment)
    hints = {check.hint for exercise in report.exercises for check in exercise.checks}
    return {hint: track.pictures[hint]() for hint in hints & track.pictures.keys()}


def refuse_dangerous_folder(path: Path, root: Path) -> None:
    """Stops pytest if files around a submission could have run, or would be imported.

    Raises:
        pytest.UsageError: names the files and the safe command.
    """
    own = tracks.own_folders()
    folders = [folder for folder in (path.parent, *path.parent.parents) if folder not in own]
    if root in folders:
        folders = folders[: folders.index(root) + 1]
    found = [
        file
        for folder in folders
        for file in folder.iterdir()
        if file.name in CONFIGURATION or (folder == path.parent and is_importable(file))
    ]
    if found:
        names = ", ".join(sorted({clean(file.name) for file in found}))
        raise pytest.UsageError(
            f"{clean(path.name)} does not lie alone: pytest or the notebook would run {names}, "
            f"which may have come with it. The safe command is: python -m grading grade FILE"
        )


def is_importable(path: Path) -> bool:
    """Says whether Python would import a file, or a folder as a package."""
    return path.name.endswith(IMPORTED) or any(
        (path / f"__init__{ending}").exists() for ending in IMPORTED
    )


def _dump(data: dict) -> str:
    return json.dumps(data, indent=1) + "\n"
