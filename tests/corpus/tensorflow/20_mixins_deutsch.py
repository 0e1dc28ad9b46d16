# style: classes with mixins, German comments, mask handled in a helper class, keras ops instead of tf here and there
# verdict: wrong
# mistake: loss: the memory is wiped before the agent sees column t where is_not_done[:, t] == 0, i.e. before a game's last observation, instead of after it (one tick too early, and the next game starts with the old memory)
# loses: memory_reset
# named: it is wiped one tick too early
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
# Exercise: agent
class NumpySchritt:
    """Mixin: step() mit NumPy rein und raus, kompiliert beim ersten Aufruf."""

    _kompiliert = None

    def step(self, prev_state, obs_t):
        if self._kompiliert is None:
            self._kompiliert = tf.function(self.forward)
        zustand = [tf.convert_to_tensor(z, tf.float32) for z in prev_state]
        (h, c), (logits, wert) = self._kompiliert(zustand, tf.convert_to_tensor(obs_t, tf.float32))
        return [h.numpy(), c.numpy()], (logits.numpy(), wert.numpy())


class GumbelWuerfel:
    """Mixin: Aktionen aus dem Softmax ziehen (Gumbel-Trick)."""

    def sample_actions(self, agent_outputs):
        logits = np.asarray(agent_outputs[0])
        return (logits + np.random.gumbel(size=logits.shape)).argmax(axis=-1)


class SimpleRecurrentAgent(NumpySchritt, GumbelWuerfel):
    def __init__(self, obs_shape, n_actions):
        schichten = [keras.layers.Rescaling(10, offset=-3.6)]
        for filter_zahl in (32, 32, 32):
            schichten.append(
                keras.layers.Conv2D(
                    filter_zahl, 3, strides=2, activation="elu", kernel_initializer="he_normal"
                )
            )
        schichten += [
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
        ]
        self.backbone = keras.Sequential(schichten)
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))  # legt die Gewichte an

    def forward(self, prev_state, obs_t):
        merkmale = self.backbone(obs_t)
        _, new_state = self.lstm_cell(merkmale, list(prev_state))
        h = new_state[0]  # die Ausgabe der Zelle ist ihr h
        return new_state, (self.logits_head(h), keras.ops.squeeze(self.state_value_head(h), -1))

    __call__ = forward

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in range(2)]

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
# %%
# Gewichte der Terme
value_loss_weight = 1.0
entropy_weight = 0.01


class Maske:
    """Alles, was mit Spielenden zu tun hat, an einer Stelle."""

    def __init__(self, is_not_done):
        self.m = tf.cast(is_not_done, tf.float32)

    def gedaechtnis(self, memory, t):
        """Setzt das Gedächtnis beendeter Spiele zurück."""
        leer = agent.get_initial_state(self.m.shape[0])
        return [tf.where(self.m[:, t, None] > 0, teil, null) for teil, null in zip(memory, leer)]

    def weiter(self, t, zukunft):
        """Zukunft zählt nur, wenn das Spiel weitergeht."""
        return self.m[:, t] * zukunft


# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    rewards = tf.cast(rewards, tf.float32)
    maske = Maske(is_not_done)
    T = rewards.shape[1] - 1
    memory = [tf.stop_gradient(teil) for teil in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, werte = [], []
        for t in range(T + 1):
            # Spiel vorbei? Dann fängt die Zelle von vorne an.
            memory = maske.gedaechtnis(memory, t)
            memory, (logits_t, werte_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            werte.append(werte_t)
        logits = keras.ops.stack(logits, axis=1)

        log_policy = keras.ops.log_softmax(logits, axis=-1)
        gespielt = tf.one_hot(tf.cast(actions, tf.int32), n_actions)
        log_pi = keras.ops.sum(gespielt * log_policy, axis=-1)

        fest = [tf.stop_gradient(w) for w in werte]
        G = maske.weiter(T, fest[T])
        J_hat = 0.0
        value_loss = 0.0
        for t in reversed(range(T)):
            G = rewards[:, t] + gamma * maske.weiter(t, G)
            ziel = rewards[:, t] + gamma * maske.weiter(t, fest[t + 1])
            value_loss += keras.ops.mean((werte[t] - ziel) ** 2) / T
            J_hat += keras.ops.mean(log_pi[:, t] * (G - fest[t])) / T

        entropie = -keras.ops.mean(keras.ops.sum(keras.ops.exp(log_policy) * log_policy, axis=-1))
        loss = value_loss_weight * value_loss - J_hat - entropy_weight * entropie

    gewichte = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, gewichte), gewichte)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam()  # Standard reicht erst mal
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
