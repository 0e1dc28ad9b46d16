"""The PyTorch track, as the grader needs it."""

import functools
from pathlib import Path

from assignments.kungfu import agent, games, loss, optimizer, pictures, variants_pytorch
from grading.grade import Track

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OBS_SHAPE = (1, 42, 42)
KIT = ("answers", "measure", "measure_pytorch", "player", "play_pytorch")

TRACK = Track(
    name="kungfu_a2c_pytorch",
    framework="torch",
    solution=ROOT / "solutions" / "kungfu_a2c_pytorch.ipynb",
    given=("setup", "imports", "select"),
    kit=(
        ROOT / "checks",  # an adapter is loaded only when it is asked for
        *(HERE / "inside" / f"{name}.py" for name in KIT),
    ),
    measure="measure_pytorch",
    environment={"OMP_NUM_THREADS": "1"},
    hidden=("ale_py", "ale_py.libs"),  # an agent could search the emulator for its next move
    exercises=(agent.plan(OBS_SHAPE), loss.PLAN, optimizer.PLAN),
    play=games.play_rules(
        "play_pytorch",
        OBS_SHAPE,
        functools.partial(games.make_env, left=15, n_frames=1, dim_order="pytorch"),
    ),
    variants=variants_pytorch.VARIANTS,
    pictures=pictures.PICTURES,
)
