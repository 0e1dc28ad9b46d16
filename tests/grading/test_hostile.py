"""Submissions that cheat or break things: each gets its fair verdict and does no harm.

The hostile code is in the agent's answer; loss and optimizer are right and keep their points. Since
the agent loses points, the whole notebook runs as well, with the hostile code in it. What cells can
do to that run is tried on a toy.
"""

import contextlib
import dataclasses
import functools
import socket
import threading
import time
from pathlib import Path

import nbformat
import pytest

from grading import grade as grading_of_one
from grading.assignment import Assignment, Exercise, Part, Stage, Trial, TrialResult
from grading.grade import AS_A_WHOLE, Grader
from grading.judge import is_close
from grading.report import as_html, as_json, as_table
from grading.run_all import RunLimits, run_notebook
from grading.worker import Limits
from tests.frameworks import TRACKS, each_framework
from tests.notebooks import ROOT, solution_path

LIMITS = Limits(call_seconds=45, total_seconds=300, memory_bytes=1 << 30, flood_bytes=1 << 20)
CANARY = "canary-" + "in-the-solution"


def write_submission(grader: Grader, path: Path, agent: str) -> Path:
    """Writes the solution with another agent; `{right}` stands for the solution's own."""
    notebook = nbformat.read(grader.assignments[0].solution, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.id == "agent-exercise")
    cell.source = agent.replace("{right}", cell.source)
    nbformat.write(notebook, path)
    return path


def in_the_class(code: str) -> str:
    """Returns an answer whose class body runs some code and defines nothing useful."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    return f"# Exercise: agent\nclass SimpleRecurrentAgent:\n{body}\n"


@pytest.fixture(scope="module", params=[pytest.param("pytorch", marks=pytest.mark.pytorch)])
def grader(request, tmp_path_factory):
    """A grader for the quicker track; its solution has a canary in every exercise."""
    track = TRACKS[request.param]
    path = tmp_path_factory.mktemp("solution") / track.solution.name
    notebook = nbformat.read(track.solution, as_version=4)
    for cell in notebook.cells:
        if "exercise" in cell.metadata.get("tags", []):
            cell.source += f"\n# {CANARY}"
    nbformat.write(notebook, path)
    with Grader(limits=LIMITS, assignments=[dataclasses.replace(track, solution=path)]) as grader:
        yield grader


def grade(grader: Grader, tmp_path: Path, agent: str):
    """Grades the hostile answer; the other exercises must keep their points."""
    report = grader.grade(write_submission(grader, tmp_path / "hostile.ipynb", agent))
    agent_result, loss, optimizer = report.exercises[:3]
    assert (loss.points, optimizer.points) == (50, 10), as_table(report)
    return report, agent_result


STOPPED = {
    "exits": ("import os\nos._exit(0)", "process ended"),
    "kills its parent": (
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos._exit(1)",
        "",
    ),
    "kills everybody": ("import os, signal\nos.kill(-1, signal.SIGKILL)\nos._exit(1)", ""),
    "runs for ever": ("while True: pass", "ran longer than 45 s"),
    "prints for ever": ("while True: print('x' * 10000)", "its output exceeded"),
    "fills the memory": ("hog = [bytearray(1 << 24) for _ in range(1000)]", "memory"),
}


@pytest.mark.parametrize("name", STOPPED)
def test_exceeding_a_limit_costs_only_that_exercise(grader, tmp_path, name):
    code, reason = STOPPED[name]
    _, agent = grade(grader, tmp_path, in_the_class(code))
    assert agent.points == 0
    assert not agent.reason
    assert all(reason in check.message for check in agent.checks), agent.checks[0].message


FORGERIES = {
    "IPython's verdicts patched": """
from IPython import get_ipython
shell = get_ipython()
type(shell).showtraceback = lambda *args, **kwargs: None
type(shell).run_cell = lambda *args, **kwargs: None
shell.run_code = lambda *args, **kwargs: False
""",
    "comparisons patched": """
import numpy
for name in ("allclose", "isclose", "array_equal", "max", "abs"):
    setattr(numpy, name, lambda *args, **kwargs: True)
""",
    "the measuring patched": """
import sys
import numpy
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith(("checks", "measure")):
        for name in dir(module):
            if name.startswith(("measure", "_measure", "_outputs", "check")):
                setattr(module, name, lambda *args, **kwargs: {})
""",
    "results printed and a result left under every name": """
print("All 9 lines passed.", '{"score": 100, "status": "graded"}')
import builtins
class Right:
    def __eq__(self, other): return True
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return self
builtins.result = builtins.payload = Right()
""",
    "json patched": """
