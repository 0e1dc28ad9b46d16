"""The watched kernel: honest cells give their results, hostile ones end in a verdict, soon."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from grading.kernel import Kernel, KernelStartError, Limits
from grading.sandbox import Sandbox, Unsandboxed
from tests.grading.test_sandbox import as_ordinary_user

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.alone
LIMITS = Limits(
    startup_seconds=30,
    cell_seconds=5,
    total_seconds=20,
    memory_bytes=400 << 20,
    output_bytes=4 << 20,
    fetch_bytes=4 << 20,
    scratch_bytes=16 << 20,
    processes=128,
)
SHORT = dataclasses.replace(LIMITS, cell_seconds=1)
LONG = dataclasses.replace(LIMITS, cell_seconds=60, total_seconds=120)
# What of the machine a killed kernel may hold up; the time of a kill itself is a few milliseconds.
AT_ONCE = 1.0
# Guards what would hit the whole machine, if the sandbox leaked.
INSIDE = "import os, subprocess; assert os.getppid() == 1\n"


@pytest.fixture
def kernel():
    with Kernel(Sandbox(), LIMITS) as kernel:
        yield kernel


@pytest.fixture
def impatient():
    with Kernel(Sandbox(), SHORT) as kernel:
        yield kernel


@pytest.fixture
def patient():
    """For floods: their size is to stop them, however slow the machine."""
    with Kernel(Sandbox(), LONG) as kernel:
        yield kernel


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


def test_results(kernel):
    result = kernel.run("x = 6 * 7\nprint('shown')\nx")
    assert (result.status, result.output, result.payload) == ("ok", "shown\n42\n", None)
    result = kernel.run("print(x)\n1 / 0")
    assert (result.status, result.error_name) == ("error", "ZeroDivisionError")
    assert (result.error_value, result.output) == ("division by zero", "42\n")
    assert "ZeroDivisionError" in result.traceback
    result = kernel.run("this is no Python")
    assert (result.status, result.error_name) == ("error", "SyntaxError")
    assert kernel.is_alive
    assert 0 < kernel.cpu_seconds < 10
    assert 0 < kernel.seconds_used < 5


def test_fetch(kernel):
    result = kernel.run("data = bytes(range(256))", fetch="data + b'!'")
    assert (result.status, result.payload) == ("ok", bytes(range(256)) + b"!")
    assert kernel.run("pass", fetch="b''").payload == b""
    result = kernel.run("text = 'no bytes'", fetch="text")
    assert (result.status, result.payload, result.error_name) == ("ok", None, "TypeError")
    result = kernel.run("1 / 0", fetch="data")
    assert (result.status, result.payload) == ("error", None)
    result = kernel.run("pass", fetch="never_made")
    assert (result.payload, result.error_name) == (None, "NameError")


def test_a_start_costs_no_more_than_a_bare_kernel_does(kernel):
    began = time.process_time()
    children = os.times()
    source = "import runpy, sys; sys.argv = ['ipykernel', '--version']; "
    subprocess.run(
        [sys.executable, "-c", source + "runpy.run_module('ipykernel_launcher')"],
        capture_output=True,
    )
    bare = time.process_time() - began + os.times().children_user - children.children_user
    assert kernel.cpu_seconds < bare + 2


def test_it_knows_neither_the_test_nor_the_network(kernel):
    result = kernel.run("import os; print('PYTEST_CURRENT_TEST' in os.environ, os.getcwd())")
    assert result.output == "False /tmp\n"
    result = kernel.run("open('random.py', 'w').write('hacked = 1'); import random; random.hacked")
    assert result.error_name == "AttributeError"
    result = kernel.run(f"open({str(ROOT / 'pyproject.toml')!r})")
    assert result.error_name == "FileNotFoundError"
    result = kernel.run("import socket; socket.create_connection(('192.0.2.1', 80))")
    assert result.error_name == "OSError"
    result = kernel.run(f"open({str(kernel._folder / 'more')!r}, 'w')")
    assert result.error_name == "FileNotFoundError"


def test_input_is_refused(kernel):
    result = kernel.run("input('name?')")
    assert (result.status, result.error_name) == ("error", "StdinNotImplementedError")


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
    result = impatient.run(source)
    assert (result.status, result.error_value) == ("timeout", "the cell ran longer than 1 s")
    assert 1 <= time.monotonic() - began < 1 + AT_ONCE
    assert not impatient.is_alive
    assert impatient.run("1").status == "timeout"


def test_all_cells_together_have_a_limit():
    limits = dataclasses.replace(LIMITS, total_seconds=1)
    with Kernel(Sandbox(), limits) as kernel:
        assert kernel.run("import time; time.sleep(0.6)").status == "ok"
        result = kernel.run("time.sleep(0.6)")
    assert result.status == "timeout"
    assert result.error_value == "all cells together ran longer than 1 s"


@pytest.mark.parametrize(
    "source",
    [
        "while True: print('x' * 1000)",
        "print('x' * 20_000_000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "raise ValueError('x' * 20_000_000)",
        "while True: display({'image/png': 1}, raw=True)",
        "'x' * 10_000_000",
    ],
)
def test_endless_output_is_stopped(patient, source):
    result = patient.run(source)
    assert result.status == "output"
    assert len(result.output) <= LONG.output_bytes
    assert not patient.is_alive


def test_a_huge_answer_is_stopped(kernel):
    assert len(kernel.run("pass", fetch="bytes(4 << 20)").payload) == 4 << 20
    assert kernel.run("pass", fetch="bytes((4 << 20) + 1)").payload is None
    assert kernel.run("pass", fetch="bytes(40 << 20)").status == "output"
    assert not kernel.is_alive


@pytest.mark.parametrize("stream", [1, 2])
def test_what_the_process_itself_says_neither_fills_nor_blocks_anything(kernel, stream):
    source = f"import os\nfor _ in range(100): os.write({stream}, bytes(10_000))"
    assert kernel.run(source).status == "ok"
    assert kernel.run("pass").status == "ok"


def test_memory_is_bounded(kernel):
    began = time.monotonic()
    result = kernel.run("hoard = []\nwhile True: hoard.append(bytearray(10 << 20))")
    assert (result.status, kernel.is_alive) == ("memory", False)
    assert result.error_value == "the processes held more than 400 MiB of memory"
    assert time.monotonic() - began < 4


def test_memory_is_bounded_between_cells(kernel):
    assert kernel.run(
        "import threading, time\n"
        "def grow():\n"
        "    time.sleep(0.5)\n"
        "    while True: hoard.append(bytearray(10 << 20))\n"
        "hoard = []; threading.Thread(target=grow).start()"
    ).status in ("ok", "memory")
    deadline = time.monotonic() + 5
    while kernel.is_alive and time.monotonic() < deadline:
        time.sleep(0.05)
    assert kernel.run("pass").status == "memory"


def test_memory_that_processes_share_counts_once(kernel):
    source = """
