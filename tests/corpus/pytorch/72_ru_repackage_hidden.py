# style: Russian, a few comments, repackage_hidden copied from PyTorch's word_language_model example
# verdict: wrong
# mistake: the memory is detached after every tick, so no gradient travels through time within the rollout and the cell cannot learn what to remember
# loses: memory_gradient
# named: none does: within a rollout the memory must not be stopped
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
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

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.elu(self.hid(self.flatten(x)))
        h, c = self.rnn(x, tuple(prev_state))
        new_state = (h, c)
        logits = self.logits(h)
        state_value = self.state_value(h)[:, 0]
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
# %% keep: interact
# %% keep: select
# %%
def repackage_hidden(h):
    """Wraps hidden states in new Tensors, to detach them from their history."""
    if isinstance(h, torch.Tensor):
        return h.detach()
    else:
        return tuple(repackage_hidden(v) for v in h)
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        # иначе "Trying to backward through the graph a second time"
        memory = repackage_hidden(memory)
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)

        # новая игра - чистая память
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    logprobas_for_actions = torch.sum(logprobas * to_one_hot(actions, n_actions), dim=-1)

    J_hat = 0.0
    value_loss = 0.0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
        cumulative_returns = G_t

        td_target = r_t + gamma * V_next * is_not_done[:, t]
        value_loss += F.mse_loss(V_t, td_target)

        advantage = G_t - V_t
        advantage = advantage.detach()

        J_hat += (logpi_a_s_t * advantage).mean()

    J_hat /= rollout_length
    value_loss /= rollout_length

    entropy_reg = -torch.einsum("bta,bta->bt", probas, logprobas).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %%
opt = torch.optim.Adam(agent.parameters(), lr=1e-4, betas=(0.9, 0.99))
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
