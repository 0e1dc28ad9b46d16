"""An agent and its optimizer, in TensorFlow or PyTorch, as a training run handles them."""

import abc
import contextlib
import copy
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from checks.notebook import describe_error

Arrays = dict[str, np.ndarray]

MAX_STEPS_WITHOUT_MOVING = 50  # some optimizers add up gradients before they move, or warm up


class Learner(abc.ABC):
    """Trains an agent, and turns all that it has learnt into arrays and back.

    Args:
        agent: The agent that learns.
        optimizer: Its optimizer.
        max_gradient_norm: A training step clips gradients to this global norm (Pascanu et al.,
            2013, arXiv:1211.5063); None leaves them alone.
    """

    def __init__(self, agent: Any, optimizer: Any, max_gradient_norm: float | None):
        self._agent = agent
        self._optimizer = optimizer
        self._max_norm = max_gradient_norm

    def compiled(self, train_on_rollout: Callable[..., Any], xla: bool) -> Callable[..., Any]:
        """Return the training step, see `TrainingRun.compiled`.

        Raises:
            RuntimeError: By the step, if many steps have not changed any weight.
        """
        step = self._compiled(train_on_rollout, xla)
        before: Arrays | None = self.agent_arrays()
        n_steps = 0

        def checked_step(*arguments: Any) -> Any:
            nonlocal before, n_steps
            loss = step(*arguments)
            if before is not None:
                n_steps += 1
                now = self.agent_arrays()
                if any(not np.array_equal(now[name], before[name]) for name in now):
                    before = None
                elif n_steps == MAX_STEPS_WITHOUT_MOVING:
                    raise RuntimeError(
                        f"{n_steps} steps have changed no weight of this agent. Either "
                        "train_on_rollout still trains an agent or an optimizer that you have "
                        "replaced, or the optimizer takes no steps. Run the cells of the agent, "
                        "the loss, the optimizer and the pool again, in this order."
                    )
            return loss

        return checked_step

    @abc.abstractmethod
    def _compiled(self, train_on_rollout: Callable[..., Any], xla: bool) -> Callable[..., Any]: ...

    @abc.abstractmethod
    def gradient_norm(self) -> float:
        """Return the global norm of the last gradient, before clipping."""

    @abc.abstractmethod
    def agent_arrays(self) -> Arrays:
        """Return copies of the agent's weights."""

    @abc.abstractmethod
    def other_arrays(self) -> dict[str, Any]:
        """Return copies of the optimizer's state and of the framework's random state."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what the two methods above returned.

        Raises:
            ValueError: If it belongs to a different agent or optimizer. Nothing is changed then.
        """
        self._check(arrays)
        kind, found = type(self._optimizer).__name__, str(arrays.get("optimizer", ""))
        if found not in ("", kind):  # older checkpoints do not say
            raise ValueError(f"the checkpoint belongs to the optimizer {found}, this one is {kind}")
        self._check_optimizer(arrays)
        self._restore_optimizer(arrays)
        self.restore_agent(arrays)

    def restore_agent(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over weights only.

        Raises:
            ValueError: If they belong to a different agent. Nothing is changed then.
        """
        self._check(arrays)
        self._set_weights(arrays)

    def _check(self, arrays: Mapping[str, np.ndarray]) -> None:
        own = self.agent_arrays()
        _check_shapes(arrays, {name: array.shape for name, array in own.items()})

    @abc.abstractmethod
    def _check_optimizer(self, arrays: Mapping[str, np.ndarray]) -> None: ...

    @abc.abstractmethod
    def _restore_optimizer(self, arrays: Mapping[str, np.ndarray]) -> None: ...

    @abc.abstractmethod
    def _set_weights(self, arrays: Mapping[str, np.ndarray]) -> None: ...


class TensorFlowLearner(Learner):
    """A learner whose training step is compiled to a graph."""

    def __init__(self, agent: Any, optimizer: Any, max_gradient_norm: float | None):
        super().__init__(agent, optimizer, max_gradient_norm)
        self._tf = sys.modules["tensorflow"]
        self._norm = self._tf.Variable(math.nan, trainable=False)
        if not optimizer.built:  # a graph can use an optimizer's variables, but not create them
            optimizer.build(agent.trainable_variables)

    def _compiled(self, train_on_rollout: Callable[..., Any], xla: bool) -> Callable[..., Any]:
        # What students have compiled themselves holds the agent of that time; start from the code.
        train_on_rollout = getattr(train_on_rollout, "python_function", train_on_rollout)
        function = None

        def step(*arguments: Any) -> Any:
            nonlocal function
            with self._gradients_clipped():
                if function is None:
                    function = self._tf.function(train_on_rollout, jit_compile=xla)
                    try:
                        function.get_concrete_function(*arguments)
                    except Exception as error:
                        reason = describe_error(error)
                        print(f"Training runs uncompiled, which is slower: {reason}")
                        function = train_on_rollout
                return function(*arguments)

        return step

    @contextlib.contextmanager
    def _gradients_clipped(self) -> Iterator[None]:
        optimizer, tf = self._optimizer, self._tf
        apply = optimizer.apply

        def clip_and_apply(grads: Sequence[Any], *arguments: Any, **options: Any) -> Any:
            self._norm.assign(tf.linalg.global_norm(grads))
            if self._max_norm is not None:
                grads, _ = tf.clip_by_global_norm(grads, self._max_norm, use_norm=self._norm)
            return apply(grads, *arguments, **options)

        optimizer.apply = clip_and_apply
        try:
            yield
        finally:
            del optimizer.apply

    def gradient_norm(self) -> float:
        return float(self._norm)

    def agent_arrays(self) -> Arrays:
        return {name: variable.numpy() for name, variable in self._agent_variables().items()}

    def other_arrays(self) -> dict[str, Any]:
        variables = self._optimizer_variables()
        return {"optimizer": type(self._optimizer).__name__} | {
            name: variable.numpy() for name, variable in variables.items()
        }

    def _check_optimizer(self, arrays: Mapping[str, np.ndarray]) -> None:
        variables = self._optimizer_variables()
        shapes: dict[str, Any] = {name: tuple(v.shape) for name, v in variables.items()}
        found = [name for name in arrays if name.startswith("optimizer_")]
        _check_shapes(arrays, dict.fromkeys(found) | shapes)

    def _restore_optimizer(self, arrays: Mapping[str, np.ndarray]) -> None:
        for name, variable in self._optimizer_variables().items():
            variable.assign(arrays[name])

    def _set_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        for name, variable in self._agent_variables().items():
            variable.assign(arrays[name])

    def _agent_variables(self) -> dict[str, Any]:
        return {f"agent_{i}": v for i, v in enumerate(self._agent.trainable_variables)}

    def _optimizer_variables(self) -> dict[str, Any]:
        # The learning rate is a setting: a new one must survive a restored checkpoint.
        rate = getattr(self._optimizer, "_learning_rate", None)
        variables = (variable for variable in self._optimizer.variables if variable is not rate)
        return {f"optimizer_{i}": variable for i, variable in enumerate(variables)}


class PyTorchLearner(Learner):
    """A learner whose training step runs as it is."""

    def __init__(self, agent: Any, optimizer: Any, max_gradient_norm: float | None):
        super().__init__(agent, optimizer, max_gradient_norm)
        self._torch = sys.modules["torch"]
        self._norm = math.nan

    def _compiled(self, train_on_rollout: Callable[..., Any], xla: bool) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            clipping = self._optimizer.register_step_pre_hook(self._clip_gradients)
            try:
                return train_on_rollout(*arguments)
            finally:
                clipping.remove()

        return step

    def _clip_gradients(self, *_: Any) -> None:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        largest = math.inf if self._max_norm is None else self._max_norm
        self._norm = self._torch.nn.utils.clip_grad_norm_(parameters, largest)

    def gradient_norm(self) -> float:
        return float(self._norm)

    def agent_arrays(self) -> Arrays:
        state = self._agent.state_dict()
        return {f"agent_{name}": tensor.cpu().numpy().copy() for name, tensor in state.items()}

    def other_arrays(self) -> dict[str, Any]:
        states = self._arrays_of(self._optimizer)
        return {
            "optimizer": type(self._optimizer).__name__,
            "random_torch": self._torch.get_rng_state().numpy().copy(),
        } | {f"optimizer_{i}_{name}": a for i, state in states.items() for name, a in state.items()}

    def _check_optimizer(self, arrays: Mapping[str, np.ndarray]) -> None:
        found = _states_in(arrays)
        expected = self._states_to_come() if found else None
        if expected is None:
            return
        for i, state in found.items():
            names = {*state, *expected.get(i, ())}
            shapes = {name: getattr(expected.get(i, {}).get(name), "shape", None) for name in names}
            _check_shapes(
                {f"optimizer_{i}_{name}": array for name, array in state.items()},
                {f"optimizer_{i}_{name}": shape for name, shape in shapes.items()},
            )

    def _states_to_come(self) -> dict[int, Arrays] | None:
        """Return what the optimizer's state holds after a step; None if it steps otherwise."""
        trial = copy.deepcopy(self._optimizer)
        for group in trial.param_groups:
            for parameter in group["params"]:
                parameter.grad = self._torch.zeros_like(parameter)
        try:
            type(trial).step(trial)  # a scheduler makes `trial.step` the original's
        except Exception:
            return None
        return self._arrays_of(trial)

    def _arrays_of(self, optimizer: Any) -> dict[int, Arrays]:
        return {
            i: {
                name: self._torch.as_tensor(part).detach().cpu().numpy().copy()
                for name, part in state.items()
                if part is not None
            }
            for i, state in optimizer.state_dict()["state"].items()
        }

    def _restore_optimizer(self, arrays: Mapping[str, np.ndarray]) -> None:
        states = {
            i: {name: self._torch.as_tensor(array) for name, array in state.items()}
            for i, state in _states_in(arrays).items()
        }
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": states, "param_groups": groups})
        self._torch.set_rng_state(self._torch.as_tensor(arrays["random_torch"]))

    def _set_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        names = self.agent_arrays()
        state = {name.removeprefix("agent_"): self._torch.as_tensor(arrays[name]) for name in names}
        self._agent.load_state_dict(state)


def _states_in(arrays: Mapping[str, np.ndarray]) -> dict[int, Arrays]:
    """Return the optimizer's state for each parameter, by the parameter's number."""
    states: dict[int, Arrays] = {}
    for key, array in arrays.items():
        if key.startswith("optimizer_"):
            _, i, name = key.split("_", 2)
            states.setdefault(int(i), {})[name] = array
    return states


def find_learner(agent: Any, optimizer: Any, max_gradient_norm: float | None) -> Learner:
    """Return the learner of the optimizer's framework.

    Raises:
        TypeError: If the optimizer is from neither Keras nor PyTorch.
    """
    origins = {kind.__module__.partition(".")[0] for kind in type(optimizer).__mro__}
    if "keras" in origins:
        return TensorFlowLearner(agent, optimizer, max_gradient_norm)
    if "torch" in origins:
        return PyTorchLearner(agent, optimizer, max_gradient_norm)
    raise TypeError(f"optimizer must come from keras.optimizers or torch.optim, got {optimizer!r}")


def _check_shapes(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...] | None]
) -> None:
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else None
        if found != shape:
            raise ValueError(
                "the checkpoint belongs to a different agent or optimizer: "
                f"{name} must have the shape {_words(shape)}, found {_words(found)}"
            )


def _words(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(shape)
