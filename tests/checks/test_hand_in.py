"""Handing in: from a notebook's last cell in a kernel, and from the command line."""

import contextlib
import copy
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from checks import handing_in, playing, preflight, weights
from checks.points import N_GAMES, points_for_playing
from grading.notebook import MAX_FILE
from tests.frameworks import TRACKS
from tests.notebooks import ROOT, filled, quick, student_path

NEEDED = ("setup", "imports", "make-env", "agent-exercise", "agent-check", "agent-look", "pool")
NEEDED += ("select", "loss-exercise", "loss-check", "optimizer-exercise", "optimizer-check")
NEEDED += ("hand-in",)


def short(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leaves out the cells on which nothing depends that is handed in."""
    notebook.cells = [cell for cell in quick(notebook).cells if cell.id in NEEDED]
    return notebook


def source_of(notebook: nbformat.NotebookNode, name: str) -> str:
    return next(cell.source for cell in notebook.cells if cell.id == name)


class Kernel:
    """A student's kernel, in the folder of `homework.ipynb`, which Jupyter has opened."""

    def __init__(self, folder: Path, notebook: nbformat.NotebookNode):
        self.folder, self.path, self.notebook = folder, folder / "homework.ipynb", notebook
        nbformat.write(notebook, self.path)
        self._client = NotebookClient(nbformat.v4.new_notebook(), timeout=300, allow_errors=True)
        self._client.resources = {"metadata": {"path": str(folder)}}

    @contextlib.contextmanager
    def started(self):
        variables = {"PYTHONPATH": str(ROOT), "JPY_SESSION_NAME": str(self.path)}
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
        with self._client.setup_kernel(env=environment):
            for cell in self.notebook.cells:
                if cell.cell_type == "code" and cell.id != "hand-in":
                    self.run(cell.source)
            yield self

    def run(self, source: str) -> str:
        """Runs a cell; returns what it prints, and its error's message."""
        cell = nbformat.v4.new_code_cell(source)
        self._client.nb.cells = [cell]
        self._client.execute_cell(cell, 0)
        return "".join(output.get("text") or output.get("evalue", "") for output in cell.outputs)


@pytest.fixture
def kernel(tmp_path):
    with Kernel(tmp_path, short(filled("pytorch"))).started() as started:
        yield started


ANOTHER = {"scores": [14_000.0, 16_000.0], "problem": ""}


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as packed:
        return packed.namelist()


def arrays_in(path: Path) -> list[np.ndarray]:
    with zipfile.ZipFile(path) as packed:
        return weights.read_weights(packed.read(weights.FILE), weights.MAX_BYTES)


@pytest.mark.pytorch
def test_the_last_cell_packs_what_it_finds_and_says_what_it_is_worth(kernel):
    hand_in = source_of(kernel.notebook, "hand-in")
    before = kernel.path.read_bytes()
    out = kernel.run(hand_in)
    assert "agent         20 / 20\nloss          50 / 50\noptimizer     10 / 10\nplay" in out
    assert "          the mean of 20 games is " in out
    assert out.splitlines()[-1].startswith("hand_in.zip (")
    assert out.endswith("holds homework.ipynb and kungfu_weights.npz. Hand in this one file.\n")
    assert "!" not in out
    target = kernel.folder / "hand_in.zip"
    with zipfile.ZipFile(target) as packed:
        assert packed.read("homework.ipynb") == before
    own = kernel.run("print(*[tuple(w.shape) for w in agent.state_dict().values()], sep=';')")
    assert ";".join(str(array.shape) for array in arrays_in(target)) == own.strip()
    assert {array.dtype for array in arrays_in(target)} == {np.dtype(np.float16)}

    # Handing in once more changes nothing; another agent's weights move the old ones aside.
    first = target.read_bytes()
    kernel.run(f"checks.handing_in.play = lambda *_: {ANOTHER}")
    out = kernel.run(hand_in)
    assert "play          15 / 20\n          the mean of 2 games is 15,000 ± 1,000 " in out
    assert "total         95 / 100" in out
    assert target.read_bytes() == first
    old = (kernel.folder / weights.FILE).read_bytes()
    kernel.run("agent = SimpleRecurrentAgent(obs_shape, n_actions)")
    assert "The weights that were in kungfu_weights.npz are now in earlier_w" in kernel.run(hand_in)
    (aside,) = kernel.folder.glob("earlier_weights-*.npz")
    assert aside.read_bytes() == old
    assert (kernel.folder / weights.FILE).read_bytes() != old
    assert kernel.path.read_bytes() == before

    # What ran is not what is saved.
    kernel.run(source_of(kernel.notebook, "optimizer-exercise") + "  # faster")
    out = kernel.run(hand_in)
    assert "optimizer      0 / 10\n     -10  an optimizer that goes downhill\n" in out
    assert "not known, since its cell in the saved notebook is not what ran last: save" in out
    assert "/ 100 at least\n  ! homework.ipynb is not what ran here: save it, then run" in out

    # Who has filled the gaps and not saved the notebook is not told of gaps.
    student = nbformat.read(student_path("pytorch"), as_version=4)
    with_gaps = copy.deepcopy(kernel.notebook)
    for cell in with_gaps.cells:
        if cell.id == "loss-exercise":
            cell.source = source_of(student, cell.id)
    nbformat.write(with_gaps, kernel.path)
    lines = kernel.run(hand_in).partition("loss           0 / 50")[2].splitlines()
    assert lines[2].startswith("          not known, since its cell in the saved notebook is not")

    # Gaps that are opened again are open in the file, whatever ran before.
    assert "still open in this cell" in kernel.run(source_of(student, "loss-exercise"))
    out = kernel.run(hand_in)
    assert "loss           0 / 50\n     -50  everything\n          not known while gaps a" in out
    assert "  ! loss: 6 gaps are open.\n" in out

    # A kernel that was restarted has an agent that has learnt nothing, beside a checkpoint.
    saved = (kernel.folder / weights.FILE).read_bytes()
    kernel.run("import types; run = types.SimpleNamespace(unrestored='Run run.restore().')")
    kernel.run("agent = SimpleRecurrentAgent(obs_shape, n_actions)")
    out = kernel.run(hand_in)
    assert (
        "  ! Run run.restore(). So the kungfu_weights.npz that was there goes in instead.\n" in out
    )
    assert (kernel.folder / weights.FILE).read_bytes() == saved

    # Games that are interrupted leave the zip.
    target.unlink()
    kernel.run("def interrupted(*_): raise KeyboardInterrupt\nchecks.handing_in.play = interrupted")
    assert "Interrupted, so the points are not known." in kernel.run(hand_in)
    assert names_in(target) == ["homework.ipynb", "kungfu_weights.npz"]


@pytest.mark.pytorch
def test_the_command_packs_what_the_grader_takes(tmp_path):
    notebook = short(filled("pytorch"))
    nbformat.write(notebook, tmp_path / "homework.ipynb")
    track = TRACKS["pytorch"]
    (tmp_path / "homework.npz").write_bytes(track.solution.with_suffix(".npz").read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    finished = run("checks", "hand-in", tmp_path / "homework.ipynb")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "agent         20 / 20\nloss          50 / 50\noptimizer     10 / 10\nplay" in (
        finished.stdout
    )
    assert "the mean of 20 games is " in finished.stdout
    target = tmp_path / "hand_in.zip"
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path != target} == before
    with zipfile.ZipFile(target) as packed:
        assert packed.namelist() == ["homework.ipynb", weights.FILE]
        assert [packed.read(name) for name in packed.namelist()] == [
            (tmp_path / name).read_bytes() for name in ("homework.ipynb", "homework.npz")
        ]

    assert run("grading", "which", target).stdout == "kungfu_a2c_pytorch\n"


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=900,
    )


