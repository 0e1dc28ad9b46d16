"""The adapter of PyTorch; `tensorflow.py` has the same names.

Nothing here judges: what is right is said elsewhere, once for both.
"""

import collections
import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from checks.disguise import disguised
from checks.parts import CODE_SIZE, AgentBypassed, Parts

OPTIMIZER, OPTIMIZERS = "opt", "torch.optim"
OPTIMIZER_NAMES = (OPTIMIZER, "optimizer")  # what students may call it
POLICY = "probas and logprobas"
OBS_SHAPE = (1, 42, 42)
GRADIENTS_ADD_UP = True  # from one step to the next, unless they are cleared
HOW_TO_STEP = "compute the gradients, then let opt take its step, in this order"
WEIGHTS_OF_AGENT = "agent.parameters()"
PRECISION = ""  # float64 and float32 go together
LSTM_CELL = nn.LSTMCell


# ----------------------------------------------------------------------------------------- tensors


def to_array(value: Any) -> np.ndarray:
    """Returns what a student's code gave as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def to_tensor(array: Any) -> torch.Tensor:
    """Returns a float32 tensor."""
    if not isinstance(array, torch.Tensor):
        array = np.array(array, order="C")  # PyTorch has no strides below zero
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
def listening_to_cell(
    agent: Any, replace: Callable[[Sequence[Any]], Sequence[Any]] = tuple
) -> Iterator[list | None]:
    """Keeps each input and state (h, c) of the LSTM cell's calls; None if it is unclear which cell.

    Args:
        agent: the agent.
        replace: takes the state that the cell returns, and returns what it should return instead.
    """
    modules = agent.modules() if isinstance(agent, nn.Module) else []
    cells = [module for module in modules if isinstance(module, nn.LSTMCell) or _is_cell(module)]
    if len(cells) != 1:  # an architecture of the student's own
        yield None
        return
    (cell,) = cells
    forward, calls = cell.forward, []

    def listen(*args: Any, **kwargs: Any) -> tuple:
        returned = forward(*args, **kwargs)
        is_layer = isinstance(cell, nn.LSTM)
        state = replace([part[0] for part in returned[1]] if is_layer else returned)
        calls.append((next(iter([*args, *kwargs.values()])), state))
        if not is_layer:
            return tuple(state)
        h, c = (part[None] for part in state)
        return h.reshape(returned[0].shape), (h, c)  # the output of its one tick

    cell.forward = listen  # not a hook: a student may call forward itself
    try:
        yield calls
    finally:
        del cell.forward


@contextlib.contextmanager
def calling_layers_by(function: Callable) -> Iterator[None]:
    """Calls `function(layer, call, *args, **settings)` whenever `layer` is called.

    Args:
        function: what to call; `call` is what the layer itself does.
    """
    call = nn.Module.__call__

    def call_layer(layer: nn.Module, *args: Any, **settings: Any) -> Any:
        return function(layer, functools.partial(call, layer), *args, **settings)

    with mock.patch.object(nn.Module, "__call__", call_layer):
        yield


@torch.no_grad()
def play(agent: nn.Module, observations: np.ndarray) -> tuple:
    """Returns a blank memory, and the logits and values of one tick, as in play."""
    with _keeping_modes(agent):
        agent.eval()
        memory = agent.get_initial_state(len(observations))
        device = next(agent.parameters()).device
        _, (logits, value) = agent.forward(memory, to_tensor(observations).to(device))
        return memory, logits, value


def make_ready(agent: nn.Module, obs_shape: Sequence[int]) -> None:
    """Makes an agent behave as in play; its lazy layers get their weights."""
    agent.eval()
    agent.step(agent.get_initial_state(1), np.zeros((1, *obs_shape), np.float32))


def weights_of(agent: nn.Module) -> list[torch.Tensor]:
    """Returns the weights that are handed in, in the order of their file."""
    return list(agent.state_dict().values())


def assign(weight: torch.Tensor, array: np.ndarray) -> None:
    """Sets one of these weights."""
    weight.copy_(torch.as_tensor(array))  # converts to the weight's type


@contextlib.contextmanager
def _keeping_modes(agent: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in agent.modules()}
    try:
        yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training


def frozen(layer: nn.Module) -> Callable:
    """Returns what calls a layer with the weights that it has now, as in play; see `Parts`.

    Gradients would still pass to the weights that it has when it is called.
    """
    named = layer._parameters.items()
    weights = {name: parameter.data for name, parameter in named if parameter is not None}

    def run(call: Callable, *args: Any, **settings: Any) -> Any:
        layer.training = False
        path = sum(0 * torch.sum(weight) for weight in layer.parameters(recurse=False))
        with mock.patch.dict(layer._parameters, weights):
            returned = call(*args, **settings)
        return returned + path if isinstance(returned, torch.Tensor) else returned

    return run


def _is_cell(module: nn.Module) -> bool:
    """Says whether a module is a layer that can do what an LSTM cell does."""
    is_layer = isinstance(module, nn.LSTM)
    return is_layer and module.num_layers == 1 and not (module.bidirectional or module.proj_size)


def fill_zeros(agent: Any, generator: np.random.Generator) -> None:
    """Gives variables whose entries are all zero small random ones."""
    with torch.no_grad():
        for variable in trainable_variables(agent):
            if not torch.any(variable):
                variable.copy_(to_tensor(generator.uniform(-0.1, 0.1, variable.shape)))


@contextlib.contextmanager
def trained_a_little(agent: Any, generator: np.random.Generator) -> Iterator[None]:
    """Gives all variables other values, as a step would, then puts the old ones back."""
    variables = trainable_variables(agent)
    with torch.no_grad():
        before = [variable.clone() for variable in variables]
        for variable in variables:
            variable.mul_(to_tensor(generator.uniform(0.8, 1.2, variable.shape)))
        try:
            yield
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.copy_(value)


def trainable_variables(agent: Any) -> list:
    return [parameter for parameter in agent.parameters() if parameter.requires_grad]


def named_variables(agent: Any) -> list[tuple[str, Any]]:
    """Returns the trainable variables of an agent with their names."""
    return [(name, value) for name, value in agent.named_parameters() if value.requires_grad]


def can_stand_in_for(agent: Any) -> bool:
    """Says whether a stand-in can take the place of an agent; see `StandInAgent.in_place_of`."""
    if isinstance(agent, StandInAgent) or not isinstance(agent, nn.Module):
        return False
    is_lazy = nn.parameter.is_lazy
    return bool(trainable_variables(agent)) and not any(map(is_lazy, agent.parameters()))


def gradient_sizes(agent: Any, run: Callable[[], Sequence[Any]]) -> list[tuple[str, float | None]]:
    """Returns each variable's name and largest gradient of the outputs' squares, None for none."""
    total = torch.stack([torch.sum(to_tensor(output) ** 2) for output in run()]).sum()
    named = named_variables(agent)
    if not total.requires_grad or not named:
        return [(name, None) for name, _ in named]
    gradients = torch.autograd.grad(total, [value for _, value in named], allow_unused=True)
    return [
        (name, None if gradient is None else float(gradient.abs().max()))
        for (name, _), gradient in zip(named, gradients, strict=True)
    ]


def unlisted_weights(agent: Any, run: Callable[[], Sequence[Any]]) -> list[str]:
    """Returns the names of weights that the outputs are made of, but that the agent lacks."""
    listed = {id(parameter) for parameter in agent.parameters()}
    used = {id(leaf): leaf for output in run() for leaf in _leaves(output)}
    unlisted = [leaf for key, leaf in used.items() if key not in listed]
    names = {}
    if unlisted:
        for attribute, value in vars(agent).items():
            names |= {id(tensor): name for name, tensor in _tensors_in(value, attribute)}
    return sorted(names.get(id(leaf), f"a tensor of shape {(*leaf.shape,)}") for leaf in unlisted)


def _leaves(output: Any) -> Iterator[torch.Tensor]:
    """Yields the tensors to which gradients flow from an output."""
    seen, waiting = set(), [getattr(output, "grad_fn", None)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
        if hasattr(node, "variable"):
            yield node.variable


def _tensors_in(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors in an attribute, in a list of layers, say, and what they are called."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        yield from value.named_parameters(name)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _tensors_in(part, f"{name}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            yield from _tensors_in(part, f"{name}[{i}]")


def compiled(function: Callable) -> Callable:
    """Returns the function as it runs in play, without gradients."""
    return torch.no_grad()(function)


WEIGHTS = "weight", "bias"
PARTS = dict.fromkeys(("conv0", "conv1", "conv2", "hid"), WEIGHTS)
PARTS |= {"rnn": ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
PARTS |= dict.fromkeys(("logits", "state_value"), WEIGHTS)


class StandInAgent(nn.Module):
    """Fixed logits and values, each of which can be moved; finds its place from the pixels.

    It has parameters under the names of the assignment's agent, unless it stands in the place of
    another. Each holds a shift of all values, all logits and all memories, in this order; see
    `checks.measuring.StepObserver`.

    Its memory counts ticks. The count is worth nothing to the logits, but a gradient passes. The
    columns of the memory are the count, which the next tick reads; a zero by which the gradient
    passes; and the game and the tick, by which the heads find their logits and values. So it does
    not matter by which layers a loss gets from the memory to them, or when.

    Attributes `shifts` and `unreached`: its parameters, and the ids of those without gradients.

    Args:
        values: `[n_games, n_ticks]`, or `[n_games, n_ticks, 1]` for values of shape (n, 1).
        logits: `[n_games, n_ticks, n_actions]`.
        called: what is called with the tick and the memories `[n_games]` each time.
        step: what `step` is.
    """

    def __init__(self, values: np.ndarray, logits: np.ndarray, called: Callable, step: Callable):
        super().__init__()
        self.called, self.step = called, step
        self.fixed = to_tensor(values[..., 0] if values.ndim == 3 else values), to_tensor(logits)
        self.value_axes = values.shape[2:]
        self.sizes = values.size, logits.size, logits.shape[1]
        for part, names in PARTS.items():
            layer = nn.Module()
            for name in names:
                shape = (sum(self.sizes),) if "bias" in name else (1, sum(self.sizes))
                layer.register_parameter(name, nn.Parameter(torch.zeros(shape)))
            self.add_module(part, layer)
        self.shifts = list(self.parameters())
        self.shift_now = lambda parameter: parameter
        self.unreached: set[int] = set()  # the ids of shifts that no gradient reaches
        self.make_memory, self.n_parts, self.width = tuple, 2, CODE_SIZE

    @contextlib.contextmanager
    def in_place_of(self, agent: nn.Module, memory: Any, parts: Parts | None) -> Iterator[None]:
        """Takes the place of an agent, whoever holds it, by means of that agent's own parameters.

        Other layers of it raise `AgentBypassed` when they are called.

        Args:
            agent: the agent. Its other methods and attributes remain.
            memory: one of its memories; the stand-in's have as many parts.
            parts: its layers, if the stand-in is to take the place of these.
        """
        self.shifts = trainable_variables(agent)
        paths = {id(parameter): path.split(".") for path, parameter in agent.named_parameters()}

        def shift_now(parameter: nn.Parameter) -> torch.Tensor:
            # `torch.func.functional_call` puts another tensor there for the time of a call.
            path = paths.get(id(parameter))
            return functools.reduce(getattr, path, agent) if path else parameter

        self.shift_now = shift_now
        self.fixed = tuple(part.to(self.shifts[0].device) for part in self.fixed)
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
            # The student's own hooks are called by this.
            methods |= {"forward": forward, "__call__": nn.Module.__call__}
        else:
            self.width, self.value_axes = parts.width, parts.value_axes
            layers = self._layers(parts)
        own = {id(parameter) for parameter in self.shifts}

        def call_layer(layer: nn.Module, call: Callable, *args: Any, **settings: Any) -> Any:
            if id(layer) in layers:
                return layers[id(layer)](call, *args, **settings)
            if any(id(parameter) in own for parameter in layer.parameters(recurse=False)):
                raise AgentBypassed
            return call(*args, **settings)

        with (
            _keeping_modes(agent),
            calling_layers_by(call_layer),
            _lent(self.shifts, sum(self.sizes)),
            disguised(agent, **methods),
        ):
            yield

    def _layers(self, parts: Parts) -> dict[int, Callable]:
        """Returns, by their ids, what `calling_layers_by` calls instead of an agent's layers."""
        before = {id(p) for layer in parts.backbone for p in layer.parameters(recurse=False)}

        def cell(_: Any, input: torch.Tensor, hx: Sequence[Any] | None = None) -> tuple:
            if torch.is_grad_enabled() and not input.requires_grad:  # the backbone does not learn
                self.unreached = before
            place = torch.as_tensor(parts.find(to_array(input)), device=self.shifts[0].device)
            blank = [torch.zeros(len(place), 1, device=place.device)] * 2
            return tuple(self._remember(blank if hx is None else hx, *place.T))

        def both(h: torch.Tensor) -> torch.Tensor:
            outputs = self._logits(h), self._find(h, 0).view(*h.shape[:-1], 1)
            return torch.cat(outputs[::-1] if parts.is_value_first else outputs, dim=-1)

        def head(function: Callable) -> Callable:
            return lambda _, *args, **settings: function(*[*args, *settings.values()][:1])

        return {id(layer): frozen(layer) for layer in parts.backbone} | {
            id(parts.cell): cell,
            id(parts.logits): head(self._logits),
            id(parts.value): head(self._value if parts.value is not parts.logits else both),
        }

    def get_initial_state(self, batch_size: int) -> Any:
        device = self.shifts[0].device
        return self.make_memory(
            torch.zeros(batch_size, self.width, device=device) for _ in range(self.n_parts)
        )

    def forward(self, prev_state: Any, obs_t: Any) -> tuple:
        if len(prev_state) != self.n_parts:
            raise ValueError(f"a memory has {self.n_parts} parts, this one has {len(prev_state)}")
        place = torch.round(64 * to_tensor(obs_t)[:, 0, 0, :2]).long()
        h, *others = self._remember(prev_state, *place.T)
        return self.make_memory([h, *others]), (self._logits(h), self._value(h))

    def _remember(
        self, prev_state: Sequence[Any], game: torch.Tensor, tick: torch.Tensor
    ) -> list[torch.Tensor]:
        """Returns the parts of the next memory, each `[n, width]`."""
        counts = [to_tensor(part)[:, :1] for part in prev_state]
        # What `torch.func.grad` wraps becomes a list, but no array.
        self.called(int(tick[0]), np.array(counts[0][:, 0].tolist(), np.float32))
        _, _, memory_shift = self._shift().split(self.sizes)
        handed_on = memory_shift[tick][:, None]
        place = torch.stack([game, tick], dim=1) / 64
        code = [
            torch.cat([count + 1 + handed_on, count - count.detach(), place], dim=1)
            for count in counts
        ]
        return [nn.functional.pad(columns, (0, self.width - CODE_SIZE)) for columns in code]

    def _logits(self, h: torch.Tensor) -> torch.Tensor:
        """Returns the logits of the games and ticks that memories `[…, width]` are of."""
        path_through_time = nn.functional.pad(h[..., 1:2], (0, self.fixed[1].shape[-1] - 1))
        return self._find(h, 1) + path_through_time

    def _value(self, h: torch.Tensor) -> torch.Tensor:
        """Returns their values."""
        value = self._find(h, 0)
        return value.view(*value.shape, *self.value_axes)

    def _find(self, h: torch.Tensor, which: int) -> torch.Tensor:
        fixed = self.fixed[which]
        shifted = fixed + self._shift().split(self.sizes)[which].view(fixed.shape)
        game, tick = torch.round(64 * h[..., 2:CODE_SIZE]).long().unbind(-1)
        n_games, n_ticks = fixed.shape[:2]  # other memories than the cell's have other numbers
        return shifted[game.clamp(0, n_games - 1), tick.clamp(0, n_ticks - 1)]

    def _shift(self) -> torch.Tensor:
        reached = [shift for shift in self.shifts if id(shift) not in self.unreached]
        parameters = [self.shift_now(shift).view(-1) for shift in reached]
        return torch.stack(parameters).sum(dim=0) / len(self.shifts) ** 0.5

    def positions(self) -> np.ndarray:
        """Returns how far each parameter has moved, `[n_variables, size]`."""
        return np.stack([to_array(parameter).ravel() for parameter in self.shifts])

    def move_back(self) -> None:
        with torch.no_grad():
            for parameter in self.shifts:
                parameter.zero_()


