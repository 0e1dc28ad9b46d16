# style: Russian, old-homework idiom (2018-2020), prints left in, wipes memory at the top of the loop
# verdict: wrong
# mistake: the memory is wiped before the last observation of a game instead of after it: the reset tick is seen without memory, and the new game starts with the old game's memory
# mistake: the entropy is averaged over the actions, too, instead of summed over them: 14 times too small
# loses: memory_reset, entropy_value, entropy_gradient
# named: wiped one tick too early
# named: averaged over the actions too
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
        # свёртки
        x = self.conv0(obs_t)
        x = F.relu(x)
        x = self.conv1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = F.relu(x)
        x = self.flatten(x)
        x = F.relu(self.hid(x))
        # память
        h_new, c_new = self.rnn(x, tuple(prev_state))
        logits = self.logits(h_new)
        state_value = self.state_value(h_new).view(-1)
        return (h_new, c_new), (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        obs_t = torch.as_tensor(obs_t, dtype=torch.float32)
        return self.forward(prev_state, obs_t)

    def get_initial_state(self, batch_size):
        return torch.zeros((batch_size, 128)), torch.zeros((batch_size, 128))

    def sample_actions(self, agent_outputs):
        logits, state_values = agent_outputs
        probs = F.softmax(logits, dim=-1)
        return torch.multinomial(probs, 1)[:, 0].data.numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)      # [batch, time, c, h, w]
    actions = torch.as_tensor(actions, dtype=torch.int64)      # [batch, time]
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(m.detach() for m in prev_memory_states)

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]
        # если игра закончилась - обнуляем память
        memory = tuple(m * is_not_done[:, t, None] for m in memory)

        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=2)
    logprobas = F.log_softmax(logits, dim=2)
    logprobas_for_actions = torch.sum(logprobas * to_one_hot(actions, n_actions), dim=-1)
    # print(logits.shape, state_values.shape, logprobas_for_actions.shape)

    J_hat = 0
    value_loss = 0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        cumulative_returns = G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns

        value_loss += torch.mean((r_t + gamma * V_next * is_not_done[:, t] - V_t) ** 2)

        advantage = (cumulative_returns - V_t).detach()
        J_hat += torch.mean(logpi_a_s_t * advantage)

    # энтропия
    entropy_reg = -torch.mean(probas * logprobas)

    loss = -J_hat / rollout_length + value_loss_weight * value_loss / rollout_length - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.data.numpy()
# %%
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)
# %% keep: optimizer-check
# %%
memory = list(pool.prev_memory_states)
ro, ra, rr, rm = pool.interact(10)
for _ in range(3):
    print(train_on_rollout(ro, ra, rr, rm, memory, gamma))  # падает - хорошо
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
