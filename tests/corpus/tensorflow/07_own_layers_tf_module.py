# style: early-2020 TensorFlow: tf.Module, tf.Variable, layers and the LSTM cell written by hand, tf.nn everywhere, tf.compat.v1 loss, no Keras layers
# verdict: right
# note: agent is a tf.Module without any Keras layer; its weights are tf.Variables; policy term by sparse softmax cross entropy (= -log pi of the action); critic regressed on the one-step target; RMSprop
# %% keep: setup
# %% keep: imports
# %%
print(tf.__version__)
assert tf.executing_eagerly(), "TF1 colab again?"
tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
# %% keep: make-env
# %% keep: look
# %%
# My own layers - I wanted to understand what is inside the cell.
glorot = tf.initializers.GlorotUniform()


class Affine(tf.Module):
    def __init__(self, n_in, n_out, name=None):
        super().__init__(name=name)
        self.W = tf.Variable(glorot((n_in, n_out)), name="W")
        self.b = tf.Variable(tf.zeros([n_out]), name="b")

    def __call__(self, x):
        return tf.matmul(x, self.W) + self.b


class Conv(tf.Module):
    def __init__(self, c_in, c_out, k=3, name=None):
        super().__init__(name=name)
        std = (2.0 / (k * k * c_in)) ** 0.5
        self.K = tf.Variable(tf.random.truncated_normal([k, k, c_in, c_out], stddev=std), name="K")
        self.b = tf.Variable(tf.zeros([c_out]), name="b")

    def __call__(self, x):
        return tf.nn.elu(tf.nn.conv2d(x, self.K, strides=2, padding="VALID") + self.b)


class MyLSTMCell(tf.Module):
    """One matmul for all four gates, forget bias 1 (Jozefowicz et al. 2015)."""

    def __init__(self, n_in, units, name=None):
        super().__init__(name=name)
        self.units = units
        self.gates = Affine(n_in + units, 4 * units)

    def __call__(self, x, state):
        h, c = state
        i, f, g, o = tf.split(self.gates(tf.concat([x, h], axis=1)), 4, axis=1)
        c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, [h, c]
# %%
# Exercise: agent
class SimpleRecurrentAgent(tf.Module):
    def __init__(self, obs_shape, n_actions):
        super().__init__(name="agent")
        h, w, c = obs_shape
        self.convs = [Conv(c, 32), Conv(32, 32), Conv(32, 32)]
        for _ in self.convs:
            h, w = (h - 1) // 2, (w - 1) // 2
        self.hid = Affine(h * w * 32, 256)
        self.lstm_output_size = 256
        self.cell = MyLSTMCell(256, self.lstm_output_size)
        self.actor = Affine(self.lstm_output_size, n_actions)
        self.critic = Affine(self.lstm_output_size, 1)
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = 10.0 * obs_t - 3.6
        for conv in self.convs:
            x = conv(x)
        x = tf.nn.relu(self.hid(tf.reshape(x, [-1, self.hid.W.shape[0]])))
        h, new_state = self.cell(x, prev_state)
        return new_state, (self.actor(h), tf.squeeze(self.critic(h), axis=1))

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros([batch_size, self.lstm_output_size]) for _ in range(2)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return tf.random.categorical(logits, 1)[:, 0].numpy()
# %% keep: agent-check
# %%
agent = SimpleRecurrentAgent(obs_shape, n_actions)
for v in agent.trainable_variables:
    print(v.name, v.shape)

observation, _ = env.reset()
new_memory, (logits, state_value) = agent.step(agent.get_initial_state(1), observation[None])
print(logits, state_value)
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
# The weights in the formula above.
value_loss_weight = 1.0
entropy_weight = 0.01
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    T = int(rewards.shape[1]) - 1
    state = [tf.stop_gradient(tf.cast(s, tf.float32)) for s in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = [], []
        for t in range(T + 1):
            state, (l, v) = agent(state, states[:, t])
            logits += [l]
            values += [v]
            # the initial state is all zeros, so wiping = multiplying
            keep = tf.expand_dims(is_not_done[:, t], 1)
            state = [s * keep for s in state]

        # backwards: n-step returns, discounts are zero after the end
        discounts = gamma * is_not_done
        ret = is_not_done[:, T] * tf.stop_gradient(values[T])
        pg_loss, v_loss = [], []
        for t in range(T)[::-1]:
            ret = rewards[:, t] + discounts[:, t] * ret
            adv = tf.stop_gradient(ret - values[t])
            neglogp = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=actions[:, t], logits=logits[t]
            )
            pg_loss.append(neglogp * adv)
            target = tf.stop_gradient(rewards[:, t] + discounts[:, t] * values[t + 1])
            v_loss.append(tf.math.squared_difference(target, values[t]))
        pg_loss = tf.reduce_mean(pg_loss)  # = -J_hat
        v_loss = tf.reduce_mean(v_loss)

        # entropy like in openai/baselines
        a0 = tf.stack(logits, 1)
        a0 = a0 - tf.reduce_max(a0, axis=-1, keepdims=True)
        ea0 = tf.exp(a0)
        z0 = tf.reduce_sum(ea0, axis=-1, keepdims=True)
        p0 = ea0 / z0
        entropy = tf.reduce_mean(tf.reduce_sum(p0 * (tf.math.log(z0) - a0), axis=-1))

        loss = pg_loss + value_loss_weight * v_loss - entropy_weight * entropy

    params = list(agent.trainable_variables)
    grads = tape.gradient(loss, params)
    optimizer.apply_gradients(list(zip(grads, params)))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# the A3C paper uses RMSprop
optimizer = tf.keras.optimizers.RMSprop(learning_rate=7e-4, rho=0.99, epsilon=1e-5)
# %% keep: optimizer-check
# %%
memory = list(pool.prev_memory_states)
loss = train_on_rollout(*pool.interact(10), memory, gamma)
print("Loss of the first step:", loss)
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
