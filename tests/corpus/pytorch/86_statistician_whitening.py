# style: statistician, likes information theory and whitening; short names, einsum, plots
# verdict: wrong
# mistake: the features are standardised over the games of the batch, so what the agent does in one game depends on the others (and a single game sees nothing but zeros)
# mistake: the entropy is measured in bits, not nats: value and gradient are 1/ln 2 times too large
# loses: games_apart, entropy_value, entropy_gradient
# named: the other games in the batch change a game's h
# named: the logarithm has base 2
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
import math


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

    @staticmethod
    def standardise(x):
        # zero mean, unit variance for each feature (Efficient BackProp)
        mu = x.mean(dim=0, keepdim=True)
        sd = x.std(dim=0, unbiased=False, keepdim=True)
        return (x - mu) / (sd + 1e-3)

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        x = F.elu(self.conv0(x))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.elu(self.hid(self.flatten(x)))
        x = self.standardise(x)
        h, c = self.rnn(x, prev_state)
        return (h, c), (self.logits(h), self.state_value(h).squeeze(-1))

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
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def H2(log_p):
    """Shannon's entropy of categorical distributions along the last axis."""
    return -torch.einsum("...a,...a->...", log_p.exp(), log_p) / math.log(2)


q = torch.full((8,), 1 / 8).log()
print("uniform over 8:", H2(q))  # 3, as it should be


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    w = torch.as_tensor(is_not_done, dtype=torch.float32)
    n, k = rewards.shape
    T = k - 1

    h, c = [part.detach() for part in prev_memory_states]
    logits, v = [], []
    for t in range(k):
        (h, c), (l_t, v_t) = agent((h, c), states[:, t])
        h = torch.einsum("nu,n->nu", h, w[:, t])
        c = torch.einsum("nu,n->nu", c, w[:, t])
        logits.append(l_t)
        v.append(v_t)
    log_p = F.log_softmax(torch.stack(logits, dim=1), dim=-1)
    v = torch.stack(v, dim=1)
    v0 = v.detach()

    score = torch.einsum("nta,nta->nt", log_p, to_one_hot(actions, n_actions))

    G = w[:, T] * v0[:, T]
    J = 0.0
    L = 0.0
    for t in range(T)[::-1]:
        G = rewards[:, t] + gamma * w[:, t] * G
        J = J + torch.einsum("n,n->", score[:, t], G - v0[:, t]) / n
        resid = rewards[:, t] + gamma * w[:, t] * v0[:, t + 1] - v[:, t]
        L = L + torch.einsum("n,n->", resid, resid) / n
    J = J / T
    L = L / T

    loss = -J + value_loss_weight * L - entropy_weight * H2(log_p).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=3e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %%
plt.hist(rollout_rewards.ravel(), bins=20)
plt.title("rewards of one rollout")
plt.show()
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: record
# %% keep: final
# %% keep: hand-in
