# style: statistician: torch.distributions.Categorical, score functions, a deque for the returns, standard errors at the end
# verdict: right
# loses:
# %% keep: setup
# %% keep: imports
# %%
from collections import deque

from torch.distributions import Categorical
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent(nn.Module):
    """π_θ(a | history) and V_θ(history), where history ≈ the LSTM's hidden state"""

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

    def features(self, obs_t):
        z = (obs_t - 0.36) / 0.1  # standardise the greys, the same as 10x - 3.6
        z = F.elu(self.conv0(z))
        z = F.elu(self.conv1(z))
        z = F.elu(self.conv2(z))
        return F.elu(self.hid(self.flatten(z)))

    def forward(self, prev_state, obs_t):
        h, c = self.rnn(self.features(obs_t), prev_state)
        return (h, c), (self.logits(h), self.state_value(h).squeeze(dim=1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return Categorical(logits=logits).sample().numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def discounted_returns(rewards, mask, bootstrap, gamma):
    """G_0 … G_{T-1}, from right to left. rewards, mask: [n, T]"""
    G, out = bootstrap, deque()
    for r, m in zip(reversed(rewards.unbind(1)), reversed(mask.unbind(1))):
        G = r + gamma * m * G
        out.appendleft(G)
    return torch.stack(tuple(out), dim=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    x = torch.as_tensor(states, dtype=torch.float32)
    a = torch.as_tensor(actions, dtype=torch.int64)
    r = torch.as_tensor(rewards, dtype=torch.float32)
    m = torch.as_tensor(is_not_done, dtype=torch.float32)

    memory = tuple(part.detach() for part in prev_memory_states)
    eta, V = [], []
    for t in range(x.shape[1]):
        memory, (eta_t, V_t) = agent(memory, x[:, t])
        eta.append(eta_t)
        V.append(V_t)
        memory = tuple(torch.where(m[:, t, None] > 0, s, torch.zeros_like(s)) for s in memory)

    policy = Categorical(logits=torch.stack(eta, dim=1))
    V = torch.stack(V, dim=1)

    # everything in this block is data, not model
    with torch.no_grad():
        G = discounted_returns(r[:, :-1], m[:, :-1], m[:, -1] * V[:, -1], gamma)
        A = G - V[:, :-1]
        y = r[:, :-1] + gamma * m[:, :-1] * V[:, 1:]

    log_lik = policy.log_prob(a)[:, :-1]
    J_hat = torch.mean(log_lik * A)  # its gradient: the score, weighted with the advantage
    L_td = torch.mean((y - V[:, :-1]) ** 2)
    H = policy.entropy().mean()
    loss = -J_hat + value_loss_weight * L_td - entropy_weight * H

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.NAdam(agent.parameters(), lr=1e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %%
# How noisy is the untrained policy's score? Bootstrap.
points = np.array(evaluate(agent, env, n_games=3))
boot = np.random.default_rng(1).choice(points, size=(1000, len(points))).mean(axis=1)
print("mean", points.mean(), "95 % interval", np.percentile(boot, [2.5, 97.5]))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
