"""A notebook runs as *Run All* would, but offline: whatever a cell does, the next one runs."""

import pytest

from grading.run_all import RunLimits, run_notebook
from grading.sandbox import Sandbox
from grading.submission import RunCell
from grading.worker import Limits, Worker

LIMITS = Limits(call_seconds=30, total_seconds=60, memory_bytes=400 << 20, flood_bytes=4 << 20)
QUICK = RunLimits(
    cell_cpu_seconds=0.5, cell_seconds=2, stop_seconds=6, cpu_seconds=5, least_cpu_seconds=0.2
)


@pytest.fixture
def run():
    """Runs sources as the cells of a notebook; returns its notes and the value of an expression."""
    workers = []

    def start(limits: Limits) -> Worker:
        workers.append(Worker(Sandbox(), limits).__enter__())
        return workers[-1]

    def run(*sources: str, value: str = "b''", limits: RunLimits = QUICK) -> tuple[list, bytes]:
        cells = [RunCell(n, s, s.startswith("# Slow:")) for n, s in enumerate(sources, 1)]
        finished = run_notebook(cells, start, LIMITS, limits=limits)
        value = f"__import__('run_all').namespace() and {value}"
        reply = finished.worker.call("shell:evaluate", value.encode())
        assert reply.status == "ok", reply
        return finished.notes, reply.data

    yield run
    for worker in workers:
        worker.__exit__()


def test_names_pass_from_cell_to_cell(run):
    assert run("a = 1", "%%time\nb = a + 1", value="bytes([a, b])") == ([], b"\1\2")


def test_what_fails_is_noted_and_passed_over(run):
    notes, value = run("a = 1\nb = 1 / 0", "this is: not Python", "c = 3", value="bytes([a, c])")
    assert value == b"\1\3"
    assert notes[0].startswith("cell 1 failed: ZeroDivisionError: division by zero")
    assert notes[1].startswith("cell 2 failed: SyntaxError")
    assert len(notes) == 2


@pytest.mark.parametrize(
    "work",
    [
        "while True: n += 1",
        "import time\ntime.sleep(1000)",
        "while True:\n    try:\n        n += 1\n    except Exception:\n        pass",
        "import threading\nthreading.Event().wait()",
        "!sleep 1000",
    ],
)
def test_what_takes_long_is_interrupted_and_its_names_stay(run, work):
    notes, value = run(f"n = 1\n{work}", "after = 2", value="bytes([n > 0, after])")
    assert value == b"\1\2"
    assert notes == ["cell 1 interrupted: it took too long"]


def test_an_import_is_not_interrupted(run):
    heavy = """import time
start = time.process_time()
while time.process_time() < start + 1: pass
made = 7"""
    write = f"with open('heavy.py', 'w') as file: file.write({heavy!r})"
    notes, value = run(write, "from heavy import made", value="bytes([made])")
    assert (notes, value) == ([], b"\7")


def test_all_cells_together_are_bounded_but_definitions_still_run(run):
    work = "while True: pass"
    notes, value = run(*[work] * 14, "def f(): return b'defined'", value="f()")
    assert value == b"defined"
    assert len(notes) == 14


def test_slow_cells_are_skipped(run):
    notes, _ = run("# Slow: training\nraise ValueError")
    assert notes == ["skipped, as they are marked # Slow: 1"]


@pytest.mark.parametrize(
    "command",
    [
        "!pip install tensorflow-probability",
        "%pip install -q wandb",
        "!wget -q https://example.org/setup.sh",
        "lines = !pip list",
        "!git clone https://example.org/kit.git && cd kit",
    ],
)
def test_what_needs_a_network_is_answered_at_once(run, command):
    notes, value = run(f"{command}\nafter = 1", value="bytes([after])")
    assert value == b"\1"
    (note,) = notes
    assert note.startswith("cell 1 not run: ")


@pytest.mark.parametrize(
    "magic", ["%matplotlib inline", "%load_ext autoreload", "%autoreload 2", "%nosuchmagic x"]
)
def test_a_magic_that_does_not_work_here_does_no_harm(run, magic):
    _, value = run(f"{magic}\nafter = 1", value="bytes([after])")
    assert value == b"\1"


@pytest.mark.parametrize(
    ("imports", "use"),
    [
        ("import wandb", "wandb.init(project='x')\nwandb.log({'loss': 1})"),
        ("from mlflow import start_run as begin", "with begin(): pass"),
        ("import comet_ml.integration as comet", "comet.Experiment().log(1)"),
        ("from google.colab import drive", "drive.mount('/content/drive')"),
    ],
)
def test_a_package_that_is_not_there_is_named_and_accepts_anything(run, imports, use):
    notes, value = run(imports, f"{use}\nafter = 1", value="bytes([after])")
    assert value == b"\1"
    (note,) = notes
    assert note.startswith("cell 1 not installed here: ")


def test_a_cell_that_is_prepared_for_a_missing_package_is_left_alone(run):
    source = "try:\n    import wandb\nexcept ImportError:\n    wandb = None"
    assert run(source, value="bytes([wandb is None])") == ([], b"\1")


def test_a_wrong_name_in_a_package_that_is_there_fails(run):
    notes, _ = run("from json import loadz", "import json.nothing")
    assert [note.split(":")[1].strip() for note in notes] == ["ImportError", "ModuleNotFoundError"]


def test_a_cell_that_ends_the_process_costs_only_itself(run):
    notes, value = run("a = 1", "import os\nos._exit(3)", "b = 2", value="bytes([a, b])")
    assert value == b"\1\2"
    assert notes == ["cell 2 ended the process: the process ended: exit code 3"]


def test_a_cell_that_catches_every_interrupt_is_stopped_and_the_others_run(run):
    work = "import time\nwhile True:\n    try: time.sleep(1000)\n    except: pass"
    notes, value = run("a = 1", work, "b = 2", value="bytes([a, b])")
    assert value == b"\1\2"
    assert notes == ["cell 2 ended the process: it ran longer than 6 s"]


def test_what_a_cell_leaves_running_does_not_hold_up_the_others(run):
    fork = "import os, time\nif not os.fork():\n    time.sleep(1000)"
    assert run(fork, "b = 2", value="bytes([b])") == ([], b"\2")


def test_functions_that_later_cells_delete_or_overwrite_are_put_back(run):
    cells = ["def f(): return g()", "def g(): return b'there'", "del g", "f = 3", "g = 4"]
    assert run(*cells, value="f()")[1] == b"there"


def test_output_is_cut(run):
    notes, value = run("print('x' * 3_000_000)\nafter = 1", value="bytes([after])")
    assert (notes, value) == ([], b"\1")


def test_modules_that_a_cell_writes_can_be_imported(run):
    cells = ["%%writefile tools.py\nanswer = 42", "from tools import answer"]
    assert run(*cells, value="bytes([answer])") == ([], b"*")
