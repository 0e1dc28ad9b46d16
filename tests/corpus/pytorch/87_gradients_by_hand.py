# style: mathematician-researcher: the gradients of the loss with respect to logits and values worked out on paper, then autograd.backward with them
# verdict: right
# loses:
# note: d(-J)/dlogits = A (p - onehot) / (nT); d(-w H)/dlogits = w p (log p + H) / (n (T+1)); dL/dV = -2 δ / (nT). The loss itself is only computed to be returned.
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(n_in, 32, kernel_size=3, stride=2) for n_in in (obs_shape[0], 32, 32)
        )
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        for conv in self.convs:
            x = F.silu(conv(x))
        x = F.silu(self.hid(x.flatten(start_dim=1)))
        h, c = self.rnn(x, tuple(prev_state))
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
def loss_and_cotangents(logits, V, actions, r, m, gamma):
    """No autograd in here. Returns the loss, d loss / d logits and d loss / d V."""
    n, T = r.shape[0], r.shape[1] - 1
    logp = F.log_softmax(logits, dim=-1)
    p = logp.exp()
    onehot = to_one_hot(actions, logits.shape[-1])

    G = m[:, T] * V[:, T]
    A = torch.zeros_like(V)  # the last column stays 0: nobody acts there
    delta = torch.zeros_like(V)
    for t in range(T - 1, -1, -1):
        G = r[:, t] + gamma * m[:, t] * G
        A[:, t] = G - V[:, t]
        delta[:, t] = r[:, t] + gamma * m[:, t] * V[:, t + 1] - V[:, t]

    H = -(p * logp).sum(-1)
    J_hat = ((logp * onehot).sum(-1) * A).sum() / (n * T)
    L_td = (delta**2).sum() / (n * T)
    loss = -J_hat + value_loss_weight * L_td - entropy_weight * H.mean()

    d_logits = A[..., None] * (p - onehot) / (n * T)
    d_logits = d_logits + entropy_weight * p * (logp + H[..., None]) / (n * (T + 1))
    d_V = -2 * value_loss_weight * delta / (n * T)
    return loss, d_logits, d_V


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    m = torch.as_tensor(is_not_done, dtype=torch.float32)

    memory = tuple(part.detach() for part in prev_memory_states)
    logits, V = [], []
    for t in range(rewards.shape[1]):
        memory, (logits_t, V_t) = agent(memory, states[:, t])
        memory = tuple(m[:, t, None] * part for part in memory)
        logits.append(logits_t)
        V.append(V_t)
    logits, V = torch.stack(logits, dim=1), torch.stack(V, dim=1)

    with torch.no_grad():
        loss, d_logits, d_V = loss_and_cotangents(logits, V, actions, rewards, m, gamma)

    opt.zero_grad()
    torch.autograd.backward([logits, V], [d_logits, d_V])
    opt.step()
    return loss.numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=1e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: record
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
