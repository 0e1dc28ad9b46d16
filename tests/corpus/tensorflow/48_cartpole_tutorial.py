# style: beginner; pastes the CartPole actor-critic tutorial from the TensorFlow site (Huber, sums, returns for the critic) into the notebook's loop
# verdict: wrong
# mistake: loss: value loss is a summed Huber loss between the whole returns and V, as in the tutorial, not the mean squared one-step TD error
# mistake: loss: policy loss is reduce_sum over games (and time), never a mean over the games
# loses: value_loss, policy_gradient
# named: summed over the games; and divided by rollout_length once too often; and it is a Huber
# named: summed over the games
# note: the returns are masked and stopped, so ends and semi-gradient are fine; the sign is fine; entropy is the mean as asked
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
        x = self.backbone(obs_t)
        x, memory = self.lstm_cell(x, prev_state)

        new_state = memory
        logits = self.logits_head(x)
        state_value = tf.reshape(self.state_value_head(x), [-1])

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
# from the tutorial "Playing CartPole with the Actor-Critic method"
huber_loss = keras.losses.Huber(reduction="sum")


def compute_loss(action_log_probs, values, returns):
    """Computes the combined Actor-Critic loss."""
    advantage = tf.stop_gradient(returns - values)
    actor_loss = -tf.math.reduce_sum(action_log_probs * advantage)
    critic_loss = huber_loss(values, returns)
    return actor_loss, critic_loss

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

        # tutorial: get_expected_return
        returns = []
        discounted_sum = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])
        for t in reversed(range(rollout_length)):
            discounted_sum = rewards[:, t] + gamma * is_not_done[:, t] * discounted_sum
            returns.append(discounted_sum)
        returns = tf.stack(returns[::-1], axis=1)

        actor_loss, critic_loss = compute_loss(
            log_policy_for_actions[:, :-1], state_values[:, :-1], returns
        )
        actor_loss /= rollout_length
        critic_loss /= rollout_length

        # H for each game and tick, then the mean of them all. Mind the sign.
        entropy_reg = -tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1))

        loss = actor_loss + value_loss_weight * critic_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=0.01)
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
