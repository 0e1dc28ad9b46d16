# style: vectorised, time-major tensors, Spanish comments, shape prints left in, %%time
# verdict: wrong
# mistake: loss: the TD target is masked with is_not_done[:, t + 1] (mask[1:]) alone, not with is_not_done[:, t]: it drops V of a game's last frame, and lets the reset tick learn the next game's value
# mistake: loss: `opt.zero_grad` without parentheses: the gradients are never cleared and add up from rollout to rollout
# loses: value_ends, step
# named: the mask comes one column late
# named: they add up from call to call until you clear them
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """CNN -> densa -> LSTM -> (actor, crítico)"""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(obs_shape[0], 32, 3, stride=2), nn.ELU(),
            nn.Conv2d(32, 32, 3, stride=2), nn.ELU(),
            nn.Conv2d(32, 32, 3, stride=2), nn.ELU(),
            nn.Flatten(),
            nn.Linear(512, 128), nn.ReLU(),
        )
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        new_state = self.rnn(self.cnn(10 * obs_t - 3.6), prev_state)
        h = new_state[0]
        # print('h', h.shape)
        return new_state, (self.logits(h), self.state_value(h).reshape(-1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return tuple(torch.zeros(batch_size, self.rnn.hidden_size) for _ in 'hc')

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: pool
# %%
%%time
rollout_obs, rollout_actions, rollout_rewards, rollout_mask = pool.interact(10)
for x in (rollout_obs, rollout_actions, rollout_rewards, rollout_mask): print(x.shape, x.dtype)
# %% keep: select
# %%
# Exercise: loss
def tm(x, dtype=torch.float32):
    """[juegos, tiempo, ...] -> [tiempo, juegos, ...]"""
    return torch.as_tensor(x, dtype=dtype).transpose(0, 1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs, act, rew, mask = tm(states), tm(actions, torch.int64), tm(rewards), tm(is_not_done)
    T = len(rew) - 1
    memory = tuple(m.detach() for m in prev_memory_states)

    logits, values = [], []
    for obs_t, mask_t in zip(obs, mask):
        memory, (l, v) = agent(memory, obs_t)
        logits += [l]; values += [v]
        memory = tuple(m * mask_t[:, None] for m in memory)   # juego nuevo, memoria en blanco
    logits, values = torch.stack(logits), torch.stack(values)
    # print(logits.shape, values.shape)   # (10, 5, 14) (10, 5)   ok!

    logp = logits.log_softmax(-1)
    logp_a = logp.gather(-1, act[..., None]).squeeze(-1)

    # retornos, hacia atrás
    ret = torch.zeros_like(values)
    ret[-1] = mask[-1] * values[-1].detach()
    for t in range(T - 1, -1, -1):
        ret[t] = rew[t] + gamma * mask[t] * ret[t + 1]

    # crítico: un paso
    objetivo = rew[:-1] + gamma * mask[1:] * values[1:].detach()
    value_loss = (objetivo - values[:-1]).pow(2).mean()

    # actor: n pasos
    ventaja = (ret - values)[:-1].detach()
    J_hat = (logp_a[:-1] * ventaja).mean()

    entropy_reg = -(logp.exp() * logp).sum(-1).mean()
    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=1e-4)
# %% keep: optimizer-check
# %%
memory = list(pool.prev_memory_states)
rollout = pool.interact(10)
print("pérdida:", train_on_rollout(*rollout, memory, gamma))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: hand-in
