# style: a software engineer; Protocol, mixins, abstract base class, frozen dataclasses, loss terms as small classes with a registry, unit tests in a cell
# verdict: right
# loses:
# note: every term is a class of its own; G is folded backwards in a generator; weights are looked up when the loss is put together
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

logger = logging.getLogger(__name__)
IN_COLAB = "google.colab" in __import__("sys").modules
logger.info("colab: %s", IN_COLAB)


class RecurrentPolicy(Protocol):
    def forward(self, prev_state, obs_t): ...
    def get_initial_state(self, batch_size: int): ...


class ZeroMemoryMixin:
    lstm_output_size: int

    def get_initial_state(self, batch_size):
        return [tf.zeros((batch_size, self.lstm_output_size)) for _ in ("h", "c")]


class GumbelSamplingMixin:
    def sample_actions(self, agent_outputs):
        logits, _ = agent_outputs
        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)


class NumpyStepMixin:
    def step(self, prev_state, obs_t):
        to_tf = lambda array: tf.convert_to_tensor(array, tf.float32)
        (h, c), (logits, value) = self.compiled_forward([to_tf(p) for p in prev_state], to_tf(obs_t))
        return [h.numpy(), c.numpy()], (logits.numpy(), value.numpy())


class AgentBase(ABC, ZeroMemoryMixin, GumbelSamplingMixin, NumpyStepMixin):
    @abstractmethod
    def forward(self, prev_state, obs_t): ...

    def __call__(self, prev_state, obs_t):
        return self.forward(prev_state, obs_t)

    @cached_property
    def compiled_forward(self):
        return tf.function(self.forward)

    @property
    def trainable_variables(self):
        layers = [part for part in vars(self).values() if isinstance(part, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]


class SimpleRecurrentAgent(AgentBase):
    def __init__(self, obs_shape, n_actions, *, units=256, filters=(32, 32, 32)):
        self.lstm_output_size = units
        self.backbone = self._make_backbone(units, filters)
        self.lstm_cell = keras.layers.LSTMCell(units)
        self.logits_head = keras.layers.Dense(n_actions)
        self.state_value_head = keras.layers.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1, *obs_shape)))

    @staticmethod
    def _make_backbone(units, filters):
        he = "he_normal"
        layers = [keras.layers.Rescaling(10, offset=-3.6)]
        layers += [keras.layers.Conv2D(n, 3, strides=2, activation="elu", kernel_initializer=he) for n in filters]
        layers += [keras.layers.Flatten(), keras.layers.Dense(units, activation="relu", kernel_initializer=he)]
        return keras.Sequential(layers)

    def forward(self, prev_state, obs_t):
        output, [h, c] = self.lstm_cell(self.backbone(obs_t), list(prev_state))
        return [h, c], (self.logits_head(output), tf.squeeze(self.state_value_head(output), axis=1))
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
@dataclass(frozen=True)
class Replay:
    """What the loss terms need to know. T+1 columns."""

    logits: tf.Tensor
    values: tf.Tensor
    actions: tf.Tensor
    rewards: tf.Tensor
    mask: tf.Tensor
    gamma: float

    @property
    def length(self) -> int:
        return self.rewards.shape[1] - 1

    @property
    def log_policy(self):
        return tf.nn.log_softmax(self.logits)

    @property
    def fixed_values(self):
        return tf.stop_gradient(self.values)


class Term(ABC):
    @abstractmethod
    def __call__(self, x: Replay) -> tf.Tensor: ...


class TDError(Term):
    def __call__(self, x):
        T = x.length
        future = x.gamma * x.mask[:, :T] * x.fixed_values[:, 1:]
        return tf.reduce_mean(tf.square(x.rewards[:, :T] + future - x.values[:, :T]))


class PolicyObjective(Term):
    @staticmethod
    def returns_backwards(x) -> Iterator[tf.Tensor]:
        G = x.mask[:, x.length] * x.fixed_values[:, x.length]
        for t in range(x.length - 1, -1, -1):
            G = x.rewards[:, t] + x.gamma * x.mask[:, t] * G
            yield G

    def __call__(self, x):
        returns = deque()
        returns.extendleft(self.returns_backwards(x))  # turns them round again
        advantage = tf.stack(list(returns), axis=1) - x.fixed_values[:, : x.length]
        log_pi = select_log_policy_for_actions(x.log_policy, x.actions)[:, : x.length]
        return tf.reduce_mean(log_pi * tf.stop_gradient(advantage))


class Entropy(Term):
    def __call__(self, x):
        log_policy = x.log_policy
        per_tick = -tf.reduce_sum(tf.exp(log_policy) * log_policy, axis=-1)
        return tf.reduce_mean(per_tick)


TERMS: dict[str, Term] = {"J": PolicyObjective(), "td": TDError(), "H": Entropy()}


def run_agent(policy: RecurrentPolicy, states, mask, memory):
    blank = policy.get_initial_state(states.shape[0])
    for t in range(states.shape[1]):
        memory, outputs = policy.forward(memory, states[:, t])
        yield outputs
        goes_on = mask[:, t, None] > 0
        memory = [tf.where(goes_on, part, empty) for part, empty in zip(memory, blank, strict=True)]


def total_loss(replay: Replay):
    terms = {name: term(replay) for name, term in TERMS.items()}
    weights = {"J": -1.0, "td": value_loss_weight, "H": -entropy_weight}
    return tf.add_n([weights[name] * value for name, value in terms.items()])


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.cast(states, tf.float32)
    mask = tf.cast(is_not_done, tf.float32)
    memory = [tf.stop_gradient(part) for part in prev_memory_states]

    with tf.GradientTape() as tape:
        logits, values = zip(*run_agent(agent, states, mask, memory))
        loss = total_loss(
            Replay(
                logits=tf.stack(logits, axis=1),
                values=tf.stack(values, axis=1),
                actions=tf.cast(actions, tf.int32),
                rewards=tf.cast(rewards, tf.float32),
                mask=mask,
                gamma=gamma,
            )
        )

    variables = agent.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss.numpy() if tf.executing_eagerly() else loss
# %%
# unit tests
def _toy(**kw):
    base = dict(
        logits=tf.zeros((1, 3, n_actions)), values=tf.constant([[1.0, 2.0, 4.0]]), actions=tf.zeros((1, 3), tf.int32),
        rewards=tf.constant([[1.0, 1.0, 0.0]]), mask=tf.ones((1, 3)), gamma=0.5,
    )
    return Replay(**{**base, **kw})


def test_returns():
    got = [float(g[0]) for g in PolicyObjective.returns_backwards(_toy())]
    assert got == [3.0, 2.5], got


def test_returns_stop_at_the_end():
    got = [float(g[0]) for g in PolicyObjective.returns_backwards(_toy(mask=tf.constant([[1.0, 0.0, 1.0]])))]
    assert got == [1.0, 1.5], got


def test_entropy_uniform():
    assert np.isclose(float(Entropy()(_toy())), np.log(n_actions), atol=1e-5)


def test_td():
    # 1 + 0.5*2 - 1 = 1;  1 + 0.5*4 - 2 = 1
    assert np.isclose(float(TDError()(_toy())), 1.0)


for test in (test_returns, test_returns_stop_at_the_end, test_entropy_uniform, test_td):
    test()
    print("ok", test.__name__)
# %% keep: loss-check
# %%
SETTINGS = {"optimizer": "Adam", "kwargs": {"learning_rate": 3e-4, "epsilon": 1e-5, "global_clipnorm": 5.0}}
optimizer = getattr(keras.optimizers, SETTINGS["optimizer"])(**SETTINGS["kwargs"])
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
