"""Runs that take minutes or hours: each is kept as it ends, and none is made twice.

They stand in a JSON-lines file, one finished run a line. The file is replaced as a whole whenever a
run ends: whatever happens meanwhile, it holds complete lines only.
"""

import argparse
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.learning import Run, draw_curves
from benchmarks.measuring import Spread, in_fresh_process


def command_line(name: str, doc: str, minutes: float, **options: Any) -> argparse.ArgumentParser:
    """Returns a parser with the options of every benchmark whose runs are kept.

    Args:
        name: of the benchmark and of what it stores.
        doc: the benchmark's docstring.
        minutes: of a run, by default.
        options: of `report.command_line`.
    """
    parser = report.command_line(name, doc, **options)
    add, a_time = parser.add_argument, report.at_least(0, float)
    add("--minutes", type=a_time, default=minutes, help=f"of a run (default: {minutes})")
    add("--file", type=Path, help="where runs are kept")
    add("--report", action="store_true", help="report what is in the file, and run nothing")
    return parser


class RunLog:
    """The finished runs in a file.

    Args:
        path: The file; it need not exist yet.
        identity: Names of the entries that make one run differ from another.

    Attributes:
        runs: What the file holds, in order of finishing.

    Raises:
        ValueError: If a line of the file is no run.
    """

    def __init__(self, path: Path, identity: Sequence[str]):
        self._path = path
        self._identity = identity
        self.runs = self._read_all()

    def run_once(self, title: str, learn: Callable[..., Run], identity: Run, **how: Any) -> None:
        """Runs in a process of its own what is not in the file yet, and writes it down.

        Args:
            title: of the run.
            learn: called with the title, the identity and `how`; returns what became of the run.
            identity: makes it differ from other runs.
            how: what else `learn` must know.
        """
        if self._key(identity) in map(self._key, self.runs):
            print(f"{title}: the run is known already")
            return
        began = report.describe_run()
        result = in_fresh_process(functools.partial(learn, title, **identity, **how))
        self.append({**identity, **began, **result})

    def append(self, run: Run) -> None:
        """Writes a finished run down, behind those that others have written meanwhile."""
        runs = [*self._read_all(), run]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(run) + "\n" for run in runs)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)
        self.runs = runs

    def _read_all(self) -> list[Run]:
        runs, path = [], self._path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                runs.append(json.loads(line))
                self._key(runs[-1])
            except (ValueError, TypeError, KeyError):
                raise ValueError(
                    f"{path}, line {number}, is no finished run of this benchmark: it must be a "
                    f"JSON object with {', '.join(self._identity)}, got {line[:60]!r}"
                ) from None
        return runs

    def _key(self, run: Mapping[str, Any]) -> str:
        return json.dumps([run[name] for name in self._identity], sort_keys=True)


def open_log(arguments: argparse.Namespace, identity: Sequence[str]) -> RunLog:
    """Returns the runs in the file that the command line names, or in the benchmark's own."""
    path = arguments.file or report.RESULTS / f"{report.result_name(arguments)}.jsonl"
    try:
        log = RunLog(path, identity)
    except ValueError as error:
        report.refuse(error)
    if arguments.report and not log.runs:
        report.refuse(f"there are no runs in {path}")
    return log


def publish_runs(
    arguments: argparse.Namespace,
    groups: Mapping[str, Sequence[Run]],
    sections: Sequence[str],
    figures: Mapping[str, Spread],
) -> None:
    """Reports on groups of runs as `report.publish` does; says where they ran, and draws them."""
    runs = [run for group in groups.values() for run in group]
    dates = sorted(run["date"] for run in runs)
    machines = "; ".join(sorted({run["machine"] for run in runs}))
    where = f"Runs: {len(runs)}, begun from {dates[0]} to {dates[-1]}, on {machines}."
    draw = functools.partial(draw_curves, groups=groups)
    report.publish(arguments, [*sections, where], figures, draw)
