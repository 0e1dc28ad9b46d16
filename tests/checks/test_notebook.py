"""What a check shows in a notebook."""

import contextlib
import json
import linecache
import re

import pytest

from checks.notebook import CheckFailed, Sheet, describe_error
from tests.frameworks import each_framework
from tests.notebooks import run_nbval, solution_cells, write_notebook


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


@pytest.mark.parametrize(
    "file", ["<cell agent 2>", "<ipython-input-3-a1b2>", "/tmp/ipykernel_71/123.py"]
)
def test_an_error_is_placed_at_the_students_own_line(file):
    source = "import json\ndef load():\n    return json.loads('?')\nload()"
    words = describe_error(error_of(source, file))
    assert words.startswith("JSONDecodeError: Expecting value")
    assert words.endswith("(at `return json.loads('?')`)")


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