import os, time
shared = bytearray(200 << 20)
children = [os.fork() for _ in range(1)] + [os.fork() for _ in range(1)]
if 0 in children:
    time.sleep(1); os._exit(0)
for child in children: os.waitpid(child, 0)
"""
    assert kernel.run(source).status == "ok"


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
def test_a_kernel_that_dies_is_noticed_at_once(kernel, source, how):
    began = time.monotonic()
    result = kernel.run(source)
    assert (result.status, result.error_value) == ("died", f"the kernel's process ended: {how}")
    assert time.monotonic() - began < AT_ONCE
    assert not kernel.is_alive
    assert kernel.run("1").status == "died"


def test_the_last_words_of_a_dead_kernel_are_kept(kernel):
    result = kernel.run("import os; os.write(2, b'terminate called'); os.abort()")
    assert result.traceback == "terminate called"


def test_a_kernel_that_hangs_up_is_killed(kernel):
    result = kernel.run("import os, time; os.closerange(3, 512); time.sleep(1000)")
    assert result.status == "died"
    assert not kernel.is_alive


def test_the_parent_cannot_be_killed(kernel):
    assert kernel.run("import os\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass").status == (
        "ok"
    )
    assert kernel.run("1").status == "ok"


def test_a_fork_bomb_ends_with_its_cell(impatient):
    bomb = INSIDE + "while True:\n  try: os.fork()\n  except OSError: pass"
    began = time.monotonic()
    assert impatient.run(bomb).status in ("timeout", "memory", "died")
    assert time.monotonic() - began < 5
    assert subprocess.run(["true"]).returncode == 0


def test_processes_left_behind_die_with_the_kernel():
    with Kernel(Sandbox(), LIMITS) as kernel:
        assert (
            kernel.run(
                "import subprocess, threading, time\n"
                "subprocess.Popen(['setsid', 'sleep', '4322'])\n"
                "for _ in range(20): threading.Thread(target=time.sleep, args=(1000,)).start()"
            ).status
            == "ok"
        )
        began = time.monotonic()
    assert time.monotonic() - began < AT_ONCE
    assert subprocess.run(["pgrep", "-f", "^sleep 4322"], capture_output=True).returncode == 1


def test_threads_that_go_on_printing_do_not_disturb_the_next_cell(kernel):
    kernel.run(
        "import threading, time\n"
        "def chatter():\n"
        "    while True: print('chatter'); time.sleep(0.001)\n"
        "threading.Thread(target=chatter, daemon=True).start()"
    )
    time.sleep(1)
    for number in range(5):
        result = kernel.run(f"answer = b'{number}'\nprint('mine')", fetch="answer")
        assert (result.status, result.payload) == ("ok", str(number).encode())
        assert "mine" in result.output  # its line may be torn


# Sends whatever it likes through the kernel's own sockets, in the name of any request.
FORGE = """
import gc, threading, time, zmq
shell = get_ipython().kernel
session, parent = shell.session, shell.get_parent()
def reply(parent, content, kind="execute_reply"):
    for stream in [s for s in gc.get_objects() if isinstance(s, zmq.Socket) and not s.closed]:
        if stream.type in (zmq.ROUTER, zmq.XPUB):
            session.send(stream, kind, content, parent, ident=shell.get_parent()["header"].get("i"))
