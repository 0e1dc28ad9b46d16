"""Measures a student's answers with arrays in and arrays out; what they should be stands elsewhere.

Used by the checks and, beside a student's code, by the grader. `framework` is one of the adapters,
`checks.tensorflow` or `checks.pytorch`.

How the loss is looked into. The student's `train_on_rollout` gets a stand-in agent, whose logits
and values are constants plus variables that are zero, and plain gradient descent. After the call
each variable has moved along its gradient, so what the loss wants from every single logit and value
can be read off. Where the step itself is wrong, the gradients that were computed say the same.

The stand-ins take the place of the student's own agent and optimizer inside these very objects:
whatever else holds them, such as an object that trains, or a list of parameters, meets the
stand-ins, too. Where there is no agent yet, or another kind of object, globals are replaced.

Nothing leaves a trace: weights, optimizer, globals and random state are as they were before.
"""

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from checks.notebook import PlainError, describe_error
from checks.parts import AgentBypassed, Parts, find_parts
from checks.unfinished import RETURN, Unfinished


@contextlib.contextmanager
def no_trace(framework: ModuleType, namespace: dict[str, Any], **stand_ins: Any) -> Iterator[None]:
    """Puts stand-ins into the notebook's globals, then restores everything, random state too."""
    missing = object()
    before = {name: namespace.get(name, missing) for name in stand_ins}
    random_state, numpy_state = random.getstate(), np.random.get_state()
    namespace.update(stand_ins)
    try:
        with framework.leaving_no_trace():
            yield
    finally:
        for name, value in before.items():
            if value is missing:
                namespace.pop(name, None)
            else:
                namespace[name] = value
        random.setstate(random_state)
        np.random.set_state(numpy_state)


def make_agent(namespace: dict[str, Any], obs_shape: tuple[int, ...], n_actions: int) -> Any:
    """Returns a fresh agent, or the notebook's own if its class takes other arguments.

    Raises:
        Exception: whatever the student's class raises, if the notebook has made no agent of it.
    """
    agent_class = namespace["SimpleRecurrentAgent"]
    try:
        return agent_class(obs_shape, n_actions)
    except Exception:
        own = namespace.get("agent")
        if isinstance(agent_class, type) and isinstance(own, agent_class):
            return own
        raise


def make_running_agent(
    framework: ModuleType,
    namespace: dict[str, Any],
    obs_shape: tuple[int, ...],
    n_actions: int,
    unfinished: Unfinished,
) -> Any:
    """Returns a fresh agent, in which statements that fail are replaced as far as they can be.

    Raises:
        Exception: whatever the student's code raises when it makes one.
    """

    def make_and_try() -> Any:
        agent = make_agent(namespace, obs_shape, n_actions)
        observations = np.zeros((1, *obs_shape), np.float32)
        agent.forward(agent.get_initial_state(1), framework.to_tensor(observations))
        return agent

    try:
        return unfinished.run(make_and_try)
    except Exception:  # what fails is measured case by case
        return make_agent(namespace, obs_shape, n_actions)


class AgentArrays(dict[str, np.ndarray]):
    """What was measured of an agent, arrays by name.

    `SITUATION/OUTPUT` is an output of `forward`: `h`, `c`, `logits` or `value`, `[n_games, …]`.

    Attributes:
        errors: why others are missing, by the situation or the array.
    """

    def __init__(self):
        super().__init__()
        self.errors: dict[str, str] = {}

    def attempt(self, name: str, measure: Callable[..., None], *arguments: Any) -> None:
        """Calls a function that measures; a failure leaves an error."""
        try:
            measure(*arguments)
        except Exception as error:  # the student's code may raise anything
            self.errors[name] = describe_error(error)


N_GAMES = 5


