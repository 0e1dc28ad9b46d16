# style: keras.Model subclass, type hints everywhere, frozen dataclass for the sizes, NamedTuple outputs, small pure functions for the loss
# verdict: right
# loses:
# note: AgentOutput is a NamedTuple, so it still unpacks as (logits, state_value); trainable_variables is what keras.Model offers; returns are worked out by a list loop and stacked; forward is an alias that goes through Keras's own __call__
# %% keep: setup
# %% keep: imports
# %%
from dataclasses import dataclass, field
from typing import NamedTuple, Sequence

Array = np.ndarray
State = list[tf.Tensor]
# %% keep: make-env
# %% keep: look
# %%
@dataclass(frozen=True)
class AgentConfig:
    """All the numbers of the network in one place."""

    filters: tuple[int, ...] = (32, 32, 48)
    kernel: int = 3
    stride: int = 2
    dense_units: int = 256
    lstm_units: int = 192
    grey_scale: float = 10.0
    grey_offset: float = -3.6


class AgentOutput(NamedTuple):
    logits: tf.Tensor  # [n, n_actions]
    state_value: tf.Tensor  # [n]


class RolloutTerms(NamedTuple):
    J_hat: tf.Tensor
    value_loss: tf.Tensor
    entropy: tf.Tensor
# %%
# Exercise: agent
class SimpleRecurrentAgent(keras.Model):
    """Actor-critic with an LSTM memory, as an ordinary Keras model."""

    def __init__(
        self,
        obs_shape: Sequence[int],
        n_actions: int,
        config: AgentConfig | None = None,
    ) -> None:
        super().__init__(name="kungfu_agent")
        self.cfg = config or AgentConfig()
        cfg = self.cfg
        self.lstm_output_size: int = cfg.lstm_units

        blocks: list[keras.layers.Layer] = [
            keras.layers.Rescaling(cfg.grey_scale, offset=cfg.grey_offset)
        ]
        for n_filters in cfg.filters:
            blocks.append(
                keras.layers.Conv2D(
                    n_filters,
                    cfg.kernel,
                    strides=cfg.stride,
                    activation="elu",
                    kernel_initializer="he_normal",
                )
            )
        blocks += [
            keras.layers.Flatten(),
            keras.layers.Dense(cfg.dense_units, activation="relu", kernel_initializer="he_normal"),
        ]
        self.backbone = keras.Sequential(blocks, name="eye")
        self.lstm_cell = keras.layers.LSTMCell(cfg.lstm_units, name="memory")
        self.logits_head = keras.layers.Dense(n_actions, name="actor")
        self.state_value_head = keras.layers.Dense(1, name="critic")

        self(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self._fast_forward = tf.function(self.call)

    def call(self, prev_state: State, obs_t: tf.Tensor) -> tuple[State, AgentOutput]:
        features = self.backbone(obs_t)
        output, new_state = self.lstm_cell(features, list(prev_state))
        logits = self.logits_head(output)
        state_value = keras.ops.squeeze(self.state_value_head(output), axis=-1)
        return list(new_state), AgentOutput(logits, state_value)

    def forward(self, prev_state: State, obs_t: tf.Tensor) -> tuple[State, AgentOutput]:
        return self(prev_state, obs_t)

    def step(self, prev_state: Sequence[Array], obs_t: Array) -> tuple[list[Array], AgentOutput]:
        state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        new_state, out = self._fast_forward(state, tf.convert_to_tensor(obs_t, tf.float32))
        return [part.numpy() for part in new_state], AgentOutput(*(x.numpy() for x in out))

    def get_initial_state(self, batch_size: int) -> State:
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in "hc"]

    def sample_actions(self, agent_outputs: AgentOutput) -> Array:
        logits, _ = agent_outputs
        gumbel = np.random.gumbel(size=np.shape(logits))
        return np.argmax(logits + gumbel, axis=-1)
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def replay(states: tf.Tensor, is_not_done: tf.Tensor, memory: State) -> AgentOutput:
    """Runs the agent along the rollout; wipes the memory after the last tick of a game."""
    outputs: list[AgentOutput] = []
    for obs_t, alive in zip(tf.unstack(states, axis=1), tf.unstack(is_not_done, axis=1)):
        memory, out = agent.forward(memory, obs_t)
        outputs.append(AgentOutput(*out))
        memory = [part * alive[:, tf.newaxis] for part in memory]
    return AgentOutput(*(tf.stack(parts, axis=1) for parts in zip(*outputs)))


def n_step_returns(
    rewards: tf.Tensor, is_not_done: tf.Tensor, bootstrap: tf.Tensor, gamma: float
) -> tf.Tensor:
    """G_t for t = 0 … T-1, [n_games, T]."""
    returns: list[tf.Tensor] = [is_not_done[:, -1] * bootstrap]
    for t in range(rewards.shape[1] - 2, -1, -1):
        returns.insert(0, rewards[:, t] + gamma * is_not_done[:, t] * returns[0])
    return tf.stack(returns[:-1], axis=1)


def loss_terms(
    out: AgentOutput, actions: tf.Tensor, rewards: tf.Tensor, is_not_done: tf.Tensor, gamma: float
) -> RolloutTerms:
    logits, values = out
    fixed = tf.stop_gradient(values)
    log_policy = tf.nn.log_softmax(logits)

    td_target = rewards[:, :-1] + gamma * is_not_done[:, :-1] * fixed[:, 1:]
    advantage = n_step_returns(rewards, is_not_done, fixed[:, -1], gamma) - fixed[:, :-1]
    log_pi = select_log_policy_for_actions(log_policy, actions)[:, :-1]

    return RolloutTerms(
        J_hat=tf.reduce_mean(log_pi * advantage),
        value_loss=tf.reduce_mean(tf.square(td_target - values[:, :-1])),
        entropy=-tf.reduce_mean(tf.reduce_sum(tf.exp(log_policy) * log_policy, axis=-1)),
    )
# %%
# Exercise: loss
def train_on_rollout(
    states: Array,
    actions: Array,
    rewards: Array,
    is_not_done: Array,
    prev_memory_states: Sequence[Array],
    gamma: float = 0.99,
) -> float:
    """One gradient step on a rollout; returns the loss."""
    states, rewards, is_not_done = (
        tf.cast(x, tf.float32) for x in (states, rewards, is_not_done)
    )
    actions = tf.cast(actions, tf.int32)
    memory: State = [tf.stop_gradient(tf.cast(p, tf.float32)) for p in prev_memory_states]

    with tf.GradientTape() as tape:
        terms = loss_terms(
            replay(states, is_not_done, memory), actions, rewards, is_not_done, gamma
        )
        loss = (
            -terms.J_hat + value_loss_weight * terms.value_loss - entropy_weight * terms.entropy
        )

    variables = agent.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer: keras.optimizers.Optimizer = keras.optimizers.Adam()
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
