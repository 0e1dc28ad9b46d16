"""Measures how fast training is, in environment steps a second.

    python -m benchmarks.training_speed

Two questions, each answered by paired runs that take turns, every run in a process of its own:

* The same work, 5 games and rollouts of 10 ticks: the original's loop, ours, and the feed-forward
  A2C of Stable-Baselines3.
* As many games and ticks as one likes: how much of what the emulator alone delivers (random
  actions, the same observations, the same cores) is left while the agent plays and learns.

A step is one action in one game. Imports and the first updates, which compile, do not count.
"""

import argparse
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from benchmarks.measuring import RateMeter, in_fresh_process, measure_rate, spread
from benchmarks.original_loop import OriginalTraining
from benchmarks.peers import MissingPackageError, check_installed, measure_a2c_rate
from benchmarks.report import (
    at_least_two,
    describe_run,
    number,
    positive_integer,
    positive_number,
    publish,
    table,
)
from benchmarks.student_code import (
    Settings,
    StudentTraining,
    add_track,
    load_make_env,
    read_settings,
    result_name,
)

Measure = Callable[[Settings, int, int, int, float], float]

TITLES = {
    "original": "the original's loop",
    "ours": "ours",
    "ours_xla": "ours, XLA",
    "sb3_a2c": "SB3 A2C",
    "emulator": "the emulator alone",
    "same_work_emulator": "the emulator alone",
    "free": "ours",
    "same_work_ratio": "ours : original",
    "sb3_a2c_ratio": "ours : SB3 A2C",
    "same_work_ceiling": "emulator : original",
    "same_work_xla_ratio": "XLA : original",
    "sb3_a2c_xla_ratio": "XLA : SB3 A2C",
    "emulator_fraction": "fraction",
}


def measure_original(
    settings: Settings, n_games: int, n_ticks: int, seed: int, seconds: float
) -> float:
    """Returns the steps a second of the original's loop."""
    training = OriginalTraining(settings, n_games, n_ticks, seed)
    return measure_rate(training.update, training.steps_per_update, seconds)


def measure_ours(
    settings: Settings,
    n_games: int,
    n_ticks: int,
    seed: int,
    seconds: float,
    *,
    xla: bool = False,
) -> float:
    """Returns the steps a second of the notebook's training."""
    sized = {**settings, "n_training_games": n_games, "n_steps": n_ticks}
    with TemporaryDirectory() as folder:
        training = StudentTraining(sized, seed, folder, xla=xla)
        return measure_rate(training.update, training.steps_per_update, seconds)


def measure_emulator(
    settings: Settings, n_games: int, n_ticks: int, seed: int, seconds: float
) -> float:
    """Returns the steps a second of games that are played at random, and observed."""
    from atari_util import make_atari_vector_env

    games = make_atari_vector_env(load_make_env(settings)(), n_games)
    games.reset()
    # Drawn beforehand: drawing is no work of the emulator's.
    actions = np.random.default_rng(seed).integers(
        games.single_action_space.n, size=(1000, n_games)
    )
    meter, tick, is_over = RateMeter(seconds), 0, False
    while not is_over:
        games.step(actions[tick % len(actions)])
        tick += 1
        is_over = meter.is_over(tick * n_games)
    games.close()
    return meter.rate


SAME_WORK: dict[str, Measure] = {
    "original": measure_original,
    "ours": measure_ours,
    "sb3_a2c": measure_a2c_rate,
    "same_work_emulator": measure_emulator,
}
WITH_XLA: dict[str, Measure] = {"ours_xla": partial(measure_ours, xla=True)}
FREE_CHOICE: dict[str, Measure] = {"emulator": measure_emulator, "free": measure_ours}


def describe(rates: dict[str, list[float]], ratios: dict[str, list[float]]) -> str:
    """Returns the table of paired runs: a row for each, then medians, least and greatest."""
    columns = [*rates.values(), *ratios.values()]
    header = ["run", *(TITLES[name] for name in [*rates, *ratios])]
    rows = [[str(run + 1), *map(number, row)] for run, row in enumerate(zip(*columns, strict=True))]
    spreads = [spread(column) for column in columns]
    rows += [
        [what, *(number(getattr(values, what)) for values in spreads)]
        for what in ("median", "least", "greatest")
    ]
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--runs", type=positive_integer, default=5, help="of each contender (default: 5)")
    add("--seconds", type=positive_number, default=10, help="of a run (default: 10)")
    add("--games", type=positive_integer, default=5, help="of the same work (default: 5)")
    add("--ticks", type=at_least_two, default=10, help="of the same work (default: 10)")
    add("--free-games", type=positive_integer, default=64, help="freely chosen (default: 64)")
    add("--free-ticks", type=at_least_two, default=20, help="freely chosen (default: 20)")
    add_track(parser)
    add("--write", action="store_true", help="leave the report in benchmarks/results/")
    arguments = parser.parse_args()
    try:
        check_installed("sb3_a2c")
    except MissingPackageError as error:
        parser.error(str(error))

    run, settings = describe_run(), read_settings(track=arguments.track)
    free_games, free_ticks = arguments.free_games, arguments.free_ticks
    same_work = SAME_WORK | (WITH_XLA if arguments.track == "tensorflow" else {})
    work = [
        *((name, measure, arguments.games, arguments.ticks) for name, measure in same_work.items()),
        *((name, measure, free_games, free_ticks) for name, measure in FREE_CHOICE.items()),
    ]
    rates: dict[str, list[float]] = {name: [] for name, *_ in work}
    with tqdm(total=arguments.runs * len(work), unit=" runs") as progress:
        for seed in range(arguments.runs):
            for name, measure, n_games, n_ticks in work:
                rate = in_fresh_process(
                    measure, settings, n_games, n_ticks, seed, arguments.seconds
                )
                rates[name].append(rate)
                progress.update()

    def ratio(name: str, to: str) -> list[float]:
        return [a / b for a, b in zip(rates[name], rates[to], strict=True)]

    ratios = {
        "same_work_ratio": ratio("ours", "original"),
        "sb3_a2c_ratio": ratio("ours", "sb3_a2c"),
        "same_work_ceiling": ratio("same_work_emulator", "original"),
    }
    if "ours_xla" in rates:
        ratios |= {
            "same_work_xla_ratio": ratio("ours_xla", "original"),
            "sb3_a2c_xla_ratio": ratio("ours_xla", "sb3_a2c"),
        }
    fraction = {"emulator_fraction": ratio("free", "emulator")}
    publish(
        result_name("training_speed", arguments.track),
        run,
        [
            f"## The same work: {arguments.games} games × {arguments.ticks} ticks",
            "Environment steps a second while training. SB3's A2C has its own network, without "
            "memory, and steps every game once more in a rollout. The emulator alone, at random "
            "and without learning, is what no training of these games can pass.",
            describe({name: rates[name] for name in same_work}, ratios),
            f"## A free choice: {free_games} games × {free_ticks} ticks",
            "Environment steps a second: random actions and nothing learnt, against training.",
            describe({name: rates[name] for name in FREE_CHOICE}, fraction),
        ],
        {
            **{f"{name}_steps_per_second": spread(values) for name, values in rates.items()},
            **{name: spread(values) for name, values in (ratios | fraction).items()},
        },
        {"steps_per_second": rates},
        write=arguments.write,
    )


if __name__ == "__main__":
    main()
