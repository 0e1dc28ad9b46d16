"""The adapter of TensorFlow and Keras; `pytorch.py` has the same names.

Nothing here judges: what is right is said elsewhere, once for both.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import record

from checks.disguise import disguised, keeping_attributes
from checks.parts import CODE_SIZE, AgentBypassed, Parts

OPTIMIZER, OPTIMIZERS = "optimizer", "keras.optimizers"
OPTIMIZER_NAMES = (OPTIMIZER, "opt")  # what students may call it
POLICY = "policy and log_policy"
OBS_SHAPE = (42, 42, 4)
GRADIENTS_ADD_UP = False  # from one step to the next, unless they are cleared
HOW_TO_STEP = (
    "ask the tape for the gradients, then hand them and agent.trainable_variables to the optimizer"
)
WEIGHTS_OF_AGENT = "agent.trainable_variables"
PRECISION = 'keras.config.set_dtype_policy("float32")'
LSTM_CELL = keras.layers.LSTMCell


# ----------------------------------------------------------------------------------------- tensors


def to_array(value: Any) -> np.ndarray:
    """Returns what a student's code gave as an array."""
    return np.asarray(value)


def to_tensor(array: Any) -> tf.Tensor:
    """Returns a float32 tensor."""
    return tf.convert_to_tensor(array, tf.float32)


def as_pool_gives(array: np.ndarray) -> np.ndarray:
    """Returns a part of a memory as `pool.prev_memory_states` holds it."""
    return array


@contextlib.contextmanager
def leaving_no_trace() -> Iterator[None]:
    """Runs everything eagerly, so that errors name their line; restores the setting."""
    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(eager)


# ------------------------------------------------------------------------------------------- agent


@contextlib.contextmanager
def listening_to_cell(
    agent: Any, replace: Callable[[Sequence[Any]], Sequence[Any]] = list
) -> Iterator[list | None]:
    """Keeps each input and state [h, c] of the LSTM cell's calls; None if it is unclear which cell.

    Args:
        agent: the agent.
        replace: takes the state that the cell returns, and returns what it should return instead.
    """
    layers = [part for part in vars(agent).values() if isinstance(part, keras.layers.Layer)]
    layers += [layer for part in layers for layer in getattr(part, "layers", ())]
    layers += [layer.cell for layer in layers if hasattr(layer, "cell")]  # of an RNN, or an LSTM
    cells = {id(layer): layer for layer in layers if isinstance(layer, keras.layers.LSTMCell)}
    if len(cells) != 1:  # an architecture of the student's own
        yield None
        return
    (cell,) = cells.values()
    call, calls = cell.call, []

    def listen(*args: Any, **kwargs: Any) -> tuple:
        h, c = replace(call(*args, **kwargs)[1])
        calls.append((next(iter([*args, *kwargs.values()])), [h, c]))
        return h, [h, c]

    cell.call = listen
    try:
        yield calls
    finally:
        del cell.call


@contextlib.contextmanager
def calling_layers_by(function: Callable) -> Iterator[None]:
    """Calls `function(layer, call, *args, **settings)` whenever `layer` is called.

    Args:
        function: what to call; `call` is what the layer itself does.
    """
    call = keras.layers.Layer.__call__

    @functools.wraps(call)
    def call_layer(layer: Any, *args: Any, **settings: Any) -> Any:
        return function(layer, functools.partial(call, layer), *args, **settings)

    with mock.patch.object(keras.layers.Layer, "__call__", call_layer):
        yield


def play(agent: Any, observations: np.ndarray) -> tuple:
    """Returns a blank memory, and the logits and values of one tick."""
    memory = agent.get_initial_state(len(observations))
    _, (logits, value) = agent.forward(memory, to_tensor(observations))
    return memory, logits, value


def make_ready(agent: Any, obs_shape: Sequence[int]) -> None:
    """Makes an agent behave as in play; its layers get their weights."""
    agent.forward(agent.get_initial_state(1), tf.zeros((1, *obs_shape)))


def weights_of(agent: Any) -> list[keras.Variable]:
    """Returns the weights that are handed in, in the order of their file."""
    return list(agent.trainable_variables)


