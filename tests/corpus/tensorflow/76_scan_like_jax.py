# style: a JAX user; own lax.scan on top of tf.nest, value_and_grad wrapper, time-major, everything a small function
# verdict: right
# loses:
# note: means over (T, games) at once equal the sum of means over games divided by T; scan is a Python loop, so gradients flow through the carry
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: pomdp-text
# %%
# jax-isms I can't live without
from functools import reduce

tree_map = tf.nest.map_structure


def scan(f, init, xs, reverse=False):
    """lax.scan for poor people: f(carry, x) -> (carry, y), leading axis is time."""
    length = tf.nest.flatten(xs)[0].shape[0]
    carry, ys = init, [None] * length
    for i in (reversed(range(length)) if reverse else range(length)):
        x_i = tree_map(lambda x: x[i], xs)
        carry, ys[i] = f(carry, x_i)
    return carry, tree_map(lambda *y: tf.stack(y), *ys)


def value_and_grad(f):
    def wrapped(params, *args):
        with tf.GradientTape() as tape:
            value = f(*args)
        return value, tape.gradient(value, params)
    return wrapped


def time_major(x):
    return tf.transpose(x, [1, 0, *range(2, len(x.shape))])


# sanity
_c, _ys = scan(lambda c, x: (c + x, c), tf.constant(0.0), tf.constant([1.0, 2.0, 3.0]), reverse=True)
assert float(_c) == 6.0 and list(_ys.numpy()) == [5.0, 3.0, 0.0]
# %%
class SimpleRecurrentAgent:
    """torso -> core -> (actor, critic)."""

    def __init__(self, obs_shape, n_actions, width=32, hidden=256):
        conv = lambda: keras.layers.Conv2D(width, 3, strides=2, activation="elu", kernel_initializer="he_normal")
        self.lstm_output_size = hidden
        self.torso = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            conv(), conv(), conv(),
            keras.layers.Flatten(),
            keras.layers.Dense(hidden, activation="relu", kernel_initializer="he_normal"),
        ])
        self.core = keras.layers.LSTMCell(hidden)
        self.actor = keras.layers.Dense(n_actions)
        self.critic = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))  # "init(rng, dummy)"
        self._jitted = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        core_out, (h, c) = self.core(self.torso(obs_t), list(prev_state))
        return [h, c], (self.actor(core_out), self.critic(core_out)[..., 0])

    __call__ = forward

    def step(self, prev_state, obs_t):
        as_f32 = lambda x: tf.convert_to_tensor(x, tf.float32)
        new_state, outputs = self._jitted([as_f32(s) for s in prev_state], as_f32(obs_t))
        return [s.numpy() for s in new_state], tuple(o.numpy() for o in outputs)

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in "hc"]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return reduce(lambda acc, layer: acc + layer.trainable_variables,
                      [self.torso, self.core, self.actor, self.critic], [])
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: objective-text
# %% keep: select
# %%
def unroll(memory, obs, mask):
    """[T+1, n, ...] -> logits [T+1, n, A], values [T+1, n]"""
    blank = agent.get_initial_state(obs.shape[1])

    def tick(carry, x):
        obs_t, m_t = x
        carry, out = agent(carry, obs_t)
        carry = [tf.where(m_t[:, None] > 0, new, zero) for new, zero in zip(carry, blank)]
        return carry, out

    _, outs = scan(tick, memory, (obs, mask))
    return outs


def n_step_returns(r, m, v, gamma):
    def back(g_next, x):
        r_t, m_t = x
        g = r_t + gamma * m_t * g_next
        return g, g
    _, G = scan(back, m[-1] * v[-1], (r[:-1], m[:-1]), reverse=True)
    return G


def loss_fn(memory, obs, a, r, m, gamma):
    logits, v = unroll(memory, obs, m)
    logp = tf.nn.log_softmax(logits)
    sg_v = tf.stop_gradient(v)

    # critic: TD(0), semi-gradient
    td = r[:-1] + gamma * m[:-1] * sg_v[1:] - v[:-1]
    critic = tf.reduce_mean(td ** 2)

    # actor: n-step
    adv = tf.stop_gradient(n_step_returns(r, m, sg_v, gamma) - v[:-1])
    J = tf.reduce_mean(select_log_policy_for_actions(logp, a)[:-1] * adv)

    # entropy, also at the last column
    H = -tf.reduce_mean(tf.reduce_sum(tf.exp(logp) * logp, axis=-1))
    return -J + value_loss_weight * critic - entropy_weight * H


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs, r, m = (time_major(tf.cast(x, tf.float32)) for x in (states, rewards, is_not_done))
    a = time_major(tf.cast(actions, tf.int32))
    memory = [tf.stop_gradient(s) for s in prev_memory_states]

    params = agent.trainable_variables
    loss, grads = value_and_grad(loss_fn)(params, memory, obs, a, r, m, gamma)
    optimizer.apply(grads, params)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# optax.chain(clip_by_global_norm(0.5), adam(3e-4))
optimizer = keras.optimizers.Adam(3e-4, global_clipnorm=0.5)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
