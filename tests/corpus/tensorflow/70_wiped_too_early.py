# style: half-skilled, German comments, prints left in, TensorArray because of a tutorial
# verdict: wrong
# mistake: The memory is multiplied by the mask before the agent is asked, not afterwards: the last tick of a game is seen with a blank memory, and the new game starts with what was left of the old one.
# loses: memory_reset
# named: wiped one tick too early
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Aufgabe 1
class SimpleRecurrentAgent:
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
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.backbone(obs_t)
        output, [h, c] = self.lstm_cell(x, prev_state)
        #print(x.shape, output.shape, h.shape, c.shape)

        new_state = [h, c]
        logits = self.logits_head(output)
        state_value = self.state_value_head(output)
        state_value = state_value[:, 0]
        #print(logits.shape, state_value.shape)

        return new_state, (logits, state_value)

    __call__ = forward

    def step(self, prev_state, obs_t):
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
print(rollout_mask)
# %% keep: select
# %%
# Aufgabe 2
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1

    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        # wie im TF-Tutorial "Playing CartPole with the Actor-Critic method"
        logits = tf.TensorArray(tf.float32, size=rollout_length + 1)
        state_values = tf.TensorArray(tf.float32, size=rollout_length + 1)

        for t in range(rollout_length + 1):
            # Spiel vorbei -> Gedächtnis auf Null
            mask = tf.expand_dims(is_not_done[:, t], 1)
            memory = [part * mask for part in memory]

            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits = logits.write(t, logits_t)
            state_values = state_values.write(t, values_t)

        logits = tf.transpose(logits.stack(), [1, 0, 2])
        state_values = tf.transpose(state_values.stack(), [1, 0])
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

            ziel = r_t + gamma * is_not_done[:, t] * V_next
            value_loss += tf.reduce_mean(tf.math.squared_difference(ziel, V_t))

            advantage = G_t - V_t
            advantage = tf.stop_gradient(advantage)

            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        entropy_reg = tf.reduce_mean(-tf.reduce_sum(policy * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    #tf.print([tf.norm(g) for g in grads])
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.Adam(learning_rate=0.0005, clipnorm=1.0)
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
