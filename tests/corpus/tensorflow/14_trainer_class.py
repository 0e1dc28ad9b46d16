# style: A2CTrainer class built on a generic Trainer, optimizer's cell moved before the loss, context manager for timing, wandb remains, %%time, debugging prints, dropout that is off
# verdict: right
# note: trainer holds the agent and the optimizer of the moment it is made (both exist by then, nothing replaces them later); gradients clipped to norm 40 in the trainer; entropy over the acted columns; Dropout is inactive since nobody passes training=True; train_on_rollout has an extra parameter verbose=False
# %% keep: setup
# %%
# !pip install wandb -q
# import wandb; wandb.init(project="kungfu", mode="disabled")
USE_WANDB = False
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class ConvLSTMBody(keras.layers.Layer):
    def __init__(self, units, rate=0.1):
        super().__init__()
        self.net = keras.Sequential(
            [keras.layers.Rescaling(10, offset=-3.6)]
            + [keras.layers.Conv2D(f, 3, strides=2, activation="relu") for f in (32, 64, 64)]
            + [keras.layers.Flatten(), keras.layers.Dense(units, activation="tanh")]
            + [keras.layers.Dropout(rate)]
        )
        self.cell = keras.layers.LSTMCell(units, recurrent_dropout=0.0)

    def call(self, obs, state, training=False):
        return self.cell(self.net(obs, training=training), state, training=training)


class SimpleRecurrentAgent:
    """h and c in a list, 220 units, two heads."""

    def __init__(self, obs_shape, n_actions):
        self.lstm_output_size = 220
        self.body = ConvLSTMBody(self.lstm_output_size)
        self.pi = keras.layers.Dense(n_actions, kernel_initializer=keras.initializers.Orthogonal(0.01))
        self.v = keras.layers.Dense(1, kernel_initializer=keras.initializers.Orthogonal(1.0))
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, new_state = self.body(obs_t, prev_state)
        # print(h.shape, new_state[1].shape)
        return new_state, (self.pi(h), tf.squeeze(self.v(h), axis=[-1]))

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in range(2)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return sum((layer.trainable_variables for layer in (self.body, self.pi, self.v)), [])
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %%
# Exercise: optimizer
# moved up, the trainer below needs it
optimizer = keras.optimizers.Adam(learning_rate=7e-4, beta_1=0.9, epsilon=1e-6)
# %% keep: optimizer-check
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
%%time
from contextlib import contextmanager


@contextmanager
def stopwatch(name, on=True):
    started = time.perf_counter()
    yield
    if on:
        print(f"{name}: {time.perf_counter() - started:.3f} s")


class Trainer:
    """Generic: subclasses say what the loss is."""

    max_norm = 40.0

    def __init__(self, agent, optimizer):
        self.agent, self.optimizer = agent, optimizer

    def loss(self, *batch):
        raise NotImplementedError

    def update(self, *batch):
        weights = self.agent.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.loss(*batch)
        grads = tape.gradient(loss, weights)
        grads, norm = tf.clip_by_global_norm(grads, self.max_norm)
        self.optimizer.apply_gradients(zip(grads, weights))
        # if USE_WANDB: wandb.log({"loss": loss, "norm": norm})
        return loss


class A2CTrainer(Trainer):
    def unroll(self, states, mask, memory):
        first = self.agent.get_initial_state(states.shape[0])
        for t in range(states.shape[1]):
            memory, out = self.agent.forward(memory, states[:, t])
            yield out
            memory = [tf.where(mask[:, t : t + 1] > 0, x, x0) for x, x0 in zip(memory, first)]

    def targets(self, rewards, mask, values, gamma):
        """Pairs (G_t, TD target), last tick first. Nothing in here gets a gradient."""
        values = [tf.stop_gradient(v) for v in values]
        G = mask[:, -1] * values[-1]
        for t in reversed(range(len(values) - 1)):
            G = rewards[:, t] + gamma * mask[:, t] * G
            yield t, G, rewards[:, t] + gamma * mask[:, t] * values[t + 1]

    def loss(self, states, actions, rewards, mask, memory, gamma):
        outs = list(self.unroll(states, mask, memory))
        values = [v for _, v in outs]
        actor, critic, entropy = [], [], []
        for t, G, target in self.targets(rewards, mask, values, gamma):
            logits, V = outs[t]
            log_pi = tf.nn.log_softmax(logits)
            log_pi_a = tf.reduce_sum(tf.one_hot(actions[:, t], logits.shape[-1]) * log_pi, axis=1)
            actor.append(tf.reduce_mean(log_pi_a * tf.stop_gradient(G - V)))
            critic.append(tf.reduce_mean((V - target) ** 2))
            entropy.append(tf.reduce_mean(-tf.reduce_sum(tf.nn.softmax(logits) * log_pi, axis=1)))
        J, L, H = (tf.add_n(x) / len(x) for x in (actor, critic, entropy))
        return -J + value_loss_weight * L - entropy_weight * H


trainer = A2CTrainer(agent, optimizer)
# %%
# Exercise: loss
def train_on_rollout(
    states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99, verbose=False
):
    with stopwatch("update", on=verbose):
        loss = trainer.update(
            tf.cast(states, tf.float32),
            tf.cast(actions, tf.int32),
            tf.cast(rewards, tf.float32),
            tf.cast(is_not_done, tf.float32),
            [tf.stop_gradient(m) for m in prev_memory_states],
            gamma,
        )
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
memory = list(pool.prev_memory_states)
print("loss", train_on_rollout(*pool.interact(10), memory, gamma, verbose=True))
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
