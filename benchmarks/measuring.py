"""Takes figures: each run in a fresh process, rates after a warm-up, medians over runs."""

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

Name = TypeVar("Name")
Result = TypeVar("Result")

N_WARM_UP = 3  # updates: the first compiles, the next fill caches


class Spread(NamedTuple):
    """What several runs gave."""

    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def take_turns(
    work: Mapping[Name, Callable[[int], Result]], n_rounds: int = 1
) -> dict[Name, list[Result]]:
    """Measures everything once, with seed 0, then all again: a busy minute hits nobody alone.

    Args:
        work: functions of a seed, by name; each call is in a process of its own.
        n_rounds: how often.
    """
    results: dict[Name, list[Result]] = {name: [] for name in work}
    for seed, name in tqdm([(seed, name) for seed in range(n_rounds) for name in work]):
        results[name].append(in_fresh_process(work[name], seed))
    return results


def in_fresh_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Calls a function of a module in a process of its own and returns what it returns.

    No run inherits another's compiled code, threads or memory.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent) as pool:
        return pool.submit(function, *arguments).result()


def _end_with_parent() -> None:
    """Ends this process when its parent ends: nothing left over may keep the cores busy."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class RateMeter:
    """Counts steps a second, from the end of the warm-up until the time is over.

    Args:
        seconds: How long to count, at least; one update is counted in any case.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._n_updates = 0
        self._first = self._last = (0.0, 0)

    def is_over(self, steps: int) -> bool:
        """Takes down how many steps there were so far; called after every update.

        Returns:
            Whether the time is over.
        """
        self._n_updates += 1
        self._last = (time.perf_counter(), steps)
        if self._n_updates <= N_WARM_UP:
            self._first = self._last
            return False
        return self._last[0] - self._first[0] >= self._seconds

    @property
    def rate(self) -> float:
        """Steps a second."""
        seconds, steps = (last - first for first, last in zip(self._first, self._last, strict=True))
        return steps / seconds


def measure_rate(update: Callable[[], object], steps_per_update: int, seconds: float) -> float:
    """Returns how many environment steps a second repeated updates make."""
    meter, steps, is_over = RateMeter(seconds), 0, False
    while not is_over:
        update()
        steps += steps_per_update
        is_over = meter.is_over(steps)
    return meter.rate
