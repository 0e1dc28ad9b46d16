# style: subclass of keras.Model with call(), German comments, einsum for the entropy, reversed returns by list, MeanSquaredError from Keras
# verdict: right
# note: agent is a keras.Model (its own trainable_variables); critic's loss by keras.losses.MeanSquaredError over the acted columns; entropy without the dummy last column
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
# Ich leite lieber von keras.Model ab, dann findet Keras alle Gewichte von allein.
class SimpleRecurrentAgent(keras.Model):
    def __init__(self, obs_shape, n_actions, units=192):
        super().__init__(name="kungfu_agent")
        L = keras.layers
        self.skalierung = L.Rescaling(10, offset=-3.6)
        self.conv_a = L.Conv2D(32, 5, strides=2, activation="elu")
        self.conv_b = L.Conv2D(48, 3, strides=2, activation="elu")
        self.conv_c = L.Conv2D(48, 3, strides=2, activation="elu")
        self.flach = L.Flatten()
        self.dicht = L.Dense(256, activation="elu")
        self.lstm_output_size = units
        self.lstm_cell = L.LSTMCell(units)
        self.logits_head = L.Dense(n_actions)
        self.state_value_head = L.Dense(1)
        # einmal durchlaufen lassen, damit die Gewichte entstehen
        self(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def sehen(self, obs_t):
        x = self.skalierung(obs_t)
        for schicht in (self.conv_a, self.conv_b, self.conv_c, self.flach, self.dicht):
            x = schicht(x)
        return x

    def call(self, prev_state, obs_t):
        # Gedächtnis: [h, c]; die Zelle gibt h zweimal zurück
        _, (h, c) = self.lstm_cell(self.sehen(obs_t), list(prev_state))
        V = tf.reshape(self.state_value_head(h), [-1])  # (n, 1) -> (n,)
        return [h, c], (self.logits_head(h), V)

    def forward(self, prev_state, obs_t):
        return self(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size))] * 2

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions)
agent.summary()

observation, _ = env.reset()
memory = agent.get_initial_state(1)
new_memory, (logits, state_value) = agent.step(memory, observation[None])
print("Logits:", np.round(np.asarray(logits), 3))
print("Wert:", np.round(np.asarray(state_value), 3))
# %% keep: evaluate
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
mse = keras.losses.MeanSquaredError()


def renditen(belohnung, maske, bootstrap, gamma):
    """G_t von hinten nach vorn, eine Spalte weniger als die Beobachtungen."""
    G, alle = bootstrap, []
    for r, m in zip(
        reversed(tf.unstack(belohnung, axis=1)), reversed(tf.unstack(maske, axis=1)), strict=True
    ):
        G = r + gamma * m * G
        alle.append(G)
    return tf.stack(alle[::-1], axis=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    maske = tf.cast(is_not_done, tf.float32)
    n_spiele, n_spalten = rewards.shape

    gedaechtnis = [tf.stop_gradient(teil) for teil in prev_memory_states]
    leer = agent.get_initial_state(n_spiele)

    with tf.GradientTape() as tape:
        verlauf = []
        for t in range(n_spalten):
            gedaechtnis, ausgabe = agent(gedaechtnis, states[:, t])
            verlauf.append(ausgabe)
            weiter = maske[:, t : t + 1] > 0
            gedaechtnis = [tf.where(weiter, g, l) for g, l in zip(gedaechtnis, leer)]
        logits, V = (tf.stack(x, axis=1) for x in zip(*verlauf))

        # die letzte Spalte wird nicht gespielt: nur ihr V wird gebraucht
        log_pi = tf.nn.log_softmax(logits[:, :-1])
        pi = tf.nn.softmax(logits[:, :-1])
        r, m = rewards[:, :-1], maske[:, :-1]
        V_konst = tf.stop_gradient(V)

        G = renditen(r, m, maske[:, -1] * V_konst[:, -1], gamma)
        vorteil = tf.stop_gradient(G - V[:, :-1])
        J_hat = tf.reduce_mean(select_log_policy_for_actions(log_pi, actions[:, :-1]) * vorteil)

        value_loss = mse(r + gamma * m * V_konst[:, 1:], V[:, :-1])
        H = -tf.einsum("nta,nta->nt", pi, log_pi)
        entropy_reg = tf.reduce_mean(H)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply(grads, agent.trainable_variables)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# Schrittweite fällt exponentiell; eigener Zeitplan, deshalb greift set_learning_rate nicht ein
zeitplan = keras.optimizers.schedules.ExponentialDecay(7e-4, decay_steps=2000, decay_rate=0.7)
optimizer = keras.optimizers.Adam(zeitplan, epsilon=1e-5, global_clipnorm=1.0)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