def assign(weight: keras.Variable, array: np.ndarray) -> None:
    """Sets one of these weights."""
    weight.assign(array)


def frozen(layer: Any) -> Callable:
    """Returns what calls a layer with the weights that it has now, as in play; see `Parts`.

    Gradients would still pass to the weights that it has when it is called.
    """
    # Constants, so that no tape watches them.
    now = [(v, vars(v) | {"_value": tf.constant(v)}) for v in layer._trainable_variables]

    def run(call: Callable, *args: Any, **settings: Any) -> Any:
        if "training" in settings:
            settings["training"] = False
        path = sum(0 * tf.reduce_sum(variable) for variable, _ in now)
        with contextlib.ExitStack() as stack:
            for variable, attributes in now:
                stack.enter_context(keeping_attributes(variable)).update(attributes)
            returned = call(*args, **settings)
        return returned + path if isinstance(returned, tf.Tensor) else returned

    return run


def fill_zeros(agent: Any, generator: np.random.Generator) -> None:
    """Gives variables whose entries are all zero small random ones."""
    for variable in agent.trainable_variables:
        if not np.any(variable):
            variable.assign(generator.uniform(-0.1, 0.1, variable.shape))


@contextlib.contextmanager
def trained_a_little(agent: Any, generator: np.random.Generator) -> Iterator[None]:
    """Gives all variables other values, as a step would, then puts the old ones back."""
    variables = trainable_variables(agent)
    before = [to_array(variable) for variable in variables]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value * generator.uniform(0.8, 1.2, value.shape))
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def trainable_variables(agent: Any) -> list:
    return list(agent.trainable_variables)


def named_variables(agent: Any) -> list[tuple[str, Any]]:
    """Returns the trainable variables of an agent with their names."""
    return [(_name_of(variable), variable) for variable in agent.trainable_variables]


def can_stand_in_for(agent: Any) -> bool:
    """Says whether a stand-in can take the place of an agent; see `StandInAgent.in_place_of`."""
    if isinstance(agent, StandInAgent) or not hasattr(agent, "__dict__"):
        return False
    variables = trainable_variables(agent)
    kinds = keras.Variable, tf.Variable
    return bool(variables) and all(isinstance(variable, kinds) for variable in variables)


def gradient_sizes(agent: Any, run: Callable[[], Sequence[Any]]) -> list[tuple[str, float | None]]:
    """Returns each variable's name and largest gradient of the outputs' squares, None for none."""
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(output**2) for output in run()])
    variables = agent.trainable_variables
    gradients = tape.gradient(total, variables)
    return [
        (name, None if g is None else float(tf.reduce_max(tf.abs(g))))
        for (name, _), g in zip(named_variables(agent), gradients, strict=True)
    ]


def unlisted_weights(agent: Any, run: Callable[[], Sequence[Any]]) -> list[str]:
    """Returns the names of weights that the outputs are made of, but that the agent lacks."""
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(output**2) for output in run()])
    layers = [part for part in vars(agent).values() if isinstance(part, keras.layers.Layer)]
    frozen = [variable for layer in layers for variable in layer.non_trainable_variables]
    known = {id(_own(variable)) for variable in [*agent.trainable_variables, *frozen]}
    others = [variable for variable in tape.watched_variables() if id(variable) not in known]
    gradients = tape.gradient(total, others)
    return [_name_of(v) for v, g in zip(others, gradients, strict=True) if g is not None]


