"""Deep Kung-Fu: a recurrent advantage actor-critic, in TensorFlow and in PyTorch.

`agent`, `loss` and `optimizer` define how each exercise is judged and what its parts are worth.
`variants` lists right and wrong answers, and `play` and `games` play for marks. `inside` holds the
modules that run beside a student's code; they contain no answers.
"""

from assignments.kungfu.tracks import PYTORCH, TENSORFLOW

ASSIGNMENTS = (TENSORFLOW, PYTORCH)
