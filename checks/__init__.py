"""Checks that a student runs inside the notebook, right under the exercise they belong to.

Each check measures the student's code on a small case, prints one line for each property, passed or
not and why, and raises `CheckFailed` if any failed:

    check_agent(globals())          after the agent's cell
    check_loss(globals())           after the cell of train_on_rollout
    check_optimizer(globals())      after the optimizer's cell
    check_ready_to_train(globals()) before training: do pool, agent and optimizer belong together?
    hand_in(globals())              after training: packs notebook and weights, with their points

`prepare_notebook(…)` in the set-up cell makes IPython answer in plain words when a cell still has
`<YOUR CODE>` in it. `python -m checks NOTEBOOK` runs a whole notebook as `pytest --nbval` does, and
`python -m checks hand-in NOTEBOOK` packs it as `hand_in` does.

What is right stands once for all frameworks, in a module for each exercise. What a framework's
tensors, gradients and optimizers are like stands in its adapter, `tensorflow.py` or `pytorch.py`.
"""

from checks.agent import check_agent
from checks.handing_in import hand_in
from checks.loss import check_loss
from checks.notebook import OpenGaps, prepare_notebook
from checks.optimizer import check_optimizer
from checks.ready import check_ready_to_train
from checks.sheet import CheckFailed

__all__ = [
    "CheckFailed",
    "OpenGaps",
    "check_agent",
    "check_loss",
    "check_optimizer",
    "check_ready_to_train",
    "hand_in",
    "prepare_notebook",
]