def _own(variable: Any) -> tf.Variable:
    """Returns TensorFlow's own variable, which Keras's holds."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def _name_of(variable: Any) -> str:
    """Returns the name of a variable, Keras's or TensorFlow's own."""
    return getattr(variable, "path", variable.name).removesuffix(":0")


def compiled(function: Callable) -> Callable:
    """Returns the function as it runs when compiled."""

    def run(*arguments: Any) -> Any:
        tf.config.run_functions_eagerly(False)
        try:
            return tf.function(function)(*arguments)
        finally:
            tf.config.run_functions_eagerly(True)

    return run


KINDS = "trainable_variables", "trainable_weights", "variables", "weights"  # all the same here
WEIGHTS = ["kernel", "bias"]
PARTS = {
    "backbone": [f"{layer}_{w}" for layer in ("conv2d", "dense") for w in WEIGHTS],
    "lstm_cell": ["kernel", "recurrent_kernel", "bias"],
    "logits_head": WEIGHTS,
    "state_value_head": WEIGHTS,
}


class StandInAgent:
    """Fixed logits and values, each of which can be moved; finds its place from the pixels.

    It has variables under the names of the assignment's agent, unless it stands in the place of
    another. Each holds a shift of all values, all logits and all memories, in this order; see
    `checks.measuring.StepObserver`.

    Its memory counts ticks. The count is worth nothing to the logits, but a gradient passes. The
    columns of the memory are the count, which the next tick reads; a zero by which the gradient
    passes; and the game and the tick, by which the heads find their logits and values. So it does
    not matter by which layers a loss gets from the memory to them, or when.

    Attributes `shifts` and `reached`: its variables, and those of them to which gradients pass.

    Args:
        values: `[n_games, n_ticks]`, or `[n_games, n_ticks, 1]` for values of shape (n, 1).
        logits: `[n_games, n_ticks, n_actions]`.
        called: what is called with the tick and the memories `[n_games]` each time.
        step: what `step` is.
    """

    def __init__(self, values: np.ndarray, logits: np.ndarray, called: Callable, step: Callable):
        self.called, self.step = called, step
        self.fixed = to_tensor(values[..., 0] if values.ndim == 3 else values), to_tensor(logits)
        self.value_axes = values.shape[2:]
        self.sizes = values.size, logits.size, logits.shape[1]
        zeros = np.zeros(sum(self.sizes), np.float32)
        self.trainable_variables = []
        for part, names in PARTS.items():
            with keras.name_scope(part):  # so that its path is lstm_cell/kernel
                variables = [
                    keras.Variable(zeros if name.endswith("bias") else zeros[None], name=name)
                    for name in names
                ]
            setattr(self, part, SimpleNamespace(**dict.fromkeys(KINDS, variables)))
            self.trainable_variables += variables
        self.shifts = self.reached = self.trainable_variables
        self.make_memory, self.n_parts, self.width = list, 2, CODE_SIZE

    @contextlib.contextmanager
    def in_place_of(self, agent: Any, memory: Any, parts: Parts | None) -> Iterator[None]:
        """Takes the place of an agent, whoever holds it, by means of that agent's own variables.

        Other layers of it raise `AgentBypassed` when they are called.

        Args:
            agent: the agent. Its other methods and attributes remain.
            memory: one of its memories; the stand-in's have as many parts.
            parts: its layers, if the stand-in is to take the place of these.
        """
        self.shifts = self.reached = [*{id(v): v for v in trainable_variables(agent)}.values()]
        if isinstance(memory, list | tuple):
            self.make_memory, self.n_parts = getattr(memory, "_make", type(memory)), len(memory)
        methods = {
            "step": lambda _, *args: self.step(*args),
            "get_initial_state": lambda _, batch_size: self.get_initial_state(batch_size),
        }

        def forward(_: Any, *args: Any, **settings: Any) -> tuple:
            return self.forward(*[*args, *settings.values()][:2])

        layers = {}
        if parts is None:
            methods |= dict.fromkeys(("forward", "call", "__call__"), forward)
        else:
            self.width, self.value_axes = parts.width, parts.value_axes
            layers = self._layers(parts)
        own = {id(variable) for variable in self.shifts}

        def call_layer(layer: Any, call: Callable, *args: Any, **settings: Any) -> Any:
            if id(layer) in layers:
                return layers[id(layer)](call, *args, **settings)
            if any(id(variable) in own for variable in layer._trainable_variables):
                raise AgentBypassed
            return call(*args, **settings)

        with (
            calling_layers_by(call_layer),
            _lent(self.shifts, sum(self.sizes)),
            disguised(agent, **methods),
        ):
            yield

    def _layers(self, parts: Parts) -> dict[int, Callable]:
        """Returns, by their ids, what `calling_layers_by` calls instead of an agent's layers."""
        before = {id(v) for layer in parts.backbone for v in layer._trainable_variables}

        def cell(_: Any, inputs: Any, states: Sequence[Any], training: bool = False) -> tuple:
            is_recorded = record.should_record_backprop
            if is_recorded([self._shift()]) and not is_recorded([inputs]):
                # The backbone does not learn.
                self.reached = [each for each in self.shifts if id(each) not in before]
            h, c = self._remember(states, parts.find(to_array(inputs)))
            return h, [h, c]

        def both(h: tf.Tensor) -> tf.Tensor:
            outputs = self._logits(h), tf.reshape(self._find(h, 0), (*h.shape[:-1], 1))
            return tf.concat(outputs[::-1] if parts.is_value_first else outputs, axis=-1)

        def head(function: Callable) -> Callable:
            return lambda _, *args, **settings: function(*[*args, *settings.values()][:1])

        return {id(layer): frozen(layer) for layer in parts.backbone} | {
            id(parts.cell): cell,
            id(parts.logits): head(self._logits),
            id(parts.value): head(self._value if parts.value is not parts.logits else both),
        }

    def get_initial_state(self, batch_size: int) -> Any:
        return self.make_memory(tf.zeros((batch_size, self.width)) for _ in range(self.n_parts))

    def forward(self, prev_state: Any, obs_t: Any) -> tuple:
        if len(prev_state) != self.n_parts:
            raise ValueError(f"a memory has {self.n_parts} parts, this one has {len(prev_state)}")
        place = tf.cast(tf.round(64 * tf.convert_to_tensor(obs_t)[:, 0, 0, :2]), tf.int32)
        h, *others = self._remember(prev_state, place)
        return self.make_memory([h, *others]), (self._logits(h), self._value(h))

    __call__ = forward

    def _remember(self, prev_state: Sequence[Any], place: Any) -> list[tf.Tensor]:
        """Returns the parts of the memory `[n, width]` after a game and a tick, `[n, 2]`."""
        counts = [to_tensor(part)[:, :1] for part in prev_state]
        tick = place[:, 1]
        self.called(int(tick[0]), counts[0].numpy()[:, 0])
        _, _, memory_shift = tf.split(self._shift(), self.sizes)
        handed_on = tf.gather(memory_shift, tick)[:, None]
        place = tf.cast(place, tf.float32) / 64
        zeros = tf.zeros((len(place), self.width - CODE_SIZE))
        return [
            tf.concat([c + 1 + handed_on, c - tf.stop_gradient(c), place, zeros], axis=1)
            for c in counts
        ]

    def _logits(self, h: tf.Tensor) -> tf.Tensor:
        """Returns the logits of the games and ticks that memories `[…, width]` are of."""
        path_through_time = h[..., 1:2] * tf.one_hot(0, self.fixed[1].shape[-1])
        return self._find(h, 1) + path_through_time

    def _value(self, h: tf.Tensor) -> tf.Tensor:
        """Returns their values."""
        value = self._find(h, 0)
        return tf.reshape(value, (*value.shape, *self.value_axes))

    def _find(self, h: tf.Tensor, which: int) -> tf.Tensor:
        fixed = self.fixed[which]
        shifted = fixed + tf.reshape(tf.split(self._shift(), self.sizes)[which], fixed.shape)
        # Other memories than the cell's have other numbers.
        last = np.subtract(fixed.shape[:2], 1)
        place = tf.clip_by_value(tf.round(64 * h[..., 2:CODE_SIZE]), 0, last)
        return tf.gather_nd(shifted, tf.cast(place, tf.int32))

    def _shift(self) -> tf.Tensor:
        by_rank: dict[int, list] = {}
        for variable in self.reached:
            by_rank.setdefault(len(variable.shape), []).append(tf.convert_to_tensor(variable))
        total = tf.add_n([tf.reshape(tf.add_n(same), [-1]) for same in by_rank.values()])
        return total / len(self.shifts) ** 0.5

    def positions(self) -> np.ndarray:
        """Returns how far each variable has moved, `[n_variables, size]`."""
        return np.stack([variable.numpy().ravel() for variable in self.shifts])

    def move_back(self) -> None:
        for variable in self.shifts:
            variable.assign(tf.zeros_like(variable))


