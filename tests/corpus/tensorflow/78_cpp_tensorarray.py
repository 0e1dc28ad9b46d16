# style: another C++ programmer; RAII-ish subclass of the tape, const ints, free functions, no zip, tf.gather_nd for the log-probabilities
# verdict: right
# loses:
# note: gather_nd with explicit indices instead of the one-hot helper; reset by multiplication with the mask, a blank memory being zeros
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: agent-text
# %%
#pragma once   (I wish)
N_CONV = 3
N_UNITS = 192      # 256 was too slow on my laptop


class SimpleRecurrentAgent(object):
    # public:
    def __init__(self, obs_shape, n_actions):
        self.lstm_output_size = N_UNITS
        self._n_actions = n_actions

        self.normalise_ = keras.layers.Rescaling(10, offset=-3.6)
        self.conv0_ = self._make_conv(24)
        self.conv1_ = self._make_conv(32)
        self.conv2_ = self._make_conv(32)
        self.flatten_ = keras.layers.Flatten()
        self.fc_ = keras.layers.Dense(N_UNITS, activation="relu", kernel_initializer="he_normal")
        self.cell_ = keras.layers.LSTMCell(N_UNITS)
        self.actor_ = keras.layers.Dense(n_actions)
        self.critic_ = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1,) + tuple(obs_shape)))
        self._fast_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.normalise_(obs_t)
        x = self.conv0_(x)
        x = self.conv1_(x)
        x = self.conv2_(x)
        x = self.flatten_(x)
        x = self.fc_(x)
        hidden, state = self.cell_(x, [prev_state[0], prev_state[1]])
        logits = self.actor_(hidden)
        value = self.critic_(hidden)
        assert logits.shape[-1] == self._n_actions
        return state, (logits, value[:, 0])

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        h = tf.convert_to_tensor(prev_state[0], tf.float32)
        c = tf.convert_to_tensor(prev_state[1], tf.float32)
        o = tf.convert_to_tensor(obs_t, tf.float32)
        state, outputs = self._fast_forward([h, c], o)
        return [state[0].numpy(), state[1].numpy()], (outputs[0].numpy(), outputs[1].numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros([batch_size, N_UNITS]), tf.zeros([batch_size, N_UNITS])]

    def sample_actions(self, agent_outputs):
        logits, value = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        result = []
        for member in (self.conv0_, self.conv1_, self.conv2_, self.fc_, self.cell_, self.actor_, self.critic_):
            result += member.trainable_variables
        return result

    # private:
    @staticmethod
    def _make_conv(filters):
        return keras.layers.Conv2D(filters, 3, strides=2, activation="elu", kernel_initializer="he_normal")
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01


def log_prob_of(log_policy, actions):
    """out[i][t] = log_policy[i][t][actions[i][t]]"""
    n, T = actions.shape
    i, t = tf.meshgrid(tf.range(n), tf.range(T), indexing="ij")
    return tf.gather_nd(log_policy, tf.stack([i, t, actions], axis=-1))


class ScopedTape(tf.GradientTape):
    """RAII: records from the opening to the closing brace."""


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    s = tf.cast(states, tf.float32)
    a = tf.cast(actions, tf.int32)
    r = tf.cast(rewards, tf.float32)
    m = tf.cast(is_not_done, tf.float32)
    n_cols = r.shape[1]
    T = n_cols - 1

    memory = [tf.stop_gradient(tf.cast(p, tf.float32)) for p in prev_memory_states]

    with ScopedTape() as tape:
        logits_ta = tf.TensorArray(tf.float32, size=n_cols)
        value_ta = tf.TensorArray(tf.float32, size=n_cols)
        for t in range(n_cols):
            memory, (l, v) = agent.forward(memory, s[:, t])
            logits_ta = logits_ta.write(t, l)
            value_ta = value_ta.write(t, v)
            # new game -> zero the memory
            keep = m[:, t : t + 1]
            memory = [memory[0] * keep, memory[1] * keep]

        logits = tf.transpose(logits_ta.stack(), perm=[1, 0, 2])
        V = tf.transpose(value_ta.stack())
        log_pi = tf.nn.log_softmax(logits)
        log_pi_a = log_prob_of(log_pi, a)
        V_const = tf.stop_gradient(V)

        # ---- backwards ----
        J_hat = tf.constant(0.0)
        L_td = tf.constant(0.0)
        G = m[:, T] * V_const[:, T]
        for t in range(T - 1, -1, -1):
            discount = gamma * m[:, t]
            delta = r[:, t] + discount * V_const[:, t + 1] - V[:, t]
            L_td = L_td + tf.reduce_mean(delta * delta)
            G = r[:, t] + discount * G
            A = G - V_const[:, t]
            J_hat = J_hat + tf.reduce_mean(A * log_pi_a[:, t])
        J_hat = J_hat / T
        L_td = L_td / T

        H = -tf.reduce_sum(tf.exp(log_pi) * log_pi, axis=2)   # [n_games, n_cols]
        H = tf.reduce_mean(H)

        loss = -J_hat + value_loss_weight * L_td - entropy_weight * H

    variables = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    if tf.executing_eagerly():
        return float(loss)
    return loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.RMSprop(learning_rate=5e-4, rho=0.99, epsilon=1e-5)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: hand-in
