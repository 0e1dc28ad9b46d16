# style: a JAX / functional programmer; partial and map, time folded into the batch, dict of params, optax habits
# verdict: wrong
# mistake: all ticks go through the agent as one big batch, each with the memory from before the rollout: nothing is passed on from tick to tick, so there is no gradient through time, nor anything to wipe
# mistake: the cosine schedule starts at 0 and has no warmup_target (optax's peak_value): the learning rate is 0 for ever
# loses: memory_passed, memory_gradient, memory_reset, descent
# named: the agent must be called in every tick
# named: the learning rate is zero
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
from functools import partial, reduce
from operator import add

sg = tf.stop_gradient
tmap = tf.nest.map_structure
# %%
def torso(width=32, out=256):
    init = dict(kernel_initializer="he_normal")
    return keras.Sequential([
        keras.layers.Rescaling(10, offset=-3.6),
        *(keras.layers.Conv2D(width, 3, strides=2, activation="elu", **init) for _ in range(3)),
        keras.layers.Flatten(),
        keras.layers.Dense(out, activation="relu", **init),
    ])


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.lstm_output_size = 256
        self.net = dict(
            torso=torso(),
            core=keras.layers.LSTMCell(self.lstm_output_size),
            logits=keras.layers.Dense(n_actions),
            value=keras.layers.Dense(1),
        )
        self.apply = partial(self._apply, self.net)
        self.apply(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.jit_apply = tf.function(self.forward)

    @staticmethod
    def _apply(net, carry, obs):
        y, carry = net["core"](net["torso"](obs), carry)
        return carry, (net["logits"](y), tf.squeeze(net["value"](y), axis=1))

    def forward(self, prev_state, obs_t):
        return self.apply(list(prev_state), obs_t)

    __call__ = forward

    def step(self, prev_state, obs_t):
        f32 = partial(tf.convert_to_tensor, dtype=tf.float32)
        return tmap(lambda x: x.numpy(), self.jit_apply([*map(f32, prev_state)], f32(obs_t)))

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)), tf.zeros((batch_size, self.lstm_output_size))]

    def sample_actions(self, agent_outputs):
        return np.argmax(agent_outputs[0] + np.random.gumbel(size=agent_outputs[0].shape), axis=-1)

    @property
    def trainable_variables(self):
        return reduce(add, (layer.trainable_variables for layer in self.net.values()))
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def apply_over_time(memory, obs):
    """vmap over time: [n, T+1, ...] -> [n*(T+1), ...] and back. No Python loop, one big conv: 6x faster."""
    n, ticks = obs.shape[:2]
    flat = tf.reshape(obs, (n * ticks, *obs.shape[2:]))
    _, (logits, v) = agent(tmap(partial(tf.repeat, repeats=ticks, axis=0), memory), flat)
    return tf.reshape(logits, (n, ticks, -1)), tf.reshape(v, (n, ticks))


def bellman(gamma, Gs, rm):
    r, m = rm
    return [r + gamma * m * Gs[0]] + Gs


def objective(memory, obs, a, r, m, gamma):
    T = r.shape[1] - 1
    cols = partial(tf.unstack, axis=1)
    logits, v = apply_over_time(memory, obs)
    logpi = tf.nn.log_softmax(logits)

    backwards = list(zip(cols(r), cols(m)))[:T][::-1]
    G = tf.stack(reduce(partial(bellman, gamma), backwards, [sg(m[:, T] * v[:, T])])[:T], axis=1)

    J = tf.reduce_mean(select_log_policy_for_actions(logpi, a)[:, :T] * sg(G - v[:, :T]))
    L = tf.reduce_mean(tf.square(r[:, :T] + gamma * m[:, :T] * sg(v[:, 1:]) - v[:, :T]))
    H = -tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(logits) * logpi, axis=-1))
    return -J + value_loss_weight * L - entropy_weight * H


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs, r, m = map(lambda x: tf.cast(x, tf.float32), (states, rewards, is_not_done))
    a = tf.cast(actions, tf.int32)
    with tf.GradientTape() as tape:
        loss = objective([sg(p) for p in prev_memory_states], obs, a, r, m, gamma)
    params = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, params), params)
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
# = optax.warmup_cosine_decay_schedule(init_value=0.0, peak_value=3e-4, warmup_steps=200, decay_steps=15_000)
schedule = keras.optimizers.schedules.CosineDecay(0.0, decay_steps=15_000, warmup_steps=200)
optimizer = keras.optimizers.Adam(schedule, global_clipnorm=0.5)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
