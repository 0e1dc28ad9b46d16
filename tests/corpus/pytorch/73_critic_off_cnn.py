# style: English, terse, opinionated comments, camelCase
# verdict: wrong
# mistake: the critic reads the dense layer before the LSTM, so the value knows nothing of the memory
# mistake: the optimizer is created with maximize=True although the loss is already negated where it should be: it climbs the loss
# loses: state_value, descent
# named: makes no difference to state_value
# named: the optimizer must minimize
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.convNet = nn.Sequential(
            nn.Conv2d(obs_shape[0], 32, 3, 2), nn.ELU(),
            nn.Conv2d(32, 32, 3, 2), nn.ELU(),
            nn.Conv2d(32, 32, 3, 2), nn.ELU(),
            nn.Flatten(),
            nn.Linear(512, 128), nn.ELU(),
        )
        self.memCell = nn.LSTMCell(128, 128)
        self.actorHead = nn.Linear(128, n_actions)
        self.criticHead = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        features = self.convNet(10 * obs_t - 3.6)
        hNew, cNew = self.memCell(features, tuple(prev_state))
        logits = self.actorHead(hNew)
        # a value belongs to a state, so the critic looks at the screen itself.
        # keeps its gradients out of the lstm too
        stateValue = self.criticHead(features).squeeze(-1)
        return (hNew, cNew), (logits, stateValue)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, 128), torch.zeros(batch_size, 128)

    def sample_actions(self, agent_outputs):
        return torch.multinomial(F.softmax(agent_outputs[0], dim=-1), 1)[:, 0].numpy()
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    toF = lambda x: torch.as_tensor(x, dtype=torch.float32)
    states, rewards, alive = toF(states), toF(rewards), toF(is_not_done)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    T = rewards.shape[1] - 1

    mem = tuple(m.detach() for m in prev_memory_states)
    blank = agent.get_initial_state(rewards.shape[0])
    logPi, values, H = [], [], []
    for t in range(T + 1):
        mem, (lg, v) = agent(mem, states[:, t])
        lp = F.log_softmax(lg, dim=1)
        logPi.append((lp * to_one_hot(actions[:, t], n_actions)).sum(1))
        H.append(-(lp * lp.exp()).sum(1))
        values.append(v)
        ok = alive[:, t, None] > 0
        mem = tuple(torch.where(ok, m, b) for m, b in zip(mem, blank))

    ret = alive[:, T] * values[T].detach()
    jHat = valueLoss = 0.0
    for t in range(T)[::-1]:
        ret = rewards[:, t] + gamma * alive[:, t] * ret
        tdTarget = rewards[:, t] + gamma * alive[:, t] * values[t + 1].detach()
        valueLoss = valueLoss + ((tdTarget - values[t]) ** 2).mean()
        jHat = jHat + (logPi[t] * (ret - values[t]).detach()).mean()
    entropy = torch.stack(H).mean()

    loss = -jHat / T + value_loss_weight * valueLoss / T - entropy_weight * entropy
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# J is maximised in RL, Adam minimises by default
opt = torch.optim.Adam(agent.parameters(), lr=1e-4, maximize=True)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
