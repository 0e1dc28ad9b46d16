"""The exercise *agent*: is `SimpleRecurrentAgent.forward` right?

Students may change the architecture, so no number is right by itself. What is judged is what each
output depends on: `checks.measuring` runs the agent in several situations, and replaces what its
LSTM cell gives back. The grader judges by the functions below, too, on inputs of its own.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from checks.arrays import is_close
from checks.frameworks import find_adapter
from checks.measuring import draw_agent_inputs, make_running_agent, measure_agent, no_trace
from checks.notebook import describe_error, enumerate_names
from checks.points import POINTS
from checks.sheet import Sheet, require
from checks.unfinished import Unfinished

SAME = 1e-4  # relative: a result that moves less does not depend on what was changed
MAX_TEXT = 4096  # characters of the names that a measurement holds
AGREES = 1e-3  # relative: rounding moves results by less
NAMES = {"h": "h", "c": "c", "logits": "logits", "value": "state_value"}


class Problem(str):
    """Why a property does not hold.

    Attributes:
        idea: the name of the misconception behind it, if it is a known one.
    """

    idea: str

    def __new__(cls, words: str, idea: str = "") -> "Problem":
        problem = super().__new__(cls, words)
        problem.idea = idea
        return problem


class Measured(Protocol):
    """What `measure_agent` returns, with its inputs under `inputs/`, here or in the grader."""

    errors: Mapping[str, str]

    def __getitem__(self, name: str) -> np.ndarray: ...

    def __contains__(self, name: object) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Line:
    """A property, in the student's words, that is judged by one function."""

    title: str
    problem: Callable[[Measured], str]


def check_agent(namespace: dict[str, Any]) -> None:
    """Checks `SimpleRecurrentAgent.forward` on a fresh agent.

    Args:
        namespace: the notebook's `globals()`: `SimpleRecurrentAgent`, `obs_shape`, `n_actions`.

    Raises:
        CheckFailed: if a property does not hold; its message lists those.
    """
    sheet = Sheet("Exercise: agent", "agent")
    require(namespace, sheet, "SimpleRecurrentAgent", "obs_shape", "n_actions")
    framework = find_adapter(namespace)
    with no_trace(framework, namespace):
        _check_agent(framework, namespace, sheet)
    sheet.close()


def _check_agent(framework: ModuleType, namespace: dict[str, Any], sheet: Sheet) -> None:
    obs_shape, n_actions = namespace["obs_shape"], int(namespace["n_actions"])
    inputs = draw_agent_inputs(obs_shape, n_actions, np.random.default_rng(0))
    unfinished = Unfinished(namespace, framework, "agent")
    try:
        agent = make_running_agent(framework, namespace, obs_shape, n_actions, unfinished)
        measured = measure_agent(framework, agent, inputs)
    except Exception as error:
        sheet.add("an agent can be made", describe_error(error))
        return
    finally:
        unfinished.restore()
    told = unfinished.tell(sheet)
    measured |= {f"inputs/{name}": np.asarray(value) for name, value in inputs.items()}
    if problem := why_unmeasured(measured):
        sheet.add("forward runs", problem)
        return
    if problem := precision_problem(measured, framework.PRECISION):
        sheet.fail("the agent computes in float32", problem)  # right, but nothing else would run
    for part in (part for part in POINTS["agent"] if part not in told):
        for title, problem in judge_lines(part, measured):
            sheet.add(title, problem, part=part)
    if remark := linear_remark(measured):
        sheet.remark("activations", remark)


def judge_lines(part: str, measured: Measured) -> Iterator[tuple[str, str]]:
    """Yields the lines of a part and why they fail, "" if they pass, up to the first that does."""
    for line in LINES[part]:
        try:
            problem = line.problem(measured)
        except KeyError:  # an array was not measured
            problem = next(iter(measured.errors.values()), "it could not be measured")
        except Exception:  # a student's arrays may have any shapes
            problem = "its shapes do not fit"
        yield line.title, problem
        if problem:
            return


def why_unmeasured(measured: Measured) -> str:
    """Returns why nothing at all could be measured, "" if something was."""
    for name in ("", "base"):
        if name in measured.errors:
            return measured.errors[name]
    is_there = "base/logits" in measured and "base/value" in measured
    return "" if is_there else "nothing was measured"


