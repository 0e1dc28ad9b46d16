# style: tf.while_loop with TensorArrays and named body, because "Python loops are slow"; sober engineering English
# verdict: wrong
# mistake: loss-exercise: the memory is stopped at every tick inside the loop, so no gradient travels from tick to tick and the cell never learns what to remember
# mistake: loss-exercise: the advantage is the one-step TD error at every tick, not as far ahead as the rollout can see
# loses: memory_gradient, advantage
# named: the advantage looks one step ahead only
# named: none does
# note: the memory itself is passed on and wiped correctly; the one-step advantage is stopped and has the right mask
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"  # keeps signals as strong from layer to layer (He et al., 2015)
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(64, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer=he),
                keras.layers.LayerNormalization(),
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
        features = self.backbone(obs_t)
        h_t, new_state = self.lstm_cell(features, prev_state)
        logits = self.logits_head(h_t)
        state_value = tf.squeeze(self.state_value_head(h_t), axis=1)
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
def unroll(states, is_not_done, h0, c0):
    """Replays a rollout inside tf.while_loop.

    Returns logits [n_games, n_steps, n_actions] and values [n_games, n_steps].
    """
    n_steps = tf.shape(is_not_done)[1]

    def not_finished(t, *_):
        return t < n_steps

    def body(t, h, c, logits_ta, values_ta):
        # Truncated backpropagation: the state enters the tick as a constant.
        h, c = tf.stop_gradient(h), tf.stop_gradient(c)
        (h, c), (logits_t, values_t) = agent.forward([h, c], states[:, t])
        goes_on = is_not_done[:, t][:, tf.newaxis] > 0
        h = tf.where(goes_on, h, tf.zeros_like(h))
        c = tf.where(goes_on, c, tf.zeros_like(c))
        return t + 1, h, c, logits_ta.write(t, logits_t), values_ta.write(t, values_t)

    _, _, _, logits_ta, values_ta = tf.while_loop(
        not_finished,
        body,
        (
            tf.constant(0),
            h0,
            c0,
            tf.TensorArray(tf.float32, size=n_steps),
            tf.TensorArray(tf.float32, size=n_steps),
        ),
    )
    return tf.transpose(logits_ta.stack(), [1, 0, 2]), tf.transpose(values_ta.stack())


# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    h0, c0 = [tf.stop_gradient(tf.cast(part, tf.float32)) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, state_values = unroll(states, is_not_done, h0, c0)
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)

        V_next = tf.stop_gradient(state_values[:, 1:])
        td_error = rewards[:, :-1] + gamma * is_not_done[:, :-1] * V_next - state_values[:, :-1]

        value_loss = tf.reduce_mean(tf.square(td_error))
        # The TD error is an unbiased estimate of the advantage.
        advantage = tf.stop_gradient(td_error)
        J_hat = tf.reduce_mean(log_policy_for_actions[:, :-1] * advantage)
        entropy_reg = tf.reduce_mean(-tf.reduce_sum(policy * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=3e-4, epsilon=1e-5)
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
