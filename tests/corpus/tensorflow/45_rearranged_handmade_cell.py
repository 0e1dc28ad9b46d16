# style: rearranged notebook: the optimizer and the term weights come first, the exercises after; an LSTM cell written by hand as a Keras layer; returns summed up term by term in a double loop instead of the recursion; a class A2C does the work and train_on_rollout is one line
# verdict: right
# loses:
# note: the hand-made cell returns (h, [h, c]) like keras.layers.LSTMCell; A2C has no state but gamma and looks up agent, optimizer and weights when it is called; the double loop gives the same returns as the recursion, ends included; select is changed to tf.gather with batch_dims
# %% keep: setup
# %% keep: imports
# %%
# Exercise: optimizer      (moved up: all knobs in one place)
gamma = 0.99
value_loss_weight = 1.0
entropy_weight = 0.01
optimizer = keras.optimizers.Adam(learning_rate=4e-4)
# %% keep: make-env
# %% keep: look
# %%
class HandmadeLSTMCell(keras.layers.Layer):
    """The textbook equations, to be sure I understand them."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, x_shape, h_shape, c_shape):
        self.W = self.add_weight(shape=(x_shape[-1], 4 * self.units), initializer="glorot_uniform", name="W")
        self.U = self.add_weight(shape=(self.units, 4 * self.units), initializer="orthogonal", name="U")
        self.b = self.add_weight(shape=(4 * self.units,), initializer="zeros", name="b")

    def call(self, x, h, c):
        z = tf.matmul(x, self.W) + tf.matmul(h, self.U) + self.b
        i, f, o, g = tf.split(z, 4, axis=-1)
        # + 1: remember by default (Jozefowicz et al., 2015)
        c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, [h, c]


# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"  # keeps signals as strong from layer to layer (He et al., 2015)
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
        self.lstm_output_size = 200
        self.lstm_cell = HandmadeLSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, new_state = self.lstm_cell(self.backbone(obs_t), *prev_state)
        return new_state, (self.logits_head(h), self.state_value_head(h)[:, 0])

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
        p = np.asarray(tf.nn.softmax(tf.cast(logits, tf.float64)))
        # the first action whose cumulative probability exceeds a uniform number
        u = np.random.rand(len(p), 1)
        return np.minimum((p.cumsum(axis=1) <= u).sum(axis=1), p.shape[1] - 1)

    @property
    def trainable_variables(self):
        """The weights of all layers, in the order the layers were made."""
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %%
def select_log_policy_for_actions(log_policy, actions):
    """[n_games, n_steps, n_actions] and [n_games, n_steps] -> [n_games, n_steps]"""
    return tf.gather(log_policy, actions, batch_dims=2)


# Exercise: loss
class A2C:
    """The three terms, and one step."""

    def __init__(self, gamma):
        self.gamma = gamma

    def replay(self, states, m, memory):
        for t in range(m.shape[1]):
            memory, outputs = agent(memory, states[:, t])
            yield outputs
            memory = [tf.where(m[:, t, None] > 0, part, 0.0) for part in memory]

    def returns(self, r, m, V):
        """G_t = r_t + γ m_t r_{t+1} + γ² m_t m_{t+1} r_{t+2} + … + γ^(T-t) m_t … m_T V(s_T)"""
        T = r.shape[1] - 1
        columns = []
        for t in range(T):
            G, weight = 0.0, 1.0
            for k in range(t, T):
                G += weight * r[:, k]
                weight *= self.gamma * m[:, k]
            columns.append(G + weight * m[:, T] * V[:, T])
        return tf.stack(columns, axis=1)

    def loss(self, states, actions, r, m, memory):
        logits, V = [tf.stack(parts, axis=1) for parts in zip(*self.replay(states, m, memory))]
        V_const = tf.stop_gradient(V)
        log_pi = tf.nn.log_softmax(logits)

        A = self.returns(r, m, V_const) - V_const[:, :-1]
        J_hat = tf.reduce_mean(select_log_policy_for_actions(log_pi, actions)[:, :-1] * A)

        td_target = r[:, :-1] + self.gamma * (m * tf.roll(V_const, -1, axis=1))[:, :-1]
        L_td = tf.reduce_mean((td_target - V[:, :-1]) ** 2)

        # H = log Z - Σ π·logit, because log π = logit - log Z
        log_Z = tf.reduce_logsumexp(logits, axis=-1)
        H = tf.reduce_mean(log_Z - tf.reduce_sum(tf.nn.softmax(logits) * logits, axis=-1))

        return -J_hat + value_loss_weight * L_td - entropy_weight * H

    def step(self, states, actions, r, m, memory):
        with tf.GradientTape() as tape:
            loss = self.loss(states, actions, r, m, memory)
        w = agent.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, w), w))
        return loss


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    floats = [tf.cast(x, tf.float32) for x in (states, rewards, is_not_done)]
    memory = [tf.stop_gradient(tf.cast(part, tf.float32)) for part in prev_memory_states]
    loss = A2C(gamma).step(floats[0], tf.cast(actions, tf.int32), floats[1], floats[2], memory)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %% keep: optimizer-check
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %%
n_parallel_games = 5
pool = EnvPool(agent, make_env, n_parallel_games, vectorization_mode="ale_threads")
# %% keep: interact
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
