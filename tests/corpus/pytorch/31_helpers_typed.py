# style: many small typed helper functions, one or two a cell, shapes in jaxtyping-like comments; the loss only composes them
# verdict: right
# mistake:
# loses:
# note: returns come from a generator that runs backwards and are then flipped; policy and value terms are one mean over [n, T] instead of a loop, which is the same number
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from torch import Tensor

Memory: TypeAlias = tuple[Tensor, Tensor]  # (h, c): Float[Tensor, "n units"] each


class SimpleRecurrentAgent(nn.Module):
    """Conv stack -> dense -> LSTM cell -> two linear heads."""

    def __init__(self, obs_shape: tuple[int, ...], n_actions: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()

        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)

        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def encode(self, obs_t: Tensor) -> Tensor:
        """Float[Tensor, "n frames 42 42"] -> Float[Tensor, "n 128"]"""
        z: Tensor = 10 * obs_t - 3.6
        for layer in (self.conv0, self.conv1, self.conv2):
            z = F.elu(layer(z))
        return F.elu(self.hid(self.flatten(z)))

    def forward(self, prev_state: Memory, obs_t: Tensor) -> tuple[Memory, tuple[Tensor, Tensor]]:
        h: Tensor  # Float[Tensor, "n 128"]
        c: Tensor  # Float[Tensor, "n 128"]
        h, c = self.rnn(self.encode(obs_t), prev_state)
        logits = self.logits(h)  # Float[Tensor, "n a"]
        state_value = self.state_value(h).squeeze(-1)  # Float[Tensor, "n"]
        return (h, c), (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size: int) -> Memory:
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs) -> np.ndarray:
        """Draws an action for each game from the softmax of its logits."""
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
# --- helper 1: the memory ---------------------------------------------------
def wipe_finished(memory: Memory, alive: Tensor) -> Memory:
    """Zeroes the rows of games whose last observation we have just seen.

    memory: (Float["n units"], Float["n units"]),  alive: Float["n"] of 0/1
    """
    keep = alive.unsqueeze(-1)  # Float["n 1"]
    h, c = memory
    return h * keep, c * keep


def replay(net: nn.Module, obs: Tensor, alive: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Runs the net over a rollout -> logits Float["n t1 a"], values Float["n t1"]."""
    logits: list[Tensor] = []
    values: list[Tensor] = []
    for obs_t, alive_t in zip(obs.unbind(1), alive.unbind(1), strict=True):
        memory, (l_t, v_t) = net(memory, obs_t)
        logits.append(l_t)
        values.append(v_t)
        memory = wipe_finished(memory, alive_t)
    return torch.stack(logits, 1), torch.stack(values, 1)
# %%
# --- helper 2: the returns --------------------------------------------------
def returns_backwards(r: Tensor, alive: Tensor, bootstrap: Tensor, gamma: float) -> Iterator[Tensor]:
    """Yields G_{T-1}, G_{T-2}, ..., G_0; each Float["n"].  r, alive: Float["n t"]."""
    G = bootstrap
    for r_t, m_t in zip(reversed(r.unbind(1)), reversed(alive.unbind(1))):
        G = r_t + gamma * m_t * G
        yield G


def n_step_returns(r: Tensor, alive: Tensor, bootstrap: Tensor, gamma: float) -> Tensor:
    """Float["n t"]"""
    latest_first: Sequence[Tensor] = list(returns_backwards(r, alive, bootstrap, gamma))
    return torch.stack(latest_first, dim=1).flip(1)


# quick sanity check: 1 + 0.5 * (2 + 0.5 * 8) = 4
assert n_step_returns(
    torch.tensor([[1.0, 2.0]]), torch.ones(1, 2), torch.tensor([8.0]), 0.5
).tolist() == [[4.0, 6.0]]
# %%
# --- helper 3: the three terms ----------------------------------------------
def policy_objective(logp_a: Tensor, advantage: Tensor) -> Tensor:
    """J_hat, to be maximised. Both Float["n t"]; no gradient through the advantage."""
    return (logp_a * advantage.detach()).mean()


def td_loss(v: Tensor, v_next: Tensor, r: Tensor, alive: Tensor, gamma: float) -> Tensor:
    """All Float["n t"]."""
    target = r + gamma * alive * v_next
    return F.mse_loss(v, target.detach())


def mean_entropy(logp: Tensor) -> Tensor:
    """logp: Float["n t1 a"] -> scalar"""
    return -(logp.exp() * logp).sum(dim=-1).mean()
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma: float = 0.99):
    obs: Tensor = torch.as_tensor(states, dtype=torch.float32)  # Float["n t1 f 42 42"]
    act: Tensor = torch.as_tensor(actions, dtype=torch.int64)  # Int["n t1"]
    rew: Tensor = torch.as_tensor(rewards, dtype=torch.float32)  # Float["n t1"]
    alive: Tensor = torch.as_tensor(is_not_done, dtype=torch.float32)  # Float["n t1"]

    h0, c0 = (part.detach() for part in prev_memory_states)
    logits, values = replay(agent, obs, alive, (h0, c0))

    logp = logits.log_softmax(dim=-1)  # Float["n t1 a"]
    logp_a = (logp * to_one_hot(act, n_actions)).sum(-1)  # Float["n t1"]

    # The last column is only good for bootstrapping.
    r, m, v = rew[:, :-1], alive[:, :-1], values[:, :-1]
    v_next = values[:, 1:].detach()
    bootstrap = alive[:, -1] * values[:, -1].detach()

    G = n_step_returns(r, m, bootstrap, gamma)  # Float["n t"]

    J_hat = policy_objective(logp_a[:, :-1], G - v)
    value_loss = td_loss(v, v_next, r, m, gamma)
    entropy_reg = mean_entropy(logp)

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt: torch.optim.Optimizer = torch.optim.Adam(agent.parameters(), lr=1e-5)
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
