"""Notebooks of the original PyTorch template get credit for right answers in any shape.

What that template leaves out is free where the teacher says that it was used, and only there.
"""

import pytest

from assignments.kungfu.tracks import PYTORCH
from assignments.kungfu.variants import BROADCAST
from grading import UsageError
from grading.__main__ import main
from grading.grade import Grader
from grading.report import as_table
from grading.results import Report
from tests.assignments.kungfu.original_template import (
    AGENT,
    PLAY,
    TRAIN,
    edited,
    write_original,
)
from tests.grading.test_command import run

pytestmark = pytest.mark.pytorch

VALUES = "state_value = self.state_value(h_new)"
FLAT_AGENT = edited(AGENT, (VALUES, f"{VALUES}[:, 0]"))
STACK = "state_values = torch.stack(state_values, dim=1)"
# By the original, which says no word of masks, so they cost nothing.
LEFT_OUT = {"value_ends", "policy_ends", "memory_reset", "weights"}


@pytest.fixture(scope="module")
def grader():
    with Grader(seed=11, template="original") as grader:
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


# ------------------------------------------------------------------------------------- the option


def test_without_the_option_nothing_is_free_and_the_report_names_it(tmp_path):
    with Grader(seed=11) as grader:
        report = grade(grader, tmp_path, FLAT_AGENT)
    assert lost(report) == [set(), LEFT_OUT, set()]
    assert excused(report) == set()
    (remark,) = (r for r in report.remarks if "template" in r)
    assert "it looks as if made from another template" in remark
    assert "--template original" in remark


def test_with_the_option_the_report_says_so(grader, tmp_path):
    report = grade(grader, tmp_path, FLAT_AGENT)
    (remark,) = (r for r in report.remarks if "template" in r)
    assert remark.startswith("graded as made from the template original")


UNKNOWN = "there is no template 'orginal', expected original"


def test_an_unknown_template_is_a_usage_error_that_names_the_known_ones(tmp_path, capsys):
    with pytest.raises(UsageError, match=UNKNOWN):
        Grader(template="orginal")
    path = write_original(tmp_path / "old.ipynb")
    assert main(["grade", str(path), "--template", "orginal"]) == 2
    assert UNKNOWN in capsys.readouterr().err


def test_an_unknown_template_stops_the_plugin(tmp_path):
    path = write_original(tmp_path / "old.ipynb")
    finished = run("pytest", "--nbval", path, "--grading-template", "orginal", cwd=tmp_path)
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert UNKNOWN in finished.stderr


# ------------------------------------------------------------------------------ shapes of values


@pytest.mark.parametrize("minor", [0, 2, 4])
def test_values_of_shape_n(grader, tmp_path, minor):
    report = grade(grader, tmp_path, FLAT_AGENT, minor=minor)
    assert lost(report) == [set(), set(), set()]
    assert excused(report) == LEFT_OUT


def test_the_broadcast_is_named_in_one_place(grader, tmp_path):
    report = grade(grader, tmp_path)
    assert lost(report) == [{"state_value"}, set(), set()]
    assert excused(report) == LEFT_OUT
    (check,) = (c for c in report.exercises[0].checks if not c.passed)
    assert check.message == (
        "state_value has shape (5, 1): drop the last axis, or (n,) minus (n, 1) becomes (n, n) in "
        "the loss without a word"
    )
    assert check.hint.startswith("The value of each game is one number")


SQUEEZED = {
    "all values": (STACK, f"{STACK}.squeeze(-1)"),
    "all values, whatever axes there are": (STACK, f"{STACK}.squeeze()"),
    "each tick's": ("state_values.append(values_t)", "state_values.append(values_t[:, 0])"),
    "by a view": (STACK, f"{STACK}\n    state_values = state_values.view(*rewards.shape)"),
}


@pytest.mark.parametrize("edit", SQUEEZED.values(), ids=SQUEEZED)
def test_values_squeezed_outside_forward(grader, tmp_path, edit):
    report = grade(grader, tmp_path, train=edited(TRAIN, edit))
    assert lost(report) == [set(), set(), set()]
    assert excused(report) == LEFT_OUT | {"state_value"}


