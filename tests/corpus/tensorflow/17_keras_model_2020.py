# style: TensorFlow idiom of early 2020: agent subclasses tf.keras.Model with call(), tf.random.categorical, tf.squeeze, persistent tape, @tf.function on a helper
# verdict: right
# note: trainable_variables is the one that keras.Model brings; entropy without the dummy last column; the returns come from a helper under @tf.function
# %% keep: setup
# %% keep: imports
# %%
from __future__ import absolute_import, division, print_function, unicode_literals

import collections
import functools

print("TF", tf.__version__, "| eager:", tf.executing_eagerly())
layers = tf.keras.layers
assert tf.version.VERSION.startswith("2.")  # tf.enable_eager_execution() is not needed in 2.x

gpus = tf.config.experimental.list_physical_devices("GPU")
for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent(tf.keras.Model):
    def __init__(self, obs_shape, n_actions, lstm_units=128):
        super(SimpleRecurrentAgent, self).__init__(name="simple_recurrent_agent")
        self.lstm_output_size = lstm_units
        self.conv0 = layers.Conv2D(32, (3, 3), strides=(2, 2), activation=tf.nn.elu)
        self.conv1 = layers.Conv2D(32, (3, 3), strides=(2, 2), activation=tf.nn.elu)
        self.conv2 = layers.Conv2D(32, (3, 3), strides=(2, 2), activation=tf.nn.elu)
        self.flatten = layers.Flatten()
        self.hid = layers.Dense(256, activation=tf.nn.relu)
        self.lstm_cell = layers.LSTMCell(lstm_units)
        self.logits_head = layers.Dense(n_actions, name="logits")
        self.state_value_head = layers.Dense(1, name="value")

        # builds all variables
        self(self.get_initial_state(1), tf.zeros([1] + list(obs_shape)))
        self.compiled_forward = tf.function(self.call)

    def call(self, prev_state, obs_t):
        x = (obs_t - 0.36) * 10.0
        for conv in (self.conv0, self.conv1, self.conv2):
            x = conv(x)
        x = self.hid(self.flatten(x))
        h, new_state = self.lstm_cell(x, prev_state)
        logits = self.logits_head(h)
        state_value = tf.squeeze(self.state_value_head(h), axis=-1)
        return new_state, (logits, state_value)

    def forward(self, prev_state, obs_t):
        return self(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        prev_state = [tf.convert_to_tensor(s, dtype=tf.float32) for s in prev_state]
        obs_t = tf.convert_to_tensor(obs_t, dtype=tf.float32)
        new_state, outputs = self.compiled_forward(prev_state, obs_t)
        return [s.numpy() for s in new_state], tuple(o.numpy() for o in outputs)

    def get_initial_state(self, batch_size):
        return [tf.zeros([batch_size, self.lstm_output_size]) for _ in range(2)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return tf.random.categorical(logits, num_samples=1)[:, 0].numpy()
# %% keep: agent-check
# %% keep: agent-look
# %%
agent.summary()
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
Terms = collections.namedtuple("Terms", "policy value entropy")


@tf.function
def n_step_returns(rewards, is_not_done, last_values, gamma):
    """[n, T+1] -> list of T tensors [n], masked"""
    G = is_not_done[:, -1] * last_values
    returns = []
    for t in reversed(range(rewards.shape[1] - 1)):
        G = rewards[:, t] + gamma * is_not_done[:, t] * G
        returns.insert(0, G)
    return tf.stack(returns, axis=1)


def a2c_terms(logits, values, actions, rewards, is_not_done, gamma):
    log_policy = tf.nn.log_softmax(logits, axis=-1)
    log_pi = select_log_policy_for_actions(log_policy, actions)[:, :-1]
    values_const = tf.stop_gradient(values)

    returns = n_step_returns(rewards, is_not_done, values_const[:, -1], gamma)
    advantages = tf.stop_gradient(returns - values[:, :-1])

    targets = rewards[:, :-1] + gamma * is_not_done[:, :-1] * values_const[:, 1:]
    return Terms(
        policy=tf.reduce_mean(log_pi * advantages),
        value=tf.reduce_mean(tf.math.squared_difference(targets, values[:, :-1])),
        entropy=-tf.reduce_mean(
            tf.reduce_sum(tf.nn.softmax(logits, axis=-1) * log_policy, axis=-1)[:, :-1]
        ),
    )


# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    cast = functools.partial(tf.cast, dtype=tf.float32)
    states, rewards, is_not_done = cast(states), cast(rewards), cast(is_not_done)
    actions = tf.cast(actions, tf.int32)
    memory = [tf.stop_gradient(s) for s in prev_memory_states]

    with tf.GradientTape(persistent=True) as tape:
        logits, values = [], []
        for t, obs_t in enumerate(tf.unstack(states, axis=1)):
            memory, (logits_t, values_t) = agent(memory, obs_t)
            logits.append(logits_t)
            values.append(values_t)
            memory = [s * is_not_done[:, t : t + 1] for s in memory]

        terms = a2c_terms(
            tf.stack(logits, 1), tf.stack(values, 1), actions, rewards, is_not_done, gamma
        )
        loss = -terms.policy + value_loss_weight * terms.value - entropy_weight * terms.entropy

    grads = tape.gradient(loss, agent.trainable_variables)
    del tape
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    if tf.executing_eagerly():
        return loss.numpy()
    return loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# optimizer = tf.keras.optimizers.Adam(lr=1e-4)   # old name of the argument
optimizer = tf.keras.optimizers.Adam(learning_rate=1e-4, epsilon=1e-5)
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
