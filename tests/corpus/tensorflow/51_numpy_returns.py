# style: thinks in numpy; returns and targets worked out by a plain numpy function through tf.numpy_function, so that it also works inside tf.function
# verdict: right
# loses:
# note: numpy code gives constants by nature, so no stop_gradient is needed for target, advantage and bootstrap; in float64 inside, cast on the way out
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer=he),
            ]
        )
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        # one layer for both heads: the first n_actions columns are the actor, the last is the critic
        self.n_actions = n_actions
        self.both_heads = keras.layers.Dense(n_actions + 1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        out, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        both = self.both_heads(out)
        logits = both[:, : self.n_actions]
        state_value = both[:, self.n_actions]
        return new_state, (logits, state_value)

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.lstm_output_size)
        return [tf.zeros(shape), tf.zeros(shape)]

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        p = np.exp(logits - np.max(logits, axis=1, keepdims=True))
        p = p / p.sum(axis=1, keepdims=True)
        # inverse CDF, one uniform number for each game
        u = np.random.rand(len(p), 1)
        return np.minimum((np.cumsum(p, axis=1) < u).sum(axis=1), p.shape[1] - 1)

    @property
    def trainable_variables(self):
        """The weights of all layers, in the order the layers were made."""
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def returns_and_targets(rewards, alive, values, gamma):
    """Pure numpy. rewards, alive, values: [n_games, T + 1]. Returns two arrays [n_games, T]."""
    rewards, alive, values = (np.asarray(x, dtype=np.float64) for x in (rewards, alive, values))
    gamma = float(gamma)
    G = np.empty_like(values)
    G[:, -1] = alive[:, -1] * values[:, -1]
    for t in range(values.shape[1] - 2, -1, -1):
        G[:, t] = rewards[:, t] + gamma * alive[:, t] * G[:, t + 1]
    targets = rewards[:, :-1] + gamma * alive[:, :-1] * values[:, 1:]
    return G[:, :-1].astype(np.float32), targets.astype(np.float32)


# try it by hand: two ticks and the bootstrap, first game goes on, second one ends at tick 0
_G, _y = returns_and_targets([[1, 2, 0], [1, 2, 0]], [[1, 1, 1], [0, 1, 1]], [[5, 6, 10], [5, 6, 10]], 0.5)
print(_G)  # 1 + .5 * (2 + .5 * 10) = 4.5, 7;  1, 7
assert np.allclose(_G, [[4.5, 7], [1, 7]]) and np.allclose(_y, [[4, 7], [1, 7]])

# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout. Arguments as in the given text."""
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    n_columns = rewards.shape[1]

    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(n_columns):
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)
            memory = [part * is_not_done[:, t : t + 1] for part in memory]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        log_policy = tf.nn.log_softmax(logits)
        log_pi_a = select_log_policy_for_actions(log_policy, actions)

        G, targets = tf.numpy_function(
            returns_and_targets,
            [rewards, is_not_done, state_values, tf.constant(gamma, tf.float32)],
            [tf.float32, tf.float32],
        )
        shape = (rewards.shape[0], n_columns - 1)
        G = tf.ensure_shape(G, shape)
        targets = tf.ensure_shape(targets, shape)

        V = state_values[:, :-1]
        advantage = tf.stop_gradient(G - V)
        J_hat = tf.reduce_mean(log_pi_a[:, :-1] * advantage)
        value_loss = tf.reduce_mean((targets - V) ** 2)
        entropy_reg = tf.reduce_mean(tf.reduce_sum(-tf.nn.softmax(logits) * log_policy, axis=2))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.RMSprop(learning_rate=7e-4, rho=0.99, epsilon=1e-5)
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
