# style: everything through keras.losses objects with reduction arguments; the policy term is a cross-entropy with the advantage as sample_weight
# verdict: wrong
# mistake: loss: reduction="mean_with_sample_weight" divides the policy term by the sum of the advantages instead of the number of games
# mistake: loss: the TD target is y_true with an unstopped V(s'), "keras takes y_true as constant" (it does not)
# loses: policy_gradient, semi_gradient
# named: V(s_{t+1}) is pulled as well
# named: ticks count differently, each by a number of its own
# note: from_logits=True is there, the advantage is stopped, the value loss is the mean square; CategoricalCrossentropy of policy against itself is the entropy (right)
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
        self.state_value_head = keras.Sequential([keras.layers.Dense(1), keras.layers.Reshape(())])

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        seen = self.backbone(obs_t)
        out, new_state = self.lstm_cell(seen, prev_state)
        logits = self.logits_head(out)
        state_value = self.state_value_head(out)
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
mse = keras.losses.MeanSquaredError(reduction="sum_over_batch_size")
# -log pi(a|s), each weighted with its advantage, then the mean
neg_log_pi = keras.losses.SparseCategoricalCrossentropy(
    from_logits=True, reduction="mean_with_sample_weight"
)
entropy_of = keras.losses.CategoricalCrossentropy(from_logits=True, reduction="none")

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
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)
            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        J_hat = 0.0
        value_loss = 0.0
        cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[-1])

        for t in reversed(range(rollout_length)):
            r_t = rewards[:, t]
            m_t = is_not_done[:, t]
            V_t = state_values[t]
            V_next = state_values[t + 1]

            G_t = r_t + gamma * m_t * cumulative_returns
            cumulative_returns = G_t

            # keras: loss(y_true, y_pred). Only y_pred is trained, y_true is the label.
            value_loss += mse(y_true=r_t + gamma * m_t * V_next, y_pred=V_t)

            advantage = tf.stop_gradient(G_t - V_t)
            J_hat -= neg_log_pi(actions[:, t], logits[t], sample_weight=advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        # cross-entropy of the policy with itself
        logits = tf.stack(logits, axis=1)
        entropy_reg = tf.reduce_mean(entropy_of(tf.nn.softmax(logits), logits))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam()
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
