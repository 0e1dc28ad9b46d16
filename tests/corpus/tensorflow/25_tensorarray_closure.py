# style: comments in Chinese, TensorArray for the replay, loss built by a closure, dueling-like critic with a skip connection, decorator for timing
# verdict: right
# note: value = head of the LSTM output + head of the dense features; the bootstrap and the masks are written with tf.where; learning rate by a PiecewiseConstantDecay schedule
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
import contextlib
import functools


def 计时(f):
    """看看每个函数跑多久"""
    @functools.wraps(f)
    def inner(*args, **kwargs):
        t0 = time.perf_counter()
        try:
            return f(*args, **kwargs)
        finally:
            inner.seconds.append(time.perf_counter() - t0)
    inner.seconds = []
    return inner
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """卷积 + LSTM, 演员和评论家各一个头. 评论家另外直接看一眼特征."""

    def __init__(self, obs_shape, n_actions):
        conv = functools.partial(keras.layers.Conv2D, strides=2, activation="elu", kernel_initializer="he_normal")
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                conv(32, 5),
                conv(32, 3),
                conv(48, 3),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="gelu"),
            ]
        )
        self.lstm_output_size = 192
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.state_value_skip = keras.layers.Dense(1, use_bias=False)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        特征 = self.backbone(obs_t)
        h, new_state = self.lstm_cell(特征, prev_state)
        logits = self.logits_head(h)
        # 去掉最后一维, 否则会广播成 (n, n)
        state_value = tf.reshape(self.state_value_head(h) + self.state_value_skip(特征), (-1,))
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
@contextlib.contextmanager
def gradient_step():
    """with 里面算 loss, 出来的时候走一步"""
    box = {}
    with tf.GradientTape() as tape:
        yield box
    weights = agent.trainable_variables
    optimizer.apply(tape.gradient(box["loss"], weights), weights)


def make_replay(memory, states, alive):
    """闭包: 调用一次就重放整个 rollout"""
    n, T1 = alive.shape

    def replay():
        mem = memory
        logits = tf.TensorArray(tf.float32, size=T1)
        values = tf.TensorArray(tf.float32, size=T1)
        for t in range(T1):
            mem, (logits_t, values_t) = agent(mem, states[:, t])
            logits = logits.write(t, logits_t)
            values = values.write(t, values_t)
            # 这一局结束了 -> 下一个观测是新的一局, 记忆清空
            mem = [tf.where(alive[:, t, None], new, old) for new, old in zip(mem, agent.get_initial_state(n))]
        return logits.stack(), values.stack()  # 时间在前: [T+1, n, ...]

    return replay


@计时
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards = tf.cast(states, tf.float32), tf.transpose(tf.cast(rewards, tf.float32))
    alive = tf.cast(is_not_done, tf.bool)
    replay = make_replay([tf.stop_gradient(m) for m in prev_memory_states], states, alive)
    alive = tf.transpose(alive)
    actions = tf.transpose(tf.cast(actions, tf.int32))
    T = rewards.shape[0] - 1

    with gradient_step() as box:
        logits, V = replay()
        log_policy = tf.nn.log_softmax(logits)
        V_const = tf.stop_gradient(V)
        log_pi = select_log_policy_for_actions(log_policy, actions)

        G = tf.where(alive[T], V_const[T], 0.0)
        J_hat, value_loss = [], []
        for t in range(T - 1, -1, -1):
            G = rewards[t] + gamma * tf.where(alive[t], G, 0.0)
            target = rewards[t] + gamma * tf.where(alive[t], V_const[t + 1], 0.0)
            J_hat.append(log_pi[t] * (G - V_const[t]))
            value_loss.append(tf.math.squared_difference(V[t], target))

        H = tf.reduce_sum(tf.exp(log_policy) * -log_policy, axis=-1)
        box["loss"] = (
            value_loss_weight * tf.reduce_mean(value_loss)
            - tf.reduce_mean(J_hat)
            - entropy_weight * tf.reduce_mean(H)
        )

    return box["loss"].numpy() if tf.executing_eagerly() else box["loss"]
# %% keep: loss-check
# %%
# Exercise: optimizer
rate = keras.optimizers.schedules.PiecewiseConstantDecay([3000, 9000], [5e-4, 2e-4, 5e-5])
optimizer = keras.optimizers.Adam(rate, amsgrad=True, clipvalue=5.0)
# %% keep: optimizer-check
# %% keep: first-step
# %%
print(f"一步: {train_on_rollout.seconds[-1]:.2f} 秒")
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
