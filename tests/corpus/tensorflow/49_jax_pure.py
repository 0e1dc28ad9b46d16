# style: JAX user; pure functions, a NamedTuple pytree as batch, scan written by hand, value_and_grad helper, the loss a function of (apply, batch)
# verdict: right
# loses:
# note: time-major scan by unstacking; returns by a reversed scan; entropy from logsumexp - sum(p * logits); weights read as globals when called
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        L, he = keras.layers, "he_normal"
        self.backbone = keras.Sequential(
            [L.Rescaling(10, offset=-3.6)]
            + [L.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he) for _ in range(3)]
            + [L.Flatten(), L.Dense(256, activation="relu", kernel_initializer=he)]
        )
        self.lstm_output_size = 192
        self.lstm_cell = L.LSTMCell(self.lstm_output_size)
        self.logits_head = L.Dense(n_actions)
        self.state_value_head = L.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)  # jit

    def forward(self, carry, x):
        """(carry, x) -> (carry, y), the signature of a scan body."""
        y, carry = self.lstm_cell(self.backbone(x), carry)
        return carry, (self.logits_head(y), self.state_value_head(y)[:, 0])

    __call__ = forward

    def step(self, prev_state, obs_t):
        as_f32 = lambda x: tf.convert_to_tensor(x, tf.float32)
        carry, y = self.compiled_forward([as_f32(p) for p in prev_state], as_f32(obs_t))
        return [p.numpy() for p in carry], tuple(p.numpy() for p in y)

    def get_initial_state(self, batch_size):
        zeros = tf.zeros((batch_size, self.lstm_output_size))
        return [zeros, zeros]

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
# the bits of jax that I miss
from typing import NamedTuple


class Batch(NamedTuple):
    obs: tf.Tensor
    a: tf.Tensor
    r: tf.Tensor
    m: tf.Tensor


def scan(f, init, xs, reverse=False):
    """jax.lax.scan over the leading axis of a pytree, unrolled."""
    n = tf.nest.flatten(xs)[0].shape[0]
    carry, ys = init, [None] * n
    for i in reversed(range(n)) if reverse else range(n):
        carry, ys[i] = f(carry, tf.nest.map_structure(lambda x: x[i], xs))
    return carry, tf.nest.map_structure(lambda *y: tf.stack(y), *ys)


def swap01(x):
    return tf.transpose(x, [1, 0, *range(2, len(x.shape))])


def value_and_grad(f, params):
    def wrapped(*args):
        with tf.GradientTape() as tape:
            value = f(*args)
        return value, tape.gradient(value, params)

    return wrapped


def unroll(apply, carry, batch):
    def body(carry, x):
        carry, y = apply(carry, x.obs)
        keep = x.m[:, None]
        return [keep * part for part in carry], y

    return scan(body, carry, batch)[1]


def returns_fn(r, m, bootstrap, gamma):
    def body(g, x):
        g = x[0] + gamma * x[1] * g
        return g, g

    return scan(body, bootstrap, (r, m), reverse=True)[1]


def loss_fn(apply, carry, batch, gamma):
    """Everything is [time, game, ...] in here."""
    logits, v = unroll(apply, carry, batch)
    sg_v = tf.stop_gradient(v)

    g = returns_fn(batch.r[:-1], batch.m[:-1], batch.m[-1] * sg_v[-1], gamma)
    adv = g - sg_v[:-1]
    delta = batch.r[:-1] + gamma * batch.m[:-1] * sg_v[1:] - v[:-1]

    lse = tf.reduce_logsumexp(logits, -1)
    logp = tf.reduce_sum(logits * tf.one_hot(batch.a, logits.shape[-1]), -1) - lse
    ent = lse - tf.reduce_sum(tf.nn.softmax(logits) * logits, -1)

    pg = tf.reduce_mean(logp[:-1] * adv)
    td = tf.reduce_mean(delta**2)
    return -pg + value_loss_weight * td - entropy_weight * tf.reduce_mean(ent)


# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    batch = Batch(
        swap01(tf.cast(states, tf.float32)),
        swap01(tf.cast(actions, tf.int32)),
        swap01(tf.cast(rewards, tf.float32)),
        swap01(tf.cast(is_not_done, tf.float32)),
    )
    carry = [tf.stop_gradient(part) for part in prev_memory_states]
    params = agent.trainable_variables

    loss, grads = value_and_grad(loss_fn, params)(agent.forward, carry, batch, gamma)
    optimizer.apply_gradients(list(zip(grads, params)))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer   (optax.chain(clip_by_global_norm(1.), adam(1e-3)))
optimizer = keras.optimizers.Adam(1e-3, global_clipnorm=1.0)
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
