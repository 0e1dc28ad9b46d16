"""The agent's check and the grader judge alike, part by part, whatever the agent is made of."""

import json
import linecache
import re
from functools import cache
from importlib import import_module

import numpy as np
import pytest

from checks import CheckFailed, check_agent
from checks.frameworks import find_adapter
from checks.measuring import measure_agent
from grading.inside.measurement import Measurement
from tests.frameworks import TRACKS, each_framework, each_variant, find_variant

IMPORTS = {
    "tensorflow": {"tf": "tensorflow", "keras": "keras"},
    "pytorch": {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"},
}
OTHER_NETWORK = {  # no layers in the solution's order have these numbers
    "tensorflow": ("self.backbone(obs_t)", "self.backbone(tf.tanh(obs_t - 0.5))"),
    "pytorch": ("self.conv0(obs_t)", "self.conv0(torch.tanh(obs_t - 0.5))"),
}


@cache
def source_of(framework: str) -> str:
    return TRACKS[framework].solution_of("agent")


def names_of(framework: str, source: str) -> dict:
    """Runs an agent's cell; returns the names of the notebook."""
    names = {name: import_module(module) for name, module in IMPORTS[framework].items()}
    shape = import_module(f"checks.{framework}").OBS_SHAPE
    names |= {"np": np, "obs_shape": shape, "n_actions": 14}
    linecache.cache["<cell agent 0>"] = (len(source), None, source.splitlines(True), "")
    exec(compile(source, "<cell agent 0>", "exec"), names)
    return names


def visible(names: dict, tmp_path, monkeypatch) -> dict[str, str]:
    """Returns what the visible check says of each part."""
    record = tmp_path / "record"
    monkeypatch.setenv("CHECKS_RECORD", str(record))
    try:
        check_agent(names)
    except CheckFailed as error:
        print(error)
    return json.loads(record.read_text())["parts"]


def hidden(framework: str, names: dict) -> tuple[dict[str, str], str]:
    """Returns what the grader says of each part, with nothing to compare with, and its remark."""
    exercise = TRACKS[framework].exercise("agent")
    inputs = exercise.inputs(np.random.default_rng())
    agent = names["SimpleRecurrentAgent"](names["obs_shape"], names["n_actions"])
    measured = measure_agent(find_adapter(names), agent, inputs)
    measured |= {f"inputs/{name}": np.asarray(value) for name, value in inputs.items()}
    return {part.name: part.judge(measured, []) for part in exercise.parts}, exercise.remark(
        measured
    )


def lost(problems: dict[str, str]) -> set[str]:
    return {part for part, problem in problems.items() if problem}


@each_variant(right=True, exercise="agent")
def test_a_right_agent_is_right_on_both_sides(tmp_path, monkeypatch, framework, variant):
    names = names_of(framework, variant.apply(source_of(framework)))
    problems, remark = hidden(framework, names)
    assert (lost(problems), remark) == (set(), "")
    assert lost(visible(names, tmp_path, monkeypatch)) == set()


@each_variant(right=False, exercise="agent")
def test_a_mistake_costs_the_same_and_is_named_in_any_network(
    tmp_path, monkeypatch, framework, variant
):
    source = source_of(framework).replace(*OTHER_NETWORK[framework])
    assert source != source_of(framework)
    names = names_of(framework, variant.apply(source))
    problems, _ = hidden(framework, names)
    assert lost(problems) == variant.loses
    assert {problems[part].hint for part in variant.loses} == {variant.hint}
    assert lost(visible(names, tmp_path, monkeypatch)) == variant.loses


COPY = "        import copy\n\n        self.players = [copy.deepcopy(self)]\n"
PLAY = "return self.forward(tuple"


@pytest.mark.pytorch
@pytest.mark.parametrize("layer", ["rnn", "logits"])
def test_an_agent_that_plays_with_one_old_layer_is_told_so(layer):
    last = "        self.state_value = nn.Linear(128, 1)\n"
    swap = f"self.{layer}, self.players[0].{layer} = self.players[0].{layer}, self.{layer}"
    source = source_of("pytorch").replace(last, last + COPY)
    old = next(line for line in source.splitlines() if PLAY in line)
    played = old.replace("return ", "played = ")
    source = source.replace(old, f"        {swap}\n{played}\n        {swap}\n        return played")
    problems, _ = hidden("pytorch", names_of("pytorch", source))
    assert lost(problems) == {"agreement"}
    assert "old weights" in problems["agreement"]


@pytest.mark.pytorch
@pytest.mark.parametrize("extreme", ["amin", "amax"])
def test_what_spans_a_batch_is_seen_whichever_game_it_comes_from(extreme):
    scaled = f"self.conv0(obs_t - obs_t.flatten(1).mean(1).{extreme}())"
    source = source_of("pytorch").replace("self.conv0(obs_t)", scaled)
    problems, _ = hidden("pytorch", names_of("pytorch", source))
    assert lost(problems) == {"games_apart"}
    assert "the other games in the batch change" in problems["games_apart"]


CONSTANT = {
    "tensorflow": ("self.state_value_head(hidden)[:, 0]", "tf.zeros(len(obs_t))"),
    "pytorch": ("self.state_value(hidden)[:, 0]", "torch.zeros(len(obs_t))"),
}


@each_framework
def test_a_value_that_never_changes_costs_its_own_part(framework):
    source = source_of(framework).replace(*CONSTANT[framework])
    problems, _ = hidden(framework, names_of(framework, source))
    assert lost(problems) == {"state_value"}
    assert "is the same whatever the agent sees and remembers" in problems["state_value"]


# Adds weights to the list of those that learn, which the class cannot find by itself.
WEIGHTS_BY_HAND = {
    "tensorflow": (
        "return [variable for layer in layers for",
        "return self.layers['backbone'].trainable_variables + [variable for layer in layers for",
    ),
    "pytorch": (
        "    def forward(self",
        "    def parameters(self, recurse=True):\n"
        "        return [*super().parameters(), *self.convs[0].parameters()]\n\n"
        "    def forward(self",
    ),
}


@each_framework
def test_weights_in_a_container_learn_if_the_agent_lists_them(framework):
    variant = find_variant(framework, "agent", "layers in a plain container")
    source = variant.apply(source_of(framework))
    problems, _ = hidden(framework, names_of(framework, source))
    words = {
        "tensorflow": r"/kernel, .* are not among agent\.trainable_variables",
        "pytorch": r"convs\[0\]\.weight are not among agent\.parameters\(\)",
    }
    assert re.search(words[framework], problems["gradients"])
    source = source.replace(*WEIGHTS_BY_HAND[framework])
    problems, _ = hidden(framework, names_of(framework, source))
    assert lost(problems) == set()


@pytest.mark.tensorflow
def test_frozen_layers_and_counters_are_no_weights_that_are_missing():
    source = source_of("tensorflow").replace(
        "        # This pass", "        self.ticks = tf.Variable(0.0)\n        # This pass"
    )
    source = source.replace(
        "features = self.backbone(obs_t)",
        "self.backbone.trainable = False\n        self.ticks.assign_add(1.0)\n"
        "        features = self.backbone(obs_t) + 0 * tf.stop_gradient(self.ticks)",
    )
    problems, _ = hidden("tensorflow", names_of("tensorflow", source))
    assert lost(problems) == set()


ELU = {"tensorflow": 'activation="elu", ', "pytorch": "F.elu"}
RELU = {"tensorflow": ', activation="relu"', "pytorch": "F.relu"}


@each_framework
def test_a_linear_network_is_remarked_on_and_costs_nothing(
    tmp_path, monkeypatch, capsys, framework
):
    source = source_of(framework).replace(ELU[framework], "")
    names = names_of(framework, source.replace(RELU[framework], ""))
    problems, remark = hidden(framework, names)
    assert lost(problems) == set()
    assert "the network is linear" in remark
    assert lost(visible(names, tmp_path, monkeypatch)) == set()
    assert "! activations: up to the LSTM cell the network is linear" in capsys.readouterr().out
    # One activation anywhere makes it another network.
    _, remark = hidden(framework, names_of(framework, source))
    assert remark == ""


@each_framework
def test_mistakes_of_two_kinds_are_both_named(framework):
    source = source_of(framework)
    for name in ("the old memory handed on", "softmax over the games in sample_actions"):
        source = find_variant(framework, "agent", name).apply(source)
    problems, _ = hidden(framework, names_of(framework, source))
    assert lost(problems) == {"new_state", "agreement"}


@pytest.mark.pytorch
def test_the_first_failure_is_named_if_what_follows_cannot_run(tmp_path, monkeypatch):
    source = source_of("pytorch").replace("nn.Linear(512", "nn.Linear(513")
    # The name keeps what it held before the line that fails, so the cell fails, too.
    names = names_of("pytorch", source.replace("features", "maps"))
    problems = visible(names, tmp_path, monkeypatch)
    for part in ("logits", "state_value", "new_state"):
        assert "(1, 512) met (513, 128)" in problems[part]


BROKEN = {
    "forward fails": ("new_state, (logits, state_value)\n\n", "1 / 0\n\n"),
    "forward gives three": ("new_state, (logits, state_value)\n\n", "new_state, logits, 1\n\n"),
}


@each_framework
@pytest.mark.parametrize("edit", BROKEN.values(), ids=BROKEN)
def test_an_agent_that_cannot_be_measured_earns_nothing_and_says_so_once(
    tmp_path, monkeypatch, capsys, framework, edit
):
    # TensorFlow's agent runs forward when it is made.
    source = source_of(framework).replace("self.forward(self.get_initial_state(1)", "print(0")
    names = names_of(framework, source.replace(*edit))
    problems, _ = hidden(framework, names)
    assert all(problems.values())
    assert all(visible(names, tmp_path, monkeypatch).values())
    assert capsys.readouterr().out.count("✗") == 2  # in the table, and in what is raised


@pytest.mark.pytorch
def test_greedy_play_is_no_draw():
    source = source_of("pytorch").replace(
        "torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0].numpy()",
        "logits.argmax(-1).numpy()",
    )
    problems, _ = hidden("pytorch", names_of("pytorch", source))
    assert "draw an action, do not take the largest" in problems["agreement"]
    assert lost(problems) == {"agreement"}


@each_framework
@pytest.mark.parametrize("errors", [{}, {"": "it does not run"}, {"base": "forward fails"}])
def test_what_was_not_measured_earns_nothing(framework, errors):
    exercise = TRACKS[framework].exercise("agent")
    measured = Measurement(errors=errors)
    problems = {part.name: part.judge(measured, []) for part in exercise.parts}
    assert {*problems.values()} == ({*errors.values()} or {"nothing was measured"})
