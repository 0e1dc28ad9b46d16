# style: names from OpenAI baselines (neglogpac, pg_loss), TF1 habits, English, no checks kept
# verdict: wrong
# mistake: The cross-entropy is already minus log pi; it is used as log pi in J_hat and then negated once more in the loss, so good actions become rarer.
# loses: policy_gradient
# named: good actions are made rarer
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
def conv(x_filters, size, strides):
    return keras.layers.Conv2D(x_filters, size, strides=strides, activation="relu", kernel_initializer="he_normal")


class SimpleRecurrentAgent(object):
    # CnnLstmPolicy
    def __init__(self, ob_space, nact, nlstm=256):
        self.lstm_output_size = nlstm
        self.cnn = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            conv(32, 3, 2),
            conv(32, 3, 2),
            conv(64, 3, 2),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
        ])
        self.lstm = keras.layers.LSTMCell(nlstm)
        self.pi = keras.layers.Dense(nact)
        self.vf = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1,) + tuple(ob_space)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, S, ob):
        h = self.cnn(ob)
        h5, snew = self.lstm(h, S)
        pi = self.pi(h5)
        vf = tf.squeeze(self.vf(h5), axis=[1])
        return snew, (pi, vf)

    def __call__(self, S, ob):
        return self.forward(S, ob)

    def step(self, S, ob):
        S = [tf.constant(np.asarray(s), tf.float32) for s in S]
        snew, (pi, vf) = self.compiled_forward(S, tf.constant(np.asarray(ob), tf.float32))
        return [s.numpy() for s in snew], (pi.numpy(), vf.numpy())

    def get_initial_state(self, nenv):
        return [tf.zeros((nenv, self.lstm_output_size)), tf.zeros((nenv, self.lstm_output_size))]

    def sample_actions(self, out):
        logits = out[0]
        noise = np.random.uniform(1e-9, 1.0, size=logits.shape)
        return np.argmax(logits - np.log(-np.log(noise)), axis=-1)

    @property
    def trainable_variables(self):
        return (self.cnn.trainable_variables + self.lstm.trainable_variables
                + self.pi.trainable_variables + self.vf.trainable_variables)
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0   # vf_coef
entropy_weight = 0.01     # ent_coef


def cat_entropy(logits):
    a0 = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    ea0 = tf.exp(a0)
    z0 = tf.reduce_sum(ea0, axis=-1, keepdims=True)
    p0 = ea0 / z0
    return tf.reduce_sum(p0 * (tf.math.log(z0) - a0), axis=-1)


def discount_with_dones(rewards, masks, last, gamma):
    # everything is a list over time of [nenv]
    discounted = []
    r = last
    for reward, mask in zip(rewards[::-1], masks[::-1]):
        r = reward + gamma * r * mask
        discounted.append(r)
    return discounted[::-1]


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    masks = tf.cast(is_not_done, tf.float32)
    nsteps = rewards.shape[1] - 1

    S = [tf.stop_gradient(s) for s in prev_memory_states]
    with tf.GradientTape() as tape:
        pis, vfs = [], []
        for t in range(nsteps + 1):
            S, (pi, vf) = agent(S, obs[:, t])
            pis.append(pi)
            vfs.append(vf)
            S = [s * masks[:, t:t + 1] for s in S]
        logits = tf.stack(pis, axis=1)
        values = tf.stack(vfs, axis=1)

        R = discount_with_dones(
            tf.unstack(rewards[:, :-1], axis=1),
            tf.unstack(masks[:, :-1], axis=1),
            masks[:, -1] * values[:, -1],
            gamma,
        )
        ADV = tf.stop_gradient(tf.stack(R, axis=1) - values[:, :-1])

        neglogpac = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=actions, logits=logits)
        J_hat = tf.reduce_mean(ADV * neglogpac[:, :-1])

        target = tf.stop_gradient(rewards[:, :-1] + gamma * masks[:, :-1] * values[:, 1:])
        vf_loss = tf.reduce_mean(tf.square(target - values[:, :-1]))
        entropy = tf.reduce_mean(cat_entropy(logits))

        loss = -J_hat - entropy * entropy_weight + vf_loss * value_loss_weight

    params = agent.trainable_variables
    grads = tape.gradient(loss, params)
    optimizer.apply_gradients(list(zip(grads, params)))
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
# baselines: alpha=0.99, epsilon=1e-5, lr 7e-4
optimizer = keras.optimizers.RMSprop(learning_rate=7e-4, rho=0.99, epsilon=1e-5)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
