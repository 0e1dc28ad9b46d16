# style: a functional programmer (Haskell accent); compose, closures, itertools.accumulate for the memory, tf.scan for the returns, cross-entropy for everything
# verdict: right
# loses:
# note: entropy as the cross-entropy of the policy with itself (TensorFlow differentiates both arguments); log pi as minus sparse cross-entropy; tf.scan(reverse=True)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
import functools as ft
import itertools as it

compose = lambda *fs: lambda x: ft.reduce(lambda acc, f: f(acc), fs, x)
fst, snd = (lambda p: p[0]), (lambda p: p[1])
columns = ft.partial(tf.unstack, axis=1)

assert compose(lambda x: x + 1, lambda x: 2 * x)(3) == 8
# %%
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        he = {"kernel_initializer": "he_normal"}
        conv = lambda n: keras.layers.Conv2D(n, 3, strides=2, activation="elu", **he)
        self.lstm_output_size = 256
        self.layers = [
            keras.layers.Rescaling(10, offset=-3.6),
            *map(conv, (32, 32, 32)),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", **he),
        ]
        self.see = compose(*self.layers)
        self.remember = keras.layers.LSTMCell(self.lstm_output_size)
        self.act = keras.layers.Dense(n_actions)
        self.judge = keras.layers.Dense(1)
        self.value_of = compose(self.judge, ft.partial(tf.squeeze, axis=[-1]))

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        y, new_state = self.remember(self.see(obs_t), prev_state)
        return new_state, (self.act(y), self.value_of(y))

    __call__ = forward

    def step(self, prev_state, obs_t):
        tensor = lambda x: tf.convert_to_tensor(x, tf.float32)
        (h, c), (logits, value) = self.compiled_forward(list(map(tensor, prev_state)), tensor(obs_t))
        return [h.numpy(), c.numpy()], (logits.numpy(), value.numpy())

    def get_initial_state(self, batch_size):
        zeros = lambda: tf.zeros((batch_size, self.lstm_output_size))
        return [zeros(), zeros()]

    def sample_actions(self, agent_outputs):
        logits = fst(agent_outputs)
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return list(it.chain.from_iterable(
            l.trainable_variables for l in [*self.layers, self.remember, self.act, self.judge]
        ))
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: objective-text
# %% keep: select
# %%
def replay(memory, obs, alive):
    """mapAccumL over the ticks: -> logits [n, T+1, A], values [n, T+1]"""
    blank = agent.get_initial_state(obs.shape[0])

    def wipe(memory, m_t):
        return [tf.where(m_t[:, None] > 0, kept, new) for kept, new in zip(memory, blank)]

    def tick(acc, x):
        obs_t, m_t = x
        new_memory, out = agent(fst(acc), obs_t)
        return wipe(new_memory, m_t), out

    trace = it.accumulate(zip(columns(obs), columns(alive)), tick, initial=(memory, None))
    outs = [snd(acc) for acc in it.islice(trace, 1, None)]
    return tuple(tf.stack(part, axis=1) for part in zip(*outs))


def returns_fn(gamma):
    def returns(r, m, bootstrap):
        # scanr (\(r, m) g -> r + γ m g), time first
        G = tf.scan(
            lambda g, rm: rm[0] + gamma * rm[1] * g,
            (tf.transpose(r), tf.transpose(m)),
            initializer=bootstrap,
            reverse=True,
        )
        return tf.transpose(G)
    return returns


def loss_fn(gamma, alpha_v, alpha_h):
    returns = returns_fn(gamma)

    def loss(logits, v, a, r, m):
        frozen = tf.stop_gradient(v)
        r_, m_, v_ = r[:, :-1], m[:, :-1], v[:, :-1]

        target = r_ + gamma * m_ * frozen[:, 1:]
        value_loss = tf.reduce_mean(tf.math.squared_difference(target, v_))

        A = returns(r_, m_, m[:, -1] * frozen[:, -1]) - frozen[:, :-1]
        minus_log_pi = tf.nn.sparse_softmax_cross_entropy_with_logits(a[:, :-1], logits[:, :-1])
        minus_J = tf.reduce_mean(minus_log_pi * tf.stop_gradient(A))

        H = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(logits), logits))
        return minus_J + alpha_v * value_loss - alpha_h * H

    return loss


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs, r, m = (tf.cast(x, tf.float32) for x in (states, rewards, is_not_done))
    a = tf.cast(actions, tf.int32)
    memory = list(map(tf.stop_gradient, prev_memory_states))

    with tf.GradientTape() as tape:
        logits, v = replay(memory, obs, m)
        loss = loss_fn(gamma, value_loss_weight, entropy_weight)(logits, v, a, r, m)

    ws = agent.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, ws), ws))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.Adam(
    keras.optimizers.schedules.ExponentialDecay(5e-4, decay_steps=2_000, decay_rate=0.8)
)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: hand-in
