# style: performance-minded: gradients worked out in a tf.function that takes the agent as an argument, clipped by global norm, learning rate by a schedule, a NumPy-looking front end
# verdict: right
# loses:
# note: clipping by global norm keeps the direction (the notebook suggests it); tf.function retraces for another agent, because the agent is an argument; the weights of the terms are arguments too, as tensors, so that a later change of the globals is seen; the step is applied outside
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        self.lstm_output_size = 256
        self.backbone = self._make_backbone()
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size, unit_forget_bias=True)
        # small first logits: the first policy is nearly uniform
        self.logits_head = keras.layers.Dense(n_actions, kernel_initializer=keras.initializers.Orthogonal(0.01))
        self.state_value_head = keras.layers.Dense(1, kernel_initializer=keras.initializers.Orthogonal(1.0))

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward, reduce_retracing=True)

    @staticmethod
    def _make_backbone():
        conv = lambda filters, size, stride: keras.layers.Conv2D(
            filters, size, strides=stride, padding="same", activation="relu", kernel_initializer="he_uniform"
        )
        return keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            conv(32, 5, 2), conv(48, 3, 2), conv(64, 3, 2),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_initializer="he_uniform"),
        ])

    def forward(self, prev_state, obs_t):
        output, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        logits = self.logits_head(output)
        state_value = tf.reduce_sum(self.state_value_head(output), axis=-1)  # sum over the one column
        return new_state, (logits, state_value)

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.lstm_output_size)
        return [tf.zeros(shape), tf.zeros(shape)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        layers = [self.backbone, self.lstm_cell, self.logits_head, self.state_value_head]
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
max_norm = 40.0  # the A3C paper's number; the training settings clip harder anyway


@tf.function
def loss_and_grads(agent, states, actions, rewards, mask, memory, gamma, w_value, w_entropy):
    n_cols = rewards.shape[1]
    with tf.GradientTape() as tape:
        logits, values = [], []
        for t in range(n_cols):
            memory, (l, v) = agent.forward(memory, states[:, t])
            memory = [part * mask[:, t, None] for part in memory]
            logits.append(l)
            values.append(v)
        logits, values = tf.stack(logits, 1), tf.stack(values, 1)
        const = tf.stop_gradient(values)

        log_policy = tf.nn.log_softmax(logits)
        log_pi = select_log_policy_for_actions(log_policy, actions)
        entropy = -tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(logits) * log_policy, -1))

        J = L = 0.0
        G = mask[:, -1] * const[:, -1]
        for t in range(n_cols - 2, -1, -1):
            G = rewards[:, t] + gamma * mask[:, t] * G
            J += tf.reduce_mean(log_pi[:, t] * (G - const[:, t]))
            L += tf.reduce_mean((rewards[:, t] + gamma * mask[:, t] * const[:, t + 1] - values[:, t]) ** 2)

        loss = (w_value * L - J) / (n_cols - 1) - w_entropy * entropy

    grads = tape.gradient(loss, agent.trainable_variables)
    grads, norm = tf.clip_by_global_norm(grads, max_norm)
    return loss, grads, norm


# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout; returns the loss."""
    f32 = lambda x: tf.cast(x, tf.float32)
    loss, grads, _ = loss_and_grads(
        agent,
        f32(states),
        tf.cast(actions, tf.int32),
        f32(rewards),
        f32(is_not_done),
        [tf.stop_gradient(f32(part)) for part in prev_memory_states],
        f32(gamma),
        f32(value_loss_weight),
        f32(entropy_weight),
    )
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# warm: 7e-4, and down to a tenth of it over the whole training
schedule = keras.optimizers.schedules.PolynomialDecay(
    initial_learning_rate=7e-4, decay_steps=15_000, end_learning_rate=7e-5
)
optimizer = keras.optimizers.Adam(learning_rate=schedule)
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
