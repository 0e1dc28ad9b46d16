"""What a check shows in a notebook."""

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


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ("element 0 of tensors does not require grad", "no gradient leads from the loss"),
        ("a variable was modified by an inplace operation: [3]", "overwrite a, a = a * b makes"),
        ("first line\nsecond line", "RuntimeError: first line (at `"),
        ("", "RuntimeError:  (at `"),
    ],
)
def test_an_error_is_explained_and_placed(message, meaning):
    with pytest.raises(RuntimeError) as raised:
        raise RuntimeError(message)
    words = describe_error(raised.value)
    assert meaning in words
    assert words.endswith("(at `raise RuntimeError(message)`)")


def test_a_line_of_the_checks_is_nobodys_own():
    with pytest.raises(CheckFailed) as raised:
        sheet = Sheet("Exercise: toy")
        sheet.add("this does not hold", "why")
        sheet.close()
    assert describe_error(raised.value).endswith("(at `sheet.close()`)")
