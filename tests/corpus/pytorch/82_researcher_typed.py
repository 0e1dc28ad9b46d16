# style: researcher used to the A2C of the baselines: type hints, TypedDict settings, NamedTuple batch, Literature comments
# verdict: wrong
# mistake: the critic is fitted to the n-step return G_t instead of the one-step TD target r_t + gamma * m_t * V(s_{t+1})
# mistake: the optimizer maximises (maximize=True) a loss that is meant to be minimised
# loses: descent
# named: the optimizer must minimize
# %% keep: setup
# %% keep: imports
# %%
from typing import NamedTuple, Tuple, TypedDict

from torch import Tensor

Memory = Tuple[Tensor, Tensor]


class Config(TypedDict):
    channels: int
    units: int
    lr: float


cfg: Config = {"channels": 32, "units": 128, "lr": 3e-4}
# %% keep: make-env
# %%
def ortho(layer: nn.Module, gain: float = 2**0.5) -> nn.Module:
    """Orthogonal initialisation, as everybody does since PPO."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape: Tuple[int, ...], n_actions: int) -> None:
        super().__init__()
        ch, units = cfg["channels"], cfg["units"]
        self.body = nn.Sequential(
            ortho(nn.Conv2d(obs_shape[0], ch, 3, 2)), nn.ReLU(),
            ortho(nn.Conv2d(ch, ch, 3, 2)), nn.ReLU(),
            ortho(nn.Conv2d(ch, ch, 3, 2)), nn.ReLU(),
            nn.Flatten(),
            ortho(nn.Linear(16 * ch, units)), nn.ReLU(),
        )
        self.rnn = nn.LSTMCell(units, units)
        self.logits = ortho(nn.Linear(units, n_actions), 0.01)
        self.state_value = ortho(nn.Linear(units, 1), 1.0)

    def forward(self, prev_state: Memory, obs_t: Tensor) -> Tuple[Memory, Tuple[Tensor, Tensor]]:
        h, c = self.rnn(self.body(10 * obs_t - 3.6), tuple(prev_state))
        return (h, c), (self.logits(h), self.state_value(h).squeeze(-1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size: int) -> Memory:
        z = torch.zeros(batch_size, self.rnn.hidden_size)
        return z, z.clone()

    def sample_actions(self, agent_outputs) -> np.ndarray:
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
class Batch(NamedTuple):
    obs: Tensor
    act: Tensor
    rew: Tensor
    mask: Tensor

    @classmethod
    def of(cls, obs, act, rew, mask) -> "Batch":
        f = lambda z: torch.as_tensor(z, dtype=torch.float32)
        return cls(f(obs), torch.as_tensor(act, dtype=torch.int64), f(rew), f(mask))


def nstep_returns(batch: Batch, values: Tensor, gamma: float) -> Tensor:
    """Mnih et al. (2016), algorithm S3: R <- r + gamma R, from the bootstrap value."""
    R = batch.mask[:, -1] * values[:, -1]
    out = []
    for t in reversed(range(batch.rew.shape[1] - 1)):
        R = batch.rew[:, t] + gamma * batch.mask[:, t] * R
        out.insert(0, R)
    return torch.stack(out, dim=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    batch = Batch.of(states, actions, rewards, is_not_done)
    memory = tuple(p.detach() for p in prev_memory_states)
    logits, values = [], []
    for t in range(batch.rew.shape[1]):
        memory, (l, v) = agent(memory, batch.obs[:, t])
        memory = tuple(p * batch.mask[:, t, None] for p in memory)
        logits.append(l)
        values.append(v)
    logits, values = torch.stack(logits, dim=1), torch.stack(values, dim=1)

    R = nstep_returns(batch, values.detach(), gamma)
    err = R - values[:, :-1]

    logp = logits.log_softmax(-1)
    logp_a = torch.take_along_dim(logp, batch.act[..., None], dim=-1)[..., 0]
    pg = (logp_a[:, :-1] * err.detach()).mean()
    vf = err.pow(2).mean()
    ent = -(logp.exp() * logp).sum(-1).mean()
    loss = -pg + value_loss_weight * vf - entropy_weight * ent

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Policy gradient = gradient ASCENT on the expected return
opt = torch.optim.Adam(agent.parameters(), lr=cfg["lr"], eps=1e-5, maximize=True)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: record
# %% keep: final
# %% keep: hand-in
