"""Measures a student's answers in the worker that runs them.

Judges nothing and holds no answers: what runs here is in reach of the student's code, so it hands
back arrays, and what they should be is decided elsewhere.

What only one framework does stands in its adapter in `checks/`, and in `measure_tensorflow.py` and
`measure_pytorch.py`, which describe agents and build them again. `make_measuring` joins them.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import numpy as np
import run_all
from cells import run_cells
from measurement import ABSENT, NOTE, UNFINISHED, UNGRADABLE, Measurement

import checks
from checks.measuring import (
    LossCase,
    belongs_elsewhere,
    descend,
    find_optimizer,
    find_stuck,
    finish_loss,
    make_running_agent,
)
from checks.measuring import measure_agent as measure_outputs
from checks.measuring import measure_loss as measure_one_loss
from checks.notebook import describe_error
from checks.parts import AgentBypassed
from checks.unfinished import Unfinished

N_ACTIONS = 14
NAMES = {"agent": "SimpleRecurrentAgent", "loss": "train_on_rollout"}
# Names of what describes an agent's layers; they are among the inputs when it is rebuilt.
DESCRIPTION = "description/"
MAX_WEIGHT_BYTES = 8 << 20
MAX_NAME_BYTES = 2048
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


def make_preparing(framework: ModuleType, layers: Layers) -> Callable[[bytes], None]:
    """Returns `prepare(data)` of a framework, which prepares the shell for a whole notebook."""

    def prepare(data: bytes) -> None:
        run_all.namespace().update(_provided(framework, layers))
        for name in checks.__all__:
            if name.startswith("check_"):  # the notebook's own checks prove nothing, and cost time
                setattr(checks, name, lambda namespace: None)
        _leave_videos_empty()

    return prepare


def _leave_videos_empty() -> None:
    """Makes recordings of games leave empty files: encoding takes longer than playing."""
    from gymnasium.wrappers import RecordVideo

    def stop_recording(self: RecordVideo) -> None:
        Path(self.video_folder, f"{self._video_name}.mp4").touch()
        self.recorded_frames, self.recording = [], False

    RecordVideo.stop_recording = stop_recording


def _provided(
    framework: ModuleType, layers: Layers, beside: list[str] | None = None
) -> dict[str, Any]:
    """Returns names that answers use, for notebooks in which the game cannot be made.

    The agent is the student's own, if that can be made: code that acts differently where it meets
    another agent than in the notebook would be right only while it is measured.
    """
    shape = framework.OBS_SHAPE
    env = SimpleNamespace(
        action_space=SimpleNamespace(n=N_ACTIONS), observation_space=SimpleNamespace(shape=shape)
    )
    provided = {"n_actions": N_ACTIONS, "obs_shape": shape, "gamma": 0.99, "env": env}
    with contextlib.suppress(Exception):  # the student's code may raise anything
        own = run_cells("agent", beside or [], [], **provided)[NAMES["agent"]]
        agent = own(shape, N_ACTIONS)
        if framework.can_stand_in_for(agent):  # else it would cost the other exercises, too
            return provided | {NAMES["agent"]: own, "agent": agent}
    return provided | {"agent": layers.agent_to_optimize()}


def measure(
    framework: ModuleType,
    layers: Layers,
    measures: dict[str, Callable[..., Measurement]],
    data: bytes,
    exercise: str,
    sources: list[str] | None,
    beside: list[str] | None = None,
) -> bytes:
    """Runs the cells that make an exercise's names, then measures them.

    Args:
        framework: its adapter.
        layers: the framework's.
        measures: what measures, by the exercise.
        data: the inputs, a `Measurement`.
        exercise: `agent`, `loss` or `optimizer`.
        sources: cells to run in a namespace of their own, the answer last. Cells before the last
            may fail: what they were to define is missing then, and nothing else. None: the names
            are those of the notebook that ran in this worker.
        beside: the answer that makes the agent, if the answer may use one.

    Returns:
        A `Measurement`.
    """
    failed: list[str] = []
    try:
        namespace = (
            run_all.namespace()
            if sources is None
            else run_cells(exercise, sources, failed, **_provided(framework, layers, beside))
        )
        names = (NAMES[exercise],) if exercise in NAMES else framework.OPTIMIZER_NAMES
        if not namespace.keys() & {*names}:
            words = f"the notebook does not define {names[0]}"
            return Measurement(errors={ABSENT: words}).to_bytes()
        unfinished = Unfinished(namespace, framework, exercise)
        try:
            results = measures[exercise](namespace, Measurement.from_bytes(data), unfinished)
        finally:
            unfinished.restore()
        for target, words in unfinished.failed.items():
            if target in framework.NEUTRAL[exercise]:
                results.errors[UNFINISHED + target] = words
            else:
                failed.append(words)
    except BaseException as error:  # the student's code may raise anything
        results = Measurement(errors={"": describe_error(error)})
    results.errors |= {f"{NOTE}{i:02}": words for i, words in enumerate(dict.fromkeys(failed))}
    return results.to_bytes()


# ------------------------------------------------------------------------------------------ agent


def measure_agent(
    framework: ModuleType,
    layers: Layers,
    namespace: dict[str, Any],
    inputs: Measurement,
    unfinished: Unfinished,
) -> Measurement:
    """Measures a fresh agent of the student's class.

    If the inputs hold another agent's description, this one is rebuilt from it.
    """
    agent = make_running_agent(framework, namespace, framework.OBS_SHAPE, N_ACTIONS, unfinished)
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
            raise ValueError(f"{kind} with {key} = {value!r:.50}")
    return layers.class_of(kind)(**{key: settings[key] for key in layers.STANDARD[kind]})


def _measure_this_agent(framework: ModuleType, agent: Any, inputs: Measurement) -> Measurement:
    measured = measure_outputs(framework, agent, inputs)
    return Measurement(measured, measured.errors)


def _try(name: str, measure: Any, *arguments: Any) -> Measurement:
    try:
        return measure(*arguments)
    except Exception as error:
        return Measurement(errors={name: describe_error(error)})


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
    framework: ModuleType, namespace: dict[str, Any], inputs: Measurement, unfinished: Unfinished
) -> Measurement:
    """Measures `train_on_rollout` on every case in the inputs, `CASE/FIELD`.

    A case that cannot be measured leaves an error.
    """
    results, cases = Measurement(), {}
    fields = [field.name for field in dataclasses.fields(LossCase)]
    for name in sorted({key.partition("/")[0] for key in inputs if "/" in key}):
        values = {field: inputs[f"{name}/{field}"] for field in fields}
        cases[name] = LossCase(
            **{key: float(v) if np.ndim(v) == 0 else v for key, v in values.items()}
        )
    try:
        finish_loss(framework, namespace, cases["peaked"], unfinished)
    except AgentBypassed as error:
        return Measurement(errors={UNGRADABLE: str(error)})
    except Exception:  # each case says why it fails
        pass
    for name, case in cases.items():
        results |= _try(name, _measure_case, framework, name, namespace, case)
    return results


def _measure_case(
    framework: ModuleType, name: str, namespace: dict[str, Any], case: LossCase
) -> Measurement:
    n_calls = 2 if framework.GRADIENTS_ADD_UP else 1
    measured, *again = measure_one_loss(framework, namespace, case, n_calls)
    results = Measurement(
        {
            f"{name}/is_number": np.asarray(measured.is_number),
            f"{name}/value_moves": measured.value_moves,
            f"{name}/logit_moves": measured.logit_moves,
            f"{name}/memory_moves": measured.memory_moves,
            f"{name}/step": np.asarray(dataclasses.astuple(measured.step), np.float32),
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
    framework: ModuleType, namespace: dict[str, Any], inputs: Measurement, unfinished: Unfinished
) -> Measurement:
    """Lets the optimizer take steps down the sum of squares from a given start."""
    name = find_optimizer(framework, namespace)
    optimizer = namespace[name]
    if not framework.is_optimizer(optimizer):
        words = f"{name} is {optimizer!r}, not one of {framework.OPTIMIZERS}"
        return Measurement(errors={"": words})
    copy = framework.copy_optimizer(optimizer)
    try:
        path, has_moved = descend(framework, optimizer if copy is None else copy, inputs["start"])
    except Exception as error:  # at no line of the student's
        return Measurement(errors={"": describe_error(error.with_traceback(None))})
    stuck = "\n".join(find_stuck(framework, optimizer, namespace.get("agent"), has_moved))
    names = np.zeros(MAX_NAME_BYTES, np.uint8)
    text = np.frombuffer(stuck.encode(errors="replace")[:MAX_NAME_BYTES], np.uint8)
    names[: len(text)] = text
    three = np.linspace(0, path.shape[1] - 1, 3).astype(int)  # weights are enough
    elsewhere = belongs_elsewhere(framework, optimizer, namespace.get("agent"))
    return Measurement(
        {"path": path[:, three], "stuck": names, "belongs_elsewhere": np.array(elsewhere)}
    )
