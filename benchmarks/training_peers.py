"""Measures how long it takes to learn: ours beside what others train with.

    python -m benchmarks.training_peers --minutes 15 --seeds 2

Each run trains a new agent until the mean of 20 consecutive training games reaches 10,000 points,
or the minutes are over: "never" is a result. Runs take turns, one after another, each in a process
of its own, and are kept in a file as they end: call it again to go on after an interruption.
"""

from benchmarks.learning import N_GAMES, SCORES, LearningCurve, Run, seconds_to
from benchmarks.long_runs import command_line, open_log, publish_runs
from benchmarks.measuring import spread
from benchmarks.notebook_code import NotebookTraining, Settings, read_settings
from benchmarks.peers import require_installed, train_peer
from benchmarks.report import number, table

SCORE = min(SCORES)
CONTENDERS = {
    "ours": "ours, A2C with an LSTM",
    "sb3_a2c": "SB3 A2C, without memory",
    "sb3_recurrent_ppo": "sb3-contrib RecurrentPPO",
}
IDENTITY = ("contender", "seed", "minutes", "settings")


def learn(
    title: str, contender: str, seed: int, minutes: float, settings: Settings, track: str
) -> Run:
    """Trains a contender once and returns what became of it.

    Args:
        title: of the run.
        contender: one of `CONTENDERS`.
        seed: of agent and games.
        minutes: after which it has not reached the score.
        settings: of ours, as `read_settings` returns them.
        track: whose games it plays.
    """
    curve, ended_well = LearningCurve(title), True
    if contender == "ours":
        with NotebookTraining(settings, seed) as training:
            ended_well = training.train(minutes, curve.follow)
    else:
        train_peer(contender, read_settings(track=track), minutes, seed, curve.follow)
    return {"has_diverged": not ended_well, **curve.result()}


def describe(groups: dict[str, list[Run]]) -> str:
    """Returns the table: a row for each run."""
    header = ["", "seed", f"seconds to {SCORE:,}", "stopped after, s", "steps", "steps a second"]
    rows = []
    for title, runs in groups.items():
        for run in runs:
            reached = run["seconds_to"][str(SCORE)]
            row = [title, str(run["seed"]), "not reached" if reached is None else number(reached)]
            row += [number(run["seconds"]), f"{run['steps']:,}", number(run["steps_per_second"])]
            rows.append(row)
    return table(header, rows)


def main() -> None:
    parser = command_line("training_peers", __doc__, minutes=15, seeds=2)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    arguments = parser.parse_args()
    settings = read_settings(track=arguments.track)
    log = open_log(arguments, IDENTITY)
    if not arguments.report:
        for contender in arguments.contenders:
            require_installed(contender)
        for seed in range(arguments.seeds):
            for contender in arguments.contenders:
                identity = {
                    "contender": contender,
                    "seed": seed,
                    "minutes": arguments.minutes,
                    "settings": settings if contender == "ours" else {},  # peers have their own
                }
                log.run_once(f"{contender}, seed {seed}", learn, identity, track=arguments.track)

    groups, figures = {}, {}
    for contender, title in CONTENDERS.items():
        runs = [run for run in log.runs if run["contender"] == contender]
        if runs:
            groups[title] = sorted(runs, key=lambda run: run["seed"])
            figures[f"{contender}_seconds_to_{SCORE}"] = seconds_to(runs, SCORE)
            rates = [run["steps_per_second"] for run in runs]
            figures[f"{contender}_steps_per_second"] = spread(rates)
    what = (
        f"Seconds until the mean of {N_GAMES} consecutive training games reached {SCORE:,} points. "
        "Compiling counts, imports do not. The peers have the hyperparameters that the RL "
        "Baselines3 Zoo tunes for Atari, and the same observations and rewards as ours."
    )
    publish_runs(arguments, groups, [what, describe(groups)], figures)


if __name__ == "__main__":
    main()
