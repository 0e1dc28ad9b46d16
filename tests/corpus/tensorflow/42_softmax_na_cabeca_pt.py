# style: Brazilian Portuguese comments, informal; helper functions for each term, probabilities kept everywhere
# verdict: wrong
# mistake: agent-exercise: the actor's head has a softmax, so what it calls logits are probabilities (and get a softmax again later)
# mistake: loss-exercise: the policy in the entropy is stopped, so only log π carries a gradient and that cancels out: the bonus pushes nothing
# loses: logits, entropy_gradient
# named: they are probabilities already (each row sums to 1)
# named: it has no gradient
# note: with the stopped policy the entropy's number is right, its gradient is zero but for rounding
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Olha a tela, lembra e diz o que fazer."""

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
        # o ator: uma probabilidade pra cada ação
        self.logits_head = keras.layers.Dense(n_actions, activation="softmax")
        # o crítico: um número só
        self.state_value_head = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        z = self.backbone(obs_t)
        h, new_state = self.lstm_cell(z, prev_state)
        logits = self.logits_head(h)
        state_value = tf.squeeze(self.state_value_head(h), axis=-1)
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
# uma função pra cada termo, assim dá pra testar separado

def termo_politica(log_pi_a, G, V):
    A = tf.stop_gradient(G - V)  # A_const
    return tf.reduce_mean(log_pi_a * A)


def termo_valor(r, m, V, V_prox, gamma):
    alvo = tf.stop_gradient(r + gamma * m * V_prox)
    return tf.reduce_mean(tf.square(alvo - V))


def termo_entropia(pi, log_pi):
    # média de -log π sob a política atual: a política é só o peso da média
    pesos = tf.stop_gradient(pi)
    return tf.reduce_mean(tf.reduce_sum(-pesos * log_pi, axis=-1))


# teste rápido: política uniforme -> ln 14
u = tf.fill((2, 3, n_actions), 1.0 / n_actions)
print(termo_entropia(u, tf.math.log(u)).numpy(), "deve dar", np.log(n_actions))
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1

    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)

            # depois do reset começa um jogo novo, memória zerada
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

        J_hat = 0.0
        value_loss = 0.0
        G = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])
        for t in reversed(range(rollout_length)):
            G = rewards[:, t] + gamma * is_not_done[:, t] * G
            J_hat += termo_politica(log_policy_for_actions[:, t], G, state_values[:, t])
            value_loss += termo_valor(
                rewards[:, t], is_not_done[:, t], state_values[:, t], state_values[:, t + 1], gamma
            )

        J_hat /= rollout_length
        value_loss /= rollout_length
        entropy_reg = termo_entropia(policy, log_policy)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam()  # o padrão tá bom
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
