# style: JAX-minded: scan, pure loss_fn(params, batch) with functional_call, torch.func.grad_and_value, gradients assigned to p.grad instead of backward
# verdict: right
# loses:
# note: p.grad is assigned, not added to, so no zero_grad is needed; lax.scan is imitated with a carry; the reset is inside the scan body
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """Parameters live here, the maths is stateless: carry, x -> carry, y."""

    def __init__(self, obs_shape, n_actions, width=128):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, 3, 2)
        self.conv1 = nn.Conv2d(32, 32, 3, 2)
        self.conv2 = nn.Conv2d(32, 32, 3, 2)
        self.hid = nn.Linear(512, width)
        self.rnn = nn.LSTMCell(width, width)
        self.logits = nn.Linear(width, n_actions)
        self.state_value = nn.Linear(width, 1)

    def encode(self, obs):
        x = 10 * obs - 3.6
        for layer in (self.conv0, self.conv1, self.conv2):
            x = F.elu(layer(x))
        return F.elu(self.hid(x.reshape(x.shape[0], -1)))

    def decode(self, h):
        return self.logits(h), self.state_value(h).squeeze(1)

    def forward(self, prev_state, obs_t):
        carry = self.rnn(self.encode(obs_t), tuple(prev_state))
        return carry, self.decode(carry[0])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self(prev_state, torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        zeros = torch.zeros(batch_size, self.rnn.hidden_size)
        return zeros, zeros.clone()

    def sample_actions(self, agent_outputs):
        # Gumbel-max, the way jax.random.categorical does it
        logits, _ = agent_outputs
        gumbel = -torch.log(-torch.log(torch.rand_like(logits).clamp(1e-9, 1 - 1e-7)))
        return (logits + gumbel).argmax(dim=-1).numpy()
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
from typing import NamedTuple

from torch.func import functional_call, grad_and_value


class Batch(NamedTuple):
    """Time major, [T + 1, n, ...]."""

    obs: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    mask: torch.Tensor


def scan(f, carry, xs, reverse=False):
    """jax.lax.scan, slow but honest."""
    xs = list(zip(*xs))
    ys = []
    for x in reversed(xs) if reverse else xs:
        carry, y = f(carry, x)
        ys.append(y)
    return carry, ys[::-1] if reverse else ys


def loss_fn(params, buffers, carry0, batch, gamma, c_value, c_entropy):
    """params -> loss. No side effects."""

    def body(carry, x):
        obs, mask = x
        carry, y = functional_call(agent, (params, buffers), (carry, obs))
        return tuple(mask[:, None] * part for part in carry), y

    _, ys = scan(body, carry0, (batch.obs, batch.mask))
    logits, values = map(torch.stack, zip(*ys))
    frozen = values.detach()
    logp = torch.log_softmax(logits, dim=-1)

    now = slice(None, -1)
    r, m = batch.reward[now], batch.mask[now]

    def discount(g, x):
        r_t, m_t = x
        g = r_t + gamma * m_t * g
        return g, g

    _, returns = scan(discount, batch.mask[-1] * frozen[-1], (r, m), reverse=True)
    returns = torch.stack(returns)

    log_pi = torch.take_along_dim(logp, batch.action[..., None], dim=-1)[..., 0]
    j = ((returns - frozen[now]) * log_pi[now]).mean()
    td = r + gamma * m * frozen[1:] - values[now]
    h = -(logp.exp() * logp).sum(-1).mean()
    return c_value * (td * td).mean() - j - c_entropy * h


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    f32 = dict(dtype=torch.float32)
    batch = Batch(
        torch.as_tensor(states, **f32).transpose(0, 1),
        torch.as_tensor(actions, dtype=torch.int64).transpose(0, 1),
        torch.as_tensor(rewards, **f32).transpose(0, 1),
        torch.as_tensor(is_not_done, **f32).transpose(0, 1),
    )
    params = {k: p.detach() for k, p in agent.named_parameters()}
    buffers = dict(agent.named_buffers())
    carry0 = tuple(part.detach() for part in prev_memory_states)

    grads, loss = grad_and_value(loss_fn)(
        params, buffers, carry0, batch, gamma, value_loss_weight, entropy_weight
    )

    # the only impure lines
    for name, p in agent.named_parameters():
        p.grad = grads[name].detach().clone()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.AdamW(agent.parameters(), lr=3e-4, weight_decay=0.0)
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