@contextlib.contextmanager
def _lent(parameters: Sequence[nn.Parameter], size: int) -> Iterator[None]:
    """Makes parameters hold zeros, `[1, …, size]`; in the end they are what they were."""
    before = [(parameter.data, parameter.grad) for parameter in parameters]
    zeros = [torch.zeros((1,) * (p.dim() - 1) + (size,), device=p.device) for p in parameters]
    try:
        for parameter, data in zip(parameters, zeros, strict=True):
            _set_data(parameter, data, None)
        yield
    finally:
        for parameter, (data, gradient) in zip(parameters, before, strict=True):
            _set_data(parameter, data, gradient)


def _set_data(parameter: nn.Parameter, data: torch.Tensor, gradient: torch.Tensor | None) -> None:
    parameter.grad = None
    # An older graph may still be there, and know the shape. It is forgotten with the type.
    parameter.data = torch.empty(0, dtype=torch.complex64, device=data.device)
    parameter.data = data
    parameter.grad = gradient


@contextlib.contextmanager
def observing(agent: StandInAgent, optimizer: Any, observer: Any) -> Iterator[None]:
    """Tells an observer of gradients, of the optimizer's steps, and of other optimizers."""

    def hook(place: int) -> Callable:
        def observe(gradient: torch.Tensor) -> None:
            observer.computed(None, {place: to_array(gradient).ravel().copy()}, adds_up=True)

        return observe

    make = torch.optim.Optimizer.__init__

    @functools.wraps(make)
    def observed_make(*args: Any, **settings: Any) -> None:
        observer.optimizer_made()
        make(*args, **settings)

    parameters = enumerate(agent.shifts)
    hooks = [p.register_hook(hook(place)) for place, p in parameters if p.requires_grad]
    hooks.append(optimizer.register_step_pre_hook(lambda *_: observer.before_update()))
    hooks.append(optimizer.register_step_post_hook(lambda *_: observer.after_update()))
    try:
        with mock.patch.object(torch.optim.Optimizer, "__init__", observed_make):
            yield
    finally:
        for each in hooks:
            each.remove()


