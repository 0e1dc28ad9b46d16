# style: thinks in shapes: B, T, C, H, W letters and asserts on every line, reshapes and permutes rather than indexing
# verdict: wrong
# mistake: loss-exercise: the logits are stacked time-first and then `.view(B, L, A)`, which keeps the memory order: rows of games and ticks are mixed, so log-probabilities belong to other games' ticks than the actions
# loses: policy_gradient
# named: logits meet the actions of other games and ticks
# note: the values are stacked and permuted correctly; the entropy is a mean over all (game, tick) pairs and does not notice the order. With B = L or not, all shapes fit
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
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
        self.rnn = nn.LSTMCell(128, 128)

        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        B = obs_t.shape[0]                           # B C 42 42
        x = F.elu(self.conv0(obs_t))                 # B 32 20 20
        x = F.elu(self.conv1(x))                     # B 32 9 9
        x = F.elu(self.conv2(x))                     # B 32 4 4
        x = self.flatten(x)                          # B 512
        assert x.shape == (B, 512)
        x = F.elu(self.hid(x))                       # B 128

        h, c = self.rnn(x, prev_state)               # B 128, B 128
        new_state = h, c
        logits = self.logits(h)                      # B A
        state_value = self.state_value(h).view(B)    # B 1 -> B
        return new_state, (logits, state_value)

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
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """B games, L = T + 1 columns, A actions."""
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    B, L = rewards.shape
    T = L - 1
    A = n_actions

    memory = tuple(part.detach() for part in prev_memory_states)

    # time first, then I can simply loop over it
    states_tb = states.permute(1, 0, 2, 3, 4)        # L B C H W
    mask_tb = is_not_done.permute(1, 0)              # L B

    logits, state_values = [], []
    for obs, m in zip(states_tb, mask_tb):
        memory, (logits_t, values_t) = agent(memory, obs)
        assert logits_t.shape == (B, A) and values_t.shape == (B,)
        logits.append(logits_t)
        state_values.append(values_t)
        memory = tuple(part * m.view(B, 1) for part in memory)

    logits = torch.stack(logits).view(B, L, A)                    # B L A
    state_values = torch.stack(state_values).permute(1, 0)        # L B -> B L
    assert logits.shape == (B, L, A) and state_values.shape == (B, L)

    logprobas = F.log_softmax(logits, dim=2)                      # B L A
    probas = logprobas.exp()                                      # B L A
    logprobas_for_actions = logprobas.gather(2, actions.view(B, L, 1)).view(B, L)

    V = state_values[:, :T]                                       # B T
    V_next = state_values[:, 1:].detach()                         # B T
    r, m = rewards[:, :T], is_not_done[:, :T]                     # B T

    G = torch.zeros(B, T)
    running = is_not_done[:, T] * state_values[:, T].detach()     # B
    for t in range(T - 1, -1, -1):
        running = r[:, t] + gamma * m[:, t] * running
        G[:, t] = running

    value_loss = (r + gamma * m * V_next - V).pow(2)              # B T
    advantage = (G - V).detach()                                  # B T
    policy = logprobas_for_actions[:, :T] * advantage             # B T
    entropy = -(probas * logprobas).sum(dim=2)                    # B L
    assert value_loss.shape == policy.shape == (B, T) and entropy.shape == (B, L)

    loss = (
        -policy.mean(dim=0).mean(dim=0)
        + value_loss_weight * value_loss.mean(dim=0).mean(dim=0)
        - entropy_weight * entropy.mean(dim=0).mean(dim=0)
    )

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)
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
