"""Measures how fast training is, in environment steps a second.

    python -m benchmarks.training_speed

Two questions, each answered by paired runs that take turns, every run in a process of its own:

* The same work, 5 games and rollouts of 10 ticks: the original's loop, ours, and the feed-forward
  A2C of Stable-Baselines3.
* As many games and ticks as one likes: how much of what the emulator alone delivers (random
  actions, the same observations, the same cores) is left while the agent plays and learns.

A step is one action in one game. Imports and the first updates, which compile, do not count.
"""

import itertools
from functools import partial

import numpy as np

from benchmarks.measuring import measure_rate, spread, take_turns
from benchmarks.notebook_code import NotebookTraining, Settings, load_make_env, sized_settings
from benchmarks.original_loop import OriginalTraining
from benchmarks.peers import measure_a2c_rate, require_installed
from benchmarks.report import at_least, command_line, number, publish, table

RATIOS = {
    "same_work_ratio": ("ours", "original"),
    "sb3_a2c_ratio": ("ours", "sb3_a2c"),
    "same_work_ceiling": ("same_work_emulator", "original"),
    "same_work_xla_ratio": ("ours_xla", "original"),
    "sb3_a2c_xla_ratio": ("ours_xla", "sb3_a2c"),
    "emulator_fraction": ("free", "emulator"),
}
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
Rates = dict[str, list[float]]


def measure_original(settings: Settings, seconds: float, seed: int) -> float:
    training = OriginalTraining(settings, seed)
    return measure_rate(training.update, training.steps_per_update, seconds)


def measure_ours(settings: Settings, seconds: float, seed: int, *, xla: bool = False) -> float:
    with NotebookTraining(settings, seed, xla=xla) as training:
        return measure_rate(training.update, training.steps_per_update, seconds)


def measure_emulator(settings: Settings, seconds: float, seed: int) -> float:
    """Returns the steps a second of games that are played at random, and observed."""
    from atari_util import make_atari_vector_env

    n_games = settings["n_training_games"]
    games = make_atari_vector_env(load_make_env(settings)(), n_games)
    games.reset()
    # Drawn beforehand: drawing is no work of the emulator's.
    n_actions, generator = games.single_action_space.n, np.random.default_rng(seed)
    actions = itertools.cycle(generator.integers(n_actions, size=(1000, n_games)))
    rate = measure_rate(lambda: games.step(next(actions)), n_games, seconds)
    games.close()
    return rate


SAME_WORK = {
    "original": measure_original,
    "ours": measure_ours,
    "sb3_a2c": measure_a2c_rate,
    "same_work_emulator": measure_emulator,
}
WITH_XLA = {"ours_xla": partial(measure_ours, xla=True)}
FREE_CHOICE = {"emulator": measure_emulator, "free": measure_ours}


def ratios_of(rates: Rates) -> Rates:
    """Returns the quotients of paired runs, of those pairs that ran."""
    return {
        name: [a / b for a, b in zip(rates[above], rates[below], strict=True)]
        for name, (above, below) in RATIOS.items()
        if above in rates and below in rates
    }


def describe(rates: Rates) -> str:
    """Returns the table of paired runs: a row for each, then medians, least and greatest."""
    columns = rates | ratios_of(rates)
    header = ["run", *(TITLES[name] for name in columns)]
    runs = zip(*columns.values(), strict=True)
    rows = [[str(run), *map(number, row)] for run, row in enumerate(runs, 1)]
    spreads = zip(*map(spread, columns.values()), strict=True)
    for what, row in zip(("median", "least", "greatest"), spreads, strict=True):
        rows.append([what, *map(number, row)])
    return table(header, rows)


def main() -> None:
    parser = command_line("training_speed", __doc__, runs=5, games=5, free_games=64)
    add = parser.add_argument
    add("--seconds", type=at_least(0, float), default=10, help="of a run (default: 10)")
    add("--ticks", type=at_least(2), default=10, help="of the same work (default: 10)")
    add("--free-ticks", type=at_least(2), default=20, help="freely chosen (default: 20)")
    arguments = parser.parse_args()
    require_installed("sb3_a2c")

    sizes = (arguments.games, arguments.ticks), (arguments.free_games, arguments.free_ticks)
    with_xla = WITH_XLA if arguments.track == "tensorflow" else {}
    groups = SAME_WORK | with_xla, FREE_CHOICE
    work = {}
    for size, group in zip(sizes, groups, strict=True):
        settings = sized_settings(*size, arguments.track)
        for name, measure in group.items():
            work[name] = partial(measure, settings, arguments.seconds)
    rates = take_turns(work, arguments.runs)
    same_work, free_choice = (describe({name: rates[name] for name in group}) for group in groups)
    sections = [
        "## The same work: {} games × {} ticks".format(*sizes[0]),
        "Environment steps a second while training. SB3's A2C has its own network, without "
        "memory, and steps every game once more in a rollout. The emulator alone, at random "
        "and without learning, is what no training of these games can pass.",
        same_work,
        "## A free choice: {} games × {} ticks".format(*sizes[1]),
        "Environment steps a second: random actions and nothing learnt, against training.",
        free_choice,
    ]
    figures = {f"{name}_steps_per_second": values for name, values in rates.items()}
    figures = {name: spread(values) for name, values in (figures | ratios_of(rates)).items()}
    publish(arguments, sections, figures)


if __name__ == "__main__":
    main()
