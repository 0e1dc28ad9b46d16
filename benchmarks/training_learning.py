"""Measures how well the notebook's agent learns, over seeds and settings.

    python -m benchmarks.training_learning --minutes 60 --seeds 3
    python -m benchmarks.training_learning --minutes 5 --seeds 2 --set entropy_weight=0.01

Each run trains a new agent with the notebook's settings, or others, in a process of its own. At the
end the best agent that training has kept plays 20 fresh games. Runs are kept in a file as they end:
call it again to go on after an interruption, and with other settings to compare them.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import long_runs
from benchmarks.learning import N_GAMES, SCORES, LearningCurve, Run, seconds_to, steps_to
from benchmarks.measuring import Spread, spread
from benchmarks.notebook_code import (
    NotebookTraining,
    Settings,
    parse_change,
    read_settings,
)
from benchmarks.report import number, refuse, table
from checks.frameworks import find_adapter
from checks.weights import pack_weights

IDENTITY = ("settings", "minutes", "seed")
ROOT = Path(__file__).parent.parent
AS_IN_NOTEBOOK = "as in the notebook"

FRESH_SEED = 2_000_000  # far from the seeds of training


def learn(
    title: str, settings: Settings, minutes: float, seed: int, n_games: int, weights: Path
) -> Run:
    """Trains once and returns what became of it.

    Args:
        title: of the run.
        settings: as `read_settings` returns them.
        minutes: of training.
        seed: of agent and games.
        n_games: that the best agent plays at the end.
        weights: where to leave the best agent's weights, in the form that students hand in.
    """
    curve, evaluation = LearningCurve(title), None
    with NotebookTraining(settings, seed) as training:
        ended_well = training.train(minutes, lambda progress: curve.follow(progress) and False)
        if ended_well or training.run.best_score > -math.inf:
            training.run.restore_best()
            code = training.code
            evaluation = code["play_games"](
                *(code["agent"], code["make_env"], n_games),
                vectorization_mode="ale_threads",
                seed=FRESH_SEED + 1000 * seed,
            )
            _hand_in(training, weights)
    return {
        "has_diverged": not ended_well,
        "evaluation": evaluation,
        # Results are published: they need not tell where somebody keeps the project.
        "weights": str(weights.relative_to(ROOT) if weights.is_relative_to(ROOT) else weights),
        **curve.result(),
    }


def _hand_in(training: NotebookTraining, weights: Path) -> None:
    """Writes an agent's weights as students do."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(pack_weights(find_adapter(training.code), training.code["agent"]))


def label(settings: Settings, notebook: Settings) -> str:
    """Returns in what way settings differ from the notebook's present ones."""
    names = [*notebook, *(name for name in settings if name not in {*notebook, "edits"})]
    changes = [
        f"{name}={settings.get(name)!r}"
        for name in names
        if settings.get(name) != notebook.get(name)
    ]
    changes += [f"{piece} → {other}" for piece, other in settings.get("edits", {}).items()]
    return ", ".join(changes) or AS_IN_NOTEBOOK


def group(runs: Sequence[Run], notebook: Settings) -> dict[str, list[Run]]:
    """Returns runs by their settings and minutes, the notebook's own first."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: label(run["settings"], notebook) != AS_IN_NOTEBOOK):
        name = f"{label(run['settings'], notebook)} ({run['minutes']:g} min)"
        groups.setdefault(name, []).append(run)
    return groups


def evaluated(runs: Sequence[Run]) -> Spread | None:
    """Returns what the best agents earned in their fresh games, each a mean, or None."""
    means = [float(np.mean(run["evaluation"])) for run in runs if run["evaluation"]]
    return spread(means) if means else None


def describe(groups: dict[str, list[Run]]) -> str:
    """Returns the table: a row for each group of runs, with medians and the span in brackets."""

    def cell(values: Spread | None) -> str:
        if values is None:
            return "none"
        return f"{number(values.median)} ({number(values.least)} … {number(values.greatest)})"

    header = ["settings", "runs"]
    header += [f"{what} to {score:,}" for score in SCORES for what in ("seconds", "steps")]
    header += ["best agent's mean in fresh games", "steps a second"]
    rows = []
    for name, runs in groups.items():
        cells = [when(runs, score) for score in SCORES for when in (seconds_to, steps_to)]
        cells += [evaluated(runs), spread([run["steps_per_second"] for run in runs])]
        rows.append([name, str(len(runs)), *map(cell, cells)])
    return table(header, rows)


def figures_of(runs: Sequence[Run]) -> dict[str, Spread]:
    """Returns what runs with the same settings came to, if they were given time.

    That is a quarter of the longest one's at least: shorter ones are there to be compared. Of the
    runs of one seed the longest counts.
    """
    by_seed = {run["seed"]: run for run in sorted(runs, key=lambda run: run["minutes"])}
    longest = max((run["minutes"] for run in runs), default=0)
    given_time = [run for run in by_seed.values() if run["minutes"] >= longest / 4]
    if not given_time:
        return {}
    figures = {f"seconds_to_{score}_median": seconds_to(given_time, score) for score in SCORES}
    best = evaluated(given_time)
    return figures | ({"best_mean": best} if best else {})


def command_line(name: str, doc: str, **options: Any) -> argparse.ArgumentParser:
    """Returns a parser with the options that `compare` needs."""
    parser = long_runs.command_line(name, doc, evaluation_games=N_GAMES, **options)
    weights = ROOT / "runs" / "learning"
    parser.add_argument("--weights", type=Path, default=weights, help="folder of best weights")
    return parser


def compare(arguments: argparse.Namespace, contenders: Sequence[Settings], what: str) -> None:
    """Trains with each of the settings, unless the runs are known, and reports on all runs.

    Args:
        arguments: of the command line.
        contenders: settings, as `read_settings` returns them.
        what: the report's first sentence.
    """
    notebook = read_settings(track=arguments.track)
    log = long_runs.open_log(arguments, IDENTITY)
    minutes, n_games = arguments.minutes, arguments.evaluation_games
    # Seed by seed: after half the time there is a first answer for each.
    for seed in range(arguments.seeds if not arguments.report else 0):
        for settings in contenders:
            name = label(settings, notebook)
            stem = "".join(c if c.isalnum() or c in "._=" else "-" for c in name)
            weights = arguments.weights / f"{stem}-{minutes:g}min-seed{seed}.npz"
            identity = {"settings": settings, "minutes": minutes, "seed": seed}
            title = f"{name}, seed {seed}"
            log.run_once(title, learn, identity, n_games=n_games, weights=weights)

    groups = group(log.runs, notebook)
    what += (
        f" Seconds and environment steps until the mean of {N_GAMES} consecutive training games "
        "reached a score, and what the best agent of each run earns. Medians, least and greatest "
        "of the runs."
    )
    own = [run for run in log.runs if label(run["settings"], notebook) == AS_IN_NOTEBOOK]
    long_runs.publish_runs(arguments, groups, [what, describe(groups)], figures_of(own))


def main() -> None:
    parser = command_line("training_learning", __doc__, minutes=60, seeds=3)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value of one of the notebook's settings; may be given several times",
    )
    arguments = parser.parse_args()
    try:
        settings = read_settings(dict(map(parse_change, arguments.set)), arguments.track)
    except ValueError as error:
        refuse(error)
    compare(arguments, [settings], "What agents learn with the notebook's settings and others.")


if __name__ == "__main__":
    main()
