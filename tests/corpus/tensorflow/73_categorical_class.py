# style: good student, English, tfp-like Categorical class, layer normalisation added, optimizer with a schedule and made before the loss
# verdict: right
# loses:
# note: the entropy is written as logsumexp(z) - sum p z, the same number; a learning-rate schedule and a LayerNormalization are allowed
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class Categorical:
    """The little of tfp.distributions.Categorical that is needed here."""

    def __init__(self, logits):
        self.logits = logits
        self.log_z = tf.reduce_logsumexp(logits, axis=-1)

    def log_prob(self, value):
        return tf.gather(self.logits, value, axis=value.shape.rank, batch_dims=value.shape.rank) - self.log_z

    def entropy(self):
        # -sum p (z - log_z) = log_z - sum p z
        return self.log_z - tf.reduce_sum(tf.nn.softmax(self.logits) * self.logits, axis=-1)


uniform = Categorical(tf.zeros((2, 3, 14)))
np.testing.assert_allclose(uniform.entropy(), np.full((2, 3), np.log(14)), rtol=1e-5)
np.testing.assert_allclose(uniform.log_prob(tf.ones((2, 3), tf.int32)), np.full((2, 3), -np.log(14)), rtol=1e-5)
# %%
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions, units=256):
        he = keras.initializers.HeNormal()
        self.backbone = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            keras.layers.Conv2D(32, 5, strides=2, activation="elu", kernel_initializer="he_normal"),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer="he_normal"),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer="he_normal"),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="elu", kernel_initializer=he),
        ])
        self.norm = keras.layers.LayerNormalization()  # over the features of one game
        self.lstm_output_size = units
        self.lstm_cell = keras.layers.LSTMCell(units)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        features = self.norm(self.backbone(obs_t))
        hidden, new_state = self.lstm_cell(features, prev_state)
        logits = self.logits_head(hidden)
        state_value = tf.squeeze(self.state_value_head(hidden), axis=1)
        tf.debugging.assert_rank(state_value, 1)
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
# %%
schedule = keras.optimizers.schedules.PolynomialDecay(7e-4, decay_steps=15_000, end_learning_rate=1e-4)
optimizer = keras.optimizers.Adam(schedule, global_clipnorm=0.5)
# %% keep: optimizer-check
# %%
value_loss_weight = 1.0
entropy_weight = 0.01


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    variables = agent.trainable_variables

    memory = tf.nest.map_structure(tf.stop_gradient, list(prev_memory_states))
    with tf.GradientTape() as tape:
        outputs = []
        for obs_t, goes_on in zip(tf.unstack(states, axis=1), tf.unstack(is_not_done, axis=1)):
            memory, output = agent(memory, obs_t)
            outputs.append(output)
            memory = [goes_on[:, None] * part for part in memory]
        logits, values = [tf.stack(series, axis=1) for series in zip(*outputs)]
        pi = Categorical(logits)

        # targets, returns and advantages are numbers, no gradient in any of them
        const_values = tf.stop_gradient(values)
        td_targets = rewards[:, :-1] + gamma * is_not_done[:, :-1] * const_values[:, 1:]

        # A_t = delta_t + gamma m_t A_{t+1} (GAE with lambda = 1), which is G_t - V(s_t) ...
        deltas = td_targets - const_values[:, :-1]
        # ... if the last one bootstraps from m_T V(s_T), as G_T does, and not from V(s_T)
        A = (is_not_done[:, -1] - 1.0) * const_values[:, -1]
        advantages = []
        for t in reversed(range(deltas.shape[1])):
            A = deltas[:, t] + gamma * is_not_done[:, t] * A
            advantages.append(A)
        advantages = tf.stack(advantages[::-1], axis=1)

        J_hat = tf.reduce_mean(pi.log_prob(actions)[:, :-1] * advantages)
        value_loss = tf.reduce_mean(tf.square(td_targets - values[:, :-1]))
        entropy = tf.reduce_mean(pi.entropy())
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy

    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
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
