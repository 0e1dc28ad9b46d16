# style: Spanish, terse, two attempts: train_on_rollout is redefined in a later cell; setup cells merged by the student, SGD with momentum
# verdict: right
# loses:
# note: the first attempt (no masks, no entropy) is overwritten by the second before it is ever used
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        c = obs_shape[0]
        self.red = nn.Sequential(
            nn.Conv2d(c, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 32, 3, 2), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(512, 128), nn.ReLU())
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        h, c = self.rnn(self.red(10 * obs_t - 3.6), tuple(prev_state))
        return (h, c), (self.logits(h), torch.squeeze(self.state_value(h), dim=1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(prev_state, torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return tuple(torch.zeros(batch_size, 128) for _ in "hc")

    def sample_actions(self, agent_outputs):
        return torch.multinomial(F.softmax(agent_outputs[0], -1), 1)[:, 0].numpy()


agent = SimpleRecurrentAgent(obs_shape, n_actions)
print(sum(p.numel() for p in agent.parameters()), "parámetros")
# %% keep: evaluate
# %% keep: record
# %%
n_parallel_games = 5
gamma = 0.99
value_loss_weight, entropy_weight = 1.0, 0.01
pool = EnvPool(agent, make_env, n_parallel_games, vectorization_mode="ale_threads")
# %%
# intento 1: sin máscaras, solo para ver si corre
def train_on_rollout(s, a, r, m, mem, gamma=0.99):
    s, r = torch.as_tensor(s), torch.as_tensor(r)
    a = torch.as_tensor(a).long()
    L, V = [], []
    for t in range(r.shape[1]):
        mem, (l, v) = agent(tuple(mem), s[:, t])
        L.append(F.log_softmax(l, -1)); V.append(v)
    L, V = torch.stack(L, 1), torch.stack(V, 1)
    td = r[:, :-1] + gamma * V[:, 1:].detach() - V[:, :-1]
    lp = L.gather(2, a[..., None])[..., 0][:, :-1]
    loss = -(lp * td.detach()).mean() + (td ** 2).mean()
    opt.zero_grad(); loss.backward(); opt.step()
    return loss.detach().numpy()
# %%
# intento 2: máscaras, n pasos, entropía. ESTE es el bueno
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    s = torch.as_tensor(states, dtype=torch.float32)
    a = torch.as_tensor(actions, dtype=torch.int64)
    r = torch.as_tensor(rewards, dtype=torch.float32)
    m = torch.as_tensor(is_not_done, dtype=torch.float32)
    n, T = r.shape[0], r.shape[1] - 1

    mem = tuple(x.detach() for x in prev_memory_states)
    cero = agent.get_initial_state(n)
    L, V = [], []
    for t in range(T + 1):
        mem, (l, v) = agent(mem, s[:, t])
        L.append(F.log_softmax(l, -1)); V.append(v)
        fin = (m[:, t] == 0)[:, None]
        mem = tuple(torch.where(fin, z, x) for x, z in zip(mem, cero))

    Vc = [v.detach() for v in V]
    juegos = torch.arange(n)
    G = m[:, T] * Vc[T]
    J = Lv = 0
    for t in range(T - 1, -1, -1):
        G = r[:, t] + gamma * m[:, t] * G
        Lv = Lv + (r[:, t] + gamma * m[:, t] * Vc[t + 1] - V[t]).pow(2).mean() / T
        J = J + (L[t][juegos, a[:, t]] * (G - Vc[t])).mean() / T

    H = sum(-(l.exp() * l).sum(1).mean() for l in L) / (T + 1)
    loss = -J + value_loss_weight * Lv - entropy_weight * H

    opt.zero_grad(); loss.backward(); opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.SGD(agent.parameters(), lr=1e-3, momentum=0.9)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %%
# con SGD el lr de 3e-4 es muy poco, dejo el mío
learning_rate = None
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