@contextlib.contextmanager
def _lent(variables: Sequence[Any], size: int) -> Iterator[None]:
    """Makes variables hold zeros, `[1, …, size]`; in the end they are what they were."""
    with contextlib.ExitStack() as stack:
        for variable in variables:
            attributes = stack.enter_context(keeping_attributes(variable))
            shape = (1,) * (len(variable.shape) - 1) + (size,)
            zeros = tf.Variable(tf.zeros(shape))
            if isinstance(variable, keras.Variable):
                attributes.update(
                    _value=zeros, _shape=shape, _ndim=len(shape), _dtype="float32", _constraint=None
                )
            else:
                attributes.update(vars(zeros) | {"_name": attributes.get("_name")})
        yield


@contextlib.contextmanager
def observing(agent: StandInAgent, optimizer: Any, observer: Any) -> Iterator[None]:
    """Tells an observer of gradients, of the optimizer's steps, and of other optimizers."""
    places = {id(variable): i for i, variable in enumerate(agent.shifts)}
    places |= {id(variable.value): i for i, variable in enumerate(agent.shifts)}

    def observed(method: Callable) -> Callable:
        @functools.wraps(method)
        def run(tape: Any, target: Any, sources: Any, *args: Any, **settings: Any) -> Any:
            result = method(tape, target, sources, *args, **settings)
            pairs = zip(tf.nest.flatten(sources), tf.nest.flatten(result), strict=True)
            gradients = {
                places[id(source)]: to_array(gradient).ravel()
                for source, gradient in pairs
                if id(source) in places and hasattr(gradient, "numpy")  # no part of a graph
            }
            # Asked for the same once more, it is the same and not more.
            observer.computed(target, gradients, adds_up=False)
            return result

        return run

    apply, make = optimizer.apply, keras.optimizers.Optimizer.__init__

    @functools.wraps(apply)
    def observed_apply(*args: Any, **settings: Any) -> None:
        observer.before_update()
        apply(*args, **settings)
        observer.after_update()

    @functools.wraps(make)
    def observed_make(*args: Any, **settings: Any) -> None:
        observer.optimizer_made()
        make(*args, **settings)

    tape = tf.GradientTape
    with (
        mock.patch.object(tape, "gradient", observed(tape.gradient)),
        mock.patch.object(tape, "jacobian", observed(tape.jacobian)),
        mock.patch.object(keras.optimizers.Optimizer, "__init__", observed_make),
    ):
        optimizer.apply = observed_apply
        try:
            yield
        finally:
            del optimizer.apply


