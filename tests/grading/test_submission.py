"""What is read from a file that a student hands in, which may be any file."""

import json
import re
import sys
import time
from pathlib import Path

import pytest

from grading.files import UnreadableError
from grading.notebook import read_code_cells
from grading.reader import Reader
from grading.sandbox import Sandbox
from grading.submission import read_submission, read_template
from tests.notebooks import MARKED_SLOW

ROOT = Path(__file__).parents[2]
KUNGFU = "kungfu_a2c_tensorflow.ipynb"

IMPORTS = "import keras\nimport numpy as np; _ = 0"
AGENT = "# Exercise: agent\nclass Agent:\n    def act(self):\n        return 1"
PLAY = "agent = Agent()\nscores = [agent.act() for _ in range(3)]\nprint(scores)"
LOSS = "# Exercise: loss\ndef train(x):\n    return x + agent.act()"
OPTIMIZER = "# Exercise: optimizer\noptimizer = keras.Adam()"
TRAIN = "for _ in range(1000):\n    train(1)"
OPEN_AGENT = AGENT.replace("return 1", "return <YOUR CODE: the action>")
CHECK = "check(Agent)"


def code(source, **more):
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], **more}


def notebook(*cells, **more):
    cells = [code(cell) if isinstance(cell, str) else cell for cell in cells]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **more}


SOLUTION = notebook(
    {"cell_type": "markdown", "metadata": {}, "id": "title", "source": "# A toy"},
    code(IMPORTS, id="imports"),
    code(AGENT, id="agent-exercise"),
    code(CHECK, id="agent-check"),
    code(PLAY, id="play"),
    code(LOSS, id="loss-exercise"),
    code(OPTIMIZER, id="optimizer-exercise"),
    code(TRAIN, id="train"),
)


@pytest.fixture(scope="module")
def template():
    return read_template(json.dumps(SOLUTION).encode())


@pytest.fixture(scope="module")
def reader(template):
    with Reader(Sandbox(), [template]) as reader:
        yield reader


@pytest.fixture
def read(tmp_path, reader):
    """Reads a submission, given as bytes, text, JSON, or the cells of a notebook."""

    def read(*content):
        path = tmp_path / "homework.ipynb"
        if len(content) == 1 and isinstance(content[0], bytes):
            path.write_bytes(content[0])
        elif len(content) == 1 and isinstance(content[0], dict) and "cells" in content[0]:
            path.write_text(json.dumps(content[0]))
        else:
            path.write_text(json.dumps(notebook(*content)))
        return reader.read(path).submission

    return read


def states(submission):
    return [answer.state for answer in submission.answers.values()]


COMPLETE = ["complete", "complete", "complete"]


# The template


def test_template(template):
    agent, loss, optimizer = template.exercises
    assert (agent.name, agent.cell_id, agent.defines) == ("agent", "agent-exercise", {"Agent"})
    assert agent.foreign == {"keras", "np", "train", "optimizer"}
    assert loss.defines == {"train"}
    assert loss.foreign == {"keras", "np", "Agent", "agent", "scores", "optimizer"}
    assert optimizer.defines == {"optimizer"}
    assert optimizer.foreign == {"keras", "np", "Agent", "agent", "scores", "train"}


def lines_of_gaps(notebook, cell_id):
    """Returns the lines of the open gaps in a cell, such as `2` or `34, 36, 37`."""
    [cell] = [cell for cell in notebook["cells"] if cell["id"] == cell_id]
    source = "".join(cell["source"]).splitlines()
    return ", ".join(str(n) for n, line in enumerate(source, 1) if "<YOUR CODE" in line)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [(KUNGFU, "optimizer"), ("kungfu_a2c_pytorch.ipynb", "opt")],
)
def test_real_notebooks(name, optimizer):
    kungfu = read_template((ROOT / "solutions" / name).read_bytes())
    assert {e.name: set(e.defines) for e in kungfu.exercises} == {
        "agent": {"SimpleRecurrentAgent"},
        "loss": {"train_on_rollout"},
        "optimizer": {optimizer},
    }
    solution = read_submission(read_code_cells((ROOT / "solutions" / name).read_bytes()), kungfu)
    assert states(solution) == COMPLETE
    assert solution.remarks == ()
    assert [answer.helpers for answer in solution.answers.values()] == [(), (), ()]
    student = read_submission(read_code_cells((ROOT / "notebooks" / name).read_bytes()), kungfu)
    assert states(student) == ["open", "open", "open"]
    content = json.loads((ROOT / "notebooks" / name).read_text())
    ids = [cell["id"] for cell in content["cells"]]
    words = {"optimizer": "1 gap is open, in line", "agent": "4 gaps are open, in lines"}
    for exercise, what in words.items():
        name = f"{exercise}-exercise"
        where = f"cell {ids.index(name) + 1}: {what} {lines_of_gaps(content, name)}"
        assert student.answers[exercise].problem == where
    assert (student.remarks, student.problem) == ((), "")