def precision_problem(measured: Measured, setting: str) -> str:
    """Says which outputs are not float32, and by which setting they will be, "" if all are.

    Args:
        measured: what was measured.
        setting: in code; "" where a framework computes with different types side by side.
    """
    names = [output for output in NAMES if f"base/{output}" in measured]
    kinds = {NAMES[output]: measured[f"base/{output}"].dtype.name for output in names}
    others = {name: kind for name, kind in kinds.items() if kind != "float32"}
    if not others or not setting:
        return ""
    found = " and ".join(dict.fromkeys(others.values()))
    return (
        f"{enumerate_names([*others])} {'is' if len(others) == 1 else 'are'} {found}, but games "
        f"and loss are float32, and the two do not mix. Run `{setting}` before you make an agent"
    )


def part_problem(part: str, measured: Measured) -> str:
    """Returns why a part of the exercise fails, "" if it passes."""
    if problem := why_unmeasured(measured):
        return problem
    return next((problem for _, problem in judge_lines(part, measured) if problem), "")


# ----------------------------------------------------------------------------- logits, state_value


def _logits_shape_problem(measured: Measured) -> str:
    logits = measured["base/logits"]
    expected = len(measured["inputs/observations"]), int(measured["inputs/n_actions"])
    if logits.shape != expected:
        return f"for {expected[0]} games they have shape {logits.shape}, expected {expected}"
    return "" if np.all(np.isfinite(logits)) else "they have NaN or infinite entries"


def _raw_logits_problem(measured: Measured) -> str:
    logits = measured["base/logits"]
    if np.all(logits >= 0) and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        return Problem(
            "they are probabilities already (each row sums to 1): return the head's raw output, "
            "softmax is applied later",
            "softmax inside the logits head",
        )
    if np.all(logits >= 0) and np.allclose(logits.sum(axis=0), 1, atol=1e-3):
        return Problem(
            "they are probabilities already, and each column sums to 1, over the games: return "
            "the head's raw output, softmax is applied later, to each row",
            "softmax over the games inside the logits head",
        )
    # No logit above 1 can be one, and its exponential could overflow.
    if np.allclose(np.exp(np.minimum(logits, 1)).sum(axis=1), 1, atol=1e-3):
        return Problem(
            "they are log-probabilities already: return the head's raw output, softmax comes later",
            "softmax inside the logits head",
        )
    return ""


def _value_shape_problem(measured: Measured) -> str:
    value, n_games = measured["base/value"], len(measured["inputs/observations"])
    if value.shape == (n_games, 1):
        return Problem(
            f"state_value has shape {value.shape}: drop the last axis, or (n,) minus (n, 1) "
            "becomes (n, n) in the loss without a word",
            "value left (n, 1)",
        )
    if value.shape != (n_games,):
        return f"for {n_games} games it has shape {value.shape}, expected {(n_games,)}"
    if "alone/0/value" in measured and measured["alone/0/value"].shape != (1,):
        return Problem(
            f"for one game it has shape {measured['alone/0/value'].shape}, expected (1,): "
            "drop the last axis only, a bare squeeze drops the games' axis too",
            "value squeezed without an axis",
        )
    return "" if np.all(np.isfinite(value)) else "it has NaN or infinite entries"


def _logits_source_problem(measured: Measured) -> str:
    return _source_problem(measured, "logits")


def _value_source_problem(measured: Measured) -> str:
    return _source_problem(measured, "value")


def _source_problem(measured: Measured, head: str) -> str:
    """Says whether a head reads something other than what comes out of the cell."""
    if _is_constant(measured, head):
        return (
            f"{NAMES[head]} is the same whatever the agent sees and remembers: its head must read "
            "the cell's output"
        )
    if "with_h/logits" in measured:
        if _moves(measured, "with_h", head) or _moves(measured, "with_c", head):
            return ""
        return Problem(
            f"what the LSTM cell gives back makes no difference to {NAMES[head]}: the heads must "
            "read the cell's output, not what goes into the cell",
            "heads on the backbone",
        )
    # Without a cell to look into: whatever reaches the memory must reach the head, too.
    depends = {situation: _moves(measured, situation, head) for situation in ("blank", "other")}
    if not depends["blank"] and _moves(measured, "blank", "h"):
        return Problem(
            f"the memory makes no difference to {NAMES[head]}: the heads must read the cell's "
            "output, not what goes into the cell",
            "heads on the backbone",
        )
    if not depends["other"] and (_moves(measured, "other", "h") or not depends["blank"]):
        return f"the observation makes no difference to {NAMES[head]}"
    return ""


