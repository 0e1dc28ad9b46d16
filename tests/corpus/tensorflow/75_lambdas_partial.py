# style: terse functional style, mixed Russian/English, lambdas, reduce and partial, magics, A3C clipping
# verdict: right
# loses:
# note: gradients are clipped by their global norm (40, as in A3C) before the step; the returns are an accumulate over reversed time
# %% keep: setup
# %% keep: imports
# %%
%matplotlib inline
from functools import partial, reduce
from itertools import accumulate

IN_COLAB = "google.colab" in sys.modules
try:
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
except RuntimeError as e:
    print(e)  # уже инициализировано, ну и ладно
# %% keep: make-env
# %%
Conv = partial(keras.layers.Conv2D, kernel_size=3, strides=2, activation="elu", kernel_initializer="he_normal")
Dense = keras.layers.Dense
to32 = partial(tf.cast, dtype=tf.float32)


class SimpleRecurrentAgent:
    lstm_output_size = 256

    def __init__(self, obs_shape, n_actions):
        self.layers = [
            keras.layers.Rescaling(10, offset=-3.6),
            Conv(32), Conv(32), Conv(32),
            keras.layers.Flatten(),
            Dense(256, activation="relu", kernel_initializer="he_normal"),
        ]
        self.cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.actor, self.critic = Dense(n_actions), Dense(1)
        self(self.get_initial_state(1), tf.zeros((1, *obs_shape)))  # build
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = reduce(lambda x, layer: layer(x), self.layers, obs_t)
        out, state = self.cell(x, prev_state)
        return state, (self.actor(out), self.critic(out)[:, 0])

    def __call__(self, *args):
        return self.forward(*args)

    def step(self, prev_state, obs_t):
        out = self.compiled_forward([to32(s) for s in prev_state], to32(obs_t))
        (h, c), outputs = tf.nest.map_structure(lambda x: x.numpy(), out)
        return [h, c], outputs

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)), tf.zeros((batch_size, self.lstm_output_size))]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        # self.layers - это list, поэтому руками
        return [w for l in [*self.layers, self.cell, self.actor, self.critic] for w in l.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01

mean = tf.reduce_mean
const = tf.stop_gradient


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, r, m = to32(states), to32(rewards), to32(is_not_done)
    actions = tf.cast(actions, tf.int32)
    T = r.shape[1] - 1

    with tf.GradientTape() as tape:
        mem, outs = [const(s) for s in prev_memory_states], []
        for t in range(T + 1):
            mem, out = agent(mem, states[:, t])
            mem = [s * m[:, t:t + 1] for s in mem]
            outs.append(out)
        logits = tf.stack([o[0] for o in outs], 1)
        V = tf.stack([o[1] for o in outs], 1)

        log_pi = tf.nn.log_softmax(logits)
        log_pi_a = tf.gather(log_pi, actions, axis=2, batch_dims=2)

        # справа налево: G_T, G_{T-1}, ..., G_0
        back = range(T - 1, -1, -1)
        Gs = list(accumulate(back, lambda G, t: r[:, t] + gamma * m[:, t] * G, initial=m[:, T] * const(V[:, T])))
        G = tf.stack(Gs[:0:-1], 1)  # без G_T, в нормальном порядке

        A = const(G - V[:, :T])
        J = mean(log_pi_a[:, :T] * A)
        L = mean((r[:, :T] + gamma * m[:, :T] * const(V[:, 1:]) - V[:, :T]) ** 2)
        H = -mean(tf.reduce_sum(tf.exp(log_pi) * log_pi, -1))
        loss = -J + value_loss_weight * L - entropy_weight * H

    ws = agent.trainable_variables
    gs, _ = tf.clip_by_global_norm(tape.gradient(loss, ws), 40.0)
    optimizer.apply_gradients(zip(gs, ws))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.Adamax(learning_rate=1e-3)
# %% keep: optimizer-check
# %%
%%time
memory = list(pool.prev_memory_states)
rollout = pool.interact(10)
print("loss:", train_on_rollout(*rollout, memory, gamma))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
# %%
!ls -la checkpoints kungfu_weights.npz
