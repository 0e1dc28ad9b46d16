# style: Russian comments, given skeleton filled in with as little as possible
# verdict: wrong
# mistake: loss: the advantage is the one-step TD error r + γ·m·V(s') - V(s) at every tick, not the n-step return minus V
# mistake: loss: the last line was changed to loss.numpy(), which raises since the tensor requires grad
# loses: advantage, returned
# named: the advantage looks one step ahead only
# named: NumPy keeps no gradients
# note: the step itself is taken before the last line raises; the masks, the mean and the stop in the one-step advantage are as they should be
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Упражнение: агент
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

        # свёртки -> плоский вектор -> полносвязный слой
        out = F.elu(self.conv0(obs_t))
        out = F.elu(self.conv1(out))
        out = F.elu(self.conv2(out))
        out = F.elu(self.hid(self.flatten(out)))

        # новая память: пара (h, c)
        new_state = self.rnn(out, prev_state)
        logits = self.logits(new_state[0])
        state_value = self.state_value(new_state[0]).reshape(-1)  # (n, 1) -> (n,)

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
# Упражнение: функция потерь
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    # Gradients stop here: they must not travel into earlier rollouts.
    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]

        memory, (logits_t, values_t) = agent.forward(memory, obs_t)
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
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)  # [n_games, n_steps]

    J_hat = 0.0
    value_loss = 0.0
    # The return beyond the rollout is the critic's guess: the bootstrap value.
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    # Backwards in time; every name below holds one number for each game.
    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        # G_t = r_t + γ·G_{t+1}, and nothing after the end of a game.
        G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
        cumulative_returns = G_t

        # TD-ошибка; если игра окончена, будущего нет
        td_error = r_t + gamma * is_not_done[:, t] * V_next - V_t
        value_loss += (td_error**2).mean()

        # преимущество: насколько лучше, чем ожидал критик
        advantage = td_error
        advantage = advantage.detach()

        J_hat += (logpi_a_s_t * advantage).mean()

    J_hat /= rollout_length
    value_loss /= rollout_length

    # энтропия: сумма по действиям, среднее по играм и тикам
    entropy_reg = -(probas * logprobas).sum(-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.numpy()
# %% keep: loss-check
# %%
# Упражнение: оптимизатор
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
