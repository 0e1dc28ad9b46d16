"""Says what was measured, how and where; prints it, and writes it down when asked to."""

import argparse
import contextlib
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.measuring import Spread
from benchmarks.notebook_code import TRACKS

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "ale-py",
    "gymnasium",
    "keras",
    "numpy",
    "sb3-contrib",
    "stable-baselines3",
    "tensorflow",
    "torch",
)


def command_line(
    name: str, doc: str, tracks: Sequence[str] = TRACKS, **defaults: Any
) -> argparse.ArgumentParser:
    """Returns a parser with the options of every benchmark.

    Args:
        name: of the benchmark and of what it stores.
        doc: the benchmark's docstring.
        tracks: whose notebooks it can measure.
        defaults: of options that are integers of at least 1.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.set_defaults(name=name, run=describe_run())
    add = parser.add_argument
    for option, default in defaults.items():
        option = f"--{option.replace('_', '-')}"
        add(option, type=at_least(1), default=default, help=f"(default: {default})")
    add("--track", choices=tracks, default=tracks[0], help=f"whose notebook (default: {tracks[0]})")
    add("--write", action="store_true", help="leave report and plot in benchmarks/results/")
    return parser


def at_least(least: float, kind: type = int) -> Callable[[str], Any]:
    """Returns a type of arguments: numbers that are not smaller."""

    def read(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if least <= kind(text) < math.inf:
                return kind(text)
        what = "an integer" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"must be {what} of at least {least}, got {text!r}")

    return read


def refuse(problem: object) -> NoReturn:
    """Ends the program as it does when its arguments are wrong."""
    print(f"error: {problem}", file=sys.stderr)
    raise SystemExit(2)


def describe_run() -> dict[str, str]:
    """Returns the command, when and where it runs, how busy the machine is, and the versions."""
    module = Path(sys.argv[0]).stem
    threads = [f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS",) if name in os.environ]
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    return {
        "command": shlex.join([*threads, "python", "-m", f"benchmarks.{module}", *sys.argv[1:]]),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {cores} core{'s' if cores > 1 else ''}",
        "load": f"load average {load:.1f} at the beginning",
        "versions": ", ".join(versions),
    }


def _processor() -> str:
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def number(value: float) -> str:
    """Writes a figure with three digits, or with all that stand before the point."""
    if math.isinf(value):
        return "never"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; all columns but the first are set to the right."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rules, *rows])


def result_name(arguments: argparse.Namespace) -> str:
    """Returns what the results are called: those of the first track have no suffix."""
    of_first_track = arguments.track == TRACKS[0]
    return arguments.name if of_first_track else f"{arguments.name}_{arguments.track}"


def publish(
    arguments: argparse.Namespace,
    sections: Sequence[str],
    figures: Mapping[str, Spread],
    draw: Callable[[Any], None] | None = None,
) -> None:
    """Prints a report and one `name: median least greatest` line for each figure.

    With `--write`, leaves the report as NAME.md, the figures as NAME.json, and the plot as NAME.png
    in `benchmarks/results/`.

    Args:
        arguments: of the command line.
        sections: Markdown, in order.
        figures: by name; an infinite value was not reached.
        draw: draws the plot into a figure of Matplotlib's.
    """
    name, run = result_name(arguments), arguments.run
    title = name.replace("_", " ").capitalize()
    where = f"{run['date']}, {run['machine']}, {run['load']}"
    text = "\n\n".join(
        [f"# {title}", f"    {run['command']}", where, run["versions"], *sections],
    )
    print(text, end="\n\n")
    for figure, values in figures.items():
        print(f"{figure}: {' '.join(map(number, values))}")
    if not arguments.write:
        return
    RESULTS.mkdir(exist_ok=True)
    if draw:
        _save_plot(draw, RESULTS / f"{name}.png")
        text += f"\n\n![{title}]({name}.png)"
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    finite = {
        figure: [value if math.isfinite(value) else None for value in values]
        for figure, values in figures.items()
    }
    summary = json.dumps({**run, "figures": finite}, indent=1)
    (RESULTS / f"{name}.json").write_text(summary + "\n", encoding="utf-8")


def _save_plot(draw: Callable[[Any], None], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.5), layout="constrained")
    draw(figure)
    figure.savefig(path, dpi=120)
