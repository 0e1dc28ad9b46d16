# style: a C++ / signal processing engineer in a hurry; terse, magics, few names, everything in two cells, timing left in
# verdict: wrong
# mistake: the pictures are centred and scaled by the mean and deviation of the whole batch, so what the agent says of one game depends on the others that are played beside it
# mistake: no stop_gradient around the advantage: the policy's term pulls at the critic, too
# loses: games_apart, constant_advantage
# named: the other games in the batch change a game's h
# named: the policy term moves the values
# %% keep: setup
# %% keep: imports
# %%
%matplotlib inline
np.set_printoptions(precision=3, suppress=True)
tf.random.set_seed(0); np.random.seed(0)
# %% keep: make-env
# %%
def zscore(x, eps=1e-5):
    return (x - tf.reduce_mean(x)) / (tf.math.reduce_std(x) + eps)


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions, N=256):
        k = keras.layers
        conv = lambda: k.Conv2D(32, 3, 2, activation="elu", kernel_initializer="he_normal")
        self.cnn = keras.Sequential([conv(), conv(), conv(), k.Flatten(), k.Dense(N, "relu", kernel_initializer="he_normal")])
        self.lstm = k.LSTMCell(N)
        self.pi, self.v = k.Dense(n_actions), k.Dense(1)
        self.lstm_output_size = N
        self(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.f = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        # contrast normalisation instead of the magic 10 and -3.6
        y, s = self.lstm(self.cnn(zscore(obs_t)), prev_state)
        return s, (self.pi(y), self.v(y)[:, 0])

    __call__ = forward

    def step(self, prev_state, obs_t):
        s, (l, v) = self.f([tf.convert_to_tensor(p, tf.float32) for p in prev_state], tf.convert_to_tensor(obs_t, tf.float32))
        return [p.numpy() for p in s], (l.numpy(), v.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size))] * 2

    def sample_actions(self, agent_outputs):
        l = agent_outputs[0]
        return np.argmax(l + np.random.gumbel(size=l.shape), axis=-1)

    trainable_variables = property(lambda self: sum((l.trainable_variables for l in (self.cnn, self.lstm, self.pi, self.v)), []))
# %% keep: agent-look
# %%
t0 = time.perf_counter()
for _ in range(100):
    agent.step(memory, observation[None])
print(f"{(time.perf_counter() - t0) * 10:.2f} ms / step")
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    x, r, m = [tf.cast(q, tf.float32) for q in (states, rewards, is_not_done)]
    a = tf.cast(actions, tf.int32)
    T = r.shape[1] - 1
    s = [tf.stop_gradient(p) for p in prev_memory_states]
    z = agent.get_initial_state(r.shape[0])
    with tf.GradientTape() as tape:
        L, V = [], []
        for t in range(T + 1):
            s, (l, v) = agent(s, x[:, t])
            L += [l]; V += [v]
            s = [tf.where(m[:, t, None] > 0, p, q) for p, q in zip(s, z)]
        L = tf.stack(L, 1)
        lp = tf.nn.log_softmax(L)
        lpa = select_log_policy_for_actions(lp, a)
        J = E = 0.0
        G = m[:, T] * tf.stop_gradient(V[T])
        for t in range(T)[::-1]:
            G = r[:, t] + gamma * m[:, t] * G
            E += tf.reduce_mean((r[:, t] + gamma * m[:, t] * tf.stop_gradient(V[t + 1]) - V[t]) ** 2) / T
            J += tf.reduce_mean(lpa[:, t] * (G - V[t])) / T
        H = -tf.reduce_mean(tf.reduce_sum(tf.exp(lp) * lp, -1))
        loss = -J + value_loss_weight * E - entropy_weight * H
    w = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, w), w)
    return loss.numpy() if tf.executing_eagerly() else loss


optimizer = keras.optimizers.Adam(5e-4)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
