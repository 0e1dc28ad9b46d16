# style: a student who ran out of time: TODO marks, loss split over several cells with a mixin-like namespace class, type hints here and there
# verdict: wrong
# mistake: loss: the entropy is not written, entropy_reg = 0.0 with a TODO
# mistake: optimizer: `agent.parameter()` does not exist (it is `parameters`), the cell raises AttributeError and there is no `opt`
# loses: entropy_value, entropy_gradient, descent
# named: it is always 0
# named: has no attribute 'parameter'
# note: `step` itself (zero_grad, backward, step) is right, but without `opt` it cannot run in this notebook. entropy_weight stands in the sum, multiplied by the 0.
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

        x = self.conv0(obs_t).relu()
        x = self.conv1(x).relu()
        x = self.conv2(x).relu()
        x = self.hid(self.flatten(x)).relu()
        lstm_out = self.rnn(x, prev_state)

        new_state = lstm_out
        logits = self.logits(lstm_out[0])
        state_value = torch.squeeze(self.state_value(lstm_out[0]), dim=1)

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
class ops:
    """Small things for the loss, so that I can test them one by one."""

    def tensors(states, actions, rewards, is_not_done):
        return (
            torch.as_tensor(states, dtype=torch.float32),
            torch.as_tensor(actions, dtype=torch.int64),
            torch.as_tensor(rewards, dtype=torch.float32),
            torch.as_tensor(is_not_done, dtype=torch.float32),
        )

    def next_return(r_t, m_t, G_next, gamma: float):
        return r_t + gamma * m_t * G_next

    def td_error(r_t, m_t, V_next, V_t, gamma: float):
        return r_t + gamma * m_t * V_next.detach() - V_t
# %%
# numbers from the worked example in the text: 3, 4, 4, 0
G = torch.tensor(50.0)  # backwards
for r, m in [(0, 0), (4, 1), (2, 1), (1, 1)]:
    G = ops.next_return(r, m, G, 0.5)
    print(G)
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, actions, rewards, is_not_done = ops.tensors(states, actions, rewards, is_not_done)
    rollout_length = rewards.shape[1] - 1

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
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)  # [n_games, n_steps]

    J_hat = 0.0
    value_loss = 0.0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t, m_t = rewards[:, t], is_not_done[:, t]
        V_t, V_next = state_values[:, t], state_values[:, t + 1]
        logpi_a_s_t = logprobas_for_actions[:, t]

        cumulative_returns = G_t = ops.next_return(r_t, m_t, cumulative_returns, gamma)
        value_loss += ops.td_error(r_t, m_t, V_next, V_t, gamma).square().mean()

        advantage = G_t - V_t
        advantage = advantage.detach()

        J_hat += (logpi_a_s_t * advantage).mean()

    J_hat /= rollout_length
    value_loss /= rollout_length

    # TODO entropy!!! (probas * logprobas ... and the sign)
    entropy_reg = 0.0

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameter(), lr=1e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %%
# 23:40, AttributeError. Handing in what I have, sorry!
