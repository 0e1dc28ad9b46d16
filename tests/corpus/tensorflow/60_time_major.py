# style: works time-major ("RNNs are [T, B]"), with transposes in and reshapes out; scales features by hand
# verdict: wrong
# mistake: agent: features are divided by the largest one of the whole batch (no axis), so a game's outputs depend on the other games
# mistake: loss: log-probabilities come back from [T, B, A] to [B, T, A] by reshape instead of transpose, so actions and advantages meet the log-probabilities of other games and ticks
# loses: games_apart, policy_gradient
# named: the other games in the batch change a game's h
# named: logits meet the actions of other games and ticks
# note: the mean of the entropy does not mind the mixed-up order; values and returns stay time-major and are right; with one game nothing is mixed up
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
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.backbone(obs_t)
        x = x / (tf.reduce_max(x) + 1e-6)  # 0..1, so that the gates do not saturate
        h, new_state = self.lstm_cell(x, prev_state)

        logits = self.logits_head(h)
        state_value = self.state_value_head(h)[:, 0]

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
        # Where logits plus Gumbel noise are largest is a draw from their softmax.
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

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
    # batch-major in, time-major from here: [B, T, ...] -> [T, B, ...]
    states = tf.transpose(tf.cast(states, tf.float32), (1, 0, 2, 3, 4))
    rewards = tf.transpose(tf.cast(rewards, tf.float32))
    mask = tf.transpose(tf.cast(is_not_done, tf.float32))
    actions = tf.cast(actions, tf.int32)  # select_log_policy_for_actions wants [B, T]
    T, B = rewards.shape

    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits = []
        values = []
        for t in range(T):
            memory, (logits_t, values_t) = agent(memory, states[t])
            logits.append(logits_t)
            values.append(values_t)
            memory = [part * mask[t][:, None] for part in memory]
        logits = tf.stack(logits)  # [T, B, A]
        values = tf.stack(values)  # [T, B]

        # back to [B, T, A] for the helper
        log_policy = tf.reshape(tf.nn.log_softmax(logits), (B, T, n_actions))
        log_pi = tf.transpose(select_log_policy_for_actions(log_policy, actions))  # [T, B]

        fixed = tf.stop_gradient(values)
        J_hat = 0.0
        value_loss = 0.0
        G = mask[-1] * fixed[-1]
        for t in range(T - 2, -1, -1):
            G = rewards[t] + gamma * mask[t] * G
            td = rewards[t] + gamma * mask[t] * fixed[t + 1] - values[t]
            value_loss += tf.reduce_mean(td * td)
            J_hat += tf.reduce_mean(log_pi[t] * (G - fixed[t]))
        J_hat /= T - 1
        value_loss /= T - 1

        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_policy) * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=1e-3)
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
