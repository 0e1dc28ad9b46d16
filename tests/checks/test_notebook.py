"""What a check shows in a notebook."""

import contextlib
import json
import linecache
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from checks import sheet
from checks.notebook import describe_error, is_slow
from checks.sheet import CheckFailed, Sheet
from tests.frameworks import each_framework
from tests.notebooks import MARKED_SLOW, ROOT, run_nbval, solution_cells, write_notebook
from tests.test_colours import contrast


@each_framework
def test_open_gaps_are_named_and_nothing_else_is_touched(tmp_path, framework):
    cells = [
        *solution_cells("setup", framework=framework),
        "a = 1\nb = <YOUR CODE: the answer>\nc = <YOUR CODE>",
        f"checks.prepare_notebook('{framework}')",
        "d = <YOUR CODE>",
        "text = 'fill in <YOUR CODE>'  # <YOUR CODE> is gone",
        "oops = (",
    ]
    write_notebook(tmp_path / "gaps.ipynb", cells)
    _, outcomes = run_nbval(tmp_path, "gaps.ipynb")
    _, two, _, one, none, syntax = outcomes["gaps.ipynb"]
    assert "OpenGaps: 2 gaps are still open in this cell." in two
    assert "  line 2: b = <YOUR CODE: the answer>\n  line 3: c = <YOUR CODE>" in two
    assert one.count("OpenGaps: 1 gap is still open in this cell.") == 1
    assert none is None
    assert "SyntaxError" in syntax


def test_a_table_is_printed_and_its_failed_lines_raised(capsys):
    sheet = Sheet("Exercise: toy")
    assert sheet.add("this holds", note="and how")
    assert not sheet.add("this does not", "why")
    with pytest.raises(CheckFailed) as failed:
        sheet.close()
    assert str(failed.value) == "Exercise: toy: 1 of 2 lines failed\n  ✗ this does not: why"
    assert capsys.readouterr().out.splitlines() == [
        "Exercise: toy",
        "  ✓ this holds (and how)",
        "  ✗ this does not: why",
    ]


def test_a_part_passes_if_it_has_lines_and_all_of_them_do():
    sheet = Sheet("Exercise: agent", "agent")
    sheet.add("its shape", part="logits")
    sheet.add("its range", "too large", part="logits")
    sheet.add("its meaning", "none", part="logits")
    sheet.add("its shape", part="state_value")
    assert sheet.parts() == {
        "logits": "its range: too large",
        "state_value": "",
        **dict.fromkeys(
            ("heads", "new_state", "games_apart", "gradients", "agreement"),
            "not checked: its range: too large",
        ),
    }


def test_a_line_without_a_part_belongs_to_all():
    sheet = Sheet("Exercise: optimizer", "optimizer")
    assert sheet.parts() == {"descent": "not checked: it has no line"}
    sheet.add("it is there")
    assert sheet.parts() == {"descent": ""}
    sheet.add("it goes downhill", part="descent")
    sheet.add("it runs", "it does not")
    assert sheet.parts() == {"descent": "it runs: it does not"}


def test_a_line_of_no_known_part_is_refused():
    with pytest.raises(ValueError, match=r"optimizer has the parts \['descent'\], no ascent"):
        Sheet("Exercise: optimizer", "optimizer").add("it goes uphill", part="ascent")


def test_the_parts_are_recorded_where_somebody_asks_for_them(tmp_path, monkeypatch):
    record = tmp_path / "record"
    monkeypatch.setenv("CHECKS_RECORD", str(record))
    for problem in ("why", ""):
        sheet = Sheet("Exercise: optimizer", "optimizer")
        sheet.add("it goes downhill", problem, part="descent")
        with contextlib.suppress(CheckFailed):
            sheet.close()
    first, second = map(json.loads, record.read_text().splitlines())
    assert first == {"exercise": "optimizer", "parts": {"descent": "it goes downhill: why"}}
    assert second == {"exercise": "optimizer", "parts": {"descent": ""}}


