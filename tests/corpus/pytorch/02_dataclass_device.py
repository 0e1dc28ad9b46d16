# style: frozen dataclass configuration, `device`, torch.distributions.Categorical, vectorised loss, AdamW with parameter groups and gradient clipping
# verdict: right
# note: every Tensor lives on `device` (CUDA if there is one); entropy comes from Categorical and leaves out the dummy last column; the LSTM's forget gate starts with bias 1.
# %% keep: setup
# %% keep: imports
# %%
from dataclasses import dataclass, field
from torch.distributions import Categorical

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
print("running on", device)


@dataclass(frozen=True)
class AgentConfig:
    channels: tuple = (32, 32, 64)
    kernel: int = 3
    stride: int = 2
    hidden: int = 256
    lstm: int = 256


@dataclass(frozen=True)
class TrainConfig:
    lr_body: float = 2e-4
    lr_heads: float = 5e-4
    weight_decay: float = 1e-5
    clip: float = 0.5


@dataclass(frozen=True)
class Config:
    agent: AgentConfig = field(default_factory=AgentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


cfg = Config()
cfg
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
def ortho(layer, gain=1.0):
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions, cfg: AgentConfig = cfg.agent):
        super().__init__()
        layers, n_in = [], obs_shape[0]
        for n_out in cfg.channels:
            layers += [ortho(nn.Conv2d(n_in, n_out, cfg.kernel, cfg.stride), 2 ** 0.5), nn.ELU()]
            n_in = n_out
        self.conv = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            n_flat = self.conv(torch.zeros(1, *obs_shape)).shape[1]
        self.hid = nn.Sequential(ortho(nn.Linear(n_flat, cfg.hidden), 2 ** 0.5), nn.ReLU())
        self.rnn = nn.LSTMCell(cfg.hidden, cfg.lstm)
        with torch.no_grad():
            self.rnn.bias_ih[cfg.lstm : 2 * cfg.lstm] = 1.0  # forget gate: remember at first
        self.actor = ortho(nn.Linear(cfg.lstm, n_actions), 0.01)
        self.critic = ortho(nn.Linear(cfg.lstm, 1))
        self.to(device)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        h_new, c_new = self.rnn(self.hid(self.conv(obs_t)), prev_state)
        return (h_new, c_new), (self.actor(h_new), self.critic(h_new)[:, 0])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        prev_state = tuple(torch.as_tensor(s, device=device) for s in prev_state)
        obs_t = torch.as_tensor(obs_t, dtype=torch.float32, device=device)
        return self(prev_state, obs_t)

    def get_initial_state(self, batch_size):
        return tuple(torch.zeros(batch_size, self.rnn.hidden_size, device=device) for _ in "hc")

    def sample_actions(self, agent_outputs):
        return Categorical(logits=agent_outputs[0]).sample().cpu().numpy()
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions)
print(agent)
print(f"{sum(p.numel() for p in agent.parameters()):,} weights")

observation, _ = env.reset()
memory = agent.get_initial_state(1)
new_memory, (logits, state_value) = agent.step(memory, observation[None])
print("logits:", logits.cpu().numpy().round(3))
print("state value:", state_value.cpu().numpy())
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def to_device(x, dtype=torch.float32):
    return torch.as_tensor(x, dtype=dtype, device=device)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, is_not_done = map(to_device, (states, rewards, is_not_done))
    actions = to_device(actions, torch.int64)
    n_games, n_steps = rewards.shape
    rollout_length = n_steps - 1

    memory = tuple(to_device(part).detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(n_games)

    logits, state_values = [], []
    for t in range(n_steps):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)
        keep = is_not_done[:, t, None]
        memory = tuple(keep * part + (1 - keep) * blank for part, blank in zip(memory, blank_memory))

    policy = Categorical(logits=torch.stack(logits, dim=1))
    state_values = torch.stack(state_values, dim=1)
    V, V_next = state_values[:, :-1], state_values[:, 1:].detach()
    r, m = rewards[:, :-1], is_not_done[:, :-1]

    # returns: the recursion, then all the rest at once
    G = torch.empty_like(r)
    running = is_not_done[:, -1] * state_values[:, -1].detach()
    for t in range(rollout_length - 1, -1, -1):
        running = r[:, t] + gamma * m[:, t] * running
        G[:, t] = running

    td_error = r + gamma * m * V_next - V
    value_loss = td_error.pow(2).mean()
    advantage = (G - V).detach()
    J_hat = (policy.log_prob(actions)[:, :-1] * advantage).mean()
    entropy_reg = policy.entropy()[:, :-1].mean()  # the last column's action is a dummy

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), cfg.train.clip)
    opt.step()

    return loss.detach().cpu().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
heads = [*agent.actor.parameters(), *agent.critic.parameters()]
body = [p for name, p in agent.named_parameters() if not name.startswith(("actor", "critic"))]
opt = torch.optim.AdamW(
    [{"params": body, "lr": cfg.train.lr_body}, {"params": heads, "lr": cfg.train.lr_heads}],
    weight_decay=cfg.train.weight_decay,
)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %%
# same as the original, but the logits can be on the GPU
observation, _ = env.reset()
memory = agent.get_initial_state(1)
for t in range(5):
    memory, (logits, state_value) = agent.step(memory, observation[None])
    action = agent.sample_actions((logits, state_value))[0]
    observation, reward, terminated, truncated, _ = env.step(int(action))
    print(t, f"V = {state_value.item():.3f}", logits.cpu().numpy().round(2))
# %% keep: final
# %% keep: final-video
