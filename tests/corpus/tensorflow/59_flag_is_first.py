# style: comes from CleanRL's LSTM script, where a done flag marks the FIRST observation of a new game; carries that over with great care, names and all
# verdict: wrong
# mistake: loss: reads is_not_done as "0 where a game begins": wipes the memory before the tick instead of after it
# mistake: loss: and so cuts targets and returns with the mask of t + 1 instead of t, one tick too early
# loses: memory_reset, value_ends, policy_ends
# named: the mask comes one column late
# named: the next game's rewards get into the return of a game that is over
# named: it is wiped one tick too early
# note: one misconception, off by one in time, in three places; without ends in the rollout it is all right; the bootstrap's own mask comes out as m_T * V(s_T) in both places
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape, n_actions):
        def layer_init(std):
            return keras.initializers.Orthogonal(std)

        self.network = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                keras.layers.Conv2D(32, 3, 2, activation="relu", kernel_initializer=layer_init(2**0.5)),
                keras.layers.Conv2D(64, 3, 2, activation="relu", kernel_initializer=layer_init(2**0.5)),
                keras.layers.Conv2D(64, 3, 2, activation="relu", kernel_initializer=layer_init(2**0.5)),
                keras.layers.Flatten(),
                keras.layers.Dense(256, activation="relu", kernel_initializer=layer_init(2**0.5)),
            ]
        )
        self.lstm_output_size = 128
        self.lstm = keras.layers.LSTMCell(self.lstm_output_size)
        self.actor = keras.layers.Dense(n_actions, kernel_initializer=layer_init(0.01))
        self.critic = keras.layers.Dense(1, kernel_initializer=layer_init(1.0))

        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def get_states(self, x, lstm_state):
        return self.lstm(self.network(x), lstm_state)

    def forward(self, prev_state, obs_t):
        hidden, new_state = self.get_states(obs_t, prev_state)
        return new_state, (self.actor(hidden), tf.reshape(self.critic(hidden), (-1,)))

    __call__ = forward

    def step(self, prev_state, obs_t):
        """The same with NumPy arrays in and out: for playing, not for training."""
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
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    nonterminal = tf.cast(is_not_done, tf.float32)
    num_steps = rewards.shape[1] - 1

    lstm_state = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        new_logits, new_values = [], []
        for t in range(num_steps + 1):
            # if this observation starts an episode, the state from the last one has to go first
            lstm_state = [nonterminal[:, t, None] * part for part in lstm_state]
            lstm_state, (logit, value) = agent(lstm_state, states[:, t])
            new_logits.append(logit)
            new_values.append(value)
        new_logits = tf.stack(new_logits, axis=1)
        new_values = tf.stack(new_values, axis=1)

        logprobs = tf.nn.log_softmax(new_logits)
        newlogprob = select_log_policy_for_actions(logprobs, actions)

        next_return = tf.stop_gradient(new_values[:, -1])
        pg_obj = 0.0
        v_loss = 0.0
        for t in reversed(range(num_steps)):
            nextnonterminal = nonterminal[:, t + 1]
            nextvalues = tf.stop_gradient(new_values[:, t + 1])

            next_return = rewards[:, t] + gamma * nextnonterminal * next_return
            td_target = rewards[:, t] + gamma * nextnonterminal * nextvalues

            v_loss += tf.reduce_mean((td_target - new_values[:, t]) ** 2)
            advantages = tf.stop_gradient(next_return - new_values[:, t])
            pg_obj += tf.reduce_mean(newlogprob[:, t] * advantages)
        pg_obj /= num_steps
        v_loss /= num_steps

        entropy = -tf.reduce_sum(tf.exp(logprobs) * logprobs, axis=-1)
        entropy_loss = tf.reduce_mean(entropy)

        loss = -pg_obj - entropy_weight * entropy_loss + v_loss * value_loss_weight

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(learning_rate=2.5e-4, epsilon=1e-5, global_clipnorm=0.5)
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
