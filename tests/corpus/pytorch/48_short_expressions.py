# style: as few lines as possible: no names for intermediate things, the whole loss in one expression, walrus, reduce-like scan, no comments
# verdict: wrong
# mistake: agent-exercise: LSTMCell's pair is unpacked as c, h, so both heads read the cell state c and not the output h (the memory still goes on in the right order)
# mistake: loss-exercise: a bracket closes too late: value_loss_weight multiplies the entropy bonus as well (unnoticed while it is 1)
# loses: heads, weights
# named: logits and state_value follow the cell state c, not the cell's output h
# named: value_loss_weight multiplies the entropy, too
# note: everything else in the loss is by the formulas; with value_loss_weight = 1 the number is right
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        k = dict(kernel_size=3, stride=2)
        self.conv = nn.Sequential(
            nn.Conv2d(obs_shape[0], 32, **k), nn.ReLU(), nn.Conv2d(32, 32, **k), nn.ReLU(),
            nn.Conv2d(32, 32, **k), nn.ReLU(), nn.Flatten(), nn.Linear(512, 128), nn.ReLU())
        self.rnn = nn.LSTMCell(128, 128)
        self.logits, self.state_value = nn.Linear(128, n_actions), nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        c, h = self.rnn(self.conv(10 * obs_t - 3.6), prev_state)
        return (c, h), (self.logits(h), self.state_value(h)[..., 0])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, 128), torch.zeros(batch_size, 128)

    def sample_actions(self, agent_outputs):
        return torch.multinomial(agent_outputs[0].softmax(-1), 1)[:, 0].numpy()
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
    s, r, m = (torch.as_tensor(x, dtype=torch.float32) for x in (states, rewards, is_not_done))
    a = torch.as_tensor(actions, dtype=torch.int64)
    mem, outs = tuple(x.detach() for x in prev_memory_states), []
    for t in range(r.shape[1]):
        mem, out = agent(mem, s[:, t])
        mem, _ = tuple(x * m[:, t, None] for x in mem), outs.append(out)
    z, v = (torch.stack(x, 1) for x in zip(*outs))
    G = [m[:, -1] * v[:, -1].detach()]
    for t in reversed(range(r.shape[1] - 1)):
        G.append(r[:, t] + gamma * m[:, t] * G[-1])
    G = torch.stack(G[:0:-1], 1)
    loss = (-((lp := z.log_softmax(-1)).gather(-1, a[..., None])[:, :-1, 0] * (G - v[:, :-1]).detach()).mean()
            + value_loss_weight * ((r + gamma * m * v.roll(-1, 1).detach() - v)[:, :-1].pow(2).mean()
            - entropy_weight * -(lp.exp() * lp).sum(-1).mean()))
    opt.zero_grad(); loss.backward(); opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.RMSprop(agent.parameters(), lr=7e-4, alpha=0.99, eps=1e-5)
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
