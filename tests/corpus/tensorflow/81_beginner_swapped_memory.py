# style: a total beginner; the template filled in with many questions in the comments, print debugging, a second try commented out
# verdict: wrong
# mistake: the memory is handed on as [c, h] instead of [h, c]: at the next tick the cell takes its cell state for its hidden state and the other way round
# loses: new_state
# named: the other way round: [h, c], in this order
# %% keep: title
# %% keep: setup-text
# %% keep: setup
# %% keep: imports
# %%
# what version do I have??
print(tf.__version__)
print(keras.__version__)
# %% keep: game-text
# %% keep: make-env
# %% keep: look-text
# %% keep: look
# %% keep: pomdp-text
# %% keep: agent-text
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
        # first the picture goes through the convolutions
        picture = self.backbone(obs_t)
        # print(picture.shape)   # (1, 256)

        # then the cell. it gives back the output and the two vectors
        # c = cell = the long memory, h = hidden = the short memory
        output, (h, c) = self.lstm_cell(picture, prev_state)
        # print(output.shape, h.shape, c.shape)   # all (1, 256). output is the same as h ???

        # the long memory is the important one
        new_state = [c, h]
        logits = self.logits_head(output)
        # state_value = self.state_value_head(output)      # (1, 1) <- NOT good, see the text
        state_value = self.state_value_head(output)[:, 0]

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
# %% keep: agent-look-text
# %% keep: agent-look
# %%
# the probabilities should be about 1/14 = 0.07
print(tf.nn.softmax(logits))
print(1 / 14)
# %% keep: play-text
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool-text
# %% keep: pool
# %% keep: interact
# %% keep: objective-text
# %% keep: loss-text
# %% keep: select
# %% keep: loss-hints
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
            m_t = is_not_done[:, t]
            td_error = r_t + gamma * m_t * V_next - V_t
            value_loss += tf.reduce_mean(td_error * td_error)

            # How much better than expected did it go, as far ahead as the rollout can see?
            # advantage = td_error ??  no, G_t has more rewards in it
            advantage = G_t - V_t
            advantage = tf.stop_gradient(advantage)

            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        # H for each game and tick, then the mean of them all. Mind the sign.
        H = -tf.reduce_sum(policy * log_policy, axis=2)
        entropy_reg = tf.reduce_mean(H)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: optimizer-text
# %%
optimizer = keras.optimizers.Adam()
# %% keep: first-step-text
# %% keep: first-step
# %%
# does the loss get smaller on the same data?
for i in range(5):
    print(i, train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, memory, gamma))
# yes!
# %% keep: train-text
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: plots-text
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
