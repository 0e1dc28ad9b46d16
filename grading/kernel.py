"""A watched IPython kernel in a sandbox: runs cells, bounds them, brings bytes back.

The process behind it is the student's, so every message is hostile data. A reply says that the
kernel answered, no more: what a submission is worth is decided by the bytes that it computed.

The two ZeroMQ connections are spoken by hand (ZMTP 3.0, https://rfc.zeromq.org/spec/23/). The
library bounds the size of a frame and how many messages wait, but not how many frames an unfinished
message has: a peer that writes raw bytes could fill the grader's memory.
"""

import base64
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jupyter_client.connect import write_connection_file
from jupyter_client.session import DELIM, Session

from grading.sandbox import PYTHON, Sandbox

Status = Literal["ok", "error", "died", "timeout", "memory", "output"]

SOCKET = "socket"
SHELL, IOPUB = 1, 2  # what ipykernel appends to that name
WATCH_SECONDS = 0.1
RETRY_SECONDS = 0.1
KILL_SECONDS = 10
# How long a kernel may take between its reply and its going idle, whichever comes first.
SETTLE_SECONDS = 1.0
MESSAGE_OVERHEAD = 1 << 20
MAX_FRAMES = 64
# Parsed JSON may take forty times its size, an object for each comma; base64 has no commas.
MAX_COMMAS = 1 << 20
MAX_HEADER = 1 << 14
MAX_ERROR_LENGTH = 100_000
TAIL_BYTES = 4096
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a kernel may use; seconds are those of a clock on the wall.

    Attributes:
        startup_seconds: until the kernel answers.
        cell_seconds: of one `Kernel.run`.
        total_seconds: of all of them.
        memory_bytes: resident, of the whole process tree.
        output_bytes: printed and displayed by one `Kernel.run`.
        fetch_bytes: that one `Kernel.run` brings back.
        scratch_bytes: in the scratch folder; also in any one file.
        processes: and threads, together. TensorFlow starts about 16 for each core.
    """

    startup_seconds: float = 60
    cell_seconds: float = 300
    total_seconds: float = 1200
    memory_bytes: int = 3 << 30
    output_bytes: int = 2 << 20
    fetch_bytes: int = 32 << 20
    scratch_bytes: int = 256 << 20
    processes: int = 256 + 16 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What came of one `Kernel.run`; all text is the student's, or may be.

    Attributes:
        status: `ok` and `error` are the kernel's word; after any other the kernel is dead.
        error_name: the exception's class.
        error_value: its message, or in words what went wrong.
        traceback: with IPython's colours; of a dead kernel, the last that its process said.
        output: what was printed, or displayed as text.
        payload: the bytes that were fetched, None if there are none.
    """

    status: Status
    error_name: str = ""
    error_value: str = ""
    traceback: str = ""
    output: str = ""
    payload: bytes | None = None


class KernelStartError(RuntimeError):
    """A kernel did not start; nothing of the student's had run in it."""


