# style: Portuguese comments, ambitious: a small GRU and a slow trace beside the LSTM, orthogonal initialisers, asserts and debugging prints left in
# verdict: right
# loses:
# note: the memory is still a list of two arrays of lstm_output_size columns: h = [LSTM h | GRU state], c = [LSTM c | slow trace of the GRU]; both heads read the whole new h, and everything in it learns; asserts, logging and three extra training steps after first-step do no harm
# %% keep: setup
# %% keep: imports
# %%
import logging

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("kungfu")
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
N_LSTM, N_GRU = 256, 64


def orto(ganho=1.0):
    return keras.initializers.Orthogonal(gain=ganho)


class SimpleRecurrentAgent:
    """Agente com duas memórias: a LSTM (rápida) e uma GRU pequena com um rasto lento.

    A memória tem o formato pedido, [h, c]:
        h = [h da LSTM | estado da GRU]
        c = [c da LSTM | rasto lento da GRU]
    """

    def __init__(self, obs_shape, n_actions):
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=orto(1.4)),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=orto(1.4)),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=orto(1.4)),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer=orto(1.4)),
            ]
        )
        self.lstm_output_size = N_LSTM + N_GRU
        self.lstm_cell = keras.layers.LSTMCell(N_LSTM, recurrent_initializer=orto())
        self.gru_cell = keras.layers.GRUCell(N_GRU, recurrent_initializer=orto())
        self.logits_head = keras.layers.Dense(n_actions, kernel_initializer=orto(0.01))
        self.state_value_head = keras.layers.Dense(1, kernel_initializer=orto())

        # cria os pesos
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, c = prev_state
        h_lstm, h_gru = h[:, :N_LSTM], h[:, N_LSTM:]
        c_lstm, lento = c[:, :N_LSTM], c[:, N_LSTM:]

        x = self.backbone(obs_t)
        saida, (h_lstm, c_lstm) = self.lstm_cell(x, [h_lstm, c_lstm])
        # a GRU vê a imagem e o rasto lento
        h_gru, _ = self.gru_cell(tf.concat([x, lento], axis=1), [h_gru])
        lento = 0.9 * lento + 0.1 * h_gru

        tudo = tf.concat([saida, h_gru], axis=1)
        new_state = [tf.concat([h_lstm, h_gru], axis=1), tf.concat([c_lstm, lento], axis=1)]

        logits = self.logits_head(tudo)
        state_value = tf.squeeze(self.state_value_head(tudo), axis=[1])
        assert logits.shape.rank == 2 and state_value.shape.rank == 1, (logits.shape, state_value.shape)
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
# %%
# a memória muda mesmo?
assert all(np.abs(p).sum() > 0 for p in new_memory), "memória parada!"
log.info("memória: %s", [p.shape for p in new_memory])
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1

    # o gradiente para aqui: não pode voltar aos rollouts anteriores
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)

            # After a reset tick a new game begins, with a blank memory.
            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)
        tf.debugging.assert_all_finite(logits, "logits com NaN")
        assert log_policy_for_actions.shape == rewards.shape

        J_hat = 0.0
        value_loss = 0.0
        cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])

        # de trás para a frente
        for t in reversed(range(rollout_length)):
            r_t = rewards[:, t]
            m_t = is_not_done[:, t]
            V_t = state_values[:, t]
            V_next = tf.stop_gradient(state_values[:, t + 1])
            logpi_a_s_t = log_policy_for_actions[:, t]

            G_t = r_t + gamma * m_t * cumulative_returns
            cumulative_returns = G_t

            # onde o jogo acabou, o alvo é só a recompensa
            alvo = tf.where(m_t > 0, r_t + gamma * V_next, r_t)
            value_loss += tf.reduce_mean(tf.square(alvo - V_t))

            advantage = G_t - V_t
            advantage = tf.stop_gradient(advantage)
            assert advantage.shape == logpi_a_s_t.shape

            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        # H: média sobre jogos e colunas
        H = tf.reduce_sum(policy * log_policy, axis=-1)
        entropy_reg = -tf.reduce_mean(H)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    assert None not in [g if g is None else 1 for g in grads], "há um peso sem gradiente"
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    # print("J", J_hat, "L", value_loss, "H", entropy_reg)

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=2.5e-4, beta_1=0.9, epsilon=1e-5)
log.info("otimizador: %s", optimizer.name)
# %% keep: optimizer-check
# %% keep: first-step
# %%
# passos a mais, só para ver a perda mexer-se
for i in range(3):
    memory = list(pool.prev_memory_states)
    rollout = pool.interact(10)
    print(i, train_on_rollout(*rollout, memory, gamma))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
