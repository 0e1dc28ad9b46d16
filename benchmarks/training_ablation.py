"""Measures what single choices of the notebook bring to learning: what it learns without them.

    python -m benchmarks.training_ablation --minutes 5 --seeds 2

It is about the TensorFlow notebook. Each run trains a new agent with one thing changed, as
`training_learning` does. Runs are kept in a file as they end: call it again to go on after an
interruption.
"""

import argparse
from pathlib import Path

from benchmarks.learning import N_GAMES, draw_curves, where_they_ran, without_curves
from benchmarks.report import RESULTS, describe_run, positive_integer, positive_number, publish
from benchmarks.run_log import RunLog
from benchmarks.student_code import read_settings
from benchmarks.training_learning import IDENTITY, WEIGHTS, describe, group, learn_unless_known

NAME = "training_ablation"
LONG = 1_000_000  # rollouts: within them nothing changes

ABLATIONS = (
    {},
    {"edits": {"Rescaling(10, offset=-3.6)": "Rescaling(1)"}},
    {"changes": {"rollouts_to_half_rate": LONG}},
    {"changes": {"max_gradient_norm": None}},
    {"changes": {"entropy_weight": 0.01}},
    {"changes": {"n_training_games": 64}},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=positive_number, default=5.0, help="of a run (default: 5)")
    add("--seeds", type=positive_integer, default=2, help="(default: 2)")
    add("--evaluation-games", type=positive_integer, default=N_GAMES, help=f"(default: {N_GAMES})")
    add("--file", type=Path, default=RESULTS / f"{NAME}.jsonl", help="where runs are kept")
    add("--weights", type=Path, default=WEIGHTS, help="folder of the best agents' weights")
    add("--report", action="store_true", help="report what is in the file, and run nothing")
    add("--write", action="store_true", help="leave report and plot in benchmarks/results/")
    arguments = parser.parse_args()
    run = describe_run()
    try:
        log = RunLog(arguments.file, IDENTITY)
    except ValueError as error:
        parser.error(str(error))

    # Seed by seed: after half the time there is a first answer for each.
    for seed in range(arguments.seeds if not arguments.report else 0):
        for ablation in ABLATIONS:
            learn_unless_known(
                log,
                read_settings(**ablation),
                arguments.minutes,
                seed,
                arguments.evaluation_games,
                arguments.weights,
            )

    if not log.runs:
        parser.error(f"there are no runs in {arguments.file}")
    groups = group(log.runs, read_settings())
    publish(
        NAME,
        run,
        [
            "What agents learn with the notebook's settings, and with one thing changed. Seconds "
            f"and environment steps until the mean of {N_GAMES} consecutive training games "
            "reached a score, and what the best agent of each run earns. Medians, least and "
            "greatest of the runs.",
            describe(groups),
            where_they_ran(log.runs),
        ],
        {},
        without_curves(log.runs),
        write=arguments.write,
        draw=lambda path: draw_curves(path, groups),
    )


if __name__ == "__main__":
    main()