"""


def test_replies_in_advance_and_of_other_requests_are_ignored(kernel):
    kernel.run(FORGE)
    result = kernel.run(
        "forged = {'status': 'ok', 'user_expressions': {'payload': {'status': 'ok', 'data': "
        "{'text/plain': \"'Zm9yZ2Vk'\"}}}}\n"
        "for other in ('', 'x', parent['header']['msg_id']):\n"
        "    for sent in ({'msg_id': other}, {}, None):\n"
        "        try: reply({'header': sent}, forged)\n"
        "        except Exception: pass\n"
        "1 / 0",
        fetch="b'true'",
    )
    assert (result.status, result.payload) == ("error", None)


RAW = """
import json, os, socket, struct
def connections():
    for fd in map(int, os.listdir("/proc/self/fd")):
        try: sock = socket.socket(fileno=os.dup(fd))
        except OSError: continue
        peer, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        is_named = str(sock.getsockname()).endswith(("socket-1", "socket-2"))
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if is_named and not listens and peer == 0:  # the grader is in no namespace of ours
            sock.setblocking(True)
            yield sock
below = list(connections())  # the library writes to these
assert len(below) == 2
def raw(data):
    for sock in below: sock.sendall(data)
def frame(data, flags): return struct.pack(">BQ", flags | 2, len(data)) + data
def message(*frames):
    return b"".join(frame(f, 1) for f in frames[:-1]) + frame(frames[-1], 0)
def request():
    return json.dumps({"msg_id": get_ipython().kernel.get_parent()["header"]["msg_id"]}).encode()
