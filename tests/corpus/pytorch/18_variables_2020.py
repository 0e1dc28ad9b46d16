# style: early-2020 PyTorch: Variable, .data, torch.FloatTensor, F.log_softmax with Variables, Russian comments, USE_CUDA flag
# verdict: right
# note: the critic is regressed on the n-step return (accepted); entropy without the dummy last column; clip_grad_norm_ at 40
# %% keep: setup
# %% keep: imports
# %%
from torch.autograd import Variable
import torch.optim as optim
# from tensorboardX import SummaryWriter
# writer = SummaryWriter('runs/kungfu')

USE_CUDA = False  # torch.cuda.is_available()
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
def weights_init(m):
    # ортогональная инициализация, как в pytorch-a2c-ppo-acktr
    if isinstance(m, (nn.Conv2d, nn.Linear)):
        nn.init.orthogonal_(m.weight.data, gain=nn.init.calculate_gain('relu'))
        m.bias.data.fill_(0)


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, reuse=False):
        super(SimpleRecurrentAgent, self).__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=3, stride=2)
        self.conv1 = nn.Conv2d(32, 32, kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(32, 32, kernel_size=3, stride=2)
        self.hid = nn.Linear(32 * 4 * 4, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)
        self.apply(weights_init)
        # маленькие веса на выходе актёра
        self.logits.weight.data.mul_(0.01)
        self.train()

    def forward(self, prev_state, obs_t):
        x = F.elu(self.conv0(10 * obs_t - 3.6))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = x.view(x.size(0), -1)
        x = F.relu(self.hid(x))
        hx, cx = self.rnn(x, (prev_state[0], prev_state[1]))
        return (hx, cx), (self.logits(hx), self.state_value(hx).squeeze(-1))

    def step(self, prev_state, obs_t):
        # volatile=True больше не существует, поэтому no_grad
        obs_t = torch.FloatTensor(np.array(obs_t))
        with torch.no_grad():
            (h, c), (l, s) = self.forward(prev_state, Variable(obs_t))
        return (h.data, c.data), (l.data, s.data)

    def get_initial_state(self, batch_size):
        return (Variable(torch.zeros(batch_size, 128)), Variable(torch.zeros(batch_size, 128)))

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        probs = F.softmax(logits, dim=1)
        return torch.multinomial(probs, 1)[:, 0].data.cpu().numpy()
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
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = Variable(torch.FloatTensor(np.array(states)))               # [n, t, c, h, w]
    actions = Variable(torch.LongTensor(np.array(actions, dtype='int64')))
    rewards = Variable(torch.FloatTensor(np.array(rewards)))
    masks = Variable(torch.FloatTensor(np.array(is_not_done)))
    n, num_steps = rewards.size(0), rewards.size(1) - 1

    # отрезаем историю
    hx, cx = [Variable(s.data) for s in prev_memory_states]

    all_logits, values = [], []
    for step in range(num_steps + 1):
        (hx, cx), (l, v) = agent((hx, cx), states[:, step])
        all_logits.append(l)
        values.append(v)
        # игра закончилась -> память обнуляем ПОСЛЕ этого тика
        hx = hx * masks[:, step].unsqueeze(1)
        cx = cx * masks[:, step].unsqueeze(1)

    returns = [None] * num_steps
    R = values[-1].data * masks[:, -1]
    policy_loss, value_loss, entropy = 0, 0, 0
    for i in reversed(range(num_steps)):
        R = rewards[:, i] + gamma * masks[:, i] * R
        returns[i] = R
        log_probs = F.log_softmax(all_logits[i], dim=1)
        log_prob = log_probs.gather(1, actions[:, i].unsqueeze(1)).squeeze(1)
        advantage = R - values[i]
        value_loss = value_loss + advantage.pow(2).mean()
        policy_loss = policy_loss - (log_prob * Variable(advantage.data)).mean()
        entropy = entropy - (log_probs * torch.exp(log_probs)).sum(1).mean()

    policy_loss, value_loss, entropy = [x / num_steps for x in (policy_loss, value_loss, entropy)]
    loss = policy_loss + value_loss_weight * value_loss - entropy_weight * entropy

    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), 40)
    opt.step()
    # writer.add_scalar('loss', loss.data[0])   # IndexError в новых версиях
    return loss.data.cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = optim.RMSprop(agent.parameters(), lr=7e-4, alpha=0.99, eps=1e-5)
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
