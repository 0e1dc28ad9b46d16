# style: in a hurry; keeps the given skeleton and fills it line by line, TODOs and an apology left in
# verdict: wrong
# mistake: loss: the entropy is left at 0.0 with a TODO
# mistake: optimizer: the gap is still there (SyntaxError)
# loses: entropy_value, entropy_gradient
# ungradable: optimizer
# named: it is always 0
# named: no logit moves
# note: all other lines are right; entropy_weight still stands in the loss, so the weights are used; nothing after the optimizer cell was ever run
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
                # Greys lie around 0.36, give or take 0.1. Centring and stretching them makes what
                # moves stand out from what never does (LeCun et al., 1998, Efficient BackProp).
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
        """Runs the network for one tick of n games.

        Args:
            prev_state: the memory, a list [h, c] of arrays [n, lstm_output_size].
            obs_t: observations, [n, height, width, frames].

        Returns:
            new_state, (logits, state_value): the next memory, then [n, n_actions] and [n].
        """
        cell_out, state = self.lstm_cell(self.backbone(obs_t), prev_state)

        new_state = state
        logits = self.logits_head(cell_out)
        state_value = self.state_value_head(cell_out)[:, 0]

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
    """Takes one gradient step on a rollout.

    Args:
        states: observations, [n_games, n_steps, height, width, frames].
        actions: what was played, [n_games, n_steps]; 0 in the last column.
        rewards: what it earned, [n_games, n_steps]; 0 in the last column.
        is_not_done: 0 where an observation is the last of its game, else 1, [n_games, n_steps].
        prev_memory_states: the memory before the first column, [h, c], each [n_games, units].
        gamma: the discount per tick.

    Returns:
        The loss, a number.
    """
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

        J_hat = 0.0
        value_loss = 0.0
        # The return beyond the rollout is the critic's guess: the bootstrap value.
        cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])

        # Backwards in time; every name below holds one number for each game.
        for t in reversed(range(rollout_length)):
            r_t = rewards[:, t]
            V_t = state_values[:, t]
            V_next = tf.stop_gradient(state_values[:, t + 1])
            logpi_a_s_t = log_policy_for_actions[:, t]

            # G_t = r_t + γ·G_{t+1}, and nothing after the end of a game.
            G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
            cumulative_returns = G_t

            # The squared TD error, averaged over the games. Mind the games that are over.
            value_loss += tf.reduce_mean((r_t + gamma * V_next * is_not_done[:, t] - V_t) ** 2)

            # How much better than expected did it go, as far ahead as the rollout can see?
            advantage = cumulative_returns - V_t
            advantage = tf.stop_gradient(advantage)

            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        # H for each game and tick, then the mean of them all. Mind the sign.
        entropy_reg = 0.0  # TODO!! do this last, the formula is in section 7

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# sorry, deadline is in 4 minutes and the kernel died again. Adam probably
optimizer = <YOUR CODE: one of keras.optimizers>
# %% keep: optimizer-check
# %% keep: hand-in
