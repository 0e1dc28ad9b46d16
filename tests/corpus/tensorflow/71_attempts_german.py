# style: half-skilled, German, given methods in a base class, a first wrong attempt left in and redefined later, optimizer cell twice
# verdict: right
# loses:
# note: the first train_on_rollout is wrong (no mask in the TD target, entropy sign), but it is replaced by the second one before anything is trained
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# das Vorgegebene hier rein, damit man meins besser sieht
class BasisAgent:
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
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)
# %%
class SimpleRecurrentAgent(BasisAgent):
    def __init__(self, obs_shape, n_actions):
        self.rescale = keras.layers.Rescaling(10, offset=-3.6)
        self.conv1 = keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer="he_normal")
        self.conv2 = keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer="he_normal")
        self.conv3 = keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer="he_normal")
        self.flatten = keras.layers.Flatten()
        self.fc = keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal")
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(256)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.rescale(obs_t)
        x = self.conv1(x)
        x = self.conv2(x)
        x = self.conv3(x)
        x = self.flatten(x)
        x = self.fc(x)
        y, new_state = self.lstm_cell(x, prev_state)
        logits = self.logits_head(y)
        # state_value = self.state_value_head(y)    # (n, 1) !!! Check sagt nein
        state_value = tf.squeeze(self.state_value_head(y), axis=-1)
        return new_state, (logits, state_value)
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Versuch 1
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    n = rewards.shape[1] - 1
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(n + 1):
            memory, (l, v) = agent(memory, states[:, t])
            logits.append(l)
            state_values.append(v)
        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        logpi = select_log_policy_for_actions(log_policy, actions)
        td = rewards[:, :-1] + gamma * tf.stop_gradient(state_values[:, 1:]) - state_values[:, :-1]
        loss = (
            -tf.reduce_mean(logpi[:, :-1] * tf.stop_gradient(td))
            + tf.reduce_mean(td**2)
            - 0.01 * tf.reduce_mean(tf.reduce_sum(policy * log_policy, -1))
        )
    grads = tape.gradient(loss, agent.trainable_variables)
    return loss
# Ergebnis: Check meckert über fast alles. Maske vergessen, Gedächtnis nicht gelöscht, n-step fehlt, Entropie falsch rum
# %%
# Versuch 2: doch mit der Schleife aus der Vorlage
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    n = rewards.shape[1] - 1
    memory = [tf.stop_gradient(part) for part in prev_memory_states]
    leer = agent.get_initial_state(rewards.shape[0])

    with tf.GradientTape() as tape:
        logits = []
        state_values = []
        for t in range(n + 1):
            memory, (l, v) = agent(memory, states[:, t])
            logits.append(l)
            state_values.append(v)
            weiter = is_not_done[:, t, None] > 0
            memory = [tf.where(weiter, memory[0], leer[0]), tf.where(weiter, memory[1], leer[1])]

        logits = tf.stack(logits, axis=1)
        state_values = tf.stack(state_values, axis=1)
        policy = tf.nn.softmax(logits)
        log_policy = tf.nn.log_softmax(logits)
        logpi = select_log_policy_for_actions(log_policy, actions)

        J_hat = 0.0
        value_loss = 0.0
        G = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])
        for t in reversed(range(n)):
            V_t = state_values[:, t]
            V_next = tf.stop_gradient(state_values[:, t + 1])
            G = rewards[:, t] + gamma * is_not_done[:, t] * G

            delta = rewards[:, t] + gamma * V_next * is_not_done[:, t] - V_t
            value_loss += tf.reduce_mean(tf.square(delta))

            advantage = tf.stop_gradient(G - V_t)   # G, nicht delta! delta ist nur 1-step
            J_hat += tf.reduce_mean(logpi[:, t] * advantage)
        J_hat /= n
        value_loss /= n

        entropy_reg = tf.reduce_sum(policy * log_policy, axis=-1)   # [n_games, n_steps]
        entropy_reg = -tf.reduce_mean(entropy_reg)                  # Minus!
        #print("J", J_hat, "V", value_loss, "H", entropy_reg)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
optimizer = keras.optimizers.Adam()
# %%
# nochmal mit kleinerer Lernrate
optimizer = keras.optimizers.Adam(learning_rate=3e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %%
# wird der Loss auf demselben Rollout kleiner?
verlauf = []
for i in range(10):
    verlauf.append(train_on_rollout(rollout_obs, rollout_actions, rollout_rewards, rollout_mask, memory, gamma))
plt.plot(verlauf); plt.title("Loss"); plt.show()
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
