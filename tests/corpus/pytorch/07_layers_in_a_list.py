# style: Hydra-like dataclass config, type hints, layers built in a loop, TensorBoard remains, "v2" naming
# verdict: wrong
# mistake: agent: the convolutions sit in a plain Python list instead of an nn.ModuleList, so they are no parameters of the agent and never learn (optimizer and loss themselves are right)
# loses: gradients
# named: are not among agent.parameters(), so no optimizer moves them
# note: gradients do reach the convolutions' weights, but agent.parameters() lacks them, so no optimizer moves them. `descent` and `step` move everything that agent.parameters() names.
# %% keep: setup
# %% keep: imports
# %%
from dataclasses import asdict, dataclass
from typing import List, Optional, Tuple

# from torch.utils.tensorboard import SummaryWriter
# writer = SummaryWriter("runs/kungfu_v2")
# %% keep: make-env
# %% keep: look
# %%
@dataclass
class NetworkConfig:
    n_convs: int = 3
    n_filters: int = 32
    hidden_size: int = 128
    lstm_size: int = 128
    dropout: float = 0.0


# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    """v2: number of convolutions configurable"""

    def __init__(
        self, obs_shape: Tuple[int, int, int], n_actions: int, config: Optional[NetworkConfig] = None
    ):
        super().__init__()
        self.config = config or NetworkConfig()
        self.convs: List[nn.Conv2d] = []
        channels, side = obs_shape[0], obs_shape[-1]
        for _ in range(self.config.n_convs):
            self.convs.append(nn.Conv2d(channels, self.config.n_filters, kernel_size=3, stride=2))
            channels = self.config.n_filters
            side = (side - 3) // 2 + 1
        self.hid = nn.Linear(channels * side * side, self.config.hidden_size)
        self.rnn = nn.LSTMCell(self.config.hidden_size, self.config.lstm_size)
        self.logits = nn.Linear(self.config.lstm_size, n_actions)
        self.state_value = nn.Linear(self.config.lstm_size, 1)

    def _encode(self, obs_t: torch.Tensor) -> torch.Tensor:
        x = 10 * obs_t - 3.6
        for conv in self.convs:
            x = F.elu(conv(x))
        x = F.relu(self.hid(torch.flatten(x, 1)))
        return F.dropout(x, self.config.dropout, self.training)

    def forward(self, prev_state, obs_t):
        h, c = self.rnn(self._encode(obs_t), prev_state)
        new_state = (h, c)
        logits = self.logits(h)
        state_value = self.state_value(h).reshape(-1)
        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size: int):
        shape = (batch_size, self.config.lstm_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs) -> np.ndarray:
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %%
print(asdict(agent.config))
for name, p in agent.named_parameters():
    print(f"{name:20s} {tuple(p.shape)}")
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits: List[torch.Tensor] = []
    state_values: List[torch.Tensor] = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]

        memory, (logits_t, values_t) = agent.forward(memory, obs_t)
        logits.append(logits_t)
        state_values.append(values_t)

        goes_on = is_not_done[:, t, None] > 0
        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )

    logits = torch.stack(logits, dim=1)
    state_values = torch.stack(state_values, dim=1)
    probas = F.softmax(logits, dim=-1)
    logprobas = F.log_softmax(logits, dim=-1)
    actions_one_hot = to_one_hot(actions, n_actions)
    logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)

    J_hat = 0.0
    value_loss = 0.0
    cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()

    for t in reversed(range(rollout_length)):
        r_t = rewards[:, t]
        V_t = state_values[:, t]
        V_next = state_values[:, t + 1].detach()
        logpi_a_s_t = logprobas_for_actions[:, t]

        G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
        cumulative_returns = G_t

        td_target = r_t + gamma * is_not_done[:, t] * V_next
        value_loss += (td_target - V_t).square().mean()

        advantage = G_t - V_t
        advantage = advantage.detach()

        J_hat += (logpi_a_s_t * advantage).mean()

    J_hat /= rollout_length
    value_loss /= rollout_length

    entropy_reg = -torch.mean(torch.sum(probas * logprobas, dim=-1))

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    # grad_norm = nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
    # writer.add_scalar("grad_norm", grad_norm, global_step)
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
@dataclass
class OptimizerConfig:
    lr: float = 3e-4
    betas: Tuple[float, float] = (0.9, 0.99)


opt = torch.optim.Adam(agent.parameters(), **asdict(OptimizerConfig()))
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
