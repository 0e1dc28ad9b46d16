# style: spring-2020 tutorial TensorFlow: tf.keras everywhere, functional Model for the eyes, a full LSTM layer with return_state run for one tick, tf.losses, tf.math, terse
# verdict: right
# loses:
# note: LSTM layer instead of LSTMCell: its output of a one-tick sequence is h, and it gives back h and c as two further results; the MSE loss object takes the mean over games and ticks at once; entropy by softmax cross-entropy of the policy with itself (with gradients through the labels) is H exactly
# %% keep: setup
# %% keep: imports
# %%
L = tf.keras.layers
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        # --- eyes
        img = tf.keras.Input(shape=obs_shape)
        x = L.Rescaling(10., offset=-3.6)(img)
        for _ in range(3):
            x = L.Conv2D(32, (3, 3), strides=(2, 2), kernel_initializer='he_normal')(x)
            x = L.ELU()(x)
        x = L.Flatten()(x)
        x = L.Dense(256, activation='relu', kernel_initializer='he_normal')(x)
        self.net = tf.keras.Model(img, x)

        # --- memory
        self.lstm_output_size = 256
        self.rnn = L.LSTM(256, return_sequences=False, return_state=True)

        # --- mouth
        self.actor = L.Dense(n_actions)
        self.critic = L.Dense(1)

        self.forward(self.get_initial_state(1), tf.zeros((1,) + tuple(obs_shape)))
        self._graph = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        seq = tf.expand_dims(self.net(obs_t), 1)            # [n, 1 tick, 256]
        out, h, c = self.rnn(seq, initial_state=list(prev_state))
        return [h, c], (self.actor(out), tf.reshape(self.critic(out), [-1]))

    __call__ = forward

    def step(self, prev_state, obs_t):
        prev_state = [tf.constant(np.asarray(s, np.float32)) for s in prev_state]
        (h, c), (l, v) = self._graph(prev_state, tf.constant(np.asarray(obs_t, np.float32)))
        return [h.numpy(), c.numpy()], (l.numpy(), v.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros([batch_size, 256]), tf.zeros([batch_size, 256])]

    def sample_actions(self, agent_outputs):
        return tf.random.categorical(tf.convert_to_tensor(agent_outputs[0]), 1)[:, 0].numpy()

    @property
    def trainable_variables(self):
        return (self.net.trainable_variables + self.rnn.trainable_variables
                + self.actor.trainable_variables + self.critic.trainable_variables)
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
mse = tf.losses.MeanSquaredError()

def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states, rewards, mask = [tf.cast(a, tf.float32) for a in (states, rewards, is_not_done)]
    actions = tf.cast(actions, tf.int32)
    T = rewards.shape[1] - 1
    hc = [tf.stop_gradient(tf.cast(s, tf.float32)) for s in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = [], []
        for t in range(T + 1):
            hc, (l, v) = agent(hc, states[:, t])
            hc = [tf.math.multiply(s, mask[:, t:t + 1]) for s in hc]
            logits.append(l); values.append(v)
        logits = tf.stack(logits, 1)
        values = tf.stack(values, 1)
        frozen = tf.stop_gradient(values)

        # returns
        G = mask[:, T] * frozen[:, T]
        Gs = []
        for t in range(T - 1, -1, -1):
            G = rewards[:, t] + gamma * mask[:, t] * G
            Gs.append(G)
        Gs = tf.stack(Gs[::-1], 1)

        # critic
        target = rewards[:, :T] + gamma * mask[:, :T] * frozen[:, 1:]
        value_loss = mse(target, values[:, :T])

        # actor: the cross entropy with the played action IS -log pi
        neglogp = tf.nn.sparse_softmax_cross_entropy_with_logits(actions[:, :T], logits[:, :T])
        pg_loss = tf.math.reduce_mean(neglogp * (Gs - frozen[:, :T]))

        # entropy = cross entropy of pi with itself
        entropy = tf.math.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(logits), logits))

        loss = pg_loss + value_loss_weight * value_loss - entropy_weight * entropy

    w = agent.trainable_variables
    g = tape.gradient(loss, w)
    optimizer.apply_gradients(zip(g, w))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = tf.optimizers.RMSprop(learning_rate=7e-4, rho=0.99, epsilon=1e-5)
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
