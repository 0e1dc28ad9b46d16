# style: in a hurry: short names, given cells mostly kept, plots and final cells left out, no docstrings
# verdict: wrong
# mistake: loss: a new Adam is made inside train_on_rollout in every call, so its averages are lost from step to step (the global optimizer is never used)
# loses: step
# named: a new optimizer is made in every call
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        c = lambda n: keras.layers.Conv2D(n, 3, strides=2, activation="elu")
        self.backbone = keras.Sequential([keras.layers.Rescaling(10, offset=-3.6), c(32), c(32), c(32),
                                          keras.layers.Flatten(), keras.layers.Dense(256, activation="relu")])
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(256)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x, s = self.lstm_cell(self.backbone(obs_t), prev_state)
        return s, (self.logits_head(x), tf.squeeze(self.state_value_head(x), 1))

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, 256)), tf.zeros((batch_size, 256))]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return sum((l.trainable_variables for l in [self.backbone, self.lstm_cell, self.logits_head, self.state_value_head]), [])
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: pool
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, nd = [tf.cast(x, tf.float32) for x in [states, rewards, is_not_done]]
    actions = tf.cast(actions, tf.int32)
    T = rewards.shape[1] - 1
    mem = [tf.stop_gradient(m) for m in prev_memory_states]

    with tf.GradientTape() as tape:
        ls, vs = [], []
        for t in range(T + 1):
            mem, (l, v) = agent(mem, states[:, t])
            ls += [l]; vs += [v]
            mem = [m * nd[:, t, None] for m in mem]
        ls = tf.stack(ls, 1)
        lp = tf.nn.log_softmax(ls)
        lpa = select_log_policy_for_actions(lp, actions)

        J = vl = 0.
        G = nd[:, T] * tf.stop_gradient(vs[T])
        for t in range(T)[::-1]:
            G = rewards[:, t] + gamma * nd[:, t] * G
            vl += tf.reduce_mean((rewards[:, t] + gamma * nd[:, t] * tf.stop_gradient(vs[t + 1]) - vs[t]) ** 2)
            J += tf.reduce_mean(lpa[:, t] * tf.stop_gradient(G - vs[t]))
        H = -tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(ls) * lp, -1))
        loss = -J / T + value_loss_weight * vl / T - entropy_weight * H

    opt = keras.optimizers.Adam(3e-4)
    v = agent.trainable_variables
    opt.apply_gradients(zip(tape.gradient(loss, v), v))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(3e-4)
# %% keep: optimizer-check
# %% keep: interact
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
