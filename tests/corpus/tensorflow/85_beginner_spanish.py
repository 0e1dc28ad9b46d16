# style: a total beginner; the template with the gaps filled step by step, Spanish comments, several attempts commented out, cells run twice
# verdict: right
# loses:
# note: intermediate steps by hand (probability, logarithm, product), sums divided by the number of games instead of reduce_mean
# %% keep: title
# %% keep: setup
# %% keep: imports
# %% keep: game-text
# %% keep: make-env
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
        """Runs the network for one tick of n games."""
        # primero: la imagen -> 256 numeros
        x = self.backbone(obs_t)
        # segundo: la memoria
        # salida = self.lstm_cell(x, prev_state)     # devuelve DOS cosas!
        salida = self.lstm_cell(x, prev_state)
        y = salida[0]
        new_state = salida[1]

        logits = self.logits_head(y)
        state_value = self.state_value_head(y)
        # state_value = tf.squeeze(state_value)  # con n=1 se queda sin dimension, no sirve
        state_value = tf.squeeze(state_value, axis=1)

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
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
# para entender la mascara
print(rollout_mask)
print(rollout_rewards)
# %% keep: objective-text
# %% keep: select
# %% keep: loss-hints
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout."""
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1
    n_juegos = rewards.shape[0]

    # Gradients stop here: they must not travel into earlier rollouts.
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            obs_t = states[:, t]

            # memory, (logits_t, values_t) = agent.step(memory, obs_t)   # step es solo para jugar
            memory, (logits_t, values_t) = agent.forward(memory, obs_t)
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

            # intento 1: value_loss += (r_t + gamma * V_next - V_t) ** 2     -> falta la mascara y la media
            # intento 2: value_loss += tf.reduce_mean((r_t + gamma * V_next - V_t) ** 2) * is_not_done[:, t]
            # intento 3:
            futuro = gamma * V_next * is_not_done[:, t]
            error = r_t + futuro - V_t
            value_loss += tf.reduce_sum(error**2) / n_juegos

            # cuanto mejor de lo esperado
            advantage = G_t - V_t
            advantage = tf.stop_gradient(advantage)

            producto = logpi_a_s_t * advantage
            J_hat += tf.reduce_sum(producto) / n_juegos

        J_hat /= rollout_length
        value_loss /= rollout_length

        # la suma sobre las acciones (ultimo eje), el signo menos, y la media
        entropia = policy * log_policy
        entropia = tf.reduce_sum(entropia, axis=-1)
        entropia = -entropia
        entropy_reg = tf.reduce_mean(entropia)
        # tf.print(entropy_reg)   # 2.63, bien!

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# optimizer = keras.optimizers.SGD()
optimizer = keras.optimizers.Adam(learning_rate=0.0005)
# %% keep: optimizer-check
# %% keep: first-step
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
