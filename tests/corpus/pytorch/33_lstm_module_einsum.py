# style: nn.LSTM (the sequence module) run for a single step; einsum everywhere in place of sums and products; torch.distributions for sampling
# verdict: right
# mistake:
# loses:
# note: memory stays [n, units] for everybody outside, the layer axis of nn.LSTM is added and taken off inside; value is an einsum with a weight vector from a Linear without using its call
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
# I could not get LSTMCell to be as fast as LSTM on my laptop, so: nn.LSTM with a sequence of length 1.
# nn.LSTM wants  input [time, n, features],  h and c [layers, n, units].
from torch.distributions import Categorical


class SimpleRecurrentAgent(nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        f = obs_shape[0]
        self.see = nn.Sequential(
            nn.Conv2d(f, 32, 3, stride=2),
            nn.ELU(),
            nn.Conv2d(32, 32, 3, stride=2),
            nn.ELU(),
            nn.Conv2d(32, 32, 3, stride=2),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(512, 128),
            nn.ELU(),
        )
        self.rnn = nn.LSTM(input_size=128, hidden_size=128, num_layers=1)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        x = self.see(10 * obs_t - 3.6)
        h, c = prev_state
        out, (h, c) = self.rnn(x[None], (h[None].contiguous(), c[None].contiguous()))
        out, h, c = out[0], h[0], c[0]  # one tick, one layer
        # out and h are the same numbers
        logits = torch.einsum("nu,au->na", out, self.logits.weight) + self.logits.bias
        value = torch.einsum("nu,u->n", out, self.state_value.weight[0]) + self.state_value.bias
        return (h, c), (logits, value)

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
        return Categorical(logits=logits).sample().numpy()
# %%
# does the memory keep its shape?
_a = SimpleRecurrentAgent(obs_shape, n_actions)
_m, (_l, _v) = _a.step(_a.get_initial_state(3), np.zeros((3, *obs_shape), "float32"))
print([tuple(p.shape) for p in _m], tuple(_l.shape), tuple(_v.shape))
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
# letters: n = games, s = all columns (T + 1), t = columns that were acted on (T), a = actions
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout; returns the loss, a NumPy number."""
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    n, T = rewards.shape[0], rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    logits, values = [], []
    for t in range(T + 1):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        values.append(values_t)
        memory = tuple(torch.einsum("nu,n->nu", part, is_not_done[:, t]) for part in memory)
    logits = torch.stack(logits, 1)
    values = torch.stack(values, 1)

    logprobas = F.log_softmax(logits, dim=-1)
    probas = logprobas.exp()
    logp = torch.einsum("nsa,nsa->ns", logprobas, to_one_hot(actions, n_actions))

    with torch.no_grad():
        targets = rewards[:, :T] + gamma * torch.einsum("nt,nt->nt", is_not_done[:, :T], values[:, 1:])
        G = torch.empty(n, T + 1)
        G[:, T] = is_not_done[:, T] * values[:, T]
        for t in range(T - 1, -1, -1):
            G[:, t] = rewards[:, t] + gamma * is_not_done[:, t] * G[:, t + 1]
        A = G[:, :T] - values[:, :T]

    td = targets - values[:, :T]
    J_hat = torch.einsum("nt,nt->", logp[:, :T], A) / (n * T)
    value_loss = torch.einsum("nt,nt->", td, td) / (n * T)
    entropy_reg = -torch.einsum("nsa,nsa->", probas, logprobas) / (n * (T + 1))

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.RMSprop(agent.parameters(), lr=1e-4, alpha=0.99, eps=1e-5)
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
