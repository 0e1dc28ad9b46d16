# style: Russian and English mixed, copy-paste from the course's older homework ("as we did in week6 reinforce"), globals, optimizer made before the loss
# verdict: wrong
# mistake: the returns ignore is_not_done: rewards and values of the next game leak into the game before it, and the bootstrap value is not masked
# mistake: the gradients are never cleared, so every step uses the sum of all rollouts' gradients so far
# loses: policy_ends, step
# named: returns run on into the next game
# named: the second step takes the first one's gradients once more
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        """A simple actor-critic agent"""
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
        # центрируем картинку
        obs_t = 10 * obs_t - 3.6

        # Apply the whole neural net for one step here.
        conv0_out = F.elu(self.conv0(obs_t))
        conv1_out = F.elu(self.conv1(conv0_out))
        conv2_out = F.elu(self.conv2(conv1_out))
        flat = self.flatten(conv2_out)
        hid_out = F.elu(self.hid(flat))
        new_state = self.rnn(hid_out, tuple(prev_state))
        logits = self.logits(new_state[0])
        state_value = self.state_value(new_state[0])[:, 0]

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        """Return a list of agent memory states at game start."""
        return torch.zeros((batch_size, 128)), torch.zeros((batch_size, 128))

    def sample_actions(self, agent_outputs):
        """pick actions given numeric agent outputs (np arrays)"""
        logits, state_values = agent_outputs
        probs = F.softmax(logits, dim=-1)
        return torch.multinomial(probs, 1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    # shape: [batch_size, time, c, h, w]
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(m.detach() for m in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []        # append logit sequence here
    state_values = []  # append state values here
    for t in range(rollout_length + 1):
        obs_t = states[:, t]
        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(torch.where(goes_on, p, b) for p, b in zip(memory, blank_memory))

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=2)
    logprobas = F.log_softmax(logits, dim=2)

    # select log-probabilities for chosen actions, log pi(a_i|s_i)
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)

    # Policy pseudo-objective and value loss
    J_hat = 0
    value_loss = 0
    cumulative_returns = state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]                       # current rewards
        V_t = state_values[:, t]                  # current state values
        V_next = state_values[:, t + 1].detach()  # next state values
        logpi_a_s_t = logprobas_for_actions[:, t]

        # update G_t = r_t + gamma * G_{t+1} as we did in week6 reinforce
        cumulative_returns = G_t = r_t + gamma * cumulative_returns

        # TD error (MSE for V(s)), конец игры -> V_next не нужен
        value_loss += torch.mean((r_t + gamma * is_not_done[:, t] * V_next - V_t) ** 2)

        # advantage A(s_t, a_t) using cumulative returns and V(s_t) as baseline
        advantage = cumulative_returns - V_t
        advantage = advantage.detach()

        J_hat += torch.mean(logpi_a_s_t * advantage)

    J_hat /= rollout_length
    value_loss /= rollout_length

    # энтропия, со знаком минус!
    entropy_reg = torch.mean(-torch.sum(probas * logprobas, dim=2))

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    # Gradient descent step
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %%
memory = list(pool.prev_memory_states)
rollout_obs, rollout_actions, rollout_rewards, rollout_mask = pool.interact(10)
print("loss", train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, memory, gamma))
# %% keep: optimizer-check
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
