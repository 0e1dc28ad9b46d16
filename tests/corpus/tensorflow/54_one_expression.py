# style: terse; one giant expression for the loss, one-letter names, brackets counted by hand
# verdict: wrong
# mistake: loss: tf.square closes around the mean over the games: the square of the mean TD error instead of the mean square
# mistake: loss: the bracket after value_loss_weight closes too late, so the entropy is weighted by value_loss_weight * entropy_weight (not seen while the first is 1)
# loses: value_loss, weights
# named: the mean of the errors is squared
# named: value_loss_weight multiplies the entropy, too
# note: signs are right; entropy and policy terms are right on their own
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        K = keras.layers
        o = dict(strides=2, activation="elu", kernel_initializer="he_normal")
        self.backbone = keras.Sequential([
            K.Rescaling(10, offset=-3.6), K.Conv2D(32, 3, **o), K.Conv2D(32, 3, **o), K.Conv2D(32, 3, **o),
            K.Flatten(), K.Dense(256, activation="relu", kernel_initializer="he_normal"),
        ])
        self.lstm_output_size = 256
        self.lstm_cell = K.LSTMCell(256)
        self.logits_head, self.state_value_head = K.Dense(n_actions), K.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        y, s = self.lstm_cell(self.backbone(obs_t), prev_state)
        return s, (self.logits_head(y), self.state_value_head(y)[:, 0])

    __call__ = forward

    def step(self, prev_state, obs_t):
        s, o = self.compiled_forward(
            [tf.convert_to_tensor(x, tf.float32) for x in prev_state], tf.convert_to_tensor(obs_t, tf.float32)
        )
        return [x.numpy() for x in s], tuple(x.numpy() for x in o)

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, 256)), tf.zeros((batch_size, 256))]

    def sample_actions(self, agent_outputs):
        return np.argmax(agent_outputs[0] + np.random.gumbel(size=agent_outputs[0].shape), axis=-1)

    @property
    def trainable_variables(self):
        return sum((v.trainable_variables for v in vars(self).values() if isinstance(v, keras.layers.Layer)), [])
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
    o, a = tf.cast(states, tf.float32), tf.cast(actions, tf.int32)
    r, m = tf.cast(rewards, tf.float32), tf.cast(is_not_done, tf.float32)
    T = r.shape[1] - 1
    s = [tf.stop_gradient(x) for x in prev_memory_states]

    with tf.GradientTape() as tape:
        z, V = [], []
        for t in range(T + 1):
            s, (z_t, V_t) = agent(s, o[:, t])
            s = [x * m[:, t, None] for x in s]
            z.append(z_t)
            V.append(V_t)
        z, V = tf.stack(z, 1), tf.stack(V, 1)
        lp, c = tf.nn.log_softmax(z), tf.stop_gradient(V)

        G = [m[:, T] * c[:, T]]
        for t in reversed(range(T)):
            G.insert(0, r[:, t] + gamma * m[:, t] * G[0])

        loss = (
            -tf.reduce_mean(
                select_log_policy_for_actions(lp, a)[:, :T] * (tf.stack(G[:T], 1) - c[:, :T])
            )
            + value_loss_weight * (
                tf.reduce_mean(
                    tf.square(tf.reduce_mean(r[:, :T] + gamma * m[:, :T] * c[:, 1:] - V[:, :T], 0))
                )
                - entropy_weight * (
                    -tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(z) * lp, -1))
                )
            )
        )

    w = agent.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, w), w))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.Adam(5e-4, global_clipnorm=0.5)
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
