# style: an A2C trainer class with settings from a dataclass, train_on_rollout a thin wrapper around it, `.to(device)`, wandb remains, sequence of observations encoded at once with the convolutions, closure for the schedule
# verdict: right
# note: the convolutions see all columns at once and only the LSTM runs tick by tick (forward is composed of the same two parts); train_on_rollout uses `opt` through the trainer, looked up at call time. The loss calls agent.encode and agent.tick, not agent(...). Weights read from the globals at call time.
# %% keep: setup
# %% keep: imports
# %%
# !pip install wandb
# import wandb
# wandb.init(project="kungfu", config=dict(n_games=5))
from dataclasses import dataclass

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.backends.cudnn.benchmark = True
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        c = obs_shape[0]
        self.conv0, self.conv1, self.conv2 = (
            nn.Conv2d(i, 32, kernel_size=3, stride=2) for i in (c, 32, 32)
        )
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.heads = nn.ModuleDict({"pi": nn.Linear(128, n_actions), "v": nn.Linear(128, 1)})

    @property
    def device(self):
        return next(self.parameters()).device

    def encode(self, obs):
        """[..., frames, height, width] -> [..., 128]"""
        x = 10 * obs.flatten(0, -4) - 3.6
        x = F.elu(self.conv0(x))
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv2(x))
        return F.elu(self.hid(x.flatten(1))).unflatten(0, obs.shape[:-3])

    def tick(self, prev_state, features):
        h, c = self.rnn(features, prev_state)
        return (h, c), (self.heads["pi"](h), self.heads["v"](h)[..., 0])

    def forward(self, prev_state, obs_t):
        return self.tick(prev_state, self.encode(obs_t))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        obs_t = torch.as_tensor(obs_t, dtype=torch.float32).to(self.device)
        return self.forward(tuple(s.to(self.device) for s in prev_state), obs_t)

    def get_initial_state(self, batch_size):
        zeros = self.rnn.weight_hh.new_zeros(batch_size, self.rnn.hidden_size)
        return zeros, zeros.clone()

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].cpu().numpy()
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions).to(device)
# wandb.watch(agent)
observation, _ = env.reset()
_, (logits, state_value) = agent.step(agent.get_initial_state(1), observation[None])
logits.cpu().numpy().round(2), state_value.cpu().numpy()
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
@dataclass
class Settings:
    max_norm: float = 0.5
    keep_stats: bool = True


class A2C:
    def __init__(self, settings=Settings()):
        self.settings = settings
        self.stats = []

    def tensor(self, x, dtype=torch.float32):
        return torch.as_tensor(x, dtype=dtype, device=device)

    def replay(self, states, mask, memory):
        features = agent.encode(states)
        blank = agent.get_initial_state(states.shape[0])
        outputs = []
        for t in range(states.shape[1]):
            memory, out = agent.tick(memory, features[:, t])
            outputs.append(out)
            memory = [torch.where(mask[:, t, None] > 0, m, b) for m, b in zip(memory, blank)]
        logits, values = zip(*outputs)
        return torch.stack(logits, dim=1), torch.stack(values, dim=1)

    @torch.no_grad()
    def targets(self, values, rewards, mask, gamma):
        """One-step TD targets and n-step returns, both constants."""
        td = rewards[:, :-1] + gamma * mask[:, :-1] * values[:, 1:]
        returns = torch.zeros_like(values)
        returns[:, -1] = mask[:, -1] * values[:, -1]
        for t in range(values.shape[1] - 2, -1, -1):
            returns[:, t] = rewards[:, t] + gamma * mask[:, t] * returns[:, t + 1]
        return td, returns[:, :-1]

    def losses(self, states, actions, rewards, mask, memory, gamma):
        logits, values = self.replay(states, mask, memory)
        td, returns = self.targets(values, rewards, mask, gamma)
        V = values[:, :-1]
        # cross entropy IS -log pi(a)
        nll = F.cross_entropy(logits[:, :-1].transpose(1, 2), actions[:, :-1], reduction="none")
        policy_loss = (nll * (returns - V).detach()).mean()
        value_loss = (td - V).pow(2).mean()
        entropy = (logits.softmax(-1) * -logits.log_softmax(-1)).sum(-1).mean()
        return policy_loss, value_loss, entropy

    def __call__(self, states, actions, rewards, is_not_done, prev_memory_states, gamma):
        policy_loss, value_loss, entropy = self.losses(
            self.tensor(states),
            self.tensor(actions, torch.int64),
            self.tensor(rewards),
            self.tensor(is_not_done),
            [self.tensor(m).detach() for m in prev_memory_states],
            gamma,
        )
        loss = policy_loss + value_loss_weight * value_loss - entropy_weight * entropy

        for p in agent.parameters():
            p.grad = None
        loss.backward()
        norm = nn.utils.clip_grad_norm_(agent.parameters(), self.settings.max_norm)
        opt.step()

        if self.settings.keep_stats:
            self.stats.append((policy_loss.item(), value_loss.item(), entropy.item(), norm.item()))
            # wandb.log(dict(zip(("policy", "value", "entropy", "norm"), self.stats[-1])))
        return loss.detach().cpu().numpy()


a2c = A2C()


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    return a2c(states, actions, rewards, is_not_done, prev_memory_states, gamma)
# %% keep: loss-check
# %%
# Exercise: optimizer
def make_optimizer(lr):
    def build(parameters):
        return torch.optim.RAdam(parameters, lr=lr, weight_decay=1e-6)

    return build


opt = make_optimizer(lr=4e-4)(agent.parameters())
# %% keep: optimizer-check
# %% keep: first-step
# %%
pd.DataFrame(a2c.stats, columns=["policy", "value", "entropy", "norm"])
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
