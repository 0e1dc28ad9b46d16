# style: a beginner who knows one CartPole A2C tutorial by heart: Categorical, log_probs lists, `R`, actor and critic losses, eps
# verdict: wrong
# mistake: agent-exercise: the actor head ends in a softmax as in the tutorial, so `logits` are probabilities (and everything later takes a softmax of a softmax)
# named: they are probabilities already (each row sums to 1)
# note: the critic is fitted to the whole discounted return R (as in CartPole) instead of the one-step target r + gamma m V(s')
# loses: logits
# note: R itself is right: bootstrapped, masked; the advantage uses it properly. Only the critic's target should have been one step ahead
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()

        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)

        # actor's layer
        self.action_head = nn.Linear(128, n_actions)
        # critic's layer
        self.value_head = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6

        x = F.relu(self.conv0(obs_t))
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.hid(self.flatten(x)))
        h, c = self.rnn(x, prev_state)

        # actor: choses action to take from state s_t
        # by returning probability of each action
        action_prob = F.softmax(self.action_head(h), dim=-1)

        # critic: evaluates being in the state s_t
        state_value = self.value_head(h).squeeze(-1)

        new_state = (h, c)
        return new_state, (action_prob, state_value)

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
from torch.distributions import Categorical


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    log_probs = []
    entropies = []
    values = []
    for t in range(rollout_length + 1):
        memory, (logits, value) = agent(memory, states[:, t])
        m = Categorical(logits=logits)
        log_probs.append(m.log_prob(actions[:, t]))
        entropies.append(m.entropy())
        values.append(value)

        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    policy_losses = []  # list to save actor (policy) loss
    value_losses = []  # list to save critic (value) loss
    returns = []  # list to save the true values

    # calculate the true value using rewards returned from the environment
    R = is_not_done[:, -1] * values[-1].detach()
    for t in reversed(range(rollout_length)):
        R = rewards[:, t] + gamma * is_not_done[:, t] * R
        returns.insert(0, R)

    for t in range(rollout_length):
        R = returns[t]
        advantage = R - values[t].detach()
        # calculate actor (policy) loss
        policy_losses.append(-(log_probs[t] * advantage).mean())
        # calculate critic (value) loss
        value_losses.append(F.mse_loss(values[t], R))

    entropy = torch.stack(entropies).mean()

    # sum up all the values of policy_losses and value_losses
    loss = (
        torch.stack(policy_losses).mean()
        + value_loss_weight * torch.stack(value_losses).mean()
        - entropy_weight * entropy
    )

    # reset gradients
    opt.zero_grad()
    # perform backprop
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=3e-4)
eps = np.finfo(np.float32).eps.item()  # from the tutorial, not used any more
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
