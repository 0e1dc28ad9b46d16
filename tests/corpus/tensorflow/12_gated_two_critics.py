# style: subclassed keras.layers.Layer for a GRU-like gate, two value heads averaged, @tf.function on the unrolling helper, Chinese comments, einsum
# verdict: right
# note: heads read a gated mixture of the cell's output and the features; the value is the mean of two heads (n,); the unrolling is a tf.function that takes the agent as an argument
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class GatedMix(keras.layers.Layer):
    """类似 GRU 的门: z * h + (1 - z) * x"""

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.gate = keras.layers.Dense(units, activation="sigmoid", bias_initializer="ones")
        self.project = keras.layers.Dense(units, activation="tanh")

    def call(self, h, x):
        z = self.gate(tf.concat([h, x], axis=-1))
        return z * h + (1.0 - z) * self.project(x)


class ResidualConv(keras.layers.Layer):
    """卷积 + 残差"""

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.down = keras.layers.Conv2D(filters, 3, strides=2, kernel_initializer="he_normal")
        self.same = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")

    def call(self, x):
        x = tf.nn.elu(self.down(x))
        return x + 0.1 * tf.nn.elu(self.same(x))
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.lstm_output_size = 160
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                ResidualConv(16),
                ResidualConv(24),
                ResidualConv(32),
                keras.layers.Flatten(),
                keras.layers.Dense(160, activation="relu"),
            ]
        )
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.mix = GatedMix(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        # 两个价值头取平均, 方差更小
        self.value_head_a = keras.layers.Dense(1)
        self.value_head_b = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.backbone(obs_t)
        h, new_state = self.lstm_cell(x, prev_state)  # 记忆: [h, c]
        y = self.mix(h, x)
        logits = self.logits_head(y)  # 没有 softmax
        both = tf.concat([self.value_head_a(y), self.value_head_b(y)], axis=-1)
        state_value = tf.reduce_mean(both, axis=-1)  # 形状 (n,)
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
@tf.function
def unroll(player, states, mask, memory):
    """重放整个 rollout, 返回 logits [n, T+1, a] 和 V [n, T+1]"""
    blank = player.get_initial_state(states.shape[0])
    logits, values = [], []
    for t in range(states.shape[1]):
        memory, (logits_t, values_t) = player(memory, states[:, t])
        logits.append(logits_t)
        values.append(values_t)
        alive = mask[:, t, tf.newaxis] > 0
        memory = [tf.where(alive, part, zero) for part, zero in zip(memory, blank)]
    return tf.stack(logits, axis=1), tf.stack(values, axis=1)


@tf.function
def discounted(rewards, mask, bootstrap, gamma):
    """n 步回报, 从后往前"""
    G, out = bootstrap, []
    for t in range(rewards.shape[1] - 1, -1, -1):
        G = rewards[:, t] + gamma * mask[:, t] * G
        out.append(G)
    return tf.stack(out[::-1], axis=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(tf.cast(part, tf.float32)) for part in prev_memory_states]
    r, m = rewards[:, :-1], is_not_done[:, :-1]

    with tf.GradientTape() as tape:
        logits, values = unroll(agent, states, is_not_done, memory)
        frozen = tf.stop_gradient(values)  # 目标里的 V 是常数
        log_policy = tf.nn.log_softmax(logits)

        G = discounted(r, m, is_not_done[:, -1] * frozen[:, -1], tf.cast(gamma, tf.float32))
        advantage = G - frozen[:, :-1]
        chosen = select_log_policy_for_actions(log_policy, actions)[:, :-1]
        J_hat = tf.reduce_mean(chosen * advantage)

        td_error = r + gamma * m * frozen[:, 1:] - values[:, :-1]
        value_loss = tf.reduce_mean(td_error * td_error)

        n, T1 = rewards.shape
        entropy_reg = -tf.einsum("nta,nta->", tf.exp(log_policy), log_policy) / (n * T1)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# 学习率线性下降
schedule = keras.optimizers.schedules.PolynomialDecay(1e-3, decay_steps=15_000, end_learning_rate=1e-5)
optimizer = keras.optimizers.Adam(schedule, beta_2=0.99, amsgrad=True)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
