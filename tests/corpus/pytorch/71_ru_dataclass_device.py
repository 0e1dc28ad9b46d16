# style: Russian, dataclass config, .to(device), loss split into small functions, clipping with clip_grad_norm_
# verdict: right
# loses:
# note: the gradient is clipped at a norm of 5 before the step, which the text allows ("clip them harder")
# %% keep: setup
# %% keep: imports
# %%
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    n_games: int = 5
    gamma: float = 0.99
    lr: float = 1e-4
    clip: float = 5.0
    units: int = 128
    device: str = "cpu"  # GPU тут не нужен, сеть маленькая


cfg = Config()
device = torch.device(cfg.device)
print(torch.__version__, device)
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, units=cfg.units):
        super().__init__()
        ch = obs_shape[0]
        self.conv0 = nn.Conv2d(ch, 32, 3, stride=2)
        self.conv1 = nn.Conv2d(32, 32, 3, stride=2)
        self.conv2 = nn.Conv2d(32, 32, 3, stride=2)
        self.hid = nn.Linear(512, units)
        self.rnn = nn.LSTMCell(units, units)
        self.logits = nn.Linear(units, n_actions)
        self.state_value = nn.Linear(units, 1)

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        x = F.elu(self.conv0(x))   # 20x20
        x = F.elu(self.conv1(x))   # 9x9
        x = F.elu(self.conv2(x))   # 4x4
        x = F.elu(self.hid(torch.flatten(x, 1)))
        new_state = self.rnn(x, tuple(prev_state))
        out, _ = new_state
        return new_state, (self.logits(out), self.state_value(out).squeeze(dim=-1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        obs_t = torch.as_tensor(obs_t, dtype=torch.float32, device=device)
        return self.forward(tuple(prev_state), obs_t)

    def get_initial_state(self, batch_size):
        zeros = lambda: torch.zeros(batch_size, self.rnn.hidden_size, device=device)
        return zeros(), zeros()

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].cpu().numpy()
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions).to(device)
agent
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %%
n_parallel_games, gamma = cfg.n_games, cfg.gamma
pool = EnvPool(agent, make_env, n_parallel_games, vectorization_mode="ale_threads")
# %% keep: interact
# %% keep: select
# %%
def проиграть_заново(obs, mask, memory):
    """Прогоняет роллаут через сеть с градиентами -> logits [n, T+1, A], V [n, T+1]."""
    blank = agent.get_initial_state(obs.shape[0])
    logits, values = [], []
    for t in range(obs.shape[1]):
        memory, (l, v) = agent(memory, obs[:, t])
        logits.append(l)
        values.append(v)
        жив = mask[:, t].unsqueeze(-1) > 0
        memory = tuple(torch.where(жив, m, b) for m, b in zip(memory, blank))
    return torch.stack(logits, 1), torch.stack(values, 1)


@torch.no_grad()
def возвраты(rew, mask, values, gamma):
    """G_0..G_{T-1}; за пределами роллаута верим критику."""
    G = mask[:, -1] * values[:, -1]
    out = []
    for t in range(rew.shape[1] - 2, -1, -1):
        G = rew[:, t] + gamma * mask[:, t] * G
        out.append(G)
    return torch.stack(out[::-1], 1)


def шаг(loss):
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), cfg.clip)
    opt.step()
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    f32 = dict(dtype=torch.float32, device=device)
    obs = torch.as_tensor(states, **f32)
    act = torch.as_tensor(actions, dtype=torch.int64, device=device)
    rew = torch.as_tensor(rewards, **f32)
    mask = torch.as_tensor(is_not_done, **f32)

    memory = tuple(m.detach() for m in prev_memory_states)  # дальше в прошлое не идём
    logits, V = проиграть_заново(obs, mask, memory)

    # критик
    цель = rew[:, :-1] + gamma * mask[:, :-1] * V[:, 1:].detach()
    value_loss = ((цель - V[:, :-1]) ** 2).mean()

    # актёр
    A = возвраты(rew, mask, V, gamma) - V[:, :-1].detach()
    logp = F.log_softmax(logits, dim=-1)
    logp_a = (logp * to_one_hot(act, n_actions)).sum(-1)
    J_hat = (logp_a[:, :-1] * A).mean()

    # энтропия по всем столбцам
    H = (-logp.exp() * logp).sum(-1).mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * H
    шаг(loss)
    return loss.detach().cpu().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=cfg.lr)
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
