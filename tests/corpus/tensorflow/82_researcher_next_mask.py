# style: an RL researcher; NamedTuple of a trajectory, "done belongs to the next observation" convention of other libraries, vectorised TD, comments with citations
# verdict: wrong
# mistake: the mask is taken one column too late, m_{t+1} instead of m_t, in the TD target and in the returns: values leak across the reset tick, and the last real transition of a game is cut instead
# loses: value_ends, policy_ends
# named: the mask comes one column late
# named: the next game's rewards get into the return
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %%
from typing import NamedTuple


class Trajectory(NamedTuple):
    obs: tf.Tensor      # [B, T+1, H, W, C]
    act: tf.Tensor      # [B, T+1]
    rew: tf.Tensor      # [B, T+1]
    cont: tf.Tensor     # [B, T+1]  1 = continues


class AgentOutput(NamedTuple):
    logits: tf.Tensor
    value: tf.Tensor
# %%
class SimpleRecurrentAgent:
    """Nature-ish torso + LSTM core (Mnih et al., 2016)."""

    def __init__(self, obs_shape, n_actions):
        self._torso = keras.Sequential([
            keras.layers.Rescaling(10, offset=-3.6),
            keras.layers.Conv2D(32, 5, strides=2, activation="elu", kernel_initializer="he_normal"),
            keras.layers.Conv2D(64, 3, strides=2, activation="elu", kernel_initializer="he_normal"),
            keras.layers.Conv2D(64, 3, strides=2, activation="elu", kernel_initializer="he_normal"),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
        ])
        self.lstm_output_size = 256
        self._core = keras.layers.LSTMCell(256, unit_forget_bias=True)
        self._pi = keras.layers.Dense(n_actions, kernel_initializer=keras.initializers.Orthogonal(0.1))
        self._v = keras.layers.Dense(1, kernel_initializer=keras.initializers.Orthogonal(1.0))
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self._act = tf.function(self.forward, reduce_retracing=True)

    def forward(self, prev_state, obs_t):
        core_output, core_state = self._core(self._torso(obs_t), prev_state)
        return core_state, (self._pi(core_output), tf.squeeze(self._v(core_output), -1))

    __call__ = forward

    def step(self, prev_state, obs_t):
        prev_state = [tf.convert_to_tensor(s, tf.float32) for s in prev_state]
        state, out = self._act(prev_state, tf.convert_to_tensor(obs_t, tf.float32))
        return tf.nest.map_structure(lambda x: x.numpy(), (state, out))

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)), tf.zeros((batch_size, self.lstm_output_size))]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return [w for m in (self._torso, self._core, self._pi, self._v) for w in m.trainable_variables]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
def unroll(traj, core_state):
    initial = agent.get_initial_state(traj.obs.shape[0])
    outs = []
    for obs, cont in zip(tf.unstack(traj.obs, axis=1), tf.unstack(traj.cont, axis=1)):
        core_state, out = agent(core_state, obs)
        outs.append(out)
        core_state = [tf.where(cont[:, None] > 0, s, s0) for s, s0 in zip(core_state, initial)]
    logits, values = zip(*outs)
    return AgentOutput(tf.stack(logits, 1), tf.stack(values, 1))


def nstep_return(rew, disc, bootstrap):
    """Sutton & Barto (2018), eq. 12.1; rew, disc: [B, T]."""
    g, out = bootstrap, []
    for r, d in zip(reversed(tf.unstack(rew, axis=1)), reversed(tf.unstack(disc, axis=1))):
        g = r + d * g
        out.append(g)
    return tf.stack(out[::-1], axis=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    traj = Trajectory(tf.cast(states, tf.float32), tf.cast(actions, tf.int32),
                      tf.cast(rewards, tf.float32), tf.cast(is_not_done, tf.float32))
    core_state = [tf.stop_gradient(s) for s in prev_memory_states]

    with tf.GradientTape() as tape:
        out = unroll(traj, core_state)
        v_tm1, v_t = out.value[:, :-1], tf.stop_gradient(out.value[:, 1:])
        r_t = traj.rew[:, :-1]
        # s_{t+1} terminal => no bootstrap from it. discount of the transition t -> t+1:
        disc_t = gamma * traj.cont[:, 1:]

        critic_loss = tf.reduce_mean(tf.math.squared_difference(r_t + disc_t * v_t, v_tm1))

        G = nstep_return(r_t, disc_t, bootstrap=v_t[:, -1])
        adv = tf.stop_gradient(G - v_tm1)

        log_pi = tf.nn.log_softmax(out.logits)
        log_pi_a = select_log_policy_for_actions(log_pi, traj.act)[:, :-1]
        actor_objective = tf.reduce_mean(log_pi_a * adv)

        entropy = tf.reduce_mean(-tf.reduce_sum(tf.nn.softmax(out.logits) * log_pi, -1))

        loss = -actor_objective + value_loss_weight * critic_loss - entropy_weight * entropy

    params = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, params), params)
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.RMSprop(7e-4, rho=0.99, epsilon=1e-5, global_clipnorm=0.5)  # a2c defaults
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: hand-in
