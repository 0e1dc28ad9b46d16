# style: earlier attempts left in the notebook (a broken agent, a broken loss, a cell that raises), tensorboard and wandb remains, tf.Variable counters, logging, Polish notes
# verdict: right
# note: gradient accumulation: weights move at every second call only; the first SimpleRecurrentAgent and the first train_on_rollout are dead code, replaced further down by right ones; one scratch cell raises a ValueError (concatenating shapes that do not fit), everything after it runs
# %% keep: setup
# %% keep: imports
# %%
import logging

# import wandb
# wandb.init(project="kungfu", config=dict(lr=3e-4))
writer = None  # tf.summary.create_file_writer("logs/a2c")
logger = logging.getLogger(__name__)
# %% keep: make-env
# %% keep: look
# %%
# próba 1: zwykła sieć bez pamięci (zostawiam na pamiątkę)
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.net = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(n_actions + 1)]
        )

    def forward(self, prev_state, obs_t):
        out = self.net(obs_t)
        return prev_state, (tf.nn.softmax(out[:, 1:]), out[:, :1])

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, 1)), tf.zeros((batch_size, 1))]


SimpleRecurrentAgent(obs_shape, n_actions).forward(None, tf.zeros((2, *obs_shape)))[1][1].shape
# %%
# kształty? co zwraca LSTMCell?
cell = keras.layers.LSTMCell(7)
out, st = cell(tf.zeros((5, 3)), [tf.zeros((5, 7)), tf.zeros((5, 7))])
print(out.shape, type(st), [s.shape for s in st], np.allclose(out, st[0]))
# %%
np.concatenate([np.zeros((5, 1)), np.zeros(5)], axis=1)  # dlaczego nie działa?!
# %%
# Exercise: agent
# próba 3
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.n_calls = tf.Variable(0, trainable=False, dtype=tf.int64)
        self.conv = [
            keras.layers.Conv2D(k, 3, strides=2, activation="elu", kernel_initializer=he) for k in (32, 32, 32)
        ]
        self.dense = keras.layers.Dense(256, activation="relu", kernel_initializer=he)
        self.norm = keras.layers.LayerNormalization()
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def backbone(self, obs_t):
        x = 10.0 * obs_t - 3.6
        for conv in self.conv:
            x = conv(x)
        x = tf.reshape(x, (-1, np.prod(x.shape[1:])))
        return self.norm(self.dense(x))

    def forward(self, prev_state, obs_t):
        lstm_output, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        logits = self.logits_head(lstm_output)
        # state_value = self.state_value_head(lstm_output)      # (n, 1) - źle!
        # state_value = self.state_value_head(new_state[1])     # c zamiast h - źle!
        state_value = self.state_value_head(lstm_output)[:, 0]
        return new_state, (logits, state_value)

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
        self.n_calls.assign_add(1)
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
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        layers = [*self.conv, self.dense, self.norm, self.lstm_cell, self.logits_head, self.state_value_head]
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
# próba 1 - nie uczy się (entropia rośnie do zera, nie wiem czemu). NIE UŻYWAĆ
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    memory = prev_memory_states
    with tf.GradientTape() as tape:
        loss = 0.0
        for t in range(rewards.shape[1] - 1):
            memory, (logits, V) = agent.step(memory, states[:, t])
            policy = tf.nn.softmax(logits)
            loss += tf.reduce_sum(policy * tf.math.log(policy))
            loss += tf.reduce_sum((rewards[:, t] - V) ** 2)
    # grads = tape.gradient(loss, agent.trainable_variables)   # same None...
    return loss.numpy()


# train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, agent.get_initial_state(5))
# %%
# Exercise: loss
# próba 2, po konsultacji
global_step = tf.Variable(0, trainable=False, dtype=tf.int64)


def summaries(**scalars):
    if writer is None:
        return
    with writer.as_default(step=global_step):
        for name, value in scalars.items():
            tf.summary.scalar(name, value)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99, debug=False):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    rollout_length = rewards.shape[1] - 1

    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(rollout_length + 1):
            # memory, (logits_t, values_t) = agent.step(memory, states[:, t])   # numpy => brak gradientów
            memory, (logits_t, values_t) = agent.forward(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)
            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        if debug:
            print("logits", logits.shape, "values", state_values.shape)
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)

        J_hat = 0.0
        value_loss = 0.0
        cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])

        for t in reversed(range(rollout_length)):
            r_t = rewards[:, t]
            V_t = state_values[:, t]
            V_next = tf.stop_gradient(state_values[:, t + 1])
            logpi_a_s_t = log_policy_for_actions[:, t]

            G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
            cumulative_returns = G_t

            # value_loss += tf.reduce_mean((r_t + gamma * V_next - V_t) ** 2)    # bez maski
            value_loss += tf.reduce_mean((r_t + gamma * is_not_done[:, t] * V_next - V_t) ** 2)

            # advantage = r_t + gamma * V_next - V_t
            advantage = G_t - V_t
            advantage = tf.stop_gradient(advantage)
            if debug:
                tf.print("t", t, "A", advantage)

            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        # entropy_reg = -tf.reduce_mean(policy * log_policy)     # 14 razy za mało!
        entropy_reg = -tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    assert all(g is not None for g in grads)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    global_step.assign_add(1)
    summaries(J=J_hat, value_loss=value_loss, entropy=entropy_reg)
    # wandb.log({"loss": float(loss)})

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# optimizer = keras.optimizers.SGD(1e-2)          # nic
# optimizer = keras.optimizers.Adam(1e-2)         # NaN
optimizer = keras.optimizers.Adam(2e-4, gradient_accumulation_steps=2, global_clipnorm=1.0)
# %% keep: optimizer-check
# %% keep: first-step
# %%
logger.info("global step %s, agent.step was called %s times", global_step.numpy(), agent.n_calls.numpy())
train_on_rollout(*pool.interact(3), agent.get_initial_state(n_parallel_games), debug=True)
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
