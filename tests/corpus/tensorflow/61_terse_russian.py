# style: terse fill-in, comments in Russian, docstrings thrown out, given cells mostly kept
# verdict: right
# loses:
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.backbone = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_initializer=he),
        ])
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(256)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))  # создаём веса
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        out, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        logits = self.logits_head(out)
        V = self.state_value_head(out)[:, 0]  # (n,1) -> (n,)
        return new_state, (logits, V)

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(p, tf.float32) for p in prev_state]
        (h, c), (logits, V) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), V.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)), tf.zeros((batch_size, self.lstm_output_size))]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        res = []
        for l in (self.backbone, self.lstm_cell, self.logits_head, self.state_value_head):
            res += l.trainable_variables
        return res
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
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

    memory = [tf.stop_gradient(p) for p in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, V = [], []
        for t in range(T + 1):
            memory, (l, v) = agent(memory, states[:, t])
            logits.append(l)
            V.append(v)
            # после конца игры память обнуляем
            memory = [p * is_not_done[:, t, None] for p in memory]

        logits = tf.stack(logits, 1)
        V = tf.stack(V, 1)
        p = tf.nn.softmax(logits)
        logp = tf.nn.log_softmax(logits)
        logpa = select_log_policy_for_actions(logp, actions)

        J = 0.
        Ltd = 0.
        G = is_not_done[:, -1] * tf.stop_gradient(V[:, -1])
        for t in reversed(range(T)):
            m = is_not_done[:, t]
            G = rewards[:, t] + gamma * m * G
            Vn = tf.stop_gradient(V[:, t + 1])
            Ltd += tf.reduce_mean((rewards[:, t] + gamma * m * Vn - V[:, t]) ** 2)
            A = tf.stop_gradient(G - V[:, t])
            J += tf.reduce_mean(logpa[:, t] * A)
        J /= T
        Ltd /= T
        H = -tf.reduce_mean(tf.reduce_sum(p * logp, -1))  # сумма по действиям, среднее по остальному
        loss = -J + value_loss_weight * Ltd - entropy_weight * H

    w = agent.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, w), w))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.Adam(3e-4, global_clipnorm=0.5)
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
