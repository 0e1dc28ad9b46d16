# style: English, a good student: NamedTuple, type hints, generator for the replay, einsum, cumprod for the returns
# verdict: right
# loses:
# note: G_t is written out as a discounted sum with cumprod of gamma * m instead of a recursion, log-softmax by logsumexp
# %% keep: setup
# %% keep: imports
# %%
from collections.abc import Iterator
from typing import NamedTuple

Memory = tuple[torch.Tensor, torch.Tensor]
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape: tuple[int, ...], n_actions: int) -> None:
        super().__init__()
        channels, *screen = obs_shape

        def conv(n_in: int, n_out: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(n_in, n_out, kernel_size=3, stride=2), nn.ELU())

        self.see = nn.Sequential(conv(channels, 32), conv(32, 32), conv(32, 32), nn.Flatten())
        with torch.no_grad():  # let the network count its own features
            n_features = self.see(torch.zeros(1, channels, *screen)).shape[1]
        self.hid = nn.Linear(n_features, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.heads = nn.Linear(128, n_actions + 1)  # both heads in one matrix: logits, then value

    def forward(self, prev_state: Memory, obs_t: torch.Tensor):
        seen = self.see(10 * obs_t - 3.6)
        h, c = self.rnn(F.elu(self.hid(seen)), tuple(prev_state))
        out = self.heads(h)
        return (h, c), (out[:, :-1], out[:, -1])

    @torch.no_grad()
    def step(self, prev_state: Memory, obs_t: np.ndarray):
        return self(prev_state, torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size: int) -> Memory:
        return torch.zeros(batch_size, 128), torch.zeros(batch_size, 128)

    def sample_actions(self, agent_outputs) -> np.ndarray:
        logits, _ = agent_outputs
        return torch.multinomial(logits.softmax(-1), 1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01


class Rollout(NamedTuple):
    obs: torch.Tensor  # [n, T+1, ...]
    act: torch.Tensor  # [n, T+1]
    rew: torch.Tensor
    alive: torch.Tensor


def replay(policy: nn.Module, rollout: Rollout, memory: Memory) -> Iterator[tuple]:
    """Yields (logits, value) of each tick; wipes the memory of games after their last one."""
    blank = policy.get_initial_state(rollout.rew.shape[0])
    for obs, alive in zip(rollout.obs.unbind(1), rollout.alive.unbind(1)):
        memory, outputs = policy(memory, obs)
        yield outputs
        keep = alive.bool()[:, None]
        memory = tuple(torch.where(keep, m, b) for m, b in zip(memory, blank))


def returns(rew: torch.Tensor, alive: torch.Tensor, bootstrap: torch.Tensor, gamma: float):
    """G_t for t < T, from rewards and masks [n, T] and the value beyond them, [n]."""
    terms = torch.cat([rew, bootstrap[:, None]], dim=1)  # [n, T+1]
    fade = gamma * alive
    one = torch.ones_like(bootstrap)[:, None]
    return torch.stack(
        [
            torch.einsum(
                "nk,nk->n", torch.cat([one, fade[:, t:]], dim=1).cumprod(dim=1), terms[:, t:]
            )
            for t in range(rew.shape[1])
        ],
        dim=1,
    )


# a game that ends after its first tick, and one that goes on
_G = returns(torch.ones(2, 2), torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.full((2,), 4.0), 0.5)
assert torch.allclose(_G, torch.tensor([[1.0, 3.0], [2.5, 3.0]])), _G
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    rollout = Rollout(
        torch.as_tensor(states, dtype=torch.float32),
        torch.as_tensor(actions, dtype=torch.int64),
        torch.as_tensor(rewards, dtype=torch.float32),
        torch.as_tensor(is_not_done, dtype=torch.float32),
    )
    memory = tuple(part.detach() for part in prev_memory_states)

    ticks = list(replay(agent, rollout, memory))
    logits = torch.stack([tick[0] for tick in ticks], dim=1)
    values = torch.stack([tick[1] for tick in ticks], dim=1)
    fixed = values.detach()

    rew, alive = rollout.rew[:, :-1], rollout.alive[:, :-1]
    td_error = rew + gamma * alive * fixed[:, 1:] - values[:, :-1]
    value_loss = (td_error**2).mean()

    G = returns(rew, alive, rollout.alive[:, -1] * fixed[:, -1], gamma)
    advantage = G - fixed[:, :-1]
    log_pi = logits - logits.logsumexp(dim=-1, keepdim=True)
    played = F.one_hot(rollout.act, logits.shape[-1]).to(log_pi.dtype)
    J_hat = torch.einsum("nta,nta,nt->nt", log_pi[:, :-1], played[:, :-1], advantage).mean()

    H = -torch.einsum("nta,nta->nt", log_pi.exp(), log_pi).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * H
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.NAdam(agent.parameters(), lr=3e-4)
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
