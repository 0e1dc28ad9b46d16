"""Before training: do pool, agent and optimizer belong together?"""

from typing import Any

from checks.frameworks import find_adapter
from checks.measuring import find_optimizer
from checks.sheet import Sheet, require


def check_ready_to_train(namespace: dict[str, Any]) -> None:
    """Checks before training that pool, agent and optimizer belong together.

    Re-running one cell and not the next leaves the old object behind, and training would go on with
    it without a word.

    Args:
        namespace: the notebook's `globals()`, with `agent`, `pool`, and `optimizer` or `opt`.

    Raises:
        CheckFailed: if they do not; its message says which cell to run again.
    """
    sheet = Sheet("Before training")
    framework = find_adapter(namespace)
    names = "agent", "pool", find_optimizer(framework, namespace)
    require(namespace, sheet, *names, "train_on_rollout")
    agent, pool, optimizer = (namespace[name] for name in names)
    sheet.add(
        "the agent is of the class above",
        ""
        if type(agent) is namespace.get("SimpleRecurrentAgent")
        else "the agent's class was defined anew: run the cell that makes the agent again",
    )
    sheet.add(
        "the pool plays this agent",
        ""
        if pool.agent is agent
        else "it plays an older one: run the cell that makes the pool again",
    )
    known = framework.optimized_variables(optimizer)
    own = {id(variable) for variable in framework.trainable_variables(agent)}
    sheet.add(
        "the optimizer belongs to this agent",
        ""
        if known is None or {id(variable) for variable in known} == own
        else "it was made for an older agent: run the optimizer's cell again",
    )
    sheet.close()
