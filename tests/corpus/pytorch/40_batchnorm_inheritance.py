# style: class hierarchy (abstract base agent, conv block module, concrete subclass), ResNet habits
# verdict: wrong
# mistake: agent: BatchNorm2d after each convolution, always in training mode, so what one game sees depends on the other games of the batch
# mistake: loss: V(s') in the TD target is not detached, the critic's gradient flows through the target
# loses: games_apart, semi_gradient
# named: the other games in the batch change a game's h
# named: V(s_{t+1}) is pulled as well
# note: the bootstrap value is detached; the advantage is, too
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
import abc


class ConvBlock(nn.Module):
    """conv - norm - activation"""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel_size=3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class BaseAgent(nn.Module, abc.ABC):
    """What every agent in this notebook can do."""

    hidden_size = 128

    @abc.abstractmethod
    def forward(self, prev_state, obs_t): ...

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()


class SimpleRecurrentAgent(BaseAgent):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.backbone = nn.Sequential(
            ConvBlock(obs_shape[0], 32),
            ConvBlock(32, 32),
            ConvBlock(32, 32),
            nn.Flatten(),
            nn.Linear(512, self.hidden_size),
            nn.ReLU(),
        )
        self.rnn = nn.LSTMCell(self.hidden_size, self.hidden_size)
        self.logits = nn.Linear(self.hidden_size, n_actions)
        self.state_value = nn.Linear(self.hidden_size, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        features = self.backbone(obs_t)
        h, c = self.rnn(features, prev_state)
        return (h, c), (self.logits(h), self.state_value(h).squeeze(1))
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
    """Takes one gradient step on a rollout."""
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
        obs_t = states[:, t]

        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)

        # After a reset tick a new game begins, with a blank memory.
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)  # [n_games, n_steps, n_actions]
    state_values = torch.stack(state_values, dim=1)  # [n_games, n_steps]
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)  # [n_games, n_steps]

    J_hat = 0.0
    # The return beyond the rollout is the critic's guess: the bootstrap value.
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        logpi_a_s_t = logprobas_for_actions[:, t]

        G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
        cumulative_returns = G_t

        advantage = G_t - V_t
        advantage = advantage.detach()

        J_hat += (logpi_a_s_t * advantage).mean()

    J_hat /= rollout_length

    # all TD errors at once, no need for the loop
    V_now, V_next = state_values[:, :-1], state_values[:, 1:]
    td_target = rewards[:, :-1] + gamma * is_not_done[:, :-1] * V_next
    value_loss = F.mse_loss(V_now, td_target)

    # H for each game and tick, then the mean of them all. Mind the sign.
    entropy_reg = -torch.sum(probas * logprobas, dim=-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.SGD(agent.parameters(), lr=1e-3, momentum=0.9)
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
