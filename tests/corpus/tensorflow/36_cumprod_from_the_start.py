# style: time axis vectorised with cumprod and a reversed cumsum, a shape comment on each line, the agent as given with its gaps filled in
# verdict: wrong
# mistake: loss-exercise: the mask's product runs from the start of the rollout, not from t: once a game has ended, everything the next game earns in the same rollout counts as 0 in the returns
# loses: policy_ends
# named: where is_not_done is 0, and only there, the return must be cut
# note: no reward leaks into the earlier game, and for rollouts without an end the returns are right; the TD target has its own, right mask
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
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Flatten(),
                keras.layers.Dense(128, activation="relu", kernel_initializer=he),
            ]
        )
        self.lstm_output_size = 128
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        """Runs the network for one tick of n games."""
        features = self.backbone(obs_t)                       # [n, 128]
        lstm_out, state = self.lstm_cell(features, prev_state)  # [n, 128], [h, c]

        new_state = state
        logits = self.logits_head(lstm_out)                   # [n, n_actions]
        state_value = self.state_value_head(lstm_out)         # [n, 1]
        state_value = tf.squeeze(state_value, axis=-1)        # [n]

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
    """Takes one gradient step on a rollout. Returns the loss, a number."""
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1

    # Gradients stop here: they must not travel into earlier rollouts.
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    # γ^k, k = 0 … T
    powers = tf.pow(tf.cast(gamma, tf.float32), tf.range(rollout_length + 1, dtype=tf.float32))  # [T+1]

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            obs_t = states[:, t]

            memory, (logits_t, values_t) = agent(memory, obs_t)
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

        V = state_values[:, :-1]                                        # [n, T]
        V_next = tf.stop_gradient(state_values[:, 1:])                  # [n, T]

        # td error
        td = rewards[:, :-1] + gamma * is_not_done[:, :-1] * V_next - V  # [n, T]
        value_loss = tf.reduce_mean(tf.square(td))                      # []

        # is the game still running when we get to k?
        alive = tf.math.cumprod(is_not_done, axis=1, exclusive=True)    # [n, T+1]
        bootstrap = is_not_done[:, -1:] * tf.stop_gradient(state_values[:, -1:])  # [n, 1]
        gains = tf.concat([rewards[:, :-1], bootstrap], axis=1)         # [n, T+1]
        gains = gains * alive * powers                                  # [n, T+1]
        # sum of everything still to come, discounted to t instead of 0
        returns = tf.cumsum(gains, axis=1, reverse=True) / powers       # [n, T+1]

        advantage = tf.stop_gradient(returns[:, :-1] - V)               # [n, T]
        J_hat = tf.reduce_mean(log_policy_for_actions[:, :-1] * advantage)  # []

        entropy = -tf.reduce_sum(policy * log_policy, axis=-1)          # [n, T+1]
        entropy_reg = tf.reduce_mean(entropy)                           # []

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-5)
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
