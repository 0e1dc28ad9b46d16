# style: somebody in a hurry at two in the morning: almost everything in one cell, one-letter names, comprehensions, semicolons, own training loop, text and look cells thrown out
# verdict: right
# note: always returns loss.numpy(), so the compiled training step falls back to running uncompiled; the weights of the terms are read from the settings; parameters of forward, step, get_initial_state have other names (positional use only)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
# Exercise: agent / loss / optimizer -- alles in einer zelle, sorry
value_loss_weight, entropy_weight = 1., .01

class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        d, cv = keras.layers.Dense, keras.layers.Conv2D
        self.net = [keras.layers.Rescaling(10, -3.6), cv(16, 3, 2, activation="relu"), cv(32, 3, 2, activation="relu"),
                    cv(32, 3, 2, activation="relu"), keras.layers.Flatten(), d(256, "relu")]
        self.cell, self.pi, self.v = keras.layers.LSTMCell(256), d(n_actions), d(1)
        self(self.get_initial_state(2), tf.zeros((2,) + tuple(obs_shape)))

    def forward(self, s, x):
        for l in self.net: x = l(x)
        y, s = self.cell(x, s)
        return s, (self.pi(y), self.v(y)[:, 0])
    __call__ = forward

    def step(self, s, x):
        s, o = self([tf.constant(i, tf.float32) for i in s], tf.constant(x, tf.float32))
        return [i.numpy() for i in s], tuple(i.numpy() for i in o)

    def get_initial_state(self, n): return [tf.zeros((n, 256))] * 2
    def sample_actions(self, o): return tf.random.categorical(o[0], 1).numpy().squeeze(-1)
    trainable_variables = property(lambda self: [w for l in self.net + [self.cell, self.pi, self.v] for w in l.trainable_variables])

def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    m = tf.constant(is_not_done, tf.float32); r = tf.constant(rewards, tf.float32); n = r.shape[1] - 1
    s = [tf.constant(i) for i in prev_memory_states]
    with tf.GradientTape() as g:
        L, V = [], []
        for t in range(n + 1):
            s, (l, v) = agent(s, states[:, t]); L.append(l); V.append(v)
            s = [m[:, t:t+1] * i for i in s]
        lp = [tf.nn.log_softmax(l) for l in L]
        W = [tf.stop_gradient(v) for v in V]
        R = [m[:, n] * W[n]]
        for t in range(n - 1, -1, -1): R = [r[:, t] + gamma * m[:, t] * R[0]] + R
        J = sum(tf.reduce_mean(tf.gather(lp[t], actions[:, t], batch_dims=1) * (R[t] - W[t])) for t in range(n)) / n
        C = sum(tf.reduce_mean((r[:, t] + gamma * m[:, t] * W[t+1] - V[t]) ** 2) for t in range(n)) / n
        H = sum(-tf.reduce_mean(tf.reduce_sum(tf.exp(q) * q, 1)) for q in lp) / (n + 1)
        loss = value_loss_weight * C - J - entropy_weight * H
    w = agent.trainable_variables
    optimizer.apply(g.gradient(loss, w), w)
    return loss.numpy()

agent = SimpleRecurrentAgent(obs_shape, n_actions)
optimizer = keras.optimizers.Adam(3e-4)
n_parallel_games, gamma = 5, 0.99
pool = EnvPool(agent, make_env, n_parallel_games)
# %%
checks.check_agent(globals()); checks.check_loss(globals()); checks.check_optimizer(globals())
# %% keep: evaluate
# %% keep: first-step
# %%
# Slow: meine schleife
rewards_history = []
try:
    for i in range(15000):
        mem = list(pool.prev_memory_states)
        l = train_on_rollout(*pool.interact(10), mem, gamma)
        if i % 100 == 0:
            rewards_history.append(np.mean(evaluate(agent, env, n_games=3)))
            print(i, f"{l:.3f}", rewards_history[-1], end="   \r")
            if rewards_history[-1] > 10000: break
except KeyboardInterrupt: pass
plt.plot(pd.Series(rewards_history).ewm(span=10).mean());
# %% keep: inspect
# %% keep: hand-in
