# style: a total beginner who ran out of time; template with NotImplementedError as a place holder, French comments
# verdict: wrong
# mistake: the loss is not finished: the policy's term raises NotImplementedError, so that no loss comes back and no step is ever taken
# loses: policy_gradient
# named: NotImplementedError: J_hat
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
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

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        # les convolutions puis la cellule
        features = self.backbone(obs_t)
        sortie, memoire = self.lstm_cell(features, prev_state)

        new_state = memoire
        logits = self.logits_head(sortie)
        state_value = tf.reshape(self.state_value_head(sortie), (-1,))

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

            # erreur TD, avec le masque
            value_loss += tf.reduce_mean((r_t + gamma * is_not_done[:, t] * V_next - V_t) ** 2)

            # l'avantage
            advantage = G_t - V_t
            advantage = tf.stop_gradient(advantage)

            # TODO demander au forum : log pi fois avantage, mais la moyenne sur quoi ??
            raise NotImplementedError("J_hat")

        J_hat /= rollout_length
        value_loss /= rollout_length

        # H for each game and tick, then the mean of them all. Mind the sign.
        entropy_reg = tf.reduce_mean(-tf.reduce_sum(policy * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam()
# %% keep: optimizer-check
# %%
# pas fini, je rends quand meme... la suite ne marche pas encore
# loss = train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, pool.prev_memory_states, gamma)
