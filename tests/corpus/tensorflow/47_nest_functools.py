# style: researcher; tf.nest, functools.partial/reduce, itertools.accumulate, a generic decorator for casting arguments
# verdict: right
# loses:
# note: V_next and the mask are folded into functions; accumulate runs backwards over columns; m_T only in the bootstrap of G, not in the TD target
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
import functools
import itertools

nest = tf.nest.map_structure
stop = functools.partial(nest, tf.stop_gradient)


def cast_arguments(*dtypes):
    """Casts the leading positional arguments (None leaves one alone)."""

    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            head = [a if d is None else tf.cast(a, d) for a, d in zip(args, dtypes)]
            return function(*head, *args[len(dtypes):], **kwargs)

        return wrapper

    return decorate


def where_alive(alive, structure, otherwise):
    """Rows of `structure` where alive, rows of `otherwise` elsewhere, leaf by leaf."""
    return nest(lambda a, b: tf.where(alive[:, tf.newaxis] > 0, a, b), structure, otherwise)


# %%
# Exercise: agent
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        conv = functools.partial(
            keras.layers.Conv2D, 32, 3, strides=2, activation="elu", kernel_initializer="he_normal"
        )
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                *(conv() for _ in range(3)),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
            ]
        )
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        output, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        heads = self.logits_head(output), self.state_value_head(output)[..., 0]
        return list(new_state), heads

    __call__ = forward

    def step(self, prev_state, obs_t):
        to_tensor = functools.partial(tf.convert_to_tensor, dtype=tf.float32)
        prev_state = [to_tensor(part) for part in prev_state]
        return nest(lambda x: x.numpy(), self.compiled_forward(prev_state, to_tensor(obs_t)))

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size))] * 2

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        layers = (self.backbone, self.lstm_cell, self.logits_head, self.state_value_head)
        return list(itertools.chain.from_iterable(layer.trainable_variables for layer in layers))
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
@cast_arguments(tf.float32, tf.int32, tf.float32, tf.float32)
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    *inner, last = range(rewards.shape[1])
    blank = agent.get_initial_state(rewards.shape[0])

    def tick(carry, t):
        memory, _ = carry
        memory, outputs = agent(memory, states[:, t])
        return where_alive(is_not_done[:, t], memory, blank), outputs

    def discounted(g, t):
        return rewards[:, t] + gamma * is_not_done[:, t] * g

    with tf.GradientTape() as tape:
        start = (stop(list(prev_memory_states)), None)
        ticks = itertools.islice(itertools.accumulate([*inner, last], tick, initial=start), 1, None)
        outputs = [out for _, out in ticks]
        logits, v = nest(lambda *columns: tf.stack(columns, axis=1), *outputs)

        log_pi = tf.nn.log_softmax(logits)
        log_pi_a = select_log_policy_for_actions(log_pi, actions)[:, :last]

        const_v = stop(v)
        bootstrap = is_not_done[:, last] * const_v[:, last]
        backwards = list(itertools.accumulate(reversed(inner), discounted, initial=bootstrap))
        g = tf.stack(backwards[:0:-1], axis=1)  # G_0 .. G_{T-1}; the bootstrap itself is left out

        # the same function with V in place of G gives the one-step target
        target = tf.stack([discounted(const_v[:, t + 1], t) for t in inner], axis=1)

        j_hat = tf.reduce_mean(log_pi_a * stop(g - v[:, :last]))
        l_td = tf.reduce_mean(tf.math.squared_difference(target, v[:, :last]))
        entropy = tf.reduce_mean(-tf.einsum("nta,nta->nt", tf.nn.softmax(logits), log_pi))

        weights = {"j": -1.0, "td": value_loss_weight, "h": -entropy_weight}
        terms = {"j": j_hat, "td": l_td, "h": entropy}
        loss = functools.reduce(tf.add, tf.nest.flatten(nest(tf.multiply, weights, terms)))

    variables = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = functools.partial(keras.optimizers.Adam, global_clipnorm=5.0)(learning_rate=7e-4)
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
