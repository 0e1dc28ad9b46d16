# style: typed modern Python: from __future__ import annotations, frozen dataclass, match, walrus, logging, small pure functions
# verdict: right
# note: optimizer is AdamW with a warm-up and cosine schedule (first step has a tiny learning rate); separate tanh layer before each head; clips the gradients by hand as well
# %%
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Callable, Iterator, NamedTuple, Sequence

logging.basicConfig(level=logging.WARNING)
log = logging.getLogger("kungfu")
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
@dataclass(frozen=True)
class Config:
    filters: tuple[int, ...] = (32, 32, 32)
    dense: int = 256
    lstm: int = 256
    activation: str = "elu"
    optimizer: str = "adamw"
    peak_rate: float = 1e-3
    warmup_steps: int = 20
    decay_steps: int = 15_000
    max_norm: float | None = 10.0


config = Config()


# Exercise: agent
class Outputs(NamedTuple):
    logits: tf.Tensor
    state_value: tf.Tensor


class SimpleRecurrentAgent:
    def __init__(self, obs_shape: tuple[int, ...], n_actions: int, config: Config = config) -> None:
        self.lstm_output_size = config.lstm
        self.layers: dict[str, keras.layers.Layer] = {
            "scale": keras.layers.Rescaling(10, offset=-3.6),
            **{
                f"conv{i}": keras.layers.Conv2D(
                    n, 3, strides=2, activation=config.activation, kernel_initializer="he_normal"
                )
                for i, n in enumerate(config.filters)
            },
            "flat": keras.layers.Flatten(),
            "dense": keras.layers.Dense(config.dense, activation="relu", kernel_initializer="he_normal"),
        }
        self.cell = keras.layers.LSTMCell(config.lstm)
        self.actor = keras.Sequential(
            [keras.layers.Dense(128, activation="tanh"), keras.layers.Dense(n_actions)]
        )
        self.critic = keras.Sequential(
            [keras.layers.Dense(128, activation="tanh"), keras.layers.Dense(1)]
        )
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward: Callable = tf.function(self.forward)

    def forward(
        self, prev_state: Sequence[tf.Tensor], obs_t: tf.Tensor
    ) -> tuple[list[tf.Tensor], Outputs]:
        x = obs_t
        for layer in self.layers.values():
            x = layer(x)
        hidden, new_state = self.cell(x, [*prev_state])
        return new_state, Outputs(self.actor(hidden), self.critic(hidden)[..., 0])

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        as_tensor = lambda array: tf.convert_to_tensor(array, tf.float32)
        state, outputs = self.compiled_forward([as_tensor(s) for s in prev_state], as_tensor(obs_t))
        return [s.numpy() for s in state], (outputs.logits.numpy(), outputs.state_value.numpy())

    def get_initial_state(self, batch_size: int) -> list[tf.Tensor]:
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in ("h", "c")]

    def sample_actions(self, agent_outputs) -> np.ndarray:
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        parts = (*self.layers.values(), self.cell, self.actor, self.critic)
        return [v for part in parts for v in part.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
class Rollout(NamedTuple):
    states: tf.Tensor
    actions: tf.Tensor
    rewards: tf.Tensor
    alive: tf.Tensor  # is_not_done

    @classmethod
    def of(cls, states, actions, rewards, is_not_done) -> Rollout:
        return cls(
            tf.cast(states, tf.float32),
            tf.cast(actions, tf.int32),
            tf.cast(rewards, tf.float32),
            tf.cast(is_not_done, tf.float32),
        )

    @property
    def length(self) -> int:
        return self.rewards.shape[1] - 1


def replay(rollout: Rollout, memory: list[tf.Tensor]) -> Iterator[Outputs]:
    blank = agent.get_initial_state(rollout.rewards.shape[0])
    for t in range(rollout.length + 1):
        memory, outputs = agent(memory, rollout.states[:, t])
        yield outputs
        over = rollout.alive[:, t, None] < 0.5
        memory = [tf.where(over, zero, part) for zero, part in zip(blank, memory)]


def backwards(rollout: Rollout, bootstrap: tf.Tensor, gamma: float) -> list[tf.Tensor]:
    """G_0 ... G_{T-1}"""
    returns = [rollout.alive[:, -1] * bootstrap]
    for t in reversed(range(rollout.length)):
        returns.append(g := rollout.rewards[:, t] + gamma * rollout.alive[:, t] * returns[-1])
        log.debug("G_%d = %s", t, g)
    return returns[:0:-1]


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma: float = 0.99):
    rollout = Rollout.of(states, actions, rewards, is_not_done)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = (tf.stack(part, axis=1) for part in zip(*replay(rollout, memory)))
        frozen = tf.stop_gradient(values)
        returns = tf.stack(backwards(rollout, frozen[:, -1], gamma), axis=1)

        log_policy = tf.nn.log_softmax(logits)
        played = select_log_policy_for_actions(log_policy, rollout.actions)
        J_hat = tf.reduce_mean(played[:, :-1] * (returns - frozen[:, :-1]))

        target = rollout.rewards[:, :-1] + gamma * rollout.alive[:, :-1] * frozen[:, 1:]
        value_loss = tf.reduce_mean((target - values[:, :-1]) ** 2)

        entropy_reg = -tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(logits) * log_policy, axis=-1))
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    weights = agent.trainable_variables
    grads = tape.gradient(loss, weights)
    if (limit := config.max_norm) is not None:
        grads, norm = tf.clip_by_global_norm(grads, limit)
        log.debug("norm %s", norm)
    optimizer.apply(grads, weights)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
def make_optimizer(config: Config) -> keras.optimizers.Optimizer:
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=1e-5,
        decay_steps=config.decay_steps,
        alpha=0.05,
        warmup_target=config.peak_rate,
        warmup_steps=config.warmup_steps,
    )
    match config.optimizer:
        case "adamw":
            return keras.optimizers.AdamW(schedule, weight_decay=1e-4)
        case "sgd":
            return keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
        case other:
            raise ValueError(other)


optimizer = make_optimizer(config)
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