# --------------------------------------------------------------------------------------- optimizer


def gradient_descent(agent: StandInAgent, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(agent.shifts, lr=learning_rate)


@contextlib.contextmanager
def optimizing_by(
    descent: torch.optim.Optimizer, optimizer: torch.optim.Optimizer
) -> Iterator[None]:
    """Lets an optimizer's steps be those of another, whoever holds it.

    Hooks and methods of the student's own remain, and so do schedulers, which change nothing now.
    """
    (group,) = descent.param_groups
    own = {id(parameter): parameter for parameter in group["params"]}
    groups = [{**group, "params": []} for group in optimizer.param_groups]
    for mine, group in zip(groups, optimizer.param_groups, strict=True):
        mine["params"] = [own.pop(id(p)) for p in group["params"] if id(p) in own]
    groups[0]["params"] += own.values()  # so that `zero_grad` reaches all

    @torch.optim.Optimizer.profile_hook_step
    def step(_: Any, closure: Callable | None = None) -> Any:
        optimizer._opt_called = True  # schedulers warn if they come first
        return descent.step(closure)

    step._wrapped_by_lr_sched = True  # or whose step they do not know

    schedulers: dict[int, tuple[Any, dict[str, Any]]] = {}

    def set_and_remember(scheduler: Any, name: str, value: Any) -> None:
        schedulers.setdefault(id(scheduler), (scheduler, dict(vars(scheduler))))
        object.__setattr__(scheduler, name, value)

    scheduler_class = torch.optim.lr_scheduler.LRScheduler
    with (
        disguised(optimizer, step=step),
        mock.patch.object(scheduler_class, "__setattr__", set_and_remember),
    ):
        vars(optimizer).update(param_groups=groups, state=collections.defaultdict(dict))
        try:
            yield
        finally:
            for scheduler, before in schedulers.values():
                vars(scheduler).clear()
                vars(scheduler).update(before)


def is_optimizer(value: Any) -> bool:
    return isinstance(value, torch.optim.Optimizer)


def is_optimizer_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, torch.optim.Optimizer)


