"""Measures a student's answers in the worker that runs them.

Judges nothing and holds no answers: what runs here is in reach of the student's code, so it hands
back arrays, and what they should be is decided elsewhere.

What only one framework does stands in its adapter in `checks/`, and in `measure_tensorflow.py` and
`measure_pytorch.py`, which describe agents and build them again. `make_measuring` joins them.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np
from cells import run_cells
from measurement import Measurement

from checks.measuring import LossCase, draw_memory, gradient_sizes, run_forward
from checks.measuring import measure_loss as measure_one_loss
from checks.notebook import describe_error

N_ACTIONS = 14
# Names of what describes an agent's layers; they are among the inputs when it is rebuilt.
DESCRIPTION = "description/"
MAX_WEIGHT_BYTES = 8 << 20
MAX_SETTING = 2048  # of units, filters and the like, in absolute value
WORDS = ("valid", "same", "zeros", "linear", "relu", "elu", "selu", "gelu", "silu", "tanh")
WORDS += ("sigmoid", "softmax")  # words that a setting may be


class Layers(Protocol):
    """A framework's agents, and those layers that a few plain settings describe.

    Attributes:
        STANDARD: for the name of each such class its settings, by name.
        PARTS: the names of the parts that the solution's agent is made of.
    """

    STANDARD: dict[str, tuple[str, ...]]
    PARTS: tuple[str, ...]

    def parts_of(self, agent: Any) -> Iterable[Any]:
        """Yields all parts of an agent that have weights."""

    def layers_of(self, part: Any) -> Iterable[Any]:
        """Yields the layers of a part, in the order in which it applies them."""

    def class_of(self, kind: str) -> type:
        """Returns the class of a standard layer."""

    def setting(self, layer: Any, name: str) -> Any:
        """Returns one setting, as a value that JSON can hold."""

    def weights_of(self, part: Any) -> list[np.ndarray]:
        """Returns a part's weights."""

    def rebuild(
        self, agent: Any, parts: dict[str, list[Any]], weights: dict[str, list[np.ndarray]]
    ) -> None:
        """Replaces an agent's parts, each a list of layers, and sets their weights."""

    def agent_to_optimize(self) -> Any:
        """Returns an agent that is complete enough to make an optimizer for."""


def make_measuring(framework: ModuleType, layers: Layers) -> Callable[..., bytes]:
    """Returns `measure(data, exercise, sources)` of a framework, given by its adapter."""
    measures = {
        "agent": functools.partial(measure_agent, framework, layers),
        "loss": functools.partial(measure_loss, framework),
        "optimizer": functools.partial(measure_optimizer, framework),
    }
    return functools.partial(measure, framework, layers, measures)


def measure(
    framework: ModuleType,
    layers: Layers,
    measures: dict[str, Callable[..., Measurement]],
    data: bytes,
    exercise: str,
    sources: list[str],
) -> bytes:
    """Runs the cells that make an exercise's names, then measures them.

    Args:
        framework: its adapter.
        layers: the framework's.
        measures: what measures, by the exercise.
        data: the inputs, a `Measurement`.
        exercise: `agent`, `loss` or `optimizer`.
        sources: cells to run in a namespace of their own, the answer last. Cells before the last
            may fail: what they were to define is missing then, and nothing else.

    Returns:
        A `Measurement`.
    """
    shape = framework.OBS_SHAPE
    env = SimpleNamespace(  # the part of the notebook's `env` that answers use
        action_space=SimpleNamespace(n=N_ACTIONS), observation_space=SimpleNamespace(shape=shape)
    )
    try:
        namespace = run_cells(
            exercise,
            sources,
            n_actions=N_ACTIONS,
            obs_shape=shape,
            gamma=0.99,
            env=env,
            agent=layers.agent_to_optimize(),
        )
        results = measures[exercise](namespace, Measurement.from_bytes(data))
    except BaseException as error:  # the student's code may raise anything
        results = Measurement(errors={"": describe_error(error)})
    return results.to_bytes()


# ------------------------------------------------------------------------------------------ agent


