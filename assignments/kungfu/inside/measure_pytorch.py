"""Measures PyTorch answers: describes PyTorch's layers for `measure.py`."""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from measure import make_measuring
from torch import nn

from checks import pytorch as framework


class AnyAgent(nn.Linear):
    """Has a layer of any name, since optimizers may treat layers differently."""

    def __init__(self):
        super().__init__(2, 1)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or name in ("weight", "bias"):
                raise
            # Not with add_module, which first asks for an attribute of this name.
            return self._modules.setdefault(name, AnyLayer(name))


class AnyLayer(nn.Linear):
    """Has weights, but cannot be called."""

    def __init__(self, name: str):
        super().__init__(2, 1)
        self._name = name

    def forward(self, *_: Any, **__: Any) -> None:
        raise AttributeError(f"the agent has no method {self._name!r}")


STANDARD = {
    "Conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "bias"),
    "Linear": ("in_features", "out_features", "bias"),
    "LSTMCell": ("input_size", "hidden_size", "bias"),
    "LayerNorm": ("normalized_shape", "eps"),
    "MaxPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "ReLU": (),
    "ELU": ("alpha",),
    "Tanh": (),
    "Flatten": ("start_dim", "end_dim"),
}
PARTS = ("conv0", "conv1", "conv2", "flatten", "hid", "rnn", "logits", "state_value")


def parts_of(agent: nn.Module) -> Iterable[nn.Module]:
    return agent.children()


def layers_of(part: nn.Module) -> list[nn.Module]:
    return [*part] if isinstance(part, nn.Sequential) else [part]


def class_of(kind: str) -> type:
    return getattr(nn, kind)


def setting(layer: nn.Module, name: str) -> Any:
    value = getattr(layer, name)
    return value is not None if name == "bias" and not isinstance(value, bool) else value


def weights_of(part: nn.Module) -> list[np.ndarray]:
    return [parameter.detach().numpy() for parameter in part.parameters()]


def rebuild(
    agent: nn.Module, parts: dict[str, list[nn.Module]], weights: dict[str, list[np.ndarray]]
) -> None:
    for name, layers in parts.items():
        part = nn.Sequential(*layers) if len(layers) != 1 else layers[0]
        setattr(agent, name, part)
        with torch.no_grad():
            for parameter, array in zip(part.parameters(), weights[name], strict=True):
                parameter.copy_(torch.as_tensor(array))


def agent_to_optimize() -> AnyAgent:
    return AnyAgent()


measure = make_measuring(framework, sys.modules[__name__])
