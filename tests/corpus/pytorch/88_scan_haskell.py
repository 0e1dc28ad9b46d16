# style: functional programmer (Haskell): scan, compose, partial, lambdas, no mutable state; terse
# verdict: wrong
# mistake: V(s_{t+1}) in the TD target is not detached: the gradient of the squared error flows through the target, too
# loses: semi_gradient
# named: V(s_{t+1}) is pulled as well
# %% keep: setup
# %% keep: imports
# %%
from functools import partial, reduce

compose = lambda *fs: lambda x: reduce(lambda y, f: f(y), fs, x)


def scan(f, carry, xs):
    """mapAccumL"""
    ys = []
    for x in xs:
        carry, y = f(carry, x)
        ys.append(y)
    return carry, ys


f32 = partial(torch.as_tensor, dtype=torch.float32)
i64 = partial(torch.as_tensor, dtype=torch.int64)
# %% keep: make-env
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, 3, 2)
        self.conv1 = nn.Conv2d(32, 32, 3, 2)
        self.conv2 = nn.Conv2d(32, 32, 3, 2)
        self.flatten = nn.Flatten()
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        see = compose(
            lambda x: 10 * x - 3.6,
            self.conv0, F.elu,
            self.conv1, F.elu,
            self.conv2, F.elu,
            self.flatten, self.hid, F.elu,
        )
        hc = self.rnn(see(obs_t), tuple(prev_state))
        return hc, (self.logits(hc[0]), self.state_value(hc[0]).squeeze(-1))

    step = torch.no_grad()(lambda self, prev_state, obs_t: self.forward(tuple(prev_state), f32(obs_t)))

    def get_initial_state(self, batch_size):
        return torch.zeros(2, batch_size, self.rnn.hidden_size).unbind(0)

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
def replay(states, mask, memory):
    def tick(memory, x):
        obs, m = x
        memory, out = agent(memory, obs)
        return tuple(part * m[:, None] for part in memory), out

    _, outs = scan(tick, memory, zip(states.unbind(1), mask.unbind(1)))
    return tuple(torch.stack(z, dim=1) for z in zip(*outs))


def returns(r, m, last, gamma):
    back = lambda G, x: ((G := x[0] + gamma * x[1] * G), G)
    _, Gs = scan(back, last, reversed(list(zip(r.unbind(1), m.unbind(1)))))
    return torch.stack(Gs[::-1], dim=1)


def terms(logits, V, a, r, m, gamma):
    init = lambda z: z[:, :-1]
    logp = F.log_softmax(logits, -1)
    picked = (logp * to_one_hot(a, n_actions)).sum(-1)
    G = returns(init(r), init(m), (m * V)[:, -1].detach(), gamma)
    A = (G - init(V)).detach()
    td = init(r) + gamma * init(m) * V[:, 1:] - init(V)
    H = -(logp.exp() * logp).sum(-1)
    return (init(picked) * A).mean(), td.pow(2).mean(), H.mean()


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    s, a, r, m = f32(states), i64(actions), f32(rewards), f32(is_not_done)
    logits, V = replay(s, m, tuple(map(torch.detach, prev_memory_states)))
    J, L, H = terms(logits, V, a, r, m, gamma)
    loss = -J + value_loss_weight * L - entropy_weight * H
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=3e-4)
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
