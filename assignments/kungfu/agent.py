"""The agent: what it is measured with, how each part is judged, and what it is worth."""

import functools
import re
from collections.abc import Sequence

import numpy as np

from checks import points
from checks.agent import logits_problem
from checks.loss import N_ACTIONS
from grading.assignment import Arrays, Exercise, Part
from grading.inside.measurement import Measurement
from grading.judge import is_close

POINTS = points.POINTS["agent"]


def agent_inputs(obs_shape: tuple[int, ...], generator: np.random.Generator) -> Arrays:
    """Draws observations `[n_games, *obs_shape]` in [0, 1], and a seed for memories."""
    shape = (6, *obs_shape)
    return {
        "seed": generator.integers(2**31),
        "observations": generator.random(shape, np.float32),
        "other_observations": generator.random(shape, np.float32),
    }


def _logits_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    logits = measured["base/logits"]
    if not np.all(np.isfinite(logits)):
        return "they are not finite numbers"
    n_games = len(measured["inputs/observations"])
    return logits_problem(logits, n_games, N_ACTIONS) or _head_problem("logits", measured)


def _value_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    value, n_games = measured["base/value"], len(measured["inputs/observations"])
    if value.shape != (n_games,):
        becomes = f": with (n,) it makes ({n_games}, {n_games})" if value.ndim == 2 else ""
        return f"for {n_games} games it has shape {value.shape}, not {(n_games,)}{becomes}"
    if measured["single/value"].shape != (1,):
        return f"for one game it has shape {measured['single/value'].shape}, not (1,)"
    if not np.all(np.isfinite(value)):
        return "it is not a finite number"
    return _head_problem("value", measured)


def _head_problem(head: str, measured: Measurement) -> str:
    """Judges logits or values by what they depend on.

    Students may change the architecture, so numbers that are not the solution's prove nothing.
    """
    base = measured[f"base/{head}"]
    for other, words in (("other", "the observation"), ("blank", "the memory")):
        if is_close(measured[f"{other}/{head}"], base):
            return f"{words} makes no difference"
    return ""


def _new_state_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    for part in ("h", "c"):
        new, old = measured[f"base/{part}"], measured[f"memory/{part}"]
        if new.shape != old.shape:
            return f"{part} has shape {new.shape}, not {old.shape}"
        if is_close(new, old):
            return "it is the old memory"
        given_back = measured.get(f"cell/{part}")
        if given_back is not None and not is_close(
            measured[f"replayed/{part}"], given_back, tolerance=1e-3
        ):
            return "it is not the state that the cell gives back, [h, c]"
    return ""


OUTPUTS = ("h", "c", "logits", "value")


def _games_apart_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    for output in OUTPUTS:
        base = measured[f"base/{output}"]
        if not is_close(measured[f"backwards/{output}"][::-1], base, tolerance=1e-3):
            return f"the order of the games in the batch changes {output}"
        if not is_close(measured[f"single/{output}"].ravel(), base[:1].ravel(), tolerance=1e-3):
            return f"the other games in the batch change {output}"
    return ""


def _gradients_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    gradients = measured["gradients"]
    if not gradients.size:
        return "the agent has no trainable variables"
    stuck = int(np.sum(~(gradients > 0)))
    return f"no gradient reaches {stuck} of {gradients.size} variables" if stuck else ""


def _agreement_problem(measured: Measurement, accepted: Sequence[Measurement]) -> str:
    for way, words in (("compiled", "compiled, or without gradients"), ("step", "as agent.step")):
        for output in OUTPUTS:
            if not is_close(
                measured[f"{way}/{output}"], measured[f"base/{output}"], tolerance=1e-3
            ):
                return f"{output} changes when the agent runs {words}"
    return ""


def _base(*outputs: str):
    return lambda measured: [measured[f"base/{output}"] for output in outputs]


PARTS = (
    Part("logits", "the actor's logits", POINTS["logits"], _logits_problem, _base("logits")),
    Part(
        "state_value", "the critic's value", POINTS["state_value"], _value_problem, _base("value")
    ),
    Part(
        "new_state",
        "the memory for the next tick",
        POINTS["new_state"],
        _new_state_problem,
        _base("h", "c"),
    ),
    Part(
        "games_apart",
        "each game on its own",
        POINTS["games_apart"],
        _games_apart_problem,
        _base(*OUTPUTS),
    ),
    Part(
        "gradients",
        "every weight learns",
        POINTS["gradients"],
        _gradients_problem,
        lambda m: [m["gradients"]],
    ),
    Part(
        "agreement",
        "the same however it is run",
        POINTS["agreement"],
        _agreement_problem,
        _base(*OUTPUTS),
    ),
)


DESCRIPTION = re.compile(r"description/(parts|\w{1,40}/\d\d)", re.ASCII)


def put_in_its_place(inputs: Arrays, measured: Measurement) -> Arrays:
    """Gives the solution's agent the layers and weights of a student's; see `Exercise.tailor`."""
    described = {name: array for name, array in measured.items() if DESCRIPTION.fullmatch(name)}
    return {**inputs, **described} if "description/parts" in described else {}


def exercise(obs_shape: tuple[int, ...]) -> Exercise:
    """Returns how the agent is graded, on a track with observations of this shape."""
    inputs = functools.partial(agent_inputs, obs_shape)
    return Exercise("agent", PARTS, inputs, tailor=put_in_its_place)
