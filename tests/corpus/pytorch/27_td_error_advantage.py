# style: close to the template, commentary in Spanish and English, wandb remains, one-step TD error used everywhere, stage timings
# verdict: wrong
# mistake: loss: the advantage is the one-step TD error r + gamma * m * V_next - V at every tick; the n-step return G_t is worked out and then not used
# loses: advantage
# named: the advantage looks one step ahead only
# %% keep: setup
# %% keep: imports
# %%
# import wandb
# wandb.init(project="kungfu", config=dict(lr=3e-4, gamma=.99), mode="disabled")
from collections import defaultdict
tiempos = defaultdict(float)   # ¿dónde se va el tiempo?
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()

        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)

        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6

        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = self.flatten(x)
        x = F.relu(self.hid(x))

        new_state = self.rnn(x, prev_state)
        logits = self.logits(new_state[0])
        state_value = self.state_value(new_state[0])[:, 0]

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
    t0 = time.time()
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]
        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )
    tiempos["forward"] += time.time() - t0; t0 = time.time()

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)

    J_hat = 0.0
    value_loss = 0.0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
        cumulative_returns = G_t

        # TD error = objetivo - predicción
        delta = r_t + gamma * is_not_done[:, t] * V_next - V_t
        value_loss += (delta ** 2).mean()

        # A = r + gamma V' - V, so the TD error *is* the advantage (Sutton & Barto, ch. 13)
        advantage = delta
        advantage = advantage.detach()

        J_hat += (logpi_a_s_t * advantage).mean()

    J_hat /= rollout_length
    value_loss /= rollout_length

    entropy_reg = -(probas * logprobas).sum(dim=-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()
    tiempos["backward"] += time.time() - t0
    # wandb.log({"loss": loss.item(), "entropy": entropy_reg.item()})
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)
# %% keep: optimizer-check
# %% keep: first-step
# %%
print(dict(tiempos))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
