# style: an ML engineer; keras.Model subclasses as parts, TypedDict config, logging, assertions on shapes, vectorised loss
# verdict: wrong
# mistake: the critic reads the features of the picture before the cell, so it has no memory, while both heads ought to read the cell's output
# mistake: the value's target is not held constant: V(s_{t+1}) gets a gradient, too (residual gradient)
# loses: state_value, semi_gradient
# named: makes no difference to state_value
# named: V(s_{t+1}) is pulled as well
# %% keep: setup
# %% keep: imports
# %%
import logging
import platform
from typing import TypedDict

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
log = logging.getLogger("kungfu")
log.info("python %s, tf %s, gpus %s", platform.python_version(), tf.__version__, tf.config.list_physical_devices("GPU"))


class NetConfig(TypedDict):
    filters: list[int]
    units: int
    activation: str


CONFIG: NetConfig = {"filters": [32, 32, 32], "units": 256, "activation": "elu"}
# %% keep: make-env
# %%
def build_backbone(cfg: NetConfig) -> keras.Sequential:
    net = keras.Sequential(name="backbone")
    net.add(keras.layers.Rescaling(10, offset=-3.6))
    for n_filters in cfg["filters"]:
        net.add(keras.layers.Conv2D(n_filters, 3, strides=2, activation=cfg["activation"], kernel_initializer="he_normal"))
    net.add(keras.layers.Flatten())
    net.add(keras.layers.Dense(cfg["units"], activation="relu", kernel_initializer="he_normal"))
    return net


class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions, cfg: NetConfig = CONFIG):
        self.n_actions = n_actions
        self.lstm_output_size = cfg["units"]
        self.backbone = build_backbone(cfg)
        self.lstm_cell = keras.layers.LSTMCell(cfg["units"])
        self.policy_head = keras.layers.Dense(n_actions, name="policy")
        self.value_head = keras.layers.Dense(1, name="value")
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)
        log.info("agent with %d weights", sum(int(np.prod(v.shape)) for v in self.trainable_variables))

    def forward(self, prev_state, obs_t):
        embedding = self.backbone(obs_t)
        core, new_state = self.lstm_cell(embedding, prev_state)
        logits = self.policy_head(core)
        # V is a function of the state s_t alone
        value = self.value_head(embedding)[:, 0]
        assert logits.shape[-1] == self.n_actions and len(value.shape) == 1
        return new_state, (logits, value)

    __call__ = forward

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        (h, c), (logits, value) = self.compiled_forward(prev_state, obs_t)
        return [h.numpy(), c.numpy()], (logits.numpy(), value.numpy())

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)), tf.zeros((batch_size, self.lstm_output_size))]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        layers = (self.backbone, self.lstm_cell, self.policy_head, self.value_head)
        return sum((layer.trainable_variables for layer in layers), [])
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %%
value_loss_weight = 1.0
entropy_weight = 0.01


def replay(states, is_not_done, memory):
    blank = agent.get_initial_state(states.shape[0])
    logits, values = [], []
    for t in range(states.shape[1]):
        memory, (l, v) = agent(memory, states[:, t])
        logits.append(l)
        values.append(v)
        going = tf.cast(is_not_done[:, t], tf.bool)[:, None]
        memory = [tf.where(going, m, b) for m, b in zip(memory, blank)]
    return tf.stack(logits, axis=1), tf.stack(values, axis=1)


def discounted_returns(rewards, mask, values, gamma):
    g = mask[:, -1] * values[:, -1]
    out = []
    for t in reversed(range(rewards.shape[1] - 1)):
        g = rewards[:, t] + gamma * mask[:, t] * g
        out.insert(0, g)
    return tf.stack(out, axis=1)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    actions = tf.cast(actions, tf.int32)
    rewards = tf.cast(rewards, tf.float32)
    mask = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = replay(states, mask, memory)
        assert values.shape == rewards.shape, (values.shape, rewards.shape)

        log_policy = tf.nn.log_softmax(logits)
        log_prob = tf.gather(log_policy, actions, batch_dims=2)

        td_target = rewards[:, :-1] + gamma * mask[:, :-1] * values[:, 1:]
        value_loss = tf.reduce_mean(tf.square(td_target - values[:, :-1]))

        advantage = tf.stop_gradient(discounted_returns(rewards, mask, values, gamma) - values[:, :-1])
        assert advantage.shape == log_prob[:, :-1].shape
        policy_loss = -tf.reduce_mean(log_prob[:, :-1] * advantage)

        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log_policy) * log_policy, axis=-1))

        loss = policy_loss + value_loss_weight * value_loss - entropy_weight * entropy

    variables = agent.trainable_variables
    grads = tape.gradient(loss, variables)
    for g, v in zip(grads, variables):
        assert g is not None, v.path
    optimizer.apply(grads, variables)
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
OPTIMIZERS = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
optimizer = OPTIMIZERS["adam"](learning_rate=3e-4, global_clipnorm=1.0)
log.info("optimizer: %s", optimizer.get_config())
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
