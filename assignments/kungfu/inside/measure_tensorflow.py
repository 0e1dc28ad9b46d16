"""Measures TensorFlow answers: describes Keras's layers for `measure.py`."""

import sys
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from measure import make_measuring, make_preparing

from checks import tensorflow as framework

STANDARD = {
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "activation", "use_bias"),
    "Dense": ("units", "activation", "use_bias"),
    "LSTMCell": ("units", "activation", "recurrent_activation", "use_bias"),
    "LayerNormalization": ("epsilon", "center", "scale"),
    "Rescaling": ("scale", "offset"),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "Activation": ("activation",),
    "ReLU": (),
    "ELU": ("alpha",),
    "Flatten": (),
    "InputLayer": (),
}
PARTS = ("backbone", "lstm_cell", "logits_head", "state_value_head")


def parts_of(agent: Any) -> Iterable[keras.layers.Layer]:
    return (part for part in vars(agent).values() if isinstance(part, keras.layers.Layer))


def layers_of(part: keras.layers.Layer) -> list[keras.layers.Layer]:
    return part.layers if isinstance(part, keras.Sequential) else [part]


def class_of(kind: str) -> type:
    return getattr(keras.layers, kind)


def setting(layer: keras.layers.Layer, name: str) -> Any:
    return layer.get_config()[name]


def weights_of(part: keras.layers.Layer) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in part.get_weights()]


def rebuild(
    agent: Any,
    parts: dict[str, list[keras.layers.Layer]],
    weights: dict[str, list[np.ndarray]],
) -> None:
    for name, layers in parts.items():
        part = keras.Sequential(layers)
        setattr(agent, name, part.layers[0] if len(part.layers) == 1 else part)
    agent.lstm_output_size = agent.lstm_cell.units
    memory = agent.get_initial_state(1)
    agent.forward(memory, tf.zeros((1, *framework.OBS_SHAPE)))  # creates the weights
    for name, arrays in weights.items():
        getattr(agent, name).set_weights(arrays)
    agent.compiled_forward = tf.function(agent.forward)


def agent_to_optimize() -> framework.StandInAgent:
    point = np.zeros((1, 1), np.float32)
    return framework.StandInAgent(point, point[..., None], None, None)


measure = make_measuring(framework, sys.modules[__name__])
prepare = make_preparing(framework, sys.modules[__name__])
