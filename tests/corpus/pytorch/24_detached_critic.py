# style: asserts and debugging prints, progress diary in comments, dict configuration, parameter groups with two learning rates
# verdict: wrong
# mistake: loss: the squared error of the critic is taken of the advantage AFTER it was detached: value_loss has the right number but no gradient, V is never pulled to its target
# mistake: optimizer: parameter groups written out by hand leave out agent.hid (the dense layer never moves)
# loses: value_loss, semi_gradient, value_ends, descent
# named: it has no gradient: V(s_t) must be in it, and not stopped
# named: it does not move hid.weight, hid.bias
# note: returns and masks are right; regression on the n-step return is accepted in itself; state_value stays put because it has no gradient (value_loss), hid because it is not in opt (descent): `opt.step()` inside train_on_rollout is right in itself. opt.zero_grad() misses hid, whose gradients pile up unused
# %% keep: setup
# %%
!pip list 2>/dev/null | grep -i -E "^(torch|gymnasium|ale)"
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
CFG = {"filters": 32, "hid": 128, "lr_net": 3e-4, "lr_heads": 1e-3, "debug": False}
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        k, n = CFG["filters"], CFG["hid"]
        self.conv0 = nn.Conv2d(obs_shape[0], k, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(k, k, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(k, k, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()
        self.hid = nn.Linear(16 * k, n)
        self.rnn = nn.LSTMCell(n, n)
        self.logits = nn.Linear(n, n_actions)
        self.state_value = nn.Linear(n, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.relu(self.hid(self.flatten(x)))
        h, c = self.rnn(x, prev_state)
        logits = self.logits(h)
        state_value = self.state_value(h).squeeze(dim=-1)
        if CFG["debug"]:
            print("logits", logits.shape, "V", state_value.shape)
        assert state_value.ndim == 1
        return (h, c), (logits, state_value)

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
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
# diary
#   21:10  runs.
#   22:40  entropy goes down, points ~ 900
#   23:30  value loss does NOT go down?? tried lr 1e-3, 1e-2. more patience I guess
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1
    n_games = rewards.shape[0]

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(n_games)

    logits, state_values = [], []
    for t in range(rollout_length + 1):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(torch.where(goes_on, part, blank) for part, blank in zip(memory, blank_memory))

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    assert state_values.shape == (n_games, rollout_length + 1), state_values.shape
    logprobas = F.log_softmax(logits, dim=-1)
    probas = F.softmax(logits, dim=-1)
    logprobas_for_actions = (logprobas * to_one_hot(actions, n_actions)).sum(-1)

    returns = []
    G_t = is_not_done[:, -1] * state_values[:, -1].detach()
    for t in reversed(range(rollout_length)):
        G_t = rewards[:, t] + gamma * is_not_done[:, t] * G_t
        returns.append(G_t)
    returns = torch.stack(returns[::-1], dim=1)
    assert returns.shape == rewards[:, :-1].shape

    # "So is the advantage [detached]": do it right here, then I can't forget it
    advantage = (returns - state_values[:, :-1]).detach()
    value_loss = (advantage ** 2).mean()
    J_hat = (logprobas_for_actions[:, :-1] * advantage).mean()
    entropy_reg = -(probas * logprobas).sum(-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg
    assert torch.isfinite(loss)
    if CFG["debug"]:
        print(f"J {J_hat:.4f}  V {value_loss:.4f}  H {entropy_reg:.4f}")

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
# heads may learn faster than the rest
opt = torch.optim.Adam([
    {"params": [*agent.conv0.parameters(), *agent.conv1.parameters(), *agent.conv2.parameters(), *agent.rnn.parameters()]},
    {"params": [*agent.logits.parameters(), *agent.state_value.parameters()], "lr": CFG["lr_heads"]},
], lr=CFG["lr_net"])
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %%
n_steps, n_training_games = 10, 32
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: hand-in
