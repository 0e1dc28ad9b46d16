"""Measures how training grows with the number of games and of ticks: speed, memory, compiling.

    python -m benchmarks.training_growth

Each size runs in a process of its own. The plot shows where the curves bend.
"""

import resource
import time
from functools import partial
from typing import Any

from benchmarks.measuring import measure_rate, spread, take_turns
from benchmarks.notebook_code import NotebookTraining, Settings, sized_settings
from benchmarks.report import at_least, command_line, number, publish, table

GAMES = (1, 2, 4, 8, 16, 32, 64, 128)
TICKS = (5, 10, 20, 40)
TICKS_OF_GAMES = 10
GAMES_OF_TICKS = 32

MEASURED = {
    "steps_per_second": "environment steps a second",
    "peak_megabytes": "peak memory, MB",
    "first_update_seconds": "first update, s",
}
Measured = dict[str, float]


def measure(settings: Settings, seconds: float, seed: int) -> Measured:
    """Returns a size's speed, the process's peak memory, and how long compiling holds it up."""
    with NotebookTraining(settings, seed) as training:
        started = time.perf_counter()
        training.update()
        first = time.perf_counter() - started
        rate = measure_rate(training.update, training.steps_per_update, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return dict(zip(MEASURED, (rate, peak, first), strict=True))


def draw(figure: Any, curves: dict[str, dict[int, Measured]]) -> None:
    """Draws speed and memory over games on the left, over ticks on the right."""
    panels = figure.subplots(2, len(curves), sharex="col", sharey="row")
    shown = ("steps_per_second", "peak_megabytes")
    for column, (what, curve) in zip(panels.T, curves.items(), strict=True):
        for panel, name in zip(column, shown, strict=True):
            values = [measured[name] for measured in curve.values()]
            panel.plot(list(curve), values, "o-", color="tab:blue")
            panel.grid(alpha=0.3)
        column[-1].set_xscale("log", base=2)
        column[-1].set_xticks(list(curve), labels=[str(size) for size in curve], minor=False)
        column[-1].set_xlabel(what)
    for panel, name in zip(panels[:, 0], shown, strict=True):
        panel.set_ylabel(MEASURED[name])
        panel.set_ylim(0, None)  # when all curves are there: rows share it


def main() -> None:
    parser = command_line("training_growth", __doc__, runs=1)
    add = parser.add_argument
    add("--games", type=at_least(1), nargs="+", default=GAMES, help="numbers of games")
    add("--ticks", type=at_least(2), nargs="+", default=TICKS, help="lengths of rollouts")
    add("--seconds", type=at_least(0, float), default=5, help="of a run (default: 5)")
    arguments = parser.parse_args()

    games, ticks = sorted(set(arguments.games)), sorted(set(arguments.ticks))
    sizes = {
        f"games, rollouts of {TICKS_OF_GAMES} ticks": {n: (n, TICKS_OF_GAMES) for n in games},
        f"ticks of a rollout, {GAMES_OF_TICKS} games": {n: (GAMES_OF_TICKS, n) for n in ticks},
    }
    work = {
        size: partial(measure, sized_settings(*size, arguments.track), arguments.seconds)
        for curve in sizes.values()
        for size in curve.values()
    }
    runs = take_turns(work, arguments.runs)
    medians = {
        size: {name: spread([run[name] for run in of_size]).median for name in MEASURED}
        for size, of_size in runs.items()
    }
    curves = {
        what: {n: medians[size] for n, size in curve.items()} for what, curve in sizes.items()
    }
    tables = [
        table(
            [what, *MEASURED.values()], [[str(n), *map(number, curve[n].values())] for n in curve]
        )
        for what, curve in curves.items()
    ]
    fastest = max(medians, key=lambda size: medians[size]["steps_per_second"])
    sections = [
        "Medians where a size ran more than once. The first update compiles.",
        *tables,
        "Fastest: {} games × {} ticks.".format(*fastest),
    ]
    figures = {"fastest_steps_per_second": spread([r["steps_per_second"] for r in runs[fastest]])}
    publish(arguments, sections, figures, partial(draw, curves=curves))


if __name__ == "__main__":
    main()
