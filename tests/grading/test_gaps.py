"""What students write is found in a solution's cell, and cut out."""

import pytest

from grading.gaps import SourceError, check_cut, cut, find_gaps, leave_open, targets_of

GAPS = [
    # an assignment keeps its target
    ("x = f(1)  # YOUR CODE: call f", "x = <YOUR CODE: call f>"),
    ("x = f(1)  # YOUR CODE", "x = <YOUR CODE>"),
    ("x += f(1)  # YOUR CODE: call f", "x += <YOUR CODE: call f>"),
    ("x **= f(1)  # YOUR CODE", "x **= <YOUR CODE>"),
    ("m, (a, b) = f(1)  # YOUR CODE", "m, (a, b) = <YOUR CODE>"),
    ("self.a = self.b = f(1)  # YOUR CODE", "self.a = self.b = <YOUR CODE>"),
    ("x: int = f(1)  # YOUR CODE", "x: int = <YOUR CODE>"),
    ("x[f(k=1)] = lambda k=1: k  # YOUR CODE", "x[f(k=1)] = <YOUR CODE>"),
    ("γ = 'γ=1' + f(1)  # YOUR CODE: γ", "γ = <YOUR CODE: γ>"),
    ("x = (\n    f(1)  # why\n    + 2\n)  # YOUR CODE: sum\ny = 1", "x = <YOUR CODE: sum>\ny = 1"),
    ("x = f(\n    '''\n# YOUR CODE\n'''\n)  # YOUR CODE", "x = <YOUR CODE>"),
    # anything else goes whole
    ("f(1)  # YOUR CODE: call f", "<YOUR CODE: call f>"),
    ("if x:\n    return f(1)  # YOUR CODE", "if x:\n    <YOUR CODE>"),
    ("x: int  # YOUR CODE", "<YOUR CODE>"),
    # (lines) hides the target, and adjacent ones are one gap
    ("x = f(1)  # YOUR CODE (lines): call f", "<YOUR CODE: call f>"),
    (
        "if x:\n    a = f(1)  # YOUR CODE (lines)\n    f(2)  # YOUR CODE (lines): two\n"
        "    f(\n        3\n    )  # YOUR CODE: three\n    y = 2  # YOUR CODE",
        "if x:\n    <YOUR CODE: two; three>\n    y = <YOUR CODE>",
    ),
    (
        "f(1)  # YOUR CODE\n# Then:\nf(2)  # YOUR CODE\n\ng(3)  # YOUR CODE",
        "<YOUR CODE>\n# Then:\n<YOUR CODE>\n\n<YOUR CODE>",
    ),
    ("if x:\n    f(1)  # YOUR CODE\nf(2)  # YOUR CODE", "if x:\n    <YOUR CODE>\n<YOUR CODE>"),
    # a block goes with everything in it
    (
        "with f(1):  # YOUR CODE (lines): all\n    if x:\n        g(a)\n\n    h(1)  # why\ny = 1",
        "<YOUR CODE: all>\ny = 1",
    ),
    ("if x: f(1)  # YOUR CODE (lines)", "<YOUR CODE>"),
    ("@f\n@g\ndef h():  # YOUR CODE (lines)\n    return 1\ny = 1", "<YOUR CODE>\ny = 1"),
    # what only looks like a marker is left alone
    ("x = '# YOUR CODE'\ny = 1  # YOUR CODE", "x = '# YOUR CODE'\ny = <YOUR CODE>"),
    ("x = 1  # your course\ny = 1  # YOUR CODE", "x = 1  # your course\ny = <YOUR CODE>"),
]


@pytest.mark.parametrize(("solution", "student"), GAPS)
def test_gap(solution, student):
    source = f"# Exercise: loss\n{solution}"
    gaps = find_gaps(source)
    assert cut(source, gaps) == f"# Exercise: loss\n{student}"
    assert check_cut(source, gaps, cut(source, gaps)) == []