def _is_constant(measured: Measured, head: str) -> bool:
    """Says whether a head's output depends on nothing at all, although the cell's does."""
    if not _moves(measured, "other", "h") or not _moves(measured, "blank", "h"):
        return False  # the cell misses its inputs, which is reported there
    situations = [s for s in ("other", "blank", "with_h", "with_c") if f"{s}/{head}" in measured]
    moves = any(_moves(measured, situation, head) for situation in situations)
    return bool(situations) and not moves


def _moves(measured: Measured, situation: str, output: str) -> bool:
    """Says whether an output is another than in `base`; what was not measured counts as such."""
    name = f"{situation}/{output}"
    if output in "hc" and (name not in measured or f"base/{output}" not in measured):
        return True
    return not is_close(measured[name], measured[f"base/{output}"], tolerance=SAME)


# ------------------------------------------------------------------------------------------- heads


def _heads_problem(measured: Measured) -> str:
    if "cell/calls" in measured and not measured["cell/calls"]:
        return "the LSTM cell is never called"
    if "with_h/logits" not in measured:  # an architecture of the student's own
        is_right = [not part_problem(part, measured) for part in ("logits", "state_value")]
        return "" if any(is_right) else "not checked: logits and state_value are both wrong"
    reads = {
        head: [part for part in "hc" if _moves(measured, f"with_{part}", head)]
        for head in ("logits", "value")
    }
    if wrong := [NAMES[head] for head, parts in reads.items() if parts == ["c"]]:
        return Problem(
            f"{' and '.join(wrong)} {'follow' if len(wrong) > 1 else 'follows'} the cell state c, "
            "not the cell's output h: c has no bounds, h is what the cell lets out",
            "heads read the cell state",
        )
    if any(reads.values()):
        return ""
    return Problem("neither head reads what the LSTM cell gives back", "heads on the backbone")


# --------------------------------------------------------------------------------------- new_state


def _new_state_problem(measured: Measured) -> str:
    if "base/h" not in measured:
        state = measured["base/state"]
        is_output = "cell/h" in measured and is_close(state, measured["cell/h"], tolerance=AGREES)
        return Problem(
            "new_state must be the two arrays [h, c] that the cell gives back, not something of "
            f"shape {state.shape}",
            "the cell's output as the whole memory" if is_output else "",
        )
    new, old = ([measured[f"{of}/{part}"] for part in "hc"] for of in ("base", "memory"))
    shapes, expected = ([part.shape for part in parts] for parts in (new, old))
    if shapes != expected:
        return f"its parts have shapes {shapes}, expected {expected}"
    if stale := [is_close(a, b, tolerance=SAME) for a, b in zip(new, old, strict=True)]:
        if all(stale):
            return Problem(
                "it is the old memory: return the state that the cell gives back",
                "the old memory handed on",
            )
        if any(stale):
            return f"its {'c' if stale[1] else 'h'} is the old one"
    if "cell/calls" in measured and not measured["cell/calls"]:
        return "the LSTM cell is never called"
    # A memory of other things, too, has more columns than the cell.
    if "cell/h" not in measured or measured["cell/h"].shape != new[0].shape:
        return ""
    given_back = [measured["cell/h"], measured["cell/c"]]
    if _are_close(new, given_back):
        return ""
    if _are_close(new, given_back[::-1]):
        return Problem(
            "it is what the LSTM cell gives back the other way round: [h, c], in this order",
            "h and c swapped",
        )
    for name, part in zip("hc", given_back, strict=True):
        if _are_close(new, [part, part]):
            lost = "c" if name == "h" else "h"
            return f"it is [{name}, {name}], so {lost} is lost: return [h, c] as it comes back"
    return "it differs from the state that the LSTM cell gives back: [h, c], in this order"


