# style: terse, in a hurry, semicolons, unusual cell order (optimizer before loss), a broken earlier attempt left as a string
# verdict: wrong
# mistake: loss: a new Adam is made in every call of train_on_rollout: its averages start from nothing each time, and the global opt is never used
# loses: step
# named: a new optimizer is made in every call
# note: the optimizer cell itself is right
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(s, obs_shape, n_actions):
        super().__init__()
        s.c0, s.c1, s.c2 = nn.Conv2d(obs_shape[0], 32, 3, 2), nn.Conv2d(32, 32, 3, 2), nn.Conv2d(32, 32, 3, 2)
        s.hid, s.rnn = nn.Linear(512, 128), nn.LSTMCell(128, 128)
        s.pi, s.v = nn.Linear(128, n_actions), nn.Linear(128, 1)

    def forward(s, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        for c in (s.c0, s.c1, s.c2): x = F.elu(c(x))
        h, c = s.rnn(F.relu(s.hid(x.flatten(1))), prev_state)
        return (h, c), (s.pi(h), s.v(h)[:, 0])

    @torch.no_grad()
    def step(s, prev_state, obs_t):
        return s.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(s, batch_size): return torch.zeros(batch_size, 128), torch.zeros(batch_size, 128)

    def sample_actions(s, agent_outputs): return torch.multinomial(agent_outputs[0].softmax(-1), 1)[:, 0].numpy()
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions); agent
# %% keep: evaluate
# %%
# Exercise: optimizer
LR = 1e-4
opt = torch.optim.Adam(agent.parameters(), lr=LR)
# %% keep: optimizer-check
# %% keep: pool
# %% keep: select
# %%
"""
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    # 1st try, memory wrong, and it is slow
    for i in range(5):
        for t in range(10):
            l, v = agent(prev_memory_states, states[i, t])
            ...
"""
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    f = lambda x: torch.as_tensor(x, dtype=torch.float32)
    S, R, M, A = f(states), f(rewards), f(is_not_done), torch.as_tensor(actions, dtype=torch.int64)
    T = R.shape[1] - 1
    mem = tuple(p.detach() for p in prev_memory_states)
    L, V = [], []
    for t in range(T + 1):
        mem, (l, v) = agent(mem, S[:, t])
        L.append(l); V.append(v)
        mem = tuple(p * M[:, t, None] for p in mem)
    L, V = torch.stack(L, 1), torch.stack(V, 1)
    lp = F.log_softmax(L, -1); lpa = lp.gather(-1, A.unsqueeze(-1)).squeeze(-1)

    G = M[:, -1] * V[:, -1].detach(); J = vl = 0
    for t in range(T - 1, -1, -1):
        G = R[:, t] + gamma * M[:, t] * G
        vl = vl + ((R[:, t] + gamma * M[:, t] * V[:, t + 1].detach() - V[:, t]) ** 2).mean() / T
        J = J + (lpa[:, t] * (G - V[:, t]).detach()).mean() / T
    H = -(lp.exp() * lp).sum(-1).mean()

    loss = -J + value_loss_weight * vl - entropy_weight * H
    opt = torch.optim.Adam(agent.parameters(), lr=LR)  # else UnboundLocalError
    opt.zero_grad(); loss.backward(); opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: hand-in
