# style: debugging session left in the notebook: prints, asserts, gradient norms, a commented-out step, given loop mostly kept
# verdict: wrong
# mistake: loss: the gradients are computed and their norms printed, but the line that applies them was commented out while debugging and never came back
# mistake: loss: the TD target is masked by is_not_done[:, t + 1] instead of is_not_done[:, t], so the reset tick learns the next game's value
# loses: step, value_ends
# named: no weight changes, for the optimizer takes no step
# named: the mask comes one column late
# %% keep: setup
# %% keep: imports
# %%
np.set_printoptions(precision=3, suppress=True, linewidth=140)
DEBUG = False
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer=he),
                # keras.layers.Dropout(0.2),   # forward != step with this one!!
            ]
        )
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        features = self.backbone(obs_t)
        if DEBUG:
            print("features", features.shape, "state", [p.shape for p in prev_state])
        output, [h, c] = self.lstm_cell(features, prev_state)

        new_state = [h, c]
        logits = self.logits_head(output)
        state_value = self.state_value_head(output)
        if DEBUG:
            print("value before squeeze", state_value.shape)
        state_value = tf.squeeze(state_value, axis=1)
        assert state_value.shape.rank == 1

        return new_state, (logits, state_value)

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
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
        """The weights of all layers, in the order the layers were made."""
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %%
for v in agent.trainable_variables:
    print(v.path, v.shape)
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
print(rollout_mask)
print(rollout_rewards)
# pool.interact(200)[3].min()
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99, verbose=False):
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

        logits = tf.stack(logits, axis=1)  # [n_games, n_steps, n_actions]
        state_values = tf.stack(state_values, axis=1)  # [n_games, n_steps]
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

            # the next state is terminal -> its value is 0
            td_error = r_t + gamma * is_not_done[:, t + 1] * V_next - V_t
            value_loss += tf.reduce_mean(td_error**2)

            advantage = G_t - V_t
            advantage = tf.stop_gradient(advantage)
            if verbose:
                print(t, "G", G_t.numpy(), "V", V_t.numpy(), "A", advantage.numpy())

            J_hat += tf.reduce_mean(logpi_a_s_t * advantage)

        J_hat /= rollout_length
        value_loss /= rollout_length

        entropy_reg = -tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1))

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    if verbose:
        for v, g in zip(agent.trainable_variables, grads):
            print(f"{v.path:45s}", "NONE!!" if g is None else float(tf.norm(g)))
        print("J", float(J_hat), "V", float(value_loss), "H", float(entropy_reg))
    # optimizer.apply_gradients(zip(grads, agent.trainable_variables))   # off while I look at the norms

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# entropy of the untrained agent should be ln 14
np.log(14)
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=1e-4)
# %% keep: optimizer-check
# %%
memory = list(pool.prev_memory_states)
roll = pool.interact(5)
train_on_rollout(*roll, memory, gamma, verbose=True)
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
