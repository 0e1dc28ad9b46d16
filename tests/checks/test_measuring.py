"""Measuring an answer changes nothing in the notebook."""

from tests.checks.variants import GIVEN
from tests.frameworks import each_framework
from tests.notebooks import run_nbval, solution_cells, write_notebook

SOLVED = (*GIVEN, "pool", "loss-exercise", "optimizer-exercise")
FIRST_STEP = solution_cells("first-step")[0].source

# All that a framework keeps: weights, the optimizer's own numbers, settings, random numbers.
STATE = {
    "tensorflow": "[v.numpy().tolist() for v in agent.trainable_variables + optimizer.variables], "
    "tf.config.functions_run_eagerly()",
    "pytorch": "repr((agent.state_dict(), opt.state_dict())), torch.get_rng_state().tolist()",
}
REMEMBER = """
import random
def snapshot():
    state = STATE
    names = {name: id(value) for name, value in globals().items() if not name.startswith("_")}
    numpy_state = np.random.get_state()[1].tolist()
    return state, names, random.getstate(), numpy_state
before = after = None
before = snapshot()
"""
COMPARE = """
after = snapshot()
for one, other in zip(before[2:], after[2:]):
    assert one == other
assert before[0] == after[0]
assert {k: v for k, v in before[1].items() if k not in ("before", "after")} == {
    k: v for k, v in after[1].items() if k not in ("before", "after")
}
"""


@each_framework
def test_a_check_leaves_no_trace(tmp_path, framework):
    calls = [f"checks.check_{name}(globals())" for name in ("agent", "loss", "optimizer")]
    broken = "def train_on_rollout(*args, **kwargs):\n    raise RuntimeError"
    failing = "try:\n    checks.check_loss(globals())\nexcept checks.CheckFailed:\n    pass"
    remember = REMEMBER.replace("STATE", STATE[framework])
    cells = [*solution_cells(*SOLVED, framework=framework), FIRST_STEP, remember, *calls, COMPARE]
    cells += [broken, remember, failing, COMPARE]
    write_notebook(tmp_path / "traces.ipynb", cells)
    _, outcomes = run_nbval(tmp_path, "traces.ipynb")
    assert outcomes["traces.ipynb"] == [None] * len(cells)