# --------------------------------------------------------------------------------------- optimizer


def gradient_descent(agent: StandInAgent, learning_rate: float) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.SGD(learning_rate=learning_rate)
    optimizer.build(agent.shifts)
    return optimizer


@contextlib.contextmanager
def optimizing_by(
    descent: keras.optimizers.Optimizer, optimizer: keras.optimizers.Optimizer
) -> Iterator[None]:
    """Lets an optimizer's steps be those of another, whoever holds it; its own methods remain."""
    numbers = [(v, v.numpy()) for v in optimizer.variables if v.ndim == 0]  # such as its rate
    methods = {
        "apply": lambda _, *args, **settings: descent.apply(*args, **settings),
        "build": lambda _, variables: None,
        "scale_loss": lambda _, loss: loss,
    }
    with disguised(optimizer, **methods):
        try:
            yield
        finally:
            for variable, number in numbers:
                variable.assign(number)


def is_optimizer(value: Any) -> bool:
    return isinstance(value, keras.optimizers.Optimizer)


def is_optimizer_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer)


def copy_optimizer(optimizer: Any) -> Any:
    """Returns a new one with the same settings, or None if it does not tell them."""
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception:  # a schedule of the student's own, say, does not tell its settings
        return None


def downhill(
    optimizer: Any, start: np.ndarray, goal: np.ndarray
) -> tuple[Callable[[], None], Callable[[], list[np.ndarray]]]:
    """Returns what takes a step down the sum of squared distances, and what returns these, flat.

    Args:
        optimizer: one that belongs to no variables yet gets two small ones.
        start: numbers to which its variables are set, over and over again if there are more.
        goal: the numbers to which they should go, in the same way.
    """
    variables = optimized_variables(optimizer)
    if variables is None:
        shapes = {"kernel": (2, 2), "bias": (3,)}
        variables = [keras.Variable(np.zeros(s, np.float32), name=n) for n, s in shapes.items()]
    goals = [np.resize(goal, variable.shape) for variable in variables]
    for variable in variables:
        variable.assign(np.resize(start, variable.shape))

    def distances() -> list[np.ndarray]:
        return [v.numpy() - goal for v, goal in zip(variables, goals, strict=True)]

    def take_step() -> None:
        gradients = [tf.constant(2 * distance) for distance in distances()]
        optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))

    return take_step, lambda: [distance.ravel() for distance in distances()]


