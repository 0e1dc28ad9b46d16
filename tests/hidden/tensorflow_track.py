"""The TensorFlow track, as the grader needs it."""

from pathlib import Path

from grading.grade import ExercisePlan, Track
from tests.hidden import games, kungfu, pictures, variants

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
KIT = ("answers", "measure_tensorflow", "play_tensorflow", "player")

TRACK = Track(
    name="kungfu_a2c_tensorflow",
    solution=ROOT / "solutions" / "kungfu_a2c_tensorflow.ipynb",
    given=("setup", "imports", "select"),
    kit=(ROOT / "checks.py", *(HERE / f"{name}.py" for name in KIT)),
    measure="measure_tensorflow",
    environment={
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    },
    hidden=("ale_py", "ale_py.libs"),  # an agent could search the emulator for its next move
    exercises=(
        ExercisePlan("agent", kungfu.AGENT_PARTS, kungfu.agent_inputs, rebuilds=True),
        ExercisePlan("loss", kungfu.LOSS_PARTS, kungfu.loss_inputs),
        ExercisePlan("optimizer", kungfu.OPTIMIZER_PARTS, kungfu.optimizer_inputs),
    ),
    play=games.RULES,
    variants=variants.RIGHT + variants.WRONG,
    pictures=pictures.PICTURES,
)
