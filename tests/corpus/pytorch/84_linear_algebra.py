# style: numerical mathematician: convolutions for all ticks at once, returns from a triangular linear system, cross_entropy, logsumexp
# verdict: right
# loses:
# note: (I - γ·diag(m, +1)) G = [r_0 … r_{T-1}, m_T V_T] is the recursion G_t = r_t + γ m_t G_{t+1}; H = logsumexp(l) - Σ p·l; the loss calls agent.look and agent.remember, of which forward is made
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
class SimpleRecurrentAgent(nn.Module):
    """forward = remember ∘ look"""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def look(self, obs):
        """[n, frames, height, width] -> [n, 128]; needs no memory, so any number of ticks will do"""
        x = 10 * obs - 3.6
        x = F.elu(self.conv2(F.elu(self.conv1(F.elu(self.conv0(x))))))
        return F.elu(self.hid(x.flatten(1)))

    def remember(self, prev_state, features):
        h, c = self.rnn(features, tuple(prev_state))
        return (h, c), (self.logits(h), self.state_value(h)[:, 0])

    def forward(self, prev_state, obs_t):
        return self.remember(prev_state, self.look(obs_t))

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
def solve_returns(r, m, v_last, gamma):
    """r, m: [n, T+1]; v_last: [n]. Returns G_0 … G_T as [n, T+1]."""
    T = r.shape[1] - 1
    A = torch.eye(T + 1) - torch.diag_embed(gamma * m[:, :T], offset=1)
    b = torch.cat([r[:, :T], (m[:, T] * v_last)[:, None]], dim=1)
    return torch.linalg.solve_triangular(A, b[..., None], upper=True, unitriangular=True)[..., 0]


# 1, then a game that ends at tick 1, by hand: G = (1 + .5·2, 2, 3 + .5·8, 8)
_r = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
_m = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
assert torch.allclose(
    solve_returns(_r, _m, torch.tensor([8.0]), 0.5), torch.tensor([[2.0, 2.0, 7.0, 8.0]])
)
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    s = torch.as_tensor(states, dtype=torch.float32)
    a = torch.as_tensor(actions, dtype=torch.int64)
    r = torch.as_tensor(rewards, dtype=torch.float32)
    m = torch.as_tensor(is_not_done, dtype=torch.float32)
    n, columns = r.shape
    T = columns - 1

    features = agent.look(s.flatten(0, 1)).unflatten(0, (n, columns))
    memory = tuple(part.detach() for part in prev_memory_states)
    l, V = [], []
    for t in range(columns):
        memory, (l_t, V_t) = agent.remember(memory, features[:, t])
        memory = tuple(part * m[:, t : t + 1] for part in memory)
        l.append(l_t)
        V.append(V_t)
    l, V = torch.stack(l, dim=1), torch.stack(V, dim=1)

    V_const = V.detach()
    G = solve_returns(r, m, V_const[:, T], gamma)
    A = (G - V_const)[:, :T]
    td = r[:, :T] + gamma * m[:, :T] * V_const[:, 1:] - V[:, :T]

    # cross entropy is -log π(a|s)
    nll = F.cross_entropy(l[:, :T].transpose(1, 2), a[:, :T], reduction="none")
    H = torch.logsumexp(l, dim=-1) - (torch.softmax(l, dim=-1) * l).sum(dim=-1)

    loss = (nll * A).mean() + value_loss_weight * td.square().mean() - entropy_weight * H.mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), 1e-4, betas=(0.9, 0.99))
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
