"""Measuring an answer changes nothing in the notebook, and sees what a step and a descent did."""

import importlib
import itertools
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from checks.loss import add_lines
from checks.loss_cases import CASES, N_ACTIONS
from checks.measuring import (
    LEARNING_RATE,
    MAX_UPDATES,
    LossMeasurement,
    StepObserver,
    descend,
    find_optimizer,
    find_stuck,
    measure_loss,
)
from checks.parts import AgentBypassed
from checks.sheet import Sheet
from grading.inside.cells import run_cells
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


# ------------------------------------------------------------------------------------------- steps

GRADIENT = np.array([0.5, -1.0, 2.0], np.float32)  # of the loss by the outputs
EACH = dict.fromkeys(range(4), GRADIENT / 2)  # by each of the four variables


class Agent:
    """Four variables that a test moves as the code of a student would."""

    def __init__(self):
        self.variables = np.zeros((4, 3), np.float32)

    def positions(self) -> np.ndarray:
        return self.variables.copy()


@pytest.fixture
def agent():
    return Agent()


@pytest.fixture
def observer(agent):
    return StepObserver(agent)


def update(observer, agent, *places, size=1.0):
    """Lets the optimizer move some variables along their gradients."""
    observer.before_update()
    agent.variables[[*places]] -= size * LEARNING_RATE * GRADIENT / 2
    observer.after_update()


def facts(observer):
    step, _ = observer.result()
    return step.n_updates, step.n_moved, step.is_bypassed


@pytest.mark.parametrize("size", [1.0, 0.3, -1.0])
def test_what_all_variables_do_in_one_step_says_what_the_loss_wants(observer, agent, size):
    observer.computed("loss", EACH, adds_up=False)
    update(observer, agent, 0, 1, 2, 3, size=size)
    assert observer.result()[1] == pytest.approx(-size * GRADIENT)
    assert facts(observer) == (1, 4, False)


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        ([], (0, 0, False)),
        ([()], (1, 0, False)),
        ([(2, 3)], (1, 2, False)),
        ([(0, 1, 2, 3), (0, 1, 2, 3)], (2, 4, False)),
        ([(0, 1, 2, 3), ()], (2, 4, False)),
    ],
)
def test_where_the_step_is_wrong_the_gradients_say_it(observer, agent, updates, expected):
    observer.computed("loss", EACH, adds_up=False)
    for places in updates:
        update(observer, agent, *places)
    assert observer.result()[1] == pytest.approx(-GRADIENT)
    assert facts(observer) == expected


def test_moves_without_the_optimizer_are_seen_and_not_used(observer, agent):
    observer.computed("loss", EACH, adds_up=False)
    agent.variables -= 0.001 * GRADIENT
    update(observer, agent)
    assert observer.result()[1] == pytest.approx(-GRADIENT)
    assert facts(observer) == (1, 4, True)


def test_where_no_gradient_was_seen_moves_count_for_each_step(observer, agent):
    for _ in range(2):
        update(observer, agent, 0, 1, 2, 3)
    assert observer.result()[1] == pytest.approx(-GRADIENT)


def test_gradients_of_some_variables_are_enough(observer):
    observer.computed("loss", {3: EACH[3]}, adds_up=False)
    assert observer.result()[1] == pytest.approx(-GRADIENT)


def test_gradients_of_several_terms_add_up_and_asking_twice_does_not(observer):
    terms = [1], [2]  # compared by identity, as tensors are
    for target in (*terms, *terms):
        observer.computed(target, EACH, adds_up=False)
    assert observer.result()[1] == pytest.approx(-2 * GRADIENT)


def test_backward_passes_add_up(observer):
    for _ in range(2):
        observer.computed(None, EACH, adds_up=True)
    assert observer.result()[1] == pytest.approx(-2 * GRADIENT)


def test_a_second_pass_through_the_agent_adds_nothing(observer, agent):
    observer.agent_called()
    observer.computed(None, EACH, adds_up=True)
    update(observer, agent, 0, 1, 2, 3)
    observer.agent_called()
    observer.computed(None, EACH, adds_up=True)
    update(observer, agent, 0, 1, 2, 3)
    assert observer.result()[1] == pytest.approx(-GRADIENT)


def test_gradients_that_come_after_the_step_are_told_from_others(observer, agent):
    update(observer, agent)
    observer.computed(None, EACH, adds_up=True)
    step, moves = observer.result()
    assert (step.has_gradients, step.has_gradients_first) == (True, False)
    assert moves == pytest.approx(-GRADIENT)


# -------------------------------------------------------------------------------------- stand-ins

