"""Measures how training grows with the number of games and of ticks: speed, memory, compiling.

    python -m benchmarks.training_growth

Each size runs in a process of its own. The plot shows where the curves bend.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.measuring import in_fresh_process, measure_rate, peak_megabytes, spread
from benchmarks.report import (
    at_least_two,
    describe_run,
    number,
    positive_integer,
    positive_number,
    publish,
    table,
)
from benchmarks.student_code import Settings, StudentTraining, add_track, read_settings, result_name

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


def measure(settings: Settings, n_games: int, n_ticks: int, seed: int, seconds: float) -> Measured:
    """Returns a size's speed, the process's peak memory, and how long compiling holds it up."""
    sized = {**settings, "n_training_games": n_games, "n_steps": n_ticks}
    with TemporaryDirectory() as folder:
        training = StudentTraining(sized, seed, folder)
        started = time.perf_counter()
        training.update()
        first = time.perf_counter() - started
        rate = measure_rate(training.update, training.steps_per_update, seconds)
    return {
        "steps_per_second": rate,
        "peak_megabytes": peak_megabytes(),
        "first_update_seconds": first,
    }


def medians(runs: Sequence[Measured]) -> Measured:
    return {name: spread([run[name] for run in runs]).median for name in MEASURED}


def describe(what: str, curve: dict[int, Measured]) -> str:
    rows = [
        [str(size), *(number(measured[name]) for name in MEASURED)]
        for size, measured in curve.items()
    ]
    return table([what, *MEASURED.values()], rows)


def draw(path: Path, curves: dict[str, dict[int, Measured]]) -> None:
    """Draws speed and memory over games on the left, over ticks on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        2, len(curves), figsize=(11, 7), sharex="col", sharey="row", layout="constrained"
    )
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
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--games", type=positive_integer, nargs="+", default=GAMES, help="numbers of games")
    add("--ticks", type=at_least_two, nargs="+", default=TICKS, help="lengths of rollouts")
    add("--runs", type=positive_integer, default=1, help="of each size (default: 1)")
    add("--seconds", type=positive_number, default=5, help="of a run (default: 5)")
    add_track(parser)
    add("--write", action="store_true", help="leave report and plot in benchmarks/results/")
    arguments = parser.parse_args()

    run, settings = describe_run(), read_settings(track=arguments.track)
    of_games = f"games, rollouts of {TICKS_OF_GAMES} ticks"
    of_ticks = f"ticks of a rollout, {GAMES_OF_TICKS} games"
    sizes = {
        of_games: {games: (games, TICKS_OF_GAMES) for games in sorted(set(arguments.games))},
        of_ticks: {ticks: (GAMES_OF_TICKS, ticks) for ticks in sorted(set(arguments.ticks))},
    }
    distinct = list(dict.fromkeys(size for curve in sizes.values() for size in curve.values()))
    runs: dict[tuple[int, int], list[Measured]] = {size: [] for size in distinct}
    with tqdm(total=arguments.runs * len(distinct), unit=" runs") as progress:
        for seed in range(arguments.runs):
            for size in distinct:
                runs[size].append(
                    in_fresh_process(measure, settings, *size, seed, arguments.seconds)
                )
                progress.update()
    curves = {
        what: {number_of: medians(runs[size]) for number_of, size in curve.items()}
        for what, curve in sizes.items()
    }
    fastest = max(distinct, key=lambda size: medians(runs[size])["steps_per_second"])
    publish(
        result_name("training_growth", arguments.track),
        run,
        [
            "Medians where a size ran more than once. The first update compiles.",
            *(describe(what, curve) for what, curve in curves.items()),
            f"Fastest: {fastest[0]} games × {fastest[1]} ticks.",
        ],
        {"fastest_steps_per_second": spread([r["steps_per_second"] for r in runs[fastest]])},
        [
            {"games": games, "ticks": ticks, **measured}
            for (games, ticks), of_size in runs.items()
            for measured in of_size
        ],
        write=arguments.write,
        draw=lambda path: draw(path, curves),
    )


if __name__ == "__main__":
    main()