@pytest.mark.parametrize(
    "content", ["", "[]", json.dumps(notebook(OPEN_AGENT)), json.dumps(notebook("# Exercise: a"))]
)
def test_a_bad_solution(content):
    with pytest.raises(UnreadableError):
        read_template(content.encode())


def test_usable_cells_must_be_there():
    with pytest.raises(UnreadableError, match="it has no cell more"):
        read_template(json.dumps(SOLUTION).encode(), ("imports", "more"))


# Files


def changed(change):
    """Returns the solution's notebook with each cell changed."""
    content = json.loads(json.dumps(SOLUTION))
    for cell in content["cells"]:
        change(cell)
    return content


def lines(cell):
    cell["source"] = cell["source"].splitlines(keepends=True)


TEXT = json.dumps(SOLUTION, ensure_ascii=False)
READABLE = {
    "as it is": TEXT,
    "a byte-order mark": "\ufeff" + TEXT,
    "utf-16": TEXT.encode("utf-16"),
    "utf-16, big end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "not quite utf-8": TEXT.replace("A toy", "caf\xe9").encode("latin-1"),
    "line ends of Windows": json.dumps(SOLUTION, indent=1).replace("\n", "\r\n"),
    "line ends of Windows in cells": TEXT.replace("\\n", "\\r\\n"),
    "line feeds in strings": TEXT.replace("A toy", "A\ntoy\tof\x01mine"),
    "lists of lines": changed(lines),
    "no ids": changed(lambda cell: cell.pop("id")),
    "other ids": changed(lambda cell: cell.update(id="af3a9c1e")),
    "ids of another type": changed(lambda cell: cell.update(id=["x"])),
    "no metadata": changed(lambda cell: cell.pop("metadata")),
    "no outputs": changed(lambda cell: cell.pop("outputs", None)),
    "quotes and brackets in outputs": changed(
        lambda cell: cell.update(outputs=[{"text": ['"]', "\\", '\\"}'], "x": {"y": []}}, []])
    ),
    "outputs of another type": changed(lambda cell: cell.update(outputs="none")),
    "no comments": changed(
        lambda cell: cell.update(source=cell["source"].replace("# Exercise: ", "# "))
    ),
    "neither ids nor comments": changed(
        lambda cell: cell.update(id="x", source=cell["source"].replace("# Exercise: ", "# "))
    ),
    "spaces at line ends": changed(
        lambda cell: cell.update(source=cell["source"].replace("\n", "  \n") + "\n\n")
    ),
    "colab": changed(lambda cell: cell.update(metadata={"id": "Xq3"}, execution_count=None)),
    "format 4.0": SOLUTION | {"nbformat_minor": 0},
    "format 4.9": SOLUTION | {"nbformat_minor": 9},
    "no format": {"cells": SOLUTION["cells"]},
    "another kernel": SOLUTION | {"metadata": {"kernelspec": {"name": "conda-env-rl"}}},
    "metadata that look like cells": SOLUTION | {"metadata": {"cells": [], "nbformat": 3}},
    "not a number": TEXT.replace('"nbformat_minor": 5', '"nbformat_minor": NaN'),
    "keys in strings": SOLUTION | {"a": '"outputs": [', 'b"outputs': ["[", "]"]},
}


@pytest.mark.parametrize("form", READABLE)
def test_readable(read, form):
    content = READABLE[form]
    submission = read(content.encode() if isinstance(content, str) else content)
    assert submission.problem == ""
    assert states(submission) == COMPLETE
    assert submission.remarks == ()
    source = submission.answers["loss"].source.replace("  \n", "\n")
    assert source == "\ndef train(x):\n    return x + agent.act()"
    assert submission.answers["loss"].cell_number == 6


