# style: Chinese comments; observations time-major, outputs collected in tf.TensorArray, returns by tf.scan with reverse=True
# verdict: right
# loses:
# note: everything is time-major [T, n] inside; means over both axes do not care; the advantage multiplies log π by way of categorical cross-entropy with from_logits
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """卷积 + LSTM 记忆 + 两个输出头"""

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

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        特征 = self.backbone(obs_t)
        h, new_state = self.lstm_cell(特征, prev_state)   # h 就是 new_state[0]
        logits = self.logits_head(h)
        state_value = self.state_value_head(h)
        # 注意：形状必须是 (n,)，不能是 (n, 1)，否则广播成 (n, n)！
        state_value = tf.gather(state_value, 0, axis=1)
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
        """按 softmax(logits) 抽样"""
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
def 时间优先(x, dtype=tf.float32):
    """[n, T, ...] -> [T, n, ...]"""
    x = tf.cast(x, dtype)
    return tf.transpose(x, [1, 0] + list(range(2, len(x.shape))))


# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = 时间优先(states)
    actions = 时间优先(actions, tf.int32)
    rewards = 时间优先(rewards)
    mask = 时间优先(is_not_done)
    gamma = tf.cast(gamma, tf.float32)
    n_cols = rewards.shape[0]          # T + 1 列

    h, c = [tf.stop_gradient(tf.cast(p, tf.float32)) for p in prev_memory_states]

    with tf.GradientTape() as tape:
        logits_ta = tf.TensorArray(tf.float32, size=n_cols)
        value_ta = tf.TensorArray(tf.float32, size=n_cols)
        for t in range(n_cols):
            (h, c), (logits_t, value_t) = agent([h, c], states[t])
            logits_ta = logits_ta.write(t, logits_t)
            value_ta = value_ta.write(t, value_t)
            # 游戏结束 → 清空记忆
            alive = mask[t][:, None]
            h, c = h * alive, c * alive
        logits = logits_ta.stack()      # [T+1, n, n_actions]
        values = value_ta.stack()       # [T+1, n]

        常数V = tf.stop_gradient(values)

        # ---- 评论家 (critic) ----
        target = rewards[:-1] + gamma * mask[:-1] * 常数V[1:]
        value_loss = tf.reduce_mean(tf.math.squared_difference(target, values[:-1]))

        # ---- 回报 G_t：从右往左扫描 ----
        # G_T = m_T V(s_T);  G_t = r_t + γ m_t G_{t+1}
        returns = tf.scan(
            lambda G, rm: rm[0] + gamma * rm[1] * G,
            (rewards[:-1], mask[:-1]),
            initializer=mask[-1] * 常数V[-1],
            reverse=True,
        )
        advantage = tf.stop_gradient(returns) - 常数V[:-1]

        # ---- 演员 (actor) ----
        # 交叉熵 = -log π(a|s)
        minus_log_pi = keras.losses.sparse_categorical_crossentropy(
            actions[:-1], logits[:-1], from_logits=True
        )
        J_hat = -tf.reduce_mean(minus_log_pi * advantage)

        # ---- 熵：所有列的平均 ----
        log_p = tf.nn.log_softmax(logits, axis=-1)
        H = -tf.reduce_sum(tf.exp(log_p) * log_p, axis=-1)
        entropy_reg = tf.reduce_mean(H)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply(grads, agent.trainable_variables)   # Keras 3 的新写法
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Nadam(learning_rate=0.0005)
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
