"""Measures a student's TensorFlow answers, beside them, in their kernel.

Judges nothing and holds no answers: what runs here is in reach of the student's code, so it hands
back arrays, and what they should be is decided elsewhere. Results are flat dictionaries of arrays,
as bytes of an `.npz` file; text travels as UTF-8 in an array of uint8.
"""

import dataclasses
import io
import json
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from answers import run_cells

import checks

Arrays = dict[str, np.ndarray]

OBS_SHAPE, N_ACTIONS = (42, 42, 4), 14
ENV = SimpleNamespace(  # as much of the notebook's `env` as answers ask for
    action_space=SimpleNamespace(n=N_ACTIONS), observation_space=SimpleNamespace(shape=OBS_SHAPE)
)

# The layers that can be described by a few plain settings, and built again from them.
STANDARD_LAYERS = {
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "activation", "use_bias"),
    "Dense": ("units", "activation", "use_bias"),
    "LSTMCell": ("units", "activation", "recurrent_activation", "use_bias"),
    "LayerNormalization": ("epsilon", "center", "scale"),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "Activation": ("activation",),
    "ReLU": (),
    "ELU": ("alpha",),
    "Flatten": (),
    "InputLayer": (),
}
ACTIVATIONS = ("linear", "relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softmax")
MAX_WEIGHT_BYTES = 8 << 20
MAX_SETTING = 2048  # units, filters and the like
PARTS = ("backbone", "lstm_cell", "logits_head", "state_value_head")


def text(words: str) -> np.ndarray:
    return np.frombuffer(words.encode()[:2000], np.uint8)


def run(exercise: str, sources: list[str], inputs: Arrays) -> bytes:
    """Runs the cells that make an exercise's names, then measures them.

    Args:
        exercise: `agent`, `loss` or `optimizer`.
        sources: cells to run in a namespace of their own, the answer last. Cells before the last
            may fail: what they were to define is missing then, and nothing else.
        inputs: what to measure with.

    Returns:
        An `.npz` file. Where the answer cannot be run or measured it holds `error`, in words.
    """
    results: Arrays = {}
    try:
        namespace = run_cells(
            exercise, sources, n_actions=N_ACTIONS, obs_shape=OBS_SHAPE, gamma=0.99, env=ENV
        )
        results = MEASURES[exercise](namespace, inputs)
    except BaseException as error:  # the student's code may raise anything
        results["error"] = text(checks.describe_error(error))
    file = io.BytesIO()
    np.savez(file, **results)
    return file.getvalue()


# ------------------------------------------------------------------------------------------ agent


def measure_agent(namespace: dict[str, Any], inputs: Arrays) -> Arrays:
    """Measures a fresh agent of the student's class; see `_measure_this_agent`."""
    agent = namespace["SimpleRecurrentAgent"](OBS_SHAPE, N_ACTIONS)
    results = _measure_this_agent(agent, inputs)
    return results | _try("describe", _describe, agent)


def measure_rebuilt_agent(namespace: dict[str, Any], inputs: Arrays) -> Arrays:
    """Measures an agent of this class whose four parts are another agent's.

    Args:
        namespace: holds the class.
        inputs: those of `measure_agent`, and what `_describe` said of the other agent.
    """
    agent = namespace["SimpleRecurrentAgent"](OBS_SHAPE, N_ACTIONS)
    parts = json.loads(inputs["parts"].tobytes())
    for part in PARTS:
        built = keras.Sequential([_build_layer(kind, settings) for kind, settings in parts[part]])
        setattr(agent, part, built.layers[0] if len(built.layers) == 1 else built)
    agent.lstm_output_size = agent.lstm_cell.units
    memory = agent.get_initial_state(1)
    agent.forward(memory, tf.zeros((1, *OBS_SHAPE)))  # creates the weights
    for part in PARTS:
        weights = sorted(name for name in inputs if name.startswith(f"weights/{part}/"))
        getattr(agent, part).set_weights([inputs[name] for name in weights])
    agent.compiled_forward = tf.function(agent.forward)
    return _measure_this_agent(agent, inputs)


def _build_layer(kind: str, settings: dict[str, Any]) -> keras.layers.Layer:
    """Makes a layer of a description that came out of a student's kernel, and may be anything."""
    for key in STANDARD_LAYERS[kind]:
        value = settings[key]
        numbers = value if isinstance(value, list) else [value]
        is_small = all(isinstance(n, int | float) and 0 <= n <= MAX_SETTING for n in numbers)
        # Keras would make an object of whatever a dictionary describes.
        if not (value is None or is_small or value in ACTIVATIONS or value in ("valid", "same")):
            raise ValueError(f"{kind} with {key} = {value!r}")
    return getattr(keras.layers, kind)(**{key: settings[key] for key in STANDARD_LAYERS[kind]})


def _measure_this_agent(agent: Any, inputs: Arrays) -> Arrays:
    """Measures what forward gives in several situations; one that fails leaves `NAME/error`."""
    observations, others = inputs["observations"], inputs["other_observations"]
    generator = np.random.default_rng(int(inputs["seed"]))
    blank = agent.get_initial_state(len(observations))
    memory = [generator.uniform(-0.5, 0.5, part.shape).astype("float32") for part in blank]
    situations = {
        "base": (agent.forward, memory, observations),
        "blank": (agent.forward, blank, observations),
        "other": (agent.forward, memory, others),
        "backwards": (agent.forward, [part[::-1] for part in memory], observations[::-1]),
        "single": (agent.forward, [part[:1] for part in memory], observations[:1]),
        "compiled": (tf.function(agent.forward), memory, observations),
        "step": (agent.step, memory, observations),
    }
    results = {"memory/h": memory[0], "memory/c": memory[1]}
    for name, (forward, *arguments) in situations.items():
        results |= _try(name, _outputs, name, forward, *arguments)
    results |= _try("cell", _cell_state, agent, memory, observations)
    return results | _try("gradients", _gradients, agent, memory, observations)


