"""The generator of student notebooks, through its command line."""

import base64
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from grading.__main__ import main
from tests.grading.toy import BADGE, EXERCISE, code, exercise, png, refused, text


def test_whole_notebook(toy):
    """Everything but gaps, outputs, metadata and images stays."""
    image = png()
    toy.write("solutions/a dot.png", image)
    loss = exercise(EXERCISE)
    loss |= {"execution_count": 3, "outputs": [nbformat.v4.new_output("stream", text="0.5")]}
    loss.metadata["colab"] = {"base_uri": "https://localhost/"}
    toy.solve(
        text(f"# Toy {BADGE}\n![A dot](a%20dot.png)"),
        code("!ls  # look\nx = %pwd\n%time f(x)\n!a \\\n  b", "setup", id="set-up"),
        loss,
        code("# Slow: a minute.\ntrain(1)", "slow", id="train"),
        code("x = 1", id="play"),
        code("%%shell\nif true; then echo hello; fi  # always", id="greet"),
        nbformat.v4.new_raw_cell("as it is", id="raw"),
        colab={"provenance": []},
        kernelspec={"name": "other", "display_name": "Mine"},
    )
    assert main(["release"]) == 0
    uri = "data:image/png;base64," + base64.b64encode(image).decode()
    content = toy.student.read_text()
    assert content.endswith("}\n")
    assert json.loads(content) == {
        "cells": [
            {
                "cell_type": "markdown",
                "id": "title",
                "metadata": {},
                "source": [
                    f"# Toy {BADGE}\n",
                    f"![A dot]({uri})",
                ],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "set-up",
                "metadata": {"tags": ["setup", "nbval-ignore-output"]},
                "outputs": [],
                "source": ["!ls  # look\n", "x = %pwd\n", "%time f(x)\n", "!a \\\n", "  b"],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "loss-exercise",
                "metadata": {"tags": ["exercise", "nbval-ignore-output"]},
                "outputs": [],
                "source": [
                    "# Exercise: loss\n",
                    "def train(x):\n",
                    "    total = 0.0\n",
                    "    total += <YOUR CODE: the mean, weighted>\n",
                    "    return total",
                ],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "train",
                "metadata": {"tags": ["slow", "nbval-ignore-output", "nbval-skip"]},
                "outputs": [],
                "source": ["# Slow: a minute.\n", "train(1)"],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "play",
                "metadata": {"tags": ["nbval-ignore-output"]},
                "outputs": [],
                "source": ["x = 1"],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "greet",
                "metadata": {"tags": ["nbval-ignore-output"]},
                "outputs": [],
                "source": ["%%shell\n", "if true; then echo hello; fi  # always"],
            },
            {"cell_type": "raw", "id": "raw", "metadata": {}, "source": ["as it is"]},
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


# Refusals


CELLS = [
    (code("x = f(1)  # YOUR CODE", "given", id="play"), "play, line 1: only an exercise cell can"),
    (code("!ls\nx = 1  # yourcode", id="play"), "play, line 2: only an exercise cell can"),
    (code("%%time\nx = 1  # YOUR CODE", id="play"), "play, line 2: only an exercise cell can"),
    (code("%%shell\ndone  # YOUR CODE", id="play"), "play, line 2: only an exercise cell can"),
    (code("!ls\nx = (1", id="play"), "play, line 2: this is not Python"),
    (code("x = 1", "givn", id="play"), "play has unknown tags ['givn']; known are ['check', "),
    (code("x = 1", "exercise", id="play"), "play, line 1: the tag `exercise` and a first line"),
    (code("# Exercise: x\nx = 1", id="play"), "play, line 1: the tag `exercise` and a first line"),
    (code("# exercise: x\nx = 1", id="play"), "play, line 1: the tag `exercise` and a first line"),
    (code("x = 1", "slow", id="play"), "play, line 1: the tag `slow` and a first line"),
    (code("# Slow: hours\nx = 1", id="play"), "play, line 1: the tag `slow` and a first line"),
    (exercise(EXERCISE, id="play"), "play, line 1: there is an exercise `loss` already"),
    (code("x = 1"), "loss-exercise shares its id with another cell"),
    (code("x = 1", id="af3a9c1e"), "af3a9c1e needs an id that says what it is, like `agent-check`"),
    (code("x = 1", id="Xq3_yZ-7uW"), "Xq3_yZ-7uW needs an id that says what it is"),
    ({"cell_type": "raw", "metadata": {}, "source": "x"}, "cell number 2 has no id"),
    (text("One\n![dot](no/dot.png)"), "title, line 2: there is no image no/dot.png"),
    (text('<img width="5" src="dot.png">'), "title, line 1: there is no image dot.png"),
    (text("![dot](toy.ipynb)"), "title, line 1: this is not a PNG image: toy.ipynb"),
    (text("![dot](attachment:dot.png)"), "title, line 1: there is no image attachment:dot.png"),
]


@pytest.mark.parametrize(("cell", "message"), CELLS)
def test_bad_cell(toy, capsys, cell, message):
    toy.solve(exercise(EXERCISE), cell)
    said = refused(capsys)
    assert message in said
    assert all(line.startswith("solutions/toy.ipynb: cell ") for line in said.splitlines()[:-1])


def test_all_problems_at_once(toy, capsys):
    toy.solve(exercise("# Exercise: loss\nx = 1"), text("![a](a.png) ![b](b.png)"))
    toy.solve(code("x = 1", "givn", id="play"), name="twin")
    said = refused(capsys)
    assert said.splitlines() == [
        "solutions/toy.ipynb: cell loss-exercise, line 1: an exercise needs a gap",
        "solutions/toy.ipynb: cell title, line 1: there is no image a.png",
        "solutions/toy.ipynb: cell title, line 1: there is no image b.png",
        "solutions/twin.ipynb: cell play has unknown tags ['givn']; known are "
        "['check', 'exercise', 'given', 'setup', 'slow']",
        "problems: 4; nothing written",
    ]


# Files and the command line


def test_idempotent(toy, capsys):
    toy.solve(exercise(EXERCISE))
    assert main(["release"]) == 0
    assert capsys.readouterr().out == "notebooks/toy.ipynb: written\n"
    before = toy.student.stat()
    assert main(["release"]) == 0
    assert capsys.readouterr().out == ""
    after = toy.student.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [path.name for path in toy.student.parent.iterdir()] == ["toy.ipynb"]


def test_check(toy, capsys):
    toy.solve(exercise(EXERCISE))
    assert main(["release", "--check"]) == 1
    assert not toy.student.exists()
    assert main(["release"]) == 0
    assert main(["release", "--check"]) == 0
    edited = toy.student.read_text().replace("total = 0.0", "total = 1.0")
    toy.student.write_text(edited)
    capsys.readouterr()
    assert main(["release", "--check"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("notebooks/toy.ipynb: not what would be written\n--- now\n+++ then\n")
    assert '\n-    "    total = 1.0\\n",\n+    "    total = 0.0\\n",\n' in said
    assert toy.student.read_text() == edited


def test_failure_keeps_what_was_written(toy, capsys):
    toy.solve(exercise(EXERCISE))
    assert main(["release"]) == 0
    before = toy.student.read_text()
    toy.solve(text("Changed"))
    toy.solve(code("x = (1", id="play"), name="twin")
    assert main(["release"]) == 1
    assert toy.student.read_text() == before
    assert "twin.ipynb: cell play, line 1: this is not Python" in capsys.readouterr().err


def test_named_solutions_from_a_folder_below(toy, monkeypatch, capsys):
    toy.solve(exercise(EXERCISE))
    toy.solve(text("Hello"), name="twin")
    monkeypatch.chdir(toy.root / "solutions")
    assert main(["release", "twin.ipynb"]) == 0
    assert capsys.readouterr().out == "../notebooks/twin.ipynb: written\n"
    assert not toy.student.exists()


USAGE = [
    (["none.ipynb"], "cannot read none.ipynb: No such file or directory"),
    (["solutions"], "cannot read solutions: Is a directory"),
    (["setup.sh"], "setup.sh is not a notebook of format 4: Expecting value"),
    (["list.json"], "list.json is not a notebook of format 4"),
    (["old.json"], "old.json is not a notebook of format 4"),
    (["bytes.json"], "bytes.json is not a notebook of format 4"),
    ([], "no notebooks in solutions"),
    (["a/toy.ipynb", "b/toy.ipynb"], "two of the solutions have the same file name"),
    (["--bundle", "out", "toy.ipynb"], "a bundle holds every notebook"),
]


@pytest.mark.parametrize(("argv", "message"), USAGE)
def test_usage(toy, capsys, argv, message):
    toy.write("list.json", "[]")
    toy.write("old.json", '{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []}')
    toy.write("bytes.json", b"\xff\xfe")
    assert main(["release", *argv]) == 2
    assert capsys.readouterr().err.startswith(f"python -m grading: error: {message}")


def test_module_runs(toy):
    """`python -m grading` passes the exit code on, and shows no traceback."""
    program = textwrap.dedent("""
        import runpy, sys
        sys.path.insert(0, sys.argv.pop(1))
        runpy.run_module("grading", run_name="__main__", alter_sys=True)
    """)
    project = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(project), "release", "none.ipynb"]
    run = subprocess.run(command, cwd=toy.root, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.splitlines() == [
        "python -m grading: error: cannot read none.ipynb: No such file or directory"
    ]
