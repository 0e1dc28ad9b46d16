# style: CUDA person: device at the top, .to(device) and .cpu() everywhere, AdamW with decay and no-decay groups, gradient clipping, LambdaLR made and left for later
# verdict: right
# mistake:
# loses:
# note: get_initial_state and step keep everything on the CPU, only the network and the loss use the device. Gradients longer than 40 are clipped, which the training run does more strictly anyway. The scheduler starts at factor 1 and is never stepped: the training loop sets the rate
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print("using", device)
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()

        self.hid = nn.Linear(512, 128)
        self.hid2 = nn.Linear(128, 128)
        self.rnn = nn.LSTMCell(128, 256)

        self.logits = nn.Linear(256, n_actions)
        self.state_value = nn.Linear(256, 1)

        self.to(device)

    def forward(self, prev_state, obs_t):
        h, c = (part.to(device) for part in prev_state)
        obs_t = 10 * obs_t.to(device) - 3.6

        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.elu(self.hid(self.flatten(x)))
        x = F.elu(self.hid2(x))
        h, c = self.rnn(x, (h, c))

        new_state = (h, c)
        logits = self.logits(h)
        state_value = self.state_value(h)[:, 0]

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """For playing. Everything comes back on the CPU, since NumPy lives there."""
        obs_t = torch.as_tensor(obs_t, dtype=torch.float32)
        (h, c), (logits, state_value) = self.forward(prev_state, obs_t)
        return (h.cpu(), c.cpu()), (logits.cpu(), state_value.cpu())

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].cpu().numpy()
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
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32, device=device)
    actions = torch.as_tensor(actions, dtype=torch.int64, device=device)
    rewards = torch.as_tensor(rewards, dtype=torch.float32, device=device)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32, device=device)
    n_games, n_steps = rewards.shape
    T = n_steps - 1

    memory = tuple(part.detach().to(device) for part in prev_memory_states)
    blank_memory = tuple(part.to(device) for part in agent.get_initial_state(n_games))

    logits = []
    state_values = []
    for t in range(n_steps):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)

        over = is_not_done[:, t].eq(0).unsqueeze(1)
        memory = tuple(torch.where(over, b, p) for p, b in zip(memory, blank_memory))

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)

    # advanced indexing: picks logprobas[i, t, actions[i, t]]
    i = torch.arange(n_games, device=device).unsqueeze(1)
    j = torch.arange(n_steps, device=device).unsqueeze(0)
    logprobas_for_actions = logprobas[i, j, actions]

    J_hat = torch.zeros((), device=device)
    value_loss = torch.zeros((), device=device)
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(T)):
        r_t, m_t = rewards[:, t], is_not_done[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()

        cumulative_returns = r_t + gamma * m_t * cumulative_returns

        value_loss = value_loss + F.mse_loss(V_t, r_t + gamma * m_t * V_next) / T

        advantage = (cumulative_returns - V_t).detach()
        J_hat = J_hat + torch.dot(logprobas_for_actions[:, t], advantage) / (n_games * T)

    entropy_reg = -(probas * logprobas).sum(dim=-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), max_norm=40.0)
    opt.step()

    return loss.detach().cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
# decay the matrices, leave the biases alone
matrices = [p for p in agent.parameters() if p.ndim > 1]
biases = [p for p in agent.parameters() if p.ndim <= 1]
assert len(matrices) + len(biases) == len(list(agent.parameters()))

opt = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": 1e-4}, {"params": biases, "weight_decay": 0.0}],
    lr=2e-4,
)
# for later experiments; 1 at the start, so it changes nothing now
scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda epoch: 1.0 / (1.0 + epoch / 800))
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
# %%
# Slow: only worth running after training. (.cpu() added)
weights = [tensor.cpu().numpy().astype(np.float16) for tensor in agent.state_dict().values()]
np.savez_compressed("kungfu_weights.npz", *weights)
print(f"kungfu_weights.npz: {Path('kungfu_weights.npz').stat().st_size / 1e6:.1f} MB")