SOURCES = [
    # markers
    ("x = f(\n    1,  # YOUR CODE\n)", 3, "a marker must stand at the end of a statement"),
    ("# YOUR CODE\nx = f(1)", 2, "a marker must stand at the end of a statement"),
    ("x = f(1)\n# YOUR CODE", 3, "a marker must stand at the end of a statement"),
    ("x = 1; y = f(1)  # YOUR CODE", 2, "a marker must stand behind one statement, not several"),
    ("if x:  # YOUR CODE\n    f(1)", 2, "only `# YOUR CODE (lines)` can hide a whole block"),
    ("if x:\n    f(1)\nelse:  # YOUR CODE (lines)\n    f(2)", 4, "of a block's first line"),
    ("if x:\n    f(1)\nelif y:  # YOUR CODE (lines)\n    f(2)", 4, "of a block's first line"),
    ("@f  # YOUR CODE (lines)\ndef g():\n    f(1)", 2, "of a block's first line"),
    ("if x:  # YOUR CODE (lines)\n    f(1)  # YOUR CODE", 3, "that is hidden anyway"),
    ("x = f(1)  # YOUR CODE: a < b", 2, "a hint cannot contain < or >: # YOUR CODE: a < b"),
    ("x = f(1)  # YOUR CODE:", 2, "not # YOUR CODE:"),
    ("x = f(1)  # YOUR CODE call f", 2, "not # YOUR CODE call f"),
    ("x = f(1)  # YOUR CODE (line): f", 2, "not # YOUR CODE (line): f"),
    ("x = f(1)  # YOURCODE", 2, "not # YOURCODE"),
    ("x = f(1)  # your code: f", 2, "not # your code: f"),
    ("x = f(1)  #YOUR CODE", 2, "not #YOUR CODE"),
    ("x = f(1)  # YUOR CODE", 2, "not # YUOR CODE"),
    ("x = f(1)  # YOUR_CDOE: f", 2, "not # YOUR_CDOE: f"),
    ("x = f(1)  # TODO YOUR CODE", 2, "not # TODO YOUR CODE"),
    # what is around the gaps
    ("x = (1", 2, "this is not Python: '(' was never closed"),
    ("x = 1", 1, "an exercise needs a gap"),
    ("x = f(1)  # YOUR CODE\ny = '<YOUR CODE>'", 1, "the gaps cannot be told from other text"),
    ("x = 1\nx = 2  # YOUR CODE\ny = 1\nx = 1\nx = f(1)  # YOUR CODE\ny = 1", 1, "look alike"),
]


@pytest.mark.parametrize(("source", "line", "message"), SOURCES)
def test_bad_exercise(source, line, message):
    source = f"# Exercise: loss\n{source}"
    try:
        gaps = find_gaps(source)
        problems = check_cut(source, gaps, cut(source, gaps))
    except SourceError as error:
        problems = error.problems
    [(found_line, found)] = problems
    assert (found_line, message in found) == (line, True), found


def test_find_gaps_alone():
    """What later steps of grading get: where each answer stands."""
    source = "x = f(1)  # YOUR CODE: call f\ny = 2\ng(3)  # YOUR CODE"
    first, second = find_gaps(source)
    assert source[first.start : first.end] == "f(1)  # YOUR CODE: call f"
    assert (first.line, first.hint, first.is_bare) == (1, "call f", False)
    assert [secret.text for secret in first.secrets] == ["f(1)"]
    assert source[second.start : second.end] == "g(3)  # YOUR CODE"
    assert (second.line, second.hint, second.is_bare) == (3, "", True)
    with pytest.raises(SourceError, match="line 1: this is not Python"):
        find_gaps("x = (")


SOLUTION = """def loss(values):
    mean = "Ø", sum(values) / 2
    total = values[0] + values[1]  # YOUR CODE
    return total * mean
"""


@pytest.mark.parametrize(
    ("targets", "line"),
    [
        ({"total"}, "    total = YOUR_CODE"),
        ({"mean"}, "    mean = YOUR_CODE"),
        ({"return"}, "    return YOUR_CODE"),
    ],
)
def test_gaps_and_given_values_can_be_opened(targets, line):
    before, after = SOLUTION.splitlines(), leave_open(SOLUTION, targets).splitlines()
    assert [new for old, new in zip(before, after, strict=True) if new != old] == [line]
    assert targets <= targets_of(SOLUTION)
