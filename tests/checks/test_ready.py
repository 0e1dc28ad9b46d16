"""Before training: what belongs to another agent is found, and the right agent is trained."""

from tests.checks.variants import GIVEN
from tests.frameworks import each_framework
from tests.notebooks import run_nbval, solution_cells, write_notebook

SOLVED = (*GIVEN, "pool", "loss-exercise", "optimizer-exercise")
FIRST_STEP = solution_cells("first-step")[0].source

TRAIN_STEP = {"tensorflow": "tf.function(train_on_rollout)", "pytorch": "train_on_rollout"}


@each_framework
def test_the_agent_of_the_cell_that_ran_last_is_the_one_that_trains(tmp_path, framework):
    ready = "checks.check_ready_to_train(globals())"
    agent_cell, look, pool, optimizer = solution_cells(
        "agent-exercise", "agent-look", "pool", "optimizer-exercise", framework=framework
    )
    keep = """
from checks.frameworks import find_adapter
def weights(agent):
    return [framework.to_array(v).copy() for v in framework.trainable_variables(agent)]
framework = find_adapter(globals())
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