def write(path: Path, *cells: nbformat.NotebookNode | str) -> Path:
    cells = [nbformat.v4.new_code_cell(c) if isinstance(c, str) else c for c in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


AGENT = "class SimpleRecurrentAgent:\n    pass"
LOSS = "def train_on_rollout(*_):\n    return 0"
OPTIMIZER = "opt = None"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([AGENT, LOSS, OPTIMIZER], []),
        ([AGENT, LOSS, "optimizer: object = None"], []),
        (
            [AGENT, AGENT + "  # better", LOSS, OPTIMIZER],
            ["agent: 2 cells define SimpleRecurrentAgent, and the last one counts: delete wh"],
        ),
        (
            [LOSS, "optimizer.learning_rate = 3", "opt == 3"],
            [
                "agent: no cell defines SimpleRecurrentAgent, which costs 20 points: has its cell",
                "optimizer: no cell defines the optimizer, which costs 10 points",
            ],
        ),
        (
            [AGENT + " <YOUR CODE>\n    x = <YOUR CODE: y>", LOSS, OPTIMIZER],
            ["agent: 2 gaps are open."],
        ),
        ([AGENT, LOSS, "opt = <YOUR CODE>"], ["optimizer: 1 gap is open."]),
        (["%%time\n" + AGENT + "  # was <YOUR CODE>", LOSS, OPTIMIZER], []),
    ],
)
def test_what_to_put_right_is_seen_in_the_cells(tmp_path, cells, words):
    data = write(tmp_path / "homework.ipynb", *cells).read_bytes()
    problems = preflight.find_problems(preflight.read_cells(data), len(data))
    assert len(problems) == len(words)
    for problem, start in zip(problems, words, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("counts", "is_told"),
    [((3, 4), False), ((5, 4), True), ((None, 4), False), ((5, None), False), ((5, "x"), False)],
)
def test_an_exercise_that_ran_after_its_check_is_told(counts, is_told):
    answer, check = (
        preflight.Cell(source, count)
        for source, count in zip((AGENT, "checks.check_agent(globals())"), counts, strict=True)
    )
    cells = [answer, check, preflight.Cell(LOSS, None), preflight.Cell(OPTIMIZER, None)]
    problems = preflight.find_problems(cells, 1)
    assert problems == ["agent: its cell ran after the check below it: run the check again."] * (
        is_told
    )
    # A check that stands above belongs to another version of the cell.
    assert preflight.find_problems([check, answer, *cells[2:]], 1) == []


