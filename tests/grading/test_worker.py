"""The watched worker: honest calls return their results; hostile ones soon end in an error."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from grading.inside.serve import MAX_WORDS, REPLY
from grading.sandbox import Sandbox, Unsandboxed
from grading.worker import Limits, MachineError, Reply, Worker, WorkerStartError
from tests.grading.test_sandbox import as_ordinary_user

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.alone
LIMITS = Limits(
    startup_seconds=30,
    call_seconds=20,
    total_seconds=60,
    memory_bytes=400 << 20,
    output_bytes=1 << 20,
    flood_bytes=4 << 20,
    reply_bytes=4 << 20,
    scratch_bytes=16 << 20,
    processes=128,
)
SHORT = dataclasses.replace(LIMITS, call_seconds=1)
LONG = dataclasses.replace(LIMITS, call_seconds=60, total_seconds=120)
# Seconds allowed for a busy machine; killing a process takes only a few milliseconds.
AT_ONCE = 5.0
# Precedes code that would hit the whole machine if the sandbox leaked.
INSIDE = "import os, subprocess; assert os.getppid() == 1\n"


@pytest.fixture
def worker():
    with Worker(Sandbox(), LIMITS) as worker:
        yield worker


@pytest.fixture
def impatient():
    with Worker(Sandbox(), SHORT) as worker:
        yield worker


@pytest.fixture
def patient():
    """For floods of data, which their size must stop before time does, even on slow machines."""
    with Worker(Sandbox(), LONG) as worker:
        yield worker


def run(worker: Worker, source: str, fetch: str | None = None) -> Reply:
    """Runs a cell in the worker's shell, and returns the bytes of an expression."""
    reply = worker.call("shell:run_cell", source.encode())
    if fetch is None or reply.status != "ok":
        return reply
    fetched = worker.call("shell:evaluate", fetch.encode())
    return dataclasses.replace(fetched, output=reply.output + fetched.output)


def processes_below() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def leaves_nothing_behind():
    before, threads, files = processes_below(), threading.active_count(), open_files()
    yield
    assert processes_below() == before
    assert threading.active_count() == threads
    assert open_files() == files


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_results(worker):
    reply = run(worker, "x = 6 * 7\nprint('shown')\nx")
    assert (reply.status, reply.output, reply.data) == ("ok", "shown\nOut[1]: 42\n", b"")
    reply = run(worker, "print(x)\n1 / 0")
    assert (reply.status, reply.data) == ("error", b"")
    assert reply.problem == "ZeroDivisionError: division by zero"
    assert reply.output.startswith("42\n")
    reply = run(worker, "this is no Python")
    assert reply.status == "error"
    assert reply.problem.startswith("SyntaxError: ")
    reply = run(worker, "%time y = 1\n!echo {x + 1}\nawait __import__('asyncio').sleep(0)")
    assert (reply.status, reply.output.splitlines()[-1].strip()) == ("ok", "43")
    assert worker.is_alive
    assert 0 < worker.cpu_seconds < 10


def test_bytes_there_and_back(worker):
    data = bytes(range(256))
    assert run(worker, "data = bytes(range(256))", fetch="data + b'!'").data == data + b"!"
    reply = run(worker, "pass", fetch="b''")
    assert (reply.status, reply.data) == ("ok", b"")
    reply = run(worker, "text = 'no bytes'", fetch="text")
    assert (reply.status, reply.data) == ("error", b"")
    assert reply.problem.startswith("TypeError: ")
    assert run(worker, "pass", fetch="never_made").problem.startswith("NameError: ")
    large = os.urandom(3 << 20)
    assert worker.call("binascii:crc32", large).problem.startswith("TypeError: ")  # no bytes
    assert worker.call("base64:b64encode", large, altchars=None).status == "ok"
    assert worker.call("base64:no_such", b"").problem.startswith("AttributeError: ")
    assert worker.call("no_such_module:f", b"").problem.startswith("ModuleNotFoundError: ")


def test_modules_in_given_folders_can_be_called(tmp_path):
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    (tmp_path / "greeting.py").write_text("def greet(data, name): return data + name.encode()")
    with Worker(Sandbox(), LIMITS, [tmp_path]) as worker:
        assert worker.call("greeting:greet", b"Hello, ", name="Ana").data == b"Hello, Ana"


