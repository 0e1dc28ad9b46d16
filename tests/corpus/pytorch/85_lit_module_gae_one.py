# style: Lightning-like class with manual optimisation, a memory mixin, GAE with λ = 1, logging
# verdict: right
# loses:
# note: GAE with λ = 1 is the n-step advantage; the recursion starts at A_T = (m_T - 1)·V(s_T), because G_T = m_T·V(s_T)
# %% keep: setup
# %% keep: imports
# %%
import logging

log = logging.getLogger("kungfu")
torch.manual_seed(2024)
np.random.seed(2024)
# %% keep: make-env
# %%
class RecurrentMixin:
    """Everything about playing that is not the network."""

    def get_initial_state(self, batch_size):
        return (
            torch.zeros(batch_size, self.rnn.hidden_size),
            torch.zeros(batch_size, self.rnn.hidden_size),
        )

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()


def conv_block(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2), nn.ELU())


class SimpleRecurrentAgent(RecurrentMixin, nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.eye = nn.Sequential(
            conv_block(obs_shape[0], 32),
            conv_block(32, 32),
            conv_block(32, 32),
            nn.Flatten(),
            nn.Linear(512, 128),
            nn.ELU(),
        )
        self.rnn = nn.LSTMCell(128, 128)
        self.heads = nn.ModuleDict({"pi": nn.Linear(128, n_actions), "v": nn.Linear(128, 1)})

    def forward(self, prev_state, obs_t):
        h, c = self.rnn(self.eye(10 * obs_t - 3.6), tuple(prev_state))
        return (h, c), (self.heads["pi"](h), self.heads["v"](h).squeeze(1))
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
class LitA2C:
    """What would be a LightningModule with automatic_optimization = False."""

    lam = 1.0

    def __init__(self, model, gamma):
        self.model = model
        self.gamma = gamma

    def replay(self, states, mask, memory):
        logits, values = [], []
        blank = self.model.get_initial_state(states.shape[0])
        for t in range(states.shape[1]):
            memory, (logits_t, values_t) = self.model(memory, states[:, t])
            logits.append(logits_t)
            values.append(values_t)
            over = mask[:, t] == 0
            memory = tuple(
                torch.where(over[:, None], b, part) for part, b in zip(memory, blank)
            )
        return torch.stack(logits, 1), torch.stack(values, 1)

    @torch.no_grad()
    def advantages(self, rewards, mask, values):
        T = rewards.shape[1] - 1
        out = torch.zeros(rewards.shape[0], T)
        # nothing comes after a final observation in the last column: G_T = 0 there, not V(s_T)
        A = (mask[:, T] - 1) * values[:, T]
        for t in reversed(range(T)):
            delta = rewards[:, t] + self.gamma * mask[:, t] * values[:, t + 1] - values[:, t]
            A = delta + self.gamma * self.lam * mask[:, t] * A
            out[:, t] = A
        return out

    def training_step(self, batch):
        states, actions, rewards, mask, memory = batch
        logits, values = self.replay(states, mask, memory)
        A = self.advantages(rewards, mask, values.detach())

        logp = F.log_softmax(logits, dim=-1)
        logp_a = logp.gather(-1, actions[..., None]).squeeze(-1)
        J_hat = (logp_a[:, :-1] * A).mean()

        target = (rewards + self.gamma * mask * values.roll(-1, dims=1))[:, :-1].detach()
        value_loss = F.mse_loss(values[:, :-1], target)

        entropy = -(logp.exp() * logp).sum(-1).mean()
        log.debug("J %s, value %s, entropy %s", J_hat, value_loss, entropy)
        return -J_hat + value_loss_weight * value_loss - entropy_weight * entropy


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    batch = (
        torch.as_tensor(states, dtype=torch.float32),
        torch.as_tensor(actions, dtype=torch.int64),
        torch.as_tensor(rewards, dtype=torch.float32),
        torch.as_tensor(is_not_done, dtype=torch.float32),
        tuple(part.detach() for part in prev_memory_states),
    )
    opt.zero_grad()
    loss = LitA2C(agent, gamma).training_step(batch)
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
def configure_optimizers(model, lr=2e-4):
    return torch.optim.RAdam(model.parameters(), lr=lr)


opt = configure_optimizers(agent)
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