CASE = next(iter(CASES.values()))
TRAINER = """class Trainer:
    def __init__(self, agent, optimizer):
        self.agent, self.optimizer = agent, optimizer
trainer = Trainer(agent, OPT)"""
BY_TRAINER = [("agent", "trainer.agent"), ("OPT.", "trainer.optimizer.")]
OWN_STEP = """class Own(torch.optim.Adam):
    def minimize(self, loss):
        self.zero_grad()
        loss.backward()
        self.step()
    def step(self):
        torch.nn.utils.clip_grad_norm_(agent.parameters(), 1e-3)
        super().step()
opt = Own(agent.parameters())"""
MINIMIZE = [
    ("opt.zero_grad()", "pass"),
    ("loss.backward()", "pass"),
    ("opt.step()", "opt.minimize(loss)"),
]
SCHEDULER = """opt.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
class Schedules:
    one = torch.optim.lr_scheduler.LambdaLR(opt, lambda n: n / 100)"""
FOUR_PARTS = """blank = SimpleRecurrentAgent.get_initial_state
def four_parts(self, n):
    return [*blank(self, n), *blank(self, n)]
SimpleRecurrentAgent.get_initial_state = four_parts"""
FOUR = "assert len(prev_memory_states) == len(agent.get_initial_state(1)) == 4; "
TF, PT = "tensorflow", "pytorch"
# The backbone sees all ticks at once, and only the cell runs tick by tick.
BACKBONE_FIRST = {
    TF: [
        (
            "logits = []",
            "features = agent.backbone(tf.reshape(states, (-1, *states.shape[2:])))\n"
            "        features = tf.reshape(features, (*rewards.shape, -1))\n"
            "        logits = []",
        ),
        (
            "memory, (logits_t, values_t) = agent(memory, obs_t)",
            "h, memory = agent.lstm_cell(features[:, t], memory)\n"
            "            logits_t = agent.logits_head(h)\n"
            "            values_t = agent.state_value_head(h)[:, 0]",
        ),
    ],
    PT: [
        (
            "logits = []",
            "maps = 10 * states.flatten(0, 1) - 3.6\n"
            "    for conv in agent.conv0, agent.conv1, agent.conv2:\n"
            "        maps = F.elu(conv(maps))\n"
            "    features = F.relu(agent.hid(agent.flatten(maps))).unflatten(0, rewards.shape)\n"
            "    logits = []",
        ),
        (
            "memory, (logits_t, values_t) = agent(memory, obs_t)",
            "memory = agent.rnn(features[:, t], memory)\n"
            "        logits_t = agent.logits(memory[0])\n"
            "        values_t = agent.state_value(memory[0])[:, 0]",
        ),
    ],
}
# The heads see all ticks at once, too.
HEADS_LAST = {
    TF: [
        BACKBONE_FIRST[TF][0],
        (
            "memory, (logits_t, values_t) = agent(memory, obs_t)",
            "logits_t, memory = agent.lstm_cell(states=memory, inputs=features[:, t])",
        ),
        ("append(values_t)", "append(logits_t)"),
        ("tf.where(goes_on, part, blank)", "part * is_not_done[:, t, None]"),
        ("tf.stack(logits, axis=1)", "agent.logits_head(tf.stack(logits, axis=1))"),
        (
            "tf.stack(state_values, axis=1)",
            "agent.state_value_head(tf.stack(state_values, axis=1))[..., 0]",
        ),
    ],
    PT: [
        BACKBONE_FIRST[PT][0],
        (
            "memory, (logits_t, values_t) = agent(memory, obs_t)",
            "logits_t, _ = memory = agent.rnn(hx=memory, input=features[:, t])",
        ),
        ("append(values_t)", "append(logits_t)"),
        ("torch.where(goes_on, part, blank)", "part * is_not_done[:, t, None]"),
        ("torch.stack(logits, dim=1)", "agent.logits(torch.stack(logits, dim=1))"),
        (
            "torch.stack(state_values, dim=1)",
            "agent.state_value(torch.stack(state_values, dim=1)).squeeze(-1)",
        ),
    ],
}
DEEP_HEADS = {
    TF: "dense = keras.layers.Dense\n"
    "agent.state_value_head = keras.Sequential([dense(8, activation='tanh'), dense(1)])\n"
    "agent.forward(agent.get_initial_state(1), tf.zeros((1, *obs_shape)))",
    PT: "agent.state_value = nn.Sequential(nn.Linear(128, 8), nn.Tanh(), nn.Linear(8, 1))",
}
# What a notebook does before its loss, and how the loss differs.
NOTEBOOKS = {
    "an object that trains, made before": {TF: (TRAINER, BY_TRAINER), PT: (TRAINER, BY_TRAINER)},
    "variables listed before": {
        TF: ("listed = agent.trainable_variables", [("agent.trainable_variables", "listed")]),
        PT: (
            "listed = list(agent.parameters())",
            [("opt.zero_grad()", "for each in listed: each.grad = None")],
        ),
    },
    "variables of a layer": {
        PT: ("", [("opt.zero_grad()", "for layer in agent.children(): layer.zero_grad()")]),
    },
    "variables without Keras": {
        TF: (
            "class Plain(SimpleRecurrentAgent):\n"
            "    trainable_variables = [tf.Variable([[1.0]]), tf.Variable(1.0)]\n"
            "agent = Plain(obs_shape, n_actions)",
            [],
        ),
    },
    "an attribute of the agent": {
        TF: ("agent.size = 7", [("logits = []", "assert agent.size == 7; logits = []")]),
        PT: ("", [("logits = []", "assert agent.rnn.hidden_size > 1; logits = []")]),
    },
    "names of the arguments": {
        TF: ("", [("agent(memory, obs_t)", "agent(prev_state=memory, obs_t=obs_t)")]),
        PT: ("", [("agent(memory, obs_t)", "agent.forward(memory, obs_t=obs_t)")]),
    },
    "a memory of four parts": {
        TF: (FOUR_PARTS, [("logits = []", f"{FOUR}logits = []")]),
        PT: (FOUR_PARTS, [("logits = []", f"{FOUR}logits = []")]),
    },
    "layers, the backbone first": {f: ("", edits) for f, edits in BACKBONE_FIRST.items()},
    "layers, the heads last": {f: ("", edits) for f, edits in HEADS_LAST.items()},
    "layers, heads of several": {f: (DEEP_HEADS[f], edits) for f, edits in HEADS_LAST.items()},
    "an optimizer that clips": {
        TF: ("optimizer = keras.optimizers.Adam(global_clipnorm=1e-3)", []),
        PT: (OWN_STEP, MINIMIZE),
    },
    "an optimizer that accumulates": {
        TF: ("optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)", []),
    },
    "an optimizer of other variables": {
        TF: ("optimizer.build([keras.Variable([1.0])])", []),
        PT: ("opt = torch.optim.Adam([torch.zeros(2, requires_grad=True)])", []),
    },
    "a schedule": {
        TF: (
            "optimizer.learning_rate = 0.0",
            [("logits = []", "optimizer.learning_rate = optimizer.learning_rate + 1; logits = []")],
        ),
        PT: (SCHEDULER, [("opt.step()", "opt.step(); Schedules.one.step()")]),
    },
}  # fmt: skip
# What must not change, beside what a whole check leaves as it was.
KEPT = {
    TF: "repr(([(v.path, v.numpy().sum()) for v in optimizer.variables], type(agent), "
    "[v.shape for v in agent.trainable_variables], [*vars(agent)], [*vars(optimizer)]))",
    PT: "repr((opt.state_dict(), type(agent), [(p.shape, p.grad) for p in agent.parameters()], "
    "[*vars(agent)], [*vars(opt)], 'Schedules' in vars() and vars(Schedules.one)))",
}


