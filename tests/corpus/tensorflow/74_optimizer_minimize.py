# style: half-skilled copy-paste from TF 2.x tutorials, terse, few comments
# verdict: wrong
# mistake: optimizer.minimize(loss, vars, tape=tape) is Keras 2; the optimizers of Keras 3 have no minimize, so the function raises where it should take its step, and returns nothing.
# loses: step
# named: has no attribute 'minimize'
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        he = "he_normal"
        self.backbone = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Conv2D(32, 3, strides=2, activation="elu", kernel_initializer=he),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_initializer=he),
        ])
        self.lstm_output_size = 256
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.backbone(obs_t)
        x, new_state = self.lstm_cell(x, states=prev_state)
        logits = self.logits_head(x)
        state_value = tf.reshape(self.state_value_head(x), (-1,))
        return new_state, (logits, state_value)

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
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
optimizer = keras.optimizers.Adam(learning_rate=0.001)
# %%
def compute_loss(logits, values, actions, rewards, mask, gamma):
    n = rewards.shape[1] - 1
    log_probs = tf.nn.log_softmax(logits)
    probs = tf.nn.softmax(logits)
    action_log_probs = select_log_policy_for_actions(log_probs, actions)

    actor_loss, critic_loss = 0., 0.
    R = tf.stop_gradient(values[:, n]) * mask[:, n]
    for t in reversed(range(n)):
        R = rewards[:, t] + gamma * R * mask[:, t]
        advantage = tf.stop_gradient(R - values[:, t])
        actor_loss -= tf.reduce_mean(action_log_probs[:, t] * advantage)
        td_target = rewards[:, t] + gamma * tf.stop_gradient(values[:, t + 1]) * mask[:, t]
        critic_loss += tf.reduce_mean(tf.square(td_target - values[:, t]))
    entropy = -tf.reduce_mean(tf.reduce_sum(probs * log_probs, axis=-1))
    return actor_loss / n + value_loss_weight * critic_loss / n - entropy_weight * entropy


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = [], []
        for t in range(rewards.shape[1]):
            memory, (l, v) = agent(memory, states[:, t])
            logits.append(l)
            values.append(v)
            memory = [part * is_not_done[:, t, None] for part in memory]
        loss = compute_loss(tf.stack(logits, 1), tf.stack(values, 1), actions, rewards, is_not_done, gamma)

    optimizer.minimize(loss, agent.trainable_variables, tape=tape)
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
