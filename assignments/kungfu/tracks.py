"""The assignment in TensorFlow and in PyTorch, as the grader reads it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assignments.kungfu import agent, games, loss, optimizer, pictures
from assignments.kungfu import variants_pytorch as pytorch
from assignments.kungfu import variants_tensorflow as tensorflow
from assignments.kungfu.play import trial
from grading.assignment import Assignment, Variant

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# What a notebook needs when it runs as a whole.
HELPERS = ("atari_util.py", "env_pool.py", "training.py", "learners.py", "checkpoints.py")
HELPERS += ("setup_notebook.py", "requirements.txt", "requirements-pytorch.txt")


def track(
    framework: str,
    module: str,
    obs_shape: tuple[int, ...],
    variants: Sequence[Variant],
    environment: dict[str, str],
    **game: Any,
) -> Assignment:
    """Returns the assignment in one framework.

    Args:
        framework: its name in the names of files.
        module: its name in imports.
        obs_shape: the shape of one observation.
        variants: the variants of its solution.
        environment: environment variables of every worker, besides those of all tracks.
        game: the notebook's settings of the game; see `games.make_env`.
    """
    rules = games.play_rules(
        f"play_{framework}", obs_shape, functools.partial(games.make_env, **game)
    )
    return Assignment(
        name=f"kungfu_a2c_{framework}",
        solution=ROOT / "solutions" / f"kungfu_a2c_{framework}.ipynb",
        exercises=(agent.exercise(obs_shape), loss.EXERCISE, optimizer.EXERCISE),
        variants=variants,
        trials=(trial(rules),),
        templates=("original",),
        given=("setup", "imports", "select"),
        inside=(
            ROOT / "checks",
            *(ROOT / name for name in HELPERS),
            *sorted((HERE / "inside").glob("*.py")),
        ),
        measure=f"measure_{framework}:measure",
        prepare=f"measure_{framework}:prepare",
        requires=(module,),
        environment={"OMP_NUM_THREADS": "1", **environment},
        hidden=("ale_py", "ale_py.libs"),  # an agent could search the emulator for its next move
        pictures=pictures.PICTURES,
    )


TENSORFLOW = track(
    "tensorflow",
    "tensorflow",
    (42, 42, 4),
    tensorflow.VARIANTS,
    {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
    left=5,
    n_frames=4,
    dim_order="tensorflow",
)
PYTORCH = track(
    "pytorch",
    "torch",
    (1, 42, 42),
    pytorch.VARIANTS,
    {},
    left=15,
    n_frames=1,
    dim_order="pytorch",
)
