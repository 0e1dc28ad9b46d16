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
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from benchmarks.measuring import N_WARM_UP, Spread, in_fresh_process
from benchmarks.report import describe_run, positive_number, publish, table
from benchmarks.student_code import Settings, StudentTraining, add_track, read_settings, result_name

EMULATOR, PREPROCESSING, ACTING, LEARNING = "emulator", "preprocessing", "acting", "learning"
REST = "Python and the rest"
PARTS = (EMULATOR, PREPROCESSING, ACTING, LEARNING, REST)
LARGE = (64, 20)


class Stopwatch:
    """Gives each moment to the innermost part that is at work."""

    def __init__(self):
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._parts = [REST]
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def at(self, part: str) -> Iterator[None]:
        """Times what happens inside."""
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
            method = getattr(owner, name, None)
            if method is not None:
                setattr(owner, name, self._timed(method, part))

    def _timed(self, function: Any, part: str) -> Any:
        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            with self.at(part):
                return function(*arguments, **options)

        return timed

    def _hand_over(self) -> None:
        now = time.perf_counter()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


def measure(settings: Settings, n_games: int, n_ticks: int, seconds: float) -> dict[str, float]:
    """Returns the milliseconds of a rollout that each part takes, the mean of many."""
    from ale_py.vector_env import AtariVectorEnv

    from atari_util import PreprocessAtariVector

    sized = {**settings, "n_training_games": n_games, "n_steps": n_ticks}
    stopwatch = Stopwatch()
    stopwatch.watch(AtariVectorEnv, ("send", "recv", "step"), EMULATOR)
    stopwatch.watch(PreprocessAtariVector, ("step", "send", "recv"), PREPROCESSING)
    with TemporaryDirectory() as folder:
        training = StudentTraining(sized, 0, folder)
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


def size(text: str) -> tuple[int, int]:
    """Reads `GAMESxTICKS`."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    games, ticks = map(int, match.groups()) if match else (0, 0)
    if games < 1 or ticks < 2:
        raise argparse.ArgumentTypeError(
            f"must be GAMESxTICKS, such as 5x10, with at least 2 ticks, got {text!r}"
        )
    return games, ticks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--sizes",
        type=size,
        nargs="+",
        default=[(5, 10), LARGE],
        metavar="GAMESxTICKS",
        help="(default: 5x10 {}x{})".format(*LARGE),
    )
    add("--seconds", type=positive_number, default=10, help="of a size (default: 10)")
    add_track(parser)
    add("--write", action="store_true", help="leave the report in benchmarks/results/")
    arguments = parser.parse_args()

    run, settings = describe_run(), read_settings(track=arguments.track)
    profiles = {
        sized: in_fresh_process(measure, settings, *sized, arguments.seconds)
        for sized in tqdm(dict.fromkeys(arguments.sizes), unit=" sizes")
    }
    names = {part: part.split()[0].lower() for part in PARTS}
    publish(
        result_name("training_profile", arguments.track),
        run,
        [
            "Milliseconds of a rollout in which the main thread is at, or waits for, each part.",
            describe(profiles),
        ],
        {
            f"{names[part]}_milliseconds_{games}x{ticks}": Spread(taken, taken, taken)
            for (games, ticks), profile in profiles.items()
            for part, taken in profile.items()
        },
        [
            {"games": games, "ticks": ticks, "milliseconds": profile}
            for (games, ticks), profile in profiles.items()
        ],
        write=arguments.write,
    )


if __name__ == "__main__":
    main()
