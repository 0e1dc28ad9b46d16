# style: functional Keras model with three inputs, dict config, functools.partial, comments in Spanish, cells reordered (optimizer before the loss)
# verdict: right
# note: the network is one keras.Model; a gate mixes LSTM output and dense features (all weights used); policy term masked on reset ticks; TD target times is_not_done[:, t + 1] as well
# %% keep: setup
# %% keep: imports
# %%
from functools import partial

CFG = dict(filtros=[16, 32, 32], denso=200, lstm=200, lr=5e-4, clip=1.0)
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
def construir_red(obs_shape, n_actions, cfg):
    """Red funcional: (obs, h, c) -> (h', c', logits, valor)"""
    conv = partial(
        keras.layers.Conv2D, kernel_size=3, strides=2, activation="elu", kernel_initializer="he_normal"
    )
    obs = keras.Input(obs_shape, name="obs")
    h = keras.Input((cfg["lstm"],), name="h")
    c = keras.Input((cfg["lstm"],), name="c")

    x = keras.layers.Rescaling(10, offset=-3.6)(obs)
    for f in cfg["filtros"]:
        x = conv(f)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(cfg["denso"], activation="relu", kernel_initializer="he_normal")(x)

    salida, (h2, c2) = keras.layers.LSTMCell(cfg["lstm"])(x, [h, c])

    # compuerta estilo GRU: cuánto de la memoria y cuánto de lo que se ve ahora
    z = keras.layers.Dense(cfg["lstm"], activation="sigmoid", name="compuerta")(
        keras.layers.Concatenate()([x, salida])
    )
    vista = keras.layers.Dense(cfg["lstm"], activation="tanh", name="vista")(x)
    mezcla = z * salida + (1.0 - z) * vista

    logits = keras.layers.Dense(n_actions, name="actor")(mezcla)
    valor = keras.layers.Dense(1, name="critico")(mezcla)
    valor = keras.layers.Reshape(())(valor)  # (n, 1) -> (n,)
    return keras.Model([obs, h, c], [h2, c2, logits, valor])


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions, cfg=CFG):
        self.lstm_output_size = cfg["lstm"]
        self.red = construir_red(obs_shape, n_actions, cfg)
        self._rapida = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, c = prev_state
        h, c, logits, state_value = self.red([obs_t, h, c])
        return [h, c], (logits, state_value)

    def __call__(self, *args):
        return self.forward(*args)

    def step(self, prev_state, obs_t):
        a_tensor = partial(tf.convert_to_tensor, dtype=tf.float32)
        estado, salidas = self._rapida(list(map(a_tensor, prev_state)), a_tensor(obs_t))
        return tf.nest.map_structure(lambda x: x.numpy(), (estado, salidas))

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size))] * 2

    def sample_actions(self, agent_outputs):
        logits = np.asarray(agent_outputs[0], np.float64)
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return np.array([np.random.choice(len(fila), p=fila) for fila in p])

    @property
    def trainable_variables(self):
        return self.red.trainable_variables
# %% keep: agent-check
# %% keep: agent-look
# %%
# ¿cuántos parámetros?
print(f"{sum(int(np.prod(v.shape)) for v in agent.trainable_variables):,} parámetros")
# keras.utils.plot_model(agent.red, show_shapes=True)  # hace falta graphviz
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
# Exercise: optimizer
# (lo pongo antes de la función de pérdida porque si no, se me olvida ejecutarlo)
optimizer = keras.optimizers.Nadam(learning_rate=CFG["lr"], global_clipnorm=CFG["clip"])
# %% keep: select
# %%
# Exercise: loss
def recorrer(memoria, states, vivo):
    """Repite el rollout con el agente; generador de (logits, valor) por tick."""
    for t in range(states.shape[1]):
        memoria, salida = agent(memoria, states[:, t])
        yield salida
        # si la partida terminó aquí, la memoria vuelve a cero
        inicial = agent.get_initial_state(vivo.shape[0])
        memoria = [tf.where(vivo[:, t, None] > 0, nueva, cero) for nueva, cero in zip(memoria, inicial)]


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    a_float = partial(tf.cast, dtype=tf.float32)
    states, rewards, vivo = map(a_float, (states, rewards, is_not_done))
    actions = tf.cast(actions, tf.int32)
    T = rewards.shape[1] - 1
    memoria = list(map(tf.stop_gradient, prev_memory_states))

    with tf.GradientTape() as tape:
        logits, valores = zip(*recorrer(memoria, states, vivo))
        logits, valores = tf.stack(logits, axis=1), tf.stack(valores, axis=1)
        log_pi = tf.nn.log_softmax(logits)
        log_pi_jugado = select_log_policy_for_actions(log_pi, actions)
        fijo = tf.stop_gradient(valores)

        J_hat = perdida_v = 0.0
        G = vivo[:, -1] * fijo[:, -1]
        for t in range(T - 1, -1, -1):
            G = rewards[:, t] + gamma * vivo[:, t] * G
            # valor de una observación final = 0, por eso también la máscara de t + 1
            objetivo = rewards[:, t] + gamma * vivo[:, t] * vivo[:, t + 1] * fijo[:, t + 1]
            perdida_v += tf.reduce_mean(tf.square(objetivo - valores[:, t]))
            ventaja = G - fijo[:, t]
            # en el tick de reset la acción no hace nada: no aprendemos de ella
            J_hat += tf.reduce_mean(vivo[:, t] * log_pi_jugado[:, t] * ventaja)

        H = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_pi) * log_pi, axis=-1))
        loss = -J_hat / T + value_loss_weight * perdida_v / T - entropy_weight * H

    pesos = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, pesos), pesos)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
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
