"""Follows how an agent learns: the mean of its last games over time, and when that passes a score.

Games that are played for training count, as they finish: they show how good the policy is, and cost
nothing.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks.measuring import Spread, spread
from benchmarks.notebook_code import Progress

N_GAMES = 20  # consecutive ones, whose mean counts
SCORES = (10_000, 25_000)
SECONDS_BETWEEN_POINTS = 5

Run = dict[str, Any]


class LearningCurve:
    """What a run leaves of its learning; tells how it goes, once a minute.

    Args:
        title: of the run.
    """

    def __init__(self, title: str):
        self._title = title
        self._points: list[tuple[float, int, float]] = []
        self._seconds_to: dict[int, float | None] = dict.fromkeys(SCORES)
        self._mean = self._best = math.nan
        self._n_games = 0
        self._last = Progress(0.0, 0, ())

    def follow(self, progress: Progress) -> bool:
        """Takes down how far training has come.

        Returns:
            Whether the lowest score has been reached.
        """
        seconds, steps, returns = progress
        is_news = False
        for end in range(max(N_GAMES, self._n_games + 1), len(returns) + 1):
            self._mean = float(np.mean(returns[end - N_GAMES : end]))
            self._best = float(np.fmax(self._best, self._mean))
            for score, reached in self._seconds_to.items():
                if reached is None and self._mean >= score:
                    self._seconds_to[score] = seconds
                    is_news = True
        self._n_games = len(returns)
        since = seconds - (self._points[-1][0] if self._points else 0.0)
        if not math.isnan(self._mean) and (is_news or since >= SECONDS_BETWEEN_POINTS):
            self._points.append((seconds, steps, self._mean))
        if seconds // 60 > self._last.seconds // 60:
            mean = f"mean of the last {N_GAMES} games {self._mean:,.0f}"
            print(f"{self._title}: {seconds // 60:.0f} min, {steps:,} steps, {mean}", flush=True)
        self._last = progress
        return self._seconds_to[min(SCORES)] is not None

    def result(self) -> Run:
        """Returns the curve, and what it came to, in a form that fits into JSON.

        Of the curve there are seconds, environment steps and the mean of the last 20 games, every
        few seconds and whenever a score was reached.
        """
        seconds, steps, _ = self._last
        return {
            "seconds": round(seconds, 2),
            "steps": steps,
            "steps_per_second": round(steps / seconds, 1) if seconds else 0.0,
            "n_games": self._n_games,
            "seconds_to": {str(score): when for score, when in self._seconds_to.items()},
            "best_training_mean": None if math.isnan(self._best) else self._best,
            "curve": [(round(s, 1), n, round(mean, 1)) for s, n, mean in self._points],
        }


def seconds_to(runs: Iterable[Run], score: int) -> Spread:
    """Returns when runs reached a score; infinity stands for those that did not."""
    reached = [run["seconds_to"][str(score)] for run in runs]
    return spread([math.inf if seconds is None else seconds for seconds in reached])


def steps_to(runs: Iterable[Run], score: int) -> Spread:
    """Returns after how many environment steps, the same on a machine of any speed."""

    def steps(run: Run) -> float:
        seconds = run["seconds_to"][str(score)]
        if seconds is None:
            return math.inf
        return next(steps for when, steps, _ in run["curve"] if when == round(seconds, 1))

    return spread([steps(run) for run in runs])


def draw_curves(figure: Any, groups: Mapping[str, Iterable[Run]]) -> None:
    """Draws one line for each run, over time and over steps, in one colour for each group.

    Args:
        figure: of Matplotlib.
        groups: runs, by what the legend is to call them; the first one stands out.
    """
    panels = figure.subplots(1, 2, sharey=True)
    highest = 0.0
    for number, (label, runs) in enumerate(groups.items()):
        style = {"color": f"C{number}", "zorder": -number}
        style |= {"linewidth": 2.5} if number == 0 else {"linewidth": 1, "alpha": 0.7}
        for place, run in enumerate(runs):
            seconds, steps, means = np.array(run["curve"]).reshape(-1, 3).T
            panels[0].plot(seconds / 60, means, label=label if place == 0 else None, **style)
            panels[1].plot(steps / 1e6, means, **style)
            highest = max([highest, *means])
    for panel, unit in zip(panels, ("minutes", "million environment steps"), strict=True):
        for score in SCORES:
            if score == min(SCORES) or highest > 0.6 * score:
                panel.axhline(score, color="gray", linestyle="--", linewidth=1)
        panel.set(xlabel=unit, xlim=(0, None), ylim=(0, None))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"points, mean of the last {N_GAMES} games")
    figure.legend(loc="outside lower left")  # inside it would hide the highest curves
