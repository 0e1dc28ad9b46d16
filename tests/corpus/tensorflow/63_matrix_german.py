# style: good student, German comments, everything vectorised with a discount matrix (band_part, cumprod, einsum)
# verdict: right
# loses:
# note: the recursion for G is written as a triangular matrix of products of gamma*m, same numbers
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent:
    """Faltungen -> Dense -> LSTM -> zwei Köpfe."""

    def __init__(self, obs_shape, n_actions, einheiten=256):
        self.lstm_output_size = einheiten
        falten = [
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer="he_normal")
            for _ in range(3)
        ]
        self.backbone = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            *falten,
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
        ])
        self.lstm_cell = keras.layers.LSTMCell(einheiten)
        self.koepfe = keras.layers.Dense(n_actions + 1)  # ein Dense für beide Köpfe
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        merkmale = self.backbone(obs_t)
        ausgabe, new_state = self.lstm_cell(merkmale, list(prev_state))
        alles = self.koepfe(ausgabe)
        # letzte Spalte ist V, der Rest sind die Logits
        return new_state, (alles[:, :-1], alles[:, -1])

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(teil, tf.float32) for teil in prev_state]
        ergebnis = self.compiled_forward(prev_state, obs_t)
        (h, c), (logits, v) = tf.nest.map_structure(lambda x: x.numpy(), ergebnis)
        return [h, c], (logits, v)

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in "hc"]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return [v for s in (self.backbone, self.lstm_cell, self.koepfe) for v in s.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def diskont_matrix(d):
    """d[n, t] = gamma * m_t  ->  P[n, t, k] = Produkt d_j für j = t..k-1 (0 für k < t), k = 0..T."""
    T = d.shape[1]
    oben = tf.linalg.band_part(tf.ones((T, T)), 0, -1)  # 1 wo j >= t
    M = d[:, None, :] * oben + (1.0 - oben)  # links der Diagonale Einsen
    M = tf.concat([M, tf.ones_like(M[:, :, :1])], axis=2)
    P = tf.math.cumprod(M, axis=2, exclusive=True)
    return P * tf.linalg.band_part(tf.ones((T, T + 1)), 0, -1)


# kleiner Test: ohne Masken muss die erste Zeile 1, .5, .25, .125 sein
print(diskont_matrix(tf.fill((1, 3), 0.5))[0].numpy())
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    maske = tf.cast(is_not_done, tf.float32)
    T = rewards.shape[1] - 1

    memory = [tf.stop_gradient(teil) for teil in prev_memory_states]
    with tf.GradientTape() as tape:
        ausgaben = []
        for t in range(T + 1):
            memory, aus = agent.forward(memory, states[:, t])
            ausgaben.append(aus)
            memory = [teil * maske[:, t, tf.newaxis] for teil in memory]
        logits = tf.stack([l for l, _ in ausgaben], axis=1)
        V = tf.stack([v for _, v in ausgaben], axis=1)
        V_const = tf.stop_gradient(V)
        logpi = tf.nn.log_softmax(logits, axis=-1)

        r, m = rewards[:, :-1], maske[:, :-1]
        # Rückgaben: Belohnungen und ganz rechts der Bootstrap
        x = tf.concat([r, (maske * V_const)[:, -1:]], axis=1)
        G = tf.einsum("ntk,nk->nt", diskont_matrix(gamma * m), x)
        A = G - V_const[:, :-1]

        J_hat = tf.reduce_mean(select_log_policy_for_actions(logpi, actions)[:, :-1] * A)
        L_td = tf.reduce_mean(tf.math.squared_difference(r + gamma * m * V_const[:, 1:], V[:, :-1]))
        H = tf.reduce_mean(-tf.einsum("nta,nta->nt", tf.exp(logpi), logpi))

        loss = -J_hat + value_loss_weight * L_td - entropy_weight * H

    variablen = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, variablen), variablen)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.RMSprop(7e-4, rho=0.99, epsilon=1e-5, global_clipnorm=0.5)
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