class Notebook:
    """A notebook of a solution, whose cell of the loss is still to be run."""

    def __init__(self, framework: str):
        self.adapter = importlib.import_module(f"checks.{framework}")
        names = "imports", "agent-exercise", "select", "loss-exercise"
        *cells, self._loss = (cell.source for cell in solution_cells(*names, framework=framework))
        given = {"obs_shape": self.adapter.OBS_SHAPE, "n_actions": N_ACTIONS}
        self.globals = run_cells("loss", cells, **given)
        self.run("agent = SimpleRecurrentAgent(obs_shape, n_actions)")
        if framework == PT:
            self.run("opt = torch.optim.Adam(agent.parameters(), lr=0.0)")
        else:
            self.run("optimizer = keras.optimizers.Adam()")

    def run(self, source: str) -> None:
        exec(source.replace("OPT", self.adapter.OPTIMIZER), self.globals)

    def run_loss(self, *edits: tuple[str, str]) -> None:
        source = self._loss
        for old, new in edits:
            old, new = (words.replace("OPT", self.adapter.OPTIMIZER) for words in (old, new))
            assert old in source
            source = source.replace(old, new)
        exec(source, self.globals)

    def measure(self) -> LossMeasurement:
        return measure_loss(self.adapter, self.globals, CASE, 2)[1]


