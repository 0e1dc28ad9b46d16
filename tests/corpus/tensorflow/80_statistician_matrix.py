# style: a statistician / linear algebra; returns as a matrix product with an upper triangular discount matrix, einsum everywhere, a numerical proof left in
# verdict: right
# loses:
# note: G = D x with D[t,s] = prod_{k=t}^{s-1} gamma m_k and x = (r_0..r_{T-1}, m_T V(s_T)) is the recursion written out
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: pomdp-text
# %%
class SimpleRecurrentAgent:
    """E[G | history] and the law of the action given the history; sufficient statistic: (h, c)."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.features = keras.Sequential(
            [keras.layers.Rescaling(10, offset=-3.6)]
            + [keras.layers.Conv2D(f, 3, strides=2, activation="elu", kernel_initializer=he) for f in (32, 32, 32)]
            + [keras.layers.Flatten(), keras.layers.Dense(256, "relu", kernel_initializer=he)]
        )
        self.lstm_output_size = 256
        self.filter = keras.layers.LSTMCell(256)
        self.law = keras.layers.Dense(n_actions)
        self.mean = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        stat, (h, c) = self.filter(self.features(obs_t), [prev_state[0], prev_state[1]])
        return [h, c], (self.law(stat), tf.einsum("ni->n", self.mean(stat)))

    __call__ = forward

    def step(self, prev_state, obs_t):
        (h, c), (logits, v) = self.compiled_forward(
            [tf.convert_to_tensor(p, tf.float32) for p in prev_state], tf.convert_to_tensor(obs_t, tf.float32)
        )
        return [h.numpy(), c.numpy()], (logits.numpy(), v.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size))] * 2

    def sample_actions(self, agent_outputs):
        logits = np.asarray(agent_outputs[0])
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        u = np.random.uniform(size=(len(p), 1))
        # inverse CDF; minimum guards against rounding in the last cumulative sum
        return np.minimum((p.cumsum(axis=-1) < u).sum(axis=-1), p.shape[-1] - 1)

    @property
    def trainable_variables(self):
        return (self.features.trainable_variables + self.filter.trainable_variables
                + self.law.trainable_variables + self.mean.trainable_variables)
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: objective-text
# %% keep: select
# %%
def discount_matrix(m, gamma):
    """D[n,t,s] = γ^(s-t) · m_t ··· m_{s-1} for s ≥ t, else 0;  t = 0..T-1, s = 0..T."""
    T = m.shape[1] - 1
    t, k, s = tf.range(T)[:, None], tf.range(T)[None, :], tf.range(T + 1)[None, :]
    factor = tf.where(k >= t, gamma * m[:, None, :T], 1.0)               # (n, T, T)
    factor = tf.concat([factor, tf.ones_like(factor[:, :, :1])], axis=2)  # one more column, not used by an exclusive product
    D = tf.math.cumprod(factor, axis=2, exclusive=True)                   # (n, T, T+1)
    return D * tf.cast(s >= t, tf.float32)


# numerical proof against the recursion
_m = np.random.default_rng(0).integers(0, 2, size=(4, 6)).astype("float32")
_x = np.random.default_rng(1).normal(size=(4, 6)).astype("float32")
_G = tf.einsum("nts,ns->nt", discount_matrix(tf.constant(_m), 0.9), tf.constant(_x)).numpy()
_g = _x[:, -1]
for _t in reversed(range(5)):
    _g = _x[:, _t] + 0.9 * _m[:, _t] * _g
    assert np.allclose(_g, _G[:, _t], atol=1e-5), _t
print("D is fine")
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    m = tf.cast(is_not_done, tf.float32)
    T = rewards.shape[1] - 1
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        columns = []
        for t in range(T + 1):
            memory, column = agent(memory, states[:, t])
            columns.append(column)
            memory = [tf.where(m[:, t, None] > 0, x, b) for x, b in zip(memory, blank)]
        logits = tf.stack([l for l, _ in columns], axis=1)
        V = tf.stack([v for _, v in columns], axis=1)
        V_const = tf.stop_gradient(V)

        log_p = tf.nn.log_softmax(logits)
        p = tf.nn.softmax(logits)

        x = tf.concat([rewards[:, :T], (m * V_const)[:, T:]], axis=1)
        G = tf.einsum("nts,ns->nt", discount_matrix(m, gamma), x)
        A = tf.stop_gradient(G - V[:, :T])

        chosen = tf.one_hot(actions[:, :T], logits.shape[-1])
        nT = tf.cast(tf.size(A), tf.float32)
        J_hat = tf.einsum("nta,nta,nt->", chosen, log_p[:, :T], A) / nT
        residual = rewards[:, :T] + gamma * m[:, :T] * V_const[:, 1:] - V[:, :T]
        L_td = tf.einsum("nt,nt->", residual, residual) / nT
        H = -tf.einsum("nta,nta->", p, log_p) / tf.cast(tf.size(V), tf.float32)

        loss = -J_hat + value_loss_weight * L_td - entropy_weight * H

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.Nadam(learning_rate=5e-4, global_clipnorm=1.0)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: plots-text
# %% keep: final
# %% keep: hand-in
