# style: performance-minded engineer: a frozen copy of the network for playing, GAE copied from a PPO code base with lambda = 1, environment switches
# verdict: wrong
# mistake: step plays with a copy of the network that was made at the start and is never updated: the agent that plays is not the one that learns
# mistake: where the last column is the last observation of a game the returns are bootstrapped from V(s_T) all the same: the mask m_T is missing (GAE's recursion starts at 0)
# loses: agreement, policy_ends
# named: keeps playing with old weights
# named: returns run on into the next game
# %% keep: setup
# %% keep: imports
# %%
import copy

IN_COLAB = "google.colab" in sys.modules
DEBUG = os.environ.get("KUNGFU_DEBUG") == "1"
print("Colab" if IN_COLAB else "local", torch.__version__, torch.get_num_threads(), "threads")
# %% keep: make-env
# %%
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()
        self.hid = nn.Linear(512, 128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)

        # Playing needs no autograd bookkeeping at all: keep a frozen net for it.
        # (In a list, so that its weights are not registered twice.)
        self._player = [copy.deepcopy(self).eval().requires_grad_(False)]

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        x = F.relu(self.conv0(x))
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.hid(self.flatten(x)))
        h, c = self.rnn(x, prev_state)
        return (h, c), (self.logits(h), self.state_value(h).squeeze(-1))

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self._player[0](tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

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
GAE_LAMBDA = 1.0  # = plain n-step returns


def compute_gae(rewards, nonterminal, values, gamma):
    T = rewards.shape[1] - 1
    advantages = torch.zeros_like(rewards[:, :T])
    lastgaelam = 0
    for t in reversed(range(T)):
        delta = rewards[:, t] + gamma * nonterminal[:, t] * values[:, t + 1] - values[:, t]
        lastgaelam = delta + gamma * GAE_LAMBDA * nonterminal[:, t] * lastgaelam
        advantages[:, t] = lastgaelam
    return advantages


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    nonterminal = torch.as_tensor(is_not_done, dtype=torch.float32)

    memory = tuple(part.detach() for part in prev_memory_states)
    logits, values = [], []
    for t in range(rewards.shape[1]):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        memory = tuple(part * nonterminal[:, t].unsqueeze(1) for part in memory)
        logits.append(logits_t)
        values.append(values_t)
    logits = torch.stack(logits, dim=1)
    values = torch.stack(values, dim=1)

    with torch.no_grad():
        advantages = compute_gae(rewards, nonterminal, values, gamma)
        targets = rewards[:, :-1] + gamma * nonterminal[:, :-1] * values[:, 1:]

    logp = logits.log_softmax(dim=-1)
    neglogpac = F.nll_loss(
        logp[:, :-1].flatten(0, 1), actions[:, :-1].flatten(), reduction="none"
    ).view_as(advantages)
    pg_loss = (neglogpac * advantages).mean()
    v_loss = F.mse_loss(values[:, :-1], targets)
    entropy = -(logp.exp() * logp).sum(dim=-1).mean()
    loss = pg_loss + value_loss_weight * v_loss - entropy_weight * entropy
    if DEBUG:
        print(f"pg {pg_loss:.3f} v {v_loss:.3f} H {entropy:.3f}")

    for p in agent.parameters():
        p.grad = None
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5)
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
