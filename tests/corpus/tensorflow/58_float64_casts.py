# style: does not trust float32; casts everywhere, all arithmetic of the loss in float64, masks as bools, actions as int64
# verdict: right
# loses:
# note: tf.where on bools does what the mask multiplication does; the loss comes back as a float32 number; agent step is the given one
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
f32 = lambda x: tf.cast(x, tf.float32)
f64 = lambda x: tf.cast(x, tf.float64)

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
        self.logits_head = keras.layers.Dense(n_actions, dtype="float32")
        self.state_value_head = keras.layers.Dense(1, dtype="float32")

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        obs_t = f32(obs_t)
        h, c = f32(prev_state[0]), f32(prev_state[1])
        out, (new_h, new_c) = self.lstm_cell(self.backbone(obs_t), [h, c])
        logits = f32(self.logits_head(out))
        state_value = f32(tf.reshape(self.state_value_head(out), (tf.shape(out)[0],)))
        return [new_h, new_c], (logits, state_value)

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
        return [tf.zeros(shape, tf.float32), tf.zeros(shape, tf.float32)]

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        logits = np.asarray(logits, np.float64)
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1).astype(np.int64)

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
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout. float64 between the network and the loss."""
    states = f32(states)
    actions = tf.cast(actions, tf.int64)
    rewards = f64(rewards)
    alive = tf.cast(is_not_done, tf.bool)
    gamma = f64(gamma)
    zero = f64(0.0)
    n_games, n_steps = rewards.shape
    rollout_length = n_steps - 1

    memory = [tf.stop_gradient(f32(part)) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, state_values = [], []
        for t in range(n_steps):
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(f64(logits_t))
            state_values.append(f64(values_t))
            memory = [tf.where(alive[:, t][:, None], part, tf.zeros_like(part)) for part in memory]

        logits = tf.stack(logits, axis=1)
        log_policy = tf.nn.log_softmax(logits)
        policy = tf.exp(log_policy)
        chosen = tf.one_hot(actions, n_actions, on_value=True, off_value=False, dtype=tf.bool)
        log_pi = tf.reduce_sum(tf.where(chosen, log_policy, zero), axis=-1)

        J_hat, value_loss = zero, zero
        G = tf.where(alive[:, -1], tf.stop_gradient(state_values[-1]), zero)
        for t in reversed(range(rollout_length)):
            go = alive[:, t]
            V, V_next = state_values[t], tf.stop_gradient(state_values[t + 1])

            G = rewards[:, t] + tf.where(go, gamma * G, zero)
            target = rewards[:, t] + tf.where(go, gamma * V_next, zero)
            value_loss += tf.reduce_sum(tf.square(target - V)) / f64(n_games)

            advantage = tf.stop_gradient(G - V)
            J_hat += tf.reduce_sum(advantage * log_pi[:, t]) / f64(n_games)

        J_hat /= f64(rollout_length)
        value_loss /= f64(rollout_length)

        entropy_reg = tf.reduce_sum(-policy * log_policy) / f64(n_games * n_steps)

        loss = f32(-J_hat + f64(value_loss_weight) * value_loss - f64(entropy_weight) * entropy_reg)

    variables = agent.trainable_variables
    grads = [tf.cast(g, v.dtype) for g, v in zip(tape.gradient(loss, variables), variables)]
    optimizer.apply_gradients(zip(grads, variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=float(np.float32(1e-3)), epsilon=1e-6)
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