@pytest.fixture
def notebook(framework):
    return Notebook(framework)


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        pytest.param(framework, name, marks=getattr(pytest.mark, framework))
        for name, frameworks in NOTEBOOKS.items()
        for framework in frameworks
    ],
)
def test_stand_ins_take_the_place_of_agent_and_optimizer(notebook, framework, name):
    setup, edits = NOTEBOOKS[name][framework]
    notebook.run(setup)
    notebook.run_loss(*edits)
    notebook.run(f"before = {KEPT[framework]}")
    in_place = notebook.measure()
    notebook.run(f"after = {KEPT[framework]}")
    assert notebook.globals["after"] == notebook.globals["before"]

    del notebook.globals["agent"], notebook.globals[notebook.adapter.OPTIMIZER]
    notebook.run_loss()
    replaced = notebook.measure()
    for field in ("loss", "value_moves", "logit_moves", "memory_moves"):
        expected = getattr(replaced, field)
        assert getattr(in_place, field) == pytest.approx(expected, rel=1e-4, abs=1e-5), field
    assert np.array_equal(in_place.memories, replaced.memories)
    assert in_place.step.n_moved == in_place.step.n_variables
    counts = {"n_moved": 0, "n_variables": 0}
    assert replace(in_place.step, **counts) == replace(replaced.step, **counts)


@each_framework
def test_weights_that_the_step_leaves_out_are_seen_in_place(notebook, framework):
    if framework == TF:
        some = [("agent.trainable_variables", "agent.trainable_variables[2:]")]
    else:
        some = [("loss.backward()", "loss.backward(inputs=list(agent.parameters())[2:])")]
    notebook.run_loss(*some)
    step = notebook.measure().step
    assert step.n_moved == step.n_variables - 2


# One mistake in a loss that calls layers, and the parts that it costs.
MISTAKES_BY_LAYERS = {
    "the sign of the entropy": (
        {
            TF: ("entropy_reg = -tf", "entropy_reg = tf"),
            PT: ("entropy_reg = -torch", "entropy_reg = torch"),
        },
        {"entropy_value", "entropy_gradient"},
    ),
    "the target not stopped": (
        {
            TF: ("tf.stop_gradient(state_values[:, t + 1])", "state_values[:, t + 1]"),
            PT: ("state_values[:, t + 1].detach()", "state_values[:, t + 1]"),
        },
        {"semi_gradient"},
    ),
    "the memory not handed on": (
        {
            TF: ("logits_t, memory = agent", "logits_t, _ = agent"),
            PT: ("logits_t, _ = memory = agent", "logits_t, _ = agent"),
        },
        {"memory_passed", "memory_gradient"},
    ),
    "the memory stopped": (
        {
            TF: ("states=memory", "states=[tf.stop_gradient(part) for part in memory]"),
            PT: ("hx=memory", "hx=[part.detach() for part in memory]"),
        },
        {"memory_gradient"},
    ),
    "the memory not wiped": (
        {
            TF: ("part * is_not_done[:, t, None]", "part"),
            PT: ("part * is_not_done[:, t, None]", "part"),
        },
        {"memory_reset"},
    ),
    "a backbone that does not learn": (
        {
            TF: (
                "(*rewards.shape, -1))",
                "(*rewards.shape, -1)); features = tf.stop_gradient(features)",
            ),
            PT: ("features[:, t]", "features[:, t].detach()"),
        },
        {"step"},
    ),
    "games and ticks confused": (
        {
            TF: (
                "tf.reshape(features, (*rewards.shape, -1))",
                "tf.transpose(tf.reshape(features, (*rewards.shape[::-1], -1)), (1, 0, 2))",
            ),
            PT: ("unflatten(0, rewards.shape)", "unflatten(0, rewards.T.shape).transpose(0, 1)"),
        },
        {
            "value_loss",
            "semi_gradient",
            "value_ends",
            "advantage",
            "policy_gradient",
            "policy_ends",
            "memory_gradient",
        },
    ),
}


@each_framework
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@pytest.mark.parametrize("name", MISTAKES_BY_LAYERS)
def test_mistakes_of_a_loss_that_calls_layers_cost_their_own_parts(notebook, framework, name):
    mistakes, parts = MISTAKES_BY_LAYERS[name]
    notebook.run_loss(*HEADS_LAST[framework], mistakes[framework])
    sheet = Sheet(name, "loss")
    add_lines(notebook.adapter, notebook.globals, sheet)
    assert {part for part, problem in sheet.parts().items() if problem} == parts


