# style: German comments, einsum, the loss as an nn.Module with sub-losses, LambdaLR with a warm-up from zero inside train_on_rollout
# verdict: right
# note: the warm-up's very first step has the learning rate 0, so nothing moves in the very first call of train_on_rollout; the TD target is multiplied by is_not_done[:, t + 1] as well (accepted). Own default arguments behind the six.
# %% keep: setup
# %% keep: imports
# %%
from torch.optim.lr_scheduler import LambdaLR

Tensor = torch.Tensor
# %% keep: make-env
# %% keep: look
# %%
# Übung: der Agent
class Auge(nn.Sequential):
    """Drei Faltungen und eine dichte Schicht."""

    def __init__(self, kanaele: int, breite: int):
        super().__init__(
            nn.Conv2d(kanaele, 32, 5, stride=2), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, stride=2), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, stride=2), nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, breite), nn.Tanh(),
        )


class Gedaechtnis(nn.Module):
    """LSTM von Hand: so sieht man, was die Tore tun."""

    def __init__(self, n_ein: int, n: int):
        super().__init__()
        self.n = n
        self.tore = nn.Linear(n_ein + n, 4 * n)

    def forward(self, x: Tensor, zustand):
        h, c = zustand
        ein, vergessen, neu, aus = self.tore(torch.cat((x, h), dim=1)).chunk(4, dim=1)
        c = torch.sigmoid(vergessen + 1) * c + torch.sigmoid(ein) * torch.tanh(neu)
        h = torch.sigmoid(aus) * torch.tanh(c)
        return h, c


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, breite=128):
        super().__init__()
        self.auge = Auge(obs_shape[0], breite)
        self.gedaechtnis = Gedaechtnis(breite, breite)
        self.koepfe = nn.Linear(breite, n_actions + 1)  # beide Köpfe in einer Matrix

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        new_state = self.gedaechtnis(self.auge(obs_t), prev_state)
        heads = self.koepfe(new_state[0])
        # Die letzte Spalte ist der Kritiker: Form (n,), nicht (n, 1)!
        return new_state, (heads[:, :-1], heads[:, -1])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, self.gedaechtnis.n), torch.zeros(batch_size, self.gedaechtnis.n)

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
# Übung: der Verlust
class Entropie(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        lp = logits.log_softmax(-1)
        n_games, n_ticks, _ = logits.shape
        return -torch.einsum("nta,nta->", lp.exp(), lp) / (n_games * n_ticks)


class Renditen(nn.Module):
    """G_t als Matrixprodukt: G = D r, mit D[t, k] = gamma^(k-t) * m_t ... m_{k-1}."""

    def forward(self, r: Tensor, m: Tensor, ende: Tensor, gamma: float) -> Tensor:
        n, T = r.shape
        D = torch.zeros(n, T + 1, T + 1)
        D[:, T, T] = 1
        for t in range(T - 1, -1, -1):
            D[:, t] = gamma * m[:, t, None] * D[:, t + 1]
            D[:, t, t] = 1
        return torch.einsum("ntk,nk->nt", D, torch.cat((r, ende[:, None]), dim=1))[:, :-1]


class Verlust(nn.Module):
    def __init__(self):
        super().__init__()
        self.entropie = Entropie()
        self.renditen = Renditen()

    def forward(self, logits, V, actions, rewards, m, gamma):
        r, V_fest = rewards[:, :-1], V.detach()
        G = self.renditen(r, m[:, :-1], m[:, -1] * V_fest[:, -1], gamma)
        vorteil = G - V_fest[:, :-1]

        eins_aus_n = to_one_hot(actions, logits.shape[-1])
        log_pi = torch.einsum("nta,nta->nt", F.log_softmax(logits, dim=-1), eins_aus_n)
        J = torch.einsum("nt,nt->", log_pi[:, :-1], vorteil) / r.numel()

        # Ein letztes Bild ist nichts mehr wert, daher auch m[t + 1]
        ziel = r + gamma * m[:, :-1] * m[:, 1:] * V_fest[:, 1:]
        wert = ((ziel - V[:, :-1]) ** 2).mean()
        return J, wert, self.entropie(logits)


verlust = Verlust()


def train_on_rollout(
    states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99, laut=False
):
    states, rewards, is_not_done = (
        torch.as_tensor(a, dtype=torch.float32) for a in (states, rewards, is_not_done)
    )
    actions = torch.as_tensor(actions, dtype=torch.int64)

    memory = tuple(teil.detach() for teil in prev_memory_states)
    leer = agent.get_initial_state(len(states))
    logits, state_values = [], []
    for t in range(rewards.shape[1]):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits += [logits_t]
        state_values += [values_t]
        weiter = is_not_done[:, t, None] > 0  # sonst: neues Spiel, leeres Gedächtnis
        memory = tuple(torch.where(weiter, teil, l) for teil, l in zip(memory, leer))

    J_hat, value_loss, entropy_reg = verlust(
        torch.stack(logits, 1), torch.stack(state_values, 1), actions, rewards, is_not_done, gamma
    )
    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg
    if laut:
        print(f"J {J_hat:.4f}  Wert {value_loss:.4f}  Entropie {entropy_reg:.4f}")

    agent.zero_grad()
    loss.backward()
    opt.step()
    scheduler.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Übung: der Optimierer. Anwärmen über 100 Schritte, dann langsam abkühlen
opt = torch.optim.Adam(agent.parameters(), lr=5e-4)
scheduler = LambdaLR(opt, lambda n: min(n / 100, 1.0) / (1 + n / 20_000))
# %% keep: optimizer-check
# %%
memory = list(pool.prev_memory_states)
loss = train_on_rollout(*pool.interact(10), memory, gamma, laut=True)
print("Verlust im ersten Schritt:", loss)
# %%
# Slow: einige Minuten
for i in range(2000):
    memory = list(pool.prev_memory_states)
    loss = train_on_rollout(*pool.interact(20), memory, gamma, laut=i % 100 == 0)
print(np.mean(pool.episode_returns[-20:]))
# %% keep: inspect