COLUMNS = (
    ("r_t = rewards[:, t]", "r_t = rewards[:, t].view(-1, 1)"),
    ("logpi_a_s_t = logprobas_for_actions[:, t]", "logpi = logprobas_for_actions[:, t, None]"),
    ("J_hat += torch.mean(logpi_a_s_t *", "J_hat += torch.mean(logpi *"),
)


def test_rewards_reshaped_to_the_values(grader, tmp_path):
    report = grade(grader, tmp_path, train=edited(TRAIN, *COLUMNS))
    assert lost(report) == [set(), set(), set()]
    assert excused(report) == LEFT_OUT | {"state_value"}
    assert any("values of shape (n, 1)" in remark for remark in report.exercises[1].remarks)


def test_only_the_rewards_reshaped_is_the_broadcast_elsewhere(grader, tmp_path):
    report = grade(grader, tmp_path, train=edited(TRAIN, COLUMNS[0]))
    agent, loss, _ = lost(report)
    assert agent == set()
    assert loss == {"advantage"}
    hints = {c.name: c.hint for c in report.exercises[1].checks if c.hint}
    assert hints["advantage"] == BROADCAST


# ------------------------------------------------------------------ as people really filled it in


SEVERAL = (
    (
        "    opt.step()\n",
        "    grad_norm = nn.utils.clip_grad_norm_(agent.parameters(), 10)\n    opt.step()\n",
    ),
    (
        "return loss.data.numpy()",
        "return loss.data.numpy(), grad_norm.numpy(), entropy_reg.data.numpy()",
    ),
)


def test_of_several_things_that_come_back_the_first_counts(grader, tmp_path):
    report = grade(grader, tmp_path, FLAT_AGENT, edited(TRAIN, *SEVERAL))
    assert lost(report) == [set(), set(), set()]
    assert excused(report) == LEFT_OUT | {"returned"}


AGENT_ON_CUDA = edited(
    FLAT_AGENT,
    (
        "return torch.zeros((batch_size, 128)), torch.zeros((batch_size, 128))",
        "return torch.zeros((batch_size, 128)).cuda(), torch.zeros(batch_size, 128, device='cuda')",
    ),
    ("dtype=torch.float32)\n", "dtype=torch.float32).cuda()\n"),
    ("multinomial(probs, 1)[:, 0].data.numpy()", "multinomial(probs, 1)[:, 0].cpu().data.numpy()"),
)
LOSS_ON_CUDA = edited(
    TRAIN,
    (
        "states = torch.tensor(np.array(states), dtype=torch.float32)",
        "device = torch.device('cuda')\n    states = torch.FloatTensor(np.array(states)).cuda()",
    ),
    ("np.array(actions), dtype=torch.int64", "np.array(actions), dtype=torch.int64, device=device"),
    ("n_dims).scatter_(1, y_tensor, 1)", "n_dims).cuda().scatter_(1, y_tensor, 1)"),
    ("return loss.data.numpy()", "return loss.data.cpu().numpy()"),
)
PLAY_ON_CUDA = edited(
    PLAY,
    (
        "SimpleRecurrentAgent(obs_shape, n_actions)",
        "SimpleRecurrentAgent(obs_shape, n_actions).cuda()",
    ),
)
ON_CUDA = {
    "the agent": (AGENT_ON_CUDA, TRAIN, PLAY_ON_CUDA),
    "the loss": (FLAT_AGENT, LOSS_ON_CUDA, PLAY),
    "both": (AGENT_ON_CUDA, LOSS_ON_CUDA, PLAY_ON_CUDA),
}


@pytest.mark.parametrize("name", ON_CUDA)
def test_cuda_written_out(grader, tmp_path, name):
    agent, train, play = ON_CUDA[name]
    report = grade(grader, tmp_path, agent, train, play=play)
    assert lost(report) == [set(), set(), set()]
    assert excused(report) == LEFT_OUT


