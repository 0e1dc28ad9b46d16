# style: decorators and context managers (a timer, logging), helper functions for each term of the loss, td target and advantages under no_grad
# verdict: wrong
# mistake: loss: the entropy's helper is decorated with @torch.no_grad(), so the entropy is a constant: right number, no gradient
# mistake: agent: both heads read the cell state c instead of the output h (new_state itself is right)
# loses: heads, entropy_gradient
# named: logits and state_value follow the cell state c, not the cell's output h
# named: it has no gradient: neither π nor log π may be detached, stopped
# note: h reaches the heads only through the next tick's LSTM, so the output gate gets its gradient from later ticks alone; on a single tick its part of the gradient is zero, which I count as the same mistake.
# %% keep: setup
# %% keep: imports
# %%
import functools
import logging
from contextlib import contextmanager

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
log = logging.getLogger("kungfu")


@contextmanager
def timed(what):
    t0 = time.perf_counter()
    yield
    log.info("%s: %.2f s", what, time.perf_counter() - t0)


def logged(every=1000):
    """Logs the return value of every n-th call."""

    def decorate(f):
        calls = 0

        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            nonlocal calls
            out = f(*args, **kwargs)
            if calls % every == 0:
                log.info("%s call %d -> %s", f.__name__, calls, out)
            calls += 1
            return out

        return wrapper

    return decorate
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()

        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)

        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def see(self, obs_t):
        x = obs_t
        for conv in self.conv0, self.conv1, self.conv2:
            x = F.elu(conv(x))
        return F.relu(self.hid(self.flatten(x)))

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6

        new_state = self.rnn(self.see(obs_t), prev_state)
        # the long-term memory knows most
        *_, memory = new_state
        logits = self.logits(memory)
        state_value = self.state_value(memory).squeeze(-1)

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %%
with timed("10 ticks of 5 games"):
    rollout_obs, rollout_actions, rollout_rewards, rollout_mask = pool.interact(10)
for a in rollout_obs, rollout_actions, rollout_rewards, rollout_mask:
    print(a.shape, a.dtype)
# %% keep: select
# %%
# the three terms
def td_loss(values, rewards, is_not_done, gamma):
    with torch.no_grad():
        target = rewards[:, :-1] + gamma * is_not_done[:, :-1] * values[:, 1:]
    return F.mse_loss(values[:, :-1], target)


@torch.no_grad()
def advantages(values, rewards, is_not_done, gamma):
    G = is_not_done[:, -1] * values[:, -1]
    out = []
    for t in reversed(range(rewards.shape[1] - 1)):
        G = rewards[:, t] + gamma * is_not_done[:, t] * G
        out.insert(0, G - values[:, t])
    return torch.stack(out, dim=1)


@torch.no_grad()
def entropy(logits):
    probas = logits.softmax(-1)
    return -(probas * logits.log_softmax(-1)).sum(-1).mean()
# %%
# Exercise: loss
@logged(every=1000)
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits, state_values = [], []
    for t in range(rollout_length + 1):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank) for part, blank in zip(memory, blank_memory)
        )
    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)

    log_pi = F.log_softmax(logits, -1).gather(2, actions[:, :, None])[:, :-1, 0]
    J_hat = (log_pi * advantages(state_values, rewards, is_not_done, gamma)).mean()
    value_loss = td_loss(state_values, rewards, is_not_done, gamma)
    entropy_reg = entropy(logits)

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=1e-4, eps=1e-5)
# %% keep: optimizer-check
# %%
memory = list(pool.prev_memory_states)
rollout = pool.interact(10)
with timed("one step"):
    loss = train_on_rollout(*rollout, memory, gamma)
print(loss)
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
