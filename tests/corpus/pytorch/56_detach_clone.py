# style: somebody once bitten by in-place errors and dtype errors: .detach().clone() and casts on nearly every line, German-flavoured comments
# verdict: wrong
# mistake: loss-exercise: the memory is detached and cloned at every tick inside the loop, so no gradient travels through time
# mistake: loss-exercise: the actions are cast to int32 and nll_loss raises ("expected target dtype to be Long") in the line with log pi
# loses: memory_gradient, policy_gradient
# named: expected target dtype to be Long
# named: none does
# note: with .long() in place of .int() the policy's term would be right; value, entropy, masks and the step are right; the values are stacked before any detach
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
        obs_t = 10 * obs_t.clone().to(torch.float32) - 3.6   # clone, so that the input stays as it was

        y0 = F.elu(self.conv0(obs_t), inplace=False)
        y1 = F.elu(self.conv1(y0), inplace=False)
        y2 = F.elu(self.conv2(y1), inplace=False)
        y3 = self.flatten(y2)
        y4 = F.elu(self.hid(y3), inplace=False)

        h_old, c_old = prev_state
        h_neu, c_neu = self.rnn(y4, (h_old.clone().float(), c_old.clone().float()))

        new_state = (h_neu.clone(), c_neu.clone())
        logits = self.logits(h_neu.clone()).to(torch.float32)
        state_value = self.state_value(h_neu.clone()).to(torch.float32).squeeze(dim=1)

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
        probs = F.softmax(logits.detach().clone().double(), dim=-1)
        return torch.multinomial(probs, num_samples=1)[:, 0].numpy()
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
    states = torch.as_tensor(states).detach().clone().to(torch.float32)
    actions = torch.as_tensor(actions).detach().clone().int()
    rewards = torch.as_tensor(rewards).detach().clone().to(torch.float32)
    is_not_done = torch.as_tensor(is_not_done).detach().clone().to(torch.float32)
    rollout_length = int(rewards.shape[1]) - 1

    # Gradients stop here
    memory = tuple(part.detach().clone() for part in prev_memory_states)
    blank_memory = tuple(part.detach().clone() for part in agent.get_initial_state(rewards.shape[0]))

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t].detach().clone()

        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t.clone())
        state_values.append(values_t.clone())

        # After a reset tick a new game begins, with a blank memory.
        # detach + clone, otherwise I fear "modified by an inplace operation"
        goes_on = (is_not_done[:, t, None] > 0).detach().clone()
        memory = tuple(
            torch.where(goes_on, part, blank).detach().clone()
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    logprobas = F.log_softmax(logits.float(), dim=-1)
    probas = torch.exp(logprobas.clone())

    cumulative_returns = (is_not_done[:, -1] * state_values[:, -1]).detach().clone()

    J_terms = []
    value_terms = []
    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t].detach().clone()
        m_t = is_not_done[:, t].detach().clone()
        V_t = state_values[:, t].clone()                      # hier KEIN detach
        V_next = state_values[:, t + 1].detach().clone()
        # nll_loss picks minus the log-probability of the action
        logpi_a_s_t = -F.nll_loss(logprobas[:, t].clone(), actions[:, t], reduction="none")

        cumulative_returns = (r_t + gamma * m_t * cumulative_returns).detach().clone()

        target = (r_t + gamma * m_t * V_next).detach().clone()
        value_terms.append(F.mse_loss(V_t, target))

        advantage = (cumulative_returns - V_t.detach().clone()).detach().clone()
        J_terms.append((logpi_a_s_t * advantage).mean())

    J_hat = torch.stack(J_terms).float().mean()
    value_loss = torch.stack(value_terms).float().mean()

    entropy_reg = -torch.sum(probas * logprobas, dim=-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().clone().cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=float(1e-5))
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