UNREADABLE = {
    "empty": (b"", "this is not a notebook: the file is empty"),
    "blank": (b" \n", "this is not a notebook: the file is empty"),
    "text": (b"class Agent:", "this is not a notebook: it is not JSON: Expecting value: line 1"),
    "bytes": (bytes(range(256)), "this is not a notebook: it is not JSON: "),
    "cut in a cell": (TEXT[:400].encode(), "this is not a notebook: it is not JSON: "),
    "cut in outputs": (b'{"outputs": [{"text": "x', "this is not a notebook: it is not JSON"),
    "list": (b"[]", "this is not a notebook: it has no cells"),
    "number": (b"4", "this is not a notebook: it has no cells"),
    "no cells": (b'{"nbformat": 4}', "this is not a notebook: it has no cells"),
    "cells of another type": (b'{"cells": {"a": 1}}', "this is not a notebook: it has no cells"),
    "format 3": (
        b'{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]}',
        "this is a notebook of format 3, and only format 4 can be read: open it in Jupyter and "
        "save it again",
    ),
    "format 2": (b'{"nbformat": 2, "cells": []}', "this is a notebook of format 2, and only"),
    "format 5": (b'{"nbformat": 5, "cells": []}', "this is a notebook of format 5, and only"),
    "deep lists": (b"[" * 1_000_000, "this is not a notebook: it is too deeply nested"),
    "deep objects": (b'{"a":' * 1_000_000, "this is not a notebook: it is too deeply nested"),
    "a huge number": (b'{"a": ' + b"9" * 10_000 + b"}", "this is not a notebook: it is not JSON"),
    "much code": (json.dumps(notebook("#" * 400_001)).encode(), "it holds 400,001 characters of"),
    "many cells": (json.dumps(notebook(*["1"] * 10_001)).encode(), "it has 10,001 code cells, ov"),
    "many outputs": (b'{"outputs":[],' * 1_000_000, "this is not a notebook: it is not JSON"),
}


@pytest.mark.parametrize("form", UNREADABLE)
def test_unreadable(read, form):
    content, problem = UNREADABLE[form]
    started = time.perf_counter()
    submission = read(content)
    assert time.perf_counter() - started < 20
    assert submission.problem.startswith(problem)
    assert states(submission) == ["missing", "missing", "missing"]
    assert submission.answers["agent"].problem == submission.problem


def test_odd_cells(read):
    """Malformed cells and sources are numbered like others, but not read."""
    odd = [None, 1, "text", [], {}, {"cell_type": 1}, {"cell_type": "code"}, {"source": AGENT}]
    odd += [code(source) for source in (None, 1, {"a": 1}, [1, None, ["x"]], [], "", "\ud800 = 1")]
    submission = read({"cells": [*odd, code(["# \ud83c\n", 3, AGENT])]})
    assert submission.answers["agent"].state == "complete"
    assert submission.answers["agent"].cell_number == 16
    assert submission.remarks == ("not run: cell 15",)


# Answers


def test_open_and_broken(read):
    """Each exercise has its own state."""
    submission = read(OPEN_AGENT, LOSS + " +", "x = 1")
    agent, loss, optimizer = submission.answers.values()
    assert (agent.state, agent.cell_number) == ("open", 1)
    assert agent.sources == ("\nclass Agent:\n    def act(self):\n        return YOUR_CODE",)
    assert agent.problem == "cell 1: 1 gap is open, in line 4"
    assert (loss.state, loss.cell_number, loss.sources) == ("broken", 2, ())
    assert loss.problem == "cell 2, line 3: this is not Python: invalid syntax"
    assert (optimizer.state, optimizer.cell_number, optimizer.sources) == ("missing", 0, ())
    assert optimizer.problem == "the notebook does not define optimizer"
    assert submission.remarks == ("not run: cell 3",)


TEN = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11"


@pytest.mark.parametrize(
    ("source", "gaps"),
    [
        ("x = <YOUR CODE>\ny = <YOUR CODE: a hint>", "2 gaps are open, in lines 2, 3"),
        ("x = <YOUR CODE: half a hint", "1 gap is open, in line 2"),
        ("# x = <YOUR CODE>\ny = <YOUR CODE>", "1 gap is open, in line 3"),
        (
            "<YOUR CODE>\n" * 12,
            f"12 gaps are open, in lines {TEN} and 2 more",
        ),
    ],
)
def test_gaps(read, source, gaps):
    answer = read("# Exercise: agent\n" + source).answers["agent"]
    assert (answer.state, answer.problem) == ("open", f"cell 1: {gaps}")