def measure_agent(
    framework: ModuleType, layers: Layers, namespace: dict[str, Any], inputs: Measurement
) -> Measurement:
    """Measures a fresh agent of the student's class.

    If the inputs hold another agent's description, this one is rebuilt from it.
    """
    agent = namespace["SimpleRecurrentAgent"](framework.OBS_SHAPE, N_ACTIONS)
    if any(name.startswith(DESCRIPTION) for name in inputs):
        _rebuild(layers, agent, inputs)
        return _measure_this_agent(framework, agent, inputs)
    results = _measure_this_agent(framework, agent, inputs)
    return results | _try("describe", _describe, layers, agent)


def _rebuild(layers: Layers, agent: Any, inputs: Measurement) -> None:
    """Rebuilds an agent from the description that `_describe` made of another."""
    parts = json.loads(inputs[f"{DESCRIPTION}parts"].tobytes())
    built, weights = {}, {}
    for part in layers.PARTS:
        built[part] = [_build_layer(layers, kind, settings) for kind, settings in parts[part]]
        names = sorted(name for name in inputs if name.startswith(f"{DESCRIPTION}{part}/"))
        weights[part] = [inputs[name] for name in names]
    layers.rebuild(agent, built, weights)


def _build_layer(layers: Layers, kind: str, settings: dict[str, Any]) -> Any:
    """Makes a layer from a description by a student's worker, which may be anything."""
    for key in layers.STANDARD[kind]:
        value = settings[key]
        numbers = value if isinstance(value, list) else [value]
        is_small = all(isinstance(n, int | float) and abs(n) <= MAX_SETTING for n in numbers)
        # Keras would make an object from any dictionary.
        if not (value is None or is_small or value in WORDS):
            raise ValueError(f"{kind} with {key} = {value!r}")
    return layers.class_of(kind)(**{key: settings[key] for key in layers.STANDARD[kind]})


def _measure_this_agent(framework: ModuleType, agent: Any, inputs: Measurement) -> Measurement:
    """Measures the outputs of forward in several situations; a failure leaves an error."""
    observations, others = inputs["observations"], inputs["other_observations"]
    generator = np.random.default_rng(int(inputs["seed"]))
    blank = agent.get_initial_state(len(observations))
    memory = draw_memory(blank, generator)
    compiled = framework.compiled(agent.forward)
    situations = {
        "base": (agent.forward, memory, observations),
        "blank": (agent.forward, blank, observations),
        "other": (agent.forward, memory, others),
        "backwards": (agent.forward, type(memory)(m[::-1] for m in memory), observations[::-1]),
        "single": (agent.forward, type(memory)(m[:1] for m in memory), observations[:1]),
        "compiled": (compiled, memory, observations),
        "step": (agent.step, memory, observations),
    }
    results = Measurement({"memory/h": memory[0], "memory/c": memory[1]})
    for name, (forward, *arguments) in situations.items():
        results |= _try(name, _outputs, framework, name, forward, *arguments)
    results |= _try("cell", _cell_state, framework, agent, memory, observations)
    return results | _try("gradients", _gradients, framework, agent, memory, observations)


def _try(name: str, measure: Any, *arguments: Any) -> Measurement:
    try:
        return measure(*arguments)
    except Exception as error:
        return Measurement(errors={name: describe_error(error)})


def _outputs(
    framework: ModuleType, name: str, forward: Any, memory: Any, observations: np.ndarray
) -> Measurement:
    outputs = run_forward(framework, forward, memory, observations)
    h, c = outputs.new_state
    parts = {"h": h, "c": c, "logits": outputs.logits, "value": outputs.value}
    return Measurement({f"{name}/{part}": array for part, array in parts.items()})


def _cell_state(
    framework: ModuleType, agent: Any, memory: Any, observations: np.ndarray
) -> Measurement:
    """Returns the state that the LSTM cell itself returned, if the agent calls one."""
    with framework.listening_to_cell(agent) as heard:
        if heard is None:
            return Measurement()
        replayed = _outputs(framework, "replayed", agent.forward, memory, observations)
    if not heard:
        return Measurement()
    h, c = map(framework.to_array, heard[-1])
    return replayed | {"cell/h": h, "cell/c": c}


