"""A watched Python process in a sandbox: calls functions there, limits them, and returns bytes.

Once the process has run a student's code, that code controls it, and every byte from it may be
hostile. A reply proves only that the process replied; what earns points are the numbers in it.
`inside/serve.py` is the other end of the pipes.
"""

import contextlib
import json
import math
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from grading.control_group import ControlGroup
from grading.inside.serve import MAX_WORDS, REPLY, REQUEST
from grading.sandbox import PYTHON, Sandbox

Status = Literal["ok", "error", "died", "timeout", "memory", "output"]

INSIDE = Path(__file__).parent / "inside"
WATCH_SECONDS = 0.1
SETTLE_SECONDS = 1.0  # how long the end of a process may take to become known
KILL_SECONDS = 10
CHUNK = 1 << 18
# What nothing counts to a process shows only in what is left.
RESERVE_BYTES = 256 << 20
SPARE_BYTES = 256 << 20  # by which a control group may hold more than its processes show
SOCKET_BYTES = 2 * 212_992  # that the buffers of a socket may hold, by Linux's defaults
TOO_MUCH_MEMORY = "the processes held more than {} MiB of memory"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a worker may use; seconds are wall time.

    Attributes:
        startup_seconds: time until the worker is ready.
        call_seconds: time of one `Worker.call`.
        total_seconds: time of all calls together.
        memory_bytes: memory of the whole process tree, resident pages and page tables.
        output_bytes: output kept of one call; what is printed beyond it is lost.
        flood_bytes: output that one call may print.
        reply_bytes: size of one reply.
        scratch_bytes: size of the scratch folder, and of any one file.
        scratch_files: files and folders in it; each takes about 1 KiB that no size counts.
        processes: processes and threads together. TensorFlow starts about 16 for each core.
    """

    startup_seconds: float = 60
    call_seconds: float = 300
    total_seconds: float = 1200
    memory_bytes: int = 3 << 30
    output_bytes: int = 2 << 20
    flood_bytes: int = 256 << 20
    reply_bytes: int = 32 << 20
    scratch_bytes: int = 256 << 20
    scratch_files: int = 50_000
    processes: int = 256 + 16 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The result of one `Worker.call`; a student's code may have chosen all of its text.

    Attributes:
        status: `ok` and `error` were sent by the process; after any other status it is dead.
        data: the bytes that the function returned; empty unless `ok`.
        problem: what went wrong.
        output: what was printed during the call.
    """

    status: Status
    data: bytes = b""
    problem: str = ""
    output: str = ""


class WorkerStartError(RuntimeError):
    """A worker did not start; no student code had run in it."""


class MachineError(RuntimeError):
    """The machine has run out of memory, whoever took it; the worker was stopped to save it."""


class Held(NamedTuple):
    """What a process holds of the machine's memory, in bytes."""

    resident: int = 0
    page_tables: int = 0


class _TooLargeError(Exception):
    """The process sent more than it may."""


