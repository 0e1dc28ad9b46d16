# style: terse, tf.scan for the returns, own Categorical class, keras MeanSquaredError, few comments in Chinese, progress notes
# verdict: right
# note: the critic is regressed on the n-step return by a library's mean squared error (accepted); the memory is reset by a product with the mask; self is called s and batch_size n (positional use only)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
K = keras.layers

class SimpleRecurrentAgent:
    def __init__(s, obs_shape, n_actions):
        s.lstm_output_size = 256
        s.body = keras.Sequential([K.Rescaling(10, -3.6)] + [K.Conv2D(32, 3, 2, activation='elu') for _ in range(3)]
                                  + [K.Flatten(), K.Dense(256), K.LayerNormalization(), K.ReLU()])
        s.cell = K.LSTMCell(256, unit_forget_bias=True)
        # 一个头输出全部: logits 和 V
        s.heads = K.Dense(n_actions + 1, kernel_initializer=keras.initializers.Orthogonal(0.1))
        s.forward(s.get_initial_state(1), tf.zeros((1, *obs_shape)))
        s.fast = tf.function(s.forward)

    def forward(s, prev_state, obs_t):
        y, st = s.cell(s.body(obs_t), prev_state)
        y = s.heads(y)
        return st, (y[..., :-1], y[..., -1])

    def __call__(s, *a): return s.forward(*a)

    def step(s, prev_state, obs_t):
        st, out = s.fast([tf.constant(x, tf.float32) for x in prev_state], tf.constant(obs_t, tf.float32))
        return [x.numpy() for x in st], tuple(x.numpy() for x in out)

    def get_initial_state(s, n): return [tf.zeros((n, 256)), tf.zeros((n, 256))]

    def sample_actions(s, outs): return Categorical(tf.constant(outs[0])).sample().numpy()

    @property
    def trainable_variables(s): return s.body.trainable_variables + s.cell.trainable_variables + s.heads.trainable_variables


class Categorical:  # tfp 装不上, 自己写
    def __init__(s, logits): s.logp = tf.nn.log_softmax(logits)
    def sample(s): return tf.random.categorical(s.logp, 1)[:, 0]
    def log_prob(s, a): return tf.gather(s.logp, a, axis=-1, batch_dims=len(a.shape))
    def entropy(s): return -tf.reduce_sum(tf.exp(s.logp) * s.logp, -1)
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight, entropy_weight = 1.0, 0.01
mse = keras.losses.MeanSquaredError()

# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    S, R, M = [tf.cast(x, tf.float32) for x in (states, rewards, is_not_done)]
    mem, outs = [tf.stop_gradient(x) for x in prev_memory_states], []
    with tf.GradientTape() as tape:
        for t in range(R.shape[1]):
            mem, o = agent(mem, S[:, t])
            outs.append(o)
            mem = [x * M[:, t:t + 1] for x in mem]   # 游戏结束 -> 清空记忆
        L, V = [tf.stack(x, 1) for x in zip(*outs)]
        pi = Categorical(L)
        # 时间在第一维才能 scan
        G = tf.scan(lambda g, x: x[0] + gamma * x[1] * g, (tf.transpose(R)[:-1], tf.transpose(M)[:-1]),
                    initializer=tf.stop_gradient(V[:, -1]) * M[:, -1], reverse=True)
        G = tf.stop_gradient(tf.transpose(G))
        A = tf.stop_gradient(G - V[:, :-1])
        pg = tf.reduce_mean(pi.log_prob(tf.cast(actions, tf.int32))[:, :-1] * A)
        loss = value_loss_weight * mse(G, V[:, :-1]) - pg - entropy_weight * tf.reduce_mean(pi.entropy())
    w = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, w), w)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(3e-4, beta_1=0.9, beta_2=0.99, epsilon=1e-5, clipnorm=1.0)
# %% keep: optimizer-check
# %% keep: first-step
# %%
# 进度
# 1/3  loss 对上了, 熵 2.63
# 1/4  lr 1e-3 -> 3e-4, 不再发散
# 1/5  7k
# 1/6  11k !!
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: hand-in