def _gradients(
    framework: ModuleType, agent: Any, memory: Any, observations: np.ndarray
) -> Measurement:
    """Returns the largest gradient of each variable, -1 for none."""
    sizes = gradient_sizes(framework, agent, memory, observations)
    numbers = [-1.0 if size is None else size for _, size in sizes]
    return Measurement({"gradients": np.asarray(numbers, np.float32)})


def _describe(layers: Layers, agent: Any) -> Measurement:
    """Returns settings and weights of the agent's parts, or nothing if it has others, too."""
    parts = {part: getattr(agent, part, None) for part in layers.PARTS}
    if {id(part) for part in layers.parts_of(agent)} != {id(part) for part in parts.values()}:
        return Measurement()
    settings, weights = {}, {}
    for name, part in parts.items():
        flat = [(type(layer).__name__, layer) for layer in layers.layers_of(part)]
        if not all(
            kind in layers.STANDARD and type(layer) is layers.class_of(kind) for kind, layer in flat
        ):
            return Measurement()
        settings[name] = [
            (kind, {key: layers.setting(layer, key) for key in layers.STANDARD[kind]})
            for kind, layer in flat
        ]
        weights |= {f"{DESCRIPTION}{name}/{i:02}": w for i, w in enumerate(layers.weights_of(part))}
    if sum(array.nbytes for array in weights.values()) > MAX_WEIGHT_BYTES:
        return Measurement()
    parts = np.frombuffer(json.dumps(settings).encode(), np.uint8)
    return Measurement(weights | {f"{DESCRIPTION}parts": parts})


# ------------------------------------------------------------------------------------------- loss


def measure_loss(
    framework: ModuleType, namespace: dict[str, Any], inputs: Measurement
) -> Measurement:
    """Measures `train_on_rollout` on every case in the inputs, `CASE/FIELD`.

    A case that cannot be measured leaves an error.
    """
    results = Measurement()
    fields = [field.name for field in dataclasses.fields(LossCase)]
    for name in sorted({key.partition("/")[0] for key in inputs if "/" in key}):
        values = {field: inputs[f"{name}/{field}"] for field in fields}
        case = LossCase(**{key: float(v) if np.ndim(v) == 0 else v for key, v in values.items()})
        results |= _try(name, _measure_case, framework, name, namespace, case)
    return results


def _measure_case(
    framework: ModuleType, name: str, namespace: dict[str, Any], case: LossCase
) -> Measurement:
    n_calls = 2 if framework.GRADIENTS_ADD_UP else 1
    measured, *again = measure_one_loss(framework, namespace, case, n_calls)
    results = Measurement(
        {
            f"{name}/value_moves": measured.value_moves,
            f"{name}/logit_moves": measured.logit_moves,
            f"{name}/memory_moves": measured.memory_moves,
            f"{name}/n_updates": np.asarray(measured.n_updates),
        }
    )
    for second in again:
        results[f"{name}/value_moves_again"] = second.value_moves
        results[f"{name}/logit_moves_again"] = second.logit_moves
    if measured.loss.dtype.kind == "f":
        results[f"{name}/loss"] = measured.loss
    if all(measured.memories):
        for which, pick in (("least", np.min), ("greatest", np.max)):
            ticks = [pick(calls, axis=0) for calls in measured.memories]
            results[f"{name}/{which}_memory"] = np.stack(ticks, axis=1)
    return results


# -------------------------------------------------------------------------------------- optimizer


def measure_optimizer(
    framework: ModuleType, namespace: dict[str, Any], inputs: Measurement
) -> Measurement:
    """Lets the optimizer take steps down the sum of squares from a given start."""
    optimizer = namespace[framework.OPTIMIZER]
    if not framework.is_optimizer(optimizer):
        words = f"{framework.OPTIMIZER} is {optimizer!r}, not one of {framework.OPTIMIZERS}"
        return Measurement(errors={"": words})
    path = framework.descend(optimizer, inputs["start"], n_updates=3)
    # Three weights are enough.
    return Measurement({"path": path[:, np.arange(3) % path.shape[1]]})
