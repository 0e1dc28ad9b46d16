# style: Chinese comments, cells reordered (optimizer before the loss), a broken first train_on_rollout left in and replaced later, the agent's class patched by a subclass of the same name, asserts and magics
# verdict: right
# note: the first SimpleRecurrentAgent (value (n, 1)) and the first train_on_rollout (wrong sign, no reset, sums) are replaced by later cells before anything uses them.
# %%
!pip install -q "gymnasium>=1.1" ale-py
%matplotlib inline
%config InlineBackend.figure_format = 'retina'
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
# 第一版
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
        x = F.elu(self.conv0(obs_t))   # 卷积 1
        x = F.elu(self.conv1(x))       # 卷积 2
        x = F.elu(self.conv2(x))       # 卷积 3
        x = F.relu(self.hid(self.flatten(x)))
        new_state = self.rnn(x, prev_state)
        return new_state, (self.logits(new_state[0]), self.state_value(new_state[0]))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
# %%
# 修正: state_value 的形状应该是 (n,) 而不是 (n, 1)
class SimpleRecurrentAgent(SimpleRecurrentAgent):
    def forward(self, prev_state, obs_t):
        new_state, (logits, state_value) = super().forward(prev_state, obs_t)
        state_value = state_value.view(-1)
        assert state_value.shape == (logits.shape[0],), state_value.shape
        return new_state, (logits, state_value)
# %% keep: agent-check
# %% keep: agent-look
# %%
# Exercise: optimizer
# 先写优化器, 后面的单元要用
opt = torch.optim.Adam(agent.parameters(), lr=1e-4, amsgrad=True)
# %% keep: optimizer-check
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %%
%%time
rollout_obs, rollout_actions, rollout_rewards, rollout_mask = pool.interact(10)
# %% keep: select
# %%
# 旧版本 -- 不对! 损失一直变成负无穷, 不要运行这个
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.tensor(states)
    memory = prev_memory_states
    logits, values = [], []
    for t in range(states.shape[1]):
        memory, (l, v) = agent(memory, states[:, t])
        logits.append(l); values.append(v)
    logits, values = torch.stack(logits, 1), torch.stack(values, 1)
    logp = torch.log(F.softmax(logits))
    J = (logp * to_one_hot(torch.tensor(actions), n_actions)).sum() * (rewards - values)
    loss = J + ((rewards - values) ** 2).sum() + 0.01 * (logp * logp.exp()).sum()
    loss.backward()
    opt.step()
    return loss.item()

# train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, memory)
# %%
# Exercise: loss
# 新版本
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    n_games, n_steps = rewards.shape
    rollout_length = n_steps - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(n_games)

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)
        # 游戏结束 -> 清空记忆
        over = is_not_done[:, t] == 0
        memory = tuple(
            part.masked_fill(over[:, None], 0.0) for part in memory
        )

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    assert logits.shape == (n_games, n_steps, n_actions)
    assert state_values.shape == (n_games, n_steps)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    logprobas_for_actions = torch.sum(logprobas * to_one_hot(actions, n_actions), dim=-1)

    J_hat, value_loss, entropy_reg = 0.0, 0.0, 0.0
    G_t = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in range(rollout_length - 1, -1, -1):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        not_done = is_not_done[:, t]

        G_t = r_t + gamma * not_done * G_t                       # n 步回报
        delta = r_t + gamma * not_done * V_next - V_t            # TD 误差
        value_loss += delta.pow(2).mean() / rollout_length
        advantage = (G_t - V_t).detach()                         # 优势, 不传梯度
        assert not advantage.requires_grad
        J_hat += (logprobas_for_actions[:, t] * advantage).mean() / rollout_length

    for t in range(n_steps):                                     # 熵
        entropy_reg += -(probas[:, t] * logprobas[:, t]).sum(dim=1).mean() / n_steps

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg
    assert torch.isfinite(loss), (J_hat, value_loss, entropy_reg)

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %% keep: first-step
# %%
# 看一下梯度的大小
for name, p in agent.named_parameters():
    print(f"{name:20s} {p.grad.norm():.5f}")
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
