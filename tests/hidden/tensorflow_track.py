"""The TensorFlow track, as the grader needs it."""

from pathlib import Path

from grading.grade import ExercisePlan, Track
from tests.hidden import kungfu, pictures, variants

ROOT = Path(__file__).parent.parent.parent

TRACK = Track(
    name="kungfu_a2c_tensorflow",
    solution=ROOT / "solutions" / "kungfu_a2c_tensorflow.ipynb",
    given=("imports", "select"),
    kit=(ROOT / "checks.py", Path(__file__).parent / "measure_tensorflow.py"),
    measure="measure_tensorflow",
    environment={
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    },
    exercises=(
        ExercisePlan("agent", kungfu.AGENT_PARTS, kungfu.agent_inputs, rebuilds=True),
        ExercisePlan("loss", kungfu.LOSS_PARTS, kungfu.loss_inputs),
        ExercisePlan("optimizer", kungfu.OPTIMIZER_PARTS, kungfu.optimizer_inputs),
    ),
    variants=variants.RIGHT + variants.WRONG,
    pictures=pictures.PICTURES,
)
