# style: match statement for the activation, namedtuple for the terms, decorators, context manager, LambdaLR warm-up stepped inside train_on_rollout
# verdict: right
# note: the learning rate warms up over 200 rollouts from 0.5 % of its size (a scheduler's step after each optimizer step); gradients clipped to norm 1 before the step
# %% keep: setup
# %% keep: imports
# %%
import functools
from collections import namedtuple
from contextlib import contextmanager

ACTIVATION = "silu"
Terms = namedtuple("Terms", "J_hat value_loss entropy_reg")
history_of_terms = []


def activation(name):
    match name:
        case "relu" | "rectifier":
            return nn.ReLU()
        case "elu":
            return nn.ELU()
        case "silu" | "swish":
            return nn.SiLU()
        case _:
            raise ValueError(name)
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
def detached(f):
    """Decorator: NumPy in, no gradients."""
    @functools.wraps(f)
    def wrapper(self, prev_state, obs_t):
        with torch.no_grad():
            return f(self, tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))
    return wrapper


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        convs = []
        for n_in in (obs_shape[0], 32, 32):
            convs += [nn.Conv2d(n_in, 32, 3, 2), activation(ACTIVATION)]
        self.body = nn.Sequential(*convs, nn.Flatten(), nn.Linear(512, 128), activation(ACTIVATION))
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128 + 128, n_actions)       # sees the memory and the screen
        self.state_value = nn.Linear(128 + 128, 1)
        nn.init.zeros_(self.logits.bias)

    def forward(self, prev_state, obs_t):
        x = self.body(10 * obs_t - 3.6)
        new_state = (h, _) = self.rnn(x, prev_state)
        xh = torch.cat((x, h), dim=-1)
        return new_state, (self.logits(xh), self.state_value(xh).view(-1))

    @detached
    def step(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def get_initial_state(self, batch_size):
        return torch.zeros(2, batch_size, self.rnn.hidden_size).unbind(0)

    def sample_actions(self, agent_outputs):
        probas = np.exp(F.log_softmax(agent_outputs[0].double(), -1).numpy())
        edges = probas.cumsum(1)
        edges[:, -1] = 1.0
        return (np.random.rand(len(edges), 1) < edges).argmax(1)
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
@contextmanager
def gradient_step(max_norm=1.0):
    """with gradient_step() as backward: backward(loss)"""
    opt.zero_grad()
    yield torch.Tensor.backward
    nn.utils.clip_grad_norm_(agent.parameters(), max_norm)
    opt.step()
    scheduler.step()


def terms_of_loss(logits, V, a, r, m, gamma):
    T = r.shape[1] - 1
    Vc = V.detach()
    log_pi = F.log_softmax(logits, -1)
    log_pi_a = -F.cross_entropy(logits.flatten(0, 1), a.flatten(), reduction="none").view_as(a)
    G = m[:, T] * Vc[:, T]
    J, L = [], []
    for t in range(T)[::-1]:
        G = r[:, t] + gamma * m[:, t] * G
        J += [(log_pi_a[:, t] * (G - Vc[:, t])).mean()]
        L += [(r[:, t] + gamma * m[:, t] * Vc[:, t + 1] - V[:, t]).pow(2).mean()]
    H = torch.special.entr(log_pi.exp()).sum(-1).mean()
    return Terms(sum(J) / T, sum(L) / T, H)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99, *, keep_terms=True):
    s, r, m = (torch.as_tensor(x, dtype=torch.float32) for x in (states, rewards, is_not_done))
    a = torch.as_tensor(actions, dtype=torch.int64)

    memory, outputs = tuple(x.detach() for x in prev_memory_states), []
    for t in range(s.shape[1]):
        memory, out = agent(memory, s[:, t])
        outputs.append(out)
        memory = tuple(x.masked_fill(m[:, t, None] == 0, 0.0) for x in memory)
    logits, V = (torch.stack(part, 1) for part in zip(*outputs))

    terms = terms_of_loss(logits, V, a, r, m, gamma)
    loss = -terms.J_hat + value_loss_weight * terms.value_loss - entropy_weight * terms.entropy_reg
    with gradient_step() as backward:
        backward(loss)
    if keep_terms:
        history_of_terms.append(Terms(*(x.item() for x in terms)))
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.RAdam(agent.parameters(), lr=5e-4)
scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda k: min(1.0, (k + 1) / 200))
# %% keep: optimizer-check
# %% keep: first-step
# %%
history_of_terms[-1]
# %% keep: training-settings
# %%
learning_rate = None  # the scheduler sets it
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
