"""Measures PyTorch answers: describes PyTorch's layers for `measure.py`."""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from cuda import replace_cuda
from measure import make_measuring, make_preparing
from torch import nn

from checks import pytorch as framework

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


def agent_to_optimize() -> framework.StandInAgent:
    point = np.zeros((1, 1), np.float32)
    return framework.StandInAgent(point, point[..., None], None, None)


_measure = make_measuring(framework, sys.modules[__name__])
_prepare = make_preparing(framework, sys.modules[__name__])


def measure(
    data: bytes, exercise: str, sources: list[str] | None, beside: list[str] | None = None
) -> bytes:
    """Measures an answer; see `measure.measure`."""
    if any("cuda" in source for source in [*(sources or ()), *(beside or ())]):
        replace_cuda()
    return _measure(data, exercise, sources, beside)


def prepare(data: bytes) -> None:
    """Prepares the shell for a whole notebook."""
    replace_cuda()
    # The first optimizer imports much, which is no time of the cell that makes it.
    torch.optim.SGD([torch.zeros(1)], lr=0.1)
    _prepare(data)
