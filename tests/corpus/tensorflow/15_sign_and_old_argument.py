# style: distribution class inheriting from a base (Categorical), dataclass Weights built at each call, helpers with type hints, optimizer subclass-free but early-2020 argument names
# verdict: wrong
# mistake: loss: the entropy has the wrong sign (sum of p log p without the minus), while the loss still subtracts it, so the policy is pushed to certainty
# mistake: optimizer: Adam(lr=...) is Keras 2: Keras 3 raises, there is no optimizer
# loses: entropy_value, entropy_gradient, descent
# named: wrong sign: entropy is made smaller
# named: Argument(s) not recognized: {'lr': 0.001}
# note: first-step raises, since optimizer does not exist
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
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
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        logits = self.logits_head(h)
        state_value = tf.reshape(self.state_value_head(h), (-1,))
        return new_state, (logits, state_value)

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
        # Where logits plus Gumbel noise are largest is a draw from their softmax.
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        """The weights of all layers, in the order the layers were made."""
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# a tiny tfp.distributions, which does not install here
class Distribution:
    def log_prob(self, x: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def neg_entropy(self) -> tf.Tensor:
        raise NotImplementedError


class Categorical(Distribution):
    def __init__(self, logits: tf.Tensor) -> None:
        self.logits = logits
        self.log_p = tf.nn.log_softmax(logits)
        self.p = tf.nn.softmax(logits)

    def log_prob(self, x):
        return select_log_policy_for_actions(self.log_p, x)

    def neg_entropy(self):
        return tf.reduce_sum(self.p * self.log_p, axis=-1)
# %%
# Exercise: loss
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Weights:
    value: float
    entropy: float


def bootstrap_returns(r: tf.Tensor, m: tf.Tensor, v_last: tf.Tensor, gamma: float) -> tf.Tensor:
    """[n, T] of n-step returns; v_last is already masked."""
    out, G = [], v_last
    for t in range(r.shape[1])[::-1]:
        G = r[:, t] + gamma * m[:, t] * G
        out.append(G)
    return tf.stack(out[::-1], axis=1)


def train_on_rollout(
    states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99, weights=None
):
    weights = weights or Weights(value_loss_weight, entropy_weight)
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rewards.shape[1]):
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)
            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        policy = Categorical(tf.stack(logits, axis=1))
        V = tf.stack(state_values, axis=1)
        V_const = tf.stop_gradient(V)
        r, m = rewards[:, :-1], is_not_done[:, :-1]

        G = bootstrap_returns(r, m, is_not_done[:, -1] * V_const[:, -1], gamma)
        advantage = tf.stop_gradient(G - V[:, :-1])
        J_hat = tf.reduce_mean(policy.log_prob(actions)[:, :-1] * advantage)
        value_loss = tf.reduce_mean((r + gamma * m * V_const[:, 1:] - V[:, :-1]) ** 2)
        entropy_reg = tf.reduce_mean(policy.neg_entropy())

        loss = -J_hat + weights.value * value_loss - weights.entropy * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(lr=1e-3, decay=1e-6)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
