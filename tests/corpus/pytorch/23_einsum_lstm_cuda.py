# style: an LSTM cell of the student's own in einsum, CUDA written out with a device, French comments, TensorBoard remains in try/except
# verdict: right
# note: hand-written LSTM (all four gates in one einsum); the value is a mean of two heads; loss returned as loss.item(), a Python float
# %% keep: setup
# %% keep: imports
# %%
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print(device)
try:
    from torch.utils.tensorboard import SummaryWriter
    writer = SummaryWriter("runs/kungfu_einsum")
except ImportError:
    writer = None  # pas de tensorboard à la maison
# %% keep: make-env
# %%
# Exercise: agent
class EinsumLSTM(nn.Module):
    """Ma propre cellule : i, f, g, o dans un seul tenseur de poids [4, sortie, entrée]."""

    def __init__(self, n_in, n_out):
        super().__init__()
        k = n_out ** -0.5
        self.W = nn.Parameter(torch.empty(4, n_out, n_in).uniform_(-k, k))
        self.U = nn.Parameter(torch.empty(4, n_out, n_out).uniform_(-k, k))
        self.b = nn.Parameter(torch.zeros(4, n_out))
        self.b.data[1] = 1.0     # biais de la porte d'oubli

    def forward(self, x, state):
        h, c = state
        pre = torch.einsum("gji,ni->ngj", self.W, x) + torch.einsum("gjk,nk->ngj", self.U, h) + self.b
        i, f, g, o = pre.unbind(1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, 3, 2)
        self.conv1 = nn.Conv2d(32, 32, 3, 2)
        self.conv2 = nn.Conv2d(32, 32, 3, 2)
        self.hid = nn.Linear(512, 128)
        self.rnn = EinsumLSTM(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_values = nn.Linear(128, 2)   # deux critiques, on prend la moyenne

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        for conv in (self.conv0, self.conv1, self.conv2):
            x = F.elu(conv(x))
        x = F.relu(self.hid(x.reshape(x.shape[0], -1)))
        new_state = self.rnn(x, prev_state)
        h = new_state[0]
        return new_state, (self.logits(h), self.state_values(h).mean(dim=1))

    def step(self, prev_state, obs_t):
        obs_t = torch.tensor(np.asarray(obs_t), dtype=torch.float32, device=device)
        with torch.no_grad():
            (h, c), (logits, value) = self.forward([s.to(device) for s in prev_state], obs_t)
        return (h.cpu(), c.cpu()), (logits.cpu(), value.cpu())

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, 128), torch.zeros(batch_size, 128)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1).view(-1).cpu().numpy()


# vérifions contre nn.LSTMCell : mêmes poids, même réponse ?
_ref, _mine = nn.LSTMCell(7, 5), EinsumLSTM(7, 5)
_mine.W.data = _ref.weight_ih.data.view(4, 5, 7).clone(); _mine.U.data = _ref.weight_hh.data.view(4, 5, 5).clone()
_mine.b.data = (_ref.bias_ih + _ref.bias_hh).data.view(4, 5)
_x, _s = torch.randn(3, 7), (torch.randn(3, 5), torch.randn(3, 5))
assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(_ref(_x, _s), _mine(_x, _s)))
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions).to(device)

observation, _ = env.reset()
memory = agent.get_initial_state(1)
new_memory, (logits, state_value) = agent.step(memory, observation[None])
print("logits:", np.round(np.asarray(logits), 3))
print("state value:", np.round(np.asarray(state_value), 3))
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
n_updates = 0

def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    global n_updates
    states = torch.as_tensor(states, dtype=torch.float32, device=device)
    actions = torch.as_tensor(actions, dtype=torch.int64, device=device)
    rewards = torch.as_tensor(rewards, dtype=torch.float32, device=device)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32, device=device)
    rollout_length = rewards.shape[1] - 1

    memory = [part.detach().to(device) for part in prev_memory_states]
    logits, state_values = [], []
    for t in range(rollout_length + 1):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)
        # remise à zéro après la fin d'une partie
        memory = [torch.einsum("nk,n->nk", part, is_not_done[:, t]) for part in memory]

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    logprobas = F.log_softmax(logits, dim=-1)
    probas = F.softmax(logits, dim=-1)
    logprobas_for_actions = torch.einsum("nta,nta->nt", logprobas, to_one_hot(actions, n_actions))

    J_hat = torch.zeros((), device=device)
    value_loss = torch.zeros((), device=device)
    G = is_not_done[:, -1] * state_values[:, -1].detach()
    for t in range(rollout_length - 1, -1, -1):
        G = rewards[:, t] + gamma * is_not_done[:, t] * G
        cible = rewards[:, t] + gamma * is_not_done[:, t] * state_values[:, t + 1].detach()
        erreur = cible - state_values[:, t]
        value_loss = value_loss + torch.einsum("n,n", erreur, erreur) / len(erreur)
        avantage = (G - state_values[:, t]).detach()
        J_hat = J_hat + torch.einsum("n,n", logprobas_for_actions[:, t], avantage) / len(avantage)
    J_hat, value_loss = J_hat / rollout_length, value_loss / rollout_length
    entropy_reg = -torch.einsum("nta,nta->nt", probas, logprobas).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg
    opt.zero_grad()
    loss.backward()
    opt.step()

    n_updates += 1
    if writer is not None and n_updates % 100 == 0:
        writer.add_scalar("entropie", entropy_reg.item(), n_updates)
        writer.add_scalar("perte", loss.item(), n_updates)
    return loss.item()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.AdamW(agent.parameters(), lr=3e-4, weight_decay=1e-4)
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
