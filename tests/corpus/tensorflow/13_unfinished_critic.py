# style: abstract base with NotImplementedError, Protocol for the agent, enum of terms, typed; handed in half-finished (TODOs)
# verdict: wrong
# mistake: agent: the critic is a placeholder: state_value is zeros of shape (n,), the value head is made but never used (its weights get no gradient)
# mistake: loss: the gradients are computed and thrown away: the optimizer's step is commented out ("TODO")
# loses: state_value, step
# named: state_value is the same whatever the agent sees and remembers
# named: no weight changes, for the optimizer takes no step
# note: the terms of train_on_rollout are right for an agent with a real critic
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
from __future__ import annotations

from enum import Enum
from typing import Protocol


class Recurrent(Protocol):
    def __call__(self, prev_state, obs_t): ...

    def get_initial_state(self, batch_size: int) -> list[tf.Tensor]: ...
# %%
# Exercise: agent
class Network:
    """Shared by this homework and (later) the feed-forward bonus."""

    def build_layers(self, obs_shape, n_actions) -> None:
        raise NotImplementedError

    def forward(self, prev_state, obs_t):
        raise NotImplementedError

    def __init__(self, obs_shape: tuple[int, ...], n_actions: int) -> None:
        self.build_layers(obs_shape, n_actions)
        for head in (self.logits_head, self.state_value_head):
            head.build((None, self.lstm_output_size))
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    @property
    def trainable_variables(self) -> list:
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]


class SimpleRecurrentAgent(Network):
    lstm_output_size = 256

    def build_layers(self, obs_shape, n_actions) -> None:
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
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

    def forward(self, prev_state, obs_t):
        features = self.backbone(obs_t)
        h, new_state = self.lstm_cell(features, prev_state)
        logits = self.logits_head(h)
        state_value = tf.zeros_like(logits[:, 0])  # TODO critic. shape is right at least
        return new_state, (logits, state_value)

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size: int) -> list[tf.Tensor]:
        shape = (batch_size, self.lstm_output_size)
        return [tf.zeros(shape), tf.zeros(shape)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
class Term(Enum):
    POLICY = "policy"
    VALUE = "value"
    ENTROPY = "entropy"


def weight_of(term: Term) -> float:
    return {Term.POLICY: -1.0, Term.VALUE: value_loss_weight, Term.ENTROPY: -entropy_weight}[term]


def replay(player: Recurrent, states, mask, memory) -> tuple[tf.Tensor, tf.Tensor]:
    blank = player.get_initial_state(states.shape[0])
    logits, state_values = [], []
    for t in range(states.shape[1]):
        memory, (logits_t, values_t) = player(memory, states[:, t])
        logits.append(logits_t)
        state_values.append(values_t)
        goes_on = mask[:, t, None] > 0
        memory = [tf.where(goes_on, part, b) for part, b in zip(memory, blank, strict=True)]
    return tf.stack(logits, axis=1), tf.stack(state_values, axis=1)


def terms(logits, state_values, actions, rewards, mask, gamma) -> dict[Term, tf.Tensor]:
    rollout_length = rewards.shape[1] - 1
    log_policy = tf.nn.log_softmax(logits)
    log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)

    J_hat = value_loss = 0.0
    cumulative_returns = mask[:, -1] * tf.stop_gradient(state_values[:, -1])
    for t in reversed(range(rollout_length)):
        r_t, V_t = rewards[:, t], state_values[:, t]
        V_next = tf.stop_gradient(state_values[:, t + 1])
        cumulative_returns = r_t + gamma * mask[:, t] * cumulative_returns
        value_loss += tf.reduce_mean((r_t + gamma * mask[:, t] * V_next - V_t) ** 2)
        advantage = tf.stop_gradient(cumulative_returns - V_t)
        J_hat += tf.reduce_mean(log_policy_for_actions[:, t] * advantage)

    entropy = -tf.reduce_sum(tf.nn.softmax(logits) * log_policy, axis=-1)
    return {
        Term.POLICY: J_hat / rollout_length,
        Term.VALUE: value_loss / rollout_length,
        Term.ENTROPY: tf.reduce_mean(entropy),
    }


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, state_values = replay(agent, states, is_not_done, memory)
        parts = terms(logits, state_values, actions, rewards, is_not_done, gamma)
        loss = tf.add_n([weight_of(term) * part for term, part in parts.items()])

    grads = tape.gradient(loss, agent.trainable_variables)
    # TODO warning "Gradients do not exist for variables" -> first the critic, then this
    # optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=3e-4)
# %% keep: optimizer-check
# %% keep: first-step
