# style: reuses every name: opt is first a dict of options and then the optimizer, `values`, `state`, `gamma`, `input`, `loss`, `x` change their meaning line by line; the optimizer is made right after the agent
# verdict: right
# loses:
# note: the shadowing never hides something that is still needed; cross_entropy wants the actions' axis second, hence the transposes; the optimizer cell comes before the loss cell
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
opt = dict(lr=3e-4, betas=(0.9, 0.99), eps=1e-6)
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        size, x = obs_shape[1], obs_shape[0]
        self.convs = nn.ModuleList()
        for y in 24, 48, 48:
            self.convs.append(nn.Conv2d(x, y, 3, 2))
            size = (size - 3) // 2 + 1
            x = y
        x = x * size * size
        self.hid = nn.Linear(x, 160)
        x = 160
        self.rnn = nn.LSTMCell(x, x)
        self.logits = nn.Linear(x, n_actions)
        self.state_value = nn.Linear(x, 1)

    def forward(self, state, input):
        input = 10 * input - 3.6
        for conv in self.convs:
            input = F.relu(conv(input))
        input = F.relu(self.hid(input.flatten(1)))
        state = self.rnn(input, state)
        input, _ = state
        return state, (self.logits(input), self.state_value(input).squeeze(-1))

    @torch.no_grad()
    def step(self, state, input):
        state = state[0], state[1]
        input = torch.as_tensor(input, dtype=torch.float32)
        return self(state, input)

    def get_initial_state(self, n):
        n = n, self.rnn.hidden_size
        return torch.zeros(n), torch.zeros(n)

    def sample_actions(self, x):
        x, _ = x
        x = x.softmax(1)
        x = torch.multinomial(x, 1)
        x = x.squeeze(1)
        return x.numpy()
# %% keep: agent-check
# %% keep: agent-look
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), **opt)
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, state, gamma=0.99):
    states, rewards, is_not_done = (
        torch.as_tensor(x, dtype=torch.float32) for x in (states, rewards, is_not_done)
    )
    actions = torch.as_tensor(actions, dtype=torch.int64)
    state = [x.detach() for x in state]

    values, logits = [], []
    for t in range(states.size(1)):
        state, (x, value) = agent((state[0], state[1]), states[:, t])
        logits.append(x)
        values.append(value)
        x = is_not_done[:, t].view(-1, 1)
        state = [x * part for part in state]
    values = torch.stack(values, 1)
    logits = torch.stack(logits, 2)  # [n_games, n_actions, n_steps]

    # from here on gamma is a table: 0 where nothing follows
    gamma = gamma * is_not_done

    # x runs back in time and is the return
    x = is_not_done[:, -1] * values[:, -1].detach()
    returns = []
    for t in range(values.size(1) - 2, -1, -1):
        x = rewards[:, t] + gamma[:, t] * x
        returns.append(x)
    returns.reverse()
    returns = torch.stack(returns, 1)

    # states are not needed any more: now they are the one-step targets
    states = (rewards + gamma * values.roll(-1, dims=1))[:, :-1].detach()
    values = values[:, :-1]
    loss = value_loss_weight * F.mse_loss(input=values, target=states)

    values = returns - values.detach()  # advantages
    x = F.cross_entropy(logits[:, :, :-1], actions[:, :-1], reduction="none")  # - log pi
    loss = loss + (x * values).mean()

    x = logits.softmax(1)
    logits = logits.log_softmax(1)
    x = (x * logits).sum(1)  # minus the entropy
    loss = loss + entropy_weight * x.mean()

    opt.zero_grad()
    loss.backward()
    opt.step()
    loss = loss.detach().numpy()
    return loss
# %% keep: loss-check
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
