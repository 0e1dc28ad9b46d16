# style: mixins for eyes, memory and heads; an abstract LossTerm with three subclasses and a weighted sum; Spanish comments
# verdict: right
# note: the policy's term is masked on reset ticks (mean still over all acted ticks); entropy over all columns; AdamW
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Mezclas (mixins): cada una sabe hacer una sola cosa.
class EyesMixin:
    def make_eyes(self, filters=(32, 32, 64), hidden=256):
        self.backbone = keras.Sequential([keras.layers.Rescaling(10, offset=-3.6)])
        for f in filters:
            self.backbone.add(
                keras.layers.Conv2D(f, 3, strides=2, activation="elu", kernel_initializer="he_normal")
            )
        self.backbone.add(keras.layers.Flatten())
        self.backbone.add(keras.layers.LayerNormalization())  # por muestra, no por lote
        self.backbone.add(keras.layers.Dense(hidden, activation="relu"))


class MemoryMixin:
    lstm_output_size = 256

    def make_memory(self):
        self.lstm_cell = keras.layers.LSTMCell(self.lstm_output_size)

    def get_initial_state(self, batch_size):
        return [tf.zeros([batch_size, self.lstm_output_size]) for _ in "hc"]

    def remember(self, x, state):
        out, state = self.lstm_cell(x, state)
        return out, list(state)


class ActorCriticMixin:
    def make_heads(self, n_actions):
        self.logits_head = keras.layers.Dense(n_actions, kernel_initializer="orthogonal")
        self.state_value_head = keras.layers.Dense(1, kernel_initializer="orthogonal")

    def decide(self, h):
        return self.logits_head(h), tf.squeeze(self.state_value_head(h), -1)


class PlayMixin:
    """Lo que no se entrena: paso en NumPy, muestreo, lista de pesos."""

    def step(self, prev_state, obs_t):
        obs_t = tf.convert_to_tensor(obs_t, tf.float32)
        prev_state = [tf.convert_to_tensor(part, tf.float32) for part in prev_state]
        new_state, outputs = self.compiled_forward(prev_state, obs_t)
        return [s.numpy() for s in new_state], tuple(o.numpy() for o in outputs)

    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)

    @property
    def trainable_variables(self):
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]
# %%
# Exercise: agent
class SimpleRecurrentAgent(EyesMixin, MemoryMixin, ActorCriticMixin, PlayMixin):
    def __init__(self, obs_shape, n_actions):
        self.make_eyes()
        self.make_memory()
        self.make_heads(n_actions)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))
        self.compiled_forward = tf.function(self.forward)

    def forward(self, prev_state, obs_t):
        h, new_state = self.remember(self.backbone(obs_t), prev_state)
        return new_state, self.decide(h)

    __call__ = forward
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
from abc import ABC, abstractmethod


class LossTerm(ABC):
    """Un sumando de la pérdida. `weight` se lee cada vez, por si cambio los ajustes después."""

    def __init__(self, weight):
        self.weight = weight  # una función sin argumentos

    @abstractmethod
    def value(self, d):
        ...

    def __call__(self, d):
        return self.weight() * self.value(d)


class PolicyTerm(LossTerm):
    def value(self, d):
        G, out = d["bootstrap"], []
        for t in reversed(range(d["T"])):
            G = d["r"][:, t] + d["gamma"] * d["m"][:, t] * G
            # en el tick de reinicio el juego ignora la acción: no se aprende de ella
            A = tf.stop_gradient(G - d["V"][:, t])
            out.append(tf.reduce_mean(d["m"][:, t] * d["log_pi_a"][:, t] * A))
        return tf.add_n(out) / d["T"]


class ValueTerm(LossTerm):
    def value(self, d):
        V, V_next = d["V"][:, :-1], tf.stop_gradient(d["V"][:, 1:])
        delta = d["r"][:, :-1] + d["gamma"] * d["m"][:, :-1] * V_next - V
        return tf.reduce_mean(delta**2)


class EntropyTerm(LossTerm):
    def value(self, d):
        p, lp = tf.nn.softmax(d["logits"]), tf.nn.log_softmax(d["logits"])
        return tf.reduce_mean(tf.reduce_sum(-p * lp, axis=2))


LOSS_TERMS = [
    PolicyTerm(lambda: -1.0),  # se maximiza
    ValueTerm(lambda: value_loss_weight),
    EntropyTerm(lambda: -entropy_weight),  # se maximiza
]
# %%
# Exercise: loss
def replay(states, mask, memory):
    blank = agent.get_initial_state(states.shape[0])
    for t in range(states.shape[1]):
        memory, outputs = agent(memory, states[:, t])
        yield outputs
        alive = mask[:, t, None] > 0
        memory = [tf.where(alive, m, b) for m, b in zip(memory, blank, strict=True)]


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    r = tf.cast(rewards, tf.float32)
    m = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, V = map(lambda seq: tf.stack(seq, axis=1), zip(*replay(states, m, memory)))
        d = {
            "logits": logits,
            "V": V,
            "r": r,
            "m": m,
            "gamma": gamma,
            "T": r.shape[1] - 1,
            "bootstrap": tf.stop_gradient(m[:, -1] * V[:, -1]),
            "log_pi_a": select_log_policy_for_actions(tf.nn.log_softmax(logits), actions),
        }
        loss = tf.add_n([term(d) for term in LOSS_TERMS])

    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy() if tf.executing_eagerly() else loss
# %% keep: loss-check
# %%
# Exercise: optimizer
optimizer = keras.optimizers.AdamW(learning_rate=5e-4, weight_decay=1e-5, clipnorm=0.5)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