class Worker:
    """A process of this Python environment, started on entry and killed on exit.

    Enter it from a thread that stays alive, because the process dies with that thread. If it does
    not start, entering raises `WorkerStartError` with its output.

    Args:
        sandbox: what it may see.
        limits: what it may use.
        modules: folders of modules that it can import, besides those of `inside/`.
    """

    def __init__(self, sandbox: Sandbox, limits: Limits, modules: Sequence[Path] = ()):
        self._modules = [*modules, INSIDE]
        self._sandbox = replace(sandbox, read_only=[*sandbox.read_only, *self._modules])
        self._limits = limits
        self._end: tuple[Status, str] | None = None
        self._is_machine_full = False
        self._end_lock, self._ended = threading.Lock(), threading.Event()
        self._output_lock, self._output, self._n_printed = threading.Lock(), bytearray(), 0
        self._n_calls = 0
        self._seconds_used = self._cpu_seconds = 0.0

    def __enter__(self) -> "Worker":
        with contextlib.ExitStack() as cleanup:
            self._launch(cleanup)
            watcher = threading.Thread(target=self._watch, daemon=True)
            watcher.start()
            cleanup.callback(watcher.join)
            cleanup.callback(self._stop, "died", "the worker was shut down")
            reply = self._ask([], self._limits.startup_seconds, "it took too long")
            if reply.status != "ok":
                reason = f"the worker did not start ({reply.problem}): {reply.output.strip()}"
                raise WorkerStartError(reason)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the process; calling it again does nothing."""
        self._cleanup.close()

    @property
    def is_alive(self) -> bool:
        return self._end is None

    @property
    def cpu_seconds(self) -> float:
        """User and system time of all processes so far, including the start.

        It covers processes that still run or were waited for, and is at most about 0.1 s old.
        """
        return self._cpu_seconds

    def call(
        self, function: str, data: bytes = b"", within: float = math.inf, **keywords: Any
    ) -> Reply:
        """Calls a function in the process.

        Args:
            function: `module:function`; it takes the bytes and the keywords, and returns bytes or
                nothing.
            data: the bytes.
            within: the time of this call, if it has less than `Limits.call_seconds`.
            keywords: further arguments, as far as JSON can represent them.

        Returns:
            The reply. Once a worker is dead, every call returns the reason.

        Raises:
            MachineError: the machine, not the process, has too little memory left.
        """
        self._n_calls += 1
        call = json.dumps({"function": function, "keywords": keywords}).encode()
        request = [REQUEST.pack(self._n_calls, len(call), len(data)) + call, data]
        seconds = min(self._limits.call_seconds, within)
        remaining = self._limits.total_seconds - self._seconds_used
        if remaining < seconds:
            overdue = f"it ran longer than {self._limits.total_seconds:g} s in all"
        else:
            overdue = f"it ran longer than {seconds:g} s"
        began = time.monotonic()
        reply = self._ask(request, min(seconds, remaining), overdue)
        self._seconds_used += time.monotonic() - began
        if self._is_machine_full:
            raise MachineError(reply.problem)
        return reply

    def _launch(self, cleanup: contextlib.ExitStack) -> None:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        theirs = requests, replies
        for descriptor in (self._requests, self._replies):
            cleanup.callback(os.close, descriptor)
            os.set_blocking(descriptor, False)
        try:
            # The scratch folder stays off the path, so that no file in it replaces a module.
            start = [PYTHON, "-P", str(INSIDE / "serve.py"), *map(str, theirs)]
            limits = self._limits
            # What is watched comes first, and has words for each kind of excess.
            group = ControlGroup(
                limits.memory_bytes + limits.scratch_bytes + SPARE_BYTES, limits.processes
            )
            self._group = cleanup.enter_context(group)
            process = self._sandbox.start(
                [*start, *map(str, self._modules)],
                launcher=group.launcher,
                processes=limits.processes,
                scratch_bytes=limits.scratch_bytes,
                pass_fds=theirs,
            )
            self._process = cleanup.enter_context(process)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._root = psutil.Process(self._process.pid)
        os.set_blocking(self._process.stdout.fileno(), False)

    def _ask(self, request: Sequence[bytes], seconds: float, overdue: str) -> Reply:
        """Sends a request and waits for its reply; `overdue` is the problem if that is late."""
        deadline = time.monotonic() + seconds
        self._read_output()  # what was printed since the last reply
        self._output.clear()
        self._n_printed = 0
        success, problem, data = False, "", b""
        try:
            success, problem, data = self._exchange(request, deadline)
        except TimeoutError:
            self._stop("timeout", overdue)
        except _TooLargeError as error:
            self._stop("output", str(error))
        except (OSError, EOFError):
            self._stop(*self._describe_end())
        self._read_output()
        output = self._output.decode(errors="replace")
        with self._end_lock:  # the watcher may be killing it
            if self._end is None:
                status = "ok" if success else "error"
                return Reply(status=status, data=data, problem=problem, output=output)
        status, reason = self._end
        return Reply(status=status, problem=reason, output=output)

    def _exchange(self, request: Sequence[bytes], deadline: float) -> tuple[bool, str, bytes]:
        """Writes a request and reads the reply with its number."""
        unsent, received = [memoryview(part) for part in request if part], bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if unsent:
                selector.register(self._requests, selectors.EVENT_WRITE)
            while (remaining := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(min(WATCH_SECONDS, remaining)):
                    if key.fd == self._requests:
                        unsent[0] = unsent[0][os.write(self._requests, unsent[0][:CHUNK]) :]
                        unsent = [part for part in unsent if part]
                        if not unsent:
                            selector.unregister(self._requests)
                    elif key.fd == self._replies:
                        arrived = os.read(self._replies, CHUNK)
                        if not arrived:
                            raise EOFError
                        received += arrived
                    elif not self._read_output():
                        selector.unregister(self._process.stdout)
                while (reply := self._take_reply(received)) is not None:
                    number, *rest = reply
                    if number == self._n_calls and not unsent:
                        return tuple(rest)
                if self._end is not None:
                    raise EOFError
        raise TimeoutError

    def _take_reply(self, received: bytearray) -> tuple[int, bool, str, bytes] | None:
        """Removes and returns the first complete reply of what was received, if there is one."""
        if len(received) < REPLY.size:
            return None
        number, success, n_words, n_bytes = REPLY.unpack_from(received)
        if n_words > MAX_WORDS or n_bytes > self._limits.reply_bytes:
            limit = self._limits.reply_bytes >> 20
            raise _TooLargeError(f"it sent back more than {limit} MiB")
        start, end = REPLY.size + n_words, REPLY.size + n_words + n_bytes
        if len(received) < end:
            return None
        words, data = bytes(received[REPLY.size : start]), bytes(received[start:end])
        del received[:end]
        return number, success, words.decode(errors="replace"), data

    def _read_output(self) -> bool:
        """Reads what was printed and says whether more may come; a flood stops the process."""
        kept, limit = self._limits.output_bytes, self._limits.flood_bytes
        with self._output_lock:
            try:
                while self._n_printed <= limit:
                    printed = os.read(self._process.stdout.fileno(), CHUNK)
                    if not printed:
                        return False
                    self._n_printed += len(printed)
                    self._output += printed[: kept - len(self._output)]
            except BlockingIOError:
                return True
        self._stop("output", f"its output exceeded {limit} bytes")
        return False

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            try:
                self._look()
            except Exception as error:  # nothing that a process does may blind the watcher
                self._stop("died", f"it could not be watched ({type(error).__name__})")

    def _look(self) -> None:
        self._read_output()
        processes = self._processes()
        available = psutil.virtual_memory().available
        if reason := self._excess(processes):
            self._stop("memory", reason)
        elif available < RESERVE_BYTES:
            self._is_machine_full = True
            self._stop("memory", f"this machine has only {available >> 20} MiB of memory left")
        elif self._process.poll() is not None:
            self._stop(*self._describe_end())

    def _excess(self, processes: Sequence[psutil.Process]) -> str:
        """Says what there is too much of, "" if nothing."""
        limit, held = self._limits.memory_bytes, [_held(process) for process in processes]
        n_sockets = max(self._sandbox.count_sockets(process.pid) for process in processes)
        limit -= sum(each.page_tables for each in held) + n_sockets * SOCKET_BYTES
        # Resident memory counts a shared page once for each process that shares it.
        resident = sum(each.resident for each in held)
        if resident > limit < sum(map(_proportional, processes, held)):
            return TOO_MUCH_MEMORY.format(self._limits.memory_bytes >> 20)
        files = max(self._sandbox.count_files(process.pid) for process in processes)
        if files > self._limits.scratch_files:
            return f"it made more than {self._limits.scratch_files:,} files"
        return ""

    def _processes(self) -> list[psutil.Process]:
        """Returns the sandbox's process and its descendants, and updates their CPU time."""
        processes = [self._root]
        with contextlib.suppress(psutil.Error):
            processes += self._root.children(recursive=True)
        self._cpu_seconds = max(self._cpu_seconds, sum(map(_cpu_seconds, processes)))
        return processes

    def _describe_end(self) -> tuple[Status, str]:
        try:
            code = self._process.wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            return "died", "the process closed its pipes"
        if self._group.has_overflowed:
            return "memory", TOO_MUCH_MEMORY.format(self._limits.memory_bytes >> 20)
        # Like a shell, the sandbox reports signal n as 128 + n.
        number = -code if code < 0 else code - 128
        how = signal.strsignal(number) if number in signal.valid_signals() else f"exit code {code}"
        return "died", f"the process ended: {how}"

    def _stop(self, status: Status, reason: str) -> None:
        """Kills all processes and waits until they are dead; only the first reason counts."""
        with self._end_lock:
            if self._end is not None:
                return
            self._end = status, reason
            processes = self._processes()
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            # The sandbox's first process ends only after all of its others.
            deadline = time.monotonic() + KILL_SECONDS
            while not all(map(_is_gone, processes)) and time.monotonic() < deadline:
                time.sleep(0.001)
            self._ended.set()


