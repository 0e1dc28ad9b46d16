# style: word-language-model idiom of 2018-2020 (repackage_hidden, Variable), Chinese comments, Categorical
# verdict: wrong
# mistake: loss: repackage_hidden is called at every tick of the replay: the memory is detached between ticks, no gradient flows through time
# loses: memory_gradient
# named: within a rollout the memory must not be stopped
# note: the critic is regressed on the n-step return (accepted)
# %% keep: setup
# %% keep: imports
# %%
from torch.autograd import Variable
from torch.distributions import Categorical
torch.manual_seed(42)
np.random.seed(42)
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super(SimpleRecurrentAgent, self).__init__()
        # 三层卷积
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        # 策略头和价值头
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        conv = F.elu(self.conv2(F.elu(self.conv1(F.elu(self.conv0(obs_t))))))
        emb = F.relu(self.hid(self.flatten(conv)))
        new_state = self.rnn(emb, prev_state)
        logits = self.logits(new_state[0])
        state_value = self.state_value(new_state[0]).squeeze(1)   # 形状必须是 (n,)
        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        weight = next(self.parameters()).data
        return (weight.new(batch_size, 128).zero_(), weight.new(batch_size, 128).zero_())

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return Categorical(logits=logits).sample().numpy()
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
def repackage_hidden(h):
    """Wraps hidden states in new Variables, to detach them from their history."""
    if isinstance(h, torch.Tensor):
        return Variable(h.data)
    return tuple(repackage_hidden(v) for v in h)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = prev_memory_states
    dists, state_values = [], []
    for t in range(rollout_length + 1):
        # 不然显存会爆 / RuntimeError: Trying to backward through the graph a second time
        memory = repackage_hidden(memory)
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        dists.append(Categorical(logits=logits_t))
        state_values.append(values_t)
        # 一局结束，清空记忆
        memory = tuple(m * is_not_done[:, t].unsqueeze(-1) for m in memory)

    G = is_not_done[:, -1] * state_values[-1].detach()
    J_hat, value_loss = 0.0, 0.0
    for t in reversed(range(rollout_length)):
        G = rewards[:, t] + gamma * is_not_done[:, t] * G
        advantage = (G - state_values[t]).detach()
        J_hat = J_hat + (dists[t].log_prob(actions[:, t]) * advantage).mean()
        value_loss = value_loss + F.mse_loss(state_values[t], G)
    J_hat = J_hat / rollout_length
    value_loss = value_loss / rollout_length
    entropy_reg = torch.stack([d.entropy() for d in dists]).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.data.numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=5e-4, eps=1e-5)
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