def optimized_variables(optimizer: Any) -> list | None:
    """Returns the variables that an optimizer belongs to, None if it belongs to none yet."""
    return getattr(optimizer, "_trainable_variables", []) if optimizer.built else None


# ------------------------------------------------------------------------------------- unfinished


def neutral_rows(agent: Any, obs_t: Any, part: str, *shape: int) -> tf.Tensor:
    """Returns `[n_games, *shape]`, which stands in for what a part of an agent should give.

    Only a gradient to the part's weights comes from it, so that those of the other parts show.
    """
    weights = getattr(getattr(agent, part, None), "trainable_variables", [])
    total = sum((tf.reduce_mean(weight.value) for weight in weights), tf.constant(0.1))
    return tf.fill((len(obs_t), *shape), 1.0) * total


def compute_gradients(loss: Any, tape: tf.GradientTape) -> None:
    """Computes gradients where a step is missing, unless that has been done."""
    with contextlib.suppress(RuntimeError):  # a tape is used up
        tape.gradient(loss, tape.watched_variables())


# See `checks.unfinished.Unfinished`; `_neutral` is this module.
NEUTRAL = {
    "agent": {
        "new_state": "[*prev_state]",
        "logits": "_neutral.neutral_rows(self, obs_t, 'logits_head', n_actions)",
        "state_value": "_neutral.neutral_rows(self, obs_t, 'state_value_head')",
        "": "pass",
    },
    "loss": {
        "memory, (logits_t, values_t)": "memory, agent.forward(blank_memory, obs_t)[1]",
        "policy": "tf.ones_like(logits) / n_actions",
        "log_policy": "logits",
        "log_policy_for_actions": "tf.gather(logits, actions, batch_dims=2)",
        "logpi_a_s_t": "tf.gather(logits[:, t], actions[:, t], batch_dims=1)",
        "value_loss": "0.0",
        "advantage": "cumulative_returns",
        "J_hat": "tf.reduce_mean(tf.gather(logits[:, t], actions[:, t], batch_dims=1) * advantage)",
        "entropy_reg": "0.0",
        "return": "_neutral.to_array(loss), None",
        "": "_neutral.compute_gradients(loss, tape)",
    },
    "optimizer": {},
}

# The parts that a gap is about, by the same names.
GAPS = {
    "agent": {name: (name,) for name in ("new_state", "logits", "state_value")},
    "loss": {
        "memory, (logits_t, values_t)": ("memory_passed", "memory_gradient"),
        "policy": ("entropy_value", "entropy_gradient"),
        "log_policy": ("policy_gradient", "entropy_value", "entropy_gradient"),
        **dict.fromkeys(("log_policy_for_actions", "logpi_a_s_t"), ("policy_gradient",)),
        "value_loss": ("value_loss", "semi_gradient", "value_ends"),
        "advantage": ("advantage",),
        "J_hat": ("policy_gradient",),
        "entropy_reg": ("entropy_value", "entropy_gradient"),
        "return": ("returned",),
        "": ("step",),
    },
}
