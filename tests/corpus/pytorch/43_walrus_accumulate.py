# style: functional golf: lambdas, walrus, itertools.accumulate for both the memory and the returns, cross_entropy in place of log-probs; prints and asserts left in; %%capture
# verdict: right
# mistake:
# loses:
# note: entropy is logsumexp(l) - sum(p l), the same number and gradient; -cross_entropy is log π(a|s)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
from itertools import accumulate


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        c = [obs_shape[0], 32, 32, 32]
        self.net = nn.Sequential(
            *(layer for i in range(3) for layer in (nn.Conv2d(c[i], c[i + 1], 3, 2), nn.ELU())),
            nn.Flatten(),
            nn.LazyLinear(128),
            nn.ELU(),
        )
        self.net(torch.zeros(1, *obs_shape))  # makes the lazy layer
        self.rnn = nn.LSTMCell(128, 128)
        self.both = nn.Linear(128, n_actions + 1)  # actor and critic in one matrix

    def forward(self, prev_state, obs_t):
        out = self.both((hc := self.rnn(self.net(10 * obs_t - 3.6), prev_state))[0])
        return hc, (out[:, :-1], out[:, -1])

    step = torch.no_grad()(
        lambda self, prev_state, obs_t: self(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))
    )
    get_initial_state = lambda self, n: (torch.zeros(n, 128), torch.zeros(n, 128))
    sample_actions = lambda self, out: torch.multinomial(out[0].softmax(-1), 1).squeeze(1).numpy()


print(sum(p.numel() for p in SimpleRecurrentAgent(obs_shape, n_actions).parameters()), "weights")
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
calls = 0


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    global calls
    f32 = lambda x: torch.as_tensor(x, dtype=torch.float32)
    x, a, r, m = f32(states), torch.as_tensor(actions).long(), f32(rewards), f32(is_not_done)
    T = (S := r.shape[1]) - 1

    # what goes round is (memory, outputs); a tick wipes the memory by the mask of the tick before it
    wipe = lambda hc, t: tuple(p * m[:, t].unsqueeze(1) for p in hc) if t >= 0 else hc
    tick = lambda carry, t: agent(wipe(carry[0], t - 1), x[:, t])
    start = (tuple(p.detach() for p in prev_memory_states), None)
    _, *ticks = accumulate(range(S), tick, initial=start)
    l = torch.stack([out[0] for _, out in ticks], 1)
    v = torch.stack([out[1] for _, out in ticks], 1)
    assert l.shape == (*r.shape, n_actions) and v.shape == r.shape, (l.shape, v.shape)

    # returns, right to left
    back = lambda G, t: r[:, t] + gamma * m[:, t] * G
    (vc := v.detach())
    _, *G = accumulate(range(T - 1, -1, -1), back, initial=m[:, T] * vc[:, T])
    A = torch.stack(G[::-1], 1) - vc[:, :T]
    assert not A.requires_grad and A.shape == (len(r), T)

    nll = F.cross_entropy(l.permute(0, 2, 1), a, reduction="none")  # [n, S], is -log pi(a|s)
    J_hat = -(nll[:, :T] * A).mean()
    value_loss = (r[:, :T] + gamma * m[:, :T] * vc[:, 1:] - v[:, :T]).pow(2).mean()
    entropy_reg = (l.logsumexp(-1) - (l.softmax(-1) * l).sum(-1)).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg
    if (calls := calls + 1) <= 2:
        print(f"J {J_hat:.3f}  V {value_loss:.3f}  H {entropy_reg:.3f}  (ln 14 = 2.639)")

    agent.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = (lambda lr: torch.optim.Adam(agent.parameters(), lr))(1e-4)
# %% keep: optimizer-check
# %%
%%capture
# warm up, quietly
for _ in range(3):
    train_on_rollout(*(before := list(pool.prev_memory_states), pool.interact(10))[1], before, gamma)
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