class Kernel:
    """An IPython kernel of this Python environment, started on entry, killed on exit.

    Enter it from a thread that lives on, because it dies with that thread. Entering raises
    `KernelStartError` with what the process said.
    """

    def __init__(self, sandbox: Sandbox, limits: Limits):
        self._sandbox = sandbox
        self._limits = limits
        self._session = Session(key=os.urandom(32).hex().encode())
        self._end: tuple[Status, str] | None = None
        self._ending = threading.Lock()
        self._ended = threading.Event()
        self._seconds_used = 0.0
        self._cpu_seconds = 0.0
        self._said = b""

    def __enter__(self) -> "Kernel":
        with contextlib.ExitStack() as cleanup:
            self._folder = Path(tempfile.mkdtemp(prefix="kernel-"))
            cleanup.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._process = cleanup.enter_context(self._launch())
            watcher = threading.Thread(target=self._watch, daemon=True)
            watcher.start()
            cleanup.callback(watcher.join)
            cleanup.callback(self._stop, "died", "the kernel was shut down")
            self._selector = cleanup.enter_context(selectors.DefaultSelector())
            try:
                self._connect(cleanup, time.monotonic() + self._limits.startup_seconds)
            except (OSError, EOFError, _TooLargeError) as error:
                self._stop("died", str(error))
                reason = f"the kernel did not start ({self._end[1]}): {self._last_words()}"
                raise KernelStartError(reason) from error
            self._sandbox.seal(self._folder)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def is_alive(self) -> bool:
        return self._end is None

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far, start-up included, of all processes.

        Those count that still run and those that were waited for, as of the last 0.1 s.
        """
        return self._cpu_seconds

    @property
    def seconds_used(self) -> float:
        """How much of `Limits.total_seconds` is gone."""
        return self._seconds_used

    def run(self, source: str, *, fetch: str | None = None) -> CellResult:
        """Runs a cell, and brings back the value of an expression.

        Args:
            source: the cell's.
            fetch: an expression that is evaluated after the cell, if that succeeded, and gives
                `bytes`. Take a fresh name each time: earlier code can leave a value under one that
                it can guess, and keep later cells from running.

        Returns:
            What came of it. Once a kernel is dead, every run says what it died of.
        """
        began = time.monotonic()
        remaining = self._limits.total_seconds - self._seconds_used
        cell = _Cell(self._limits)
        try:
            self._converse(cell, source, fetch, began + min(self._limits.cell_seconds, remaining))
        except TimeoutError:
            what, limit = "the cell", self._limits.cell_seconds
            if remaining < limit:
                what, limit = "all cells together", self._limits.total_seconds
            self._stop("timeout", f"{what} ran longer than {limit:g} s")
        except _TooLargeError as error:
            self._stop("output", str(error))
        except (OSError, EOFError):
            self._stop("died", self._how_it_ended())
        self._seconds_used += time.monotonic() - began
        with self._ending:  # the watcher may be killing it
            if self._end is None:
                return cell.result()
        status, reason = self._end
        last_words = self._last_words() if status == "died" else ""
        return CellResult(
            status=status, error_value=reason, traceback=last_words, output=cell.output
        )

    def _launch(self) -> subprocess.Popen[bytes]:
        file = self._folder / "connection.json"
        write_connection_file(
            str(file),
            *(SHELL, IOPUB, 3, 4, 5),
            ip=str(self._folder / SOCKET),
            transport="ipc",
            key=self._session.key,
        )
        file.chmod(0o644)
        # The scratch folder stays off the path, so that no file in it replaces a module.
        process = self._sandbox.start(
            [
                *(PYTHON, "-P", "-m", "ipykernel_launcher", "-f", str(file)),
                *("--InteractiveShellApp.ignore_cwd=True", "--HistoryManager.enabled=False"),
                # What libraries say goes to the process's pipe, where no crash swallows it.
                *("--IPKernelApp.capture_fd_output=False", "--log-level=CRITICAL"),
            ],
            self._folder,
            processes=self._limits.processes,
            scratch_bytes=self._limits.scratch_bytes,
        )
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def _connect(self, cleanup: contextlib.ExitStack, deadline: float) -> None:
        fetched = MESSAGE_OVERHEAD + self._limits.fetch_bytes * 4 // 3
        printed = MESSAGE_OVERHEAD + self._limits.output_bytes
        self._shell = cleanup.enter_context(contextlib.closing(_Connection(b"DEALER", fetched)))
        self._iopub = cleanup.enter_context(contextlib.closing(_Connection(b"SUB", printed)))
        for number, connection in ((SHELL, self._shell), (IOPUB, self._iopub)):
            while not connection.open(f"{self._folder / SOCKET}-{number}"):
                if time.monotonic() > deadline:
                    raise TimeoutError("it took too long")
                if self._end is not None:
                    raise EOFError(self._end[1])
                time.sleep(0.005)
            self._selector.register(connection, selectors.EVENT_READ)
        self._iopub.send([b"\x01"])  # subscribes to everything
        heard = set()
        while heard != {self._shell, self._iopub}:  # only what iopub says proves the subscription
            if time.monotonic() > deadline:
                raise TimeoutError("it took too long")
            request = self._send("kernel_info_request", {})
            with contextlib.suppress(TimeoutError):
                for message in self._messages(request, time.monotonic() + RETRY_SECONDS):
                    heard |= {message.connection} if message else set()
                    if len(heard) == 2:
                        break

    def _converse(self, cell: "_Cell", source: str, fetch: str | None, deadline: float) -> None:
        """Runs a cell until the kernel has replied and is idle again, or the second is late."""
        expression = f"__import__('base64').b64encode({fetch}).decode('ascii')"
        content = {
            "code": _text(source),
            "silent": False,
            "store_history": True,
            "user_expressions": {} if fetch is None else {"payload": expression},
            "allow_stdin": False,
            "stop_on_error": False,  # it would abort the next cell, too, if that comes at once
        }
        late = float("inf")
        for message in self._messages(self._send("execute_request", content), deadline):
            if message and message.connection is self._iopub:
                cell.publish(message)
            elif message and message.kind == "execute_reply" and cell.reply is None:
                cell.reply = message.content
            if cell.reply is not None and cell.is_idle:
                return
            if cell.reply is not None or cell.is_idle:
                late = min(late, time.monotonic() + SETTLE_SECONDS)
            if time.monotonic() > late:
                return

    def _send(self, kind: str, content: dict[str, Any]) -> str:
        message = self._session.msg(kind, content)
        self._shell.send(self._session.serialize(message))
        return message["msg_id"]

    def _messages(self, request: str, deadline: float) -> Iterator["_Message | None"]:
        """Yields what answers a request, and None now and then; raises TimeoutError at the end."""
        while time.monotonic() < deadline:
            for key, _ in self._selector.select(WATCH_SECONDS):
                for frames in key.fileobj.receive():
                    yield _read_message(key.fileobj, frames, request)
            yield None
        raise TimeoutError

    def _watch(self) -> None:
        limit = self._limits.memory_bytes
        while not self._ended.wait(WATCH_SECONDS):
            self._listen()
            pids, resident = self._sample()
            # Resident memory counts a page that processes share once for each of them.
            if resident > limit and sum(map(_proportional_bytes, pids)) > limit:
                self._stop("memory", f"the processes held more than {limit >> 20} MiB of memory")
            elif _is_gone(self._process.pid):
                self._stop("died", self._how_it_ended())

    def _sample(self) -> tuple[list[int], int]:
        pids = process_tree(self._process.pid)
        seconds, resident = zip(*map(_usage, pids), strict=True)
        self._cpu_seconds = max(self._cpu_seconds, sum(seconds))
        return pids, sum(resident)

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._said += os.read(self._process.stdout.fileno(), 1 << 20)
            self._said = self._said[-TAIL_BYTES:]

    def _last_words(self) -> str:
        self._listen()
        return self._said.decode(errors="replace").strip()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            return "the kernel closed its connections"
        number = (
            -code if code < 0 else code - 128
        )  # the sandbox passes signals on as the shell does
        how = signal.strsignal(number) if number in signal.valid_signals() else f"exit code {code}"
        return f"the kernel's process ended: {how}"

    def _stop(self, status: Status, reason: str) -> None:
        """Kills all processes, and returns when they are dead; the first reason counts."""
        with self._ending:
            if self._end is not None:
                return
            pids, _ = self._sample()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # The sandbox's first process is gone only when all of its processes are.
            deadline = time.monotonic() + KILL_SECONDS
            while not all(map(_is_gone, pids)) and time.monotonic() < deadline:
                time.sleep(0.001)
            self._end = status, reason
            self._ended.set()


class _TooLargeError(Exception):
    """The kernel says more than it may."""


class _Connection:
    """One ZeroMQ connection to a kernel's socket, without authentication."""

    GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    MORE, LONG, COMMAND = 1, 2, 4

    def __init__(self, kind: bytes, limit: int):
        self._kind = kind
        self._limit = limit
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(KILL_SECONDS)
        self._received = bytearray()
        self._skip = len(self.GREETING)
        self._is_ready = False
        self._frames: list[bytes] = []

    def open(self, path: str) -> bool:
        try:
            self._socket.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(self._kind)) + self._kind
        self._socket.sendall(self.GREETING + bytes([self.COMMAND, len(ready)]) + ready)
        while not self._is_ready:  # to send earlier is a breach of the protocol
            list(self.receive())
        return True

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, frames: list[bytes]) -> None:
        flags = [self.LONG | self.MORE] * (len(frames) - 1) + [self.LONG]
        for flag, frame in zip(flags, frames, strict=True):
            self._socket.sendall(struct.pack(">BQ", flag, len(frame)) + frame)

    def receive(self) -> Iterator[list[bytes]]:
        """Reads what has arrived, and yields the messages that it completes.

        Raises:
            EOFError: the kernel is gone.
            _TooLargeError: a message is larger than the limit.
        """
        arrived = self._socket.recv(1 << 18)
        if not arrived:
            raise EOFError
        self._received += arrived
        skipped = min(self._skip, len(self._received))
        del self._received[:skipped]
        self._skip -= skipped
        while (frame := self._next_frame()) is not None:
            flags, body = frame
            if flags & self.COMMAND:
                self._is_ready = True
                continue
            self._frames.append(body)
            if not flags & self.MORE:
                message, self._frames = self._frames, []
                yield message

    def _next_frame(self) -> tuple[int, bytes] | None:
        layout = ">BQ" if self._received and self._received[0] & self.LONG else ">BB"
        start = struct.calcsize(layout)
        if len(self._received) < start:
            return None
        flags, size = struct.unpack_from(layout, self._received)
        if sum(map(len, self._frames)) + size > self._limit or len(self._frames) > MAX_FRAMES:
            raise _TooLargeError(f"one message held more than {self._limit >> 20} MiB")
        if len(self._received) < start + size:
            return None
        body = bytes(self._received[start : start + size])
        del self._received[: start + size]
        return flags, body