def error_of(source: str, file: str = "<cell loss 0>") -> BaseException:
    """Runs a cell of a student's; returns the error that it raises."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        exec(compile(source, file, "exec"), {})
    except Exception as error:
        return error
    raise AssertionError("the cell raises nothing")


CELLS = {
    "a part of the grader's": "<cell agent 2>",
    "IPython": "<ipython-input-3-a1b2>",
    "Jupyter": "/tmp/ipykernel_71/123.py",
    "Windows": r"C:\Users\me\AppData\Local\Temp\ipykernel_71\123.py",
    "Colab": "/tmp/ipython-input-2938354417.py",
    "older Colab": "/tmp/ipython-input-3-4282502808.py",
}
LIBRARIES = {
    "a system's Python": "usr/lib/python3/dist-packages/library.py",
    "an environment": "notebooks/.venv/lib/python3.13/site-packages/library.py",
    "a folder named as a cell might be": "ipython-input/library.py",
}


def raising_from(path: Path) -> str:
    """Makes a library whose function raises an error; returns the source of a cell to call it."""
    path.parent.mkdir(parents=True)
    path.write_text("def load(text):\n    raise ValueError(text)\n")
    return (
        "from importlib import util\n"
        f"spec = util.spec_from_file_location('library', {str(path)!r})\n"
        "library = util.module_from_spec(spec)\nspec.loader.exec_module(library)\n"
        "def load():\n    return library.load('?')\nload()"
    )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("place", LIBRARIES)
def test_an_error_is_placed_at_the_students_own_line(tmp_path, cell, place):
    library = tmp_path / LIBRARIES[place]
    error = error_of(raising_from(library), CELLS[cell])
    assert describe_error(error) == "ValueError: ? (at `return library.load('?')`)"
    # TensorFlow tells in its message where compiling failed.
    places = f'File "{CELLS[cell]}", line 2, in load  *\n    own = line()\n'
    places += f'    File "{library}", line 2, in load  **\n        raise ValueError(text)\n'
    told = describe_error(TypeError(f"in user code:\n\n    {places}\n\n    TypeError: ?\n"))
    assert told == "TypeError: ? (at `own = line()`)"


@pytest.mark.parametrize("cell", CELLS)
def test_an_error_is_not_placed_in_the_standard_library(cell):
    source = "import json\ndef load():\n    return json.loads('?')\nload()"
    words = describe_error(error_of(source, CELLS[cell]))
    assert words.startswith("JSONDecodeError: Expecting value")
    assert words.endswith("(at `return json.loads('?')`)")


def test_slow_cells_are_left_out_wherever_their_mark_stands(tmp_path):
    assert {source: is_slow(source) for source in MARKED_SLOW} == MARKED_SLOW
    beginning = "from time import time\n\ndef train():\n    raise RuntimeError('trained')"
    write_notebook(tmp_path / "slow.ipynb", [beginning, *MARKED_SLOW])
    _, outcomes = run_nbval(tmp_path, "slow.ipynb")
    ran = [source for source, is_marked in MARKED_SLOW.items() if not is_marked]
    assert len(outcomes["slow.ipynb"]) == 1 + len(ran)
    for source, failure in zip(ran, outcomes["slow.ipynb"][1:], strict=True):
        assert ("RuntimeError: trained" in (failure or "")) == ("train()" in source)


PRINTED = "✓ ✗ log π · γ … – “Größe” ≠ ² \ud83d"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "✓ ✗ log π · γ … – “Größe” ≠ ² ?"),
        ("cp1252", "+ x log pi · gamma … – “Größe” != ² ?"),
        ("ascii", "+ x log pi * gamma ... ? ?Gro?e? != 2 ?"),
    ],
)
def test_what_an_encoding_lacks_is_printed_in_other_characters(encoding, expected):
    code = f"import checks\nchecks.prepare_notebook('arrays')\nprint({PRINTED!r})"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
    )
    assert finished.stdout.decode(encoding).rstrip() == expected, finished.stderr


def test_a_line_of_somebody_elses_is_not_shown():
    with pytest.raises(CheckFailed) as raised:
        sheet = Sheet("Exercise: toy")
        sheet.add("this does not hold", "why")
        sheet.close()
    assert " (at " not in describe_error(raised.value)
    with pytest.raises(json.JSONDecodeError) as raised:
        json.loads("?")
    assert (
        describe_error(raised.value) == "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
    )


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", "RuntimeError"),
        ("first line\nsecond line", "RuntimeError: first line"),
        ("element 0 of tensors does not require grad", "RuntimeError: no gradient leads from"),
        ("a variable was modified by an inplace operation: [3]", "a = a * b makes a new one"),
        ("The size of tensor a (5) must match the size of tensor b (3)", "lengths 5 and 3 met"),
        ("shapes cannot be multiplied (5x3 and 4x2)", "(5, 3) met (4, 2) in a matrix product"),
        ("got [5] at entry 0 and [5, 1] at entry 1", "(5,) met (5, 1): these shapes do not fit"),
        ("broadcast together with shapes (2,) (3,) ", "(2,) met (3,): these shapes do not fit"),
    ],
)
def test_an_error_is_said_in_plain_words(message, words):
    assert words in describe_error(RuntimeError(message))
    assert len(describe_error(RuntimeError(f"{message} {'x' * 9000}"))) <= 300


SUBTRACTION = "a = tf.zeros((5, 1))\nb = tf.zeros((3, 4, 2))\nc = a - b"
TENSORFLOWS_OWN = {
    SUBTRACTION: "(5, 1) met (3, 4, 2): these shapes do not fit (at `c = a - b`)",
    "c = tf.stack([tf.zeros(5), tf.zeros((5, 1))])": "(5,) met (5, 1): these shapes do not fit",
    "c = tf.zeros((2, 3)) @ tf.zeros((2, 3))": "(2, 3) met (2, 3) in a matrix product",
    "keras.layers.LSTMCell(4)(tf.zeros((2, 3)), 2 * [tf.zeros((2, 5))])": "(2, 5) met (4, 16)",
    "tf.reduce_mean(tf.zeros(3), axis=1)": "Error: Invalid reduction dimension",
    "@tf.function\ndef forward(a):\n    b = a - tf.zeros(3)\n    return b\nforward(tf.zeros(5))": (
        "(5,) met (3,): these shapes do not fit (at `b = a - tf.zeros(3)`)"
    ),
}


@pytest.mark.tensorflow
@pytest.mark.parametrize(("source", "words"), TENSORFLOWS_OWN.items())
def test_tensorflows_errors_lose_their_noise(tmp_path, source, words):
    path = tmp_path / "ipykernel_1" / "2.py"  # compiling reads a file
    path.parent.mkdir()
    path.write_text(f"import keras\nimport tensorflow as tf\n{source}")
    described = describe_error(error_of(path.read_text(), str(path)))
    assert words in described
    assert not re.search(r"[{}\x1b]|\[Op:|name:|Exception encountered|received by", described)


def test_a_name_that_is_missing_for_a_reason_is_explained_by_it():
    error = error_of("gamma_squared = gamma ** 2")
    assert describe_error(error) == (
        "NameError: name 'gamma' is not defined (at `gamma_squared = gamma ** 2`)"
    )
    assert describe_error(error, {"gamma": "the import of settings failed"}) == (
        "gamma is not there: the import of settings failed (at `gamma_squared = gamma ** 2`)"
    )
    assert "name 'gamma'" in describe_error(error, {"delta": "its cell failed"})


def test_in_a_notebook_the_table_is_html_and_its_failures_come_first(tmp_path):
    source = """
from checks.sheet import Sheet
sheet = Sheet("Exercise: toy")
sheet.add("this holds", note="and how")
sheet.add("this does not", "shape < 2 (at `x = a < b`)")
sheet.remark("by the way", "try less")
sheet.close()
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("CHECKS_AS_TEXT", None)
    client = NotebookClient(notebook, kernel_name="python3", allow_errors=True)
    client.execute(env=environment)
    table, error = notebook.cells[0].outputs
    assert (error["ename"], error["evalue"]) == (
        "CheckFailed",
        "1 of 2 lines failed, see the table above",
    )
    assert len("".join(error["traceback"])) < 100
    page = table["data"]["text/html"]
    marks = re.findall(r"[✗✓!] (?:fails|passes|advice)", page)
    assert marks == ["✗ fails", "! advice", "✓ passes"]
    assert "shape &lt; 2 (at <code>x = a &lt; b</code>)" in page
    assert page.count("this does not") == 1


@pytest.mark.parametrize(("word", "text", "ground"), sheet._MARKS.values())
def test_marks_can_be_read_on_any_background(word, text, ground):
    assert contrast(text, ground) >= 4.5  # WCAG 2.2, 1.4.3
