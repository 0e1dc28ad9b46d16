"""Measures where the time of a rollout goes.

    python -m benchmarks.training_profile

The main thread's wall time is divided without rest: every moment belongs to the innermost part that
is at work, and what no part claims is the rest, Python above all. Time in which the emulator's own
threads work while the main thread does something else is free and does not show.
"""

import argparse
import contextlib
import functools
import re
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.measuring import N_WARM_UP, spread, take_turns
from benchmarks.notebook_code import NotebookTraining, Settings, sized_settings
from benchmarks.report import at_least, command_line, publish, table

EMULATOR, PREPROCESSING, ACTING, LEARNING = "emulator", "preprocessing", "acting", "learning"
REST = "Python and the rest"
PARTS = (EMULATOR, PREPROCESSING, ACTING, LEARNING, REST)
SIZES = ((5, 10), (64, 20))


class Stopwatch:
    """Gives each moment to the innermost part that is at work."""

    def __init__(self):
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._parts = [REST]
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def at(self, part: str) -> Iterator[None]:
        """Times what happens inside, or each call of what it decorates."""
        self._hand_over()
        self._parts.append(part)
        try:
            yield
        finally:
            self._hand_over()
            self._parts.pop()

    def restart(self) -> None:
        """Forgets what was timed so far."""
        self._hand_over()
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def stop(self) -> None:
        self._hand_over()

    def watch(self, owner: Any, names: tuple[str, ...], part: str) -> None:
        """Times the methods of a class or an object, those of them that it has."""
        for name in names:
            if hasattr(owner, name):
                setattr(owner, name, self.at(part)(getattr(owner, name)))

    def _hand_over(self) -> None:
        now = time.perf_counter()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


def measure(settings: Settings, seconds: float, seed: int) -> dict[str, float]:
    """Returns the milliseconds of a rollout that each part takes, the mean of many."""
    from ale_py.vector_env import AtariVectorEnv

    from atari_util import PreprocessAtariVector

    stopwatch = Stopwatch()
    stopwatch.watch(AtariVectorEnv, ("send", "recv", "step"), EMULATOR)
    stopwatch.watch(PreprocessAtariVector, ("step", "send", "recv"), PREPROCESSING)
    with NotebookTraining(settings, seed) as training:
        stopwatch.watch(training.code["agent"], ("step", "sample_actions"), ACTING)
        stopwatch.watch(training, ("step",), LEARNING)
        for _ in range(N_WARM_UP):
            training.update()
        stopwatch.restart()
        started, n_updates = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            training.update()
            n_updates += 1
        stopwatch.stop()
    return {part: 1e3 * taken / n_updates for part, taken in stopwatch.seconds.items()}


def describe(profiles: dict[tuple[int, int], dict[str, float]]) -> str:
    """Returns the table: a row for each part and the total, two columns for each size."""
    header = ["part"]
    for games, ticks in profiles:
        header += [f"{games} × {ticks}, ms", "%"]
    rows = []
    for part in [*PARTS, "a rollout"]:
        row = [part]
        for profile in profiles.values():
            total = sum(profile.values())
            taken = profile.get(part, total)
            row += [f"{taken:.2f}", f"{100 * taken / total:.1f}"]
        rows.append(row)
    return table(header, rows)


def read_size(text: str) -> tuple[int, int]:
    """Reads `GAMESxTICKS`."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    games, ticks = map(int, match.groups()) if match else (0, 0)
    if games < 1 or ticks < 2:
        raise argparse.ArgumentTypeError(
            f"must be GAMESxTICKS, such as 5x10, with at least 2 ticks, got {text!r}"
        )
    return games, ticks


def main() -> None:
    parser = command_line("training_profile", __doc__)
    what = {"nargs": "+", "metavar": "GAMESxTICKS", "help": "(default: 5x10 64x20)"}
    parser.add_argument("--sizes", type=read_size, default=SIZES, **what)
    seconds = {"type": at_least(0.1, float), "default": 10}
    parser.add_argument("--seconds", **seconds, help="of a size (default: 10)")
    arguments = parser.parse_args()

    work = {
        size: functools.partial(measure, sized_settings(*size, arguments.track), arguments.seconds)
        for size in arguments.sizes
    }
    profiles = {size: profile for size, (profile,) in take_turns(work).items()}
    sections = [
        "Milliseconds of a rollout in which the main thread is at, or waits for, each part.",
        describe(profiles),
    ]
    figures = {
        f"{part.split()[0].lower()}_milliseconds_{games}x{ticks}": spread([taken])
        for (games, ticks), profile in profiles.items()
        for part, taken in profile.items()
    }
    publish(arguments, sections, figures)


if __name__ == "__main__":
    main()
