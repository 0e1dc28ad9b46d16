# style: CleanRL habits: layer_init with orthogonal weights, b_ prefixes, flattened batches, GAE with lastgaelam, get_value / get_action names
# verdict: right
# loses:
# note: GAE with lambda = 1 telescopes to G_t - V_t; it starts from (m_T - 1) V(s_T), since G_T = m_T V(s_T), which plain GAE code lacks. The dueling-like trunk has a small MLP before each head, both on h
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
def layer_init(layer, std=np.sqrt(2), bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.network = nn.Sequential(
            layer_init(nn.Conv2d(obs_shape[0], 32, 4, stride=2)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 32, 3, stride=2)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 64, 3, stride=2)),
            nn.ReLU(),
            nn.Flatten(),
            layer_init(nn.Linear(64 * 4 * 4, 256)),
            nn.ReLU(),
        )
        self.rnn = nn.LSTMCell(256, 128)
        for name, param in self.rnn.named_parameters():
            if "bias" in name:
                nn.init.constant_(param, 0)
            elif "weight" in name:
                nn.init.orthogonal_(param, 1.0)
        self.actor = nn.Sequential(
            layer_init(nn.Linear(128, 64)), nn.Tanh(), layer_init(nn.Linear(64, n_actions), std=0.01)
        )
        self.critic = nn.Sequential(
            layer_init(nn.Linear(128, 64)), nn.Tanh(), layer_init(nn.Linear(64, 1), std=1)
        )

    def get_states(self, x, lstm_state):
        hidden = self.network(10 * x - 3.6)
        return self.rnn(hidden, lstm_state)

    def forward(self, prev_state, obs_t):
        lstm_state = self.get_states(obs_t, prev_state)
        hidden = lstm_state[0]
        return lstm_state, (self.actor(hidden), self.critic(hidden).view(-1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return (
            torch.zeros(batch_size, self.rnn.hidden_size),
            torch.zeros(batch_size, self.rnn.hidden_size),
        )

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        probs = torch.distributions.categorical.Categorical(logits=logits)
        return probs.sample().cpu().numpy()
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
gae_lambda = 1.0  # the homework wants the whole n-step advantage


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    nextnonterminal = torch.as_tensor(is_not_done, dtype=torch.float32)
    num_steps = rewards.shape[1] - 1

    # replay
    lstm_state = tuple(s.detach() for s in prev_memory_states)
    newlogits, newvalues = [], []
    for step in range(num_steps + 1):
        lstm_state, (logits, value) = agent(lstm_state, obs[:, step])
        newlogits.append(logits)
        newvalues.append(value)
        lstm_state = (
            nextnonterminal[:, step].view(-1, 1) * lstm_state[0],
            nextnonterminal[:, step].view(-1, 1) * lstm_state[1],
        )
    newlogits = torch.stack(newlogits, dim=1)
    newvalues = torch.stack(newvalues, dim=1)

    # bootstrap value if not done
    with torch.no_grad():
        values = newvalues.clone()
        advantages = torch.zeros_like(rewards)
        targets = torch.zeros_like(rewards)
        # G_T is m_T * V(s_T), not V(s_T): the difference is the "advantage" of the last column
        lastgaelam = (nextnonterminal[:, -1] - 1.0) * values[:, -1]
        for t in reversed(range(num_steps)):
            targets[:, t] = rewards[:, t] + gamma * values[:, t + 1] * nextnonterminal[:, t]
            delta = targets[:, t] - values[:, t]
            advantages[:, t] = lastgaelam = (
                delta + gamma * gae_lambda * nextnonterminal[:, t] * lastgaelam
            )

    # flatten the batch
    b_advantages = advantages[:, :-1].reshape(-1)
    b_targets = targets[:, :-1].reshape(-1)
    b_values = newvalues[:, :-1].reshape(-1)
    b_actions = actions[:, :-1].reshape(-1)
    b_logits = newlogits[:, :-1].reshape(-1, n_actions)

    probs = torch.distributions.categorical.Categorical(logits=b_logits)
    pg_loss = (-b_advantages * probs.log_prob(b_actions)).mean()
    v_loss = ((b_values - b_targets) ** 2).mean()  # no 0.5 here, the formula has none
    entropy_loss = torch.distributions.categorical.Categorical(logits=newlogits).entropy().mean()

    loss = pg_loss - entropy_weight * entropy_loss + v_loss * value_loss_weight

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
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