# What a loss may do to an agent, so that nobody can tell what its layers are given or give.
UNCLEAR = {
    "features of no observation": {
        TF: ("logits = []", "agent.lstm_cell(tf.zeros((5, 256)), memory); logits = []"),
        PT: ("logits = []", "agent.rnn(torch.zeros(5, 128), memory); logits = []"),
    },
    "a layer within a head": {
        TF: ("logits = []", "agent.state_value_head.layers[0](memory[0]); logits = []"),
        PT: ("logits = []", "agent.state_value[0](memory[0]); logits = []"),
    },
}


@each_framework
@pytest.mark.parametrize("name", UNCLEAR)
def test_whoever_trains_by_layers_that_nothing_is_known_of_is_told(notebook, framework, name):
    notebook.run(DEEP_HEADS[framework])
    notebook.run_loss(UNCLEAR[name][framework])
    with pytest.raises(AgentBypassed, match="layers of the agent instead of the agent itself"):
        notebook.measure()
    notebook.run_loss()
    notebook.measure()


@pytest.mark.pytorch
@pytest.mark.parametrize("framework", [PT])
def test_older_graphs_and_those_of_the_stand_in_do_no_harm(notebook):
    notebook.run(
        "def value():\n"
        "    observations = torch.zeros(1, *obs_shape)\n"
        "    return agent(agent.get_initial_state(1), observations)[1][1].sum()\n"
        "kept = [value()]"
    )
    notebook.run_loss(("opt.zero_grad()", "kept.append(loss); opt.zero_grad()"))
    notebook.measure()
    notebook.run("value().backward()")


# -------------------------------------------------------------------------------------- optimizers


def make_descent(*rates):
    """Returns an adapter whose variables, two numbers each, have a rate for each update."""
    places = [np.float32([2, -1]) for _ in rates]
    counter = itertools.count()

    def take_step():
        update = next(counter)
        for place, rate in zip(places, rates, strict=True):
            place -= np.float32(rate(update)) * 2 * place

    def downhill(optimizer, start, goal):
        return take_step, lambda: [place.copy() for place in places]

    return SimpleNamespace(downhill=downhill), counter


@pytest.mark.parametrize(
    "rate",
    [
        lambda update: 0.1,
        lambda update: 0.1 if update % 4 == 3 else 0.0,
        lambda update: 0.1 if update > 150 else 0.0,
    ],
    ids=["at once", "accumulated", "after a warm-up"],
)
def test_a_descent_is_what_moves_whenever_it_does(rate):
    path, has_moved = descend(make_descent(rate)[0], None, np.ones(2, np.float32))
    assert path == pytest.approx(np.outer(0.8 ** np.arange(4), [2, -1]), rel=1e-5)
    assert has_moved == [True]


def test_a_descent_ends_once_all_is_known():
    adapter, counter = make_descent(lambda update: 0.1)
    descend(adapter, None, np.ones(2, np.float32))
    assert next(counter) == 3


def test_what_never_moves_is_found():
    adapter, counter = make_descent(lambda update: 0.1, lambda update: 0.0)
    path, has_moved = descend(adapter, None, np.ones(2, np.float32))
    assert path.shape == (4, 4)
    assert has_moved == [True, False]
    assert next(counter) == MAX_UPDATES


def test_a_descent_ends_at_infinity():
    adapter, counter = make_descent(lambda update: 1e30)
    with np.errstate(over="ignore"):
        path, _ = descend(adapter, None, np.ones(2, np.float32))
    assert not np.all(np.isfinite(path))
    assert next(counter) < 5


@pytest.mark.parametrize(
    ("known", "has_moved", "stuck"),
    [
        (None, [True], []),
        ("abc", [True, True, True], []),
        ("ab", [True, True], ["c"]),
        ("abcd", [True, False, True, True], ["b"]),
        ("xyz", [True, True, True], []),
    ],
    ids=["none yet", "all", "some", "one of them stays", "another agent's"],
)
def test_the_variables_that_do_not_learn_are_found(known, has_moved, stuck):
    variables = {name: object() for name in "abcdxyz"}
    adapter = SimpleNamespace(
        named_variables=lambda agent: [(name, variables[name]) for name in "abc"],
        optimized_variables=lambda optimizer: known and [variables[name] for name in known],
    )
    assert find_stuck(adapter, None, None, has_moved) == stuck


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ({}, "opt"),
        ({"opt": 1, "optimizer": 2}, "opt"),
        ({"optimizer": 2}, "optimizer"),
        ({"opt": ModuleType("torch.optim"), "optimizer": 2}, "optimizer"),
    ],
)
def test_an_optimizer_is_found_by_either_name(namespace, name):
    adapter = SimpleNamespace(OPTIMIZER="opt", OPTIMIZER_NAMES=("opt", "optimizer"))
    assert find_optimizer(adapter, namespace) == name