def test_limits_are_the_graders():
    assert preflight.MAX_NOTEBOOK == MAX_FILE
    (trial,) = TRACKS["pytorch"].trials
    rules = trial.run.keywords["rules"]
    assert (rules.n_games, rules.seconds) == (N_GAMES, handing_in.PLAYING_SECONDS)
    means = (0, 5_000, 7_123, 10_000, 15_000, 30_000)
    assert [*map(points_for_playing, means)] == [*map(rules.points, means)]
    cells = [preflight.Cell(source, None) for source in (AGENT, LOSS, OPTIMIZER)]
    (problem,) = preflight.find_problems(cells, MAX_FILE + 1)
    assert problem.startswith("The notebook has 200 MB, and no more than 200 are graded: clear its")


def test_without_weights_and_with_what_fails_the_zip_is_written(tmp_path, monkeypatch, capsys):
    notebook = write(tmp_path / "homework.ipynb", AGENT, "raise ValueError('no')", LOSS)
    assert handing_in.main([str(notebook)]) == 1
    out = capsys.readouterr().out
    assert "play           0 / 20\n          there are no weights to play with\n" in out
    assert 'also failed, which costs nothing: the cell that begins with "raise Val' in out
    assert "  ! optimizer: no cell defines" in out
    assert "  ! There is no kungfu_weights.npz beside the notebook, so nothing is earned by" in out
    assert names_in(tmp_path / "hand_in.zip") == ["homework.ipynb"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no "),
        (b"", "homework.ipynb is not a notebook that can be read: Expecting value"),
        (b"\xff\xfe", "homework.ipynb is not a notebook that can be read: 'utf-8' codec"),
        (b"[" * 100_000, "homework.ipynb is not a notebook that can be read: "),
        (b"[]", "it has no cells: open it in Jupyter and save it again"),
        (b'{"worksheets": []}', "it has no cells: open it in Jupyter and save it again"),
        (b'{"cells": []}', "No cell of homework.ipynb defines any of SimpleRecurrentAgent, tr"),
    ],
)
def test_nothing_is_written_where_there_is_nothing_to_hand_in(tmp_path, capsys, content, words):
    (tmp_path / "hand_in.zip").write_bytes(b"earlier")
    if content is not None:
        (tmp_path / "homework.ipynb").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    assert handing_in.main([str(tmp_path / "homework.ipynb")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Nothing is written." in error
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "hand_in.zip").read_bytes() == b"earlier"


@pytest.mark.parametrize("arguments", [[], ["a.ipynb", "b.ipynb"], ["--help"]])
def test_how_the_command_is_used(capsys, arguments):
    assert handing_in.main(arguments) == 2
    assert capsys.readouterr().err == "usage: python -m checks hand-in NOTEBOOK\n"


def test_an_earlier_zip_stays_where_the_new_one_cannot_be_written(tmp_path, monkeypatch, capsys):
    notebook = write(tmp_path / "homework.ipynb", AGENT)
    (tmp_path / "hand_in.zip").write_bytes(b"earlier")

    def locked(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", locked)  # as on Windows, where somebody has it open
    assert handing_in.main([str(notebook)]) == 2
    assert "cannot be written: Permission denied. If another program has it" in (
        capsys.readouterr().err
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hand_in.zip", "homework.ipynb"]
    assert (tmp_path / "hand_in.zip").read_bytes() == b"earlier"


def test_nothing_is_packed_where_a_command_only_checks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHECKS_RECORD", str(tmp_path / "record.jsonl"))
    write(tmp_path / "homework.ipynb", AGENT)
    handing_in.hand_in({"agent": None})
    assert capsys.readouterr().out == "Nothing is packed: this notebook is only being checked.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["homework.ipynb"]


# ------------------------------------------------------------------------------ weights


@pytest.fixture
def tiny(monkeypatch):
    """The names of a notebook whose agent's class takes no arguments; what was played with."""
    import torch

    class SimpleRecurrentAgent(torch.nn.Linear):
        def __init__(self):
            super().__init__(2, 1)

        def get_initial_state(self, batch_size):
            return ()

        def step(self, prev_state, obs_t):
            return prev_state, ()

    played = []

    def play_games(agent, make_env, n_games, **_):
        played.append([tensor.clone() for tensor in agent.state_dict().values()])
        return [100.0] * n_games

    monkeypatch.setattr("env_pool.play_games", play_games)
    names = {"torch": torch, "SimpleRecurrentAgent": SimpleRecurrentAgent, "make_env": None}
    names |= {"obs_shape": (1, 42, 42), "n_actions": 14, "agent": SimpleRecurrentAgent()}
    return names, played


@pytest.mark.pytorch
def test_who_plays_has_the_weights_of_the_file_and_only_meanwhile(tiny, tmp_path):
    names, played = tiny
    own = [tensor.clone() for tensor in names["agent"].state_dict().values()]
    np.savez(tmp_path / "w.npz", np.float16([[1, 2]]), np.float16([3]))
    result = playing.play(names, tmp_path / "w.npz")
    assert result == {"scores": [100.0] * N_GAMES, "problem": ""}
    assert [tensor.tolist() for tensor in played[0]] == [[[1, 2]], [3]]
    after = [*names["agent"].state_dict().values()]
    assert all(map(lambda one, other: one.equal(other), own, after))


@pytest.mark.pytorch
@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ([np.ones((1, 2))], "arr_0 holds float64, expected float16 or float32"),
        ([np.ones((1, 2), "f4")], "the weights file holds 1 arrays, the notebook's agent has 2 tr"),
        ([np.ones(2, "f4"), np.ones(1, "f4")], "arr_0 of the weights file has shape (2,), the"),
        ([np.full((1, 2), np.inf, "f4"), np.ones(1, "f4")], "arr_0 holds NaN or infinity: the la"),
        ([np.ones(5 << 20, "f4")], "the weights file has 20,971,784 bytes, over 16,777,216"),
    ],
)
def test_weights_that_are_none_of_this_agents_are_named(tiny, tmp_path, arrays, words):
    names, played = tiny
    np.savez(tmp_path / "w.npz", *arrays)
    result = playing.play(names, tmp_path / "w.npz")
    assert result["problem"].startswith(words)
    assert result["scores"] == played == []


@pytest.mark.pytorch
def test_what_keeps_an_agent_from_playing_is_told(tiny, tmp_path):
    names, _ = tiny
    np.savez(tmp_path / "w.npz", np.float16([[1, 2]]), np.float16([3]))
    names["SimpleRecurrentAgent"].step = lambda *_: 1 / 0
    result = playing.play(names, tmp_path / "w.npz")
    assert result["problem"].startswith("ZeroDivisionError: division by zero")
    del names["make_env"], names["n_actions"]
    result = playing.play(names, tmp_path / "w.npz")
    assert result["problem"] == "nobody can play: make_env, n_actions not defined"


# ------------------------------------------------------------------------------ which notebook


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A kernel's folder without notebooks, in no front end."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_jupyter_and_vs_code_say_which_notebook_it_is(folder, monkeypatch):
    write(folder / "other.ipynb", AGENT)
    path = write(folder.parent / "mine.ipynb", AGENT)
    found = handing_in._find_notebook({"__vsc_ipynb_file__": str(path)}, [])
    assert (found.name, found.folder) == ("mine.ipynb", folder.parent)
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    assert handing_in._find_notebook({}, []).name == "mine.ipynb"
    path.rename(folder.parent / "renamed.ipynb")
    assert handing_in._find_notebook({}, []).name == "other.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", "some/where/other.ipynb")  # of a console, of old servers
    assert handing_in._find_notebook({}, []).folder == folder