class _Message(NamedTuple):
    connection: _Connection
    kind: str
    content: dict[str, Any]
    size: int


def _read_message(connection: _Connection, frames: list[bytes], request: str) -> _Message | None:
    """Returns the message if it can be read and answers the request."""
    try:
        header, parent, _, content = frames[frames.index(DELIM) + 2 :][:4]
        if len(header) > MAX_HEADER or len(parent) > MAX_HEADER:
            return None
        if request.encode() not in parent or json.loads(parent)["msg_id"] != request:
            return None
        if content.count(b",") > MAX_COMMAS:
            raise _TooLargeError("one message had more parts than any honest one")
        kind, content = json.loads(header)["msg_type"], json.loads(content.decode(errors="replace"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(kind, str) or not isinstance(content, dict):
        return None
    return _Message(connection, kind, content, sum(map(len, frames)))


class _Cell:
    """What has been heard of a cell that is running."""

    def __init__(self, limits: Limits):
        self.reply: dict[str, Any] | None = None
        self.is_idle = False
        self._limits = limits
        self._size = 0
        self._texts: list[str] = []

    @property
    def output(self) -> str:
        return "".join(self._texts)

    def publish(self, message: _Message) -> None:
        self._size += message.size
        if self._size > self._limits.output_bytes:
            raise _TooLargeError(f"the cell's output exceeded {self._limits.output_bytes} bytes")
        content = message.content
        if message.kind == "status":
            self.is_idle |= content.get("execution_state") == "idle"
        elif message.kind == "stream":
            self._texts.append(_text(content.get("text")))
        elif message.kind in ("execute_result", "display_data"):
            self._texts.append(_text(_at(content, "data", "text/plain")) + "\n")

    def result(self) -> CellResult:
        reply = self.reply
        if reply is None:  # some exceptions break the kernel's own error handling
            return CellResult(
                status="error", error_value="the kernel gave no reply", output=self.output
            )
        traceback = reply.get("traceback")
        lines = map(_text, traceback if isinstance(traceback, list) else [])
        wrong = reply if reply.get("status") != "ok" else _at(reply, "user_expressions", "payload")
        return CellResult(
            status="ok" if reply.get("status") == "ok" else "error",
            error_name=_text(_at(wrong, "ename"))[:MAX_ERROR_LENGTH],
            error_value=_text(_at(wrong, "evalue"))[:MAX_ERROR_LENGTH],
            traceback="\n".join(lines)[:MAX_ERROR_LENGTH],
            output=self.output,
            payload=self._payload(),
        )

    def _payload(self) -> bytes | None:
        shown = _at(self.reply, "user_expressions", "payload", "data", "text/plain")
        try:
            payload = base64.b64decode(_text(shown).strip("'"), validate=True)
        except ValueError:
            return None
        is_given = isinstance(shown, str) and len(payload) <= self._limits.fetch_bytes
        return payload if is_given else None


def _at(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    """Returns a text that every file can hold: JSON may carry halves of surrogate pairs."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def process_tree(root: int) -> list[int]:
    """Returns the ids of a process and of all below it."""
    pids = [root]
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
    return pids


def _stat(pid: int) -> list[str]:
    """Returns proc(5)'s fields from the third, the state; a program's name may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().decode("latin-1").rpartition(")")[2].split()
    except OSError:
        return []


def _is_gone(pid: int) -> bool:
    return _stat(pid)[:1] in ([], ["Z"], ["X"])


def _usage(pid: int) -> tuple[float, int]:
    """Returns a process's CPU seconds, its dead children's included, and its resident bytes."""
    fields = _stat(pid)
    if not fields:
        return 0.0, 0
    return sum(map(int, fields[11:15])) / TICKS_PER_SECOND, int(fields[21]) * PAGE_BYTES


def _proportional_bytes(pid: int) -> int:
    """Returns the resident bytes, shared ones divided among those who share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return _usage(pid)[1]
