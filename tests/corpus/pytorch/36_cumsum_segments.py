# style: no loop for the returns: a [n, T, T+1] table of discounts, with game numbers from cumsum as the mask; NumPy-minded author
# verdict: wrong
# mistake: loss: the game numbers come from an inclusive cumsum, so the reset tick counts as part of the next game and its return takes in the next game's rewards
# mistake: optimizer: agent.parameters is handed over without calling it, so the line raises a TypeError and there is no opt
# loses: policy_ends, descent
# named: the next game's rewards get into the return of a game that is over
# named: 'method' object is not iterable
# note: with cumsum(done) - done it would be right; all other columns are right, since the reward of a reset tick is 0 anyway
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
        """Runs the network for one tick of n games."""
        obs_t = 10 * obs_t - 3.6

        x = self.conv0(obs_t).relu()
        x = self.conv1(x).relu()
        x = self.conv2(x).relu()
        x = self.hid(self.flatten(x)).relu()

        new_state = self.rnn(x, prev_state)
        logits = self.logits(new_state[0])
        state_value = self.state_value(new_state[0])[..., 0]

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
# Returns without a loop. G[i, t] = sum_k gamma^(k - t) * x[i, k] over k >= t, where k must be in
# the same game as t, and x is the rewards, with the bootstrap value as a last "reward".
def discount_table(T, gamma):
    t = torch.arange(T)[:, None]
    k = torch.arange(T + 1)[None, :]
    return torch.where(k >= t, gamma ** (k - t).clamp(min=0).float(), torch.zeros(()))


print(discount_table(3, 0.5))
# %%
# which game does a column belong to?
_m = torch.tensor([[1.0, 1, 0, 1, 1, 1]])
print((1 - _m).cumsum(dim=1))
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout."""
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1
    T = rollout_length

    # Gradients stop here: they must not travel into earlier rollouts.
    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]

        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)

        # After a reset tick a new game begins, with a blank memory.
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)  # [n_games, n_steps, n_actions]
    state_values = torch.stack(state_values, dim=1)  # [n_games, n_steps]
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    rows = torch.arange(len(actions))[:, None]
    cols = torch.arange(T)[None, :]
    logprobas_for_actions = logprobas[rows, cols, actions[:, :T]]  # [n_games, T]

    V = state_values.detach()

    # returns
    x = torch.cat([rewards[:, :T], (is_not_done * V)[:, T:]], dim=1)  # [n, T + 1]
    game = (1 - is_not_done).cumsum(dim=1)
    same_game = (game[:, :T, None] == game[:, None, :]).float()  # [n, T, T + 1]
    G = (same_game * discount_table(T, gamma) * x[:, None, :]).sum(dim=-1)

    advantage = G - V[:, :T]
    J_hat = (logprobas_for_actions * advantage).mean()

    target = rewards[:, :T] + gamma * is_not_done[:, :T] * V[:, 1:]
    value_loss = ((target - state_values[:, :T]) ** 2).mean()

    # H for each game and tick, then the mean of them all. Mind the sign.
    entropy_reg = -(probas * logprobas).sum(dim=-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters, lr=1e-5)
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