def _are_close(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(is_close(a, b, tolerance=AGREES) for a, b in zip(some, others, strict=True))


def _cell_inputs_problem(measured: Measured) -> str:
    if not _moves(measured, "blank", "h"):
        return Problem(
            "the old memory makes no difference to it: the cell must get prev_state",
            "the cell without its memory",
        )
    if not _moves(measured, "other", "h"):
        return "the observation makes no difference to it: the cell must get the features"
    return ""


# ------------------------------------------------------------- games_apart, gradients, agreement


def _outputs_that_are_right(measured: Measured) -> list[str]:
    """Returns the outputs whose own parts pass: a mistake is not reported twice."""
    owners = {"h": "new_state", "c": "new_state", "logits": "logits", "value": "state_value"}
    return [output for output, part in owners.items() if not part_problem(part, measured)]


def _games_apart_problem(measured: Measured) -> str:
    alone = [f"alone/{i}" for i in range(len(measured["inputs/observations"]))]
    for situation in ("backwards", *alone):
        if situation in measured.errors:
            words = "in another order" if situation == "backwards" else "one alone"
            return f"games {words}: {measured.errors[situation]}"
    outputs = _outputs_that_are_right(measured)
    for output in outputs:
        base = measured[f"base/{output}"]
        if not is_close(measured[f"backwards/{output}"][::-1], base, tolerance=AGREES):
            return f"the order of the games in the batch changes a game's {NAMES[output]}"
        least = np.max(np.abs(base))  # one game's value may be next to nothing, but for rounding
        if not all(
            is_close(measured[f"{game}/{output}"], base[i : i + 1], tolerance=AGREES, least=least)
            for i, game in enumerate(alone)
        ):
            return f"the other games in the batch change a game's {NAMES[output]}"
    return "" if outputs else "not checked: logits, state_value and new_state are all wrong"


def _gradients_problem(measured: Measured) -> str:
    for output in ("logits", "value"):
        if error := measured.errors.get(f"gradients/{output}"):
            return error
    unlisted = _unlisted_problem(measured)
    flows = {
        output: measured[f"gradients/{output}"] > 0
        for output in ("logits", "value", "state")
        if f"gradients/{output}" in measured
    }
    if unlisted and not flows["logits"].size:  # the list is empty
        return unlisted
    # A head that never changes costs its own part: no weight of it can learn.
    constant = [head for head in ("logits", "value") if _is_constant(measured, head)]
    if len(constant) == 2:
        return "not checked: logits and state_value never change"
    without = [
        NAMES[output]
        for output in ("logits", "value")
        if output not in constant and not np.any(flows[output])
    ]
    new_state_is_right = not part_problem("new_state", measured)
    if "state" not in flows or (new_state_is_right and not np.any(flows["state"])):
        without.append("new_state")
    if without:
        return Problem(
            f"no gradient flows back through {' and '.join(without)}: something was detached, "
            "turned into NumPy, or computed without gradients",
            _idea_without_gradients(measured, len(without) == len(flows)),
        )
    # The cell's own weights are reached through new_state, whatever the heads read.
    stuck = ~np.any(list(flows.values()), axis=0)
    if not stuck.size:
        return "the agent has no trainable variables"
    # What a constant head or a cell without its inputs leaves untouched is reported there.
    if not np.any(stuck) or constant or not new_state_is_right:
        return unlisted
    names = _text(measured, "gradients/names").split("\n")
    stuck_names = [name for name, is_stuck in zip(names, stuck, strict=True) if is_stuck]
    problem = f"no gradient reaches {enumerate_names(stuck_names)}"
    return f"{problem}; {unlisted}" if unlisted else problem


def _unlisted_problem(measured: Measured) -> str:
    """Says which weights no optimizer gets, although the agent's outputs are made of them."""
    if "gradients/unlisted" not in measured or not measured["gradients/unlisted"].size:
        return ""
    names = _text(measured, "gradients/unlisted").split("\n")
    is_one = len(names) == 1
    return Problem(
        f"{enumerate_names(names)} {'is' if is_one else 'are'} not among "
        f"{_text(measured, 'gradients/list')}, so no optimizer moves {'it' if is_one else 'them'}",
        "layers in a plain container",
    )


def _text(measured: Measured, name: str) -> str:
    return measured[name].ravel()[:MAX_TEXT].tobytes().decode(errors="replace")


def _idea_without_gradients(measured: Measured, is_everything: bool) -> str:
    if "compiled" in measured.errors:
        return "NumPy in forward"
    return "forward under no_grad" if is_everything else "outputs detached"


def _agreement_problem(measured: Measured) -> str:
    # Whatever fails for want of gradients, or of a memory in two parts, has been reported.
    is_reported = "base/h" not in measured or bool(part_problem("gradients", measured))
    for way, words in (("compiled", "compiled, or without gradients"), ("step", "as agent.step")):
        if way in measured.errors:
            if not is_reported:
                return (
                    f"it fails when it runs {words}: {measured.errors[way]}; keep to the "
                    "framework's own operations"
                )
            continue
        for output in NAMES:
            name = f"base/{output}"
            if name not in measured or not np.all(np.isfinite(measured[name])):
                continue
            if not is_close(measured[f"{way}/{output}"], measured[name], tolerance=AGREES):
                return f"{NAMES[output]} changes when the agent runs {words}"
    for head in ("logits", "value"):
        pair = [measured[n] for n in (f"trained_step/{head}", f"trained/{head}") if n in measured]
        if (
            len(pair) == 2
            and np.all(np.isfinite(pair[1]))
            and not is_close(*pair, tolerance=AGREES)
        ):
            return Problem(
                "agent.step keeps playing with old weights: it must call this agent's forward",
                "played with a copy of the first weights",
            )
    return ""


def _sampling_problem(measured: Measured) -> str:
    if "sample" in measured.errors:
        return measured.errors["sample"]
    if "sample/sure" not in measured:  # the logits or step fail, which has been reported
        return "" if "step" in measured.errors or measured["base/logits"].ndim != 2 else "it fails"
    sure, even, favourites = (measured[f"sample/{name}"] for name in ("sure", "even", "favourites"))
    if sure.ndim != 2 or sure.shape[1:] != favourites.shape or even.shape != sure.shape:
        return (
            f"for {len(favourites)} games it draws an array of shape {sure.shape[1:]}, expected "
            f"{favourites.shape}"
        )
    if np.any(sure != favourites):
        return Problem(
            "an action whose logit is 40 where the game's others are 0 is not always drawn: the "
            "softmax must run over each game's own actions",
            "softmax over the games in sample_actions",
        )
    if np.all(even == even[:1]):
        return "with equal logits it always plays the same: draw an action, do not take the largest"
    return ""


LINES: dict[str, tuple[Line, ...]] = {
    "logits": (
        Line("logits have shape (n, n_actions)", _logits_shape_problem),
        Line("logits are raw scores", _raw_logits_problem),
        Line("logits are made of what the cell gives back", _logits_source_problem),
    ),
    "state_value": (
        Line("state_value has shape (n,)", _value_shape_problem),
        Line("state_value is made of what the cell gives back", _value_source_problem),
    ),
    "heads": (Line("the heads read the cell's output h, not its state c", _heads_problem),),
    "new_state": (
        Line("new_state is the cell's new [h, c]", _new_state_problem),
        Line("new_state depends on the memory and on what the agent sees", _cell_inputs_problem),
    ),
    "games_apart": (Line("each game is played on its own", _games_apart_problem),),
    "gradients": (Line("every weight learns", _gradients_problem),),
    "agreement": (
        Line("forward gives the same however it is run", _agreement_problem),
        Line("sample_actions draws from each game's own softmax", _sampling_problem),
    ),
}


# ----------------------------------------------------------------------------------------- remarks


def linear_remark(measured: Measured) -> str:
    """Returns a remark on a network that is linear up to the cell, "" if it is not.

    Every property that is asked for holds then, so it costs nothing; but the agent sees no more
    than one layer would.
    """
    found = [measured.get(f"features/{name}") for name in ("none", "one", "other", "both")]
    if any(each is None or each.shape != found[0].shape for each in found):
        return ""
    none, one, other, both = (each.astype(float) for each in found)
    if not is_close(both - none, (one - none) + (other - none), tolerance=SAME):
        return ""
    return (
        "up to the LSTM cell the network is linear: its layers do no more than a single one. Put "
        "an activation after each"
    )