import json
json.dumps = lambda *args, **kwargs: '{"status": "ok"}'
json.loads = lambda *args, **kwargs: {}
""",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_no_forgery_earns_a_point(grader, tmp_path, name):
    report = grader.grade(
        write_submission(grader, tmp_path / "hostile.ipynb", in_the_class(FORGERIES[name]))
    )
    assert report.exercises[0].points == 0


def test_an_answer_equal_to_everything_is_worth_nothing(grader, tmp_path):
    code = """
class Everything(float):
    def __eq__(self, other): return True
    def __array__(self, *args, **kwargs): import numpy; return numpy.float32(0)
def __init__(self, *args): pass
def get_initial_state(self, n): import numpy; return [numpy.zeros((n, 2)), numpy.zeros((n, 2))]
def forward(self, *args): return [self.Everything()] * 2, (self.Everything(), self.Everything())
step = __call__ = forward
"""
    _, agent = grade(grader, tmp_path, in_the_class(code))
    assert agent.points <= 1


def test_a_worker_sees_neither_the_project_nor_its_environment(grader, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADING_SECRET", "environment-secret")
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def listen() -> None:
        listener.settimeout(30)
        with contextlib.suppress(OSError):
            heard.append(listener.accept())

    thread = threading.Thread(target=listen)
    thread.start()
    code = f"""
import os, socket
found = []
for name in {[str(ROOT / name) for name in ("solutions", "assignments", "tests", "notebooks")]!r}:
    if os.path.exists(name): found.append(name)
if {{"GRADING_SECRET", "PYTEST_CURRENT_TEST"}} & os.environ.keys(): found.append("environment")
for folder in ("/etc", "/usr", "/", "/tmp/..", {str(tmp_path)!r}):
    try:
        open(os.path.join(folder, "planted"), "w").close()
        found.append("wrote to " + folder)
    except OSError: pass
try:
    socket.create_connection(("127.0.0.1", {listener.getsockname()[1]}), timeout=2)
    found.append("network")
except OSError: pass
pids = [name for name in os.listdir("/proc") if name.isdigit()]
if len(pids) > 20: found.append("processes")
try:
    import ale_py.roms
    found.append("the emulator")
except ImportError: pass
raise ValueError("found " + repr(found))
"""
    _, agent = grade(grader, tmp_path, in_the_class(code))
    listener.shutdown(socket.SHUT_RDWR)  # ends the thread if it is still listening
    thread.join()
    listener.close()
    assert "ValueError: found []" in agent.checks[0].message
    assert not heard
    assert not any(Path(folder, "planted").exists() for folder in ("/etc", "/usr", "/", tmp_path))


def test_no_answer_can_be_found_in_a_students_worker(grader, tmp_path):
    # The word is stored backwards, so that the search does not find its own source.
    code = f"""
import gc, inspect, sys
word = "{CANARY[::-1]}"[::-1].encode()
found = 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        bounds, mode = line.split()[:2]
        start, end = (int(x, 16) for x in bounds.split("-"))
        if "r" in mode and "[v" not in line and end - start < 1 << 28:
            try:
                memory.seek(start)
                found += memory.read(end - start).count(word)
            except (OSError, ValueError): pass
# The word made above is itself in memory once or twice.
raise ValueError(f"more than its own copies: {{found > 4}}")
"""
    report, agent = grade(grader, tmp_path, in_the_class(code))
    assert "more than its own copies: False" in agent.checks[0].message
    assert CANARY not in as_table(report) + str(as_json(report)) + as_html(report, {})


def test_threads_that_keep_printing_do_no_harm(grader, tmp_path):
    code = (
        "{right}\n"
        + """
import threading, time
def talk():
    while True:
        print('{"forged": 1}', flush=True)
        time.sleep(0.01)
class SimpleRecurrentAgent(SimpleRecurrentAgent):
    threading.Thread(target=talk, daemon=True).start()
"""
    )
    _, agent = grade(grader, tmp_path, code)
    assert agent.points == agent.maximum


def test_answers_cannot_detect_pytest(grader, tmp_path):
    code = (
        "{right}\n"
        + """
import sys
class SimpleRecurrentAgent(SimpleRecurrentAgent):
    def forward(self, prev_state, obs_t):
        if not {"pytest", "_pytest", "nbval"} & sys.modules.keys():
            return super().forward(prev_state, obs_t)
        raise RuntimeError("graded")
    __call__ = forward