def test_the_code_around_open_gaps_runs(read):
    """With what it needs, and line by line where it was."""
    source = "# Exercise: agent\nx = <YOUR CODE: a size>\nclass Agent:\n    size = N + <YOUR CODE>"
    answer = read("N = 3", source).answers["agent"]
    assert (answer.state, answer.cell_number) == ("open", 2)
    assert answer.sources == ("N = 3", "\n\nclass Agent:\n    size = N + YOUR_CODE")


@pytest.mark.parametrize(
    "source",
    [
        "class Agent:\n    x = <YOUR CODE> +",
        "class Agent:\n    x = <YOUR CODE: half a hint",
        "class Agent:\n    <YOUR CODE>\n   y = 1",
    ],
)
def test_a_cell_that_is_not_python_even_with_its_gaps_filled_does_not_run(read, source):
    answer = read(source).answers["agent"]
    assert (answer.state, answer.sources) == ("open", ())


def test_gaps_in_strings_and_comments_do_not_count(read):
    source = AGENT.replace("return 1", "return '<YOUR CODE>'  # was: <YOUR CODE: the action>")
    assert read(source).answers["agent"].state == "complete"


BROKEN = {
    "indented": ("class Agent:\n  x = 1\n    y = 2", ", line 3: this is not Python: unexpected"),
    "a bracket": ("class Agent:\n    x = (1", ", line 2: this is not Python: '(' was never closed"),
    "a name twice": ("class Agent:\n    def f(a, a): pass", ", line 2: this is not Python: dupl"),
    "a shell": ("%%bash\nclass Agent:", ", line 1: this is not Python: it begins with %%bash"),
    "a zero": ("class Agent: pass\nx = '\0'", ""),
    "deep brackets": (
        "class Agent: pass\nx = " + "(" * 10_000,
        ", line 2: this is not Python: too",
    ),
    "a long chain": ("class Agent: pass\nx = a" + ".b" * 50_000, " cannot be read as Python"),
    "a long sum": ("class Agent: pass\nx = a" + "+a" * 50_000, " cannot be read as Python"),
    "many signs": ("class Agent: pass\nx = " + "-" * 50_000 + "1", " cannot be read as Python"),
    "many magics": (
        "%x\n" * 3000 + "class Agent: pass",
        ", line 1: this is not Python: it has m",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken(read, kind):
    source, problem = BROKEN[kind]
    started = time.perf_counter()
    answer = read(OPTIMIZER, source).answers["agent"]
    assert time.perf_counter() - started < 10
    assert (answer.state, answer.cell_number) == ("broken", 2)
    assert answer.problem.startswith("cell 2" + problem)


NEWER = {
    "3.12": ["f'{f'{a}'}'", "f'{a['b']}'", "rf'{'/'.join(a)}'", "1\ntype Sizes = list[int]"],
    "3.14": ["t'{a}'", "1\ntry: pass\nexcept KeyError, ValueError: pass"],
}


@pytest.mark.parametrize(
    ("version", "source"), [(version, source) for version in NEWER for source in NEWER[version]]
)
def test_syntax_of_a_newer_python_is_named(read, version, source):
    """A Python that is new enough reads it; an older one says which one would."""
    answer = read(f"class Agent:\n    def act(self): pass\nx = {source}").answers["agent"]
    if sys.version_info >= tuple(map(int, version.split("."))):
        assert answer.state == "complete"
        return
    assert answer.state == "broken"
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"this is not Python {mine}: " in answer.problem
    assert f"it may need Python {version}: grade it with that one" in answer.problem


@pytest.mark.parametrize(
    "source", ["(1,\ny = f'{1}'", "print(f'{1}'", "f'{1}' 2", "f'{1}' +", "type = list["]
)
def test_a_mistake_beside_an_f_string_needs_no_newer_python(read, source):
    answer = read(f"class Agent: pass\nx = {source}").answers["agent"]
    assert answer.state == "broken"
    assert "may need" not in answer.problem


def test_deep_comprehensions_do_not_crash(read):
    """Python 3.12 and 3.13 crash when they compile them to bytecode."""
    assert states(read(AGENT, LOSS, OPTIMIZER, "[" * 30 + "a" + " for a in a]" * 30)) == COMPLETE


def test_warnings_are_no_errors(read):
    answer = read("# Exercise: agent\nclass Agent:\n    x = '\\d' is 1").answers["agent"]
    assert answer.state == "complete"


CANDIDATES = [
    # the last complete one wins
    ([AGENT, AGENT.replace("1", "2")], 2, "not used: cell 1"),
    ([AGENT, AGENT + " +"], 1, "not used: cell 2"),
    ([OPEN_AGENT, AGENT], 2, "not used: cell 1"),
    ([AGENT, OPEN_AGENT], 1, "not used: cell 2"),
    ([code(OPEN_AGENT, id="agent-exercise"), "class Agent: pass"], 2, "not used: cell 1"),
    ([AGENT, code("# mine\n", id="agent-exercise")], 1, "not used: cell 2"),
    ([AGENT, code(AGENT, id="b"), code(AGENT, id="b")], 3, "not used: cells 1, 2"),
    ([AGENT, AGENT.replace("Exercise: agent", "Exercise: loss")], 2, "not used: cell 1"),
    # any form of definition counts
    (["%%time\n" + AGENT], 1, ""),
    (["#@title mine\n\n" + AGENT], 1, ""),
    (["!pip install keras\n%matplotlib inline\n" + AGENT], 1, ""),
    (["@decorate\nclass Agent(Base, metaclass=Meta): pass"], 1, ""),
    (["import mine\nAgent = mine.Agent"], 1, ""),
    (["from mine import Agent"], 1, ""),
    (["from mine import MyAgent as Agent, other"], 1, ""),
    (["with strategy.scope():\n    class Agent: pass"], 1, ""),
    (["if True:\n    class Agent: pass\nelse:\n    Agent = None"], 1, ""),
    (["Agent: type = make()"], 1, ""),
    (["x, (Agent, *y) = make()"], 1, ""),
    (["x = [(Agent := y) for y in z]"], 1, ""),
    (["match x:\n    case [Agent]: pass"], 1, ""),
    (["import Agent.act"], 1, ""),
    (["Agent = np = 1"], 1, ""),
    (["await x; y = 1; Agent = 2"], 1, ""),
]


@pytest.mark.parametrize(("cells", "number", "remark"), CANDIDATES)
def test_which_cell_counts(read, cells, number, remark):
    answer = read(*cells).answers["agent"]
    assert (answer.state, answer.problem, answer.cell_number) == ("complete", "", number)
    assert answer.remarks == ((remark,) if remark else ())


NOWHERE = "the notebook does not define Agent"
MISSING = [
    (["class Agents: pass"], NOWHERE),
    (["def f():\n    class Agent: pass"], NOWHERE),
    (["for Agent in range(3): pass"], NOWHERE),
    (["with x:\n    while True:\n        Agent = 1"], NOWHERE),
    (["x = [Agent for Agent in y]"], NOWHERE),
    (["import x.Agent"], NOWHERE),
    (["x = lambda Agent: Agent"], NOWHERE),
    (["Agent.act = 1"], NOWHERE),
    (["Agent: type"], NOWHERE),
    (["del Agent"], NOWHERE),
    (["Agent = decorate(Agent)"], NOWHERE),
    (["class Agent(Agent): pass"], NOWHERE),
    (["'''\nclass Agent: pass\n'''"], NOWHERE),
    ([{"cell_type": "markdown", "source": AGENT}], NOWHERE),
    ([{"cell_type": "raw", "source": AGENT}], NOWHERE),
    (["# Exercise: agent\nclass A: pass"], "cell 1, where it should be, does not define Agent"),
    ([code("x = 1", id="agent-exercise")], "cell 1, where it should be, does not define Agent"),
]


@pytest.mark.parametrize(("cells", "problem"), MISSING)
def test_missing(read, cells, problem):
    answer = read(*cells).answers["agent"]
    assert (answer.state, answer.problem) == ("missing", problem)


def test_the_last_open_one_is_reported(read):
    answer = read(OPEN_AGENT, OPEN_AGENT, AGENT + " +", OPEN_AGENT).answers["agent"]
    assert (answer.state, answer.cell_number) == ("open", 4)
    assert answer.remarks == ("not used: cells 1, 2, 3",)


def test_reordered(read):
    submission = read(OPTIMIZER, LOSS, PLAY, AGENT, IMPORTS)
    assert [answer.cell_number for answer in submission.answers.values()] == [4, 2, 1]
    assert states(submission) == COMPLETE


def test_merged_cells(read):
    """One cell answers several exercises, each with its own part, in the original lines."""
    submission = read("\n".join([IMPORTS, AGENT, PLAY, OPTIMIZER, LOSS, TRAIN]))
    agent, loss, optimizer = submission.answers.values()
    assert agent.sources == ("\n" * 3 + AGENT.partition("\n")[2],)
    assert optimizer.sources == ("\n" * 10 + "optimizer = keras.Adam()",)
    assert loss.sources == ("\n" * 12 + LOSS.partition("\n")[2],)
    assert submission.remarks == ("not run in cell 1: lines 1, 2, 7, 8, 9, 15",)


def test_a_gap_leaves_a_merged_cell_open(read):
    assert states(read("\n".join([OPEN_AGENT, LOSS]))) == ["open", "open", "missing"]


def read_cells(*cells):
    return read_code_cells(json.dumps(notebook(*cells)).encode())


def test_an_exercise_of_two_names():
    """The answer may be spread over cells, but both names must be defined."""
    solution = json.dumps(notebook("# Exercise: both\nx = 1\ndef f(): pass"))
    template = read_template(solution.encode())
    cells = read_cells("x = 2", "print(x)", "def f(): return x")
    answer = read_submission(cells, template).answers["both"]
    assert (answer.state, answer.cell_number) == ("complete", 3)
    assert answer.sources == ("x = 2", "def f(): return x")
    cells = read_cells("# Exercise: both\ndef f(): return x")
    answer = read_submission(cells, template).answers["both"]
    assert (answer.state, answer.problem) == (
        "missing",
        "cell 1, where it should be, does not define x",
    )


# What an answer needs; `A` stands for `Agent`, and a number for a whole cell


NEEDS = [
    # only what it reads
    (
        ["import re, math", "def f(): math.pi", "def g(): pass", "A = f()"],
        ["import math", 2],
    ),
    (["a = 1", "b = a + 1", "c = 3", "A = b"], [1, 2]),
    (["a = 1", "a = 2", "A = a"], [2]),
    (["a = 1", "a += 2", "A = a"], [1, 2]),
    (["a = {}", "a['k'].x = 2", "A = a"], [1, 2]),
    (["a = 1", "if x: a = 2", "A = a"], [1, 2]),
    (["f().x = 1", "f().x, a = 2, 3", "A = a"], [2]),
    (["a = 1\nprint(a)\na.call()\nA = a"], []),
    (["try: import gym\nexcept ImportError: gym = None", "A = gym"], [1]),
    (["import a.b", "A = a.b.c"], [1]),
    (["from a import (b as c,\n  d)", "A = c"], ["from a import b as c"]),
    (["from a import *", "b = 1", "from c import *", "A = 1"], [1, 3]),
    (["a = 1; b = 2; c = 'é'; d = 4", "A = b, d"], ["b = 2", "d = 4"]),
    (["@b\n@c\ndef a(): pass", "A = a"], [1]),
    (["a = '''\n%x\n'''", "A = a"], ["a = '''\n%x\n'''"]),
    (["!ls\na = 1\n%time b = 2", "A = a"], ["a = 1"]),
    (["\n\n  a = 1\n  ?a", "A = a"], ["a = 1"]),
    ([">>> a = 1\n>>> b = 2", "A = a"], ["a = 1"]),
    (["%%capture x\na = 1", "A = a"], ["a = 1"]),
    (["%%writefile x.py\na = 1", "A = a"], []),
    (["a = (", "A = a"], []),
    # functions read names when they are called, other code when it runs
    (["def A(): return a()\ndef a(): return 1"], []),
    (["a = 1", "def A(b=a): return 1"], [1]),
    (["a = 1", "def A():\n    class B: b = a\na = 2"], []),
    (["a = 1", "class A: b = a\na = 2"], [1]),
    (["a = 1", "class A:\n    def f(self):\n        return lambda: [a for _ in b]"], [1]),
    (["a = 1", "def A():\n    a = 2"], []),
    (["a = 1", "def A(a): return a"], []),
    (["a = 1", "def A():\n    global a\n    a += 1"], [1]),
    (["a = [np for np in range(3)]", "A = a"], [1]),
    # later cells do not count
    (["A = a", "a = 1"], []),
    (["def A(): return a", "a = 1"], []),
    # an answer that builds on an earlier one
    (["class A: pass", "A.f = 1", "A = decorate(A)"], [1, 2]),
    (["class A: f = 1", "class A:\n    def f(self): return super(A, self)"], []),
    # names that the solution defines
    (["import numpy as np, math", "np = 1", "A = np, math"], ["import math"]),
    (["def train(): pass", "A = train"], []),
    (["optimizer, a = 1, 2", "A = a"], []),
    (["np.x = 1", "A = np"], []),
    (["a, _ = 1, 2", "A = a"], [1]),
    # loops
    (["a = []", "for i in range(3):\n    a = i", "A = a"], [1]),
    (["while True: a = 1", "A = a"], []),
    (["with x as y:\n    for i in y: a = i", "A = a"], []),
    (["if x:\n    def a():\n        while True: pass", "A = a"], [1]),
]


@pytest.mark.parametrize(("cells", "helpers"), NEEDS)
def test_needs(read, cells, helpers):
    cells = [re.sub(r"\bA\b", "Agent", cell) for cell in cells]
    answer = read(*cells).answers["agent"]
    assert answer.state == "complete"
    expected = [cells[helper - 1] if isinstance(helper, int) else helper for helper in helpers]
    assert [*answer.helpers] == expected


def test_lines_stay_where_they_were(read):
    source = (
        "\n%%time\n%%capture\n!ls\nfrom __future__ import annotations\nimport re, math\n"
        "print(1); a = 1; b = 2; c = 3\n"
        "class Agent:  # é\n    x = '''\n    '''\n\n\nprint(2)\n"
        "Agent.y = a, c, math.pi\n"
    )
    assert read(source).answers["agent"].source.split("\n") == [
        "",
        "",
        "",
        "",
        "from __future__ import annotations",
        "import math",
        "a = 1; c = 3",
        "class Agent:  # é",
        "    x = '''",
        "    '''",
        "",
        "",
        "",
        "Agent.y = a, c, math.pi",
    ]


def test_helpers_are_whole_statements(read):
    answer = read("print(1)\n\n@f\ndef g(): pass", "Agent = g").answers["agent"]
    assert answer.helpers == ("@f\ndef g(): pass",)


def test_what_usable_cells_give_comes_first():
    """Single imports, and definitions with what they need; nothing else runs."""
    given = "import keras, numpy as np\nN = 3\ndef f(x): return x + N\nprint(f(1))"
    template = read_template(
        json.dumps(notebook(code(given, id="given"), code(AGENT, id="agent-exercise"))).encode(),
        usable=["given"],
    )
    answer = read_submission(read_cells(AGENT.replace("return 1", "return f(1)")), template)
    assert answer.answers["agent"].support == ("N = 3", "def f(x): return x + N")
    answer = read_submission(read_cells(AGENT.replace("return 1", "return np.pi")), template)
    assert answer.answers["agent"].sources[0] == "import numpy as np"


def test_given_cells_come_from_the_solution(read):
    """An added import counts; a changed definition does not."""
    submission = read(
        code("import keras\nimport numpy as np\nimport numpy.random as nr", id="imports"),
        AGENT.replace("return 1", "return nr.random()"),
        CHECK,
        code(PLAY.replace("range(3)", "range(300)"), id="play"),
        LOSS,
        OPTIMIZER,
    )
    assert submission.answers["agent"].sources[:-1] == ("import numpy.random as nr",)
    assert submission.answers["loss"].helpers == ()
    assert submission.remarks == ("run in part: cell 1", "not run: cell 4")


# The whole notebook


def test_all_cells_run_in_the_second_look(read):
    """Given ones and repeated ones, too, and with the gaps of answers filled."""
    sources = [IMPORTS, CHECK, "this is: not Python", OPEN_AGENT, "print('<YOUR CODE>')"]
    submission = read(*sources)
    filled = AGENT.replace("return 1", "return YOUR_CODE")
    assert [cell.source for cell in submission.cells] == [*sources[:3], filled, sources[4]]
    assert [cell.number for cell in submission.cells] == [1, 2, 3, 4, 5]
    assert not any(cell.is_slow for cell in submission.cells)


@pytest.mark.parametrize("source", MARKED_SLOW)
def test_slow_cells_are_found_below_magics_and_comments(read, source):
    (cell,) = read(source).cells
    assert cell.is_slow == MARKED_SLOW[source]


# In the style of the original course: no ids or comments, old packages, other code nearby.
TEMPLATE = [
    "import os\nif not os.environ.get('DISPLAY'):\n    !bash ../xvfb start\n    %env DISPLAY=:1",
    "import numpy as np\nimport matplotlib.pyplot as plt\n%matplotlib inline",
    "import gym\nfrom atari_util import PreprocessAtari\n\ndef make_env():\n"
    "    env = gym.make('KungFuMasterDeterministic-v0')\n    return PreprocessAtari(env)\n\n"
    "env = make_env()\nobs_shape = env.observation_space.shape\nn_actions = env.action_space.n",
    "import tensorflow as tf\nfrom tensorflow.keras import layers as L\nUNITS = 128",
    "class SimpleRecurrentAgent(tf.keras.Model):\n"
    "    def __init__(self, obs_shape, n_actions):\n"
    "        super(SimpleRecurrentAgent, self).__init__()\n"
    "        self.cell = L.LSTMCell(UNITS)\n\n"
    "n_parallel_games = 5\nagent = SimpleRecurrentAgent(obs_shape, n_actions)\n"
    "state = [env.reset()]\n_, (logits, value) = agent.step(agent.get_initial_state(1), state)",
    "from env_pool import EnvPool\npool = EnvPool(agent, make_env, n_parallel_games)\n"
    "rollout = pool.interact(10)",
    "def entropy(policy):\n    return -tf.reduce_sum(policy * tf.math.log(policy), axis=-1)",
    "agent_weights = agent.trainable_variables\n"
    "optimizer = tf.keras.optimizers.Adam(1e-4)\n\n"
    "def train_on_rollout(states, actions, rewards, is_not_done, memory, gamma=0.99):\n"
    "    loss = entropy(agent(memory, states))\n"
    "    optimizer.apply_gradients(zip([loss], agent_weights))\n\n"
    "train_on_rollout(*pool.interact(10), pool.prev_memory_states)",
    "from tqdm import trange\nfor i in trange(15000):\n    rollout = pool.interact(10)\n"
    "    train_on_rollout(*rollout, pool.prev_memory_states)",
]


@pytest.mark.parametrize("minor", [0, 1, 2, 4])
def test_original_template(minor):
    kungfu = read_template((ROOT / "solutions" / KUNGFU).read_bytes())
    cells = [code(source.splitlines(keepends=True), execution_count=1) for source in TEMPLATE]
    data = json.dumps(notebook(*cells, nbformat_minor=minor)).encode()
    submission = read_submission(read_code_cells(data), kungfu)
    agent, loss, optimizer = submission.answers.values()
    assert states(submission) == COMPLETE
    assert [*agent.helpers] == [
        "from tensorflow.keras import layers as L",
        "UNITS = 128",
    ]
    assert agent.source.startswith("class SimpleRecurrentAgent(tf.keras.Model):")
    assert agent.source.endswith("L.LSTMCell(UNITS)")
    assert [helper[:12] for helper in loss.helpers] == ["def entropy("]
    assert loss.source.startswith("agent_weights = agent.trainable_variables\n\n\ndef train_on_")
    assert loss.source.endswith("agent_weights))")
    assert optimizer.sources == ("\noptimizer = tf.keras.optimizers.Adam(1e-4)",)
    assert submission.remarks == (
        "not run in cell 5: lines 6, 7, 8, 9",
        "not run in cell 8: line 8",
        "run in part: cell 4",
        "not run: cells 1, 2, 3, 6, 9",
    )
    assert submission.is_foreign


def test_a_notebook_with_a_trace_of_the_kit_is_not_foreign(read):
    bare = [source.partition("\n")[2] for source in (AGENT, LOSS, OPTIMIZER)]
    assert [source.partition("\n")[0][:12] for source in (AGENT, LOSS)] == ["# Exercise: "] * 2
    assert read(*map(code, bare)).is_foreign
    assert not read(code(AGENT), *map(code, bare[1:])).is_foreign


# Speed


MANY = {
    "copies": [AGENT, LOSS, OPTIMIZER] * 100,
    "open copies": [OPEN_AGENT] * 1000,
    "copies on top of each other": [AGENT] + ["Agent = decorate(Agent)"] * 5000,
    "a chain of functions": [*(f"def f{i}(): f{i + 1}()" for i in range(5000)), "Agent = f0"],
    "a chain backwards": [*(f"def f{i + 1}(): f{i}()" for i in range(5000)), "Agent = f5000"],
    "statements": ["a=1\n" * 30_000, AGENT],
    "gaps": [("x = <YOUR CODE>\n" * 20_000) + OPEN_AGENT],
    "headings": ["# Exercise: agent\n" * 20_000 + AGENT],
    "headings of IPython": ["%%time\n" * 50_000 + AGENT],
    "cells with magics": ["%x\n" * 15 + "x = 1\n" * 500] * 20,
}


@pytest.mark.parametrize("kind", MANY)
def test_many(read, kind):
    started = time.perf_counter()
    submission = read(*MANY[kind])
    assert time.perf_counter() - started < 20
    assert submission.problem == ""
    assert sum(map(len, submission.remarks)) < 1000
    assert sum(map(len, submission.answers["agent"].remarks)) < 100
