"""Notebooks of the original PyTorch template get credit for right answers in any shape."""

import pytest

from assignments.kungfu.tracks import PYTORCH
from assignments.kungfu.variants import BROADCAST
from grading.grade import Grader
from grading.report import as_table
from grading.results import Report
from tests.assignments.kungfu.original_template import AGENT, TRAIN, edited, write_original

pytestmark = pytest.mark.pytorch

VALUES = "state_value = self.state_value(h_new)"
FLAT_AGENT = edited(AGENT, (VALUES, f"{VALUES}[:, 0]"))
STACK = "state_values = torch.stack(state_values, dim=1)"
LEFT_OUT = {"policy_ends", "memory_reset", "weights"}  # by the original, so they cost nothing
NO_MASK = {"value_ends"}  # the student's own line leaves it out


@pytest.fixture(scope="module")
def grader():
    with Grader(seed=11) as grader:
        yield grader


def grade(grader: Grader, tmp_path, agent: str = AGENT, train: str = TRAIN, **more) -> Report:
    path = write_original(tmp_path / "old.ipynb", agent, train, **more)
    report = grader.grade(path)
    assert report.assignment == PYTORCH.name
    print(as_table(report))
    assert not report.is_ungradable
    return report


def lost(report: Report) -> list[set[str]]:
    """Returns the parts of agent, loss and optimizer that cost points."""
    return [{c.name for c in e.checks if c.points < c.maximum} for e in report.exercises[:3]]


def excused(report: Report) -> set[str]:
    return {c.name for e in report.exercises[:3] for c in e.checks if c.maximum == 0}


@pytest.mark.parametrize("minor", [0, 2, 4])
def test_values_of_shape_n(grader, tmp_path, minor):
    report = grade(grader, tmp_path, FLAT_AGENT, minor=minor)
    assert lost(report) == [set(), NO_MASK, set()]
    assert excused(report) == LEFT_OUT


def test_the_broadcast_is_named_in_one_place(grader, tmp_path):
    report = grade(grader, tmp_path)
    assert lost(report) == [{"state_value"}, NO_MASK, set()]
    assert excused(report) == LEFT_OUT
    (check,) = (c for c in report.exercises[0].checks if not c.passed)
    assert check.message == "for 6 games it has shape (6, 1), not (6,): with (n,) it makes (6, 6)"


SQUEEZED = {
    "all values": (STACK, f"{STACK}.squeeze(-1)"),
    "all values, whatever axes there are": (STACK, f"{STACK}.squeeze()"),
    "each tick's": ("state_values.append(values_t)", "state_values.append(values_t[:, 0])"),
    "by a view": (STACK, f"{STACK}\n    state_values = state_values.view(*rewards.shape)"),
}


@pytest.mark.parametrize("edit", SQUEEZED.values(), ids=SQUEEZED)
def test_values_squeezed_outside_forward(grader, tmp_path, edit):
    report = grade(grader, tmp_path, train=edited(TRAIN, edit))
    assert lost(report) == [set(), NO_MASK, set()]
    assert excused(report) == LEFT_OUT | {"state_value"}


COLUMNS = (
    ("r_t = rewards[:, t]", "r_t = rewards[:, t].view(-1, 1)"),
    ("logpi_a_s_t = logprobas_for_actions[:, t]", "logpi = logprobas_for_actions[:, t, None]"),
    ("J_hat += torch.mean(logpi_a_s_t *", "J_hat += torch.mean(logpi *"),
)


def test_rewards_reshaped_to_the_values(grader, tmp_path):
    report = grade(grader, tmp_path, train=edited(TRAIN, *COLUMNS))
    assert lost(report) == [set(), NO_MASK, set()]
    assert excused(report) == LEFT_OUT | {"state_value"}
    assert any("values of shape (n, 1)" in remark for remark in report.exercises[1].remarks)


def test_only_the_rewards_reshaped_is_the_broadcast_elsewhere(grader, tmp_path):
    report = grade(grader, tmp_path, train=edited(TRAIN, COLUMNS[0]))
    agent, loss, _ = lost(report)
    assert agent == set()
    assert loss == NO_MASK | {"advantage"}
    hints = {c.name: c.hint for c in report.exercises[1].checks if c.hint}
    assert hints["advantage"] == BROADCAST


OWN_HELPERS = {
    "to_one_hot of its own": (
        ("def to_one_hot(y, n_dims=None):", "def to_one_hot(y, n_dims=None, dtype=torch.float32):"),
        ("return torch.zeros(", "return torch.zeros(dtype=dtype, size=("),
        ("[0], n_dims).scatter_", "[0], n_dims)).scatter_"),
        ("to_one_hot(actions, n_actions)", "to_one_hot(actions, n_actions, torch.float32)"),
    ),
    "variables of their time": (
        (
            "states = torch.tensor(np.array(states), dtype=torch.float32)",
            "states = Variable(torch.FloatTensor(np.array(states)))",
        ),
    ),
    "gradients cleared after the step": (
        ("    opt.zero_grad()\n", ""),
        ("opt.step()", "opt.step()\n    opt.zero_grad()"),
    ),
}


@pytest.mark.parametrize("edits", OWN_HELPERS.values(), ids=OWN_HELPERS)
def test_other_ways_to_write_it(grader, tmp_path, edits):
    report = grade(grader, tmp_path, FLAT_AGENT, edited(TRAIN, *edits))
    assert lost(report) == [set(), NO_MASK, set()]


AGENTS = {
    "the cell by another name": edited(
        FLAT_AGENT, ("self.rnn = ", "self.lstm = "), ("self.rnn(", "self.lstm(")
    ),
    "a sequence": edited(
        FLAT_AGENT,
        (
            "        self.flatten = Flatten()\n        self.hid = nn.Linear(512, 128)\n",
            "        self.body = nn.Sequential(self.conv0, nn.ELU(), self.conv1, nn.ELU(),\n"
            "            self.conv2, nn.ELU(), Flatten(), nn.Linear(512, 128), nn.ReLU())\n",
        ),
        (
            "        x = F.relu(self.conv0(obs_t))\n        x = F.relu(self.conv1(x))\n"
            "        x = F.relu(self.conv2(x))\n",
            "",
        ),
        ("self.hid(self.flatten(x))", "self.body(obs_t)"),
    ),
}


@pytest.mark.parametrize("agent", AGENTS.values(), ids=AGENTS)
def test_other_agents(grader, tmp_path, agent):
    report = grade(grader, tmp_path, agent)
    assert lost(report) == [set(), NO_MASK, set()]


def test_gradients_never_cleared(grader, tmp_path):
    report = grade(grader, tmp_path, FLAT_AGENT, edited(TRAIN, ("    opt.zero_grad()\n", "")))
    assert lost(report) == [set(), NO_MASK | {"step"}, set()]
    hints = {c.name: c.hint for c in report.exercises[1].checks}
    assert hints["step"].startswith("Gradients add up until they are cleared")
