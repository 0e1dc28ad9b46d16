"""`python -m grading grade FILE …`: grades each submission alone, in a folder of its own.

A folder that came with a submission may hold a `conftest.py`, a `pytest.ini` or a `numpy.py` that
pytest would run before any plugin can object. So the notebook and its weights, and nothing else,
are copied to a fresh folder, and pytest runs there without looking for configuration.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from grading import UsageError
from grading.results import EXIT_GRADER_FAILED

FORWARDED = ("grading-report", "grading-feedback", "grading-gradescope", "junitxml")


def add_command(commands: argparse._SubParsersAction) -> None:
    """Adds `grade` to the command line."""
    parser = commands.add_parser("grade", help="grade submissions, each in a folder of its own")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a notebook")
    parser.add_argument("--weights", type=Path, help="its weights file; else FILE's name with .npz")
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
    weights = arguments.weights or file.with_suffix(".npz")
    if arguments.weights and not weights.exists():
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
        _copy(file, notebook)
        if os.path.lexists(weights):
            _copy(weights, Path(folder) / "weights.npz")
            options.append(f"--grading-weights={folder}/weights.npz")
        finished = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "pytest", "--nbval", str(notebook)),
                *("--rootdir", folder, "-c", os.devnull, "--noconftest", "-p", "no:cacheprovider"),
                *("--quiet", "--no-header", "--tb=no", "-rN", *options),
            ],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if k not in ("PYTEST_ADDOPTS", "PYTHONPATH")},
        )
    known = finished.returncode in (0, 1, 10)
    return finished.returncode if known else EXIT_GRADER_FAILED


def _copy(source: Path, target: Path) -> None:
    """Copies a file; a link stays a link, and what is no file becomes a link to itself.

    Neither is followed later: the report says what it was.
    """
    if source.is_file() or source.is_symlink():
        shutil.copyfile(source, target, follow_symlinks=False)
    else:
        target.symlink_to(source.absolute())