def draw_agent_inputs(
    obs_shape: tuple[int, ...], n_actions: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws two batches of observations `[n_games, *obs_shape]` in [0, 1], and a seed."""
    # Games differ in brightness: means over the batch are not those of any one game.
    brightness = np.linspace(0.3, 1, N_GAMES, dtype=np.float32).reshape(-1, *[1] * len(obs_shape))

    def draw() -> np.ndarray:
        return generator.random((N_GAMES, *obs_shape), np.float32) * brightness

    return {
        "n_actions": np.array(n_actions),
        "seed": generator.integers(2**31),
        "observations": draw(),
        "other_observations": draw(),
    }


def measure_agent(framework: ModuleType, agent: Any, inputs: Mapping[str, Any]) -> AgentArrays:
    """Measures the outputs of a fresh agent in several situations.

    -   `base`: some memory, some observations;
    -   `blank`: with a blank memory; `other`: with other observations;
    -   `backwards`: the games the other way round; `alone/0`, `alone/1`, …: each game alone;
    -   `compiled`: as training or play runs it; `step`: by `agent.step`;
    -   `trained`, `trained_step`: as `base` and `step`, with other weights;
    -   `with_h`, `with_c`: what the LSTM cell gives back, its output h or its state c, is replaced
        by other numbers. What depends on it changes, whatever the agent is made of.

    `memory/h` and `memory/c` are the memory that goes in, `cell/h` and `cell/c` what the cell gives
    back in `base`, and `cell/calls` how often it is called. `features/…` is what goes into the cell
    for some observations, half their sum, and so on. `gradients/OUTPUT` has the largest gradient of
    each variable, -1 for none. `gradients/unlisted` names the weights that the outputs are made of
    and that the agent's own list lacks; `gradients/list` says what that list is called. `sample/…`
    are actions drawn, `[n_draws, n_games]`.

    Args:
        framework: its adapter.
        agent: the agent; zero weights get other values.
        inputs: of `draw_agent_inputs`.

    Raises:
        Exception: whatever the student's code raises when it makes a blank memory.
    """
    observations, others = inputs["observations"], inputs["other_observations"]
    generator = np.random.default_rng(int(inputs["seed"]))
    results = AgentArrays()
    with framework.leaving_no_trace():
        # A head may start from zeros: nothing would depend on anything.
        framework.fill_zeros(agent, np.random.default_rng([1, int(inputs["seed"])]))
        blank = agent.get_initial_state(len(observations))
        memory = _draw_memory(blank, generator)
        results |= dict(zip(("memory/h", "memory/c"), _as_h_and_c(memory), strict=True))
        forward = agent.forward

        def run(name: str, *arguments: Any) -> None:
            results.attempt(name, _run_agent, framework, results, name, *arguments)

        with framework.listening_to_cell(agent) as calls:
            run("base", forward, memory, observations)
        if "base" in results.errors:
            return results
        run("blank", forward, blank, observations)
        run("other", forward, memory, others)
        run("backwards", forward, type(memory)(m[::-1] for m in memory), observations[::-1])
        for i in range(len(observations)):  # what spans a batch may come from one game: try each
            alone = slice(i, i + 1)
            run(f"alone/{i}", forward, type(memory)(m[alone] for m in memory), observations[alone])
        run("compiled", framework.compiled(forward), memory, observations)
        run("step", agent.step, memory, observations)
        with framework.trained_a_little(agent, np.random.default_rng([2, int(inputs["seed"])])):
            run("trained", forward, memory, observations)
            run("trained_step", agent.step, memory, observations)
        if calls is not None:
            results["cell/calls"] = np.array(len(calls))
        if calls and len(memory) == 2:
            _, (h, c) = calls[-1]
            results |= {"cell/h": framework.to_array(h), "cell/c": framework.to_array(c)}
            for i, part in enumerate("hc"):
                with framework.listening_to_cell(agent, _replacing(framework, i, generator)):
                    run(f"with_{part}", forward, memory, observations)
            arguments = framework, results, agent, memory, inputs
            results.attempt("features", _measure_features, *arguments)
        for output in ("state", "logits", "value"):
            arguments = framework, results, agent, memory, observations, output
            results.attempt(f"gradients/{output}", _measure_gradients, *arguments)
        arguments = framework, results, agent, memory, observations
        results.attempt("gradients/unlisted", _measure_unlisted, *arguments)
        if "step" not in results.errors and np.ndim(results["base/logits"]) == 2:
            arguments = framework, results, agent, memory, observations, generator
            results.attempt("sample", _measure_sampling, *arguments)
    return results


def _draw_memory(blank: Sequence[Any], generator: np.random.Generator) -> Sequence[np.ndarray]:
    """Draws a memory like a blank one, whose entries are in [-0.5, 0.5]."""
    shapes = [tuple(np.shape(part)) for part in blank]
    return type(blank)(generator.uniform(-0.5, 0.5, shape).astype("float32") for shape in shapes)


def _call_agent(framework: ModuleType, forward: Callable, memory: Any, observations: Any) -> tuple:
    """Calls `forward` or `step` with arrays; returns new_state, logits, state_value.

    Raises:
        AgentOutputError: what comes back does not unpack so.
        Exception: whatever the student's code raises.
    """
    tensors = type(memory)(framework.to_tensor(part) for part in memory)
    returned = forward(tensors, framework.to_tensor(observations))
    try:
        new_state, (logits, value) = returned
    except (TypeError, ValueError) as error:
        raise AgentOutputError(
            f"what comes back does not unpack into new_state, (logits, state_value): {error}"
        ) from None
    return new_state, logits, value


class AgentOutputError(PlainError):
    """What an agent returns is not what it should return."""


def _run_agent(
    framework: ModuleType,
    results: AgentArrays,
    name: str,
    forward: Callable,
    memory: Any,
    observations: np.ndarray,
) -> None:
    new_state, logits, value = _call_agent(framework, forward, memory, observations)
    results[f"{name}/logits"] = framework.to_array(logits)
    results[f"{name}/value"] = framework.to_array(value)
    if not hasattr(new_state, "__len__") or len(new_state) != len(memory):  # the rest can be judged
        results[f"{name}/state"] = framework.to_array(new_state)
        return
    parts = _as_h_and_c([framework.to_array(part) for part in new_state])
    results[f"{name}/h"], results[f"{name}/c"] = parts


def _as_h_and_c(memory: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns two arrays, whatever number of parts an agent's memory has."""
    first, *others = memory
    return [first, np.concatenate(others, axis=-1)] if others else [first, first]


def _replacing(framework: ModuleType, index: int, generator: np.random.Generator) -> Callable:
    """Returns a function that replaces h, of index 0, or c by other numbers."""

    def replace(state: Sequence[Any]) -> list[Any]:
        parts = list(state)
        parts[index] = framework.to_tensor(generator.uniform(-0.5, 0.5, np.shape(parts[index])))
        return parts

    return replace


def _measure_features(
    framework: ModuleType, results: AgentArrays, agent: Any, memory: Any, inputs: Mapping[str, Any]
) -> None:
    one, other = inputs["observations"] / 2, inputs["other_observations"] / 2
    seen = {"none": np.zeros_like(one), "one": one, "other": other, "both": one + other}
    for name, observations in seen.items():
        with framework.listening_to_cell(agent) as calls:
            _call_agent(framework, agent.forward, memory, observations)
        results[f"features/{name}"] = framework.to_array(calls[-1][0])


def _measure_gradients(
    framework: ModuleType,
    results: AgentArrays,
    agent: Any,
    memory: Any,
    observations: np.ndarray,
    output: str,
) -> None:
    def run() -> list[Any]:
        new_state, logits, value = _call_agent(framework, agent.forward, memory, observations)
        return {"state": [*new_state], "logits": [logits], "value": [value]}[output]

    sizes = framework.gradient_sizes(agent, run)
    numbers = [-1.0 if size is None else size for _, size in sizes]
    results[f"gradients/{output}"] = np.asarray(numbers, np.float32)
    results["gradients/names"] = _as_bytes("\n".join(name for name, _ in sizes))


def _measure_unlisted(
    framework: ModuleType, results: AgentArrays, agent: Any, memory: Any, observations: np.ndarray
) -> None:
    def run() -> list[Any]:
        new_state, logits, value = _call_agent(framework, agent.forward, memory, observations)
        return [*new_state, logits, value]

    results["gradients/unlisted"] = _as_bytes("\n".join(framework.unlisted_weights(agent, run)))
    results["gradients/list"] = _as_bytes(framework.WEIGHTS_OF_AGENT)


def _as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(errors="replace"), np.uint8)


