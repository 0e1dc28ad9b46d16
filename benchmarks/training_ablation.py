"""Measures what single choices of the notebook bring to learning: what it learns without them.

    python -m benchmarks.training_ablation --minutes 5 --seeds 2

It is about the TensorFlow notebook. Each run trains a new agent with one thing changed, as
`training_learning` does.
"""

from benchmarks.notebook_code import read_settings
from benchmarks.training_learning import command_line, compare

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
    parser = command_line("training_ablation", __doc__, minutes=5, seeds=2, tracks=("tensorflow",))
    compare(
        parser.parse_args(),
        [read_settings(**ablation) for ablation in ABLATIONS],
        "What agents learn with the notebook's settings, and with one thing changed.",
    )


if __name__ == "__main__":
    main()
