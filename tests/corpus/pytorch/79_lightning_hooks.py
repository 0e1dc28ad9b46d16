# style: Lightning person without Lightning: hooks training_step / configure_optimizers, self.hparams-like dict, a log dict
# verdict: wrong
# mistake: the memory is wiped before the reset tick instead of after it: the last observation of a game is seen without its past, and the new game starts with what is left of the old one
# loses: memory_reset
# named: wiped one tick too early
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
class Encoder(nn.Sequential):
    def __init__(self, in_channels, width=32, out=128):
        super().__init__(
            nn.Conv2d(in_channels, width, 3, stride=2), nn.ELU(),
            nn.Conv2d(width, width, 3, stride=2), nn.ELU(),
            nn.Conv2d(width, width, 3, stride=2), nn.ELU(),
            nn.Flatten(),
            nn.Linear(512, out), nn.ELU(),
        )


class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.encoder = Encoder(obs_shape[0])
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

    def forward(self, prev_state, obs_t):
        new_state = self.rnn(self.encoder(10 * obs_t - 3.6), tuple(prev_state))
        out = new_state[0]
        return new_state, (self.logits(out), self.state_value(out).flatten())

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return tuple(torch.zeros(batch_size, self.rnn.hidden_size) for _ in "hc")

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
logged = {}


def log_dict(**metrics):
    """self.log_dict for the poor"""
    logged.update({k: float(v) for k, v in metrics.items()})


def rollout_forward(model, states, mask, memory):
    logits, values = [], []
    for t in range(states.shape[1]):
        keep = mask[:, t].unsqueeze(-1)
        memory = tuple(keep * part for part in memory)  # done -> start from zeros
        memory, (l, v) = model(memory, states[:, t])
        logits.append(l)
        values.append(v)
    return torch.stack(logits, 1), torch.stack(values, 1)


def training_step(model, batch, gamma):
    states, actions, rewards, mask, memory = batch
    T = rewards.shape[1] - 1
    logits, values = rollout_forward(model, states, mask, memory)
    frozen = values.detach()

    returns = torch.empty_like(rewards)
    returns[:, T] = mask[:, T] * frozen[:, T]
    for t in range(T - 1, -1, -1):
        returns[:, t] = rewards[:, t] + gamma * mask[:, t] * returns[:, t + 1]

    logpi = F.log_softmax(logits, -1)
    played = logpi.gather(2, actions.unsqueeze(2)).squeeze(2)
    advantage = (returns - frozen)[:, :T]
    td_target = rewards[:, :T] + gamma * mask[:, :T] * frozen[:, 1:]

    j_hat = (played[:, :T] * advantage).mean()
    value_loss = F.mse_loss(values[:, :T], td_target)
    entropy = -(logpi.exp() * logpi).sum(-1).mean()
    log_dict(j_hat=j_hat.detach(), value_loss=value_loss.detach(), entropy=entropy.detach())
    return -j_hat + value_loss_weight * value_loss - entropy_weight * entropy


def configure_optimizers(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    batch = (
        torch.as_tensor(states, dtype=torch.float32),
        torch.as_tensor(actions, dtype=torch.int64),
        torch.as_tensor(rewards, dtype=torch.float32),
        torch.as_tensor(is_not_done, dtype=torch.float32),
        tuple(part.detach() for part in prev_memory_states),
    )
    loss = training_step(agent, batch, gamma)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = configure_optimizers(agent)
# %% keep: optimizer-check
# %% keep: first-step
# %%
logged
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: record
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
