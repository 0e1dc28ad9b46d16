# style: Spanish comments, time first everywhere (lists over t stacked on dim 0, transposed inputs), gather, PyTorch 0.x habits; two failed attempts stay above the right one
# verdict: right
# mistake:
# loses:
# note: the earlier train_on_rollout (summed, without mask) is overwritten by the later one before anything is run with it
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Ejercicio: el agente
class SimpleRecurrentAgent(nn.Module):
    """Mira la pantalla, recuerda, y dice que hacer y cuanto vale."""

    def __init__(self, obs_shape, n_actions):
        super(SimpleRecurrentAgent, self).__init__()
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

        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        # x = x.view(-1, 512)   # esto tambien funciona
        x = self.flatten(x)
        x = F.elu(self.hid(x))
        h_new, c_new = self.rnn(x, prev_state)

        new_state = (h_new, c_new)
        logits = self.logits(h_new)
        state_value = self.state_value(h_new)
        state_value = state_value.view(state_value.size(0))  # (n, 1) -> (n,)

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """Lo mismo para NumPy y sin gradientes."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        """La memoria de quien todavia no ha visto nada."""
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        """Sortea una accion por juego."""
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
# INTENTO 1 -- no sirve (suma en vez de media, y se olvida de los finales). Lo dejo para acordarme.
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    memory = prev_memory_states
    total = 0
    R = 0
    for t in range(states.shape[1]):
        memory, (l, v) = agent(memory, torch.from_numpy(states[:, t]))
        R = R * gamma + rewards[:, t]
        total += ((torch.from_numpy(R) - v) ** 2).sum()
    opt.zero_grad()
    total.backward()
    opt.step()
    return total.item()
# %%
# INTENTO 2 -- probando gather con el tiempo delante
_lp = torch.log_softmax(torch.randn(4, 2, 3), dim=-1)  # T, n, a
_a = torch.tensor([[0, 1], [2, 2], [1, 0], [0, 0]])
print(_lp.gather(2, _a[:, :, None])[:, :, 0].shape)  # tiene que ser (4, 2)
# %%
# Ejercicio: la perdida (version buena)
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    # [juegos, tiempo, ...] -> [tiempo, juegos, ...]
    states = torch.as_tensor(states, dtype=torch.float32).transpose(0, 1)
    actions = torch.as_tensor(actions, dtype=torch.int64).t()
    rewards = torch.as_tensor(rewards, dtype=torch.float32).t()
    vivo = torch.as_tensor(is_not_done, dtype=torch.float32).t()
    T = len(rewards) - 1

    h, c = [parte.detach() for parte in prev_memory_states]

    logits, valores = [], []
    for obs_t, vivo_t in zip(states, vivo):
        (h, c), (l, v) = agent((h, c), obs_t)
        logits.append(l)
        valores.append(v)
        # donde se acabo el juego, memoria en blanco
        h = h * vivo_t[:, None]
        c = c * vivo_t[:, None]

    logits = torch.stack(logits)  # [T+1, n, a]
    valores = torch.stack(valores)  # [T+1, n]
    logpi = F.log_softmax(logits, dim=2)
    pi = F.softmax(logits, dim=2)
    logpi_a = logpi.gather(2, actions[:, :, None])[:, :, 0]  # [T+1, n]

    # V como constante
    V = valores.detach()

    G = vivo[T] * V[T]
    J_hat = 0.0
    value_loss = 0.0
    for t in range(T - 1, -1, -1):
        G = rewards[t] + gamma * vivo[t] * G
        ventaja = G - V[t]
        J_hat = J_hat + torch.mean(logpi_a[t] * ventaja)
        error_td = rewards[t] + gamma * vivo[t] * V[t + 1] - valores[t]
        value_loss = value_loss + torch.mean(error_td ** 2)
    J_hat = J_hat / T
    value_loss = value_loss / T

    # entropia: suma sobre acciones, media sobre todo lo demas
    entropia = -(pi * logpi).sum(2).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropia

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Ejercicio: el optimizador
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)  # lento pero seguro
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
