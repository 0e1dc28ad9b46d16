"""Runs the cells of a whole notebook in the shell, as *Run All* would, but offline and in bounds.

A cell that takes too long is interrupted; names that it has made until then stay. What cannot work
without a network is answered as a notebook needs it: commands that install or download do nothing,
and a package that is not there is replaced by a stand-in that accepts anything. Both are noted.
"""

import ast
import contextlib
import importlib.abc
import importlib.machinery
import linecache
import re
import signal
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from cells import describe_failure
from IPython.core.interactiveshell import InteractiveShell

# What needs a network, or another machine than this.
COMMANDS = re.compile(
    r"\b(pip3?|conda|mamba|apt(-get)?|wget|curl|git|gdown|kaggle|nvidia-smi|xvfb|xvfb-run)\b|setup"
)
AGAIN_SECONDS = 1.0
MAGICS = ("pip", "conda", "mamba", "tensorboard", "load_ext", "matplotlib", "env", "set_env")

_notes: list[str] = []  # of the cell that runs
_bound: dict[str, Any] = {}  # the latest function, class or module of each name


def prepare(data: bytes) -> None:
    """Prepares the shell for a notebook."""
    shell = InteractiveShell.instance()
    shell.system = _answering(shell.system, None)
    shell.system_piped = shell.system_raw = _answering(shell.system_raw, None)
    shell.getoutput = _answering(shell.getoutput, [])
    shell.run_line_magic = _forgiving(shell.run_line_magic)
    shell.run_cell_magic = _forgiving(shell.run_cell_magic)
    shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None
    sys.meta_path.append(_StandInFinder())
    sys.path.append(".")  # modules that the notebook writes, after all others


def run_cell(data: bytes, cpu_seconds: float, seconds: float) -> bytes:
    """Runs a cell.

    Args:
        data: its source.
        cpu_seconds: the CPU time after which it is interrupted.
        seconds: the wall time after which it is interrupted.

    Returns:
        Lines on what is worth knowing: that it failed or was interrupted, and what it asked for
        that is not there.
    """
    shell = InteractiveShell.instance()
    _notes.clear()
    with _interrupting(cpu_seconds, seconds):
        result = shell.run_cell(data.decode(), store_history=True)
    error = result.error_before_exec or result.error_in_exec
    if error is not None and not isinstance(error, KeyboardInterrupt):
        _notes.append(f"failed: {describe_failure(error)}")
    for name, value in list(shell.user_ns.items()):
        if callable(value) or isinstance(value, types.ModuleType):
            _bound[name] = value
    return "\n".join(" ".join(note.split()) for note in dict.fromkeys(_notes)).encode()


def namespace() -> dict[str, Any]:
    """Returns the names of the notebook.

    Functions, classes and modules that a later cell deleted, or overwrote with data, are put back:
    what was defined before may call them.
    """
    names = InteractiveShell.instance().user_ns
    for name, value in _bound.items():
        now = names.get(name)
        if not (callable(now) or isinstance(now, types.ModuleType)):
            names[name] = value
    return names


@contextlib.contextmanager
def _interrupting(cpu_seconds: float, seconds: float) -> Iterator[None]:
    """Raises KeyboardInterrupt in the main thread when time is up, and again while it goes on.

    An import is waited for: half a module is of no use to any later cell.
    """
    timers = {
        signal.ITIMER_PROF: (signal.SIGPROF, cpu_seconds),
        signal.ITIMER_REAL: (signal.SIGALRM, seconds),
    }
    try:
        for timer, (number, limit) in timers.items():
            signal.signal(number, _interrupt)
            signal.setitimer(timer, limit, AGAIN_SECONDS)
        yield
    except KeyboardInterrupt:  # between two statements of the shell's own
        pass
    finally:
        for timer, (number, _) in timers.items():
            signal.signal(number, signal.SIG_IGN)
            signal.setitimer(timer, 0)


def _interrupt(number: int, frame: Any) -> None:
    while frame:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return
        frame = frame.f_back
    _notes.append("interrupted: it took too long")
    raise KeyboardInterrupt


def _answering(run: Callable[[str], Any], answer: Any) -> Callable[[str], Any]:
    """Returns what runs a command, unless it needs a network."""

    def answering(command: str, *arguments: Any, **keywords: Any) -> Any:
        if COMMANDS.search(command):
            _notes.append(f"not run: !{command.strip()[:60]}")
            InteractiveShell.instance().user_ns["_exit_code"] = 0
            return answer
        return run(command, *arguments, **keywords)

    return answering


def _forgiving(run: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what runs a magic; one that does not exist here does nothing."""

    def forgiving(name: str, line: str, *arguments: Any, **keywords: Any) -> Any:
        is_answered = name in MAGICS or (name in ("sx", "system") and COMMANDS.search(line))
        if not is_answered and InteractiveShell.instance().find_magic(
            name, "cell" if arguments else "line"
        ):
            # The magic looks at the frame that called it, two levels up.
            keywords.setdefault("_stack_depth", 2) if not arguments else None
            return run(name, line, *arguments, **keywords)
        if name not in ("matplotlib", "load_ext", "env", "set_env"):
            _notes.append(f"not run: %{name} {line.strip()[:60]}".rstrip())
        return None

    return forgiving


class _StandIn(types.ModuleType):
    """A package that is not there: whatever one asks of it gives another stand-in."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(f"{self.__name__}.{name}")

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return _StandIn(self.__name__)

    def __enter__(self) -> "_StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        return None


class _StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds packages that nothing else has found, if a cell itself imports them."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        package, _, rest = name.partition(".")
        is_missing = isinstance(sys.modules.get(package), _StandIn) or not rest
        if (is_missing or name.startswith("google.colab")) and _is_needed_by_a_cell():
            if not rest or name == "google.colab":
                _notes.append(f"not installed here: {name}")
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        return None


def _is_needed_by_a_cell() -> bool:
    """Says whether a cell runs the current import, and is not prepared for its failure."""
    names, frame = InteractiveShell.instance().user_ns, sys._getframe(1)
    while frame and (
        frame.f_globals is globals() or "importlib" in frame.f_globals.get("__name__", "")
    ):
        frame = frame.f_back
    if frame is None or frame.f_globals is not names:
        return False
    try:
        tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
    except (SyntaxError, ValueError):
        return True
    return not any(
        isinstance(node, ast.Try) and node.lineno <= frame.f_lineno <= node.body[-1].end_lineno
        for node in ast.walk(tree)
    )