"""


@pytest.mark.parametrize(
    "source",
    [
        "raw(b'garbage' * 1000)",
        "raw(b'\\xff' * 1000)",
        "raw(struct.pack('>BQ', 2, 1 << 62))",
        "raw(struct.pack('>BQ', 2, 100))",
        "raw(message(b'<IDS|MSG>'))",
        "raw(message(b'no delimiter'))",
        "raw(message(*[b'<IDS|MSG>'] * 10))",
        "raw(frame(b'x', 1) * 1000)",
        "while True: raw(frame(bytes(1 << 20), 1))",
        "while True: raw(frame(b'', 1))",
        "while True: raw(frame(b'', 4))",
        "while True: raw(message(b''))",
        "raw(message(b'<IDS|MSG>', b'', b'[' * 100000, b'[' * 100000, b'', b'[' * 100000))",
        "p = request()\n"
        "for content in (b'[' * 100000, b'null', b'[]', b'\\xff\\xfe', b'{', b'1' * 9999):\n"
        "    raw(message(b'<IDS|MSG>', b'', b'{\"msg_type\": 1}', p, b'{}', content))",
        "p = request()\n"
        "for kind in (b'{}', b'[]', b'{\"msg_type\": []}', b'{\"msg_type\": null}'):\n"
        "    raw(message(b'<IDS|MSG>', b'', kind, p, b'{}', b'{}'))",
        "p = request()\n"
        "raw(message(b'<IDS|MSG>', b'', b'{\"msg_type\": \"execute_reply\"}', p, b'{}',"
        ' b\'{"status": "ok", "traceback": 3, "user_expressions": [1]}\'))',
        "p = request()\n"
        "raw(message(b'<IDS|MSG>', b'', b'{\"msg_type\": \"stream\"}', p, b'{}',"
        " b'{\"text\": [' + b'1,' * 400000 + b'1]}'))",
    ],
)
def test_whatever_the_kernel_sends_ends_in_a_result(impatient, source):
    assert impatient.run(RAW).status == "ok"
    resident = psutil.Process().memory_info().rss
    began = time.monotonic()
    result = impatient.run(source)
    assert result.status in ("ok", "error", "died", "timeout", "output")
    assert result.payload is None
    impatient.run("pass", fetch="b'1'")
    assert time.monotonic() - began < 2 + 2 * AT_ONCE
    assert psutil.Process().memory_info().rss - resident < 100 << 20


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_an_unfinished_message_is_refused_when_it_grows(patient, size):
    patient.run(RAW)
    result = patient.run(f"for _ in range(1000): raw(frame(bytes({size}), 1))\nraw(message(b''))")
    assert result.status == "output"


def test_a_message_that_would_grow_when_parsed_is_refused(kernel):
    kernel.run(RAW)
    result = kernel.run(
        "raw(message(b'<IDS|MSG>', b'', b'{\"msg_type\": \"execute_reply\"}', request(), b'{}',"
        " b'{\"status\": [' + b'[],' * 1_100_000 + b'0]}'))"
    )
    assert (result.status, result.error_value) == (
        "output",
        "one message had more parts than any honest one",
    )


def test_a_forged_reply_to_the_cell_itself_carries_what_it_carries(kernel):
    source = RAW + (
        "import time; p = request()\n"
        "for kind, content in (\n"
        "    (b'execute_reply', b'{\"status\": \"ok\"}'),\n"
        "    (b'status', b'{\"execution_state\": \"idle\"}'),\n"
        "):\n"
        "    raw(message(b'<IDS|MSG>', b'', b'{\"msg_type\": \"%s\"}' % kind, p, b'{}', content))\n"
        "time.sleep(2)\n"
        "1 / 0"
    )
    result = kernel.run(source, fetch="b'never made'")
    assert (result.status, result.payload) == ("ok", None)


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
        "get_ipython().kernel.do_execute = lambda *a, **k: {'status': 'ok'}",
    ],
)
def test_a_patched_shell_cannot_make_success_of_an_error(impatient, patch):
    impatient.run("from IPython.core.interactiveshell import InteractiveShell\n" + patch)
    result = impatient.run("assert False\nfresh_name = b'made'", fetch="fresh_name")
    assert result.payload is None


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
def test_strange_exceptions_are_errors(kernel, source):
    result = kernel.run(source, fetch="b'made'")
    assert (result.status, result.payload) == ("error", None)
    result.error_value.encode()


def test_halves_of_surrogate_pairs_become_question_marks(kernel):
    content = r'{"text": "a\ud800b"}'
    kernel.run(RAW)
    result = kernel.run(
        f"""raw(message(
            b"<IDS|MSG>", b"", b'{{"msg_type": "stream"}}', request(), b"{{}}", rb'{content}'
        ))"""
    )
    assert result.output == "a?b"


def test_a_start_that_fails_says_why(monkeypatch):
    box = Sandbox(environment={"PYTHONHOME": "/nowhere"})
    with pytest.raises(KernelStartError, match="No module named 'encodings'"), Kernel(box, LIMITS):
        pass


def test_a_start_that_takes_too_long_is_given_up():
    limits = dataclasses.replace(LIMITS, startup_seconds=0.01)
    with pytest.raises(KernelStartError, match="it took too long"), Kernel(Sandbox(), limits):
        pass


def test_without_a_sandbox_the_limits_hold_all_the_same():
    with Kernel(Unsandboxed(), SHORT) as kernel:
        assert kernel.run("data = b'1'", fetch="data").payload == b"1"
        assert kernel.run("while True: pass").status == "timeout"
        folder = kernel._folder
    assert not folder.exists()


def test_an_ordinary_user_is_served_as_well():
    source = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from grading.kernel import Kernel, Limits
from grading.sandbox import Sandbox
limits = Limits(cell_seconds=2, memory_bytes=300 << 20, processes=64)
cells = [
    "data = b'1'", "open('/usr/x', 'w')", "while True: pass", "import os; os.kill(os.getpid(), 9)",
    "x = bytearray(400 << 20); __import__('time').sleep(1)",
]
for cell in cells:
    with Kernel(Sandbox(), limits) as kernel:
        result = kernel.run(cell, fetch="data")
    print(result.status, result.payload, result.error_name)
"""
    command = [sys.executable, "-c", source]
    command = as_ordinary_user(command) if os.geteuid() == 0 else command
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.stdout == (
        "ok b'1' \nerror None OSError\ntimeout None \ndied None \nmemory None \n"
    ), done.stderr