def test_elsewhere_what_ran_says_which_notebook_it_is(folder):
    write(folder / "empty.ipynb", "x = 1")
    write(folder / "mine.ipynb", AGENT, LOSS)
    assert handing_in._find_notebook({}, [AGENT + "\n# unsaved"]).name == "mine.ipynb"
    write(folder / "other.ipynb", AGENT, LOSS + "  # other")
    assert handing_in._find_notebook({}, ["x = 1", LOSS + "  \n"]).name == "mine.ipynb"
    words = "Found in .*: mine.ipynb, other.ipynb. Save it, then run .* checks hand-in NOTEBOOK"
    with pytest.raises(handing_in.NothingToHandIn, match=rf"{words}\Z"):
        handing_in._find_notebook({}, [AGENT])
    (folder / weights.FILE).write_bytes(b"")
    with pytest.raises(
        handing_in.NothingToHandIn, match=f"{words}\nThe weights are in {weights.FILE}"
    ):
        handing_in._find_notebook({}, [AGENT])


def test_colab_says_what_is_on_the_screen(folder, monkeypatch):
    cells = [{"cell_type": "code", "source": ["class SimpleRecurrentAgent:\n", "    pass"]}]
    content = {"metadata": {"colab": {"name": "Kopie von 功夫.ipynb"}}, "cells": cells}
    colab, answers = ModuleType("google.colab"), [{"ipynb": content}, None]
    colab._message = ModuleType("_message")
    colab._message.blocking_request = lambda name, timeout_sec: answers.pop(0)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    found = handing_in._find_notebook({}, [])
    assert (found.name, found.folder) == ("Kopie von 功夫.ipynb", folder)
    assert found.sources == [AGENT]
    assert json.loads(found.data) == content
    with pytest.raises(handing_in.NothingToHandIn, match="Hand in two files instead: the note"):
        handing_in._find_notebook({}, [])
