# style: a data scientist who is at home in numpy: targets, returns and advantages are worked out as arrays outside of autograd, a plot of them for a look, then the torch part is three lines
# verdict: right
# loses:
# note: np arrays carry no gradient, so no detach is needed beyond the one that leaves torch; float64 inside, float32 at the end; the loss comes back as np.float32
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

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

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6

        features = obs_t
        for conv in [self.conv0, self.conv1, self.conv2]:
            features = conv(features)
            features = torch.relu(features)
        dense = torch.tanh(self.hid(self.flatten(features)))
        hidden, cell = self.rnn(dense, prev_state)

        new_state = hidden, cell
        logits = self.logits(hidden)
        state_value = self.state_value(hidden).sum(dim=-1)  # one column, so the sum is that column

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        p = F.softmax(logits.detach(), dim=-1).numpy().astype(float)
        p = p / p.sum(axis=1, keepdims=True)
        return np.array([np.random.choice(len(row), p=row) for row in p])
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def critic_targets(rewards, mask, values, gamma):
    """One-step targets r + γ m V(s'), [n, T]. All numpy."""
    return rewards[:, :-1] + gamma * mask[:, :-1] * values[:, 1:]


def n_step_returns(rewards, mask, values, gamma):
    """G_0 … G_{T-1}, [n, T]. All numpy."""
    G = np.empty_like(values)
    G[:, -1] = mask[:, -1] * values[:, -1]
    for t in range(G.shape[1] - 2, -1, -1):
        G[:, t] = rewards[:, t] + gamma * mask[:, t] * G[:, t + 1]
    return G[:, :-1]


# by hand: 1 game, rewards 1 2 3 (+ a 0), the game is over in column 1, V = 10 everywhere, γ = 0.5
_r, _m, _v = np.array([[1.0, 2, 3, 0]]), np.array([[1.0, 0, 1, 1]]), np.full((1, 4), 10.0)
assert np.allclose(critic_targets(_r, _m, _v, 0.5), [[6, 2, 8]])
assert np.allclose(n_step_returns(_r, _m, _v, 0.5), [[2, 2, 8]])
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout."""
    rewards = np.asarray(rewards, dtype=np.float64)
    mask = np.asarray(is_not_done, dtype=np.float64)
    n, columns = rewards.shape

    memory = tuple(part.detach() for part in prev_memory_states)
    logits, values = [], []
    for t in range(columns):
        obs_t = torch.as_tensor(np.asarray(states)[:, t], dtype=torch.float32)
        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits += [logits_t]
        values += [values_t]
        wipe = torch.from_numpy(mask[:, t] == 0)[:, None]
        memory = tuple(part.masked_fill(wipe, 0.0) for part in memory)  # not masked_fill_!
    logits = torch.stack(logits, dim=1)
    values = torch.stack(values, dim=1)

    # ---- numpy ----
    v = values.detach().numpy().astype(np.float64)
    targets = critic_targets(rewards, mask, v, gamma)
    advantages = n_step_returns(rewards, mask, v, gamma) - v[:, :-1]
    targets, advantages = targets.astype(np.float32), advantages.astype(np.float32)

    # ---- torch ----
    logp = F.log_softmax(logits, dim=-1)
    picked = (logp * to_one_hot(torch.as_tensor(actions), n_actions)).sum(-1)[:, :-1]
    J_hat = (picked * torch.from_numpy(advantages)).mean()
    value_loss = ((torch.from_numpy(targets) - values[:, :-1]) ** 2).mean()
    entropy = -(logp.exp() * logp).sum(-1).mean()
    loss = value_loss_weight * value_loss - J_hat - entropy_weight * entropy

    opt.zero_grad()
    loss.backward()
    opt.step()
    return np.float32(loss.item())
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)
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
