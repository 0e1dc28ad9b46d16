# style: German comments, hurried, one-letter names, old attempts commented out, memory wiped by multiplying with the mask
# verdict: wrong
# mistake: loss: the memory is multiplied by is_not_done[:, t] BEFORE the agent sees column t, not after it: it is wiped one tick too early, so the reset tick runs on a blank memory and the new game starts with what the reset tick left behind
# loses: memory_reset
# named: it is wiped one tick too early
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
# zum Testen: wie sieht so ein Frame aus?
o, _ = env.reset(seed=3)
plt.imshow(o[0], cmap="gray"); plt.title(str(o.shape)); plt.show()
# %%
# Exercise: agent
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
        x = 10 * obs_t - 3.6
        x = F.elu(self.conv0(x)); x = F.elu(self.conv1(x)); x = F.elu(self.conv2(x))
        # print(x.shape)   # 32x4x4 = 512, passt
        x = F.relu(self.hid(self.flatten(x)))
        h, c = self.rnn(x, prev_state)
        # state_value = self.state_value(h)        # <- (n, 1), gibt Ärger mit (n,)
        return (h, c), (self.logits(h), self.state_value(h)[:, 0])

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
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    S = torch.as_tensor(states, dtype=torch.float32)
    A = torch.as_tensor(actions, dtype=torch.int64)
    R = torch.as_tensor(rewards, dtype=torch.float32)
    M = torch.as_tensor(is_not_done, dtype=torch.float32)
    T = R.shape[1] - 1

    h, c = [p.detach() for p in prev_memory_states]
    L, V = [], []
    for t in range(T + 1):
        m = M[:, t:t + 1]
        h, c = h * m, c * m                       # Spiel vorbei -> Gedächtnis leeren
        (h, c), (l, v) = agent((h, c), S[:, t])
        L.append(l); V.append(v)
    L, V = torch.stack(L, 1), torch.stack(V, 1)
    lp = F.log_softmax(L, -1); p = F.softmax(L, -1)
    lpa = (lp * to_one_hot(A, n_actions)).sum(-1)

    J = 0.; vl = 0.
    G = M[:, -1] * V[:, -1].detach()
    for t in reversed(range(T)):
        G = R[:, t] + gamma * M[:, t] * G
        # vl = vl + (R[:, t] + gamma * V[:, t + 1].detach() - V[:, t]).pow(2).mean()   # Maske vergessen!!
        vl = vl + (R[:, t] + gamma * M[:, t] * V[:, t + 1].detach() - V[:, t]).pow(2).mean()
        adv = (G - V[:, t]).detach()
        J = J + (lpa[:, t] * adv).mean()
    J, vl = J / T, vl / T
    H = -(p * lp).sum(-1).mean()

    loss = -J + value_loss_weight * vl - entropy_weight * H
    opt.zero_grad(); loss.backward(); opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
# opt = torch.optim.SGD(agent.parameters(), lr=1e-2)   # divergiert
opt = torch.optim.RMSprop(agent.parameters(), lr=1e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %%
# TODO: Plots für den Bericht
# %% keep: inspect
# %% keep: final
# %% keep: hand-in
