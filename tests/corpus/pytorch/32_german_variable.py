# style: German comments, old PyTorch idiom (Variable, .data, torch.from_numpy, super(Class, self)), state carried as two names h and c
# verdict: wrong
# mistake: loss: at every tick the memory is put into a fresh Variable made from .data, so no gradient travels from tick to tick
# loses: memory_gradient
# named: none does
# note: everything else is right; the old idiom repackage_hidden is copied into the inner loop instead of before it
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Aufgabe: Agent
from torch.autograd import Variable


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super(SimpleRecurrentAgent, self).__init__()
        # Faltungen: 42 -> 20 -> 9 -> 4
        self.conv0 = nn.Conv2d(obs_shape[0], 32, 3, 2)
        self.conv1 = nn.Conv2d(32, 32, 3, 2)
        self.conv2 = nn.Conv2d(32, 32, 3, 2)
        self.hid = nn.Linear(32 * 4 * 4, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        x = F.relu(self.conv0(x))
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = x.view(x.size(0), -1)  # flach machen
        x = F.relu(self.hid(x))
        hx, cx = self.rnn(x, (prev_state[0], prev_state[1]))
        # Achtung: der Wert muss die Form (n,) haben, nicht (n, 1)!
        return (hx, cx), (self.logits(hx), self.state_value(hx)[:, 0])

    def step(self, prev_state, obs_t):
        # fruehere Versionen: volatile=True, heute no_grad
        with torch.no_grad():
            obs_t = torch.from_numpy(np.ascontiguousarray(obs_t, dtype=np.float32))
            return self.forward(tuple(prev_state), Variable(obs_t))

    def get_initial_state(self, batch_size):
        # leeres Gedaechtnis
        return (
            Variable(torch.zeros(batch_size, self.rnn.hidden_size)),
            Variable(torch.zeros(batch_size, self.rnn.hidden_size)),
        )

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return F.softmax(logits, dim=1).multinomial(1).data.numpy()[:, 0]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Aufgabe: Verlustfunktion
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = Variable(torch.from_numpy(np.asarray(states, dtype=np.float32)))
    actions = Variable(torch.from_numpy(np.asarray(actions, dtype=np.int64)))
    rewards = torch.from_numpy(np.asarray(rewards, dtype=np.float32))
    mask = torch.from_numpy(np.asarray(is_not_done, dtype=np.float32))
    T = rewards.size(1) - 1  # die letzte Spalte wird nicht gespielt

    h, c = prev_memory_states
    logits, values = [], []
    for t in range(T + 1):
        # Gedaechtnis vom alten Graphen loesen ("repackage_hidden")
        h = Variable(h.data)
        c = Variable(c.data)
        (h, c), (l, v) = agent((h, c), states[:, t])
        logits.append(l)
        values.append(v)
        # Spiel vorbei -> Gedaechtnis loeschen
        m = Variable(mask[:, t].unsqueeze(1).expand_as(h))
        h = h * m
        c = c * m

    logits = torch.stack(logits, 1)
    values = torch.stack(values, 1)
    probs = F.softmax(logits, dim=2)
    log_probs = F.log_softmax(logits, dim=2)
    log_pi = log_probs.gather(2, actions.unsqueeze(2)).squeeze(2)

    # Entropie: Mittel ueber Spiele und Zeit
    entropy = -(log_probs * probs).sum(2).mean()

    policy_loss = 0
    value_loss = 0
    R = mask[:, -1] * values[:, -1].data
    for t in reversed(range(T)):
        # Rueckgabe rueckwaerts
        R = rewards[:, t] + gamma * mask[:, t] * R
        # kein Gradient durch den Vorteil: .data
        advantage = R - values[:, t].data
        policy_loss = policy_loss - (log_pi[:, t] * Variable(advantage)).mean()
        # TD-Fehler, das Ziel bleibt fest
        ziel = Variable(rewards[:, t] + gamma * mask[:, t] * values[:, t + 1].data)
        value_loss = value_loss + (ziel - values[:, t]).pow(2).mean()

    loss = policy_loss / T + value_loss_weight * value_loss / T - entropy_weight * entropy

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.data.numpy()
# %% keep: loss-check
# %%
# Aufgabe: Optimierer
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
