# style: a researcher: jaxtyping-like comments, einsum for every sum, vmap over games of a per-game loss, discounts as an upper triangular matrix
# verdict: wrong
# mistake: agent-exercise: frames are standardised by the mean and standard deviation of the whole batch, so the games influence each other
# mistake: loss-exercise: nothing is stopped: "const" is taken for notation, the gradient flows through the target V(s') and through the advantage
# loses: games_apart, semi_gradient, constant_advantage
# named: the other games in the batch change a game's h
# named: V(s_{t+1}) is pulled as well
# named: the policy term moves the values
# note: the number of the loss is right; masks in the discount matrix are right (exclusive product of gamma m)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """f_theta: (memory, frame) -> (memory', (logits, value))."""

    def __init__(self, obs_shape, n_actions, d=128):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=3, stride=2)
        self.conv1 = nn.Conv2d(32, 32, kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(32, 32, kernel_size=3, stride=2)
        self.hid = nn.Linear(512, d)
        self.rnn = nn.LSTMCell(d, d)
        # heads without modules: W_pi [a, d], w_v [d]
        self.W_pi = nn.Parameter(torch.randn(n_actions, d) / d)
        self.b_pi = nn.Parameter(torch.zeros(n_actions))
        self.w_v = nn.Parameter(torch.randn(d) / d)
        self.b_v = nn.Parameter(torch.zeros(()))

    def forward(self, prev_state, obs_t):
        # zero mean, unit variance: more principled than constants
        x = (obs_t - obs_t.mean()) / (obs_t.std() + 1e-6)
        x = F.gelu(self.conv0(x))
        x = F.gelu(self.conv1(x))
        x = F.gelu(self.conv2(x))
        x = F.gelu(self.hid(torch.einsum("nchw->nchw", x).flatten(1)))
        h, c = self.rnn(x, prev_state)
        logits = torch.einsum("nd,ad->na", h, self.W_pi) + self.b_pi
        value = torch.einsum("nd,d->n", h, self.w_v) + self.b_v
        return (h, c), (logits, value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return tuple(torch.zeros(2, batch_size, self.rnn.hidden_size))

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.distributions.Categorical(logits=logits).sample().numpy()
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
def discounts(m, gamma):
    """D[t, k] = prod_{t <= j < k} gamma m_j for k >= t, else 0.  m: [T] -> D: [T, T + 1]."""
    T = m.shape[0]
    rows, cols = torch.arange(T)[:, None], torch.arange(T)[None, :]
    steps = torch.where(cols >= rows, gamma * m[None, :], torch.ones(()))
    full = torch.cat([torch.ones(T, 1), steps.cumprod(dim=1)], dim=1)
    return torch.where(torch.arange(T + 1)[None, :] >= rows, full, torch.zeros(()))


def terms_of_one_game(logits, V, a, r, m, gamma):
    """logits [T+1, a], everything else [T+1]  ->  J, L_td, H of this game."""
    T = V.shape[0] - 1
    log_pi = torch.log_softmax(logits, dim=-1)
    pi = torch.exp(log_pi)

    # G = D [r_0 ... r_{T-1}, m_T V_T]
    D = discounts(m[:T], gamma)
    ends = torch.cat([r[:T], (m[T] * V[T])[None]])
    G = torch.einsum("tk,k->t", D, ends)
    A = G - V[:T]
    delta = r[:T] + gamma * m[:T] * V[1:] - V[:T]

    e_a = F.one_hot(a, logits.shape[-1]).to(log_pi.dtype)
    J = torch.einsum("ta,ta,t->", log_pi[:T], e_a[:T], A) / T
    L_td = torch.einsum("t,t->", delta, delta) / T
    H = -torch.einsum("ta,ta->", pi, log_pi) / (T + 1)
    return J, L_td, H


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """One step up the gradient of J - c_v L_td + c_H H."""
    s = torch.as_tensor(states, dtype=torch.float32)
    a = torch.as_tensor(actions, dtype=torch.int64)
    r = torch.as_tensor(rewards, dtype=torch.float32)
    m = torch.as_tensor(is_not_done, dtype=torch.float32)

    memory = tuple(part.detach() for part in prev_memory_states)
    ys = []
    for t in range(r.shape[1]):
        memory, y = agent(memory, s[:, t])
        ys.append(y)
        memory = tuple(torch.einsum("nd,n->nd", part, m[:, t]) for part in memory)
    logits, V = (torch.stack(y, dim=1) for y in zip(*ys))

    per_game = torch.vmap(lambda *x: terms_of_one_game(*x, gamma))
    J, L_td, H = (term.mean() for term in per_game(logits, V, a, r, m))
    loss = -J + value_loss_weight * L_td - entropy_weight * H

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.RAdam(agent.parameters(), lr=1e-4)
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
