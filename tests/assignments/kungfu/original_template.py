"""Notebooks as students of the course's original PyTorch template fill them in.

They have no ids and no comments, and import old packages in other cells. The original asks for no
particular shape of the values, so most students leave them (n, 1). It lets returns continue into
the next game, and never resets the memory.
"""

import json
from pathlib import Path

IMPORTS = [
    "import sys, os\nif 'google.colab' in sys.modules:\n    !wget -q https://example.org/setup.sh\n"
    "    !bash setup.sh\n    !touch .setup_complete\nif not os.environ.get('DISPLAY'):\n"
    "    !bash ../xvfb start\n    %env DISPLAY=:1",
    "import numpy as np\nimport matplotlib.pyplot as plt\n%matplotlib inline\n"
    "from IPython.core import display",
    "import gym\nfrom atari_util import PreprocessAtari\n\ndef make_env():\n"
    "    env = gym.make('KungFuMasterDeterministic-v0')\n"
    "    return PreprocessAtari(env, height=42, width=42, n_frames=1)\n\nenv = make_env()\n"
    "obs_shape = env.observation_space.shape\nn_actions = env.action_space.n",
    "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"
    "from torch.autograd import Variable\n\nclass Flatten(nn.Module):\n"
    "    def forward(self, input):\n        return input.view(input.size(0), -1)",
]

AGENT = """class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, reuse=False):
        super(self.__class__, self).__init__()
        self.conv0 = nn.Conv2d(1, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = Flatten()
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        x = F.relu(self.conv0(obs_t))
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        new_state = h_new, c_new = self.rnn(self.hid(self.flatten(x)), prev_state)
        logits = self.logits(h_new)
        state_value = self.state_value(h_new)
        return new_state, (logits, state_value)

    def get_initial_state(self, batch_size):
        return torch.zeros((batch_size, 128)), torch.zeros((batch_size, 128))

    def sample_actions(self, agent_outputs):
        logits, state_values = agent_outputs
        probs = F.softmax(logits)
        return torch.multinomial(probs, 1)[:, 0].data.numpy()

    def step(self, prev_state, obs_t):
        obs_t = torch.tensor(np.asarray(obs_t), dtype=torch.float32)
        (h, c), (l, s) = self.forward(prev_state, obs_t)
        return (h.detach(), c.detach()), (l.detach(), s.detach())"""

PLAY = """n_parallel_games = 5
gamma = 0.99
agent = SimpleRecurrentAgent(obs_shape, n_actions)
state = [env.reset()]
_, (logits, value) = agent.step(agent.get_initial_state(1), state)
from env_pool import EnvPool
pool = EnvPool(agent, make_env, n_parallel_games)"""

TRAIN = """opt = torch.optim.Adam(agent.parameters(), lr=1e-5)

def to_one_hot(y, n_dims=None):
    y_tensor = y.to(dtype=torch.int64).view(-1, 1)
    n_dims = n_dims if n_dims is not None else int(torch.max(y_tensor)) + 1
    return torch.zeros(y_tensor.size()[0], n_dims).scatter_(1, y_tensor, 1)

def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.tensor(np.array(states), dtype=torch.float32)
    actions = torch.tensor(np.array(actions), dtype=torch.int64)
    rewards = torch.tensor(np.array(rewards), dtype=torch.float32)
    is_not_done = torch.tensor(np.array(is_not_done), dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1
    memory = [m.detach() for m in prev_memory_states]
    logits, state_values = [], []
    for t in range(rewards.shape[1]):
        obs_t = states[:, t]
        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)
    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=2)
    logprobas = F.log_softmax(logits, dim=2)
    actions_one_hot = to_one_hot(actions, n_actions).view(
        actions.shape[0], actions.shape[1], n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)
    J_hat = 0
    value_loss = 0
    cumulative_returns = state_values[:, -1].detach()
    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]
        cumulative_returns = G_t = r_t + gamma * cumulative_returns
        value_loss += torch.mean((r_t + gamma * V_next - V_t) ** 2)
        advantage = cumulative_returns - V_t
        advantage = advantage.detach()
        J_hat += torch.mean(logpi_a_s_t * advantage)
    entropy_reg = -(probas * logprobas).sum(-1).mean()
    loss = -J_hat / rollout_length + value_loss / rollout_length + -0.01 * entropy_reg
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.data.numpy()"""

LOOP = """from tqdm import trange
from pandas import DataFrame
for i in trange(15000):
    memory = list(pool.prev_memory_states)
    train_on_rollout(*pool.interact(10), memory, gamma)"""


def edited(source: str, *edits: tuple[str, str]) -> str:
    """Returns a source with some texts replaced; each must occur exactly once."""
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def write_original(
    path: Path, agent: str = AGENT, train: str = TRAIN, play: str = PLAY, minor: int = 0
) -> Path:
    """Writes a filled notebook of format 4.minor."""
    cells = [
        {
            "cell_type": "code",
            "execution_count": number,
            "metadata": {"collapsed": True},
            "outputs": [],
            "source": source.splitlines(keepends=True),
        }
        for number, source in enumerate([*IMPORTS, agent, play, train, LOOP], 1)
    ]
    metadata = {"kernelspec": {"name": "python2", "display_name": "Python 2"}}
    notebook = {"nbformat": 4, "nbformat_minor": minor, "metadata": metadata, "cells": cells}
    path.write_text(json.dumps(notebook))
    return path
