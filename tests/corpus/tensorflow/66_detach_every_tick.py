# style: Russian comments, helper functions in their own cells, confident but not careful
# verdict: wrong
# mistake: The memory is stopped at every tick inside the rollout, so no gradient goes through time and the cell does not learn what to remember.
# mistake: Negative learning rate "for gradient ascent", though the loss already carries the minus of J: the optimizer climbs.
# loses: memory_gradient, descent
# named: none does: within a rollout the memory must not be stopped
# named: move uphill
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
def make_backbone():
    K = keras.layers
    net = keras.Sequential()
    net.add(K.Rescaling(10, offset=-3.6))
    net.add(K.Conv2D(32, 3, strides=2, activation="elu"))
    net.add(K.Conv2D(32, 3, strides=2, activation="elu"))
    net.add(K.Conv2D(32, 3, strides=2, activation="elu"))
    net.add(K.Flatten())
    net.add(K.Dense(128, activation="relu"))
    return net


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.lstm_output_size = 128
        self.backbone = make_backbone()
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.actor = keras.layers.Dense(n_actions)
        self.critic = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        feats = self.backbone(obs_t)
        hid, new_state = self.lstm_cell(feats, prev_state)
        return new_state, (self.actor(hid), tf.squeeze(self.critic(hid), -1))

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
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# прогоняем агента по роллауту
def replay(states, mask, memory):
    logits, values = [], []
    for t in range(states.shape[1]):
        # градиент не должен течь в прошлое
        memory = [tf.stop_gradient(x) for x in memory]
        memory, (l, v) = agent(memory, states[:, t])
        logits.append(l)
        values.append(v)
        # новая игра -> чистая память
        memory = [tf.where(mask[:, t, None] > 0, x, tf.zeros_like(x)) for x in memory]
    return tf.stack(logits, 1), tf.stack(values, 1)
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    mask = tf.cast(is_not_done, tf.float32)
    T = rewards.shape[1] - 1

    with tf.GradientTape() as tape:
        logits, V = replay(states, mask, prev_memory_states)
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        logpi = select_log_policy_for_actions(log_policy, actions)
        Vc = tf.stop_gradient(V)  # V_const

        J_hat, value_loss = 0.0, 0.0
        G = mask[:, T] * Vc[:, T]
        for t in range(T - 1, -1, -1):
            G = rewards[:, t] + gamma * mask[:, t] * G
            td = rewards[:, t] + gamma * mask[:, t] * Vc[:, t + 1] - V[:, t]
            value_loss += tf.reduce_mean(td ** 2) / T
            J_hat += tf.reduce_mean(logpi[:, t] * (G - Vc[:, t])) / T

        entropy = -tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=2))
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
# J_hat максимизируем => градиентный подъём, поэтому шаг с минусом
optimizer = keras.optimizers.Adam(learning_rate=-1e-3, global_clipnorm=0.5)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
