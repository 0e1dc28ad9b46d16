"""What every part of every exercise is about and worth, and playing."""

import numpy as np

PLAYING = "play"
POINTS = {
    "agent": {
        "logits": 4,
        "state_value": 4,
        "heads": 2,
        "new_state": 5,
        "games_apart": 1,
        "gradients": 3,
        "agreement": 1,
    },
    "loss": {
        "value_loss": 7,
        "semi_gradient": 4,
        "advantage": 6,
        "policy_gradient": 5,
        "constant_advantage": 4,
        "entropy_value": 2,
        "entropy_gradient": 6,
        "value_ends": 3,
        "policy_ends": 3,
        "memory_passed": 2,
        "memory_gradient": 2,
        "memory_reset": 1,
        "weights": 1,
        "returned": 1,
        "step": 3,
    },
    "optimizer": {"descent": 10},
    PLAYING: {PLAYING: 20},
}
# The mean score that earns a share of the points for playing; in between, shares rise in straight
# lines. Two buttons pressed blindly come close to 10,000, so that cannot be worth everything.
PLAYING_SHARES = ((5_000, 0.0), (10_000, 0.5), (20_000, 1.0))
N_GAMES = 20  # whose mean that is
TITLES = {
    "agent": {
        "logits": "the actor's logits",
        "state_value": "the critic's value",
        "heads": "the heads read the cell's output, not its state",
        "new_state": "the memory for the next tick",
        "games_apart": "each game on its own",
        "gradients": "every weight learns",
        "agreement": "it plays as forward says",
    },
    "loss": {
        "value_loss": "value loss: V(s_t) is pulled to its target",
        "semi_gradient": "value loss: its target is a constant",
        "advantage": "policy: the advantage",
        "policy_gradient": "policy: log π times the advantage, maximised",
        "constant_advantage": "policy: the advantage is a constant",
        "entropy_value": "entropy: its value",
        "entropy_gradient": "entropy: its gradient",
        "value_ends": "episode ends in the value's target",
        "policy_ends": "episode ends in the returns",
        "memory_passed": "memory: from tick to tick",
        "memory_gradient": "memory: gradients through time",
        "memory_reset": "memory: wiped when a game is over",
        "weights": "the weights of the terms",
        "returned": "the loss that comes back",
        "step": "one step, by this rollout's gradients",
    },
    "optimizer": {"descent": "an optimizer that goes downhill"},
}


def points_for_playing(mean_score: float) -> float:
    """Returns what a mean score is worth, to a hundredth."""
    scores, shares = zip(*PLAYING_SHARES, strict=True)
    return round(POINTS[PLAYING][PLAYING] * float(np.interp(mean_score, scores, shares)), 2)
