"""Submissions that cheat or break things: each gets its fair verdict and does no harm.

The hostile code is in the agent's answer; loss and optimizer are right and keep their points.
"""

import contextlib
import dataclasses
import socket
import threading
from pathlib import Path

import nbformat
import pytest

from grading.grade import Grader
from grading.report import as_html, as_json, as_table
from grading.worker import Limits
from tests.frameworks import FRAMEWORKS, TRACKS
from tests.notebooks import ROOT, solution_path

LIMITS = Limits(call_seconds=45, total_seconds=300, memory_bytes=1 << 30, output_bytes=1 << 20)
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


@pytest.fixture(scope="module", params=FRAMEWORKS)
def grader(request, tmp_path_factory):
    """A grader for each track; its solution has a canary in every exercise."""
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


def test_parts_that_break_the_reference_break_nothing(grader, tmp_path):
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
    _, agent = grade(grader, tmp_path, code)
    assert agent.points == agent.maximum
    assert (
        "judged by its properties: the solution cannot be rebuilt from the answer's parts"
        in agent.remarks
    )
