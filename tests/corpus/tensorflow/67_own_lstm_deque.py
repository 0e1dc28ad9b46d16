# style: good student, Russian, dataclass settings, LSTM written by hand from a Dense, deque for the returns, type hints
# verdict: right
# loses:
# note: the LSTM cell is written out by hand with one Dense for all gates; the same equations
# %% keep: setup
# %% keep: imports
# %%
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cfg:
    filters: tuple[int, ...] = (32, 32, 64)
    dense: int = 256
    lstm: int = 192
    lr: float = 5e-4
    clip: float = 0.5


cfg = Cfg()
# %% keep: make-env
# %% keep: look
# %%
class HandmadeLSTM(keras.layers.Layer):
    """LSTM по формулам (Hochreiter & Schmidhuber + forget gate)."""

    def __init__(self, n_in: int, units: int):
        super().__init__()
        # i, f, o, g одним умножением
        self.gates = keras.layers.Dense(4 * units)
        self.gates.build((None, n_in + units))

    def call(self, x_h_c):
        x, h, c = x_h_c
        i, f, o, g = tf.split(self.gates(tf.concat([x, h], axis=1)), 4, axis=1)
        # +1: сначала ничего не забываем
        c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, c


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions, cfg: Cfg = cfg):
        self.cfg = cfg
        self.eyes = keras.Sequential(
            [keras.layers.Rescaling(10, offset=-3.6)]
            + [
                keras.layers.Conv2D(f, 3, 2, activation="elu", kernel_initializer="he_normal")
                for f in cfg.filters
            ]
            + [
                keras.layers.Flatten(),
                keras.layers.Dense(cfg.dense, activation="relu", kernel_initializer="he_normal"),
            ]
        )
        self.lstm_output_size = cfg.lstm
        self.memory = HandmadeLSTM(cfg.dense, cfg.lstm)
        self.actor = keras.layers.Dense(n_actions)
        self.critic = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, c = prev_state
        h, c = self.memory([self.eyes(obs_t), h, c])
        return [h, c], (self.actor(h), self.critic(h)[..., 0])

    __call__ = forward

    def step(self, prev_state, obs_t):
        prev_state = [tf.convert_to_tensor(s, tf.float32) for s in prev_state]
        (h, c), (logits, v) = self.compiled_forward(prev_state, tf.convert_to_tensor(obs_t, tf.float32))
        return [h.numpy(), c.numpy()], (logits.numpy(), v.numpy())

    def get_initial_state(self, batch_size: int):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in range(2)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        parts = (self.eyes, self.memory, self.actor, self.critic)
        return [w for part in parts for w in part.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %%
# сколько всего весов и все ли на месте
for w in agent.trainable_variables:
    print(f"{w.path:60s} {tuple(w.shape)}")
assert len(agent.trainable_variables) == 2 * (len(cfg.filters) + 1) + 2 + 4
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def replay(states, mask, memory):
    """Генератор: на каждом тике (logits, V)."""
    for obs_t, m_t in zip(tf.unstack(states, axis=1), tf.unstack(mask, axis=1)):
        memory, outputs = agent(memory, obs_t)
        yield outputs
        memory = [s * m_t[:, None] for s in memory]  # игра кончилась - всё забыли


def returns_backwards(rewards, mask, v_last, gamma):
    G = mask[:, -1] * v_last
    result = deque()
    for t in range(rewards.shape[1] - 2, -1, -1):
        G = rewards[:, t] + gamma * mask[:, t] * G
        result.appendleft(G)
    return tf.stack(list(result), axis=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, mask = (tf.cast(x, tf.float32) for x in (states, rewards, is_not_done))
    actions = tf.cast(actions, tf.int32)
    start = [tf.stop_gradient(s) for s in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = (tf.stack(x, axis=1) for x in zip(*replay(states, mask, start)))
        log_pi = tf.nn.log_softmax(logits)
        pi = tf.exp(log_pi)

        V, frozen = values[:, :-1], tf.stop_gradient(values)
        G = returns_backwards(rewards, mask, frozen[:, -1], gamma)
        A = G - frozen[:, :-1]

        J = tf.reduce_mean(select_log_policy_for_actions(log_pi, actions)[:, :-1] * A)
        target = rewards[:, :-1] + gamma * mask[:, :-1] * frozen[:, 1:]
        L = tf.reduce_mean((target - V) ** 2)
        H = tf.reduce_mean(tf.reduce_sum(-pi * log_pi, axis=-1))
        loss = -J + value_loss_weight * L - entropy_weight * H

    weights = agent.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.Nadam(cfg.lr, global_clipnorm=cfg.clip)
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
