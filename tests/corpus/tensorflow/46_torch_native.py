# style: PyTorch user's first TensorFlow; keras.Model as if it were nn.Module, batch gather like torch.gather, detach() helper, everything after the loop vectorised
# verdict: right
# loses:
# note: agent is a keras.Model subclass (its own trainable_variables); returns still a loop, but losses are one mean over games x time (same as mean over games, then over T)
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# I know torch, so first a small dictionary for myself
#   x.detach()          -> tf.stop_gradient(x)
#   torch.stack(dim=1)  -> tf.stack(axis=1)
#   x.squeeze(-1)       -> tf.squeeze(x, -1)
#   x.gather(-1, a)     -> tf.gather(x, a, batch_dims=...)   (careful!)
#   loss.backward()     -> tape.gradient(loss, params)
#   opt.step()          -> opt.apply_gradients(zip(...))
# and NHWC, not NCHW. OK.
def detach(x):
    return tf.stop_gradient(x)

# %%
# Exercise: agent
class SimpleRecurrentAgent(keras.Model):  # ~ nn.Module
    def __init__(self, obs_shape, n_actions, hidden=256):
        super().__init__()
        self.lstm_output_size = hidden

        def conv(k):
            return keras.layers.Conv2D(32, k, strides=2, activation="elu", kernel_initializer="he_normal")

        self.rescale = keras.layers.Rescaling(10, offset=-3.6)
        self.conv1 = conv(3)
        self.conv2 = conv(3)
        self.conv3 = conv(3)
        self.flatten = keras.layers.Flatten()
        self.fc = keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal")
        self.lstm_cell = keras.layers.LSTMCell(hidden)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)

        # weird: no in_features anywhere, so weights only exist after a first call
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = self.rescale(obs_t)
        for layer in (self.conv1, self.conv2, self.conv3):
            x = layer(x)
        x = self.fc(self.flatten(x))
        # torch: h, c = cell(x, (h, c)).   keras: out, [h, c] = cell(x, [h, c]) and out is h
        out, (h, c) = self.lstm_cell(x, list(prev_state))
        return [h, c], (self.logits_head(out), tf.squeeze(self.state_value_head(out), -1))

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, state_value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), state_value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in "hc"]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    # trainable_variables comes with keras.Model, like .parameters()
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
    mask = tf.cast(is_not_done, tf.float32)
    T = rewards.shape[1] - 1

    hc = [detach(x) for x in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = [], []
        for t in range(T + 1):
            hc, (l, v) = agent(hc, states[:, t])
            logits += [l]
            values += [v]
            hc = [x * mask[:, t, None] for x in hc]  # zero_() where the game ended
        logits = tf.stack(logits, 1)  # (N, T+1, A)
        values = tf.stack(values, 1)  # (N, T+1)

        logp = logits - tf.reduce_logsumexp(logits, -1, keepdims=True)
        logp_a = tf.gather(logp[:, :-1], actions[:, :-1], batch_dims=2)  # (N, T)

        v_const = detach(values)  # numbers from here on
        ret = mask[:, -1] * v_const[:, -1]
        returns = []
        for t in range(T - 1, -1, -1):
            ret = rewards[:, t] + gamma * mask[:, t] * ret
            returns.insert(0, ret)
        returns = tf.stack(returns, 1)

        adv = returns - v_const[:, :-1]
        td_target = rewards[:, :-1] + gamma * mask[:, :-1] * v_const[:, 1:]

        policy_loss = -tf.reduce_mean(logp_a * adv)
        value_loss = tf.reduce_mean((values[:, :-1] - td_target) ** 2)
        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(logp) * logp, -1))

        loss = policy_loss + value_loss_weight * value_loss - entropy_weight * entropy

    params = agent.trainable_variables
    grads = tape.gradient(loss, params)  # no zero_grad() needed, nice
    optimizer.apply_gradients(zip(grads, params))

    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
# torch.optim.Adam(agent.parameters(), lr=1e-3) - here it gets the params later
optimizer = keras.optimizers.Adam(1e-3)
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
