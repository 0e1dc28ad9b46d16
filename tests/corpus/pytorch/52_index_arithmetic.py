# style: C-like index arithmetic, preallocated tables, explicit loops with `t + 1`, debug asserts left in, a bigger agent with LeakyReLU
# verdict: wrong
# mistake: loss-exercise: off by one: reads is_not_done as "is the game still on after this action" and takes the mask of column t + 1 in the TD target and in the return
# loses: value_ends, policy_ends
# named: the mask comes one column late
# named: the next game's rewards get into the return of a game that is over
# note: the memory is reset at the right tick; the bootstrap has its own mask m_T (which is then applied twice)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
N_UNITS = 256
LEAK = 0.01


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 16, kernel_size=(5, 5), stride=(2, 2))
        self.conv1 = nn.Conv2d(16, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 64, kernel_size=(3, 3), stride=(2, 2))
        # 42 -> (42-5)//2+1 = 19 -> (19-3)//2+1 = 9 -> (9-3)//2+1 = 4
        self.hid = nn.Linear(64 * 4 * 4, N_UNITS)
        self.rnn = nn.LSTMCell(N_UNITS, N_UNITS)
        self.logits = nn.Linear(N_UNITS, n_actions)
        self.state_value = nn.Linear(N_UNITS, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        x = F.leaky_relu(self.conv0(obs_t), LEAK)
        x = F.leaky_relu(self.conv1(x), LEAK)
        x = F.leaky_relu(self.conv2(x), LEAK)
        x = x.view(-1, 64 * 4 * 4)
        x = F.leaky_relu(self.hid(x), LEAK)

        pair = self.rnn(x, (prev_state[0], prev_state[1]))
        hidden = pair[0]

        logits = self.logits(hidden)
        state_value = self.state_value(hidden)
        state_value = state_value[:, 0]      # (n,1) -> (n,)
        assert state_value.dim() == 1
        return (pair[0], pair[1]), (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros((batch_size, N_UNITS)), torch.zeros((batch_size, N_UNITS))

    def sample_actions(self, agent_outputs):
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
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    n_games = rewards.shape[0]
    n_columns = rewards.shape[1]
    T = n_columns - 1

    h = prev_memory_states[0].detach()
    c = prev_memory_states[1].detach()

    logits = [None] * n_columns
    values = [None] * n_columns
    for t in range(0, n_columns):
        (h, c), (logits[t], values[t]) = agent((h, c), states[:, t])
        # wipe the memory of games that ended in this column
        h = h * is_not_done[:, t].reshape(n_games, 1)
        c = c * is_not_done[:, t].reshape(n_games, 1)

    # returns: G[T] is the guess of the critic, then go back
    G = [None] * n_columns
    G[T] = is_not_done[:, T] * values[T].detach()
    for t in range(T - 1, -1, -1):
        alive = is_not_done[:, t + 1]        # did the game survive this step?
        G[t] = rewards[:, t] + gamma * alive * G[t + 1]

    J_hat = 0.0
    value_loss = 0.0
    for t in range(0, T):
        alive = is_not_done[:, t + 1]
        target = rewards[:, t] + gamma * alive * values[t + 1].detach()
        value_loss = value_loss + torch.mean((target - values[t]) ** 2)

        log_pi = F.log_softmax(logits[t], dim=1)
        log_pi_a = log_pi[torch.arange(n_games), actions[:, t]]
        advantage = G[t] - values[t].detach()
        J_hat = J_hat + torch.mean(log_pi_a * advantage)
    J_hat = J_hat / T
    value_loss = value_loss / T

    H = 0.0
    for t in range(0, n_columns):
        p = F.softmax(logits[t], dim=1)
        H = H - torch.mean(torch.sum(p * F.log_softmax(logits[t], dim=1), dim=1))
    H = H / n_columns

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * H
    assert loss.dim() == 0

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=0.0003)
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
