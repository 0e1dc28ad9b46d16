# style: generators, dataclass rollout with classmethod, two LSTM layers (memory of four tensors), an optimizer class of its own that inherits from Adam and clips
# verdict: right
# note: the memory is a tuple of four tensors (h1, c1, h2, c2), of different widths; pool and loss handle any tuple. Dropout layers with p = 0. train_on_rollout calls opt.minimize, a method of the notebook's own optimizer class: it does zero_grad, backward, clipping, step.
# %% keep: setup
# %% keep: imports
# %%
from __future__ import annotations
import dataclasses
import itertools
from collections.abc import Iterator
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class StackedLSTM(nn.Module):
    """Several LSTM cells on top of each other, with a memory (h1, c1, h2, c2, ...)."""

    def __init__(self, *sizes: int, dropout: float = 0.0):
        super().__init__()
        self.cells = nn.ModuleList(nn.LSTMCell(a, b) for a, b in itertools.pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.out_features = sizes[-1]

    def zeros(self, n: int) -> tuple[torch.Tensor, ...]:
        return tuple(torch.zeros(n, cell.hidden_size) for cell in self.cells for _ in range(2))

    def forward(self, x: torch.Tensor, memory: tuple[torch.Tensor, ...]):
        new_memory = ()
        for cell, h, c in zip(self.cells, memory[0::2], memory[1::2]):
            h, c = cell(x, (h, c))
            new_memory += (h, c)
            x = self.dropout(h)
        return x, new_memory


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, dropout=0.0):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()
        self.hid = nn.Linear(512, 128)
        self.rnn = StackedLSTM(128, 128, 64, dropout=dropout)
        self.logits = nn.Linear(64, n_actions)
        self.state_value = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.relu(self.hid(self.flatten(x)))
        x, new_state = self.rnn(x, prev_state)
        return new_state, (self.logits(x), self.state_value(x))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return self.rnn.zeros(batch_size)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
@dataclasses.dataclass
class Rollout:
    obs: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def from_numpy(cls, obs, actions, rewards, mask) -> Rollout:
        f = torch.float32
        return cls(
            torch.as_tensor(obs, dtype=f),
            torch.as_tensor(actions).long(),
            torch.as_tensor(rewards, dtype=f),
            torch.as_tensor(mask, dtype=f),
        )

    @property
    def length(self) -> int:
        return self.rewards.size(1) - 1

    @property
    def n_games(self) -> int:
        return self.rewards.size(0)

    def outputs(self, memory) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Replays the games, tick by tick."""
        blank = agent.get_initial_state(self.n_games)
        for t in range(self.length + 1):
            memory, out = agent(memory, self.obs[:, t])
            yield out
            alive = self.mask[:, t].unsqueeze(1) > 0
            memory = tuple(torch.where(alive, part, new) for part, new in zip(memory, blank))

    def returns(self, bootstrap, gamma) -> Iterator[torch.Tensor]:
        G = self.mask[:, -1] * bootstrap
        for t in reversed(range(self.length)):
            G = torch.addcmul(self.rewards[:, t], self.mask[:, t], G, value=gamma)
            yield G


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    rollout = Rollout.from_numpy(states, actions, rewards, is_not_done)
    memory = tuple(part.detach() for part in prev_memory_states)

    logits, values = (torch.stack(x, dim=1) for x in zip(*rollout.outputs(memory)))
    fixed = values.detach()
    G = torch.stack(list(rollout.returns(fixed[:, -1], gamma)), dim=1).flip(1)

    logp = logits.log_softmax(-1)
    played = torch.take_along_dim(logp, rollout.actions[..., None], dim=-1)[..., 0]

    J_hat = torch.mean(played[:, :-1] * (G - fixed[:, :-1]))
    target = rollout.rewards[:, :-1] + gamma * rollout.mask[:, :-1] * fixed[:, 1:]
    value_loss = F.mse_loss(values[:, :-1], target)
    entropy_reg = torch.special.entr(logp.exp()).sum(-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.minimize(loss)
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
class ClippedAdam(torch.optim.Adam):
    """Adam with clipped gradients, and Keras' `minimize`."""

    def __init__(self, params, lr=3e-4, max_norm=0.5, **kwargs):
        super().__init__(params, lr=lr, **kwargs)
        self.max_norm = max_norm

    def clip(self):
        for group in self.param_groups:
            nn.utils.clip_grad_norm_(group["params"], self.max_norm)

    def minimize(self, loss):
        self.zero_grad()
        loss.backward()
        self.clip()
        self.step()


opt = ClippedAdam(agent.parameters())
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
