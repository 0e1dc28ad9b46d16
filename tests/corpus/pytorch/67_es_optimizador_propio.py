# style: Spanish, fills the gaps, checks kept; then an ambitious own Adam that was never finished
# verdict: wrong
# mistake: the optimizer is an own Adam whose step() still raises NotImplementedError: no weight ever moves
# loses: descent
# named: NotImplementedError
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Ejercicio: agente
class SimpleRecurrentAgent(nn.Module):
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
        self.act = nn.ELU()

    def forward(self, prev_state, obs_t):
        h, c = prev_state
        obs_t = 10 * obs_t - 3.6
        x = self.act(self.conv2(self.act(self.conv1(self.act(self.conv0(obs_t))))))
        x = self.act(self.hid(self.flatten(x)))
        h, c = self.rnn(x, (h, c))
        return (h, c), (self.logits(h), self.state_value(h).reshape(-1))

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
# Ejercicio: pérdida
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    T = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits, state_values = [], []
    for t in range(T + 1):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits += [logits_t]
        state_values += [values_t]
        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(torch.where(goes_on, p, b) for p, b in zip(memory, blank_memory))

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    logprobas_for_actions = torch.sum(logprobas * to_one_hot(actions, n_actions), dim=-1)

    J_hat = 0.0
    value_loss = 0.0
    G = is_not_done[:, -1] * state_values[:, -1].detach()
    for t in reversed(range(T)):
        m_t = is_not_done[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        G = rewards[:, t] + gamma * m_t * G
        delta = rewards[:, t] + gamma * m_t * V_next - V_t
        value_loss = value_loss + torch.mean(delta * delta)
        ventaja = (G - V_t).detach()
        J_hat = J_hat + torch.mean(logprobas_for_actions[:, t] * ventaja)
    J_hat = J_hat / T
    value_loss = value_loss / T

    # H: sumar en acciones, promediar en juegos y tiempo
    entropy_reg = (-(probas * logprobas).sum(2)).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Ejercicio: optimizador. Quiero entender Adam, así que lo escribo yo.
class MiAdam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps))

    @torch.no_grad()
    def step(self, closure=None):
        for grupo in self.param_groups:
            b1, b2 = grupo["betas"]
            for p in grupo["params"]:
                if p.grad is None:
                    continue
                e = self.state[p]
                if not e:
                    e["t"] = 0
                    e["m"] = torch.zeros_like(p)
                    e["v"] = torch.zeros_like(p)
                e["t"] += 1
                e["m"] = b1 * e["m"] + (1 - b1) * p.grad
                e["v"] = b2 * e["v"] + (1 - b2) * p.grad**2
                # TODO: corrección del sesgo, y luego mover p
                raise NotImplementedError


opt = MiAdam(agent.parameters(), lr=1e-4)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
