# style: type hints, asserts, a config dictionary, honest notes about an error that was not solved
# verdict: wrong
# mistake: agent: the convolutions have padding 1 (and 64 filters in the last), but `hid` still takes 512 inputs: forward raises a RuntimeError (mat1 and mat2 shapes)
# ungradable: agent
# named: 2304) met (512, 128) in a matrix product
# note: unfinished. Nothing that forward returns can be seen, what the heads read included. Loss and optimizer are right in themselves, though they cannot run with this agent (agent.parameters() exists, so `opt` is made).
# %% keep: setup
# %% keep: imports
# %%
from typing import Any, Dict, Tuple

HP: Dict[str, Any] = {"filters": (32, 32, 64), "hidden": 128, "lstm": 128, "lr": 3e-4}
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape: Tuple[int, ...], n_actions: int):
        super().__init__()
        f0, f1, f2 = HP["filters"]
        self.conv0 = nn.Conv2d(obs_shape[0], f0, kernel_size=(3, 3), stride=(2, 2), padding=1)
        self.conv1 = nn.Conv2d(f0, f1, kernel_size=(3, 3), stride=(2, 2), padding=1)
        self.conv2 = nn.Conv2d(f1, f2, kernel_size=(3, 3), stride=(2, 2), padding=1)
        self.flatten = nn.Flatten()

        self.hid = nn.Linear(512, HP["hidden"])
        self.rnn = nn.LSTMCell(HP["hidden"], HP["lstm"])

        self.logits = nn.Linear(HP["lstm"], n_actions)
        self.state_value = nn.Linear(HP["lstm"], 1)

    def forward(self, prev_state: Tuple[torch.Tensor, torch.Tensor], obs_t: torch.Tensor):
        obs_t = 10 * obs_t - 3.6

        x = F.elu(self.conv0(obs_t))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        x = self.flatten(x)
        x = F.relu(self.hid(x))

        h, c = self.rnn(x, prev_state)

        new_state = (h, c)
        logits = self.logits(h)
        state_value = self.state_value(h).squeeze(-1)
        assert state_value.ndim == 1

        return new_state, (logits, state_value)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size: int):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()

# RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x2304 and 512x128)
# ??? it worked before I changed the convs. Googled it, something with flatten. Asked in the forum.
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: pool
# %%
# rollout_obs, rollout_actions, rollout_rewards, rollout_mask = pool.interact(10)   # error, see above
# %% keep: select
# %%
# Exercise: loss
# (not run yet, the agent has to work first)
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    rollout_length = rewards.shape[1] - 1

    memory = tuple(part.detach() for part in prev_memory_states)
    blank_memory = agent.get_initial_state(rewards.shape[0])

    logits = []
    state_values = []
    for t in range(rollout_length + 1):
        obs_t = states[:, t]

        memory, (logits_t, values_t) = agent(memory, obs_t)
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

        value_loss += F.mse_loss(V_t, r_t + gamma * is_not_done[:, t] * V_next)

        advantage = G_t - V_t
        advantage = advantage.detach()
        assert advantage.shape == logpi_a_s_t.shape

        J_hat += torch.mean(logpi_a_s_t * advantage)

    J_hat /= rollout_length
    value_loss /= rollout_length

    entropy_reg = torch.mean(-torch.sum(probas * logprobas, dim=-1))

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
    opt.step()

    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(agent.parameters(), lr=HP["lr"])
# %% keep: optimizer-check
