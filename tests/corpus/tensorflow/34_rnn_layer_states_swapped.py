# style: keras.layers.RNN around the cell, unpacked state; the loss written over whole arrays, chatty lower-case comments
# verdict: wrong
# mistake: agent-exercise: the RNN layer gives (output, h, c), unpacked here as (output, c, h): the memory comes back as [c, h], so the next tick gets the two vectors in each other's place
# mistake: loss-exercise: the TD target is not stopped, so the critic also pulls V(s_{t+1}) towards V(s_t)
# loses: new_state, semi_gradient
# named: it is what the LSTM cell gives back the other way round
# named: V(s_{t+1}) is pulled as well
# note: the advantage is stopped separately, further down
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """same as given, but i use keras.layers.RNN because i know it from the lecture"""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"  # keeps signals as strong from layer to layer (He et al., 2015)
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
        self.lstm = keras.layers.RNN(keras.layers.LSTMCell(self.lstm_output_size), return_state=True)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        features = self.backbone(obs_t)
        # the layer wants a time axis, so a sequence of length 1
        features = features[:, None, :]
        out, c, h = self.lstm(features, initial_state=prev_state)

        new_state = [h, c]
        logits = self.logits_head(out)
        state_value = tf.squeeze(self.state_value_head(out), 1)

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
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1

    # Gradients stop here: they must not travel into earlier rollouts.
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            memory, (logits_t, values_t) = agent.forward(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)

            # After a reset tick a new game begins, with a blank memory.
            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        logits = tf.stack(logits, axis=1)  # [n_games, n_steps, n_actions]
        state_values = tf.stack(state_values, axis=1)  # [n_games, n_steps]
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)

        # everything without the last column from here on
        r = rewards[:, :-1]
        m = is_not_done[:, :-1]
        V = state_values[:, :-1]
        V_next = state_values[:, 1:]

        # value loss: whole arrays at once, no loop needed
        td_error = r + gamma * m * V_next - V
        value_loss = tf.reduce_mean(td_error**2)

        # the returns do need one
        G = is_not_done[:, -1] * state_values[:, -1]
        columns = []
        for t in range(rollout_length - 1, -1, -1):
            G = r[:, t] + gamma * m[:, t] * G
            columns.append(G)
        returns = tf.stack(columns[::-1], axis=1)
        advantage = tf.stop_gradient(returns - V)

        J_hat = tf.reduce_mean(log_policy_for_actions[:, :-1] * advantage)

        entropy_reg = -tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(3e-4)
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
