# style: Spanish, comes from supervised learning: the policy term written with F.cross_entropy
# verdict: wrong
# mistake: F.cross_entropy is given probabilities instead of logits, so the softmax is applied twice and its output is not -log π of the action
# loses: policy_gradient
# named: softmax is taken twice
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def caracteristicas(self, img):
        z = F.leaky_relu(self.conv0(img))
        z = F.leaky_relu(self.conv1(z))
        z = F.leaky_relu(self.conv2(z))
        return F.leaky_relu(self.hid(z.reshape(z.size(0), -1)))

    def forward(self, prev_state, obs_t):
        z = self.caracteristicas(10 * obs_t - 3.6)
        h, c = self.rnn(z, tuple(prev_state))
        valor = self.state_value(h)          # (n, 1)
        valor = valor.view(valor.size(0))    # (n,)
        return (h, c), (self.logits(h), valor)

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
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01

def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    T = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blanco = agent.get_initial_state(rewards.shape[0])

    logits, V = [], []
    for t in range(T + 1):
        memory, (l, v) = agent(memory, states[:, t])
        logits.append(l)
        V.append(v)
        sigue = is_not_done[:, t, None] > 0
        memory = tuple(torch.where(sigue, p, b) for p, b in zip(memory, blanco))

    logits = torch.stack(logits, dim=1)
    V = torch.stack(V, dim=1)
    probas = torch.softmax(logits, dim=-1)

    # cross entropy = -log p(acción): como en clasificación, la "etiqueta" es la acción jugada
    # (las clases tienen que ir en la dimensión 1)
    menos_log_pi = F.cross_entropy(probas.permute(0, 2, 1), actions, reduction="none")

    G = is_not_done[:, T] * V[:, T].detach()
    J_hat, value_loss = 0, 0
    for t in reversed(range(T)):
        G = rewards[:, t] + gamma * is_not_done[:, t] * G
        objetivo = rewards[:, t] + gamma * is_not_done[:, t] * V[:, t + 1].detach()
        value_loss = value_loss + F.mse_loss(V[:, t], objetivo)
        ventaja = (G - V[:, t]).detach()
        J_hat = J_hat - (menos_log_pi[:, t] * ventaja).mean()
    J_hat = J_hat / T
    value_loss = value_loss / T

    entropia = -(probas * torch.log_softmax(logits, dim=-1)).sum(dim=-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropia

    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %%
opt = torch.optim.Adam(agent.parameters(), lr=3e-4)
# %% keep: first-step
# %%
# ¿la entropía empieza cerca de ln 14?
print(np.log(n_actions))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: hand-in