def test_it_knows_neither_the_test_nor_the_network(worker):
    reply = run(worker, "import os; print('PYTEST_CURRENT_TEST' in os.environ, os.getcwd())")
    assert reply.output == "False /tmp\n"
    reply = run(worker, "open('random.py', 'w').write('hacked = 1'); import random; random.hacked")
    assert reply.problem.startswith("AttributeError: ")
    reply = run(worker, f"open({str(ROOT / 'pyproject.toml')!r})")
    assert reply.problem.startswith("FileNotFoundError: ")
    reply = run(worker, "import socket; socket.create_connection(('192.0.2.1', 80))")
    assert reply.problem.startswith("OSError: ")
    reply = run(worker, f"open({str(ROOT / 'grading/inside/more.py')!r}, 'w')")
    assert reply.problem.startswith("OSError: ")


def test_input_is_refused(worker):
    reply = run(worker, "input('name?')")
    assert (reply.status, reply.problem) == ("error", "EOFError: EOF when reading a line")


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
        "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
        "import ctypes; ctypes.PyDLL(None).sleep(1000)",
        "await __import__('asyncio').Event().wait()",
        "import os; os.kill(os.getpid(), 19)",
        "get_ipython().run_line_magic('sx', 'sleep 1000')",
    ],
)
def test_endless_cells_are_stopped_in_time(impatient, source):
    began = time.monotonic()
    result = run(impatient, source)
    assert (result.status, result.problem) == ("timeout", "it ran longer than 1 s")
    assert 1 <= time.monotonic() - began < 1 + AT_ONCE
    assert not impatient.is_alive
    assert run(impatient, "1").status == "timeout"


def test_a_call_may_have_less_time_than_others(worker):
    reply = worker.call("shell:run_cell", b"while True: pass", within=1)
    assert (reply.status, reply.problem) == ("timeout", "it ran longer than 1 s")
    assert not worker.is_alive


def test_all_cells_together_have_a_limit():
    limits = dataclasses.replace(LIMITS, total_seconds=1)
    with Worker(Sandbox(), limits) as worker:
        assert run(worker, "import time; time.sleep(0.6)").status == "ok"
        result = run(worker, "time.sleep(0.6)")
    assert result.status == "timeout"
    assert result.problem == "it ran longer than 1 s in all"


@pytest.mark.parametrize(
    "source",
    [
        "while True: print('x' * 1000)",
        "print('x' * 20_000_000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "raise ValueError('x' * 20_000_000)",
        "import os\nwhile True: os.write(1, bytes(1000))",
        "'x' * 10_000_000",
    ],
)
def test_endless_output_is_stopped(patient, source):
    result = run(patient, source)
    assert result.status == "output"
    assert len(result.output) <= LONG.output_bytes
    assert not patient.is_alive


def test_output_is_cut_before_it_is_a_flood(worker):
    result = run(worker, "print('x' * 3_000_000)\nresult = b'done'", fetch="result")
    assert (result.status, result.data) == ("ok", b"done")
    assert len(result.output) == LIMITS.output_bytes


def test_a_huge_reply_is_stopped(worker):
    assert len(run(worker, "pass", fetch="bytes(4 << 20)").data) == 4 << 20
    reply = run(worker, "pass", fetch="bytes((4 << 20) + 1)")
    assert (reply.status, reply.problem) == ("output", "it sent back more than 4 MiB")
    assert not worker.is_alive


@pytest.mark.parametrize("stream", [1, 2])
def test_output_of_the_process_itself_neither_fills_nor_blocks_anything(worker, stream):
    source = f"import os\nfor _ in range(100): os.write({stream}, bytes(10_000))"
    assert run(worker, source).status == "ok"
    assert run(worker, "pass").status == "ok"


