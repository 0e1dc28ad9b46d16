# style: C++ person: own LSTM cell, double loop over games and ticks with plain floats, autograd.grad, a Rollout struct
# verdict: right
# loses:
# note: constants (returns, V_next, advantage) are Python floats, so no gradient can flow through them; sums over games and ticks are divided by nGames * T
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class LstmCell(nn.Module):
    """My own cell. One GEMM, four gates."""

    def __init__(self, inSize, hiddenSize):
        super().__init__()
        self.hidden_size = hiddenSize
        bound = hiddenSize**-0.5
        self.weight = nn.Parameter(torch.empty(inSize + hiddenSize, 4 * hiddenSize).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4 * hiddenSize))

    def forward(self, x, state):
        h, c = state
        gates = torch.addmm(self.bias, torch.cat((x, h), dim=1), self.weight)
        i, f, g, o = gates.chunk(4, dim=1)
        c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, c


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=3, stride=2)
        self.conv1 = nn.Conv2d(32, 32, kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(32, 32, kernel_size=3, stride=2)
        self.hid = nn.Linear(512, 128)
        self.rnn = LstmCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        x = F.elu(self.conv0(x))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = F.elu(self.hid(torch.flatten(x, 1)))
        h, c = self.rnn(x, prev_state)
        return (h, c), (self.logits(h), self.state_value(h)[..., 0])

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
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
from dataclasses import dataclass


@dataclass
class Rollout:  # struct Rollout { ... };
    states: torch.Tensor
    actions: list
    rewards: list
    notDone: list
    nGames: int
    T: int


def makeRollout(states, actions, rewards, is_not_done):
    rewards = np.asarray(rewards)
    return Rollout(
        states=torch.as_tensor(states, dtype=torch.float32),
        actions=np.asarray(actions).astype(int).tolist(),
        rewards=rewards.astype(float).tolist(),
        notDone=np.asarray(is_not_done).astype(float).tolist(),
        nGames=rewards.shape[0],
        T=rewards.shape[1] - 1,
    )


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    ro = makeRollout(states, actions, rewards, is_not_done)
    h, c = prev_memory_states
    h, c = h.detach(), c.detach()

    logPis, values = [], []
    for t in range(ro.T + 1):
        (h, c), (logits, v) = agent((h, c), ro.states[:, t])
        logPis.append(F.log_softmax(logits, dim=1))
        values.append(v)
        # memory is wiped AFTER a reset tick
        alive = torch.tensor([[ro.notDone[g][t]] for g in range(ro.nGames)], dtype=torch.float32)
        h = h * alive
        c = c * alive

    jHat = torch.zeros(())
    valueLoss = torch.zeros(())
    entropy = torch.zeros(())
    for g in range(ro.nGames):
        const = [float(values[t][g].detach()) for t in range(ro.T + 1)]
        ret = ro.notDone[g][ro.T] * const[ro.T]
        for t in range(ro.T - 1, -1, -1):
            r, m = ro.rewards[g][t], ro.notDone[g][t]
            ret = r + gamma * m * ret
            target = r + gamma * m * const[t + 1]
            jHat = jHat + logPis[t][g, ro.actions[g][t]] * (ret - const[t])
            valueLoss = valueLoss + (values[t][g] - target) ** 2
        for t in range(ro.T + 1):
            lp = logPis[t][g]
            entropy = entropy - torch.dot(lp.exp(), lp)

    nSamples = ro.nGames * ro.T
    jHat = jHat / nSamples
    valueLoss = valueLoss / nSamples
    entropy = entropy / (ro.nGames * (ro.T + 1))
    loss = -jHat + value_loss_weight * valueLoss - entropy_weight * entropy

    params = list(agent.parameters())
    for p, grad in zip(params, torch.autograd.grad(loss, params)):
        p.grad = grad
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=1e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: record
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