def copy_optimizer(optimizer: Any) -> Any:
    """Returns one with the same settings, for a few weights of its own; None if impossible."""
    try:
        copied = copy.deepcopy(optimizer)
        for weight in optimized_variables(copied):
            _shrink(copied, weight)
    except Exception:  # a class of the student's own may hold anything
        return None
    return copied


def _shrink(optimizer: Any, weight: torch.Tensor) -> None:
    """Cuts a weight, and what the optimizer keeps about it, down to at most 2 along each axis."""
    shape, corner = weight.shape, (slice(2),) * weight.dim()
    weight.grad = None
    weight.data = weight.data[corner].clone()
    state = optimizer.state.pop(weight, {})
    tensors = {name: part for name, part in state.items() if isinstance(part, torch.Tensor)}
    if all(part.shape in (shape, ()) for part in tensors.values()):
        cut = {n: part[corner].clone() for n, part in tensors.items() if part.shape == shape}
        optimizer.state[weight] = {**state, **cut}


def downhill(
    optimizer: Any, start: np.ndarray, goal: np.ndarray
) -> tuple[Callable[[], None], Callable[[], list[np.ndarray]]]:
    """Returns what takes a step down the sum of squared distances, and what returns these, flat.

    Args:
        optimizer: one with a scheduler that warms it up from zero is taken as it will be then.
        start: numbers to which its weights are set, over and over again if there are more.
        goal: the numbers to which they should go, in the same way.
    """
    weights = optimized_variables(optimizer)
    for group in optimizer.param_groups:
        if group.get("lr") == 0:
            group["lr"] = group.get("initial_lr", 0)  # which a scheduler wrote down
    goals = [to_tensor(np.resize(goal, tuple(weight.shape))) for weight in weights]
    with torch.no_grad():
        for weight in weights:
            weight.copy_(to_tensor(np.resize(start, tuple(weight.shape))))

    def distances() -> list[torch.Tensor]:
        return [weight.detach() - goal for weight, goal in zip(weights, goals, strict=True)]

    def take_step() -> None:
        for weight, distance in zip(weights, distances(), strict=True):
            weight.grad = 2 * distance
        optimizer.step()

    return take_step, lambda: [to_array(distance).ravel().copy() for distance in distances()]