"""
    )
    _, agent = grade(grader, tmp_path, code)
    assert agent.points == agent.maximum


FILES = {
    "empty.ipynb": b"",
    "truncated.ipynb": solution_path().read_bytes()[:5000],
    "latin1.ipynb": "é".encode("latin-1") * 10,
    "list.ipynb": b"[1, 2, 3]",
    "text.ipynb": b"not a notebook",
    "deep.ipynb": b"[" * 100_000,
}


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_ungradable(grader, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    report = grader.grade(path)
    assert report.is_ungradable
    assert report.exit_code == 10
    assert report.reason


def test_a_link_is_not_followed(grader, tmp_path):
    path = tmp_path / "link.ipynb"
    path.symlink_to("/etc/passwd")
    report = grader.grade(path)
    assert report.exit_code == 10
    assert "root:" not in as_table(report)


def test_text_from_a_submission_is_harmless_in_every_report(grader, tmp_path):
    code = """
raise ValueError('<script>alert(1)</script> \\x1b]0;title\\x07 =cmd() \\u202e {{ 7 * 7 }}')
"""
    report, _ = grade(grader, tmp_path, in_the_class(code))
    table, page = as_table(report), as_html(report, {})
    assert "\x1b" not in table
    assert "\u202e" not in table + page
    assert "<script" not in page
    assert "{{ 7 * 7 }}" in page


@each_framework
def test_parts_that_break_the_reference_break_nothing(tmp_path, framework):
    code = (
        "{right}\n"
        + """
import sys
class SimpleRecurrentAgent(SimpleRecurrentAgent):
    module = sys.modules["measure"]
    def describe(layers, agent):
        import json
        import numpy
        from measurement import Measurement
        layer = ("Dense", {"units": 10**9, "activation": {"class_name": "exit"}, "use_bias": True})
        parts = {part: [layer] for part in layers.PARTS}
        data = numpy.frombuffer(json.dumps(parts).encode(), numpy.uint8)
        return Measurement({"description/parts": data})
    module._describe = describe
"""
    )
    with Grader(limits=LIMITS, assignments=[TRACKS[framework]]) as grader:
        _, agent = grade(grader, tmp_path, code)
    assert agent.points == agent.maximum
    assert (
        "judged by its properties: the solution cannot be rebuilt from the answer's parts"
        in agent.remarks
    )


@pytest.mark.tensorflow
def test_layers_that_give_a_great_many_numbers_break_nothing(tmp_path):
    code = (
        "{right}\n"
        + """
import sys
class SimpleRecurrentAgent(SimpleRecurrentAgent):
    module = sys.modules["measure"]
    def describe(layers, agent, honest=module._describe):
        import json
        import numpy
        measured = honest(layers, agent)
        parts = json.loads(measured["description/parts"].tobytes())
        (head,) = [name for name in parts if "logits" in name]
        parts[head][0][1]["units"] = 1  # one logit, which the next layer makes a great many
        parts[head].append(["Rescaling", {"scale": [1] * 140_000, "offset": 0}])
        data = json.dumps(parts).encode()
        kernel, bias = (measured[f"description/{head}/{i:02}"] for i in (0, 1))
        return measured | {
            "description/parts": numpy.frombuffer(data, numpy.uint8),
            f"description/{head}/00": kernel[:, :1].copy(),
            f"description/{head}/01": bias[:1].copy(),
        }
    module._describe = describe
"""
    )
    with Grader(limits=LIMITS, assignments=[TRACKS["tensorflow"]]) as grader:
        _, agent = grade(grader, tmp_path, code)
    assert agent.points == agent.maximum
    assert (
        "judged by its properties: the solution cannot be rebuilt from the answer's parts"
        in agent.remarks
    )


# -------------------------------------------------------------------------- what trials start

FORKS = """
import os, time
n_forks = 0
while True:
    try:
        if not os.fork():
            os.setsid()
            time.sleep(1000)
        n_forks += 1
    except OSError:
        break
