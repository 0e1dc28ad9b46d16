# style: Russian comments and notes, `.cuda()` written out everywhere, otherwise close to the template
# verdict: wrong
# mistake: agent: state_value keeps its last axis, (n, 1) instead of (n,)
# mistake: loss: nothing takes that axis away either, so V_t and V_next (n, 1) against r_t and G_t (n,) broadcast to (n, n) in the TD error, in the returns and in the advantage
# loses: state_value
# named: state_value has shape (5, 1): drop the last axis
# note: the same root twice. The loss cell taken alone, with an agent whose value is (n,), is right; value_loss and advantage are wrong only together with this agent. `.cuda()` is no mistake.
# %% keep: setup
# %% keep: imports
# %%
# Колаб: Среда выполнения -> GPU, иначе .cuda() упадёт
torch.manual_seed(42)
np.random.seed(42)
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """Свёртки -> полносвязный -> LSTM -> две головы."""

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
        # активации забывать нельзя :)
        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.relu(self.hid(self.flatten(x)))
        h, c = self.rnn(x, prev_state)

        new_state = (h, c)
        logits = self.logits(h)
        state_value = self.state_value(h)
        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        prev_state = tuple(s.cuda() for s in prev_state)
        return self.forward(prev_state, torch.as_tensor(obs_t, dtype=torch.float32).cuda())

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, 128).cuda(), torch.zeros(batch_size, 128).cuda()

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].cpu().numpy()
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions).cuda()
observation, _ = env.reset()
memory = agent.get_initial_state(1)
new_memory, (logits, state_value) = agent.step(memory, observation[None])
print(logits.cpu(), state_value.cpu())
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Один шаг градиентного спуска по кусочку траектории."""
    states = torch.as_tensor(states, dtype=torch.float32).cuda()
    actions = torch.as_tensor(actions, dtype=torch.int64).cuda()
    rewards = torch.as_tensor(rewards, dtype=torch.float32).cuda()
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32).cuda()
    rollout_length = rewards.shape[1] - 1

    memory = tuple(part.detach().cuda() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]
        memory, (logits_t, values_t) = agent(memory, obs_t)
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
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)

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

        # TD-ошибка; маска, чтобы не заглядывать в следующую игру
        td = r_t + gamma * is_not_done[:, t] * V_next - V_t
        value_loss += torch.mean(td ** 2)

        advantage = G_t - V_t
        advantage = advantage.detach()

        J_hat += torch.mean(logpi_a_s_t * advantage)

    J_hat /= rollout_length
    value_loss /= rollout_length

    # энтропия: сумма по действиям, среднее по всему остальному
    entropy_reg = -(probas * logprobas).sum(-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=1e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %%
# Заметки:
#  * 3000 итераций - 900 очков, 10000 - 2400. Почему так медленно? Потеря падает.
#  * попробовал n_steps=20 - чуть лучше
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
