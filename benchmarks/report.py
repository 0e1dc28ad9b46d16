"""Says what was measured, how and where; prints it, and writes it down when asked to."""

import argparse
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
from typing import Any

from benchmarks.measuring import Spread

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


def positive_integer(text: str) -> int:
    """Reads an argument of the command line that counts something."""
    return _positive(text, int)


def positive_number(text: str) -> float:
    """Reads an argument of the command line that measures something."""
    return _positive(text, float)


def _positive(text: str, kind: type) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = 0
    if not 0 < number < math.inf:
        what = "integer" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"must be a positive {what}, got {text!r}")
    return number


def at_least_two(text: str) -> int:
    """Reads how many columns a rollout has: the last one is not acted on."""
    number = positive_integer(text)
    if number < 2:
        raise argparse.ArgumentTypeError("must be at least 2: the last tick is not acted on")
    return number


def describe_run() -> dict[str, str]:
    """Returns the command, when and where it runs, how busy it is there, and the versions."""
    module = Path(sys.argv[0]).stem
    threads = [f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS",) if name in os.environ]
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return {
        "command": shlex.join([*threads, "python", "-m", f"benchmarks.{module}", *sys.argv[1:]]),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {cores} core{'s' if cores > 1 else ''}",
        "load": f"load average {load:.1f} at the beginning",
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; all columns but the first are set to the right."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rules, *rows])


def publish(
    name: str,
    run: Mapping[str, str],
    sections: Sequence[str],
    figures: Mapping[str, Spread],
    raw: Any,
    *,
    write: bool,
    draw: Callable[[Path], None] | None = None,
) -> None:
    """Prints a report and one `name: median least greatest` line for each figure.

    Args:
        name: of the benchmark.
        run: what `describe_run` returned.
        sections: Markdown, in order.
        figures: by name; an infinite value was not reached.
        raw: what the figures were made of; it must fit into JSON.
        write: leave the report as NAME.md, figures and raw numbers as NAME.json, and the plot as
            NAME.png in `benchmarks/results/`.
        draw: draws the plot into a file.
    """
    title = name.replace("_", " ").capitalize()
    head = [
        f"# {title}",
        f"    {run['command']}",
        f"{run['date']}, {run['machine']}, {run['load']}",
    ]
    text = "\n\n".join([*head, run["versions"], *sections])
    print(text, end="\n\n")
    for figure, values in figures.items():
        print(f"{figure}: {' '.join(map(number, values))}")
    if not write:
        return
    RESULTS.mkdir(exist_ok=True)
    if draw:
        draw(RESULTS / f"{name}.png")
        text += f"\n\n![{title}]({name}.png)"
    (RESULTS / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    summary = {
        **run,
        "figures": {figure: [_finite(v) for v in values] for figure, values in figures.items()},
        "raw": raw,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def number(value: float) -> str:
    """Writes a figure with as many digits as it is good for."""
    if math.isinf(value):
        return "never"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
