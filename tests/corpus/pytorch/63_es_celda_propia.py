# style: Spanish, own LSTM cell as a custom layer, base class + subclass, torch.distributions for log-probabilities and entropy
# verdict: right
# loses:
# note: the LSTM cell is written by hand (forget bias 1); Categorical gives log π and the entropy
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
from torch.distributions import Categorical


class CeldaLSTM(nn.Module):
    """LSTM a mano, para entender las puertas (ver el blog de colah)."""

    def __init__(self, n_entrada, n_oculto):
        super().__init__()
        self.hidden_size = n_oculto
        self.puertas = nn.Linear(n_entrada + n_oculto, 4 * n_oculto)
        with torch.no_grad():
            self.puertas.bias[n_oculto : 2 * n_oculto] += 1.0  # olvidar poco al principio

    def forward(self, x, estado):
        h, c = estado
        i, f, g, o = self.puertas(torch.cat([x, h], dim=1)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, c


class AgenteBase(nn.Module):
    """Lo que no depende de la red: jugar, memoria en blanco, elegir acciones."""

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        ceros = torch.zeros(batch_size, self.rnn.hidden_size)
        return ceros, ceros.clone()

    def sample_actions(self, agent_outputs):
        return Categorical(logits=agent_outputs[0]).sample().numpy()


class SimpleRecurrentAgent(AgenteBase):
    def __init__(self, obs_shape, n_actions, n_filtros=32, n_oculto=128):
        super().__init__()
        self.ojos = nn.ModuleList(
            nn.Conv2d(entra, n_filtros, kernel_size=3, stride=2)
            for entra in (obs_shape[0], n_filtros, n_filtros)
        )
        self.hid = nn.Linear(n_filtros * 4 * 4, n_oculto)
        self.rnn = CeldaLSTM(n_oculto, n_oculto)
        self.logits = nn.Linear(n_oculto, n_actions)
        self.state_value = nn.Linear(n_oculto, 1)

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        for conv in self.ojos:
            x = F.elu(conv(x))
        x = F.elu(self.hid(x.flatten(start_dim=1)))
        h, c = self.rnn(x, prev_state)
        return (h, c), (self.logits(h), self.state_value(h)[:, 0])
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
# pesos de la fórmula
value_loss_weight = 1.0
entropy_weight = 0.01


def retornos(recompensas, sigue, arranque, gamma):
    """G_t hacia atrás; recompensas y sigue: [n, T], arranque: [n]."""
    G, lista = arranque, []
    for t in range(recompensas.shape[1] - 1, -1, -1):
        G = recompensas[:, t] + gamma * sigue[:, t] * G
        lista.insert(0, G)
    return torch.stack(lista, dim=1)
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    estados = torch.as_tensor(states, dtype=torch.float32)
    acciones = torch.as_tensor(actions, dtype=torch.int64)
    r = torch.as_tensor(rewards, dtype=torch.float32)
    sigue = torch.as_tensor(is_not_done, dtype=torch.float32)
    n, columnas = r.shape

    memoria = tuple(m.detach() for m in prev_memory_states)
    en_blanco = agent.get_initial_state(n)
    todos_logits, todos_V = [], []
    for t in range(columnas):
        memoria, (lg, v) = agent(memoria, estados[:, t])
        todos_logits.append(lg)
        todos_V.append(v)
        vivo = sigue[:, t].unsqueeze(1) > 0
        memoria = tuple(torch.where(vivo, m, b) for m, b in zip(memoria, en_blanco))

    pi = Categorical(logits=torch.stack(todos_logits, dim=1))
    V = torch.stack(todos_V, dim=1)
    V_const = V.detach()

    # crítico: TD(0), objetivo constante
    objetivo = r[:, :-1] + gamma * sigue[:, :-1] * V_const[:, 1:]
    perdida_V = (objetivo - V[:, :-1]).square().mean()

    # actor: ventaja de n pasos, también constante
    G = retornos(r[:, :-1], sigue[:, :-1], sigue[:, -1] * V_const[:, -1], gamma)
    ventaja = G - V_const[:, :-1]
    J = (pi.log_prob(acciones)[:, :-1] * ventaja).mean()

    H = pi.entropy().mean()  # todas las columnas

    loss = -J + value_loss_weight * perdida_V - entropy_weight * H

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=1e-4)
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
