# style: a C++ programmer; m_ members, camelCase, struct-like dataclass, TensorArray, while loops with an index
# verdict: wrong
# mistake: step divides the observations by 255 although they already lie between 0 and 1, and forward does not: the agent plays with other inputs than it learns from
# mistake: after a reset tick the memory goes back to the one from before the rollout, which belongs to another moment of another game, instead of to a blank one
# loses: agreement, memory_reset
# named: h changes when the agent runs as agent.step
# named: it is carried into the next game
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
from dataclasses import dataclass
from typing import Final

# ---------------------------------------------------------------------------
# Agent.hpp / Agent.cpp
# ---------------------------------------------------------------------------
@dataclass(frozen=True)
class AgentConfig:
    nFilters: int = 32
    kernelSize: int = 3
    nHidden: int = 256


kConfig: Final = AgentConfig()


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions) -> None:
        self.lstm_output_size = kConfig.nHidden
        self.m_layers = []
        self.m_layers.append(keras.layers.Rescaling(10, offset=-3.6))
        i = 0
        while i < 3:
            self.m_layers.append(
                keras.layers.Conv2D(kConfig.nFilters, kConfig.kernelSize, strides=2,
                                    activation="elu", kernel_initializer="he_normal")
            )
            i += 1
        self.m_layers.append(keras.layers.Flatten())
        self.m_layers.append(keras.layers.Dense(kConfig.nHidden, activation="relu", kernel_initializer="he_normal"))
        self.m_cell = keras.layers.LSTMCell(kConfig.nHidden)
        self.m_actor = keras.layers.Dense(n_actions)
        self.m_critic = keras.layers.Dense(1)

        # allocate
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.m_compiled = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        x = obs_t
        for layer in self.m_layers:
            x = layer(x)
        out, newState = self.m_cell(x, [prev_state[0], prev_state[1]])
        logits = self.m_actor(out)
        value = self.m_critic(out)
        return [newState[0], newState[1]], (logits, tf.reshape(value, [-1]))

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    def step(self, prev_state, obs_t):
        # static_cast<float>(pixel) / 255.f
        obsF = tf.convert_to_tensor(np.asarray(obs_t, dtype=np.float32) / 255.0)
        stateF = [tf.convert_to_tensor(prev_state[i], tf.float32) for i in range(2)]
        (h, c), (logits, value) = self.m_compiled(stateF, obsF)
        return [h.numpy(), c.numpy()], (logits.numpy(), value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)), tf.zeros((batch_size, self.lstm_output_size))]

    def sample_actions(self, agent_outputs):
        logits = agent_outputs[0]
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        out = []
        for layer in [*self.m_layers, self.m_cell, self.m_actor, self.m_critic]:
            out.extend(layer.trainable_variables)
        return out
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# ---------------------------------------------------------------------------
# Trainer.cpp
# ---------------------------------------------------------------------------
def resetMemory(memory, initial, maskT):
    """memory[i] = maskT[i] ? memory[i] : initial[i]"""
    cond = tf.expand_dims(maskT > 0.0, 1)
    return [tf.where(cond, memory[0], initial[0]), tf.where(cond, memory[1], initial[1])]


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    is_not_done = tf.cast(is_not_done, tf.float32)

    nColumns: Final = rewards.shape[1]
    T: Final = nColumns - 1

    memory = [tf.stop_gradient(prev_memory_states[0]), tf.stop_gradient(prev_memory_states[1])]
    initialMemory = [memory[0], memory[1]]  # copy

    with tf.GradientTape() as tape:
        logitsArray = tf.TensorArray(tf.float32, size=nColumns)
        valueArray = tf.TensorArray(tf.float32, size=nColumns)

        t = 0
        while t < nColumns:
            memory, (logitsT, valueT) = agent.forward(memory, states[:, t])
            logitsArray = logitsArray.write(t, logitsT)
            valueArray = valueArray.write(t, valueT)
            memory = resetMemory(memory, initialMemory, is_not_done[:, t])
            t += 1

        logits = tf.transpose(logitsArray.stack(), [1, 0, 2])
        values = tf.transpose(valueArray.stack(), [1, 0])
        logPi = tf.nn.log_softmax(logits, axis=2)
        pi = tf.nn.softmax(logits, axis=2)
        logPiA = select_log_policy_for_actions(logPi, actions)

        sumPolicy = 0.0
        sumValue = 0.0
        G = is_not_done[:, T] * tf.stop_gradient(values[:, T])
        t = T - 1
        while t >= 0:
            mT = is_not_done[:, t]
            G = rewards[:, t] + gamma * mT * G
            target = rewards[:, t] + gamma * mT * tf.stop_gradient(values[:, t + 1])
            sumValue += tf.reduce_mean(tf.square(target - values[:, t]))
            sumPolicy += tf.reduce_mean(logPiA[:, t] * tf.stop_gradient(G - values[:, t]))
            t -= 1

        H = tf.reduce_mean(-tf.reduce_sum(pi * logPi, axis=2))
        loss = -sumPolicy / T + value_loss_weight * sumValue / T - entropy_weight * H

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
optimizer = keras.optimizers.Adam(learning_rate=1e-3)
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
