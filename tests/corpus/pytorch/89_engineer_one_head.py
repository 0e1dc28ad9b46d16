# style: software engineer: frozen dataclass settings, one Linear for both heads, Gumbel-max sampling, itertools.accumulate, clipping inside the step, timing decorator, own little training loop
# verdict: right
# loses:
# note: the logits and the value are slices of one Linear that reads h; argmax(logits - log Exp(1)) draws from the softmax; gradients are clipped generously
# %% keep: setup
# %% keep: imports
# %%
import functools
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Settings:
    filters: int = 32
    features: int = 256
    memory: int = 128
    lr: float = 2e-4
    clip: float = 10.0


SETTINGS = Settings()
# %% keep: make-env
# %%
class KungFuAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, settings=SETTINGS):
        super().__init__()
        self.n_actions = n_actions
        self.n_memory = settings.memory
        n_frames, height, width = obs_shape
        blocks, channels = [], n_frames
        for _ in range(3):
            blocks += [nn.Conv2d(channels, settings.filters, 3, stride=2), nn.LeakyReLU(0.01)]
            channels = settings.filters
            height, width = (height - 3) // 2 + 1, (width - 3) // 2 + 1
        self.trunk = nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Linear(channels * height * width, settings.features),
            nn.LeakyReLU(0.01),
        )
        self.rnn = nn.LSTMCell(settings.features, settings.memory)
        self.head = nn.Linear(settings.memory, n_actions + 1)

    def forward(self, prev_state, obs_t):
        new_state = self.rnn(self.trunk(10 * obs_t - 3.6), tuple(prev_state))
        out = self.head(new_state[0])
        return new_state, (out[:, : self.n_actions], out[:, self.n_actions])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, self.n_memory), torch.zeros(batch_size, self.n_memory)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        noise = torch.empty_like(logits).exponential_().log()
        return (logits - noise).argmax(dim=-1).numpy()


SimpleRecurrentAgent = KungFuAgent  # the name the rest of the notebook knows
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        wrapper.seconds += time.perf_counter() - start
        wrapper.calls += 1
        return result

    wrapper.seconds, wrapper.calls = 0.0, 0
    return wrapper


def replay(states, alive, memory):
    """Yields (logits, values) tick by tick."""
    for t in range(states.shape[1]):
        memory, outputs = agent(memory, states[:, t])
        yield outputs
        memory = tuple(part.masked_fill(alive[:, t, None] == 0, 0.0) for part in memory)


@timed
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    alive = torch.as_tensor(is_not_done, dtype=torch.float32)
    memory = tuple(part.detach() for part in prev_memory_states)

    logits, values = (torch.stack(x, dim=1) for x in zip(*replay(states, alive, memory)))
    assert values.shape == rewards.shape, (values.shape, rewards.shape)

    log_pi = F.log_softmax(logits, dim=-1)
    constant = values.detach()

    # right to left; accumulate's first item is the bootstrap itself
    ticks = list(zip(rewards.unbind(1), alive.unbind(1)))[:-1]
    backwards = accumulate(
        reversed(ticks),
        lambda G, tick: tick[0] + gamma * tick[1] * G,
        initial=alive[:, -1] * constant[:, -1],
    )
    G = torch.stack(list(backwards)[:0:-1], dim=1)

    games = torch.arange(len(rewards))[:, None]
    columns = torch.arange(rewards.shape[1] - 1)[None, :]
    played = log_pi[games, columns, actions[:, :-1]]

    gain = (played * (G - constant[:, :-1])).mean()
    target = rewards[:, :-1] + gamma * alive[:, :-1] * constant[:, 1:]
    td = F.mse_loss(values[:, :-1], target)
    entropy = (-log_pi * log_pi.exp()).sum(dim=-1).mean()
    loss = value_loss_weight * td - gain - entropy_weight * entropy

    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), SETTINGS.clip)
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.AdamW(agent.parameters(), lr=SETTINGS.lr, weight_decay=0, amsgrad=True)
# %% keep: optimizer-check
# %% keep: first-step
# %%
for i in range(5):  # does it survive a few more?
    memory = list(pool.prev_memory_states)
    print(i, train_on_rollout(*pool.interact(10), memory, gamma))
print(f"{train_on_rollout.seconds / train_on_rollout.calls:.3f} s a step")
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
