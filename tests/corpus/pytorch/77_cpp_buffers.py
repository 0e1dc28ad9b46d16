# style: C++ person: camelCase, preallocated buffers, index loops, flags as integers
# verdict: wrong
# mistake: `~` is taken for C++'s `!`: on an integer tensor ~1 is -2 and ~0 is -1, both are true, so the memory is wiped after every tick, not only after the end of a game
# loses: memory_passed, memory_gradient
# named: the memory is blank again in every tick
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
kHidden = 128
kChannels = 32


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], kChannels, 3, 2)
        self.conv1 = nn.Conv2d(kChannels, kChannels, 3, 2)
        self.conv2 = nn.Conv2d(kChannels, kChannels, 3, 2)
        self.hid = nn.Linear(4 * 4 * kChannels, kHidden)
        self.rnn = nn.LSTMCell(kHidden, kHidden)
        self.logits = nn.Linear(kHidden, n_actions)
        self.state_value = nn.Linear(kHidden, 1)

    def forward(self, prev_state, obs_t):
        h, c = prev_state
        x = torch.relu(self.conv0(10 * obs_t - 3.6))
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.hid(x.reshape(x.size(0), -1)))
        h, c = self.rnn(x, (h, c))
        return (h, c), (self.logits(h), self.state_value(h).view(-1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, kHidden), torch.zeros(batch_size, kHidden)

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
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs = torch.as_tensor(states, dtype=torch.float32)
    act = torch.as_tensor(actions, dtype=torch.int64)
    rew = torch.as_tensor(rewards, dtype=torch.float32)
    alive = torch.as_tensor(is_not_done).to(torch.int64)  # flags

    nGames, nCols = rew.size(0), rew.size(1)
    T = nCols - 1

    # buffers, allocated once
    logPi = torch.zeros(nGames, nCols)
    ent = torch.zeros(nGames, nCols)
    V = torch.zeros(nGames, nCols)

    h, c = (p.detach() for p in prev_memory_states)
    h0, c0 = agent.get_initial_state(nGames)
    rows = torch.arange(nGames)
    for t in range(nCols):
        (h, c), (logit, v) = agent((h, c), obs[:, t])
        lp = F.log_softmax(logit, dim=1)
        logPi[:, t] = lp[rows, act[:, t]]
        ent[:, t] = -(lp * lp.exp()).sum(dim=1)
        V[:, t] = v
        # if (!alive) memory = blank;
        over = (~alive[:, t]).bool().unsqueeze(1)
        h = torch.where(over, h0, h)
        c = torch.where(over, c0, c)

    m = alive.to(torch.float32)
    Vc = V.detach()
    G = m[:, T] * Vc[:, T]
    jHat, tdLoss = torch.zeros(()), torch.zeros(())
    t = T - 1
    while t >= 0:
        G = rew[:, t] + gamma * m[:, t] * G
        target = rew[:, t] + gamma * m[:, t] * Vc[:, t + 1]
        jHat = jHat + (logPi[:, t] * (G - Vc[:, t])).mean()
        tdLoss = tdLoss + (target - V[:, t]).square().mean()
        t -= 1

    loss = -jHat / T + value_loss_weight * tdLoss / T - entropy_weight * ent.mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.RMSprop(agent.parameters(), lr=1e-4, alpha=0.99, eps=1e-5)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: record
# %% keep: final
# %% keep: hand-in
