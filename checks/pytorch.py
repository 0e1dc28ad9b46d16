"""The adapter of PyTorch; `tensorflow.py` has the same names.

Nothing here judges: what is right is said elsewhere, once for both.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

OPTIMIZER, OPTIMIZERS = "opt", "torch.optim"
POLICY = "probas and logprobas"
OBS_SHAPE = (1, 42, 42)
GRADIENTS_ADD_UP = True  # from one step to the next, unless they are cleared
COMPILES = False
HOW_TO_STEP = "compute the gradients, then let opt take its step, in this order"


# ----------------------------------------------------------------------------------------- tensors


def to_array(value: Any) -> np.ndarray:
    """Returns what a student's code gave as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def to_tensor(array: Any) -> torch.Tensor:
    """Returns a float32 tensor."""
    if not isinstance(array, torch.Tensor):
        array = np.ascontiguousarray(array)  # PyTorch has no strides below zero
    return torch.as_tensor(array, dtype=torch.float32)


def as_pool_gives(array: np.ndarray) -> torch.Tensor:
    """Returns a part of a memory as `pool.prev_memory_states` holds it."""
    return to_tensor(array)


@contextlib.contextmanager
def leaving_no_trace() -> Iterator[None]:
    """Puts PyTorch's random state back."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        yield


# ------------------------------------------------------------------------------------------- agent


@contextlib.contextmanager
def listening_to_cell(agent: Any) -> Iterator[list | None]:
    """Keeps each state (h, c) that the LSTM cell returns; None if it is unclear which cell."""
    cells = [module for module in agent.modules() if isinstance(module, nn.LSTMCell)]
    if len(cells) != 1:  # an architecture of the student's own
        yield None
        return
    heard: list = []
    hook = cells[0].register_forward_hook(lambda cell, inputs, state: heard.append(state))
    try:
        yield heard
    finally:
        hook.remove()


def trainable_variables(agent: Any) -> list:
    return [parameter for parameter in agent.parameters() if parameter.requires_grad]


def gradient_sizes(agent: Any, run: Callable[[], Sequence[Any]]) -> list[tuple[str, float | None]]:
    """Returns each variable's name and largest gradient of the outputs' squares, None for none."""
    total = torch.stack([torch.sum(to_tensor(output) ** 2) for output in run()]).sum()
    named = [(name, value) for name, value in agent.named_parameters() if value.requires_grad]
    if not total.requires_grad:
        return [(name, None) for name, _ in named]
    gradients = torch.autograd.grad(total, [value for _, value in named], allow_unused=True)
    return [
        (name, None if gradient is None else float(gradient.abs().max()))
        for (name, _), gradient in zip(named, gradients, strict=True)
    ]


def compiled(function: Callable) -> Callable:
    """Returns the function as it runs in play, without gradients."""
    return torch.no_grad()(function)


class StandInAgent(nn.Module):
    """Fixed logits and values, each of which can be moved; finds its place from the pixels.

    Its memory counts ticks. The count is worth nothing to the logits, but a gradient passes.

    Args:
        values: `[n_games, n_ticks]`, or `[n_games, n_ticks, 1]` for values of shape (n, 1).
        logits: `[n_games, n_ticks, n_actions]`.
        called: what is called with the tick and the memories `[n_games]` each time.
        step: what `step` is.
    """

    def __init__(self, values: np.ndarray, logits: np.ndarray, called: Callable, step: Callable):
        super().__init__()
        self.called, self.step = called, step
        self.fixed = to_tensor(values), to_tensor(logits)
        self.value_shift = nn.Parameter(torch.zeros(values.shape))
        self.logit_shift = nn.Parameter(torch.zeros(logits.shape))
        self.memory_shift = nn.Parameter(torch.zeros(logits.shape[1]))

    def get_initial_state(self, batch_size: int) -> tuple:
        return torch.zeros(batch_size, 1), torch.zeros(batch_size, 1)

    def forward(self, prev_state: Any, obs_t: Any) -> tuple:
        values, logits = self.fixed
        h, c = map(to_tensor, prev_state)
        game, tick = torch.round(64 * to_tensor(obs_t)[:, 0, 0, :2]).long().T
        self.called(int(tick[0]), to_array(h)[:, 0].copy())
        path_through_time = torch.zeros_like(logits[game, tick])
        path_through_time[:, :1] = h - h.detach()
        never_none = 0.0 * self.memory_shift.sum()
        value = (self.value_shift + values)[game, tick]
        logits = (self.logit_shift + logits)[game, tick]
        handed_on = self.memory_shift[tick][:, None]
        return (h + 1 + handed_on, c + 1 + handed_on), (
            logits + path_through_time + never_none,
            value,
        )

    def take_shifts(self) -> list[np.ndarray]:
        """Returns how far values, logits and memory were moved, and moves them back."""
        shifts = [to_array(parameter).copy() for parameter in self.parameters()]
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
        return shifts


# --------------------------------------------------------------------------------------- optimizer


def gradient_descent(agent: StandInAgent, learning_rate: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(agent.parameters(), lr=learning_rate)
    optimizer.n_updates = 0

    def count(*_: Any) -> None:
        optimizer.n_updates += 1

    optimizer.register_step_post_hook(count)
    return optimizer


def steps_taken(optimizer: torch.optim.Optimizer) -> int:
    return optimizer.n_updates


def is_optimizer(value: Any) -> bool:
    return isinstance(value, torch.optim.Optimizer)


def is_optimizer_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, torch.optim.Optimizer)


def copy_optimizer(optimizer: Any) -> Any:
    """Returns one with the same settings, for weights of its own; None if that is impossible."""
    try:
        return copy.deepcopy(optimizer)
    except Exception:  # a class of the student's own may hold anything
        return None


def descend(optimizer: Any, start: np.ndarray, n_updates: int) -> np.ndarray:
    """Takes steps down the sum of squares of all weights that an optimizer has.

    Args:
        optimizer: its weights are set to the start, over and over again if there are more.
        start: numbers.
        n_updates: how many.

    Returns:
        All places, `[n_updates + 1, number of weights]`.
    """
    weights = optimized_variables(optimizer)
    with torch.no_grad():
        for weight in weights:
            weight.copy_(to_tensor(np.resize(start, tuple(weight.shape))))

    def place() -> np.ndarray:
        return np.concatenate([to_array(weight).ravel() for weight in weights])

    path = [place()]
    for _ in range(n_updates):
        for weight in weights:
            weight.grad = 2 * weight.detach()
        optimizer.step()
        path.append(place())
    return np.stack(path)


def optimized_variables(optimizer: Any) -> list | None:
    """Returns the variables that an optimizer belongs to, None if it belongs to none yet."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]
