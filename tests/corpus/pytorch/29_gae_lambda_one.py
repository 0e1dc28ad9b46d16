# style: generalised advantage estimation with lambda = 1, walrus, while loop, earlier attempts left as code (one broken, in try), uses env and agent.actor.out_features
# verdict: right
# note: GAE with lam = 1 is the n-step return minus V (deltas telescope); dead function train_on_rollout_v1 is wrong but overwritten below; TD target with the extra is_not_done[:, t + 1]
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
n_actions = int(env.action_space.n)

class Backbone(nn.Module):
    def __init__(self, n_frames, size=192):
        super().__init__()
        self.convs = nn.Sequential(*[
            layer
            for i, k in enumerate((5, 3, 3))
            for layer in (nn.Conv2d(32 if i else n_frames, 32, k, 2), nn.ELU())
        ])
        with torch.no_grad():
            n = self.convs(torch.zeros(1, *env.observation_space.shape)).numel()
        self.dense = nn.Linear(n, size)

    def forward(self, x):
        return F.relu(self.dense(self.convs(x).flatten(start_dim=1)))


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.backbone = Backbone(obs_shape[0])
        self.memory = nn.LSTMCell(192, 128)
        self.actor = nn.Linear(128, n_actions)
        self.critic = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        state = self.memory(self.backbone(10 * obs_t - 3.6), tuple(prev_state))
        return state, (self.actor(h := state[0]), self.critic(h)[:, 0])

    __call__ = nn.Module.__call__

    @torch.inference_mode()
    def step(self, prev_state, obs_t):
        (h, c), (l, v) = self(prev_state, torch.tensor(obs_t, dtype=torch.float32))
        return (h, c), (l, v)

    def get_initial_state(self, batch_size):
        return tuple(torch.zeros((batch_size, self.memory.hidden_size)) for _ in range(2))

    def sample_actions(self, agent_outputs):
        logits, *_ = agent_outputs
        return torch.multinomial(torch.softmax(logits, -1), 1).flatten().numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# attempt no. 1 (yesterday), kept for the diff. forgets all about dones and is off by one somewhere
def train_on_rollout_v1(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    advs = []
    gae = 0
    for t in range(len(rewards))[::-1]:
        delta = rewards[t] + gamma * values[t + 1] - values[t]
        gae = delta + gamma * .95 * gae
        advs.append(gae)
    return advs

try:
    train_on_rollout_v1(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, None)
except NameError as e:
    print("v1 is broken:", e)
# %%
# Exercise: loss
LAMBDA = 1.0   # 0.95 looked worse over one night, and 1 is what the homework asks for

@torch.no_grad()
def gae(rewards, mask, values, gamma, lam=LAMBDA):
    V = values * mask                      # nothing to expect of a game that is over
    A = torch.zeros(rewards.shape[0])
    out = []
    t = rewards.shape[1] - 1
    while (t := t - 1) >= 0:
        delta = rewards[:, t] + gamma * mask[:, t] * V[:, t + 1] - values[:, t]
        # G_{t+1} - V_{t+1}, put so that a masked V_{t+1} cancels
        A = delta + gamma * lam * mask[:, t] * (A + (values - V)[:, t + 1] * (t + 1 < rewards.shape[1] - 1))
        out.append(A)
    return torch.stack(out[::-1], dim=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs, rew, mask = [torch.as_tensor(np.asarray(x), dtype=torch.float32) for x in (states, rewards, is_not_done)]
    act = torch.as_tensor(np.asarray(actions)).long()
    state = tuple(s.detach().clone() for s in prev_memory_states)

    logits, values, t = [], [], -1
    while (t := t + 1) < obs.size(1):
        state, (l, v) = agent(state, obs[:, t])
        logits.append(l); values.append(v)
        if (over := mask[:, t] == 0).any():
            keep = (~over).float().unsqueeze(1)
            state = tuple(s * keep for s in state)
    logits, values = torch.stack(logits, 1), torch.stack(values, 1)
    assert logits.size(-1) == agent.actor.out_features

    A = gae(rew, mask, values, gamma)
    with torch.no_grad():
        target = rew[:, :-1] + gamma * (mask[:, :-1] * mask[:, 1:]) * values[:, 1:]

    logp = torch.log_softmax(logits, dim=-1)
    taken = torch.take_along_dim(logp, act.unsqueeze(-1), dim=-1).squeeze(-1)[:, :-1]

    policy_loss = -(taken * A).mean()
    critic_loss = nn.MSELoss()(values[:, :-1], target)
    entropy = -(logp * logp.exp()).sum(-1).mean()
    total = policy_loss + value_loss_weight * critic_loss - entropy_weight * entropy

    agent.zero_grad()
    total.backward()
    opt.step()
    return total.detach().cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
no_decay = [p for p in agent.parameters() if p.ndim == 1]
decay = [p for p in agent.parameters() if p.ndim > 1]
opt = torch.optim.AdamW([{"params": decay, "weight_decay": 1e-3}, {"params": no_decay, "weight_decay": 0.0}], lr=4e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %%
# Slow: own loop, without the checkpoints
scores = []
for i in range(2000):
    mem = list(pool.prev_memory_states)
    loss = train_on_rollout(*pool.interact(20), mem, gamma)
    if i % 100 == 0:
        scores.append(np.mean(evaluate(agent, env, 2)))
        print(i, scores[-1])
# %% keep: hand-in
