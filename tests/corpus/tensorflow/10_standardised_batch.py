# style: custom Keras layer as subclass, dataclass Batch, loss vectorised with a lax-like tf.scan, Spanish identifiers, logging calls
# verdict: wrong
# mistake: agent: the observations are standardised with mean and deviation of the whole batch (all axes, games too), so each game's logits, value and memory depend on the other games
# loses: games_apart
# named: the other games in the batch change a game's
# %% keep: setup
# %% keep: imports
# %%
import logging
from dataclasses import dataclass

log = logging.getLogger("kungfu")
log.setLevel(logging.INFO)
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class Estandarizar(keras.layers.Layer):
    """Media 0, desviación 1: las redes aprenden mejor así."""

    def call(self, imagenes):
        media = tf.reduce_mean(imagenes)
        desviacion = tf.math.reduce_std(imagenes)
        return (imagenes - media) / (desviacion + 1e-3)


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.backbone = keras.Sequential(
            [
                Estandarizar(),  # en lugar de Rescaling(10, offset=-3.6)
                keras.layers.Conv2D(32, 3, strides=2, activation="elu"),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu"),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu"),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu"),
            ]
        )
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)
        log.info("pesos: %d", sum(int(np.prod(v.shape)) for v in self.trainable_variables))

    def forward(self, prev_state, obs_t):
        caracteristicas = self.backbone(obs_t)
        salida, new_state = self.lstm_cell(caracteristicas, prev_state)
        logits = self.logits_head(salida)
        state_value = tf.squeeze(self.state_value_head(salida), axis=1)
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
        # Where logits plus Gumbel noise are largest is a draw from their softmax.
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
# Exercise: loss
@dataclass
class Lote:
    estados: tf.Tensor
    acciones: tf.Tensor
    recompensas: tf.Tensor
    sigue: tf.Tensor

    @classmethod
    def desde(cls, states, actions, rewards, is_not_done):
        return cls(
            tf.cast(states, tf.float32),
            tf.cast(actions, tf.int32),
            tf.cast(rewards, tf.float32),
            tf.cast(is_not_done, tf.float32),
        )


def retornos(lote, V, gamma):
    """G_t = r_t + gamma m_t G_{t+1} con tf.scan, de atrás hacia delante."""
    r = tf.transpose(lote.recompensas[:, :-1])
    m = tf.transpose(lote.sigue[:, :-1])
    inicio = lote.sigue[:, -1] * V[:, -1]
    G = tf.scan(lambda G, rm: rm[0] + gamma * rm[1] * G, (r, m), inicio, reverse=True)
    return tf.transpose(G)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    lote = Lote.desde(states, actions, rewards, is_not_done)
    n, columnas = lote.recompensas.shape
    memoria = [tf.stop_gradient(part) for part in prev_memory_states]
    en_blanco = agent.get_initial_state(n)

    with tf.GradientTape() as tape:
        logits, valores = [], []
        for t in range(columnas):
            memoria, (l, v) = agent(memoria, lote.estados[:, t])
            logits.append(l)
            valores.append(v)
            sigue = lote.sigue[:, t, None] > 0
            memoria = [tf.where(sigue, a, b) for a, b in zip(memoria, en_blanco)]
        logits, V = tf.stack(logits, axis=1), tf.stack(valores, axis=1)
        V_const = tf.stop_gradient(V)

        log_policy = tf.nn.log_softmax(logits)
        policy = tf.nn.softmax(logits)
        log_pi_a = select_log_policy_for_actions(log_policy, lote.acciones)[:, :-1]

        ventaja = retornos(lote, V_const, gamma) - V_const[:, :-1]
        J_hat = tf.reduce_mean(log_pi_a * ventaja)

        objetivo = lote.recompensas[:, :-1] + gamma * lote.sigue[:, :-1] * V_const[:, 1:]
        value_loss = tf.reduce_mean(tf.square(objetivo - V[:, :-1]))

        entropy_reg = -tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    log.debug("J %s L %s H %s", J_hat, value_loss, entropy_reg)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.RMSprop(7e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
