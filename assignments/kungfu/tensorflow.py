"""The TensorFlow track, as the grader needs it."""

import functools
from pathlib import Path

from assignments.kungfu import agent, games, loss, optimizer, pictures, variants_tensorflow
from grading.grade import Track

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OBS_SHAPE = (42, 42, 4)
KIT = ("answers", "measure", "measure_tensorflow", "player", "play_tensorflow")

TRACK = Track(
    name="kungfu_a2c_tensorflow",
    framework="tensorflow",
    solution=ROOT / "solutions" / "kungfu_a2c_tensorflow.ipynb",
    given=("setup", "imports", "select"),
    kit=(
        ROOT / "checks",  # an adapter is loaded only when it is asked for
        *(HERE / "inside" / f"{name}.py" for name in KIT),
    ),
    measure="measure_tensorflow",
    environment={
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    },
    hidden=("ale_py", "ale_py.libs"),  # an agent could search the emulator for its next move
    exercises=(agent.plan(OBS_SHAPE), loss.PLAN, optimizer.PLAN),
    play=games.play_rules(
        "play_tensorflow",
        OBS_SHAPE,
        functools.partial(games.make_env, left=5, n_frames=4, dim_order="tensorflow"),
    ),
    variants=variants_tensorflow.VARIANTS,
    pictures=pictures.PICTURES,
)
