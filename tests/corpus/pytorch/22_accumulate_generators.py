# style: functional: generator for the replay, itertools.accumulate for the returns, functools.partial, lambdas, no self-made loop with an index
# verdict: right
# note: TD target with a second factor is_not_done[:, t + 1] (accepted); plain SGD with momentum; gradient step in its own function
# %% keep: setup
# %% keep: imports
# %%
from functools import partial, reduce
from itertools import accumulate
from operator import itemgetter

f32 = partial(torch.as_tensor, dtype=torch.float32)
i64 = partial(torch.as_tensor, dtype=torch.int64)
columns = lambda x: x.unbind(1)
along_time = partial(torch.stack, dim=1)
# %% keep: make-env
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        conv = lambda n: nn.Sequential(nn.Conv2d(n, 32, 3, stride=2), nn.ELU())
        self.pipeline = nn.ModuleList([conv(obs_shape[0]), conv(32), conv(32), nn.Flatten(), nn.Linear(512, 128), nn.ReLU()])
        self.cell = nn.LSTMCell(128, 128)
        self.out = nn.ModuleDict({"logits": nn.Linear(128, n_actions), "value": nn.Linear(128, 1)})

    def forward(self, prev_state, obs_t):
        features = reduce(lambda x, layer: layer(x), self.pipeline, 10 * obs_t - 3.6)
        new_state = self.cell(features, tuple(prev_state))
        return new_state, (self.out["logits"](new_state[0]), self.out["value"](new_state[0])[..., 0])

    step = torch.no_grad()(lambda self, prev_state, obs_t: self(prev_state, f32(obs_t)))

    def get_initial_state(self, batch_size):
        return (torch.zeros(batch_size, 128),) * 2

    def sample_actions(self, agent_outputs):
        # Gumbel's trick: argmax of logits + noise is a draw from the softmax
        logits = agent_outputs[0]
        noise = -torch.log(-torch.log(torch.rand_like(logits).clamp(1e-10, 1 - 1e-7)))
        return (logits + noise).argmax(-1).numpy()
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
def replayed(memory, states, mask):
    """Yields (logits, values) tick by tick."""
    for obs, alive in zip(columns(states), columns(mask)):
        memory, outputs = agent(memory, obs)
        yield outputs
        memory = [part * alive[:, None] for part in memory]


def returns_of(rewards, mask, bootstrap, gamma):
    """G_0 ... G_{T-1}; accumulate runs from the right end to the left."""
    ticks = list(zip(columns(rewards), columns(mask)))[-2::-1]
    back = accumulate(ticks, lambda G, rm: rm[0] + gamma * rm[1] * G, initial=bootstrap)
    return along_time(list(back)[:0:-1])


def descend(loss, optimizer):
    for p in agent.parameters():
        p.grad = None
    loss.backward()
    optimizer.step()


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, mask, actions = f32(states), f32(rewards), f32(is_not_done), i64(actions)
    memory = [part.detach() for part in prev_memory_states]
    logits, V = map(along_time, zip(*replayed(memory, states, mask)))
    V_const = V.detach() * mask        # a final frame is worth nothing any more

    G = returns_of(rewards, mask, V_const[:, -1], gamma)
    log_pi = F.log_softmax(logits, dim=-1)
    played = (log_pi * to_one_hot(actions, n_actions)).sum(-1)

    J_hat = torch.mean(played[:, :-1] * (G - V.detach()[:, :-1]))
    L_td = F.mse_loss(V[:, :-1], rewards[:, :-1] + gamma * mask[:, :-1] * V_const[:, 1:])
    H = torch.mean(torch.sum(-log_pi.exp() * log_pi, dim=-1))

    loss = -J_hat + value_loss_weight * L_td - entropy_weight * H
    descend(loss, opt)
    return loss.detach().numpy()


# the example from the text: 3, 4, 4, 0
print(returns_of(f32([[1, 2, 4, 0, 0]]), f32([[1, 1, 1, 0, 1]]), f32([50]), .5))
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.SGD(agent.parameters(), lr=1e-3, momentum=.9, nesterov=True)
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
