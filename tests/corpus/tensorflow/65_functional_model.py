# style: TF2 blog style, tf.keras functional model, comments in English, loss split in small helpers
# verdict: right
# loses:
# note: the whole network is one functional keras.Model with obs, h and c as inputs
# %% keep: setup
# %% keep: imports
# %%
print(tf.__version__, keras.__version__)
print("GPU:", tf.config.list_physical_devices("GPU"))
tf.random.set_seed(42)
np.random.seed(42)
# %% keep: make-env
# %%
L = tf.keras.layers
UNITS = 256


def build_net(obs_shape, n_actions):
    obs = L.Input(shape=obs_shape, name="obs")
    h_in = L.Input(shape=(UNITS,), name="h")
    c_in = L.Input(shape=(UNITS,), name="c")

    x = L.Rescaling(10.0, offset=-3.6)(obs)
    for filters in (32, 32, 32):
        x = L.Conv2D(filters, 3, strides=2, activation="elu", kernel_initializer="he_normal")(x)
    x = L.Flatten()(x)
    x = L.Dense(256, activation="relu", kernel_initializer="he_normal")(x)

    out, (h, c) = L.LSTMCell(UNITS)(x, [h_in, c_in])

    logits = L.Dense(n_actions, name="actor")(out)
    value = L.Dense(1, name="critic")(out)
    return tf.keras.Model([obs, h_in, c_in], [h, c, logits, value])


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.lstm_output_size = UNITS
        self.net = build_net(tuple(obs_shape), n_actions)
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, c = prev_state
        h, c, logits, value = self.net([obs_t, h, c])
        return [h, c], (logits, tf.squeeze(value, axis=1))

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(s, tf.float32) for s in prev_state]
        (h, c), (logits, value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros([batch_size, UNITS]), tf.zeros([batch_size, UNITS])]

    def sample_actions(self, agent_outputs):
        logits = agent_outputs[0]
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return self.net.trainable_variables


agent = SimpleRecurrentAgent(obs_shape, n_actions)
agent.net.summary()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01


def compute_returns(r, not_done, v_last, gamma):
    """r, not_done: [n, T]; v_last [n], already masked. -> [n, T]"""
    g = v_last
    out = []
    for t in range(r.shape[1] - 1, -1, -1):
        g = r[:, t] + gamma * not_done[:, t] * g
        out.insert(0, g)
    return tf.stack(out, axis=1)


def actor_loss(logits, actions, advantages):
    # cross entropy = -log pi(a|s)
    nll = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=actions, logits=logits)
    return tf.reduce_mean(nll * tf.stop_gradient(advantages))


def critic_loss(r, not_done, v, v_next, gamma):
    target = tf.stop_gradient(r + gamma * not_done * v_next)
    return tf.reduce_mean(tf.square(target - v))


def entropy(logits):
    p = tf.nn.softmax(logits)
    # soft-label cross entropy of p with itself is its entropy
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=p, logits=logits))


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    not_done = tf.cast(is_not_done, tf.float32)

    memory = [tf.stop_gradient(s) for s in prev_memory_states]
    with tf.GradientTape() as tape:
        all_logits, all_values = [], []
        for t in range(rewards.shape[1]):
            memory, (lo, va) = agent(memory, states[:, t])
            memory = [s * tf.expand_dims(not_done[:, t], -1) for s in memory]
            all_logits.append(lo)
            all_values.append(va)
        all_logits = tf.stack(all_logits, axis=1)
        all_values = tf.stack(all_values, axis=1)

        r, nd, v = rewards[:, :-1], not_done[:, :-1], all_values[:, :-1]
        returns = compute_returns(r, nd, not_done[:, -1] * all_values[:, -1], gamma)

        loss = actor_loss(all_logits[:, :-1], actions[:, :-1], returns - v)
        loss += value_loss_weight * critic_loss(r, nd, v, all_values[:, 1:], gamma)
        loss -= entropy_weight * entropy(all_logits)

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    if tf.executing_eagerly():
        return loss.numpy()
    return loss
# %%
optimizer = tf.keras.optimizers.Adam(learning_rate=1e-3)
# %% keep: loss-check
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