# Memory that the size of no process shows. A zero page is shared, but each needs its own table.
UNSEEN = {
    "page tables": (
        "import mmap\nflags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE\n"
        "pages = mmap.mmap(-1, 300 << 30, flags=flags)\n"
        "for start in range(0, 300 << 30, 2 << 20): pages[start]",
        "the processes held more than 400 MiB of memory",
    ),
    "under a name that is no text": (
        "import ctypes, time\nctypes.CDLL(None).prctl(15, b'\\xff', 0, 0, 0)\ntime.sleep(0.5)\n"
        "hoard = [bytearray(b'x' * (10 << 20)) for _ in range(80)]",
        "the processes held more than 400 MiB of memory",
    ),
    "beside a main thread that has ended": (
        "import ctypes, os, threading, time\n"
        "def grow():\n    hoard = [bytearray(b'x' * (10 << 20)) for _ in range(80)]\n"
        "    time.sleep(1000)\n"
        "if os.fork() == 0:\n    threading.Thread(target=grow).start()\n"
        "    ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)",
        "the processes held more than 400 MiB of memory",
    ),
    "buffers of sockets": (
        "import os, socket, time\nfor _ in range(4):\n    if os.fork() == 0:\n"
        "        pairs = [socket.socketpair() for _ in range(200)]\n        time.sleep(1000)",
        "the processes held more than 400 MiB of memory",
    ),
    "empty files": (
        "for i in range(200_000): open(f'/tmp/{i}', 'w').close()",
        "it made more than 50,000 files",
    ),
    "empty files in shared memory": (
        "for i in range(200_000): open(f'/dev/shm/{i}', 'w').close()",
        "it made more than 50,000 files",
    ),
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_memory_that_no_process_shows_is_bounded(worker, kind):
    source, problem = UNSEEN[kind]
    reply = run(worker, f"{source}\n__import__('time').sleep(1000)")
    assert (reply.status, reply.problem) == ("memory", problem)
    assert not worker.is_alive


def test_a_machine_without_memory_is_nobodys_fault(worker, monkeypatch):
    assert run(worker, "pass").status == "ok"
    monkeypatch.setattr("grading.worker.RESERVE_BYTES", 1 << 60)
    for _ in range(2):
        with pytest.raises(MachineError, match="this machine has only"):
            run(worker, "__import__('time').sleep(10)")
    assert not worker.is_alive


def test_memory_is_bounded(worker):
    began = time.monotonic()
    result = run(worker, "hoard = []\nwhile True: hoard.append(bytearray(10 << 20))")
    assert (result.status, worker.is_alive) == ("memory", False)
    assert result.problem == "the processes held more than 400 MiB of memory"
    assert time.monotonic() - began < 3 + AT_ONCE


def test_memory_is_bounded_between_cells(worker):
    assert run(
        worker,
        "import threading, time\n"
        "def grow():\n"
        "    time.sleep(0.5)\n"
        "    while True: hoard.append(bytearray(10 << 20))\n"
        "hoard = []; threading.Thread(target=grow).start()",
    ).status in ("ok", "memory")
    deadline = time.monotonic() + 5
    while worker.is_alive and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run(worker, "pass").status == "memory"


def test_memory_that_processes_share_counts_once(worker):
    source = """
import os, time
shared = bytearray(200 << 20)
children = [os.fork() for _ in range(1)] + [os.fork() for _ in range(1)]
if 0 in children:
    time.sleep(1); os._exit(0)
for child in children: os.waitpid(child, 0)
"""
    assert run(worker, source).status == "ok"


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("import os; os._exit(0)", "exit code 0"),
        ("import os; os._exit(3)", "exit code 3"),
        ("import os; os.abort()", "Aborted"),
        ("import os; os.kill(os.getpid(), 9)", "Killed"),
        (INSIDE + "subprocess.run(['sh', '-c', 'kill -9 -1'])", "Killed"),
        (INSIDE + "subprocess.run(['pkill', '-9', 'python'])", "Killed"),
        ("import ctypes; ctypes.string_at(0)", "Segmentation fault"),
    ],
)
def test_a_process_that_dies_is_noticed_at_once(worker, source, how):
    began = time.monotonic()
    result = run(worker, source)
    assert (result.status, result.problem) == ("died", f"the process ended: {how}")
    assert time.monotonic() - began < AT_ONCE
    assert not worker.is_alive
    assert run(worker, "1").status == "died"


def test_the_last_words_of_a_dead_process_are_kept(worker):
    result = run(worker, "import os; os.write(2, b'terminate called'); os.abort()")
    assert result.output == "terminate called"