N_DRAWS = 20


def _measure_sampling(
    framework: ModuleType,
    results: AgentArrays,
    agent: Any,
    memory: Any,
    observations: np.ndarray,
    generator: np.random.Generator,
) -> None:
    """Draws actions from logits that make one action certain, and from equal ones."""
    _, logits, value = _call_agent(framework, agent.step, memory, observations)
    n_games, n_actions = results["base/logits"].shape
    favourites = generator.permutation(np.arange(max(n_actions, n_games)) % n_actions)[:n_games]
    results["sample/favourites"] = favourites
    sure = 40 * np.eye(n_actions, dtype=np.float32)[favourites]
    for name, numbers in (("sure", sure), ("even", np.zeros_like(sure))):
        given = numbers if isinstance(logits, np.ndarray) else framework.to_tensor(numbers)
        draws = [agent.sample_actions((given, value)) for _ in range(N_DRAWS)]
        results[f"sample/{name}"] = np.stack([framework.to_array(draw) for draw in draws])


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A rollout, what the stand-in agent says about it, and the settings of the loss.

    Attributes:
        actions, rewards, is_not_done: `[n_games, n_ticks]`.
        values: `[n_games, n_ticks]`, or `[n_games, n_ticks, 1]` from an agent that leaves its
            values' last axis.
        logits: `[n_games, n_ticks, n_actions]`.
        memory: the memory before the first tick, a number for each game, `[n_games]`.
        gamma, value_loss_weight, entropy_weight: numbers.
    """

    actions: np.ndarray
    rewards: np.ndarray
    values: np.ndarray
    is_not_done: np.ndarray
    logits: np.ndarray
    memory: np.ndarray
    gamma: float
    value_loss_weight: float
    entropy_weight: float


@dataclasses.dataclass(frozen=True)
class Step:
    """What happened to the agent's variables during one call of `train_on_rollout`.

    Attributes:
        n_updates: how many steps the optimizer took.
        n_variables: how many variables the agent has.
        n_moved: how many of them moved.
        is_bypassed: whether any of them moved without the optimizer.
        is_replaced: whether another optimizer was made.
        has_gradients: whether gradients were computed that are not all zero.
        has_gradients_first: whether that was before the optimizer's first step, if it took any.
    """

    n_updates: int
    n_variables: int
    n_moved: int
    is_bypassed: bool
    is_replaced: bool
    has_gradients: bool
    has_gradients_first: bool


@dataclasses.dataclass(frozen=True)
class LossMeasurement:
    """What one call of `train_on_rollout` returned and did to the stand-ins.

    Attributes:
        loss: what came back, its tensor as an array; of several things the first.
        is_number: whether what came back was one number, and nothing else.
        value_moves: `[n_games, n_ticks]`, minus the gradient of the loss by V(s_t).
        logit_moves: `[n_games, n_ticks, n_actions]`, minus the gradient by each logit.
        memory_moves: `[n_ticks]`, minus the gradient by the memory that each tick hands on.
        memories: for each tick the memories `[n_games]` that the agent was called with.
        step: what the step did.
    """

    loss: np.ndarray
    is_number: bool
    value_moves: np.ndarray
    logit_moves: np.ndarray
    memory_moves: np.ndarray
    memories: list[list[np.ndarray]]
    step: Step


LEARNING_RATE = 0.5


def finish_loss(
    framework: ModuleType, namespace: dict[str, Any], case: LossCase, unfinished: Unfinished
) -> None:
    """Replaces in `train_on_rollout` what fails, and adds gradients and a result if there are none.

    Raises:
        Exception: as `measure_loss`.
    """

    def measure() -> LossMeasurement:
        return measure_loss(framework, namespace, case)[0]

    def computes_gradients() -> bool:
        step = measure().step
        return step.has_gradients or step.n_moved > 0

    def returns_a_number() -> bool:
        return measure().loss.dtype.kind == "f"

    words = f"no gradient is computed: {framework.HOW_TO_STEP}"
    unfinished.complete("train_on_rollout", "", words, computes_gradients)
    words = "no number comes back: return the loss"
    unfinished.complete("train_on_rollout", RETURN, words, returns_a_number)


class StepObserver:
    """Notes what happens to the stand-in agent's variables during one call.

    An adapter's `observing` tells it. All variables carry the same: the agent's outputs shift by
    their sum divided by the root of their number, so that all together move, and have a gradient,
    as a single one would.

    Args:
        agent: the stand-in, whose variables are zero.
    """

    def __init__(self, agent: Any):
        self._agent = agent
        self._before: np.ndarray
        self._moved_by_optimizer = np.zeros(1, np.float32)
        self._gradients: dict[int, dict[int, np.ndarray]] = {}
        self._targets: list[Any] = []  # kept, so that no two have the same id
        self._is_closed = False
        self._has_gradients_first = False
        self.n_updates = 0
        self.is_replaced = False

    def agent_called(self) -> None:
        """Notes a call of the agent, which after a step begins a second pass."""
        self._is_closed = self._is_closed or bool(self.n_updates and self._gradients)

    def computed(self, target: Any, gradients: dict[int, np.ndarray], adds_up: bool) -> None:
        """Notes gradients `[size]` of a target by some variables, given by their place."""
        if self._is_closed or not gradients:
            return
        self._targets.append(target)
        known = self._gradients.setdefault(id(target), {})
        for place, gradient in gradients.items():
            known[place] = gradient + known[place] if adds_up and place in known else gradient

    def before_update(self) -> None:
        if not self.n_updates:
            self._has_gradients_first = self._has_gradients()
        self._before = self._agent.positions()

    def after_update(self) -> None:
        self.n_updates += 1
        self._moved_by_optimizer = self._moved_by_optimizer + self._agent.positions() - self._before

    def optimizer_made(self) -> None:
        self.is_replaced = True

    def _has_gradients(self) -> bool:
        return any(np.any(g) for by in self._gradients.values() for g in by.values())

    def result(self) -> tuple[Step, np.ndarray]:
        """Returns what the step did, and how far it moves the outputs; see `_moves`."""
        positions, has_gradients = self._agent.positions(), self._has_gradients()
        step = Step(
            n_updates=self.n_updates,
            n_variables=len(positions),
            n_moved=int(np.sum(np.any(positions != 0, axis=1))),
            is_bypassed=not _are_alike(positions, self._moved_by_optimizer),
            is_replaced=self.is_replaced,
            has_gradients=has_gradients,
            has_gradients_first=self._has_gradients_first if self.n_updates else has_gradients,
        )
        return step, self._moves(step, positions)

    def _moves(self, step: Step, positions: np.ndarray) -> np.ndarray:
        """Returns how far one step moves the outputs, per unit of the learning rate, `[size]`.

        One step of the optimizer that moved all variables alike says it, however gradients were
        treated on the way. Anything else than that is a mistake of the step, or a choice about it.
        What the loss wants is then said by its gradients.
        """
        is_right = step.n_updates == 1 and step.n_moved and not step.is_bypassed
        if self._gradients and not (is_right and _are_alike(positions, positions[:1])):
            root = len(positions) ** 0.5
            means = (np.mean([*by.values()], axis=0) for by in self._gradients.values())
            return -root * np.sum([*means], axis=0)
        shift = positions.sum(axis=0) / len(positions) ** 0.5
        return shift / LEARNING_RATE / max(step.n_updates, 1)


def _are_alike(positions: np.ndarray, others: np.ndarray) -> bool:
    largest = np.max(np.abs(positions), initial=np.max(np.abs(others)))
    # Infinite steps are for the judgement of what moved.
    return not np.any(np.abs(positions - others) > 1e-5 * largest)


class StepCalled(Exception):  # noqa: N818
    """The student trains by `agent.step`, which is for playing."""


def _step(prev_state: Any, obs_t: Any) -> None:
    raise StepCalled("agent.step is for playing: no gradient passes through what it returns")


def measure_loss(
    framework: ModuleType, namespace: dict[str, Any], case: LossCase, n_calls: int = 1
) -> list[LossMeasurement]:
    """Runs the `train_on_rollout` of a notebook's globals, with stand-ins around it.

    If it calls layers of the agent instead of the agent itself, the stand-in takes the place of
    these layers, where they can be told apart.

    Args:
        framework: its adapter.
        namespace: the notebook's globals.
        case: what to run it with.
        n_calls: how often, one after the other; what was moved is moved back in between, so all
            calls should do the same.

    Returns:
        What each call did.

    Raises:
        StepCalled: if it calls `agent.step`.
        AgentBypassed: if it calls layers of the agent, and the stand-in cannot take their place.
        Exception: whatever the student's code raises.
    """
    # Two pixels of each observation say which game and tick it is. The others tell them apart
    # for the layers of an agent.
    shape = *case.logits.shape[:2], *framework.OBS_SHAPE
    observations = np.random.default_rng(0).random(shape, np.float32)
    observations[:, :, 0, 0, 0] = np.arange(shape[0])[:, None] / 64
    observations[:, :, 0, 0, 1] = np.arange(shape[1]) / 64
    parts = None
    for _ in ("the whole agent", "its layers"):
        with contextlib.suppress(AgentBypassed):
            return _measure_calls(framework, namespace, case, n_calls, observations, parts)
        with no_trace(framework, namespace):
            parts = find_parts(framework, namespace["agent"], observations)
        if parts is None:
            break
    raise AgentBypassed


def _measure_calls(
    framework: ModuleType,
    namespace: dict[str, Any],
    case: LossCase,
    n_calls: int,
    observations: np.ndarray,
    parts: Parts | None,
) -> list[LossMeasurement]:
    """Measures by a stand-in for the whole agent, or for its parts."""
    n_games, n_ticks, _ = case.logits.shape
    memories: list[list[np.ndarray]] = []
    observer: StepObserver

    def called(tick: int, memory: np.ndarray) -> None:
        memories[tick].append(memory)
        observer.agent_called()

    measured = []
    agent = framework.StandInAgent(case.values, case.logits, called, _step)
    with _standing_in(framework, namespace, case, agent, parts) as optimizer:
        for _ in range(n_calls):
            memories[:] = [[] for _ in range(n_ticks)]
            observer = StepObserver(agent)
            with framework.observing(agent, optimizer, observer):
                loss = namespace["train_on_rollout"](
                    observations.copy(),
                    case.actions.copy(),
                    case.rewards.copy(),
                    case.is_not_done.copy(),
                    [
                        framework.as_pool_gives(np.repeat(case.memory[:, None], agent.width, 1))
                        for _ in range(agent.n_parts)
                    ],
                    gamma=case.gamma,
                )
            step, moves = observer.result()
            several = isinstance(loss, tuple | list) and loss
            number = framework.to_array(loss[0] if several else loss)
            ends = np.cumsum([case.values.size, case.logits.size])
            value_moves, logit_moves, memory_moves = np.split(moves, ends)
            measured.append(
                LossMeasurement(
                    loss=number,
                    is_number=number.ndim == 0 and not isinstance(loss, tuple | list),
                    value_moves=value_moves.reshape(n_games, n_ticks),
                    logit_moves=logit_moves.reshape(case.logits.shape),
                    memory_moves=memory_moves,
                    memories=[list(at_tick) for at_tick in memories],
                    step=step,
                )
            )
            if len(measured) < n_calls:
                agent.move_back()
    return measured


@contextlib.contextmanager
def _standing_in(
    framework: ModuleType,
    namespace: dict[str, Any],
    case: LossCase,
    agent: Any,
    parts: Parts | None,
) -> Iterator[Any]:
    """Puts a stand-in agent, plain gradient descent and a case's settings into a notebook.

    Yields:
        The descent, which is the optimizer or what the student's own optimizer does.
    """
    own = namespace.get("agent")
    memory = _memory_of(framework, own)
    names = _optimizer_names(framework, namespace)
    optimizers = {name: namespace.get(name) for name in names if memory is not None}
    kept = {name: each for name, each in optimizers.items() if framework.is_optimizer(each)}
    with contextlib.ExitStack() as stack:
        if memory is not None:
            stack.enter_context(agent.in_place_of(own, memory, parts))
        descent = framework.gradient_descent(agent, LEARNING_RATE)
        for optimizer in {id(each): each for each in kept.values()}.values():
            stack.enter_context(framework.optimizing_by(descent, optimizer))
        stand_ins = {
            "agent": agent if memory is None else own,
            **dict.fromkeys(names, descent),
            **kept,
            "n_actions": case.logits.shape[-1],
            "value_loss_weight": case.value_loss_weight,
            "entropy_weight": case.entropy_weight,
        }
        stack.enter_context(no_trace(framework, namespace, **stand_ins))
        yield descent


def _memory_of(framework: ModuleType, agent: Any) -> Any:
    """Returns a memory of an agent whose place a stand-in can take, None if it is not one."""
    try:
        return agent.get_initial_state(1) if framework.can_stand_in_for(agent) else None
    except Exception:  # the student's code may raise anything
        return None


N_MOVES = 3
MAX_UPDATES = 200  # optimizers that accumulate gradients, or warm up, begin late


def descend(
    framework: ModuleType, optimizer: Any, start: np.ndarray
) -> tuple[np.ndarray, list[bool]]:
    """Lets an optimizer take steps down a sum of squares until everything has moved.

    Args:
        framework: its adapter.
        optimizer: what it belongs to is changed.
        start: numbers, how far all its variables begin from where they should go.

    Returns:
        The first distances that differ, `[N_MOVES + 1, n_weights]`, the last one repeated if there
        are fewer; and for each variable whether it moved at all.
    """
    goal = -1.5 * start  # beyond 0, so that nothing but the gradient leads there: no decay does
    take_step, places = framework.downhill(optimizer, start + goal, goal)
    path = [places()]
    has_moved = [False] * len(path[0])
    for _ in range(MAX_UPDATES):
        take_step()
        now = places()
        if len(path) <= N_MOVES and any(map(_differ, now, path[-1])):
            path.append(now)
        has_moved = [*map(_differ, now, path[0])]
        is_broken = not all(np.all(np.isfinite(place)) for place in now)
        if is_broken or (all(has_moved) and len(path) > N_MOVES):
            break
    path += [path[-1]] * (N_MOVES + 1 - len(path))
    return np.stack([np.concatenate(place) for place in path]), has_moved


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.any(one != other))


def find_stuck(
    framework: ModuleType, optimizer: Any, agent: Any, has_moved: Sequence[bool]
) -> list[str]:
    """Returns the names of an agent's variables that an optimizer does not move.

    Args:
        framework: their adapter.
        optimizer: one that belongs to no variable yet will take them all. So will, as far as can
            be known, one that belongs to another agent.
        agent: any; of one that does not say what its variables are nothing is known.
        has_moved: for each of the optimizer's variables whether it can be moved.
    """
    own = _named_by_id(framework, agent)
    known = framework.optimized_variables(optimizer)
    if known is None or not own.keys() & {id(variable) for variable in known}:
        return []
    moved = has_moved if len(has_moved) == len(known) else [True] * len(known)
    learning = {id(variable) for variable, moves in zip(known, moved, strict=True) if moves}
    return [name for key, name in own.items() if key not in learning]


def belongs_elsewhere(framework: ModuleType, optimizer: Any, agent: Any) -> bool:
    """Says whether an optimizer belongs to variables, and to none of an agent's."""
    own, known = _named_by_id(framework, agent), framework.optimized_variables(optimizer)
    return bool(own and known) and not own.keys() & {id(variable) for variable in known}


def _named_by_id(framework: ModuleType, agent: Any) -> dict[int, str]:
    """Returns the names of an agent's variables by their ids."""
    try:
        return {id(variable): name for name, variable in framework.named_variables(agent)}
    except Exception:  # an agent of the student's own may be anything
        return {}


def find_optimizer(framework: ModuleType, namespace: dict[str, Any]) -> str:
    """Returns the name under which a notebook has its optimizer, the usual one if it has none."""
    names = [
        name
        for name in framework.OPTIMIZER_NAMES
        if name in namespace and not isinstance(namespace[name], ModuleType)
    ]
    return names[0] if names else framework.OPTIMIZER


def _optimizer_names(framework: ModuleType, namespace: dict[str, Any]) -> list[str]:
    """Returns the names under which `train_on_rollout` may look for the optimizer."""
    others = ModuleType, FunctionType
    return [n for n in framework.OPTIMIZER_NAMES if not isinstance(namespace.get(n), others)]
