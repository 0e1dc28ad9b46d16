# style: Spanish comments, diary of what has been done and what is open, progress list, template otherwise
# verdict: wrong
# mistake: loss: the gap of the entropy is still open (`entropy_reg = <YOUR CODE: ...>`), so the cell is a SyntaxError and train_on_rollout does not exist
# loses: entropy_value, entropy_gradient
# named: a gap is open: `entropy_reg = <YOUR CODE>`
# note: everything else in the loss is written and right; a teacher who reads would take points for entropy_value and entropy_gradient only, a grader that runs the cell cannot give any for the loss. Agent and optimizer are right.
# %% keep: setup
# %% keep: imports
# %%
# DIARIO
# [x] agente             -> check en verde
# [x] entender la máscara (media hora!)
# [ ] entropía           -> mañana
# [x] optimizador        -> RMSprop
# [ ] entrenar
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """Mira la pantalla, recuerda, y dice qué hacer y cuánto vale."""

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

        # 42 -> 20 -> 9 -> 4
        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        # print(x.shape)   # (n, 32, 4, 4) = 512, bien
        x = self.flatten(x)
        x = F.elu(self.hid(x))
        h_new, c_new = self.rnn(x, prev_state)

        new_state = (h_new, c_new)
        logits = self.logits(h_new)
        state_value = self.state_value(h_new)[:, 0]

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
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
# pruebas con la entropía: para 14 acciones uniformes debe salir ln 14 = 2.639
p = torch.ones(14) / 14
print(-(p * p.log()).sum())
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    # Gradients stop here: they must not travel into earlier rollouts.
    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]

        memory, (logits_t, values_t) = agent(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)

        # After a reset tick a new game begins, with a blank memory.
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)  # [n_games, n_steps, n_actions]
    state_values = torch.stack(state_values, dim=1)  # [n_games, n_steps]
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)  # [n_games, n_steps]

    J_hat = 0.0
    value_loss = 0.0
    # The return beyond the rollout is the critic's guess: the bootstrap value.
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    # Backwards in time; every name below holds one number for each game.
    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        # G_t = r_t + γ·G_{t+1}, and nothing after the end of a game.
        G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
        cumulative_returns = G_t

        # error TD al cuadrado; si el juego terminó no hay V_next
        value_loss += ((r_t + gamma * is_not_done[:, t] * V_next - V_t) ** 2).mean()

        # How much better than expected did it go, as far ahead as the rollout can see?
        advantage = G_t - V_t
        advantage = advantage.detach()

        J_hat += (logpi_a_s_t * advantage).mean()

    J_hat /= rollout_length
    value_loss /= rollout_length

    # H for each game and tick, then the mean of them all. Mind the sign.
    # TODO mañana: ¿suma o media sobre las acciones?
    entropy_reg = <YOUR CODE: from probas and logprobas>

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.RMSprop(agent.parameters(), lr=3e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