def test_a_process_that_closes_its_pipes_is_killed(worker):
    result = run(worker, "import os, time; os.closerange(3, 512); time.sleep(1000)")
    assert result.status == "died"
    assert not worker.is_alive


def test_the_parent_cannot_be_killed(worker):
    assert run(worker, "import os\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass").status == (
        "ok"
    )
    assert run(worker, "1").status == "ok"


def test_a_fork_bomb_ends_with_its_cell(impatient):
    bomb = INSIDE + "while True:\n  try: os.fork()\n  except OSError: pass"
    began = time.monotonic()
    assert run(impatient, bomb).status in ("timeout", "memory", "died")
    assert time.monotonic() - began < 5 + AT_ONCE
    assert subprocess.run(["true"]).returncode == 0


def test_processes_left_behind_die_with_the_worker():
    with Worker(Sandbox(), LIMITS) as worker:
        assert (
            run(
                worker,
                "import subprocess, threading, time\n"
                "subprocess.Popen(['setsid', 'sleep', '4322'])\n"
                "for _ in range(20): threading.Thread(target=time.sleep, args=(1000,)).start()",
            ).status
            == "ok"
        )
        began = time.monotonic()
    assert time.monotonic() - began < AT_ONCE
    assert subprocess.run(["pgrep", "-f", "^sleep 4322"], capture_output=True).returncode == 1


def test_threads_that_go_on_printing_do_not_disturb_the_next_cell(worker):
    run(
        worker,
        "import threading, time\n"
        "def chatter():\n"
        "    while True: print('chatter'); time.sleep(0.001)\n"
        "threading.Thread(target=chatter, daemon=True).start()",
    )
    time.sleep(1)
    for number in range(5):
        result = run(worker, f"answer = b'{number}'\nprint('mine')", fetch="answer")
        assert (result.status, result.data) == ("ok", str(number).encode())
        assert "mine" in result.output  # the line may be interrupted


# Sends any bytes through the process's own pipe, as a reply to any request.
RAW = f"""
import fcntl, os, stat, struct
def is_pipe_to_write(fd):
    try: return stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & 3 == 1
    except OSError: return False
(PIPE,) = [fd for fd in range(3, 64) if is_pipe_to_write(fd)]
def raw(data):
    while data: data = data[os.write(PIPE, data):]
def forge(number, data, success=True, words=b""):
    raw(struct.pack({REPLY.format!r}, number, success, len(words), len(data)) + words + data)
"""


def test_replies_in_advance_and_to_other_requests_are_ignored(worker):
    run(worker, RAW)
    result = run(worker, "for number in (0, 1, 99): forge(number, b'forged')\n1 / 0")
    assert (result.status, result.problem) == ("error", "ZeroDivisionError: division by zero")
    result = run(worker, "forge(99, b'forged')", fetch="b'true'")
    assert (result.status, result.data) == ("ok", b"true")


@pytest.mark.parametrize(
    "source",
    [
        "raw(b'garbage' * 1000)",
        "raw(b'\\xff' * 1000)",
        "raw(struct.pack('>Q?IQ', 2, True, 0, 1 << 62))",
        f"raw(struct.pack('>Q?IQ', 2, True, {MAX_WORDS + 1}, 0))",
        "raw(struct.pack('>Q?IQ', 2, True, 0, 100))",
        "raw(b'x')",
        "while True: forge(7, bytes(1 << 20))",
        "while True: forge(7, b'')",
        "forge(2, b'\\xff', False, b'\\xff\\x00\\x1b[2J')",
    ],
)
def test_whatever_the_process_sends_ends_in_a_reply(impatient, source):
    assert run(impatient, RAW).status == "ok"
    resident = psutil.Process().memory_info().rss
    began = time.monotonic()
    result = run(impatient, source)
    assert result.status in ("ok", "error", "died", "timeout", "output")
    run(impatient, "pass", fetch="b'1'")
    assert time.monotonic() - began < 2 + 2 * AT_ONCE
    assert psutil.Process().memory_info().rss - resident < 100 << 20


def test_a_forged_reply_to_the_right_request_is_just_a_reply(worker):
    run(worker, RAW)
    result = run(worker, "forge(2, b'forged')\nimport time; time.sleep(1)\n1 / 0")
    assert (result.status, result.data) == ("ok", b"forged")
    assert run(worker, "pass", fetch="b'late'").data == b"late"  # the real one is ignored