def _try(name: str, measure: Any, *arguments: Any) -> Arrays:
    try:
        return measure(*arguments)
    except Exception as error:
        return {f"{name}/error": text(checks.describe_error(error))}


def _outputs(name: str, forward: Any, memory: list, observations: np.ndarray) -> Arrays:
    memory = [tf.convert_to_tensor(part, tf.float32) for part in memory]
    new_state, (logits, value) = forward(memory, tf.convert_to_tensor(observations))
    h, c = new_state
    parts = {"h": h, "c": c, "logits": logits, "value": value}
    return {f"{name}/{part}": np.asarray(array) for part, array in parts.items()}


def _cell_state(agent: Any, memory: list, observations: np.ndarray) -> Arrays:
    """What `lstm_cell` itself gave back, where the agent has one that it calls."""
    cell = getattr(agent, "lstm_cell", None)
    if cell is None:
        return {}
    agent.lstm_cell = checks.Listener(cell)
    try:
        replayed = _outputs("replayed", agent.forward, memory, observations)
        calls = agent.lstm_cell.calls
    finally:
        agent.lstm_cell = cell
    if not calls:
        return {}
    _, _, (_, (h, c)) = calls[-1]
    return replayed | {"cell/h": np.asarray(h), "cell/c": np.asarray(c)}


def _gradients(agent: Any, memory: list, observations: np.ndarray) -> Arrays:
    """The largest gradient of each variable, -1 where none arrives."""
    with tf.GradientTape() as tape:
        _, (logits, value) = agent.forward(
            [tf.convert_to_tensor(part) for part in memory], tf.convert_to_tensor(observations)
        )
        total = tf.reduce_sum(logits**2) + tf.reduce_sum(value**2)
    gradients = tape.gradient(total, agent.trainable_variables)
    sizes = [-1.0 if g is None else float(tf.reduce_max(tf.abs(g))) for g in gradients]
    return {"gradients": np.asarray(sizes, np.float32)}


def _describe(agent: Any) -> Arrays:
    """Settings and weights of the agent's four parts; nothing where they are not all there is."""
    layers = [layer for layer in vars(agent).values() if isinstance(layer, keras.layers.Layer)]
    parts = {part: getattr(agent, part, None) for part in PARTS}
    if {id(layer) for layer in layers} != {id(part) for part in parts.values()}:
        return {}
    settings, weights = {}, {}
    for name, part in parts.items():
        flat = part.layers if isinstance(part, keras.Sequential) else [part]
        kinds = [type(layer).__name__ for layer in flat]
        if not all(
            kind in STANDARD_LAYERS and type(layer) is getattr(keras.layers, kind)
            for kind, layer in zip(kinds, flat, strict=True)
        ):
            return {}
        settings[name] = [
            (kind, {key: layer.get_config()[key] for key in STANDARD_LAYERS[kind]})
            for kind, layer in zip(kinds, flat, strict=True)
        ]
        weights |= {
            f"weights/{name}/{i:02}": np.asarray(weight)
            for i, weight in enumerate(part.get_weights())
        }
    if sum(array.nbytes for array in weights.values()) > MAX_WEIGHT_BYTES:
        return {}
    return weights | {"parts": np.frombuffer(json.dumps(settings).encode(), np.uint8)}


# ------------------------------------------------------------------------------------------- loss


def measure_loss(namespace: dict[str, Any], inputs: Arrays) -> Arrays:
    """Measures `train_on_rollout` on every case in the inputs, `CASE/FIELD`.

    A case that cannot be measured leaves `CASE/error`.
    """
    results: Arrays = {}
    fields = [field.name for field in dataclasses.fields(checks.LossCase)]
    for name in sorted({key.partition("/")[0] for key in inputs if "/" in key}):
        values = {field: inputs[f"{name}/{field}"] for field in fields}
        case = checks.LossCase(
            **{key: float(v) if np.ndim(v) == 0 else v for key, v in values.items()}
        )
        results |= _try(name, _measure_case, name, namespace, case)
    return results


def _measure_case(name: str, namespace: dict[str, Any], case: checks.LossCase) -> Arrays:
    measured = checks.measure_loss(namespace, case)
    results = {
        f"{name}/value_moves": measured.value_moves,
        f"{name}/logit_moves": measured.logit_moves,
        f"{name}/memory_moves": measured.memory_moves,
        f"{name}/n_steps": np.asarray(measured.n_steps),
    }
    loss = np.asarray(measured.loss)
    if loss.dtype.kind == "f":
        results[f"{name}/loss"] = loss
    if all(measured.memories):
        for which, pick in (("least", np.min), ("greatest", np.max)):
            ticks = [pick(calls, axis=0) for calls in measured.memories]
            results[f"{name}/{which}_memory"] = np.stack(ticks, axis=1)
    return results


# -------------------------------------------------------------------------------------- optimizer


def measure_optimizer(namespace: dict[str, Any], inputs: Arrays) -> Arrays:
    """Lets `optimizer` take steps down the sum of squares from a given start."""
    optimizer = namespace["optimizer"]
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return {"error": text(f"optimizer is {optimizer!r}, not one of keras.optimizers")}
    weight = keras.Variable(inputs["start"])
    path = [weight.numpy()]
    for _ in range(3):
        optimizer.apply_gradients([(2 * weight.value, weight)])
        path.append(weight.numpy())
    return {"path": np.stack(path)}


MEASURES = {
    "agent": measure_agent,
    "rebuilt": measure_rebuilt_agent,
    "loss": measure_loss,
    "optimizer": measure_optimizer,
}
