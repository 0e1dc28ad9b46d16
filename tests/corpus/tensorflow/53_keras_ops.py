# style: Keras 3 purist; keras.ops nearly everywhere in place of tf (scan, take_along_axis, logsumexp), agent built of keras layers with one extra Dense and LayerNormalization
# verdict: right
# loses:
# note: returns by keras.ops.scan in reverse over (r, m) columns; LayerNormalization is over the features, so games stay apart; Nadam; optimizer.apply instead of apply_gradients
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
from keras import ops

# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        layers = keras.layers
        conv = {"strides": 2, "activation": "elu", "kernel_initializer": "he_normal"}
        self.backbone = keras.Sequential(
            [
                layers.Rescaling(10, offset=-3.6),
                layers.Conv2D(32, 3, **conv),
                layers.Conv2D(32, 3, **conv),
                layers.Conv2D(32, 3, **conv),
                layers.Flatten(),
                layers.Dense(256, kernel_initializer="he_normal"),
                layers.LayerNormalization(),
                layers.ReLU(),
            ]
        )
        self.lstm_output_size = 256
        self.lstm_cell = layers.LSTMCell(self.lstm_output_size)
        self.logits_head = layers.Dense(n_actions, kernel_initializer=keras.initializers.Orthogonal(0.01))
        self.state_value_head = layers.Dense(1, kernel_initializer=keras.initializers.Orthogonal(1.0))
        self.forward(self.get_initial_state(1), ops.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        cell_output, [h, c] = self.lstm_cell(self.backbone(obs_t), prev_state)
        return [h, c], (
            self.logits_head(cell_output),
            ops.squeeze(self.state_value_head(cell_output), axis=-1),
        )

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = ops.convert_to_tensor(obs_t, "float32")
        prev_state = [ops.convert_to_tensor(part, "float32") for part in prev_state]
        (h, c), (logits, value) = self.compiled_forward(prev_state, obs_t)
        to_numpy = ops.convert_to_numpy
        return [to_numpy(h), to_numpy(c)], (to_numpy(logits), to_numpy(value))

    def get_initial_state(self, batch_size):
        return self.lstm_cell.get_initial_state(batch_size)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return ops.convert_to_numpy(keras.random.categorical(logits, 1))[:, 0]

    @property
    def trainable_variables(self):
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
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = ops.cast(states, "float32")
    actions = ops.cast(actions, "int32")
    rewards = ops.cast(rewards, "float32")
    mask = ops.cast(is_not_done, "float32")
    n_columns = ops.shape(rewards)[1]

    memory = [ops.stop_gradient(ops.convert_to_tensor(part)) for part in prev_memory_states]

    with tf.GradientTape() as tape:  # the only thing that keras.ops does not have
        heads = []
        for t in range(n_columns):
            memory, outputs = agent(memory, states[:, t])
            heads.append(outputs)
            is_over = ops.equal(mask[:, t : t + 1], 0)
            memory = [ops.where(is_over, ops.zeros_like(part), part) for part in memory]
        logits = ops.stack([head[0] for head in heads], axis=1)
        values = ops.stack([head[1] for head in heads], axis=1)

        log_policy = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
        played = ops.take_along_axis(log_policy, actions[:, :, None], axis=-1)[:, :-1, 0]

        frozen = ops.stop_gradient(values)
        time_major = ops.transpose  # [n_games, n_steps] <-> [n_steps, n_games]

        def back_one_tick(later_return, tick):
            reward, goes_on = tick
            this_return = reward + gamma * goes_on * later_return
            return this_return, this_return

        _, returns = ops.scan(
            back_one_tick,
            init=mask[:, -1] * frozen[:, -1],
            xs=(time_major(rewards[:, :-1]), time_major(mask[:, :-1])),
            reverse=True,
        )
        advantage = ops.stop_gradient(time_major(returns) - frozen[:, :-1])
        target = rewards[:, :-1] + gamma * mask[:, :-1] * frozen[:, 1:]

        J_hat = ops.mean(played * advantage)
        value_loss = ops.mean(ops.square(target - values[:, :-1]))
        entropy = -ops.mean(ops.sum(ops.softmax(logits) * log_policy, axis=-1))
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy

    optimizer.apply(tape.gradient(loss, agent.trainable_variables), agent.trainable_variables)
    return float(loss) if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Nadam(learning_rate=3e-4)
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
