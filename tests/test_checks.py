"""The visible checks, in a notebook run by `pytest --nbval` as a student runs it."""

import re

import pytest

from tests.hidden.variants import RIGHT, WRONG, Variant
from tests.notebooks import run_nbval, solution_cells, write_notebook

VARIANTS = RIGHT + WRONG
GIVEN = ("setup", "imports", "make-env", "select")


def variant_id(variant: Variant) -> str:
    return f"{variant.exercise}: {variant.name}"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What nbval says of each variant's check cell: None if it passed, else the message.

    All variants stand below each other in one notebook, so that TensorFlow is imported once.
    """
    folder = tmp_path_factory.mktemp("variants")
    cells = solution_cells(*GIVEN)
    for variant in VARIANTS:
        name = variant.exercise
        exercise, check = solution_cells(f"{name}-exercise", f"{name}-check")
        exercise.source = variant.apply(exercise.source)
        cells += [exercise, check]
    write_notebook(folder / "variants.ipynb", cells)
    _, failures = run_nbval(folder, "variants.ipynb")
    failures = failures["variants.ipynb"]
    assert failures[: len(GIVEN)] == [None] * len(GIVEN)
    # A variant whose own cell fails, an agent that cannot be made for example, is caught there.
    checked = failures[len(GIVEN) :]
    return dict(zip(VARIANTS, zip(checked[::2], checked[1::2], strict=True), strict=True))


@pytest.mark.parametrize("variant", RIGHT, ids=variant_id)
def test_a_right_solution_passes_however_it_is_written(outcomes, variant):
    assert outcomes[variant] == (None, None)


@pytest.mark.parametrize("variant", WRONG, ids=variant_id)
def test_a_misconception_fails_with_a_line_that_names_it(outcomes, variant):
    _, message = outcomes[variant]
    assert message is not None
    lines = re.findall(r"✗ .*", message)
    assert any(variant.message in line for line in lines), lines


SOLVED = (*GIVEN, "agent-exercise", "agent-look", "pool", "loss-exercise", "optimizer-exercise")
FIRST_STEP = solution_cells("first-step")[0].source

REMEMBER = """
import random
def snapshot():
    weights = [v.numpy().tolist() for v in agent.trainable_variables + optimizer.variables]
    names = {name: id(value) for name, value in globals().items() if not name.startswith("_")}
    numpy_state = np.random.get_state()[1].tolist()
    return weights, names, random.getstate(), numpy_state, tf.config.functions_run_eagerly()
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


def test_a_check_leaves_no_trace(tmp_path):
    calls = [f"checks.check_{name}(globals())" for name in ("agent", "loss", "optimizer")]
    broken = "def train_on_rollout(*args, **kwargs):\n    raise RuntimeError"
    failing = "try:\n    checks.check_loss(globals())\nexcept checks.CheckFailed:\n    pass"
    cells = [*solution_cells(*SOLVED), FIRST_STEP, REMEMBER, *calls, COMPARE]
    cells += [broken, REMEMBER, failing, COMPARE]
    write_notebook(tmp_path / "traces.ipynb", cells)
    _, outcomes = run_nbval(tmp_path, "traces.ipynb")
    assert outcomes["traces.ipynb"] == [None] * len(cells)


def test_the_agent_of_the_cell_that_ran_last_is_the_one_that_trains(tmp_path):
    ready = "checks.check_ready_to_train(globals())"
    agent_cell, look, pool, optimizer = solution_cells(
        "agent-exercise", "agent-look", "pool", "optimizer-exercise"
    )
    keep = "old_agent, old = agent, [v.numpy() for v in agent.trainable_variables]"
    train = """
train_step = tf.function(train_on_rollout)
new = [v.numpy() for v in agent.trainable_variables]
memory = list(pool.prev_memory_states)
train_step(*pool.interact(10), memory, gamma)
assert old_agent is not agent
assert all(np.array_equal(a, b) for a, b in zip(old, old_agent.trainable_variables))
assert not any(np.array_equal(a, b) for a, b in zip(new[-2:], agent.trainable_variables[-2:]))
"""
    cells = [*solution_cells(*SOLVED), ready, FIRST_STEP, ready, keep]
    cells += [agent_cell, ready, look, ready, pool, ready, optimizer, ready, train]
    write_notebook(tmp_path / "again.ipynb", cells)
    _, outcomes = run_nbval(tmp_path, "again.ipynb")
    *before, _, first, _, second, _, third, _, fourth, trained = outcomes["again.ipynb"]
    assert before == [None] * len(before)
    assert "the agent's class was defined anew: run the cell that makes the agent" in first
    assert "the pool plays this agent: it plays an older one" in second
    assert "the optimizer belongs to this agent: it was made for an older agent" in third
    assert "plays an older one" not in third
    assert (fourth, trained) == (None, None)


def test_open_gaps_are_named_and_nothing_else_is_touched(tmp_path):
    cells = [
        *solution_cells("setup"),
        "a = 1\nb = <YOUR CODE: the answer>\nc = <YOUR CODE>",
        "checks.prepare_notebook('tensorflow')",
        "d = <YOUR CODE>",
        "text = 'fill in <YOUR CODE>'  # <YOUR CODE> is gone",
        "oops = (",
    ]
    write_notebook(tmp_path / "gaps.ipynb", cells)
    _, outcomes = run_nbval(tmp_path, "gaps.ipynb")
    _, two, _, one, none, syntax = outcomes["gaps.ipynb"]
    assert "OpenGaps: 2 gaps are still open in this cell." in two
    assert "  line 2: b = <YOUR CODE: the answer>\n  line 3: c = <YOUR CODE>" in two
    assert one.count("OpenGaps: 1 gap is still open in this cell.") == 1
    assert none is None
    assert "SyntaxError" in syntax