def optimized_variables(optimizer: Any) -> list | None:
    """Returns the variables that an optimizer belongs to, None if it belongs to none yet."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


# ------------------------------------------------------------------------------------- unfinished


def neutral_rows(agent: Any, obs_t: Any, part: str, *shape: int) -> torch.Tensor:
    """Returns `[n_games, *shape]`, which stands in for what a part of an agent should give.

    Only a gradient to the part's weights comes from it, so that those of the other parts show.
    """
    weights = getattr(agent, part).parameters() if hasattr(agent, part) else []
    total = sum((weight.mean() for weight in weights), torch.tensor(0.1))
    return torch.ones(len(obs_t), *shape) * total


def compute_gradients(loss: torch.Tensor) -> None:
    """Computes gradients where a step is missing, unless that has been done."""
    with contextlib.suppress(RuntimeError):  # a graph is freed
        torch.autograd.backward(loss)


# See `checks.unfinished.Unfinished`; `_neutral` is this module.
NEUTRAL = {
    "agent": {
        "new_state": "tuple(prev_state)",
        "logits": "_neutral.neutral_rows(self, obs_t, 'logits', n_actions)",
        "state_value": "_neutral.neutral_rows(self, obs_t, 'state_value')",
        "": "pass",
    },
    "loss": {
        "memory, (logits_t, values_t)": "memory, agent.forward(blank_memory, obs_t)[1]",
        "probas": "torch.ones_like(logits) / n_actions",
        "logprobas": "logits",
        "logprobas_for_actions": "torch.gather(logits, 2, actions[..., None])[..., 0]",
        "logpi_a_s_t": "torch.gather(logits[:, t], 1, actions[:, t, None])[:, 0]",
        "value_loss": "0.0",
        "advantage": "cumulative_returns",
        "J_hat": "torch.mean(torch.gather(logits[:, t], 1, actions[:, t, None])[:, 0] * advantage)",
        "entropy_reg": "0.0",
        "return": "_neutral.to_array(loss), None",
        "": "_neutral.compute_gradients(loss)",
    },
    "optimizer": {},
}

# The parts that a gap is about, by the same names.
GAPS = {
    "agent": {name: (name,) for name in ("new_state", "logits", "state_value")},
    "loss": {
        "memory, (logits_t, values_t)": ("memory_passed", "memory_gradient"),
        "probas": ("entropy_value", "entropy_gradient"),
        "logprobas": ("policy_gradient", "entropy_value", "entropy_gradient"),
        **dict.fromkeys(("logprobas_for_actions", "logpi_a_s_t"), ("policy_gradient",)),
        "value_loss": ("value_loss", "semi_gradient", "value_ends"),
        "advantage": ("advantage",),
        "J_hat": ("policy_gradient",),
        "entropy_reg": ("entropy_value", "entropy_gradient"),
        "return": ("returned",),
        "": ("step",),
    },
}
