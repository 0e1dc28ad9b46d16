# style: convolutions over all ticks at once, only the cell in a loop; torch.distributions.Categorical, logging calls, static methods, cells merged
# verdict: right
# note: train_on_rollout calls agent.see / agent.cell / agent.heads instead of agent(...); forward is made of the same three. In-place clipping by value in the step
# %% keep: setup
# %% keep: imports
# %%
import logging
from torch.distributions import Categorical

log = logging.getLogger("kungfu")
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    units = 160

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        c = obs_shape[0]
        self.see = nn.Sequential(
            nn.Conv2d(c, 32, 3, stride=2), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, stride=2), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 32, 3, stride=2), nn.LeakyReLU(0.1),
            nn.Flatten(), nn.Linear(512, self.units), nn.Tanh(),
        )
        self.cell = nn.LSTMCell(self.units, self.units)
        self.pi = nn.Sequential(nn.Linear(self.units, 64), nn.Tanh(), nn.Linear(64, n_actions))
        self.v = nn.Sequential(nn.Linear(self.units, 64), nn.Tanh(), nn.Linear(64, 1))

    @staticmethod
    def norm(obs):
        return obs.sub(0.36).mul(10)

    def heads(self, h):
        return self.pi(h), self.v(h).squeeze(-1)

    def forward(self, prev_state, obs_t):
        h, c = self.cell(self.see(self.norm(obs_t)), tuple(prev_state))
        return (h, c), self.heads(h)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(prev_state, torch.from_numpy(np.asarray(obs_t, np.float32)))

    def get_initial_state(self, batch_size):
        return torch.zeros(batch_size, self.units), torch.zeros(batch_size, self.units)

    def sample_actions(self, agent_outputs):
        return Categorical(logits=agent_outputs[0]).sample().numpy()


agent = SimpleRecurrentAgent(obs_shape, n_actions)
log.info("%d parameters", sum(p.numel() for p in agent.parameters()))
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
def unroll(obs, mask, memory):
    n, T1 = obs.shape[:2]
    seen = agent.see(agent.norm(obs.flatten(0, 1))).unflatten(0, (n, T1))     # one big batch: 3x faster
    hs = []
    h, c = memory
    for t in range(T1):
        h, c = agent.cell(seen[:, t], (h, c))
        hs.append(h)
        alive = mask[:, t, None]
        h, c = h * alive, c * alive
    return agent.heads(torch.stack(hs, 1))                                    # [n, T1, A], [n, T1]


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs = torch.as_tensor(states, dtype=torch.float32)
    act = torch.as_tensor(actions, dtype=torch.int64)
    rew = torch.as_tensor(rewards, dtype=torch.float32)
    mask = torch.as_tensor(is_not_done, dtype=torch.float32)
    T = rew.shape[1] - 1

    logits, V = unroll(obs, mask, [m.detach() for m in prev_memory_states])
    dist = Categorical(logits=logits)
    Vd = V.detach()

    G = torch.empty(len(rew), T)
    nxt = mask[:, T] * Vd[:, T]
    for t in range(T)[::-1]:
        nxt = G[:, t] = rew[:, t] + gamma * mask[:, t] * nxt

    adv = G - Vd[:, :T]
    # a reset tick's action is ignored by the game: no credit for it
    J_hat = (dist.log_prob(act)[:, :T] * adv * mask[:, :T]).mean()
    value_loss = (rew[:, :T] + gamma * mask[:, :T] * Vd[:, 1:] - V[:, :T]).square().mean()
    entropy_reg = dist.entropy()[:, :T].mean()
    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(agent.parameters(), 10.0)
    opt.step()
    log.debug("J %.4f  V %.4f  H %.4f", J_hat, value_loss, entropy_reg)
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5, amsgrad=True)
# %% keep: optimizer-check
# %% keep: first-step
# %%
%timeit -n 3 -r 1 train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, memory, gamma)
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
