# style: the agent is put together from mixins; heads are raw weights in an nn.ParameterList; weight-init loop; recursive returns; the gradient step is a context manager
# verdict: right
# mistake:
# loses:
# note: heads use F.linear with own parameters (no layer called logits); returns recurse from the right end and come back as a list
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SeesMixin:
    """Turns a picture into a vector."""

    def build_eyes(self, frames, size=128):
        channels = [frames, 32, 32, 32]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, stride=2) for a, b in zip(channels, channels[1:])
        )
        self.hid = nn.Linear(512, size)

    def see(self, picture):
        for conv in self.convs:
            picture = F.elu(conv(picture))
        return F.elu(self.hid(torch.flatten(picture, start_dim=1)))


class RemembersMixin:
    """Has an LSTM cell and knows what a blank memory looks like."""

    def build_memory(self, inputs=128, units=128):
        self.rnn = nn.LSTMCell(inputs, units)

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        return tuple(torch.zeros(batch_size, self.rnn.hidden_size) for _ in ("h", "c"))


class DecidesMixin:
    """Two linear heads, kept as bare weights: [W_actor, b_actor, W_critic, b_critic]."""

    def build_heads(self, n_actions, units=128):
        shapes = [(n_actions, units), (n_actions,), (1, units), (1,)]
        self.heads = nn.ParameterList([nn.Parameter(torch.empty(shape)) for shape in shapes])
        for weight in self.heads:
            if weight.ndim == 2:
                nn.init.xavier_uniform_(weight, gain=0.1)
            else:
                nn.init.zeros_(weight)

    def decide(self, h):
        W_a, b_a, W_v, b_v = self.heads
        return F.linear(h, W_a, b_a), F.linear(h, W_v, b_v).sum(dim=-1)  # a sum of one number: (n,)

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()


class SimpleRecurrentAgent(SeesMixin, RemembersMixin, DecidesMixin, nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.build_eyes(obs_shape[0])
        self.build_memory()
        self.build_heads(n_actions)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        new_state = self.rnn(self.see(obs_t), prev_state)
        return new_state, self.decide(new_state[0])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))
# %%
# Are the bare weights registered? (They were not when I had them in a plain list.)
[(name, tuple(p.shape)) for name, p in SimpleRecurrentAgent(obs_shape, n_actions).named_parameters()]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
from contextlib import contextmanager


@contextmanager
def one_step():
    """Clears old gradients on the way in, moves the weights on the way out."""
    opt.zero_grad()
    yield
    opt.step()


def returns_from(t, rewards, goes_on, bootstrap, gamma):
    """[G_t, G_{t+1}, ..., G_T] as a list; G_T is the bootstrap value."""
    if t == rewards.shape[1] - 1:
        return [bootstrap]
    later = returns_from(t + 1, rewards, goes_on, bootstrap, gamma)
    return [rewards[:, t] + gamma * goes_on[:, t] * later[0], *later]
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout; returns the loss, a NumPy number."""
    states, rewards, goes_on = (
        torch.as_tensor(x, dtype=torch.float32) for x in (states, rewards, is_not_done)
    )
    actions = torch.as_tensor(actions, dtype=torch.int64)

    def play(memory, t=0):
        """All (logits, values) from tick t on, recursively."""
        if t == states.shape[1]:
            return []
        memory, outputs = agent(memory, states[:, t])
        h, c = (part.masked_fill(goes_on[:, t, None] == 0, 0.0) for part in memory)
        return [outputs, *play((h, c), t + 1)]

    with one_step():
        logits, V = map(torch.stack, zip(*play(tuple(p.detach() for p in prev_memory_states))))
        logits, V = logits.swapaxes(0, 1), V.swapaxes(0, 1)  # games first again
        logpi = F.log_softmax(logits, dim=-1)
        logpi_a = (to_one_hot(actions, n_actions) * logpi).sum(dim=-1)

        V_const = V.detach()
        *G, _ = returns_from(0, rewards, goes_on, goes_on[:, -1] * V_const[:, -1], gamma)
        advantages = torch.stack(G, dim=1) - V_const[:, :-1]
        J_hat = torch.mean(logpi_a[:, :-1] * advantages)

        td_errors = rewards[:, :-1] + gamma * goes_on[:, :-1] * V_const[:, 1:] - V[:, :-1]
        value_loss = torch.mean(td_errors**2)

        entropy_reg = torch.special.entr(logpi.exp()).sum(dim=-1).mean()

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg
        loss.backward()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.NAdam(agent.parameters(), lr=1e-4)
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
