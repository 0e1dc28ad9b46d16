"""Measures how long it takes to learn: ours beside what others train with.

    python -m benchmarks.training_peers --minutes 15 --seeds 2

Each run trains a new agent until the mean of 20 consecutive training games reaches 10,000 points,
or the minutes are over: "never" is a result. Runs take turns, one after another, each in a process
of its own, and are kept in a file as they end: call it again to go on after an interruption.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.learning import (
    SCORES,
    LearningCurve,
    draw_curves,
    seconds_to,
    where_they_ran,
    without_curves,
)
from benchmarks.measuring import in_fresh_process, spread
from benchmarks.peers import MissingPackageError, check_installed, train_peer
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
from benchmarks.student_code import Progress, Settings, add_track, read_settings, result_name, train

NAME = "training_peers"
SCORE = min(SCORES)
CONTENDERS = {
    "ours": "ours, A2C with an LSTM",
    "sb3_a2c": "SB3 A2C, without memory",
    "sb3_recurrent_ppo": "sb3-contrib RecurrentPPO",
}
IDENTITY = ("contender", "seed", "minutes", "settings")


def learn(contender: str, settings: Settings, minutes: float, seed: int) -> dict[str, Any]:
    """Trains a contender once and returns what became of it."""
    curve, last = LearningCurve(), None

    def on_progress(progress: Progress) -> bool:
        nonlocal last
        last = progress
        curve.tell(f"{contender}, seed {seed}", progress)
        return curve.follow(progress)

    if contender == "ours":
        with TemporaryDirectory() as folder:
            ended_well = train(settings, minutes, seed, folder, on_progress)
    else:
        ended_well = train_peer(contender, settings, minutes, seed, on_progress)
    return {"has_diverged": not ended_well, **curve.result(last)}


def group(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Returns the runs of each contender that has any."""
    by_name = {name: [run for run in runs if run["contender"] == name] for name in CONTENDERS}
    return {name: of_name for name, of_name in by_name.items() if of_name}


def describe(groups: dict[str, list[Run]]) -> str:
    """Returns the table: a row for each run."""
    header = ["", "seed", f"seconds to {SCORE:,}", "stopped after, s", "steps", "steps a second"]
    rows = []
    for name, runs in groups.items():
        for run in sorted(runs, key=lambda run: run["seed"]):
            reached = run["seconds_to"][str(SCORE)]
            rows.append(
                [
                    CONTENDERS[name],
                    str(run["seed"]),
                    "not reached" if reached is None else number(reached),
                    number(run["seconds"]),
                    f"{run['steps']:,}",
                    number(run["steps_per_second"]),
                ]
            )
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=positive_number, default=15.0, help="of a run at most (default: 15)")
    add("--seeds", type=positive_integer, default=2, help="for each contender (default: 2)")
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    add_track(parser)
    add("--file", type=Path, help="where runs are kept")
    add("--report", action="store_true", help="report what is in the file, and run nothing")
    add("--write", action="store_true", help="leave report and plot in benchmarks/results/")
    arguments = parser.parse_args()
    name = result_name(NAME, arguments.track)
    file = arguments.file or RESULTS / f"{name}.jsonl"
    run, settings = describe_run(), read_settings(track=arguments.track)
    try:
        for contender in arguments.contenders if not arguments.report else ():
            check_installed(contender)
        log = RunLog(file, IDENTITY)
    except (MissingPackageError, ValueError) as error:
        parser.error(str(error))

    for seed in range(arguments.seeds if not arguments.report else 0):
        for contender in arguments.contenders:
            identity = {
                "contender": contender,
                "seed": seed,
                "minutes": arguments.minutes,
                # The peers have their own.
                "settings": settings if contender == "ours" else {},
            }
            if identity in log:
                print(f"{contender}, seed {seed}: it is in {file} already")
                continue
            result = in_fresh_process(learn, contender, settings, arguments.minutes, seed)
            log.append({**identity, **run, **result})

    groups = group(log.runs)
    if not groups:
        parser.error(f"there are no runs in {file}")
    figures = {}
    for contender, runs in groups.items():
        figures[f"{contender}_seconds_to_{SCORE}"] = seconds_to(runs, SCORE)
        figures[f"{contender}_steps_per_second"] = spread([r["steps_per_second"] for r in runs])
    publish(
        name,
        run,
        [
            f"Seconds until the mean of 20 consecutive training games reached {SCORE:,} points. "
            "Compiling counts, imports do not. The peers have the hyperparameters that the RL "
            "Baselines3 Zoo tunes for Atari, and the same observations and rewards as ours.",
            describe(groups),
            where_they_ran(log.runs),
        ],
        figures,
        without_curves(log.runs),
        write=arguments.write,
        draw=lambda path: draw_curves(path, {CONTENDERS[n]: runs for n, runs in groups.items()}),
    )


if __name__ == "__main__":
    main()
