# style: a base class with a hook method and a subclass that overrides it, static helper class for the losses, print-debugging, notes on experiments
# verdict: wrong
# mistake: agent: observations are standardised with the mean and standard deviation over the whole batch, so each game's outputs depend on the other games
# mistake: loss: the entropy is averaged over the actions too (.mean() instead of a sum over actions), 14 times too small
# loses: games_apart, entropy_value, entropy_gradient
# named: the other games in the batch change a game's
# named: averaged over the actions too, 14 times too small
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class BaseAgent(nn.Module):
    """Plays; subclasses see and think."""

    hidden_size = 128

    def preprocess(self, obs_t):
        return 10 * obs_t - 3.6

    def encode(self, obs_t):
        raise NotImplementedError

    def forward(self, prev_state, obs_t):
        x = self.encode(self.preprocess(obs_t))
        h, c = self.rnn(x, prev_state)
        return (h, c), (self.logits(h), self.state_value(h).squeeze(1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return tuple(torch.zeros(batch_size, self.hidden_size) for _ in range(2))

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()


class SimpleRecurrentAgent(BaseAgent):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()
        self.hid = nn.Linear(512, self.hidden_size)
        self.rnn = nn.LSTMCell(self.hidden_size, self.hidden_size)
        self.logits = nn.Linear(self.hidden_size, n_actions)
        self.state_value = nn.Linear(self.hidden_size, 1)

    def preprocess(self, obs_t):
        # better than the fixed 10 and 3.6: zero mean, unit variance, whatever the level looks like
        return (obs_t - obs_t.mean()) / (obs_t.std() + 1e-6)

    def encode(self, x):
        x = F.elu(self.conv0(x))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        return F.relu(self.hid(self.flatten(x)))
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
class Loss:
    @staticmethod
    def critic(V_t, target):
        return torch.mean((target - V_t) ** 2)

    @staticmethod
    def actor(logpi, advantage):
        return torch.mean(logpi * advantage)

    @staticmethod
    def entropy(probas, logprobas):
        return -torch.mean(probas * logprobas)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]
        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)

        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    # print("logits", logits.shape, "values", state_values.shape)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    logprobas_for_actions = torch.sum(logprobas * to_one_hot(actions, n_actions), dim=-1)

    J_hat = 0.0
    value_loss = 0.0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t, m_t = rewards[:, t], is_not_done[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        G_t = r_t + gamma * m_t * cumulative_returns
        cumulative_returns = G_t

        value_loss += Loss.critic(V_t, r_t + gamma * m_t * V_next)
        advantage = G_t - V_t
        advantage = advantage.detach()
        J_hat += Loss.actor(logpi_a_s_t, advantage)

    J_hat /= rollout_length
    value_loss /= rollout_length
    entropy_reg = Loss.entropy(probas, logprobas)

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
# lr 1e-3: collapses after 500 rollouts (entropy 0.0)
# lr 3e-4: entropy 0.2, better
opt = torch.optim.Adam(agent.parameters(), lr=2e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
