# style: torch.func person: functional_call, grad_and_value, vmap over the games; gradients put into p.grad by hand
# verdict: right
# loses:
# note: the loss of one game is written for 1-d arrays and vmapped; its mean over games is the mean the text asks for. p.grad is overwritten at each call, so nothing accumulates.
# %% keep: setup
# %% keep: imports
# %%
from torch.func import functional_call, grad_and_value, vmap

torch.manual_seed(0)
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent(nn.Module):
    """A pure function of (params, memory, picture), dressed up as an nn.Module."""

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

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        for conv in (self.conv0, self.conv1, self.conv2):
            x = F.elu(conv(x))
        x = F.elu(self.hid(self.flatten(x)))
        h, c = self.rnn(x, tuple(prev_state))
        return (h, c), (self.logits(h), self.state_value(h).squeeze(-1))

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
# %% keep: select
# %%
def unroll(params, states, mask, memory):
    """params -> (logits [n, T+1, A], values [n, T+1])"""
    outs = []
    for obs_t, m_t in zip(states.unbind(1), mask.unbind(1)):
        memory, out = functional_call(agent, params, (memory, obs_t))
        # a blank memory is zeros, so wiping is multiplying
        memory = tuple(part * m_t[:, None] for part in memory)
        outs.append(out)
    logits, values = zip(*outs)
    return torch.stack(logits, 1), torch.stack(values, 1)


def one_game(logits, values, actions, rewards, mask, gamma):
    """The three terms for ONE game; everything is [T+1] or [T+1, A]."""
    T = rewards.shape[0] - 1
    const = values.detach()
    logpi = torch.log_softmax(logits, dim=-1)
    played = torch.gather(logpi, -1, actions[:, None])[:, 0]

    G = mask[T] * const[T]
    J, td = 0.0, 0.0
    for t in reversed(range(T)):
        G = rewards[t] + gamma * mask[t] * G
        J = J + played[t] * (G - const[t])
        td = td + (rewards[t] + gamma * mask[t] * const[t + 1] - values[t]) ** 2
    H = -(logpi.exp() * logpi).sum(-1).mean()
    return J / T, td / T, H


def loss_of(params, states, actions, rewards, mask, memory, gamma):
    logits, values = unroll(params, states, mask, memory)
    terms = vmap(one_game, in_dims=(0, 0, 0, 0, 0, None))(
        logits, values, actions, rewards, mask, gamma
    )
    J, td, H = (term.mean() for term in terms)
    return -J + value_loss_weight * td - entropy_weight * H


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    mask = torch.as_tensor(is_not_done, dtype=torch.float32)
    memory = tuple(part.detach() for part in prev_memory_states)

    params = {name: p.detach() for name, p in agent.named_parameters()}
    grads, loss = grad_and_value(loss_of)(params, states, actions, rewards, mask, memory, gamma)

    for name, p in agent.named_parameters():
        p.grad = grads[name]  # assigned, not added: no zero_grad needed
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5)
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
