# style: two-level inheritance (FeedForwardAgent, then SimpleRecurrentAgent overriding forward with super()), typed, loss in its given shape with helpers td_target and entropy_of
# verdict: wrong
# mistake: agent: the memory for the next tick is [h, h] instead of [h, c]: the cell's own state c is thrown away and replaced by the output
# loses: new_state
# named: it is [h, h], so c is lost
# note: at a single tick logits and value are right; train_on_rollout is right
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class FeedForwardAgent:
    """Everything but the memory (worked on CartPole last week)."""

    def __init__(self, obs_shape: tuple[int, ...], n_actions: int) -> None:
        self.build_body()
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

    def build_body(self) -> None:
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

    def forward(self, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.logits_head(features), self.state_value_head(features)[:, 0]

    def sample_actions(self, agent_outputs) -> np.ndarray:
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self) -> list:
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]


class SimpleRecurrentAgent(FeedForwardAgent):
    def __init__(self, obs_shape: tuple[int, ...], n_actions: int) -> None:
        super().__init__(obs_shape, n_actions)
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.backbone(obs_t)
        output, cell_state = self.lstm_cell(x, prev_state)
        outputs = super().forward(output)
        new_state = [output, cell_state[0]]  # output and state of the cell
        return new_state, outputs

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size: int) -> list[tf.Tensor]:
        shape = (batch_size, self.lstm_output_size)
        return [tf.zeros(shape), tf.zeros(shape)]
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
def td_target(r: tf.Tensor, m: tf.Tensor, v_next: tf.Tensor, gamma: float) -> tf.Tensor:
    return r + gamma * m * tf.stop_gradient(v_next)


def entropy_of(policy: tf.Tensor, log_policy: tf.Tensor) -> tf.Tensor:
    per_tick = -tf.reduce_sum(policy * log_policy, axis=-1)
    return tf.reduce_mean(per_tick)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
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
            obs_t = states[:, t]
            memory, (logits_t, values_t) = agent(memory, obs_t)
            logits.append(logits_t)
            state_values.append(values_t)

            goes_on = is_not_done[:, t, None] > 0
            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)

        J_hat = 0.0
        value_loss = 0.0
        cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])
        for t in reversed(range(rollout_length)):
            r_t = rewards[:, t]
            V_t = state_values[:, t]
            G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns
            cumulative_returns = G_t

            target = td_target(r_t, is_not_done[:, t], state_values[:, t + 1], gamma)
            value_loss += tf.reduce_mean((target - V_t) ** 2)

            advantage = tf.stop_gradient(G_t - V_t)
            J_hat += tf.reduce_mean(log_policy_for_actions[:, t] * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length
        entropy_reg = entropy_of(policy, log_policy)
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=1e-3)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
