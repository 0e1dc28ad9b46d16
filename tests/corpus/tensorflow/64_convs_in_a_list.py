# style: half-skilled, English, own list of conv layers and a loop, rest of the template
# verdict: wrong
# mistake: The convolutions live in a Python list, which trainable_variables does not look into: they get no gradient and never learn.
# loses: gradients
# named: so no optimizer moves them
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
        # Sequential hides the shapes from me, so a plain list
        self.rescale = keras.layers.Rescaling(10, offset=-3.6)
        self.convs = []
        for filters in [16, 32, 32]:
            self.convs.append(keras.layers.Conv2D(filters, 3, strides=2, activation="elu", kernel_initializer=he))
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(256, activation="relu", kernel_initializer=he)
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.rescale(obs_t)
        for conv in self.convs:
            x = conv(x)
            # print(x.shape)
        x = self.flatten(x)
        x = self.dense(x)
        lstm_out, new_state = self.lstm_cell(x, prev_state)

        logits = self.logits_head(lstm_out)
        state_value = tf.reshape(self.state_value_head(lstm_out), [-1])

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
        """The weights of all layers, in the order the layers were made."""
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %% keep: agent-look
# %%
for v in agent.trainable_variables:
    print(v.path, v.shape)
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
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
            memory, (logits_t, values_t) = agent(memory, obs_t)
            logits.append(logits_t)
            state_values.append(values_t)
            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
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

            td_target = r_t + gamma * V_next * is_not_done[:, t]
            td_error = td_target - V_t
            value_loss += tf.reduce_mean(tf.square(td_error))

            advantage = cumulative_returns - V_t
            advantage = tf.stop_gradient(advantage)
            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length
        entropy_reg = -tf.reduce_sum(policy * log_policy, axis=-1)
        entropy_reg = tf.reduce_mean(entropy_reg)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.Adam()
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
