# style: English, learned from the PPO/CleanRL blog post: CFG dict, layer_init, gather, vectorised targets under no_grad
# verdict: right
# loses:
# note: mse_loss over all games and ticks equals the mean over games of the mean over ticks; memory wiped by multiplying with the mask (blank memory is zero)
# %% keep: setup
# %% keep: imports
# %%
CFG = {
    "seed": 1,
    "n_envs": 5,
    "gamma": 0.99,
    "lr": 2.5e-4,
    "adam_eps": 1e-5,
    "hidden": 128,
}
torch.manual_seed(CFG["seed"])
np.random.seed(CFG["seed"])
# %% keep: make-env
# %%
def layer_init(layer, std=2**0.5, bias_const=0.0):
    nn.init.orthogonal_(layer.weight, std)
    nn.init.constant_(layer.bias, bias_const)
    return layer


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, hidden=CFG["hidden"]):
        super().__init__()
        self.network = nn.Sequential(
            layer_init(nn.Conv2d(obs_shape[0], 32, 3, stride=2)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 32, 3, stride=2)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 32, 3, stride=2)),
            nn.ReLU(),
            nn.Flatten(),
            layer_init(nn.Linear(512, hidden)),
            nn.ReLU(),
        )
        self.lstm = nn.LSTMCell(hidden, hidden)
        for name, param in self.lstm.named_parameters():
            if "bias" in name:
                nn.init.constant_(param, 0)
            else:
                nn.init.orthogonal_(param, 1.0)
        self.actor = layer_init(nn.Linear(hidden, n_actions), std=0.01)
        self.critic = layer_init(nn.Linear(hidden, 1), std=1)

    def forward(self, prev_state, obs_t):
        features = self.network(10 * obs_t - 3.6)
        h, c = self.lstm(features, (prev_state[0], prev_state[1]))
        return (h, c), (self.actor(h), self.critic(h).flatten())

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self(prev_state, torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return (
            torch.zeros(batch_size, self.lstm.hidden_size),
            torch.zeros(batch_size, self.lstm.hidden_size),
        )

    def sample_actions(self, agent_outputs):
        logits, _value = agent_outputs
        return torch.distributions.Categorical(logits=logits).sample().numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %%
n_parallel_games = CFG["n_envs"]
gamma = CFG["gamma"]
value_loss_weight = 1.0
entropy_weight = 0.01
pool = EnvPool(agent, make_env, n_parallel_games, vectorization_mode="ale_threads")
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=CFG["gamma"]):
    b_obs = torch.as_tensor(states, dtype=torch.float32)
    b_actions = torch.as_tensor(actions).long()
    b_rewards = torch.as_tensor(rewards, dtype=torch.float32)
    nextnonterminal = torch.as_tensor(is_not_done, dtype=torch.float32)
    num_steps = b_rewards.shape[1] - 1

    lstm_state = tuple(s.detach() for s in prev_memory_states)
    logits, values = [], []
    for t in range(num_steps + 1):
        lstm_state, (new_logits, new_value) = agent(lstm_state, b_obs[:, t])
        logits.append(new_logits)
        values.append(new_value)
        lstm_state = tuple(nextnonterminal[:, t].unsqueeze(-1) * s for s in lstm_state)
    logits = torch.stack(logits, 1)
    values = torch.stack(values, 1)

    # targets
    with torch.no_grad():
        td_target = b_rewards[:, :-1] + gamma * nextnonterminal[:, :-1] * values[:, 1:]
        returns = torch.zeros_like(td_target)
        running = nextnonterminal[:, -1] * values[:, -1]
        for t in reversed(range(num_steps)):
            running = b_rewards[:, t] + gamma * nextnonterminal[:, t] * running
            returns[:, t] = running
        advantages = returns - values[:, :-1]

    logp = F.log_softmax(logits, dim=-1)
    newlogprob = logp.gather(-1, b_actions.unsqueeze(-1)).squeeze(-1)[:, :-1]
    pg_loss = -(advantages * newlogprob).mean()
    v_loss = F.mse_loss(values[:, :-1], td_target)
    entropy = -(logp.exp() * logp).sum(-1)

    loss = pg_loss + value_loss_weight * v_loss - entropy_weight * entropy.mean()

    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=CFG["lr"], eps=CFG["adam_eps"])
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
