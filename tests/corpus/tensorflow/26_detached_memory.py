# style: compact, French and English mixed, explicit list of variables, helper dict of layers, notes on experiments
# verdict: wrong
# mistake: loss: the memory is stopped at every tick of the replay (stop_gradient inside the loop), so no gradients travel through time
# mistake: loss: the list of variables for the gradient step leaves out the value head, which never learns
# loses: memory_gradient, step
# named: within a rollout the memory must not be stopped
# named: the step changes 9 of 11 variables
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Acteur-critique avec mémoire."""

    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.backbone = keras.Sequential(
            [keras.layers.Rescaling(10, offset=-3.6)]
            + [keras.layers.Conv2D(f, 3, strides=2, activation="elu", kernel_initializer=he) for f in (32, 32, 64)]
            + [keras.layers.Flatten(), keras.layers.Dense(256, activation="relu", kernel_initializer=he)]
        )
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, new_state = self.lstm_cell(self.backbone(obs_t), prev_state)
        logits, state_value = (tete(h) for tete in (self.logits_head, self.state_value_head))
        return new_state, (logits, tf.squeeze(state_value, [-1]))

    __call__ = forward

    def step(self, prev_state, obs_t):
        """numpy -> numpy"""
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
# essais: entropie 0.01 ok, 0.1 trop; rollouts de 10
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, is_not_done = [tf.cast(x, tf.float32) for x in (states, rewards, is_not_done)]
    actions = tf.cast(actions, tf.int32)
    rollout_length = rewards.shape[1] - 1
    memory = prev_memory_states
    blank_memory = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits, state_values = [], []
        for t in range(rollout_length + 1):
            # pas de gradient à travers la mémoire
            memory = [tf.stop_gradient(tf.cast(part, tf.float32)) for part in memory]
            memory, (logits_t, values_t) = agent(memory, states[:, t])
            logits.append(logits_t)
            state_values.append(values_t)

            goes_on = is_not_done[:, t, None] > 0
            memory = [tf.where(goes_on, part, blank) for part, blank in zip(memory, blank_memory)]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        policy, log_policy = tf.nn.softmax(logits), tf.nn.log_softmax(logits)
        log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)

        J_hat = value_loss = 0.0
        G_t = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])
        for t in reversed(range(rollout_length)):
            r_t, m_t = rewards[:, t], is_not_done[:, t]
            V_t, V_next = state_values[:, t], tf.stop_gradient(state_values[:, t + 1])
            G_t = r_t + gamma * m_t * G_t
            value_loss += tf.reduce_mean((r_t + gamma * m_t * V_next - V_t) ** 2)
            advantage = tf.stop_gradient(G_t - V_t)
            J_hat += tf.reduce_mean(log_policy_for_actions[:, t] * advantage)
        J_hat /= rollout_length
        value_loss /= rollout_length

        entropy_reg = tf.reduce_mean(-tf.reduce_sum(policy * log_policy, axis=-1))
        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    variables = (
        agent.backbone.trainable_variables
        + agent.lstm_cell.trainable_variables
        + agent.logits_head.trainable_variables
    )
    grads = tape.gradient(loss, variables)
    optimizer.apply_gradients(zip(grads, variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=5e-4)
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
