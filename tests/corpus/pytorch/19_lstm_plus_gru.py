# style: dataclass configuration, mixin, type hints; an LSTM cell with a GRU cell on top: a memory of three parts; layer norm
# verdict: right
# note: the memory is a tuple of three tensors (h, c, g), which pool and train_on_rollout handle; logits read g
# %% keep: setup
# %% keep: imports
# %%
from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

Tensor = torch.Tensor
# %% keep: make-env
# %%
@dataclass(frozen=True)
class Config:
    channels: tuple[int, ...] = (16, 32, 32)
    n_hidden: int = 128
    n_lstm: int = 128
    n_gru: int = 96
    lr: float = 3e-4
    betas: tuple[float, float] = field(default=(0.9, 0.99))


class Memory(NamedTuple):
    h: Tensor
    c: Tensor
    g: Tensor


cfg = Config()
cfg
# %%
# Exercise: agent
class PlayerMixin:
    """What has nothing to do with the network: playing."""

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.distributions.Categorical(logits=logits).sample().numpy()


class SimpleRecurrentAgent(PlayerMixin, nn.Module):
    def __init__(self, obs_shape: tuple[int, ...], n_actions: int, cfg: Config = cfg):
        super().__init__()
        layers: list[nn.Module] = []
        n_in = obs_shape[0]
        for n_out in cfg.channels:
            layers += [nn.Conv2d(n_in, n_out, 3, 2), nn.ELU()]
            n_in = n_out
        self.eyes = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(cfg.n_hidden), nn.LayerNorm(cfg.n_hidden), nn.ReLU())
        self.eyes(torch.zeros(2, *obs_shape))  # lets the lazy layer see its size
        self.lstm = nn.LSTMCell(cfg.n_hidden, cfg.n_lstm)
        self.gru = nn.GRUCell(cfg.n_lstm, cfg.n_gru)
        self.actor = nn.Linear(cfg.n_gru, n_actions)
        self.critic = nn.Linear(cfg.n_gru, 1)
        self.cfg = cfg

    def forward(self, prev_state: tuple[Tensor, ...], obs_t: Tensor):
        h, c, g = prev_state
        h, c = self.lstm(self.eyes(10 * obs_t - 3.6), (h, c))
        g = self.gru(h, g)
        return (h, c, g), (self.actor(g), self.critic(g).flatten())

    def get_initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        sizes = self.cfg.n_lstm, self.cfg.n_lstm, self.cfg.n_gru
        return tuple(torch.zeros(batch_size, size) for size in sizes)
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
class Replay(NamedTuple):
    logits: Tensor   # [n, T + 1, actions]
    values: Tensor   # [n, T + 1]


def replay(states: Tensor, mask: Tensor, memory: tuple[Tensor, ...]) -> Replay:
    """The rollout once more, with gradients."""
    blank = agent.get_initial_state(len(states))
    logits, values = [], []
    for t in range(states.shape[1]):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        values.append(values_t)
        over = mask[:, t, None] == 0
        memory = tuple(torch.where(over, b, m) for m, b in zip(memory, blank, strict=True))
    return Replay(torch.stack(logits, 1), torch.stack(values, 1))


@torch.no_grad()
def n_step_returns(rewards: Tensor, mask: Tensor, values: Tensor, gamma: float) -> Tensor:
    G = mask[:, -1] * values[:, -1]
    out: list[Tensor] = []
    for t in range(rewards.shape[1] - 2, -1, -1):
        G = rewards[:, t] + gamma * mask[:, t] * G
        out.insert(0, G)
    return torch.stack(out, 1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)

    logits, values = replay(states, is_not_done, tuple(m.detach() for m in prev_memory_states))
    returns = n_step_returns(rewards, is_not_done, values, gamma)
    logprobas = logits.log_softmax(-1)
    logprobas_for_actions = logprobas.gather(-1, actions[..., None])[..., 0]

    with torch.no_grad():
        targets = rewards[:, :-1] + gamma * is_not_done[:, :-1] * values[:, 1:]
        advantage = returns - values[:, :-1]

    value_loss = F.mse_loss(values[:, :-1], targets)
    J_hat = (logprobas_for_actions[:, :-1] * advantage).mean()
    entropy_reg = torch.distributions.Categorical(logits=logits).entropy().mean()
    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.NAdam(agent.parameters(), lr=cfg.lr, betas=cfg.betas)
sum(p.numel() for p in agent.parameters())
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
