# style: English, Kaggle image-classification habits: conv-bn-relu blocks, CFG class, seed_everything
# verdict: wrong
# mistake: BatchNorm between the convolutions (never in eval mode) normalises over the games: what one game's network sees depends on the others
# loses: games_apart
# named: the other games in the batch change a game's h
# %% keep: setup
# %% keep: imports
# %%
class CFG:
    seed = 42
    width = 32
    hidden = 128
    lr = 1e-4


def seed_everything(seed):
    import random

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


seed_everything(CFG.seed)
# %% keep: make-env
# %% keep: look
# %%
def conv_bn(in_ch, out_ch):
    """conv -> bn -> relu, bias is redundant before bn"""
    return nn.Sequential(
        nn.Conv2d(in_ch, out_ch, kernel_size=3, stride=2, bias=False),
        nn.BatchNorm2d(out_ch),
        nn.ReLU(),
    )


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.encoder = nn.Sequential(
            conv_bn(obs_shape[0], CFG.width),
            conv_bn(CFG.width, CFG.width),
            conv_bn(CFG.width, CFG.width),
            nn.Flatten(),
        )
        self.fc = nn.Linear(CFG.width * 16, CFG.hidden)
        self.rnn = nn.LSTMCell(CFG.hidden, CFG.hidden)
        self.logits = nn.Linear(CFG.hidden, n_actions)
        self.state_value = nn.Linear(CFG.hidden, 1)

    def forward(self, prev_state, obs_t):
        x = self.encoder(10 * obs_t - 3.6)
        x = F.relu(self.fc(x))
        h, c = self.rnn(x, tuple(prev_state))
        return (h, c), (self.logits(h), self.state_value(h)[..., 0])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions)
# sanity check
_x = torch.rand(4, *obs_shape)
_s, (_l, _v) = agent(agent.get_initial_state(4), _x)
print(_s[0].shape, _l.shape, _v.shape)
assert _l.shape == (4, n_actions) and _v.shape == (4,)
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    n_games, n_cols = rewards.shape

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(n_games)

    logits, values = [], []
    for t in range(n_cols):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        values.append(values_t)
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank) for part, blank in zip(memory, blank_memory)
        )
    logits = torch.stack(logits, dim=1)
    values = torch.stack(values, dim=1)
    logp = logits.log_softmax(-1)

    # n-step returns
    v_const = values.detach()
    G = torch.empty_like(v_const)
    G[:, -1] = is_not_done[:, -1] * v_const[:, -1]
    for t in range(n_cols - 2, -1, -1):
        G[:, t] = rewards[:, t] + gamma * is_not_done[:, t] * G[:, t + 1]
    adv = (G - v_const)[:, :-1]

    logp_a = logp.gather(2, actions.unsqueeze(2)).squeeze(2)
    J_hat = (logp_a[:, :-1] * adv).mean()

    target = rewards[:, :-1] + gamma * is_not_done[:, :-1] * v_const[:, 1:]
    value_loss = nn.MSELoss()(values[:, :-1], target)

    entropy = -(logp * logp.exp()).sum(-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().cpu().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.AdamW(agent.parameters(), lr=CFG.lr, weight_decay=1e-6)
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
