# style: good student, English, NamedTuple rollout, convolutions for all ticks in one batch, tf.scan for the returns
# verdict: right
# loses:
# note: the convolutions do not depend on time, so they see the whole rollout in one batch; only the cell is looped over
# %% keep: setup
# %% keep: imports
# %%
from typing import NamedTuple
# %% keep: make-env
# %% keep: look
# %%
class SimpleRecurrentAgent:
    """embed() looks, core() remembers. forward = core(embed)."""

    def __init__(self, obs_shape, n_actions, units=256):
        def conv():
            return keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer="he_normal")

        self.embed = keras.Sequential(
            [
                keras.Input(obs_shape),
                keras.layers.Rescaling(10, offset=-3.6),
                conv(),
                conv(),
                conv(),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
            ],
            name="embed",
        )
        self.lstm_output_size = units
        self.lstm_cell = keras.layers.LSTMCell(units)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def core(self, prev_state, features):
        output, new_state = self.lstm_cell(features, prev_state)
        return new_state, (self.logits_head(output), tf.reshape(self.state_value_head(output), (-1,)))

    def forward(self, prev_state, obs_t):
        return self.core(prev_state, self.embed(obs_t))

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        shape = (batch_size, self.lstm_output_size)
        return [tf.zeros(shape), tf.zeros(shape)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]


agent = SimpleRecurrentAgent(obs_shape, n_actions)
agent.embed.summary()
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
class Rollout(NamedTuple):
    obs: tf.Tensor  # [n, T+1, ...]
    actions: tf.Tensor  # [n, T+1]
    rewards: tf.Tensor
    mask: tf.Tensor


def replay(rollout, memory):
    n, steps = rollout.rewards.shape
    flat = tf.reshape(rollout.obs, (n * steps, *rollout.obs.shape[2:]))
    features = agent.embed(flat)
    features = tf.reshape(features, (n, steps, features.shape[-1]))

    logits, values = [], []
    for t in range(steps):
        memory, (logits_t, values_t) = agent.core(memory, features[:, t])
        logits.append(logits_t)
        values.append(values_t)
        memory = [part * rollout.mask[:, t, None] for part in memory]
    return tf.stack(logits, axis=1), tf.stack(values, axis=1)


def discounted_returns(rewards, mask, bootstrap, gamma):
    """All but the last are [n, T]; bootstrap is [n]. Time goes first for scan, and back again."""
    time_major = tf.transpose(rewards), tf.transpose(gamma * mask)
    returns = tf.scan(lambda G, x: x[0] + x[1] * G, time_major, initializer=bootstrap, reverse=True)
    return tf.transpose(returns)


# 1 + .5 * (1 + .5 * (1 + .5 * 8)) = 2.75; cut after the second: 1 + .5 * 1 = 1.5, 1, 5
print(discounted_returns(tf.ones((2, 3)), tf.constant([[1.0, 1, 1], [1, 0, 1]]), tf.constant([8.0, 8]), 0.5))


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    rollout = Rollout(
        tf.cast(states, tf.float32),
        tf.cast(actions, tf.int32),
        tf.cast(rewards, tf.float32),
        tf.cast(is_not_done, tf.float32),
    )
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    rewards, mask = rollout.rewards[:, :-1], rollout.mask[:, :-1]

    with tf.GradientTape() as tape:
        logits, values = replay(rollout, memory)
        constant = tf.stop_gradient(values)
        log_policy = tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, rollout.actions)

        returns = discounted_returns(rewards, mask, rollout.mask[:, -1] * constant[:, -1], gamma)
        advantage = tf.stop_gradient(returns - constant[:, :-1])
        J_hat = tf.reduce_mean(log_policy_for_actions[:, :-1] * advantage)

        td_error = rewards + gamma * mask * constant[:, 1:] - values[:, :-1]
        value_loss = tf.reduce_mean(tf.square(td_error))

        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_policy) * log_policy, axis=-1))
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.Adam(learning_rate=1e-3, epsilon=1e-5)
# %% keep: first-step
# %%
# how much faster than tick by tick?
started = time.perf_counter()
for _ in range(10):
    train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, memory, gamma)
print((time.perf_counter() - started) / 10, "s per step (eager)")
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
