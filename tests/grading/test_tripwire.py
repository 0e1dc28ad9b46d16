"""Code that looks into the process that grades it is shown to the teacher; other code is not."""

import nbformat
import pytest

from grading.notebook import CodeCell
from grading.submission import read_submission, read_template
from grading.tripwire import find_tripwires
from tests.frameworks import TRACKS, each_variant

LOOKING = [
    "import sys\nsys.modules['measure'].measure_agent = None",
    "measuring = sys.modules.get('checks.measuring')",
    "import gc",
    "import inspect as honest",
    "from ctypes import CDLL",
    "import run_all",
    "from checks import measuring",
    "import checks.measuring as m",
    "frame = sys._getframe(1)",
    "f.__globals__['is_close'] = None",
    "object.__subclasses__()",
    "get_ipython().user_ns['agent'] = 1",
    "__import__('sys')",
    "exec('import sys')",
    "if type(agent).__name__ != 'StandInAgent': pass",
    "if type(optimizer) is not Adam: pass",
    "if agent.__class__ is SimpleRecurrentAgent: pass",
    "def train_on_rollout():\n    if 'StandIn' in str(agent): return 0.0",
]
HONEST = [
    "IN_COLAB = 'google.colab' in sys.modules",
    "if 'agent' not in globals(): pass",
    "agent.eval()",
    "model.eval(); opt.zero_grad()",
    "import sys, importlib",
    "from checks import check_agent",
    "print(type(x), type(self).__name__, isinstance(agent, Agent))",
    "get_ipython().system('ls')",
    "def measure(x):\n    return x",
    "this is not Python",
]


@pytest.mark.parametrize("source", LOOKING)
def test_code_that_looks_around(source):
    assert find_tripwires(source) != []


@pytest.mark.parametrize("source", HONEST)
def test_honest_code(source):
    assert find_tripwires(source) == []


@each_variant(right=True)
def test_right_answers(framework, variant):
    source = variant.apply(TRACKS[framework].solution_of(variant.exercise))
    assert find_tripwires(source) == []


def test_the_remark_names_cells_and_no_point_is_lost(tmp_path):
    cells = ["# Exercise: double\ndef double(x):\n    return 2 * x"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    template = read_template(nbformat.writes(notebook).encode())
    code = [(1, "", "import sys"), (2, "", f"{cells[0]}\nvars(sys.modules['functions'])")]
    submission = read_submission([CodeCell(*cell) for cell in code], template)
    assert submission.answers["double"].state == "complete"
    assert submission.remarks[-1] == (
        "code that looks into the process that grades it, for you to read: "
        "cell 2: vars(sys.modules['functions'])"
    )
