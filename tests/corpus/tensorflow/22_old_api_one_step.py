# style: early-2020 tutorial style, assertions and shape prints left in, Huber attempt commented out, old keyword arguments
# verdict: wrong
# mistake: loss: the advantage is the one-step TD error r + gamma*m*V_next - V_t instead of the n-step return minus V_t (G_t is computed and never used)
# mistake: optimizer: keras.optimizers.Adam(lr=...) uses the old name of the argument, which Keras 3 refuses with a ValueError
# loses: advantage, descent
# named: the advantage looks one step ahead only
# named: Argument(s) not recognized: {'lr': 0.0003}
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(object):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions, reuse=False):
        self.obs_shape, self.n_actions = tuple(obs_shape), n_actions
        self.backbone = tf.keras.models.Sequential()
        self.backbone.add(tf.keras.layers.InputLayer(self.obs_shape))
        for _ in range(3):
            self.backbone.add(tf.keras.layers.Conv2D(32, (3, 3), strides=(2, 2), activation="elu"))
        self.backbone.add(tf.keras.layers.Flatten())
        self.backbone.add(tf.keras.layers.Dense(256, activation="relu"))

        self.lstm_output_size = 256
        self.lstm_cell = tf.keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = tf.keras.layers.Dense(n_actions)
        self.state_value_head = tf.keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1,) + self.obs_shape))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        features = self.backbone(obs_t)
        lstm_out, new_state = self.lstm_cell(features, prev_state)

        logits = self.logits_head(lstm_out)
        state_value = tf.reshape(self.state_value_head(lstm_out), [-1])

        assert logits.shape[-1] == self.n_actions and len(state_value.shape) == 1
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
        policy = tf.nn.softmax(logits).numpy().astype("float64")
        return np.array([np.random.choice(len(p), p=p / p.sum()) for p in policy])

    @property
    def trainable_variables(self):
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
    """Takes one gradient step on a rollout."""
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1

    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            obs_t = states[:, t]

            memory, (logits_t, values_t) = agent.forward(memory, obs_t)
            logits.append(logits_t)
            state_values.append(values_t)

            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        # print("logits", logits.shape, "values", state_values.shape)
        assert logits.shape[:2] == state_values.shape == rewards.shape, "shapes!"
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)

        J_hat = 0.0
        value_loss = 0.0
        cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])

        for t in reversed(range(rollout_length)):
            r_t = rewards[:, t]
            V_t = state_values[:, t]
            V_next = tf.stop_gradient(state_values[:, t + 1])
            logpi_a_s_t = log_policy_for_actions[:, t]

            G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
            cumulative_returns = G_t

            td_target = r_t + gamma * is_not_done[:, t] * V_next
            # value_loss += tf.reduce_mean(tf.keras.losses.huber(td_target, V_t))
            value_loss += tf.reduce_mean(tf.math.square(td_target - V_t))

            # A(s,a) = r + gamma * V(s') - V(s)
            advantage = td_target - V_t
            advantage = tf.stop_gradient(advantage)

            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        entropy_reg = -tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=2))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(lr=3e-4, clipnorm=10.0)
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
