# style: functional: closures, functools.partial, lambdas, dataclass config with a factory and match statement for the optimizer; returns by one matrix product
# verdict: right
# note: critic regressed on the n-step return (accepted), returns computed in closed form by an upper triangular discount matrix; settings are read at each call; Adamax
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
from dataclasses import dataclass
from functools import partial, reduce

%matplotlib inline

Conv = partial(keras.layers.Conv2D, kernel_size=3, strides=2, kernel_initializer="he_normal")
Dense = keras.layers.Dense


@dataclass
class Config:
    conv: tuple = (24, 32, 48)
    hidden: int = 192
    units: int = 192
    act: str = "silu"
    opt: str = "adamax"
    lr: float = 1e-3


CFG = Config()
# %%
# Exercise: agent
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions, cfg=CFG):
        self.lstm_output_size = cfg.units
        self.backbone = keras.Sequential(
            [
                keras.layers.Rescaling(10, offset=-3.6),
                *(Conv(f, activation=cfg.act) for f in cfg.conv),
                keras.layers.Flatten(),
                Dense(cfg.hidden, activation=cfg.act),
            ]
        )
        self.lstm_cell = keras.layers.LSTMCell(cfg.units, unit_forget_bias=True)
        # actor and critic in one layer: the last column is the value
        self.heads = Dense(n_actions + 1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, memory = self.lstm_cell(self.backbone(obs_t), prev_state)
        both = self.heads(h)
        return memory, (both[:, :-1], both[:, -1])

    __call__ = forward

    def step(self, prev_state, obs_t):
        to_tf = partial(tf.convert_to_tensor, dtype=tf.float32)
        outputs = self.compiled_forward([*map(to_tf, prev_state)], to_tf(obs_t))
        return tf.nest.map_structure(lambda x: x.numpy(), outputs)

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in range(2)]

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        return [
            *self.backbone.trainable_variables,
            *self.lstm_cell.trainable_variables,
            *self.heads.trainable_variables,
        ]
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def make_replay(agent, states, mask):
    """Returns a function memory -> (logits, values), that plays the rollout again."""
    blank = agent.get_initial_state(states.shape[0])

    def tick(carry, t):
        memory, outputs = carry
        memory, out = agent(memory, states[:, t])
        wipe = lambda part, zero: tf.where(mask[:, t, None] > 0, part, zero)
        return [*map(wipe, memory, blank)], outputs + [out]

    def replay(memory):
        _, outputs = reduce(tick, range(states.shape[1]), (memory, []))
        logits, values = zip(*outputs)
        return tf.stack(logits, 1), tf.stack(values, 1)

    return replay


def discount_matrix(mask, gamma):
    """D[n, t, k]: what one point at tick k is worth at tick t, 0 beyond the end of the game."""
    T1 = mask.shape[1]
    rows = []
    for t in range(T1):
        past = tf.zeros_like(mask[:, :t])
        factors = tf.concat([tf.ones_like(mask[:, :1]), gamma * mask[:, t:-1]], axis=1)
        rows.append(tf.concat([past, tf.math.cumprod(factors, axis=1)], axis=1))
    return tf.stack(rows, axis=1)


def a2c_loss(logits, V, actions, rewards, mask, gamma, w_value, w_entropy):
    log_pi = tf.nn.log_softmax(logits)
    pi = tf.exp(log_pi)
    # the last column earns nothing; put the bootstrap value there
    bootstrap = (mask * tf.stop_gradient(V))[:, -1:]
    earned = tf.concat([rewards[:, :-1], bootstrap], axis=1)
    G = tf.einsum("ntk,nk->nt", discount_matrix(mask, gamma), earned)[:, :-1]

    V = V[:, :-1]
    A = tf.stop_gradient(G - V)
    J = tf.reduce_mean(select_log_policy_for_actions(log_pi, actions)[:, :-1] * A)
    L = tf.reduce_mean((G - V) ** 2)
    H = -tf.reduce_mean(tf.einsum("nta,nta->nt", pi, log_pi))
    return -J + w_value * L - w_entropy * H


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    f32 = partial(tf.cast, dtype=tf.float32)
    states, rewards, mask = map(f32, (states, rewards, is_not_done))
    actions = tf.cast(actions, tf.int32)
    loss_of = partial(
        a2c_loss,
        actions=actions,
        rewards=rewards,
        mask=mask,
        gamma=gamma,
        w_value=value_loss_weight,
        w_entropy=entropy_weight,
    )
    memory = [tf.stop_gradient(f32(part)) for part in prev_memory_states]
    with tf.GradientTape() as tape:
        loss = loss_of(*make_replay(agent, states, mask)(memory))
    weights = agent.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# quick test of the matrix with the numbers from the text: 3 4 4 0
_m = tf.constant([[1.0, 1, 1, 0, 1]])
_r = tf.constant([[1.0, 2, 4, 0, 0]])
print(tf.einsum("ntk,nk->nt", discount_matrix(_m, 0.5), _r).numpy())
# %%
# Exercise: optimizer
def make_optimizer(cfg):
    match cfg.opt:
        case "adam":
            return keras.optimizers.Adam(cfg.lr)
        case "adamax":
            return keras.optimizers.Adamax(cfg.lr)
        case "sgd":
            return keras.optimizers.SGD(cfg.lr, momentum=0.9, nesterov=True)
        case other:
            raise ValueError(other)


optimizer = make_optimizer(CFG)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
