"""Measures how well the notebook's agent learns, over seeds and settings.

    python -m benchmarks.training_learning --minutes 60 --seeds 3
    python -m benchmarks.training_learning --minutes 5 --seeds 2 --set entropy_weight=0.01

Each run trains a new agent with the notebook's settings, or others, in a process of its own. At the
end the best agent that training has kept plays 20 fresh games. Runs are kept in a file as they end:
call it again to go on after an interruption, and with other settings to compare them.
"""

import argparse
import contextlib
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.learning import (
    N_GAMES,
    SCORES,
    LearningCurve,
    draw_curves,
    seconds_to,
    steps_to,
    where_they_ran,
    without_curves,
)
from benchmarks.measuring import Spread, in_fresh_process, spread
from benchmarks.report import (
    RESULTS,
    describe_run,
    number,
    positive_integer,
    positive_number,
    publish,
    table,
)
from benchmarks.run_log import Run, RunLog
from benchmarks.student_code import (
    Progress,
    Settings,
    StudentTraining,
    add_track,
    parse_change,
    read_settings,
    result_name,
    run_cells,
    train,
)

NAME = "training_learning"
IDENTITY = ("settings", "minutes", "seed")
ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "runs" / "learning"
AS_IN_NOTEBOOK = "as in the notebook"

FRESH_SEED = 2_000_000  # far from the seeds of training


def _play(training: StudentTraining, n_games: int, seed: int) -> list[float]:
    code = training.code
    return code["play_games"](
        code["agent"], code["make_env"], n_games, vectorization_mode="ale_threads", seed=seed
    )


def _hand_in(training: StudentTraining, weights: Path) -> None:
    """Writes an agent's weights as students do."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_cells(["hand-in"], training.code, training.settings)
        shutil.move("kungfu_weights.npz", weights.absolute())


def learn(
    settings: Settings, minutes: float, seed: int, n_games: int, weights: Path
) -> dict[str, Any]:
    """Trains once and returns what became of it.

    Args:
        settings: as `student_code.read_settings` returns them.
        minutes: of training.
        seed: of agent and games.
        n_games: that the best agent plays at the end.
        weights: where to leave the best agent's weights, in the form that students hand in.
    """
    curve, last = LearningCurve(), None

    def on_progress(progress: Progress) -> bool:
        nonlocal last
        last = progress
        curve.follow(progress)
        curve.tell(f"seed {seed}", progress)
        return False

    with TemporaryDirectory() as folder:
        ended_well = train(settings, minutes, seed, folder, on_progress)
        if last is None:
            raise RuntimeError("training diverged in its very first rollout")
        evaluation = None
        if ended_well or last.training.run.best_score > -math.inf:
            last.training.run.restore_best()
            evaluation = _play(last.training, n_games, FRESH_SEED + 1000 * seed)
            _hand_in(last.training, weights)
    return {
        "has_diverged": not ended_well,
        "evaluation": evaluation,
        # Results are published: they need not tell where somebody keeps the project.
        "weights": str(weights.relative_to(ROOT) if weights.is_relative_to(ROOT) else weights),
        **curve.result(last),
    }


def learn_unless_known(
    log: RunLog, settings: Settings, minutes: float, seed: int, n_games: int, folder: Path
) -> None:
    """Trains once in a process of its own and writes the run down, unless the log has it.

    Args:
        log: of runs that differ by `IDENTITY`.
        settings: as `student_code.read_settings` returns them.
        minutes: of training.
        seed: of agent and games.
        n_games: that the best agent plays at the end.
        folder: where to leave the best agent's weights, named by what is known of the run.
    """
    name = label(settings, read_settings(track=settings["track"]))
    identity = {"settings": settings, "minutes": minutes, "seed": seed}
    if identity in log:
        print(f"{name}, seed {seed}: the run is known already")
        return
    stem = "".join(c if c.isalnum() or c in "._=" else "-" for c in name)
    weights = folder / f"{stem}-{minutes:g}min-seed{seed}.npz"
    began = describe_run()
    result = in_fresh_process(learn, settings, minutes, seed, n_games, weights)
    log.append({**identity, **began, **result})


# ------------------------------------------------------------------------------------------- report


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
    rows = [
        [
            name,
            str(len(runs)),
            *(cell(when(runs, score)) for score in SCORES for when in (seconds_to, steps_to)),
            cell(evaluated(runs)),
            cell(spread([run["steps_per_second"] for run in runs])),
        ]
        for name, runs in groups.items()
    ]
    return table(header, rows)


def figures_of(runs: Sequence[Run]) -> dict[str, Spread]:
    """Returns what runs with the same settings came to, if they were given time.

    That is a quarter of the longest one's at least: shorter ones are there to be compared. Of the
    runs of one seed the longest counts.
    """
    longest = max(run["minutes"] for run in runs)
    by_seed = {run["seed"]: run for run in sorted(runs, key=lambda run: run["minutes"])}
    given_time = [run for run in by_seed.values() if run["minutes"] >= longest / 4]
    figures = {f"seconds_to_{score}_median": seconds_to(given_time, score) for score in SCORES}
    best = evaluated(given_time)
    return figures | ({"best_mean": best} if best else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=positive_number, default=60.0, help="of a run (default: 60)")
    add("--seeds", type=positive_integer, default=3, help="(default: 3)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value of one of the notebook's settings; may be given several times",
    )
    add("--evaluation-games", type=positive_integer, default=N_GAMES, help=f"(default: {N_GAMES})")
    add_track(parser)
    add("--file", type=Path, help="where runs are kept")
    add("--weights", type=Path, default=WEIGHTS, help="folder of the best agents' weights")
    add("--report", action="store_true", help="report what is in the file, and run nothing")
    add("--write", action="store_true", help="leave report and plot in benchmarks/results/")
    arguments = parser.parse_args()
    name = result_name(NAME, arguments.track)
    file = arguments.file or RESULTS / f"{name}.jsonl"
    run, notebook = describe_run(), read_settings(track=arguments.track)
    try:
        settings = read_settings(dict(map(parse_change, arguments.set)), arguments.track)
        log = RunLog(file, IDENTITY)
    except ValueError as error:
        parser.error(str(error))

    for seed in range(arguments.seeds if not arguments.report else 0):
        learn_unless_known(
            log, settings, arguments.minutes, seed, arguments.evaluation_games, arguments.weights
        )

    if not log.runs:
        parser.error(f"there are no runs in {file}")
    groups = group(log.runs, notebook)
    own = [r for r in log.runs if label(r["settings"], notebook) == AS_IN_NOTEBOOK]
    publish(
        name,
        run,
        [
            f"Seconds and environment steps until the mean of {N_GAMES} consecutive training games "
            "reached a score, and what the best agent of each run earns. Medians, least and "
            "greatest of the runs.",
            describe(groups),
            where_they_ran(log.runs),
        ],
        figures_of(own) if own else {},
        without_curves(log.runs),
        write=arguments.write,
        draw=lambda path: draw_curves(path, groups),
    )


if __name__ == "__main__":
    main()
