# style: a statistician; own Categorical class as in a probability library, Greek names, vectorised, population vs. sample remarks
# verdict: wrong
# mistake: the entropy is divided by log(number of actions) to lie between 0 and 1; the assignment's H is in nats, so its value and its gradient come out about 2.6 times too small
# loses: entropy_value, entropy_gradient
# named: divided by its largest value, log(14)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
class Categorical:
    """Multinoulli law with natural parameters η (logits), last axis = outcomes."""

    def __init__(self, logits):
        self.η = logits - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)

    @property
    def p(self):
        return tf.exp(self.η)

    def log_prob(self, x):
        return tf.gather(self.η, x, axis=-1, batch_dims=2)

    def entropy(self):
        """Shannon entropy relative to the uniform law (efficiency), in [0, 1]"""
        h = -tf.reduce_sum(self.p * self.η, axis=-1)
        k = self.η.shape[-1]
        return h / np.log(k)

    def sample(self):
        return tf.random.categorical(self.η, 1)[:, 0]


# quick check: the uniform law has efficiency 1
print(Categorical(tf.zeros((2, 3, 14))).entropy().numpy())
# %%
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        L = keras.layers
        self.backbone = keras.Sequential([
            L.Rescaling(10, offset=-3.6),
            L.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            L.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            L.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            L.Flatten(),
            L.Dense(256, activation="relu", kernel_initializer=he),
        ])
        self.lstm_output_size = 256
        self.lstm_cell = L.LSTMCell(self.lstm_output_size)
        self.η_head = L.Dense(n_actions)
        self.V_head = L.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        z, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        return new_state, (self.η_head(z), tf.squeeze(self.V_head(z), axis=-1))

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.lstm_output_size)
        return [tf.zeros(shape), tf.zeros(shape)]

    def sample_actions(self, agent_outputs):
        return Categorical(tf.convert_to_tensor(agent_outputs[0])).sample().numpy()

    @property
    def trainable_variables(self):
        return [v for l in (self.backbone, self.lstm_cell, self.η_head, self.V_head) for v in l.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    a = tf.cast(actions, tf.int32)
    r = tf.cast(rewards, tf.float32)
    m = tf.cast(is_not_done, tf.float32)
    N, T = r.shape[0], r.shape[1] - 1
    γ = gamma

    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    with tf.GradientTape() as tape:
        η, V = [], []
        for t in range(T + 1):
            memory, (η_t, V_t) = agent(memory, states[:, t])
            η.append(η_t)
            V.append(V_t)
            memory = [tf.where(m[:, t, None] > 0, x, 0.0) for x in memory]
        π = Categorical(tf.stack(η, axis=1))
        V = tf.stack(V, axis=1)
        V_const = tf.stop_gradient(V)

        # least squares for the critic
        ε = r[:, :T] + γ * m[:, :T] * V_const[:, 1:] - V[:, :T]
        L_td = tf.reduce_mean(ε**2)

        # score function estimator with a baseline (control variate)
        G = [m[:, T] * V_const[:, T]]
        for t in range(T - 1, -1, -1):
            G.insert(0, r[:, t] + γ * m[:, t] * G[0])
        A = tf.stack(G[:T], axis=1) - V_const[:, :T]
        J_hat = tf.reduce_mean(π.log_prob(a)[:, :T] * A)

        H = tf.reduce_mean(π.entropy())

        loss = -J_hat + value_loss_weight * L_td - entropy_weight * H

    θ = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, θ), θ)
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.Adam()
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
