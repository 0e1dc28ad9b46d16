# style: a researcher; own LSTM cell as a Keras layer with layer norm before it, one joint head for logits and value, logsumexp entropy, loss dictionary
# verdict: right
# loses:
# note: one Dense(n_actions + 1) is both heads; H = logsumexp(z) - sum p z is the same entropy; log pi from sparse cross-entropy
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# I want to see the gates, so here is the cell by hand (Hochreiter & Schmidhuber 1997, Gers et al. 2000)
class MyLSTMCell(keras.layers.Layer):
    def __init__(self, units, forget_bias=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.forget_bias = forget_bias
        self.from_input = keras.layers.Dense(4 * units, kernel_initializer="glorot_uniform")
        self.from_hidden = keras.layers.Dense(4 * units, use_bias=False, kernel_initializer="orthogonal")

    def step(self, x, h, c):
        gates = self.from_input(x) + self.from_hidden(h)
        i, f, g, o = tf.split(gates, 4, axis=-1)
        c = tf.sigmoid(f + self.forget_bias) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, c


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.n_actions = n_actions
        self.lstm_output_size = 256
        he = "he_normal"
        self.encoder = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Flatten(),
            keras.layers.Dense(256, kernel_initializer=he),
            keras.layers.LayerNormalization(),     # over the features of one game, not over games
            keras.layers.Activation("elu"),
        ])
        self.cell = MyLSTMCell(self.lstm_output_size)
        self.head = keras.layers.Dense(n_actions + 1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, c = prev_state
        h, c = self.cell.step(self.encoder(obs_t), h, c)
        logits, value = tf.split(self.head(h), [self.n_actions, 1], axis=-1)
        return [h, c], (logits, value[:, 0])

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in range(2)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return [
            *self.encoder.trainable_variables,
            *self.cell.from_input.trainable_variables,
            *self.cell.from_hidden.trainable_variables,
            *self.head.trainable_variables,
        ]
# %% keep: agent-check
# %% keep: agent-look
# %%
print(sum(int(np.prod(v.shape)) for v in agent.trainable_variables), "parameters")
for v in agent.trainable_variables:
    print(f"{v.path:50s} {tuple(v.shape)}")
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01


def a2c_terms(logits, V, actions, rewards, mask, gamma):
    """All [n, T+1(, A)]. Returns J_hat, L_td, H."""
    T = rewards.shape[1] - 1
    a, r, m = actions[:, :T], rewards[:, :T], mask[:, :T]
    V_bar = tf.stop_gradient(V)

    G = mask[:, T] * V_bar[:, T]
    returns = [None] * T
    for t in range(T - 1, -1, -1):
        returns[t] = G = r[:, t] + gamma * m[:, t] * G
    A = tf.stop_gradient(tf.stack(returns, axis=1) - V[:, :T])

    nll = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=a, logits=logits[:, :T])
    J_hat = tf.reduce_mean(-nll * A)

    L_td = tf.reduce_mean((r + gamma * m * V_bar[:, 1:] - V[:, :T]) ** 2)

    H = tf.reduce_logsumexp(logits, -1) - tf.reduce_sum(tf.nn.softmax(logits) * logits, -1)
    return J_hat, L_td, tf.reduce_mean(H)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, mask = [tf.cast(x, tf.float32) for x in (states, rewards, is_not_done)]
    actions = tf.cast(actions, tf.int32)
    state = [tf.stop_gradient(s) for s in prev_memory_states]
    zero = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        zs, vs = [], []
        for t in range(rewards.shape[1]):
            state, (z, v) = agent(state, states[:, t])
            alive = tf.greater(mask[:, t, tf.newaxis], 0.0)
            state = [tf.where(alive, s, s0) for s, s0 in zip(state, zero)]
            zs.append(z)
            vs.append(v)

        J_hat, L_td, H = a2c_terms(tf.stack(zs, 1), tf.stack(vs, 1), actions, rewards, mask, gamma)
        loss = value_loss_weight * L_td - J_hat - entropy_weight * H

    weights = agent.trainable_variables
    gradients = tape.gradient(loss, weights)
    optimizer.apply_gradients(list(zip(gradients, weights)))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.AdamW(learning_rate=3e-4, weight_decay=1e-6, epsilon=1e-6)
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
