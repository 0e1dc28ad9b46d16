"""The visible checks, in a notebook run by `pytest --nbval` as a student runs it."""

import functools
import re

import pytest

from tests.frameworks import TRACKS, each_framework, each_variant
from tests.notebooks import run_nbval, solution_cells, write_notebook

GIVEN = ("setup", "imports", "make-env", "select", "agent-exercise", "agent-look")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What nbval says of each variant's cell and of its check: None if it passed, else the message.

    All variants stand below each other in one notebook, so that a framework is imported once.
    """

    @functools.cache
    def run(framework: str) -> dict:
        folder, track = tmp_path_factory.mktemp(framework), TRACKS[framework]
        cells = solution_cells(*GIVEN, framework=framework)
        for variant in track.variants:
            names = (f"{variant.exercise}-{kind}" for kind in ("exercise", "check"))
            exercise, check = solution_cells(*names, framework=framework)
            exercise.source = variant.apply(exercise.source)
            cells += [exercise, check]
        write_notebook(folder / "variants.ipynb", cells)
        failures = run_nbval(folder, "variants.ipynb")[1]["variants.ipynb"]
        assert failures[: len(GIVEN)] == [None] * len(GIVEN)
        # A variant whose own cell fails, an agent that cannot be made for example, is caught there.
        checked = failures[len(GIVEN) :]
        return dict(zip(track.variants, zip(checked[::2], checked[1::2], strict=True), strict=True))

    return run


@each_variant(right=True)
def test_a_right_solution_passes_however_it_is_written(outcomes, framework, variant):
    assert outcomes(framework)[variant] == (None, None)


@each_variant(right=False)
def test_a_misconception_fails_with_a_line_that_names_it(outcomes, framework, variant):
    _, message = outcomes(framework)[variant]
    assert message is not None
    lines = re.findall(r"✗ .*", message)
    assert any(variant.idea.message in line for line in lines), lines


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


TRAIN_STEP = {"tensorflow": "tf.function(train_on_rollout)", "pytorch": "train_on_rollout"}


@each_framework
def test_the_agent_of_the_cell_that_ran_last_is_the_one_that_trains(tmp_path, framework):
    ready = "checks.check_ready_to_train(globals())"
    agent_cell, look, pool, optimizer = solution_cells(
        "agent-exercise", "agent-look", "pool", "optimizer-exercise", framework=framework
    )
    keep = """
def weights(agent):
    variables = checks.framework.trainable_variables(agent)
    return [checks.framework.to_array(variable).copy() for variable in variables]
old_agent, old = agent, weights(agent)
"""
    train = f"""
new = weights(agent)
memory = list(pool.prev_memory_states)
train_step = {TRAIN_STEP[framework]}
train_step(*pool.interact(10), memory, gamma)
assert old_agent is not agent
assert all(np.array_equal(a, b) for a, b in zip(old, weights(old_agent)))
assert not any(np.array_equal(a, b) for a, b in zip(new[-2:], weights(agent)[-2:]))
"""
    cells = [*solution_cells(*SOLVED, framework=framework), ready, FIRST_STEP, ready, keep]
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


@each_framework
def test_open_gaps_are_named_and_nothing_else_is_touched(tmp_path, framework):
    cells = [
        *solution_cells("setup", framework=framework),
        "a = 1\nb = <YOUR CODE: the answer>\nc = <YOUR CODE>",
        f"checks.prepare_notebook('{framework}')",
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