def test_unread_requests_end_in_time(impatient):
    assert run(impatient, "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)").status == (
        "timeout"
    )
    with Worker(Sandbox(), SHORT) as another:
        run(another, "import threading, time; threading.Timer(0, lambda: time.sleep(9)).start()")
        began = time.monotonic()
        assert another.call("time:sleep", bytes(64 << 20)).status in ("error", "timeout")
        assert time.monotonic() - began < 1 + 2 * AT_ONCE


@pytest.mark.parametrize(
    "patch",
    [
        "InteractiveShell.showtraceback = lambda *a, **k: None",
        "InteractiveShell.run_cell = lambda *a, **k: None",
        "InteractiveShell.run_code = lambda *a, **k: False",
        "async def nothing(*a, **k): return False\n"
        "InteractiveShell.run_cell_async = InteractiveShell.run_ast_nodes = nothing",
        "import ast\n"
        "class Drop(ast.NodeTransformer):\n"
        "    def visit_Module(self, node): node.body = []; return node\n"
        "get_ipython().ast_transformers.append(Drop())",
        "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'])",
        "import shell; shell.run_cell = lambda data: None",
    ],
)
def test_a_patched_shell_cannot_turn_an_error_into_success(impatient, patch):
    run(impatient, "from IPython.core.interactiveshell import InteractiveShell\n" + patch)
    result = run(impatient, "assert False\nfresh_name = b'made'", fetch="fresh_name")
    assert result.data == b""


@pytest.mark.parametrize(
    "source",
    [
        "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad",
        "class Bad(Exception):\n    def __str__(self): raise SystemExit\nraise Bad",
        "class Bad(BaseException):\n    __class__ = int\nraise Bad",
        "class Bad(Exception):\n    __class__ = property(lambda self: 1 / 0)\nraise Bad",
        "class Meta(type):\n    __name__ = property(lambda self: 1 / 0)\n"
        "class Bad(Exception, metaclass=Meta): pass\nraise Bad",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise Exception('\\ud800')",
        "def deep(): deep()\ndeep()",
    ],
)
def test_strange_exceptions_are_errors(worker, source):
    result = run(worker, source, fetch="b'made'")
    assert (result.status, result.data) == ("error", b"")
    result.problem.encode()


def test_a_start_that_fails_says_why(monkeypatch):
    box = Sandbox(environment={"PYTHONHOME": "/nowhere"})
    with pytest.raises(WorkerStartError, match="No module named 'encodings'"), Worker(box, LIMITS):
        pass


def test_a_start_that_takes_too_long_is_given_up():
    limits = dataclasses.replace(LIMITS, startup_seconds=0.01)
    with pytest.raises(WorkerStartError, match="it took too long"), Worker(Sandbox(), limits):
        pass


def test_without_a_sandbox_the_limits_still_hold():
    with Worker(Unsandboxed(), SHORT) as worker:
        assert run(worker, "data = b'1'", fetch="data").data == b"1"
        folder = Path(run(worker, "import os", fetch="os.getcwdb()").data.decode())
        assert folder.is_dir()
        assert run(worker, "while True: pass").status == "timeout"
    assert not folder.exists()


def test_an_ordinary_user_is_served_as_well():
    source = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from grading.worker import Limits, Worker
from grading.sandbox import Sandbox
limits = Limits(call_seconds=2, memory_bytes=300 << 20, processes=64)
cells = [
    "data = b'1'", "open('/usr/x', 'w')", "while True: pass", "import os; os.kill(os.getpid(), 9)",
    "x = bytearray(400 << 20); __import__('time').sleep(1)",
]
for cell in cells:
    with Worker(Sandbox(), limits) as worker:
        reply = worker.call("shell:run_cell", cell.encode())
    print(reply.status, reply.problem.partition(":")[0])
"""
    command = [sys.executable, "-c", source]
    command = as_ordinary_user(command) if os.geteuid() == 0 else command
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.stdout == (
        "ok \nerror OSError\ntimeout it ran longer than 2 s\ndied the process ended\n"
        "memory the processes held more than 300 MiB of memory\n"
    ), done.stderr
