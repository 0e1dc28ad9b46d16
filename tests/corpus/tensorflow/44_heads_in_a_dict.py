# style: tidy object-oriented refactoring (layers in dictionaries, a method for each stage), loss in one list comprehension per term
# verdict: wrong
# mistake: agent-exercise: the heads live in a dictionary, which the given trainable_variables does not look into: their weights are missing from the agent's list and never learn
# mistake: loss-exercise: the advantage is not stopped, so the policy's term also pushes the critic (and the memory) by log π
# loses: gradients, constant_advantage
# named: logits/kernel, logits/bias, value/kernel and 1 more are not among
# named: the policy term moves the values
# note: the step itself is complete for the list that the agent gives; descent is not to blame either
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    N_FILTERS = 32
    N_CONVS = 3

    def __init__(self, obs_shape, n_actions, lstm_output_size=256):
        self.obs_shape = obs_shape
        self.n_actions = n_actions
        self.lstm_output_size = lstm_output_size

        self.backbone = self.build_backbone()
        self.lstm_cell = keras.layers.LSTMCell(lstm_output_size)
        self.heads = {
            "logits": keras.layers.Dense(n_actions, name="logits"),
            "value": keras.layers.Dense(1, name="value"),
        }

        # This pass creates the weights, and a mistake in forward shows up right here.
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def build_backbone(self):
        he = "he_normal"  # keeps signals as strong from layer to layer (He et al., 2015)
        layers = [keras.layers.Rescaling(10, offset=-3.6)]
        layers += [
            keras.layers.Conv2D(self.N_FILTERS, 3, strides=2, activation="elu", kernel_initializer=he)
            for _ in range(self.N_CONVS)
        ]
        layers.append(keras.layers.Flatten())
        layers.append(keras.layers.Dense(256, activation="relu", kernel_initializer=he))
        return keras.Sequential(layers)

    def encode(self, obs_t):
        return self.backbone(obs_t)

    def decode(self, h):
        outputs = {name: head(h) for name, head in self.heads.items()}
        return outputs["logits"], tf.squeeze(outputs["value"], axis=-1)

    def forward(self, prev_state, obs_t):
        h, new_state = self.lstm_cell(self.encode(obs_t), prev_state)
        return new_state, self.decode(h)

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
        # Where logits plus Gumbel noise are largest is a draw from their softmax.
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        """The weights of all layers, in the order the layers were made."""
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
    """Takes one gradient step on a rollout and returns the loss."""
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)
    T = rewards.shape[1] - 1

    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        outputs = []
        for t in range(T + 1):
            memory, output = agent(memory, states[:, t])
            memory = [part * is_not_done[:, t, None] for part in memory]
            outputs.append(output)

        log_pis = [tf.nn.log_softmax(logits) for logits, _ in outputs]
        V = [value for _, value in outputs]
        V_const = [tf.stop_gradient(value) for value in V]
        r = tf.unstack(rewards, axis=1)
        m = tf.unstack(is_not_done, axis=1)
        log_pi_a = tf.unstack(select_log_policy_for_actions(tf.stack(log_pis, axis=1), actions), axis=1)

        # Returns, G[0] … G[T]
        G = [m[T] * V_const[T]]
        for t in reversed(range(T)):
            G.insert(0, r[t] + gamma * m[t] * G[0])

        J_hat = sum(tf.reduce_mean(log_pi_a[t] * (G[t] - V[t])) for t in range(T)) / T
        value_loss = (
            sum(tf.reduce_mean((r[t] + gamma * m[t] * V_const[t + 1] - V[t]) ** 2) for t in range(T)) / T
        )
        entropy_reg = -sum(
            tf.reduce_mean(tf.reduce_sum(tf.exp(log_pi) * log_pi, axis=-1)) for log_pi in log_pis
        ) / len(log_pis)

        loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    variables = agent.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
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
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
