# style: English, good student: LayerNorm, small MLP heads behind the cell, F.cross_entropy(reduction="none") for -log π, asserts on shapes, Gumbel-max sampling
# verdict: right
# loses:
# note: F.cross_entropy of the logits is -log π(a|s); LayerNorm works on each game alone; both heads are MLPs on the cell's h
# %% keep: setup
# %% keep: imports
# %%
torch.manual_seed(0)
torch.set_num_threads(max(1, os.cpu_count() // 2))  # hyperthreads only get in the way
# %% keep: make-env
# %% keep: look
# %%
def mlp(n_in, n_hidden, n_out):
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_out))


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, units=192):
        super().__init__()
        self.units = units
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=3, stride=2)
        self.conv1 = nn.Conv2d(32, 32, kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(32, 48, kernel_size=3, stride=2)
        self.hid = nn.Linear(48 * 4 * 4, units)
        self.norm = nn.LayerNorm(units)  # over the features of one game, never over games
        self.rnn = nn.LSTMCell(units, units)
        self.logits = mlp(units, 64, n_actions)
        self.state_value = mlp(units, 64, 1)

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        for conv in (self.conv0, self.conv1, self.conv2):
            x = F.elu(conv(x))
        x = F.elu(self.norm(self.hid(x.flatten(1))))
        h, c = self.rnn(x, tuple(prev_state))
        logits = self.logits(h)
        state_value = self.state_value(h).squeeze(-1)
        assert state_value.shape == logits.shape[:1]
        return (h, c), (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, self.units), torch.zeros(batch_size, self.units)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        # Gumbel-max: the argmax of logits plus Gumbel noise is a sample of their softmax
        noise = -torch.empty_like(logits).exponential_().log()
        return (logits + noise).argmax(dim=-1).numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    mask = torch.as_tensor(is_not_done, dtype=torch.float32)
    n, n_cols = rewards.shape

    memory = tuple(part.detach() for part in prev_memory_states)
    blank = agent.get_initial_state(n)
    outputs = []
    for obs_t, m_t in zip(states.transpose(0, 1), mask.t()):
        memory, out_t = agent(memory, obs_t)
        outputs.append(out_t)
        memory = tuple(torch.where(m_t[:, None] > 0, p, b) for p, b in zip(memory, blank))

    logits, V = (torch.stack(list(part), dim=1) for part in zip(*outputs))
    assert logits.shape == (n, n_cols, n_actions) and V.shape == (n, n_cols)

    # acted-on columns only; the last one is just for bootstrapping
    r, m, V_t = rewards[:, :-1], mask[:, :-1], V[:, :-1]
    V_const = V.detach()

    G_next = mask[:, -1] * V_const[:, -1]
    G = []
    for r_t, m_t in zip(r.unbind(1)[::-1], m.unbind(1)[::-1]):
        G_next = r_t + gamma * m_t * G_next
        G.append(G_next)
    G = torch.stack(G[::-1], dim=1)
    advantage = (G - V_t).detach()
    assert advantage.shape == r.shape

    nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), actions[:, :-1], reduction="none")
    J_hat = -(nll * advantage).mean()

    delta = r + gamma * m * V_const[:, 1:] - V_t
    value_loss = delta.pow(2).mean()

    p, logp = F.softmax(logits, dim=-1), F.log_softmax(logits, dim=-1)
    entropy_reg = -(p * logp).sum(dim=-1).mean()  # last column included

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    for group in opt.param_groups:
        for param in group["params"]:
            param.grad = None
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.RAdam(agent.parameters(), lr=2e-4)
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
