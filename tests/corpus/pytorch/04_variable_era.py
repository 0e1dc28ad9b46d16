# style: PyTorch-0.4-era idiom: use_cuda, FloatTensor aliases, Variable, .view, .data; old attempts commented out; RMSprop
# verdict: right
# note: the value of a reset tick's column is pulled to 0 as in the assignment; the policy term is masked on reset ticks (accepted).
# %% keep: setup
# %%
%matplotlib inline
# %% keep: imports
# %%
from torch.autograd import Variable

use_cuda = torch.cuda.is_available()
FloatTensor = torch.cuda.FloatTensor if use_cuda else torch.FloatTensor
LongTensor = torch.cuda.LongTensor if use_cuda else torch.LongTensor

def cudify(x):
    return x.cuda() if use_cuda else x

def var(x, tensor_type=FloatTensor):
    return Variable(cudify(torch.from_numpy(np.asarray(x)).type(tensor_type)))
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super(SimpleRecurrentAgent, self).__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.xavier_uniform_(m.weight.data)
                m.bias.data.fill_(0.01)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = x.view(x.size(0), -1)
        x = F.elu(self.hid(x))
        # x = F.dropout(x, 0.2)   # worse!! and the replay does not agree with what was played
        new_state = self.rnn(x, prev_state)
        logits = self.logits(new_state[0])
        # state_value = self.state_value(new_state[0])     # <- was (5, 1), broadcasts to (5, 5)
        state_value = self.state_value(new_state[0]).view(-1)
        return new_state, (logits, state_value)

    def step(self, prev_state, obs_t):
        prev_state = tuple(cudify(s.data) for s in prev_state)
        with torch.no_grad():
            (h, c), (l, s) = self.forward(prev_state, var(obs_t))
        return (h.data, c.data), (l.data, s.data)

    def get_initial_state(self, batch_size):
        return var(np.zeros((batch_size, 128))), var(np.zeros((batch_size, 128)))

    def sample_actions(self, agent_outputs):
        logits, state_values = agent_outputs
        probs = F.softmax(logits, dim=1)
        return torch.multinomial(probs, 1).view(-1).data.cpu().numpy()
# %% keep: agent-check
# %%
agent = cudify(SimpleRecurrentAgent(obs_shape, n_actions))
s, _ = env.reset()
_, (logits, value) = agent.step(agent.get_initial_state(1), s[None])
print("action logits:\n", logits)
print("state values:\n", value)
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01
# %%
# Exercise: loss
def to_one_hot(y, n_dims=None):
    """ Take an integer vector (tensor of variable) and convert it to 1-hot matrix. """
    y_tensor = y.data if isinstance(y, Variable) else y
    y_tensor = y_tensor.type(LongTensor).contiguous().view(-1, 1)
    n_dims = n_dims if n_dims is not None else int(torch.max(y_tensor)) + 1
    y_one_hot = cudify(torch.zeros(y_tensor.size()[0], n_dims)).scatter_(1, y_tensor, 1)
    return y_one_hot.view(*y.shape, -1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = var(states)                   # [batch, time, c, h, w]
    actions = var(actions, LongTensor)     # [batch, time]
    rewards = var(rewards)                 # [batch, time]
    is_not_done = var(is_not_done)         # [batch, time]
    rollout_length = rewards.shape[1] - 1

    memory = tuple(cudify(m.data) for m in prev_memory_states)
    zeros = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rewards.shape[1]):
        obs_t = states[:, t]
        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)
        alive = is_not_done[:, t].view(-1, 1).expand_as(memory[0]) > 0
        memory = (torch.where(alive, memory[0], zeros[0]), torch.where(alive, memory[1], zeros[1]))

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=2)
    logprobas = F.log_softmax(logits, dim=2)
    # logprobas = torch.log(probas)     # nan after some 3000 iterations
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)

    J_hat = 0
    value_loss = 0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()
    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        m_t = is_not_done[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        cumulative_returns = G_t = r_t + gamma * m_t * cumulative_returns

        # value_loss += torch.mean((r_t + gamma * V_next - V_t) ** 2)
        value_loss += torch.mean((r_t + gamma * m_t * V_next - V_t) ** 2)

        advantage = G_t - V_t
        advantage = advantage.detach()

        # on a tick where the game restarts nobody listens to the action
        J_hat += torch.mean(m_t * logpi_a_s_t * advantage)

    J_hat = J_hat / rollout_length
    value_loss = value_loss / rollout_length

    entropy = -torch.sum(probas * logprobas, dim=2)
    loss = -J_hat + value_loss_weight * value_loss + -entropy_weight * entropy.mean()

    opt.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(agent.parameters(), 40)
    opt.step()

    return loss.data.cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
#opt = torch.optim.Adam(agent.parameters(), lr=1e-5)    # as in the course. too slow
#opt = torch.optim.SGD(agent.parameters(), lr=1e-2, momentum=0.9)
opt = torch.optim.RMSprop(agent.parameters(), lr=7e-4, alpha=0.99, eps=1e-5)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