print(n_forks)
"""


def test_another_worker_starts_whatever_processes_the_first_one_left(tmp_path):
    def start_two(stage: Stage) -> TrialResult:
        workers = (stage.start_worker(60) for _ in range(2))
        printed = [worker.call("shell:run_cell", FORKS.encode()).output for worker in workers]
        return TrialResult(message=" ".join(printed))

    trial = Trial(
        name="play",
        title="two workers",
        points=1,
        exercise="double",
        attachment="weights.npz",
        missing="no weights",
        run=start_two,
    )
    toy = make_toy(tmp_path, trials=(trial,))
    weights = tmp_path / "weights.npz"
    weights.touch()
    path = write_cells(tmp_path / "hw.ipynb", *TOY.values())
    with Grader(limits=SMALL, assignments=[toy]) as grader:
        *_, played = grader.grade(path, weights).exercises
    first, second = played.checks[0].message.split()
    assert int(second) == int(first) > 100


# ------------------------------------------------------------------------------- the second look

TOY = {
    "double": "# Exercise: double\ndef double(x):\n    return 2 * x",
    "triple": "# Exercise: triple\ndef triple(x):\n    return 3 * x",
}
# Right only where loops run, which is never the case at the first look.
FACTORS = "FACTORS = []\nfor factor in (2, 3):\n    FACTORS.append(factor)"
BY_A_LOOP = "# Exercise: triple\ndef triple(x):\n    return FACTORS[1] * x"
QUICK = RunLimits(
    cell_cpu_seconds=0.5, cell_seconds=2, stop_seconds=6, cpu_seconds=5, worker_seconds=60
)
SMALL = Limits(call_seconds=20, total_seconds=60, memory_bytes=1 << 30, flood_bytes=4 << 20)


def write_cells(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def toy_exercise(name: str) -> Exercise:
    def judge(measured, accepted):
        return "" if is_close(measured["case"], *(a["case"] for a in accepted)) else "it is wrong"

    part = Part("value", "its value", 5, judge, lambda measured: [measured["case"]])
    return Exercise(name, (part,), lambda generator: {"case/x": generator.random(4)})


def make_toy(folder: Path, **fields) -> Assignment:
    """Returns an assignment whose exercises are to double and to triple."""
    solution = folder / "solution.ipynb"
    cells = [nbformat.v4.new_code_cell(source, id=name) for name, source in TOY.items()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), solution)
    exercises = tuple(map(toy_exercise, TOY))
    return Assignment(name="toy", solution=solution, exercises=exercises, **fields)


@pytest.fixture
def grade_toy(tmp_path, monkeypatch):
    """Grades a right answer, one that only the second look can follow, and a hostile cell."""
    toy = make_toy(tmp_path)
    quick = functools.partial(run_notebook, limits=QUICK)
    monkeypatch.setattr(grading_of_one, "run_notebook", quick)

    def grade_toy(*hostile: str):
        path = write_cells(tmp_path / "hostile.ipynb", TOY["double"], *hostile, FACTORS, BY_A_LOOP)
        with Grader(seed=1, limits=SMALL, assignments=[toy]) as grader:
            began = time.monotonic()
            report = grader.grade(path)
            assert time.monotonic() - began < 60
        print(as_table(report))
        return report

    return grade_toy


HARMLESS = {
    "nothing": ("pass", ""),
    "catches every interrupt": (
        "import time\nwhile True:\n    try: time.sleep(1000)\n    except: pass",
        "cell 2 ended the process: it ran longer than 6 s",
    ),
    "makes signals mean nothing": (
        "import signal\nfor number in (signal.SIGPROF, signal.SIGALRM):\n"
        "    signal.signal(number, signal.SIG_IGN)\nwhile True: pass",
        "cell 2 ended the process: it ran longer than 6 s",
    ),
    "prints for ever": (
        "import sys\nwhile True:\n    try: print('x' * 100_000)\n    except: pass",
        "cell 2 ended the process: its output exceeded",
    ),
    "forks, and the child sleeps": ("import os, time\nif not os.fork(): time.sleep(1000)", ""),
    "forks without end": (
        "import os\nwhile True:\n    try: os.fork()\n    except: pass",
        "cell 2 ended the process: ",
    ),
    "ends the process": ("import os\nos._exit(0)", "cell 2 ended the process: "),
    "kills itself": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "cell 2 ended the process: the process ended: Killed",
    ),
    "fills the memory": (
        "hog = []\nwhile True:\n    try: hog.append(bytearray(1 << 24))\n    except: pass",
        "cell 2 ended the process: the processes held more than 1024 MiB of memory",
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_the_other_cells_run_whatever_one_of_them_does(grade_toy, name):
    cell, note = HARMLESS[name]
    report = grade_toy(cell)
    assert [exercise.points for exercise in report.exercises] == [5, 5]
    assert AS_A_WHOLE in report.exercises[1].remarks
    assert any(note in remark for remark in report.remarks)


HARMFUL = {
    "two cells end the process": ("import os\nos._exit(0)", "import os\nos._exit(1)"),
    "the shell's way to run cells is replaced": (
        "get_ipython().run_cell = lambda *_, **__: None",
        "type(get_ipython()).run_cell = lambda *_, **__: None",
    ),
    "what runs cells here is replaced": (
        "import run_all\nrun_all.run_cell = run_all.namespace = lambda *_, **__: {}",
    ),
    "whatever is measured is right": (
        "import functions, measurement\nfunctions.measure = lambda *_, **__: "
        "measurement.Measurement({'case': [1.0] * 4}).to_bytes()",
    ),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_second_look_that_is_spoilt_leaves_the_first_verdict(grade_toy, name):
    report = grade_toy(*HARMFUL[name])
    assert [exercise.points for exercise in report.exercises] == [5, 0]
    assert report.exit_code == 1
