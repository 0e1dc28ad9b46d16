"""Deep Kung-Fu: a recurrent advantage actor-critic, in TensorFlow and in PyTorch.

`agent`, `loss` and `optimizer` say how an exercise is judged and what its parts are worth,
`variants` what right and wrong answers look like, `games` what is played for marks. `inside` holds
what runs beside a student's code, and no answer.
"""

from assignments.kungfu.tracks import PYTORCH, TENSORFLOW

ASSIGNMENTS = (TENSORFLOW, PYTORCH)
