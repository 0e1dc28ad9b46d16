"""What every part of every exercise is worth, and playing: the only place that says so."""

PLAYING = "play"
POINTS = {
    "agent": {
        "logits": 5,
        "state_value": 5,
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
