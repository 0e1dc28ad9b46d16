# style: follows the notebook's skeleton, ran out of time: a gap is left as it was, TODO notes to a friend, half a sentence
# verdict: wrong
# mistake: loss-exercise: the entropy gap is still there, so the cell is not even Python
# mistake: loss-exercise: the TD target has no is_not_done
# loses: entropy_value, entropy_gradient, value_ends
# named: a gap is open
# named: a finished game has no future
# note: the other gaps are filled correctly; the cell raises a SyntaxError as it stands
# %% keep: setup
# %% keep: imports
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
        """Runs the network for one tick of n games.

        Args:
            prev_state: the memory, a pair (h, c) of tensors [n, units].
            obs_t: observations, [n, frames, height, width].

        Returns:
            new_state, (logits, state_value): the next memory, then [n, n_actions] and [n].
        """
        # Greys lie around 0.36, give or take 0.1. Centring and stretching them makes what moves
        # stand out from what never does (LeCun et al., 1998, Efficient BackProp).
        obs_t = 10 * obs_t - 3.6

        # TODO make this a loop if there is time
        x = self.conv0(obs_t)
        x = F.elu(x)
        x = self.conv1(x)
        x = F.elu(x)
        x = self.conv2(x)
        x = F.elu(x)
        x = self.flatten(x)
        x = self.hid(x)
        x = F.elu(x)
        h_new, c_new = self.rnn(x, prev_state)

        new_state = (h_new, c_new)
        logits = self.logits(h_new)
        state_value = self.state_value(h_new)[:, 0]

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

    Args:
        states: observations, [n_games, n_steps, frames, height, width].
        actions: what was played, [n_games, n_steps]; 0 in the last column.
        rewards: what it earned, [n_games, n_steps]; 0 in the last column.
        is_not_done: 0 where an observation is the last of its game, else 1, [n_games, n_steps].
        prev_memory_states: the memory before the first column, h and c, each [n_games, units].
        gamma: the discount per tick.

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
    value_loss = 0.0
    # The return beyond the rollout is the critic's guess: the bootstrap value.
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    # Backwards in time; every name below holds one number for each game.
    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        # G_t = r_t + γ·G_{t+1}, and nothing after the end of a game.
        G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
        cumulative_returns = G_t

        # The squared TD error, averaged over the games. Mind the games that are over.
        # TODO ask Petra what "games that are over" wants from me, G_t has it already??
        value_loss += torch.mean((r_t + gamma * V_next - V_t) ** 2)

        # How much better than expected did it go, as far ahead as the rollout can see?
        advantage = G_t - V_t
        advantage = advantage.detach()

        J_hat += torch.mean(logpi_a_s_t * advantage)

    J_hat /= rollout_length
    value_loss /= rollout_length

    # H for each game and tick, then the mean of them all. Mind the sign.
    # TODO!! torch.sum(probas * logprobas, dim=-1) and then minus ... mean of
    entropy_reg = <YOUR CODE: from probas and logprobas>

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)
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
