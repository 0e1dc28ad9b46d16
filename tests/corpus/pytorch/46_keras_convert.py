# style: a Keras person in PyTorch for the first time: Sequential blocks, a call() method, capital names, comments that compare with GradientTape, the loss split in small functions over whole [n, T] tables
# verdict: right
# loses:
# note: forward only hands on to call(); returns are built by a reversed list; mean over games and time at once is the same as the two means; zero_grad stands before backward as a "fresh tape"
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
# (I come from tf.keras, so I think in Sequential and call(). Notes to myself are marked KERAS.)

def Dense(n_in, n_out, activation=None):
    """KERAS: Dense(n_out, activation=...) -- but here you must say the input size, too"""
    layers = [nn.Linear(n_in, n_out)]
    if activation is not None:
        layers.append(activation)
    return nn.Sequential(*layers)


def Conv2D(c_in, filters):
    return nn.Sequential(
        nn.Conv2d(c_in, filters, kernel_size=3, stride=2),
        nn.ELU(),
    )


class SimpleRecurrentAgent(nn.Module):

    def __init__(self, obs_shape, n_actions):
        super().__init__()
        channels, height, width = obs_shape      # KERAS: channels come FIRST!!
        self.backbone = nn.Sequential(
            Conv2D(channels, 32),
            Conv2D(32, 32),
            Conv2D(32, 32),
            nn.Flatten(),
        )
        # KERAS would have done this for me in build()
        with torch.no_grad():
            n_features = self.backbone(torch.zeros(1, channels, height, width)).shape[1]
        self.hid = Dense(n_features, 128, activation=nn.ELU())
        self.rnn = nn.LSTMCell(128, 128)
        self.actor = Dense(128, n_actions)
        self.critic = Dense(128, 1)

    def call(self, prev_state, obs_t):
        x = 10 * obs_t - 3.6
        x = self.backbone(x)
        x = self.hid(x)
        # KERAS: out, [h, c] = cell(x, [h, c]);  here the cell gives only the pair
        new_state = self.rnn(x, (prev_state[0], prev_state[1]))
        out = new_state[0]
        return new_state, (self.actor(out), self.critic(out)[:, 0])

    # KERAS: in torch __call__ goes to forward, not call
    def forward(self, prev_state, obs_t):
        return self.call(prev_state, obs_t)

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        """The same for NumPy observations, without gradients: for playing, not for training."""
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.rnn.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()
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

def unroll(states, is_not_done, memory):
    """like keras.layers.RNN(return_sequences=True), only by hand"""
    N, L = is_not_done.shape
    LOGITS, VALUES = [], []
    for t in range(L):
        memory, (logits_t, values_t) = agent(memory, states[:, t])
        LOGITS.append(logits_t)
        VALUES.append(values_t)
        keep = is_not_done[:, t].unsqueeze(-1)      # KERAS: [:, t, None] would be the same
        memory = (memory[0] * keep, memory[1] * keep)
    return torch.stack(LOGITS, 1), torch.stack(VALUES, 1)


def n_step_returns(rewards, is_not_done, bootstrap, gamma):
    T = rewards.shape[1] - 1
    G = [is_not_done[:, T] * bootstrap]
    for t in range(T - 1, -1, -1):
        G.insert(0, rewards[:, t] + gamma * is_not_done[:, t] * G[0])
    return torch.stack(G[:-1], 1)    # the last one is the bootstrap itself, drop it


def reduce_mean(x):
    return x.mean()                  # old habits


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout."""
    states = torch.as_tensor(states, dtype=torch.float32)
    actions = torch.as_tensor(actions, dtype=torch.int64)
    rewards = torch.as_tensor(rewards, dtype=torch.float32)
    is_not_done = torch.as_tensor(is_not_done, dtype=torch.float32)
    h0, c0 = prev_memory_states

    # ---- "with tf.GradientTape() as tape:" starts here; in torch the tape is always on
    opt.zero_grad()                  # ... and must be cleared by hand
    logits, V = unroll(states, is_not_done, (h0.detach(), c0.detach()))
    V_stop = V.detach()              # KERAS: tf.stop_gradient(V)

    logprobas = F.log_softmax(logits, dim=-1)
    probas = logprobas.exp()

    # critic
    target = rewards[:, :-1] + gamma * is_not_done[:, :-1] * V_stop[:, 1:]
    value_loss = reduce_mean(torch.square(target - V[:, :-1]))

    # actor
    G = n_step_returns(rewards, is_not_done, V_stop[:, -1], gamma)
    advantage = G - V_stop[:, :-1]
    picked = (to_one_hot(actions, n_actions) * logprobas).sum(-1)
    J_hat = reduce_mean(picked[:, :-1] * advantage)

    # entropy, all columns
    H = reduce_mean(-(probas * logprobas).sum(-1))

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * H

    # ---- tape.gradient + opt.apply_gradients
    loss.backward()
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
# Exercise: optimizer
# KERAS: the optimizer gets its variables now and not in apply_gradients
opt = torch.optim.Adam(agent.parameters(), lr=1e-5)
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
