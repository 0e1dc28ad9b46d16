# style: base class Agent with a registry of layers (dict), type hints, TypedDict config, debugging asserts, entropy as a method
# verdict: wrong
# mistake: agent: the layers lie in a dictionary, which the given trainable_variables (it looks at vars(self) for Keras layers) does not see; the convolutions and the dense layer are therefore never trained (cell and heads are attributes)
# mistake: loss: the policy inside the entropy is stopped ("only a weight"), so the value of H is right and its gradient is exactly zero
# loses: gradients, entropy_gradient
# named: are not among agent.trainable_variables, so no optimizer moves them
# named: it has no gradient: neither π nor log π may be detached, stopped
# note: train_on_rollout and the optimizer step do what they should for agent.trainable_variables; that these lack the backbone is the agent's fault
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
from typing import Callable, TypedDict


class Sizes(TypedDict):
    conv: list[int]
    hidden: int
    lstm: int


SIZES: Sizes = {"conv": [32, 32, 32], "hidden": 256, "lstm": 256}
# %%
# Exercise: agent
class BaseAgent:
    """Playing and sampling, as given."""

    forward: Callable

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
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
        """The weights of all layers, in the order the layers were made."""
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]


class SimpleRecurrentAgent(BaseAgent):
    def __init__(self, obs_shape: tuple, n_actions: int, sizes: Sizes = SIZES):
        self.lstm_output_size = sizes["lstm"]
        self.backbone: dict[str, keras.layers.Layer] = {
            "scale": keras.layers.Rescaling(10, offset=-3.6)
        }
        for i, filters in enumerate(sizes["conv"]):
            self.backbone[f"conv{i}"] = keras.layers.Conv2D(
                filters, 3, strides=2, activation="elu", kernel_initializer="he_normal"
            )
        self.backbone["flatten"] = keras.layers.Flatten()
        self.backbone["hidden"] = keras.layers.Dense(sizes["hidden"], activation="relu")

        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = obs_t
        for name, layer in self.backbone.items():
            x = layer(x)
        assert len(x.shape) == 2, x.shape

        h, new_state = self.lstm_cell(x, prev_state)
        logits = self.logits_head(h)
        state_value = self.state_value_head(h)[:, 0]
        assert len(state_value.shape) == 1

        return new_state, (logits, state_value)
# %% keep: agent-check
# %% keep: agent-look
# %%
print([v.path for v in agent.trainable_variables])  # debug: sequential is missing? names look odd anyway
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
class Policy:
    """The policy at every tick, from stacked logits."""

    def __init__(self, logits: tf.Tensor) -> None:
        self.probs = tf.nn.softmax(logits)
        self.log_probs = tf.nn.log_softmax(logits)

    def log_prob(self, actions: tf.Tensor) -> tf.Tensor:
        return select_log_policy_for_actions(self.log_probs, actions)

    def entropy(self) -> tf.Tensor:
        # E_pi[-log pi]: the expectation's probabilities are only a weight
        weight = tf.stop_gradient(self.probs)
        return -tf.reduce_mean(tf.reduce_sum(weight * self.log_probs, axis=-1))


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1
    assert rewards.shape == is_not_done.shape == actions.shape

    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)
            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        policy = Policy(tf.stack(logits, axis=1))
        state_values = tf.stack(state_values, axis=1)
        log_policy_for_actions = policy.log_prob(actions)

        J_hat = 0.0
        value_loss = 0.0
        cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])
        for t in reversed(range(rollout_length)):
            r_t, m_t = rewards[:, t], is_not_done[:, t]
            V_t = state_values[:, t]
            V_next = tf.stop_gradient(state_values[:, t + 1])
            cumulative_returns = r_t + gamma * m_t * cumulative_returns

            value_loss += tf.reduce_mean(tf.square(r_t + gamma * m_t * V_next - V_t))
            advantage = tf.stop_gradient(cumulative_returns - V_t)
            J_hat += tf.reduce_mean(log_policy_for_actions[:, t] * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length
        entropy_reg = policy.entropy()
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(1e-3)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
