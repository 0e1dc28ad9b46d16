# style: likes architectures: dueling-style actor head, parameter groups with their own learning rates; loss as a dict of parts
# verdict: wrong
# mistake: loss-exercise: gradients are never cleared: neither opt.zero_grad() nor anything like it
# mistake: optimizer-exercise: the parameter groups leave out the convolutions, which never move
# loses: step, descent
# named: the second step takes the first one's gradients once more
# named: some weights never learn
# note: the dueling logits are raw scores (A minus its mean); the loss number itself is right
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class DuelingHead(nn.Module):
    """Scores of the actions relative to each other, like the A stream of a dueling DQN."""

    def __init__(self, n_in, n_actions):
        super().__init__()
        self.pre = nn.Linear(n_in, 64)
        self.adv = nn.Linear(64, n_actions)

    def forward(self, h):
        a = self.adv(F.elu(self.pre(h)))
        return a - a.mean(dim=1, keepdim=True)


class SimpleRecurrentAgent(nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(obs_shape[0], 32, 3, stride=2),
            nn.ELU(),
            nn.Conv2d(32, 32, 3, stride=2),
            nn.ELU(),
            nn.Conv2d(32, 32, 3, stride=2),
            nn.ELU(),
            nn.Flatten(),
        )
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)

        self.logits = DuelingHead(128, n_actions)
        self.state_value = nn.Sequential(nn.Linear(128, 64), nn.ELU(), nn.Linear(64, 1), nn.Flatten(0))

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        features = F.elu(self.hid(self.convs(obs_t)))
        new_state = self.rnn(features, prev_state)
        h, _ = new_state
        return new_state, (self.logits(h), self.state_value(h))

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
def loss_parts(logits, V, actions, rewards, is_not_done, gamma):
    """The three terms, as a dict. Everything is [n_games, n_steps, ...]."""
    V_const = V.detach()
    r, m = rewards[:, :-1], is_not_done[:, :-1]
    log_p = F.log_softmax(logits, dim=-1)
    log_pi = log_p.gather(2, actions.unsqueeze(2)).squeeze(2)[:, :-1]

    G, g = [], is_not_done[:, -1] * V_const[:, -1]
    for r_t, m_t in zip(r.T.flip(0), m.T.flip(0)):
        g = r_t + gamma * m_t * g
        G.append(g)
    G = torch.stack(G).flip(0).T

    return {
        "policy": -((G - V_const[:, :-1]) * log_pi).mean(),
        "value": (r + gamma * m * V_const[:, 1:] - V[:, :-1]).square().mean(),
        "entropy": (log_p.exp() * log_p).sum(dim=-1).mean(),
    }


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout."""
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)

    memory = tuple(part.detach() for part in prev_memory_states)
    outputs = []
    for t in range(rewards.shape[1]):
        memory, output = agent(memory, states[:, t])
        outputs.append(output)
        memory = tuple(part * is_not_done[:, t, None] for part in memory)
    logits = torch.stack([o[0] for o in outputs], dim=1)
    V = torch.stack([o[1] for o in outputs], dim=1)

    weights = {"policy": 1.0, "value": value_loss_weight, "entropy": entropy_weight}
    parts = loss_parts(logits, V, actions, rewards, is_not_done, gamma)
    loss = sum(weights[name] * parts[name] for name in weights)

    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
# the memory learns slowly, the heads may run ahead
opt = torch.optim.Adam(
    [
        {"params": agent.hid.parameters(), "lr": 1e-4},
        {"params": agent.rnn.parameters(), "lr": 5e-5},
        {"params": agent.logits.parameters(), "lr": 3e-4},
        {"params": agent.state_value.parameters(), "lr": 3e-4},
    ]
)
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