CONSTRUCTORS = {
    "the observation space": (
        (
            ("obs_shape, n_actions, reuse=False", "observation_space, n_actions"),
            ("nn.Conv2d(1, 32,", "nn.Conv2d(observation_space.shape[0], 32,"),
        ),
        "(env.observation_space, n_actions)",
    ),
    "a device": (
        (
            ("obs_shape, n_actions, reuse=False", "obs_shape, n_actions, device"),
            ("self.flatten = Flatten()", "self.flatten = Flatten()\n        self.device = device"),
        ),
        "(obs_shape, n_actions, torch.device('cuda'))",
    ),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_an_agent_is_made_as_its_notebook_makes_it(grader, tmp_path, name):
    edits, call = CONSTRUCTORS[name]
    play = edited(PLAY, ("(obs_shape, n_actions)", call))
    report = grade(grader, tmp_path, edited(FLAT_AGENT, *edits), play=play)
    assert lost(report) == [set(), set(), set()]


NO_MASK = {
    "in the returns alone": (("gamma * V_next", "gamma * is_not_done[:, t] * V_next"),),
    "in the target alone": (
        ("= state_values[:, -1].detach()", "= is_not_done[:, -1] * state_values[:, -1].detach()"),
        ("gamma * cumulative_returns", "gamma * is_not_done[:, t] * cumulative_returns"),
    ),
}


@pytest.mark.parametrize("name", NO_MASK)
def test_a_mask_that_is_missing_is_reported_and_costs_nothing(grader, tmp_path, name):
    """Neither the text of that template nor its formulas speak of one."""
    report = grade(grader, tmp_path, FLAT_AGENT, edited(TRAIN, *NO_MASK[name]))
    assert lost(report) == [set(), set(), set()]
    missing = "policy_ends" if name == "in the returns alone" else "value_ends"
    assert excused(report) == {missing, "memory_reset", "weights"}
    (check,) = (c for c in report.exercises[1].checks if c.name == missing)
    assert check.message.endswith("it costs nothing")


def test_a_column_meets_a_row_in_a_network_unlike_the_solutions(grader, tmp_path):
    wider = edited(
        AGENT,
        (
            "self.hid = nn.Linear(512, 128)",
            "self.hid = nn.Sequential(nn.Linear(512, 96), nn.Tanh())",
        ),
        ("self.rnn = nn.LSTMCell(128, 128)", "self.rnn = nn.LSTMCell(96, 128)"),
    )
    report = grade(grader, tmp_path, wider)
    assert lost(report) == [{"state_value"}, set(), set()]
    (check,) = (c for c in report.exercises[0].checks if not c.passed)
    assert check.hint.startswith("The value of each game is one number")


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
    assert lost(report) == [set(), set(), set()]


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
    assert lost(report) == [set(), set(), set()]


def test_gradients_never_cleared(grader, tmp_path):
    report = grade(grader, tmp_path, FLAT_AGENT, edited(TRAIN, ("    opt.zero_grad()\n", "")))
    assert lost(report) == [set(), {"step"}, set()]
    hints = {c.name: c.hint for c in report.exercises[1].checks}
    assert hints["step"].startswith("Gradients add up until they are cleared")


def test_the_critic_on_the_given_return(grader, tmp_path):
    edit = ("(r_t + gamma * V_next - V_t) ** 2", "(G_t - V_t) ** 2")
    report = grade(grader, tmp_path, FLAT_AGENT, edited(TRAIN, edit))
    assert lost(report) == [set(), set(), set()]
    assert excused(report) == LEFT_OUT


def test_the_last_acted_tick_left_out_costs_two_parts_and_is_named_once(grader, tmp_path):
    edit = ("reversed(range(rollout_length))", "reversed(range(rollout_length - 1))")
    report = grade(grader, tmp_path, FLAT_AGENT, edited(TRAIN, edit))
    assert lost(report) == [set(), {"value_loss", "advantage"}, set()]
    messages = [c.message for c in report.exercises[1].checks if c.points < c.maximum]
    assert [m.startswith("the last acted tick is left out") for m in messages] == [True, False]
