# style: a showy vectoriser: all pictures of the rollout go through the convolutions in one batch, only the cell ticks; returns by a matrix of discounts (cumprod) and einsum; walruses; no loop over time in the loss
# verdict: right
# loses:
# note: the agent has three parts look / remember / speak, and forward is made of them; train_on_rollout calls the parts, not forward, which gives the same numbers (convolutions see each picture alone); an agent without those parts could not be put in its place
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """look → remember → speak."""

    def __init__(self, obs_shape, n_actions, units=256):
        self.lstm_output_size = units
        conv = dict(kernel_size=3, strides=2, activation="elu", kernel_initializer="he_normal")
        self.eyes = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            *(keras.layers.Conv2D(filters, **conv) for filters in (32, 32, 32)),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal"),
        ])
        self.lstm_cell = keras.layers.LSTMCell(units)
        # one matrix for both heads: the last column is the critic
        self.mouth = keras.layers.Dense(n_actions + 1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def look(self, pictures):
        """[..., height, width, frames] -> [..., units], any number of axes in front."""
        lead, picture = pictures.shape[:-3], pictures.shape[-3:]
        features = self.eyes(tf.reshape(pictures, (-1, *picture)))
        return tf.reshape(features, (*lead, features.shape[-1])) if None not in lead else features

    def remember(self, features, memory):
        return self.lstm_cell(features, memory)

    def speak(self, h):
        return (both := self.mouth(h))[..., :-1], both[..., -1]

    def forward(self, prev_state, obs_t):
        h, new_state = self.remember(self.look(obs_t), prev_state)
        return new_state, self.speak(h)

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size))] * 2

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return sum((layer.trainable_variables for layer in (self.eyes, self.lstm_cell, self.mouth)), [])
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def discount_matrix(gamma_m):
    """D[n, t, k] = γm_t · γm_{t+1} ⋯ γm_{k-1} for k ≥ t (1 on the diagonal), 0 below it."""
    n_cols = gamma_m.shape[1]
    j_before_t = tf.range(n_cols)[None, :] < tf.range(n_cols)[:, None]  # [t, j]
    factors = tf.where(j_before_t[None], 1.0, gamma_m[:, None, :])
    return tf.where(j_before_t[None], 0.0, tf.math.cumprod(factors, axis=2, exclusive=True))


# Check against pencil and paper: γ = 0.5, the game ends at column 1.
np.testing.assert_allclose(
    discount_matrix(0.5 * tf.constant([[1.0, 0.0, 1.0]])),
    [[[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]],
)
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, m = (tf.cast(x, tf.float32) for x in (states, rewards, is_not_done))
    memory = [tf.stop_gradient(tf.cast(part, tf.float32)) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        features = agent.look(states)  # [n_games, n_steps, units]

        hs = []
        for t in range(T := rewards.shape[1] - 1):
            h, memory = agent.remember(features[:, t], memory)
            memory = [tf.einsum("nu,n->nu", part, m[:, t]) for part in memory]
            hs.append(h)
        hs.append(agent.remember(features[:, T], memory)[0])  # the last column: nobody needs its memory

        logits, V = agent.speak(tf.stack(hs, axis=1))
        V_const = tf.stop_gradient(V)
        pi, log_pi = tf.nn.softmax(logits), tf.nn.log_softmax(logits)

        # G = D · (r_0, …, r_{T-1}, m_T V(s_T))
        income = tf.concat([rewards[:, :-1], (m * V_const)[:, -1:]], axis=1)
        G = tf.einsum("ntk,nk->nt", discount_matrix(gamma * m), income)[:, :-1]

        A = G - V_const[:, :-1]
        played = tf.one_hot(actions, logits.shape[-1])
        J_hat = tf.einsum("nta,nta,nt->", played[:, :-1], log_pi[:, :-1], A) / (games_x_T := A.shape[0] * T)

        delta = rewards[:, :-1] + gamma * m[:, :-1] * V_const[:, 1:] - V[:, :-1]
        value_loss = tf.einsum("nt,nt->", delta, delta) / games_x_T

        entropy_reg = -tf.einsum("nta,nta->", pi, log_pi) / (A.shape[0] * (T + 1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    optimizer.apply_gradients(zip(tape.gradient(loss, w := agent.trainable_variables), w))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam()
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
