# style: confident, PPO tricks from blog posts, English with a little Russian
# verdict: wrong
# mistake: Batch normalisation in training mode inside the network: what the agent says about one game depends on the other games in the batch.
# mistake: The advantages are normalised over the rollout (minus mean, over std, a PPO trick): that is not G - V.
# loses: games_apart, advantage
# named: the other games in the batch change a game's h
# named: advantages are normalized
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent:
    """conv + BN + LSTM"""

    def __init__(self, obs_shape, n_actions):
        layers = [keras.layers.Rescaling(10, offset=-3.6)]
        for n_filters in (32, 32, 32):
            layers += [
                keras.layers.Conv2D(n_filters, 3, strides=2, activation="elu", kernel_initializer="he_normal"),
                keras.layers.BatchNormalization(),  # стабилизирует обучение
            ]
        layers += [keras.layers.Flatten(), keras.layers.Dense(256, activation="relu")]
        self.backbone = keras.Sequential(layers)
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(256)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        # training=True, otherwise BN uses mean 0 / std 1
        x = self.backbone(obs_t, training=True)
        out, new_state = self.lstm_cell(x, prev_state)
        logits = self.logits_head(out)
        state_value = self.state_value_head(out)[:, 0]
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
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    T = rewards.shape[1] - 1

    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    with tf.GradientTape() as tape:
        logits, values = [], []
        for t in range(T + 1):
            memory, (l_t, v_t) = agent(memory, states[:, t])
            memory = [part * is_not_done[:, t, None] for part in memory]
            logits.append(l_t)
            values.append(v_t)
        logits, values = tf.stack(logits, axis=1), tf.stack(values, axis=1)
        log_policy = tf.nn.log_softmax(logits)
        log_pi_a = select_log_policy_for_actions(log_policy, actions)

        returns = []
        G = is_not_done[:, -1] * values[:, -1]
        for t in reversed(range(T)):
            G = rewards[:, t] + gamma * is_not_done[:, t] * G
            returns.append(G)
        returns = tf.stack(returns[::-1], axis=1)

        advantages = tf.stop_gradient(returns - values[:, :-1])
        # normalize advantages, reduces the variance
        advantages = (advantages - tf.reduce_mean(advantages)) / (tf.math.reduce_std(advantages) + 1e-8)
        J_hat = tf.reduce_mean(log_pi_a[:, :-1] * advantages)

        targets = rewards[:, :-1] + gamma * is_not_done[:, :-1] * tf.stop_gradient(values[:, 1:])
        value_loss = tf.reduce_mean(keras.ops.square(targets - values[:, :-1]))

        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_policy) * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.Adam(learning_rate=2.5e-4, epsilon=1e-5, global_clipnorm=0.5)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
