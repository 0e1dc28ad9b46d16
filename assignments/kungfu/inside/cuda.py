"""Lets PyTorch code that was written for a graphics card run on the processor."""

import inspect
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class CudaIsTheProcessor(TorchFunctionMode):
    """Replaces CUDA devices in all of PyTorch's functions."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        if function is torch.Tensor.cuda:
            return args[0]
        kwargs = {name: _without_cuda(value) for name, value in (kwargs or {}).items()}
        return function(*map(_without_cuda, args), **kwargs)


def _without_cuda(value: Any) -> Any:
    is_cuda = (isinstance(value, str) and value.partition(":")[0] == "cuda") or (
        isinstance(value, torch.device) and value.type == "cuda"
    )
    return torch.device("cpu") if is_cuda else value


_active: list[CudaIsTheProcessor] = []


def replace_cuda() -> None:
    """Makes CUDA mean the processor in this process, unless there is a graphics card."""
    if _active or torch.cuda.is_available():
        return
    _active.append(CudaIsTheProcessor().__enter__())
    for name, _ in inspect.getmembers(torch.cuda, inspect.isclass):
        if name.endswith("Tensor") and hasattr(torch, name):
            setattr(torch.cuda, name, getattr(torch, name))
    torch.cuda.synchronize = torch.cuda.empty_cache = lambda *_, **__: None
