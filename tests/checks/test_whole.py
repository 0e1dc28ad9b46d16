"""`python -m checks NOTEBOOK`, run as a student runs it."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import setup_notebook
from checks import whole
from checks.points import POINTS
from grading.__main__ import main as release
from tests.frameworks import each_framework, find_variant
from tests.notebooks import ROOT, filled, quick


def check_notebook(
    path: Path, kit: Path = ROOT, encoding: str = "utf-8"
) -> subprocess.CompletedProcess:
    """Runs `python -m checks NOTEBOOK` in the kit's folder, as a student does."""
    return subprocess.run(
        [sys.executable, "-m", "checks", str(path)],
        cwd=kit,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
        timeout=1800,  # only ends what hangs
    )


# What a notebook may hold that only training or Colab makes possible, and a mistake of its own.
ADDED = (
    "keep_on_drive = True",
    "run.restore()  # after a restart",
    "print(final_rewards)",
    "print(run.rewards_history[-1])",
    "show_video('videos/final', index=3)",
    "from google.colab import files",
    "own = 1 / 0",
)


@each_framework
def test_points_of_a_wrong_notebook(tmp_path, framework):
    notebook = quick(filled(framework))
    names = [cell.id for cell in notebook.cells]
    mistake = find_variant(framework, "agent", "heads read the cell state")
    exercise = notebook.cells[names.index("agent-exercise")]
    exercise.source = mistake.apply(exercise.source)
    settings, *more = map(nbformat.v4.new_code_cell, ADDED)
    notebook.cells[names.index("history") : names.index("history")] = [settings]
    notebook.cells += more
    notebook.cells.remove(notebook.cells[names.index("agent-check")])
    path = tmp_path / "homework.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    finished = check_notebook(path, encoding="ascii")
    assert finished.returncode == 1, finished.stderr
    out = finished.stdout
    assert "homework.ipynb, but for the slow ones ...\n" in out
    assert (
        "agent         18 / 20\n      -2  the heads read the cell's output, not its state\n" in out
    )
    assert (
        "          the heads read the cell's output h, not its state c: logits and state_value"
        in out
    )
    assert "loss          50 / 50\noptimizer     10 / 10\ntotal         78 / 80\n" in out
    assert "Playing adds up to 20 points" in out
    assert "also failed, which costs nothing: the cell that begins with 'own = 1 / 0': Zero" in out
    assert out.count("also failed") == 1
    for reason, cell in (
        ("it needs a file, which training may make", ADDED[1]),
        ("it needs what a cell that was passed over makes", ADDED[2]),
        ("it needs what training fills", ADDED[3]),
        ("it needs a file, which training may make", ADDED[4]),
        ("it needs Colab", ADDED[5]),
    ):
        assert f"passed over ({reason}): the cell that begins with {cell!r}" in out
    assert out.count("passed over (") == 5
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


MISSING = "NameError: name 'a' is not defined"


@pytest.mark.parametrize(
    ("before", "before_fails", "is_excused"),
    [
        ("# Slow: minutes\na = 1", "", True),
        ("from google.colab import drive\na = 1", "ModuleNotFoundError: No module named", False),
        (
            "from google.colab import drive\na = 1",
            "ModuleNotFoundError: No module named 'google'",
            True,
        ),
        ("# Slow: minutes\n%time a = 1", "", False),
        ("# Slow: minutes\n!ls\na = 1", "", True),
        ("%%time\n# My own:\n# Slow: minutes\nfor b in c:\n    a = 1", "", True),
        ("a = 1 / 0", "ZeroDivisionError: division by zero", False),
        ("b = 1", "", False),
    ],
)
def test_a_name_is_excused_if_it_comes_from_a_cell_that_could_not_run(
    before, before_fails, is_excused
):
    reasons = whole._excuses([before, "print(a)"], [before_fails, MISSING])
    assert bool(reasons[1]) == is_excused
    # Made again by a cell that runs, the name has no excuse.
    reasons = whole._excuses([before, "a = 2", "print(a)"], [before_fails, "", MISSING])
    assert not reasons[2]


NO_TENSORBOARD = "ModuleNotFoundError: TensorBoard is missing: pip install tensorboard"
HISTORY = (
    "run = TrainingRun(agent, tensorboard_folder=folder)\nrewards_history = run.rewards_history"
)


