"""Notebooks as people really edit them: ordinary Python keeps its points, mistakes cost their own.

Each case is a solution with some edits. What is right must earn all points, however it is written;
what is wrong or unfinished must lose exactly the named parts.
"""

import re
import textwrap
from collections.abc import Callable

import nbformat
import pytest

from assignments.kungfu.tracks import PYTORCH
from grading.gaps import find_gaps
from grading.grade import Grader
from grading.report import as_table
from grading.results import Report
from tests.frameworks import FRAMEWORKS, find_variant
from tests.notebooks import solution_path, student_path

Notebook = nbformat.NotebookNode
TF, PT = "tensorflow", "pytorch"


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        print("grading seed:", grader.seed)
        yield grader


def edited(framework: str, *edits: tuple[str, str, str], before: tuple[str, str] = ("", "")):
    """Returns a solution with edits `(cell, old, new)`, and a new cell before one of an id."""
    notebook = nbformat.read(solution_path(framework), as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    for name, old, new in edits:
        assert cells[name].source.count(old) == 1, (name, old)
        cells[name].source = cells[name].source.replace(old, new)
    name, source = before
    if name:
        position = [cell.id for cell in notebook.cells].index(name)
        notebook.cells.insert(position, nbformat.v4.new_code_cell(source))
    return notebook


def move(notebook: Notebook, name: str, behind: str) -> Notebook:
    """Moves a cell behind another one."""
    cell = next(cell for cell in notebook.cells if cell.id == name)
    notebook.cells.remove(cell)
    position = [cell.id for cell in notebook.cells].index(behind)
    notebook.cells.insert(position + 1, cell)
    return notebook


def grade(grader: Grader, notebook: Notebook, tmp_path) -> Report:
    path = tmp_path / "submission.ipynb"
    nbformat.write(notebook, path)
    report = grader.grade(path)
    print(as_table(report))
    return report


def lost(report: Report) -> set[str]:
    return {check.name for e in report.exercises[:3] for check in e.checks if not check.passed}


def messages(report: Report) -> dict[str, str]:
    checks = [check for exercise in report.exercises[:3] for check in exercise.checks]
    return {check.name: check.message for check in checks if not check.passed}


def remarks(report: Report) -> str:
    return "\n".join([*report.remarks, *(r for e in report.exercises for r in e.remarks)])


# ------------------------------------------------------------------------------- ordinary Python

AGENT, LOSS, SELECT = "agent-exercise", "loss-exercise", "select"
FUTURE = (AGENT, "# Exercise: agent\n", "# Exercise: agent\nfrom __future__ import annotations\n\n")
INITIAL_STATE = re.compile(r'    def get_initial_state.*?""".*?""".*?\n\n', re.DOTALL)
FIRST_LINE = {TF: "    states = tf.cast(states", PT: "    states = torch.as_tensor(states"}


def without_initial_state(framework: str, add: str) -> Notebook:
    """Takes a method out of the agent's class, and adds it below by some code."""
    notebook = edited(framework)
    cell = next(cell for cell in notebook.cells if cell.id == AGENT)
    method = INITIAL_STATE.search(cell.source)[0]
    lines = cell.source.replace(method, "").splitlines()
    # The pass in the constructor comes before the method is there.
    kept = [line for line in lines if "self.forward(self.get_initial_state(1)" not in line]
    cell.source = "\n".join(kept) + "\n\n\n" + add.replace("METHOD", textwrap.dedent(method))
    return notebook


DECORATOR = """def method_of(cls):
    def add(function):
        setattr(cls, function.__name__, function)
        return function
    return add


@method_of(SimpleRecurrentAgent)
METHOD"""


def first(framework: str, line: str) -> tuple[str, str, str]:
    """Returns the edit that puts a line first into `train_on_rollout`."""
    old = FIRST_LINE[framework]
    return LOSS, old, f"    {line}\n{old}"


def in_front(line: str) -> tuple[str, str, str]:
    """Returns the edit that puts a line above `train_on_rollout`."""
    return LOSS, "# Exercise: loss\n", f"# Exercise: loss\n{line}\n\n\n"


MADE = "SimpleRecurrentAgent(obs_shape, n_actions)"
UNITS = (AGENT, "self.lstm_output_size = 256", 'self.lstm_output_size = CONFIG["units"]')
PICK = "select_log_policy_for_actions"

TRAINER = """class Trainer:
    def __init__(self, agent, optimizer):
        self.agent, self.optimizer = agent, optimizer


trainer = Trainer(agent, optimizer)"""
MINIMIZER = """class Minimizer(torch.optim.Adam):
    def minimize(self, loss):
        self.zero_grad()
        loss.backward()
        self.step()


"""

RIGHT: dict[str, Callable[[], Notebook]] = {
    "annotations of the class itself": lambda: edited(
        TF,
        FUTURE,
        (AGENT, "step(self, prev_state, obs_t):", "step(self, prev_state, obs_t) -> tuple:"),
        (
            AGENT,
            "    def sample_actions",
            "    def copy(self) -> SimpleRecurrentAgent:\n        return self\n\n"
            "    def sample_actions",
        ),
    ),
    "annotations that name what is imported for types only": lambda: edited(
        PT,
        FUTURE,
        (AGENT, "actions(self, agent_outputs):", "actions(self, agent_outputs: Outputs):"),
        before=(AGENT, "import typing\nif typing.TYPE_CHECKING:\n    from x import Outputs"),
    ),
    "a method added by a decorator": lambda: without_initial_state(TF, DECORATOR),
    "a method added by an assignment": lambda: without_initial_state(
        PT, "METHOD\nvars()['SimpleRecurrentAgent'].get_initial_state = get_initial_state"
    ),
    "a dictionary that is updated": lambda: edited(
        TF, UNITS, before=(AGENT, "CONFIG = {}\nCONFIG.update(units=256)")
    ),
    "a dictionary filled by a loop": lambda: edited(
        TF,
        UNITS,
        before=(AGENT, "CONFIG = {}\nfor name, n in [('units', 128)]:\n    CONFIG[name] = n"),
    ),
    "a list that grows": lambda: edited(
        TF,
        (AGENT, "self.lstm_output_size = 256", "self.lstm_output_size = SIZES[-1]"),
        before=(AGENT, "SIZES = []\nSIZES.append(256)"),
    ),
    "a function with the name of a module": lambda: edited(
        TF, in_front("from time import time"), first(TF, "t0 = time()")
    ),
    "a module with the name of another": lambda: edited(
        PT, in_front("import math as time"), first(PT, "time.sqrt(4)")
    ),
    "settings from a later cell": lambda: move(
        edited(TF, ("optimizer-exercise", "Adam()", "Adam(learning_rate)")),
        "optimizer-exercise",
        behind="training-settings",
    ),
    "a helper from a later cell": lambda: edited(
        PT,
        first(PT, "states = prepare(states)"),
        before=("first-step", "def prepare(states):\n    return states"),
    ),
    "a given function with a third parameter": lambda: edited(
        TF,
        (SELECT, f"{PICK}(log_policy, actions)", f"{PICK}(log_policy, actions, depth)"),
        (SELECT, "depth=n_actions", "depth=depth"),
        (LOSS, f"{PICK}(log_policy, actions)", f"{PICK}(log_policy, actions, n_actions)"),
    ),
    "a given function that does more": lambda: edited(
        PT,
        (SELECT, "    return F.one_hot", "    n_calls.append(1)\n    return F.one_hot"),
        before=(SELECT, "n_calls = []"),
    ),
    "a package that is not there": lambda: edited(
        TF, first(TF, "wandb.log({})"), before=(AGENT, "import wandb")
    ),
    "a writer of a package that is not there": lambda: edited(
        PT,
        first(PT, "writer.add_scalar('calls', 1, 0)"),
        before=(AGENT, "from tensorboardX import SummaryWriter\nwriter = SummaryWriter('runs')"),
    ),
    "arrays printed": lambda: edited(TF, first(TF, "print(states.tolist())")),
    "arrays printed by the framework": lambda: edited(
        TF, first(TF, "tf.print(states, summarize=-1)")
    ),
    "arrays written to the log": lambda: edited(
        PT, first(PT, "import sys; sys.stderr.write(str(states.tolist()))")
    ),
    "an assertion on the number of games": lambda: edited(
        TF, first(TF, "assert len(states) == n_parallel_games")
    ),
    "CUDA written out": lambda: edited(
        PT,
        (AGENT, "        obs_t = 10 * obs_t", "        obs_t = 10 * obs_t.cuda()"),
        first(PT, "device = 'cuda'; states = torch.tensor(states, device=device)"),
    ),
    "a module sent to CUDA": lambda: edited(
        PT,
        ("agent-look", MADE, f"{MADE}.to(torch.device('cuda:0'))"),
        first(PT, "rewards = torch.cuda.FloatTensor(rewards)"),
    ),
    "an agent made from the space and a device": lambda: edited(
        PT,
        (AGENT, "(self, obs_shape, n_actions):", "(self, space, n_actions, device):"),
        ("agent-look", "(obs_shape, n_actions)", "(env.observation_space, n_actions, 'cpu')"),
    ),
    "an agent made by keywords only": lambda: edited(
        TF,
        (
            AGENT,
            "(self, obs_shape, n_actions):",
            "(self, *, shape, n_actions):\n        obs_shape = shape",
        ),
        ("agent-look", "(obs_shape, n_actions)", "(shape=obs_shape, n_actions=n_actions)"),
    ),
    "an object that trains, made before the loss": lambda: move(
        edited(
            TF,
            (LOSS, "agent(memory, obs_t)", "trainer.agent(memory, obs_t)"),
            (LOSS, "tape.gradient(loss, agent.", "tape.gradient(loss, trainer.agent."),
            (LOSS, "optimizer.apply_gradients", "trainer.optimizer.apply_gradients"),
            (LOSS, "zip(grads, agent.", "zip(grads, trainer.agent."),
            ("optimizer-exercise", "Adam()  #", f"Adam(global_clipnorm=0.01)\n\n\n{TRAINER}  #"),
        ),
        "optimizer-exercise",
        behind="agent-look",
    ),
    "the backbone for all ticks at once": lambda: edited(
        TF,
        (
            LOSS,
            "        logits = []",
            "        features = agent.backbone(tf.reshape(states, (-1, *states.shape[2:])))\n"
            "        features = tf.reshape(features, (*states.shape[:2], -1))\n"
            "        logits = []",
        ),
        (
            LOSS,
            "memory, (logits_t, values_t) = agent(memory, obs_t)",
            "h, memory = agent.lstm_cell(features[:, t], memory)\n"
            "            logits_t = agent.logits_head(h)\n"
            "            values_t = agent.state_value_head(h)[:, 0]",
        ),
    ),
    "an optimizer with a method of its own": lambda: edited(
        PT,
        (LOSS, "    opt.zero_grad()", "    opt.minimize(loss)"),
        (LOSS, "    loss.backward()", "    # which clears and computes gradients"),
        (LOSS, "    opt.step()", "    # and takes the step"),
        ("optimizer-exercise", "opt = torch.optim.Adam(", MINIMIZER + "opt = Minimizer("),
    ),
}


@pytest.mark.tensorflow
@pytest.mark.pytorch
@pytest.mark.parametrize("name", RIGHT)
def test_ordinary_python_keeps_all_points(grader, tmp_path, name):
    report = grade(grader, RIGHT[name](), tmp_path)
    assert messages(report) == {}
    assert [exercise.points for exercise in report.exercises[:3]] == [20, 50, 10]


LAYERS = """
    def heads(self, hidden):
        return self.logits(hidden), self.state_value(hidden)[:, 0]

    @torch.no_grad()
    def step"""


@pytest.mark.pytorch
def test_what_trains_by_parts_of_the_agent_is_accused_of_nothing(grader, tmp_path):
    heads = "agent.heads(agent.rnn(agent.hid(torch.zeros(len(obs_t), 512)), memory)[0])"
    notebook = edited(
        PT,
        (AGENT, "\n    @torch.no_grad()\n    def step", LAYERS),
        (
            LOSS,
            "memory, (logits_t, values_t) = agent(memory, obs_t)",
            f"logits_t, values_t = {heads}",
        ),
    )
    loss = grade(grader, notebook, tmp_path).exercises[1]
    assert "calls layers of the agent instead of the agent itself" in loss.reason
    assert {check.message for check in loss.checks} == {""}


@pytest.mark.tensorflow
def test_a_missing_package_is_named(grader, tmp_path):
    report = grade(grader, RIGHT["a package that is not there"](), tmp_path)
    assert "not installed here: wandb" in remarks(report)


NEWER = ["f'{f'{1}'}'", "f'{states['a']}'", "f'{'\\n'.join('ab')}'"]


@pytest.mark.tensorflow
@pytest.mark.parametrize("source", NEWER)
def test_newer_python_is_named(grader, tmp_path, source):
    report = grade(grader, edited(TF, first(TF, f"text = {source}")), tmp_path)
    loss = report.exercises[1]
    try:
        compile(source, "", "eval")
    except SyntaxError:
        assert "it may need Python 3.12" in loss.reason
        assert "this is not Python 3.11" in loss.reason
    else:
        assert loss.points == 50


# ----------------------------------------------------------------------------------- unfinished

RAN = "the whole notebook ran as well"
VALUE = {"value_loss", "semi_gradient", "value_ends"}
ENTROPY = {"entropy_value", "entropy_gradient"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_open_gap_costs_its_own_parts(grader, tmp_path, framework):
    notebook = edited(framework)
    cell = next(cell for cell in notebook.cells if cell.id == LOSS)
    gap = find_gaps(cell.source)[1]
    cell.source = cell.source[: gap.start] + gap.placeholder + cell.source[gap.end :]
    report = grade(grader, notebook, tmp_path)
    assert lost(report) == VALUE
    said = [words for words in messages(report).values() if "a gap is open" in words]
    assert said == ["a gap is open: `value_loss += <YOUR CODE>`"]
    assert RAN not in remarks(report)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("target", "cost"),
    [("new_state", {"new_state"}), ("logits", {"logits"}), ("state_value", {"state_value"})],
)
def test_an_open_gap_of_the_agent_costs_its_own_part(grader, tmp_path, framework, target, cost):
    notebook = edited(framework)
    cell = next(cell for cell in notebook.cells if cell.id == AGENT)
    cell.source = re.sub(rf"\b{target} = .*  # YOUR CODE.*", f"{target} = <YOUR CODE>", cell.source)
    assert lost(grade(grader, notebook, tmp_path)) == cost


ENTROPY_LINE = """entropy_reg = -tf.reduce_mean(
            tf.reduce_sum(policy * log_policy, axis=-1)
        )"""
HELPER = """def entropy(p, log_p):
    return -tf.reduce_mean(tf.reduce_sum(p * log_p, axis=7))"""
COMMENT = "            # How much better"
# What is edited; the parts that it costs; what the report says, once.
RAISING: dict[str, tuple[Callable[[], Notebook], set[str], str]] = {
    "a name that the framework does not have": (
        lambda: edited(
            TF, (LOSS, "value_loss += tf.reduce_mean", "value_loss += tf.losses.mean_squared_error")
        ),
        VALUE,
        "has no attribute 'mean_squared_error'",
    ),
    "a given line that was changed": (
        lambda: edited(
            PT,
            (
                LOSS,
                "logpi_a_s_t = logprobas_for_actions[:, t]",
                "logpi_a_s_t = -F.nll_loss(logprobas[:, t], actions[:, t].int(), reduction='none')",
            ),
            (LOSS, "J_hat = 0.0", "terms = []"),
            (
                LOSS,
                "J_hat += torch.mean(logpi_a_s_t * advantage)",
                "terms.append((logpi_a_s_t * advantage).mean())",
            ),
            (LOSS, "J_hat /= rollout_length", "J_hat = torch.stack(terms).mean()"),
        ),
        {"policy_gradient"},
        "expected target dtype to be Long",
    ),
    "a misspelt local name": (
        lambda: edited(PT, (LOSS, "= cumulative_returns - V_t", "= cumulative_return - V_t")),
        {"advantage"},
        "name 'cumulative_return' is not defined",
    ),
    "an error in a helper": (
        lambda: edited(
            TF,
            in_front(HELPER),
            (LOSS, ENTROPY_LINE, "entropy_reg = entropy(policy, log_policy)"),
        ),
        ENTROPY,
        "axis=7",
    ),
    "an error in the line before": (
        lambda: edited(
            TF,
            (LOSS, COMMENT, f"            gap = V_nxt - V_t\n{COMMENT}"),
            (LOSS, "advantage = cumulative_returns - V_t", "advantage = -gap"),
        ),
        {"advantage"},
        "name 'V_nxt' is not defined",
    ),
    "an error that matters to nothing": (
        lambda: edited(TF, (LOSS, COMMENT, f"            print(V_nxt)\n{COMMENT}")),
        set(),
        "",
    ),
    "a layer that the agent does not have": (
        lambda: edited(TF, (AGENT, "self.logits_head(hidden)", "self.logits_heads(hidden)")),
        {"logits"},
        "has no attribute 'logits_heads'",
    ),
}


@pytest.mark.tensorflow
@pytest.mark.pytorch
@pytest.mark.parametrize("name", RAISING)
def test_a_line_that_fails_costs_its_own_parts(grader, tmp_path, name):
    make, cost, words = RAISING[name]
    report = grade(grader, make(), tmp_path)
    assert lost(report) == cost
    assert sum(words in message for message in messages(report).values()) == bool(cost)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_notebook_with_all_gaps_open_is_ungradable(grader, tmp_path, framework):
    report = grade(grader, nbformat.read(student_path(framework), as_version=4), tmp_path)
    assert [exercise.points for exercise in report.exercises] == [0] * 4
    assert ["open, in line" in exercise.reason for exercise in report.exercises[:3]] == [True] * 3


# ----------------------------------------------------------------------------------- second looks


def flawed() -> Notebook:
    notebook = nbformat.read(student_path("pytorch"), as_version=4)
    answers = {e.cell_id: PYTORCH.solution_of(e.name) for e in PYTORCH.template.exercises}
    mutant = find_variant("pytorch", "loss", "entropy with the wrong sign")
    answers[LOSS] = mutant.apply(answers[LOSS])
    for cell in notebook.cells:
        cell.source = answers.get(cell.id, cell.source)
    return notebook


@pytest.mark.pytorch
@pytest.mark.parametrize(
    ("add", "ran"),
    [
        ("", False),
        # Whatever the student has written besides may change what the answer does.
        ("for name in ['seed']: globals()[name] = 1", True),
        ("print(agent)", True),
    ],
)
def test_the_notebook_runs_only_where_it_could_say_more(grader, tmp_path, add, ran):
    notebook = flawed()
    if add:
        notebook.cells.append(nbformat.v4.new_code_cell(add))
    report = grade(grader, notebook, tmp_path)
    assert lost(report) == ENTROPY
    assert (RAN in remarks(report)) == ran
