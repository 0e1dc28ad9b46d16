"""`python -m grading grade FILE …`: grades each submission alone, in a folder of its own.

A folder that came with a submission may hold a `conftest.py`, a `pytest.ini` or a `numpy.py` that
pytest would run before any plugin can object. So the notebook and its weights, and nothing else,
are copied to a fresh folder, and pytest runs there without looking for configuration.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from grading import UsageError, tracks
from grading.files import UnreadableFileError, find_weights, read_regular_file
from grading.notebook import MAX_FILE
from grading.results import EXIT_GRADER_FAILED

FORWARDED = ("grading-report", "grading-feedback", "grading-gradescope", "junitxml")


def add_command(commands: argparse._SubParsersAction) -> None:
    """Adds `grade` to the command line."""
    parser = commands.add_parser("grade", help="grade submissions, each in a folder of its own")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a notebook")
    parser.add_argument("--weights", type=Path, help="its weights; else what lies beside it")
    parser.add_argument("--grading-seed", type=int, help="repeat the grading that had this seed")
    parser.add_argument("--no-sandbox", action="store_true", help="run without bubblewrap: a risk")
    for option in FORWARDED:
        parser.add_argument(f"--{option}", type=Path, metavar="FILE", help="see pytest --help")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    outputs = [name for name in FORWARDED if getattr(arguments, name.replace("-", "_"))]
    if len(arguments.files) > 1 and (outputs or arguments.weights):
        named = ", ".join(
            f"--{name}" for name in [*outputs, *["weights"] * bool(arguments.weights)]
        )
        raise UsageError(f"{named} goes with one submission, got {len(arguments.files)}")
    return max(_grade_alone(file, arguments) for file in arguments.files)


def _grade_alone(file: Path, arguments: argparse.Namespace) -> int:
    if not os.path.lexists(file):
        raise UsageError(f"there is no file {file}")
    track = tracks.find_track(file) or tracks.all_tracks()[0]
    weights = arguments.weights or find_weights(file, track.play.weights_name)[0]
    if weights and not os.path.lexists(weights):
        raise UsageError(f"there is no weights file {weights}")
    options = ["--no-sandbox"] if arguments.no_sandbox else []
    if arguments.grading_seed is not None:
        options.append(f"--grading-seed={arguments.grading_seed}")
    for name in FORWARDED:
        if path := getattr(arguments, name.replace("-", "_")):
            options.append(f"--{name}={path.absolute()}")
    with tempfile.TemporaryDirectory(prefix="submission-") as folder:
        # A name that pytest could take for something else is of no use in a report either.
        plain = re.fullmatch(r"\w[\w .()-]*\.ipynb", file.name)
        notebook = Path(folder) / (file.name if plain else "submission.ipynb")
        try:
            notebook.write_bytes(read_regular_file(file, MAX_FILE))
        except UnreadableFileError as error:  # ungradable, and the report says why
            notebook.touch()
            options.append(f"--grading-problem={error}")
        if weights:
            options.append(f"--grading-weights={weights.absolute()}")
        done = Path(folder) / "done.xml"
        finished = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "pytest", "--nbval", str(notebook)),
                *("--rootdir", folder, "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider"),
                *("--quiet", "--no-header", "--tb=no", "-rN", "--grading-only", *options),
                f"--grading-done={done}",
            ],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if k not in ("PYTEST_ADDOPTS", "PYTHONPATH")},
        )
        known = done.exists() and finished.returncode in (0, 1, 10)
    return finished.returncode if known else EXIT_GRADER_FAILED
