"""Follows how an agent learns: the mean of its last games over time, and when that passes a score.

Games that are played for training count, as they finish: they show how good the policy is, and cost
nothing.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Spread, spread
from benchmarks.student_code import Progress

N_GAMES = 20  # consecutive ones, whose mean counts
SCORES = (10_000, 25_000)
SECONDS_BETWEEN_POINTS = 5


class LearningCurve:
    """What a run leaves of its learning.

    Attributes:
        points: Seconds, environment steps and the mean of the last 20 games, every few seconds
            and whenever a score was reached.
        seconds_to: For each score, when the mean of 20 consecutive games reached it, or None.
        best: The highest such mean, NaN before there are 20 games.
    """

    def __init__(self):
        self.points: list[tuple[float, int, float]] = []
        self.seconds_to: dict[int, float | None] = dict.fromkeys(SCORES)
        self.best = math.nan
        self.mean = math.nan
        self._n_games = 0
        self._told_minutes = 0

    def follow(self, progress: Progress) -> bool:
        """Takes down how far training has come.

        Returns:
            Whether the lowest score has been reached.
        """
        returns = progress.episode_returns
        is_news = False
        for end in range(max(N_GAMES, self._n_games + 1), len(returns) + 1):
            self.mean = float(np.mean(returns[end - N_GAMES : end]))
            self.best = self.mean if math.isnan(self.best) else max(self.best, self.mean)
            for score, seconds in self.seconds_to.items():
                if seconds is None and self.mean >= score:
                    self.seconds_to[score] = progress.seconds
                    is_news = True
        self._n_games = len(returns)
        last = self.points[-1][0] if self.points else 0.0
        is_due = progress.seconds - last >= SECONDS_BETWEEN_POINTS
        if not math.isnan(self.mean) and (is_news or is_due):
            self.points.append((progress.seconds, progress.steps, self.mean))
        return self.seconds_to[min(SCORES)] is not None

    def tell(self, name: str, progress: Progress) -> None:
        """Prints a line on how it goes, once a minute."""
        minutes = int(progress.seconds // 60)
        if minutes > self._told_minutes:
            self._told_minutes = minutes
            mean = f"mean of the last {N_GAMES} games {self.mean:,.0f}"
            if math.isnan(self.mean):
                mean = f"not yet {N_GAMES} games"
            print(f"{name}: {minutes} min, {progress.steps:,} steps, {mean}", flush=True)

    def result(self, progress: Progress | None) -> dict[str, Any]:
        """Returns the curve, and what it came to, in a form that fits into JSON."""
        seconds, steps = (progress.seconds, progress.steps) if progress else (0.0, 0)
        return {
            "seconds": round(seconds, 2),
            "steps": steps,
            "steps_per_second": round(steps / seconds, 1) if seconds else 0.0,
            "n_games": self._n_games,
            "seconds_to": {str(score): when for score, when in self.seconds_to.items()},
            "best_training_mean": None if math.isnan(self.best) else self.best,
            "curve": [(round(s, 1), n, round(mean, 1)) for s, n, mean in self.points],
        }


def seconds_to(runs: Iterable[Mapping[str, Any]], score: int) -> Spread:
    """Returns when runs reached a score; infinity stands for those that did not."""
    reached = [run["seconds_to"][str(score)] for run in runs]
    return spread([math.inf if seconds is None else seconds for seconds in reached])


def steps_to(runs: Iterable[Mapping[str, Any]], score: int) -> Spread:
    """Returns after how many environment steps runs reached a score; no machine is slow in these.

    Infinity stands for runs that did not reach it.
    """

    def steps(run: Mapping[str, Any]) -> float:
        seconds = run["seconds_to"][str(score)]
        if seconds is None:
            return math.inf
        return next(steps for when, steps, _ in run["curve"] if when == round(seconds, 1))

    return spread([steps(run) for run in runs])


def where_they_ran(runs: Iterable[Mapping[str, Any]]) -> str:
    """Returns a sentence on when and on what the runs of a file were made."""
    runs = list(runs)
    dates = sorted(run["date"] for run in runs)
    machines = "; ".join(sorted({run["machine"] for run in runs}))
    return f"Runs: {len(runs)}, begun from {dates[0]} to {dates[-1]}, on {machines}."


def without_curves(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns what a report says of each run: curves are long, and stay in the file of the runs."""
    return [{name: value for name, value in run.items() if name != "curve"} for run in runs]


def draw_curves(path: Path, groups: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Draws one line for each run, over time and over steps, in one colour for each group.

    Args:
        path: of the PNG.
        groups: runs, by what the legend is to call them; the first one stands out.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(13, 6.5), sharey=True, layout="constrained")
    colours = plt.get_cmap("tab10").colors
    highest = 0.0
    for number, (label, runs) in enumerate(groups.items()):
        style = {"color": colours[number % len(colours)], "zorder": -number}
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
    figure.savefig(path, dpi=120)
    plt.close(figure)
