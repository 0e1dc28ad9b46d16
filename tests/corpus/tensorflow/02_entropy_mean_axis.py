# style: class hierarchy of heads, Rollout dataclass with properties, loss split into methods; Russian comments
# verdict: wrong
# mistake: loss: the entropy is averaged over the actions as well (one reduce_mean over all three axes), so it is n_actions times too small
# loses: entropy_value, entropy_gradient
# named: averaged over the actions too, 14 times too small
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
# Базовый класс для «головы»: слой плюс то, что с его выходом надо сделать
class Head:
    def __init__(self, units):
        self.dense = keras.layers.Dense(units)

    def postprocess(self, x):
        return x

    def __call__(self, h):
        return self.postprocess(self.dense(h))

    @property
    def trainable_variables(self):
        return self.dense.trainable_variables


class ActorHead(Head):
    pass  # логиты, без softmax


class CriticHead(Head):
    def __init__(self):
        super().__init__(1)

    def postprocess(self, x):
        return x[:, 0]  # (n, 1) -> (n,)


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        conv = dict(kernel_size=3, strides=2, activation="elu", kernel_initializer="he_normal")
        self.backbone = keras.Sequential(
            [keras.layers.Rescaling(10, offset=-3.6)]
            + [keras.layers.Conv2D(32, **conv) for _ in range(3)]
            + [keras.layers.Flatten(), keras.layers.Dense(128, activation="relu")]
        )
        self.lstm_output_size = 128  # 256 долго на моём ноутбуке
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.actor = ActorHead(n_actions)
        self.critic = CriticHead()
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.backbone(obs_t)
        h, new_state = self.lstm_cell(x, prev_state)
        return new_state, (self.actor(h), self.critic(h))

    __call__ = forward

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
        parts = [self.backbone, self.lstm_cell, self.actor, self.critic]
        return sum([list(p.trainable_variables) for p in parts], [])
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
from dataclasses import dataclass


@dataclass
class Rollout:
    states: tf.Tensor
    actions: tf.Tensor
    rewards: tf.Tensor
    mask: tf.Tensor

    def __post_init__(self):
        self.states = tf.cast(self.states, tf.float32)
        self.actions = tf.cast(self.actions, tf.int32)
        self.rewards = tf.cast(self.rewards, tf.float32)
        self.mask = tf.cast(self.mask, tf.float32)

    @property
    def n_games(self):
        return self.rewards.shape[0]

    @property
    def T(self):  # последний столбец не играется
        return self.rewards.shape[1] - 1


class A2CLoss:
    def __init__(self, rollout, memory, gamma):
        self.ro, self.gamma = rollout, gamma
        self.memory = [tf.stop_gradient(m) for m in memory]

    def unroll(self):
        ro, memory = self.ro, self.memory
        blank = agent.get_initial_state(ro.n_games)
        logits, values = [], []
        for t in range(ro.T + 1):
            memory, (l, v) = agent.forward(memory, ro.states[:, t])
            logits.append(l)
            values.append(v)
            goes_on = ro.mask[:, t, None] > 0
            memory = [tf.where(goes_on, m, b) for m, b in zip(memory, blank)]
        self.logits = tf.stack(logits, 1)
        self.values = tf.stack(values, 1)
        return self

    def policy_and_value(self):
        ro = self.ro
        logp = select_log_policy_for_actions(tf.nn.log_softmax(self.logits), ro.actions)
        G = ro.mask[:, -1] * tf.stop_gradient(self.values[:, -1])
        J, L = 0.0, 0.0
        for t in range(ro.T - 1, -1, -1):
            G = ro.rewards[:, t] + self.gamma * ro.mask[:, t] * G
            V = self.values[:, t]
            target = ro.rewards[:, t] + self.gamma * ro.mask[:, t] * tf.stop_gradient(
                self.values[:, t + 1]
            )
            L += tf.reduce_mean((target - V) ** 2)
            J += tf.reduce_mean(logp[:, t] * tf.stop_gradient(G - V))
        return J / ro.T, L / ro.T

    def entropy(self):
        # энтропия политики, усредняем по всем играм и тактам
        policy = tf.nn.softmax(self.logits)
        log_policy = tf.nn.log_softmax(self.logits)
        return -tf.reduce_mean(policy * log_policy)

    def __call__(self):
        self.unroll()
        J_hat, value_loss = self.policy_and_value()
        return -J_hat + value_loss_weight * value_loss - entropy_weight * self.entropy()


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    rollout = Rollout(states, actions, rewards, is_not_done)
    with tf.GradientTape() as tape:
        loss = A2CLoss(rollout, prev_memory_states, gamma)()
    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam()
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