@pytest.mark.parametrize(
    ("source", "failure", "reason"),
    [
        (HISTORY, NO_TENSORBOARD, "it needs TensorBoard"),
        (
            "%load_ext tensorboard",
            "ModuleNotFoundError: No module named 'tensorboard'",
            "it needs T",
        ),
        ("import wandb", "ModuleNotFoundError: No module named 'wandb'", ""),
        (
            "a = max(rewards_history)",
            "ValueError: max() iterable argument is empty",
            "it needs what",
        ),
        ("%%time\nrun.restore()", "OSError: the drive is gone", "it needs what training fills"),
        ("keras.load('x')", "ValueError: File not found: filepath=x.keras.", "it needs a file"),
        (HISTORY, "TypeError: the optimizer is of another framework", ""),
        ("a = 1 / 0  # run it", "ZeroDivisionError: division by zero", ""),
    ],
)
def test_what_the_notebook_advises_is_no_failure(source, failure, reason):
    (found,) = whole._excuses([source], [failure])
    assert found.startswith(reason) and bool(found) == bool(reason)


def test_parts_that_fail_alike_say_so_once(capsys):
    problems = dict.fromkeys(POINTS["agent"], "")
    problems |= {"logits": "why\nand how", "state_value": "why\nand how", "heads": "another"}
    assert whole._print_exercise("agent", [], whole.Run([], {"agent": problems})) == 10
    assert capsys.readouterr().out == (
        "agent         10 / 20\n"
        "      -8  the actor's logits; the critic's value\n"
        "          why\n"
        "          and how\n"
        "      -2  the heads read the cell's output, not its state\n"
        "          another\n"
    )


def test_an_exercise_without_a_verdict_says_why(capsys):
    sources = ["# Exercise: loss\ndef train_on_rollout(): <YOUR CODE>", "checks.check_loss(g)"]
    failures = ["OpenGaps: 1 gap is still open", "NameError: name 'g'", "", ""]
    assert whole._print_exercise("loss", sources, whole.Run(failures, {})) == 0
    out = capsys.readouterr().out
    assert (
        out
        == "loss           0 / 50\n     -50  everything\n          OpenGaps: 1 gap is still open\n"
    )


@each_framework
def test_a_bundle_is_all_that_is_needed(tmp_path, monkeypatch, framework):
    monkeypatch.chdir(ROOT)
    bundle = tmp_path / "bundle"
    assert release(["release", "--bundle", str(bundle)]) == 0
    nbformat.write(quick(filled(framework)), bundle / "filled.ipynb")
    present = {*bundle.rglob("*")}
    finished = check_notebook("filled.ipynb", kit=bundle)
    assert finished.returncode == 0, finished.stdout
    assert "total         80 / 80" in finished.stdout
    assert {path for path in bundle.rglob("*") if "__pycache__" not in path.parts} == present


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.ipynb", ""), ("text.ipynb", "no JSON"), ("list.ipynb", "[]"), ("missing.ipynb", None)],
)
def test_what_is_no_notebook_is_said(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    finished = check_notebook(tmp_path / name)
    assert finished.returncode == 2
    assert f"{name} is not a notebook that can be read" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_where_the_set_up_fails_its_error_alone_is_shown(tmp_path, capsys):
    cells = [
        "raise FileNotFoundError('no kit.zip')\nchecks.prepare_notebook('pytorch')",
        "# Exercise: agent\nagent = nn.Linear(1, 1)",
        "checks.check_agent(globals())",
    ]
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
    nbformat.write(notebook, tmp_path / "homework.ipynb")
    assert whole.main([str(tmp_path / "homework.ipynb")]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "The set-up cell failed, so nothing can be checked: FileNotFoundError: no kit.zip"
    ]


def test_an_old_python_is_named_by_the_set_up(monkeypatch):
    monkeypatch.setattr(setup_notebook.sys, "version_info", (3, 10, 13))
    with pytest.raises(RuntimeError, match=r"needs Python 3\.11 or newer, .* runs 3\.10"):
        setup_notebook.prepare_packages("requirements.txt")
    assert f">={'.'.join(map(str, setup_notebook.OLDEST))}" in (ROOT / "pyproject.toml").read_text()
