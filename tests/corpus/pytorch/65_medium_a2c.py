# style: English, straight from a Medium post "A2C in 100 lines": actor_loss, critic_loss = advantage.pow(2)
# verdict: right
# note: the critic learns the n-step return (squared advantage), which is not what the text asks, and right too
# loses:
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        # CNN
        self.cnn = nn.Sequential(
            nn.Conv2d(obs_shape[0], 32, 3, 2), nn.ELU(),
            nn.Conv2d(32, 32, 3, 2), nn.ELU(),
            nn.Conv2d(32, 32, 3, 2), nn.ELU(),
            nn.Flatten(),
        )
        self.fc = nn.Linear(512, 256)
        # memory
        self.lstm = nn.LSTMCell(256, 256)
        # heads
        self.actor = nn.Linear(256, n_actions)
        self.critic = nn.Linear(256, 1)

    def forward(self, prev_state, obs_t):
        x = self.cnn(10 * obs_t - 3.6)
        x = F.elu(self.fc(x))
        hx, cx = self.lstm(x, tuple(prev_state))
        return (hx, cx), (self.actor(hx), self.critic(hx).squeeze(1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, 256), torch.zeros(batch_size, 256)

    def sample_actions(self, agent_outputs):
        probs = F.softmax(agent_outputs[0], dim=-1)
        return torch.multinomial(probs, num_samples=1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def compute_returns(next_value, rewards, masks, gamma=0.99):
    R = next_value
    returns = []
    for step in reversed(range(rewards.size(1))):
        R = rewards[:, step] + gamma * R * masks[:, step]
        returns.insert(0, R)
    return torch.stack(returns, dim=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    masks = torch.as_tensor(is_not_done, dtype=torch.float32)

    hx, cx = (part.detach() for part in prev_memory_states)
    log_probs, values, entropies = [], [], []
    for t in range(rewards.size(1)):
        (hx, cx), (logits, value) = agent((hx, cx), states[:, t])
        dist = torch.distributions.Categorical(logits=logits)
        log_probs.append(dist.log_prob(actions[:, t]))
        entropies.append(dist.entropy())
        values.append(value)
        # reset lstm of finished games
        hx = hx * masks[:, t].unsqueeze(1)
        cx = cx * masks[:, t].unsqueeze(1)

    log_probs = torch.stack(log_probs, dim=1)[:, :-1]
    values = torch.stack(values, dim=1)
    entropy = torch.stack(entropies, dim=1).mean()

    next_value = (values[:, -1] * masks[:, -1]).detach()
    returns = compute_returns(next_value, rewards[:, :-1], masks[:, :-1], gamma)

    advantage = returns - values[:, :-1]

    actor_loss = -(log_probs * advantage.detach()).mean()
    critic_loss = advantage.pow(2).mean()

    loss = actor_loss + value_loss_weight * critic_loss - entropy_weight * entropy

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %%
opt = torch.optim.Adam(agent.parameters(), lr=7e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
