# style: everything merged into one cell, checks and first step included; callbacks ("on_tick", "on_backward") and a forward hook that collects the outputs; entropy as a Kullback-Leibler divergence from the uniform policy
# verdict: right
# loses:
# note: H = ln n - KL(pi || uniform), gradient included; the hook is taken off after each rollout; the videos come after the big cell; to_one_hot is gone, nll_loss picks
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# ALL THE EXERCISES IN ONE PLACE (I kept losing track of which cells I had rerun)
import math
from collections import defaultdict

gamma = 0.99
n_parallel_games = 5
value_loss_weight = 1.0
entropy_weight = 0.01


# ---------------------------------------------------------------- agent
class SimpleRecurrentAgent(nn.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__()
        self.conv0 = nn.Conv2d(obs_shape[0], 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv1 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.conv2 = nn.Conv2d(32, 32, kernel_size=(3, 3), stride=(2, 2))
        self.flatten = nn.Flatten()
        self.hid = nn.Linear(512, 128)
        self.norm = nn.LayerNorm(128)  # over the features of one game, not over games
        self.rnn = nn.LSTMCell(128, 128)
        self.both = nn.Linear(128, n_actions + 1)  # the two heads in one matrix

    def forward(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        x = F.silu(self.conv0(x))
        x = F.silu(self.conv1(x))
        x = F.silu(self.conv2(x))
        x = F.silu(self.norm(self.hid(self.flatten(x))))
        new_state = self.rnn(x, prev_state)
        y = self.both(new_state[0])
        return new_state, (y[:, :-1], y[:, -1])

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()


checks.check_agent(globals())
agent = SimpleRecurrentAgent(obs_shape, n_actions)
pool = EnvPool(agent, make_env, n_parallel_games, vectorization_mode="ale_threads")

# ---------------------------------------------------------------- callbacks
callbacks = defaultdict(list)


def on(event):
    def register(function):
        callbacks[event].append(function)
        return function

    return register


def fire(event, *args):
    for function in callbacks[event]:
        function(*args)


@on("before")
def clear_gradients(loss):
    opt.zero_grad()


@on("backward")
def backpropagate(loss):
    loss.backward()


@on("after")
def move_weights(loss):
    opt.step()


# ---------------------------------------------------------------- loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    alive = torch.as_tensor(is_not_done, dtype=torch.float32)
    T = rewards.shape[1] - 1

    tape = []
    hook = agent.register_forward_hook(lambda module, args, result: tape.append(result[1]))
    try:
        memory = tuple(part.detach() for part in prev_memory_states)
        for t in range(T + 1):
            memory, _ = agent(memory, states[:, t])
            memory = tuple(part * alive[:, t : t + 1] for part in memory)
    finally:
        hook.remove()

    log_pi = [F.log_softmax(logits, dim=-1) for logits, _ in tape]
    V = [value for _, value in tape]

    G = alive[:, T] * V[T].detach()
    minus_J = value_loss = 0
    for t in range(T - 1, -1, -1):
        G = rewards[:, t] + gamma * alive[:, t] * G
        nll = F.nll_loss(log_pi[t], actions[:, t], reduction="none")
        minus_J = minus_J + torch.dot(nll, G - V[t].detach()) / len(G)
        td_target = rewards[:, t] + gamma * alive[:, t] * V[t + 1].detach()
        value_loss = value_loss + F.mse_loss(V[t], td_target)

    # KL(pi || uniform) = sum pi (log pi - log 1/n) = ln n - H, so H = ln n - KL
    all_log_pi = torch.cat(log_pi)  # every game and tick is a row
    log_uniform = torch.full_like(all_log_pi, -math.log(n_actions))
    kl = F.kl_div(log_uniform, all_log_pi, reduction="batchmean", log_target=True)
    entropy = math.log(n_actions) - kl

    loss = minus_J / T + value_loss_weight * value_loss / T - entropy_weight * entropy

    fire("before", loss)
    fire("backward", loss)
    fire("after", loss)
    return loss.detach().numpy()


checks.check_loss(globals())

# ---------------------------------------------------------------- optimizer
opt = torch.optim.NAdam(agent.parameters(), lr=1e-4)
checks.check_optimizer(globals())

# ---------------------------------------------------------------- first step
memory = list(pool.prev_memory_states)
rollout = pool.interact(10)
print("shapes:", [part.shape for part in rollout])
print("first loss:", train_on_rollout(*rollout, memory, gamma))
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
