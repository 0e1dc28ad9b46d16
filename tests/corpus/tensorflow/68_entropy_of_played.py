# style: terse, English/German mix, vectorised, tf.gather_nd
# verdict: wrong
# mistake: The entropy is taken as minus the mean log-probability of the actions that were played; that is a one-sample estimate whose gradient is zero on average, not the sum over all actions of pi log pi.
# loses: entropy_value, entropy_gradient
# named: it depends on which action was played
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
keras.utils.set_random_seed(0)

class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        c = dict(kernel_size=3, strides=2, activation="elu", kernel_initializer="he_normal")
        self.conv = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            keras.layers.Conv2D(32, **c),
            keras.layers.Conv2D(32, **c),
            keras.layers.Conv2D(32, **c),
            keras.layers.Flatten(),
            keras.layers.Dense(256, "relu", kernel_initializer="he_normal")])
        self.lstm_output_size = 256
        self.cell = keras.layers.LSTMCell(256)
        self.pi = keras.layers.Dense(n_actions)
        self.v = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, s = self.cell(self.conv(obs_t), prev_state)
        return s, (self.pi(h), self.v(h)[:, 0])

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, n):
        return [tf.zeros((n, 256)), tf.zeros((n, 256))]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return sum((l.trainable_variables for l in [self.conv, self.cell, self.pi, self.v]), [])
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01

def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    s = tf.cast(states, tf.float32)
    a = tf.cast(actions, tf.int32)
    r = tf.cast(rewards, tf.float32)
    m = tf.cast(is_not_done, tf.float32)
    N, T = r.shape[0], r.shape[1] - 1
    mem = [tf.stop_gradient(x) for x in prev_memory_states]

    with tf.GradientTape() as tape:
        lg, v = [], []
        for t in range(T + 1):
            mem, (l, w) = agent(mem, s[:, t])
            lg += [l]
            v += [w]
            mem = [x * m[:, t][:, None] for x in mem]   # Reset
        lg = tf.stack(lg, 1)
        v = tf.stack(v, 1)
        lp = tf.nn.log_softmax(lg, -1)

        # indices (n, t, a)
        n_i, t_i = tf.meshgrid(tf.range(N), tf.range(T + 1), indexing="ij")
        lpa = tf.gather_nd(lp, tf.stack([n_i, t_i, a], -1))

        R = m[:, T] * v[:, T]
        Rs = [None] * T
        for t in range(T)[::-1]:
            R = r[:, t] + gamma * m[:, t] * R
            Rs[t] = R
        adv = tf.stop_gradient(tf.stack(Rs, 1) - v[:, :T])
        pg = tf.reduce_mean(lpa[:, :T] * adv)

        y = tf.stop_gradient(r[:, :T] + gamma * m[:, :T] * v[:, 1:])
        vl = tf.reduce_mean((y - v[:, :T]) ** 2)

        # H = E[-log pi], actions are already samples from pi -> Mittelwert reicht
        H = -tf.reduce_mean(lpa[:, :T])

        loss = -pg + value_loss_weight * vl - entropy_weight * H

    g = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(g, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.Adam(1e-3, beta_1=0.9, beta_2=0.999)
# %% keep: first-step
# %%
for _ in range(5):
    memory = list(pool.prev_memory_states)
    print(train_on_rollout(*pool.interact(10), memory, gamma))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
