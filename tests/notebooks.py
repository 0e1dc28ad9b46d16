"""Notebooks for the tests, and plain `pytest --nbval` to run them as a student's machine does."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat

from grading.project import load_project
from tests.frameworks import find_variant

ROOT = Path(__file__).parent.parent


def solution_path(framework: str = "tensorflow") -> Path:
    return ROOT / "solutions" / f"kungfu_a2c_{framework}.ipynb"


def student_path(framework: str = "tensorflow") -> Path:
    return ROOT / "notebooks" / f"kungfu_a2c_{framework}.ipynb"


SOLUTION, STUDENT = solution_path(), student_path()


def solution_cells(*names: str, framework: str = "tensorflow") -> list[nbformat.NotebookNode]:
    """Returns copies of a solution's cells of these ids."""
    notebook = nbformat.read(solution_path(framework), as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    return [copy.deepcopy(cells[name]) for name in names]


QUICK = {
    "imports": 'gym.spec("ALE/KungFuMaster-v5").kwargs["max_num_frames_per_episode"] = 400',
    "training-settings": "n_training_games = 2",
}


# Cells, and whether they are marked as slow.
MARKED_SLOW = {
    "# Slow: training\ntrain()": True,
    "#Slow: training\ntrain()": True,
    "\n  # Slow: training\ntrain()": True,
    "\ufeff# Slow: training\ntrain()": True,
    "# Slow: training\r\ntrain()": True,
    "%%time\n# Slow: training\ntrain()": True,
    "%%time\n\n%%capture out\n\n# Slow: training\ntrain()": True,
    "%matplotlib inline\n!pip list\n# Slow: training\ntrain()": True,
    "# %%\n# My settings are below.\n\n# Slow: training\ntrain()": True,
    "# Slow:": True,
    "train()\n# Slow: training": False,
    "started = time()\n# Slow: training": False,
    "train()  # Slow: training": False,
    "# Slowly\ntrain()": False,
    "# slow: a loop over games\ntrain()": False,
    "# Not Slow: it ends at once\ntrain()": False,
    "#\nSlow: int = train()": False,
    "print('# Slow: training')\ntrain()": False,
}


def quick(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Makes games few and short, since most of a notebook's time is spent on them."""
    for cell in notebook.cells:
        if cell.id in QUICK:
            cell.source += "\n" + QUICK[cell.id]
    return notebook


def filled(framework: str = "tensorflow") -> nbformat.NotebookNode:
    """Returns a student notebook with every gap filled right."""
    solution = nbformat.read(solution_path(framework), as_version=4)
    answers = {cell.id: cell.source for cell in solution.cells}
    notebook = nbformat.read(student_path(framework), as_version=4)
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            cell.source = answers[cell.id]
    return notebook


def wrong(framework: str) -> nbformat.NotebookNode:
    """Returns a student notebook filled in, with one mistake."""
    notebook = filled(framework)
    cell = next(cell for cell in notebook.cells if cell.id == "loss-exercise")
    wrong_sign = find_variant(framework, "loss", "entropy with the wrong sign")
    cell.source = wrong_sign.apply(cell.source)
    return notebook


def copy_kit(folder: Path) -> None:
    """Copies the helper files that students get."""
    project = load_project(ROOT)
    for name, path in zip(project.helper_names, project.helpers, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)


def write_notebook(path: Path, cells: list[nbformat.NotebookNode | str]) -> None:
    """Writes cells, or sources of code cells, as a notebook."""
    cells = [nbformat.v4.new_code_cell(c) if isinstance(c, str) else c for c in cells]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def run_nbval(
    folder: Path, *notebooks: str, python: str | Path = sys.executable, kit: bool = True
) -> tuple[int, dict[str, list[str | None]]]:
    """Runs notebooks in a folder under nbval alone, without any plugin of the project's own.

    Args:
        folder: where the notebooks are.
        notebooks: their names.
        python: the Python that runs them.
        kit: whether the helper files are put there first; otherwise the notebooks have to, and no
            `conftest.py` tells nbval what to skip.

    Returns:
        pytest's exit code; for each notebook, each cell's failure, None where it passed. Skipped
        cells are left out.
    """
    if kit:
        copy_kit(folder)
    mode = ["--nbval"] if kit else ["--nbval-lax", "--nbval-current-env"]
    command = [python, "-m", "pytest", *mode, *notebooks, "--junitxml=out.xml"]
    ours = {"PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    finished = subprocess.run(
        [*command, "-p", "nbval.plugin", "-p", "no:cacheprovider", "--color=no"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert (folder / "out.xml").exists(), finished.stdout + finished.stderr
    outcomes: dict[str, list[str | None]] = {name: [] for name in notebooks}
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        name = next(name for name in notebooks if Path(name).stem in case.get("classname", ""))
        if case.find("skipped") is None:
            failure = case.find("failure")
            text = None if failure is None else re.sub(r"#x1B\[[0-9;]*m", "", failure.text)
            outcomes[name].append(text)
    return finished.returncode, outcomes
