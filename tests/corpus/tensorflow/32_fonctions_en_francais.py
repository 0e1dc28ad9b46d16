# style: French names and comments, the loss cut into six short functions over as many cells, assembled at the end
# verdict: wrong
# mistake: loss-exercise: the weights of the terms are default arguments, frozen when the cell runs at 1.0 and 0.01: what training-settings says later (0.5, 0.003) is never used
# mistake: loss-exercise: apply_gradients(grads, variables) without zip raises
# loses: weights, step
# named: value_loss_weight and entropy_weight change nothing
# named: TypeError: BaseOptimizer.apply_gradients() takes 2 positional arguments but 3 were given
# note: at the values of the select cell the loss itself is right; the line with apply_gradients raises a TypeError, everything before it is right
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Regarde l'écran, se souvient, dit quoi faire et ce que ça vaut."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer=he),
            ]
        )
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        # image -> vecteur -> cellule -> deux têtes
        x = self.backbone(obs_t)
        sortie, new_state = self.lstm_cell(x, prev_state)
        logits = self.logits_head(sortie)
        state_value = self.state_value_head(sortie)[:, 0]  # (n, 1) -> (n,)
        return new_state, (logits, state_value)

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        """Returns the memory of somebody who has seen nothing yet."""
        shape = (batch_size, self.lstm_output_size)
        return [tf.zeros(shape), tf.zeros(shape)]

    def sample_actions(self, agent_outputs):
        """Draws an action for each game from the softmax of its logits."""
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        """The weights of all layers, in the order the layers were made."""
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# 1) Rejouer la partie : on redonne les observations à l'agent, tick par tick.
def rejouer(etats, pas_fini, memoire):
    les_logits, les_valeurs = [], []
    for t in range(etats.shape[1]):
        memoire, (l, v) = agent(memoire, etats[:, t])
        les_logits.append(l)
        les_valeurs.append(v)
        # partie finie -> mémoire effacée
        masque = tf.expand_dims(pas_fini[:, t], 1)
        memoire = [m * masque for m in memoire]
    return tf.stack(les_logits, 1), tf.stack(les_valeurs, 1)
# %%
# 2) Les retours, de droite à gauche (voir la figure)
def calculer_retours(recompenses, pas_fini, valeurs, gamma):
    T = recompenses.shape[1] - 1
    G = pas_fini[:, T] * valeurs[:, T]
    retours = {}
    for t in reversed(range(T)):
        G = recompenses[:, t] + gamma * pas_fini[:, t] * G
        retours[t] = G
    return tf.stack([retours[t] for t in range(T)], axis=1)
# %%
# 3) Le critique
def perte_critique(recompenses, pas_fini, valeurs, gamma):
    cible = recompenses[:, :-1] + gamma * pas_fini[:, :-1] * valeurs[:, 1:]
    cible = tf.stop_gradient(cible)  # la cible est constante !
    erreur = cible - valeurs[:, :-1]
    return tf.reduce_mean(erreur * erreur)
# %%
# 4) L'acteur
def objectif_acteur(log_pi, retours, valeurs):
    avantage = tf.stop_gradient(retours - valeurs[:, :-1])
    return tf.reduce_mean(log_pi[:, :-1] * avantage)
# %%
# 5) L'entropie : grande quand l'agent hésite
def entropie(logits):
    p, log_p = tf.nn.softmax(logits), tf.nn.log_softmax(logits)
    return tf.reduce_mean(tf.reduce_sum(-p * log_p, axis=2))


# 6) et le tout ensemble
def perte_totale(J, L, H, poids_valeur=value_loss_weight, poids_entropie=entropy_weight):
    return -J + poids_valeur * L - poids_entropie * H
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Un pas de gradient."""
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, valeurs = rejouer(states, is_not_done, memory)
        retours = calculer_retours(rewards, is_not_done, valeurs, gamma)
        log_pi = select_log_policy_for_actions(tf.nn.log_softmax(logits), actions)

        J_hat = objectif_acteur(log_pi, retours, valeurs)
        value_loss = perte_critique(rewards, is_not_done, valeurs, gamma)
        loss = perte_totale(J_hat, value_loss, entropie(logits))

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(grads, agent.trainable_variables)

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=5e-4, global_clipnorm=1.0)
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