def _is_gone(process: psutil.Process) -> bool:
    return _unless_gone(process.status, psutil.STATUS_DEAD) in (
        psutil.STATUS_ZOMBIE,
        psutil.STATUS_DEAD,
    )


def _cpu_seconds(process: psutil.Process) -> float:
    return sum(
        _unless_gone(process.cpu_times, (0.0,))[:4]
    )  # includes children that were waited for


def _held(process: psutil.Process) -> Held:
    """Returns what a process holds; names in there are its own, and may be any bytes."""
    status = _status(process.pid)
    if b"\nState:\tZ" in status:  # its main thread has ended, perhaps before the others
        with contextlib.suppress(OSError):
            tasks = Path(f"/proc/{process.pid}/task").iterdir()
            threads = [_status(task.name) for task in tasks]
            status = max(threads, key=lambda other: _kilobytes(b"VmRSS", other), default=status)
    return Held(*(_kilobytes(name, status) << 10 for name in (b"VmRSS", b"VmPTE")))


def _status(number: int | str) -> bytes:
    """Returns what Linux says of a process or a thread, nothing if it has just ended."""
    try:
        return Path(f"/proc/{number}/status").read_bytes()
    except OSError:
        return b""


def _kilobytes(name: bytes, status: bytes) -> int:
    found = re.search(rb"^%s:\s*(\d+) kB$" % name, status, re.MULTILINE)
    return int(found[1]) if found else 0


def _proportional(process: psutil.Process, held: Held) -> int:
    """Returns the resident bytes; shared ones are divided among the processes."""
    return _unless_gone(lambda: process.memory_full_info().pss, 0) or held.resident


def _unless_gone(question: Callable[[], Any], otherwise: Any) -> Any:
    """Asks about a process that may be gone by now."""
    try:
        return question()
    except psutil.Error:
        return otherwise
