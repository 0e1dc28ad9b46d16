# style: tutorial collector: match statement to choose an activation, weight-init loop, LambdaLR warm-up
# verdict: wrong
# mistake: agent: the cell's pair is unpacked as c, h, so both heads read the cell state and the memory goes on as (c, h)
# named: logits and state_value follow the cell state c, not the cell's output h
# named: it is what the LSTM cell gives back the other way round
# note: a warm-up LambdaLR starts at factor 0 and is never stepped, so the learning rate is 0 and nothing moves
# loses: heads, new_state
# note: the loss is right; one mistake in the agent costs two parts since outputs and memory are both the wrong half
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
def activation(name):
    match name:
        case "relu":
            return nn.ReLU()
        case "elu":
            return nn.ELU()
        case "tanh":
            return nn.Tanh()
        case ("leaky", slope):
            return nn.LeakyReLU(slope)
        case _:
            raise ValueError(name)
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions, act=("leaky", 0.1)):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()
        self.act = activation(act)

        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)

        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

        for name, p in self.named_parameters():
            match name.split("."):
                case ["rnn", kind] if kind.startswith("bias"):
                    nn.init.zeros_(p)
                case ["logits" | "state_value", "weight"]:
                    nn.init.normal_(p, std=0.01)
                case [_, "weight"]:
                    nn.init.kaiming_normal_(p)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6

        x = self.act(self.conv0(obs_t))
        x = self.act(self.conv1(x))
        x = self.act(self.conv2(x))
        x = self.act(self.hid(self.flatten(x)))
        c, h = self.rnn(x, prev_state)

        new_state = (h, c)
        logits = self.logits(h)
        state_value = self.state_value(h).squeeze(-1)

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
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
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout.

    Returns:
        The loss, a NumPy number.
    """
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    # Gradients stop here: they must not travel into earlier rollouts.
    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)

        # After a reset tick a new game begins, with a blank memory.
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    logprobas_for_actions = -F.nll_loss(
        logprobas.flatten(0, 1), actions.flatten(), reduction="none"
    ).view_as(rewards)

    J_hat, value_loss = 0.0, 0.0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    t = rollout_length
    while t > 0:
        t -= 1
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        match rewards[:, t], is_not_done[:, t]:
            case r_t, m_t:
                G_t = r_t + gamma * m_t * cumulative_returns
                td_error = r_t + gamma * m_t * V_next - V_t
        cumulative_returns = G_t

        value_loss += td_error.square().mean()
        advantage = (G_t - V_t).detach()
        J_hat += (logprobas_for_actions[:, t] * advantage).mean()

    J_hat /= rollout_length
    value_loss /= rollout_length

    entropy_reg = -(probas * logprobas).sum(dim=-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
warmup = 100
opt = torch.optim.Adam(agent.parameters(), lr=3e-4)
# gentle start: the rate grows over the first 100 rollouts
scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda i: min(1.0, i / warmup))
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
