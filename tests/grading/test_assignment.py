"""Assignments are checked: errors say what was found and what was expected."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from grading import assignment
from grading.assignment import (
    Assignment,
    AssignmentError,
    Exercise,
    Fit,
    Part,
    Trial,
    TrialResult,
    Variant,
    all_assignments,
)
from tests.grading.test_submission import TEXT

PART = Part("value", "its value", 5, lambda measured, accepted: "", lambda measured: [])
AGENT, LOSS, OPTIMIZER = (
    Exercise(name, (PART,), lambda generator: {"x": generator.random(3)})
    for name in ("agent", "loss", "optimizer")
)
TRIAL = Trial(
    name="play",
    title="games",
    points=20,
    exercise="agent",
    attachment="weights.npz",
    missing="no weights were handed in",
    run=lambda stage: TrialResult(message=""),
)
MUTANT = Variant(
    "wrong", "agent", (("return 1", "return 2"),), loses=frozenset({"value"}), hint="Think."
)


@pytest.fixture
def make(tmp_path):
    """Makes a toy assignment with some fields changed."""
    path = tmp_path / "toy.ipynb"
    path.write_text(TEXT)

    def make(**changes) -> Assignment:
        fields = {
            "name": "toy",
            "solution": path,
            "exercises": (AGENT, LOSS, OPTIMIZER),
            "variants": (MUTANT,),
            "trials": (TRIAL,),
        }
        return Assignment(**fields | changes)

    return make


def test_a_sound_assignment(make):
    toy = make()
    assert toy.part_names() == [
        ("agent", "value"),
        ("loss", "value"),
        ("optimizer", "value"),
        ("play", "play"),
    ]
    assert toy.solution_of("agent").startswith("# Exercise: agent\nclass Agent:")
    assert MUTANT.apply(toy.solution_of("agent")).endswith("return 2")
    with pytest.raises(ValueError, match="wrong: 'return 1' occurs 0 times in the cell"):
        MUTANT.apply(toy.solution_of("loss"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exercises": (AGENT, AGENT)}, "two exercises and trials are called agent"),
        (
            {"trials": (dataclasses.replace(TRIAL, name="loss"),)},
            "two exercises and trials are called loss",
        ),
        (
            {"exercises": (dataclasses.replace(AGENT, parts=(PART, PART)),)},
            "two parts of agent are called value",
        ),
        (
            {"exercises": (dataclasses.replace(AGENT, parts=()),)},
            "exercise agent has no parts, expected one or more",
        ),
        (
            {
                "exercises": (
                    dataclasses.replace(
                        AGENT, parts=(dataclasses.replace(PART, points=float("nan")),)
                    ),
                )
            },
            "value is worth nan, expected 0 or more points",
        ),
        (
            {"trials": (dataclasses.replace(TRIAL, points=-1),)},
            "play is worth -1, expected 0 or more points",
        ),
        (
            {"trials": (dataclasses.replace(TRIAL, exercise="game"),)},
            "trial play names the exercise 'game', expected one of ['agent', 'loss', 'optimizer']",
        ),
        (
            {
                "exercises": (
                    AGENT,
                    dataclasses.replace(LOSS, fit=Fit("more", dict, frozenset(), "")),
                )
            },
            "the fit of loss names the exercise 'more', expected one of ['agent', 'loss']",
        ),
        (
            {"variants": (dataclasses.replace(MUTANT, exercise="lost"),)},
            "variant 'wrong' names the exercise 'lost', expected one of",
        ),
        (
            {"variants": (dataclasses.replace(MUTANT, loses=frozenset({"valu"})),)},
            "variant 'wrong' loses valu, expected some of ['value']",
        ),
        (
            {"variants": (dataclasses.replace(MUTANT, hint=""),)},
            "variant 'wrong' loses points: it needs a hint",
        ),
    ],
)
def test_contradictions_are_named(make, changes, words):
    with pytest.raises(AssignmentError) as error:
        make(**changes)
    assert str(error.value).startswith("assignment toy: ")
    assert words in str(error.value)


def test_files_must_be_there(make, tmp_path):
    with pytest.raises(AssignmentError, match=r"there is no .*measure\.py"):
        make(inside=(tmp_path / "measure.py",))


def test_the_solution_has_the_exercises_that_are_graded(make, tmp_path):
    with pytest.raises(
        AssignmentError, match=r"has the exercises \['agent', 'loss', 'optimizer'\]"
    ):
        _ = make(exercises=(AGENT, LOSS)).template
    with pytest.raises(AssignmentError, match="it has no cell more"):
        _ = make(given=("more",)).template
    (tmp_path / "toy.ipynb").write_text(json.dumps([]))
    with pytest.raises(AssignmentError, match="this is not a notebook"):
        _ = make().template


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of assignments that replaces the project's."""
    (tmp_path / "assignments").mkdir()
    (tmp_path / "assignments" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == "assignments"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(assignment, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    all_assignments.cache_clear()
    yield tmp_path / "assignments"
    for name in [name for name in sys.modules if name.partition(".")[0] == "assignments"]:
        del sys.modules[name]
    all_assignments.cache_clear()


def test_assignments_are_found_in_their_folder(folder):
    with pytest.raises(AssignmentError, match="there is no assignment in "):
        all_assignments()
    (folder / "first.py").write_text("ASSIGNMENTS = ('one',)")
    (folder / "second").mkdir()
    (folder / "second" / "__init__.py").write_text("ASSIGNMENTS = ('two', 'three')")
    assert all_assignments() == ("one", "two", "three")


def test_a_module_without_assignments_is_named(folder):
    (folder / "empty.py").write_text("ASSIGNMENT = ()")
    with pytest.raises(AssignmentError, match=r"assignments\.empty defines no tuple ASSIGNMENTS"):
        all_assignments()


def test_inputs_depend_on_the_seed_and_the_exercise(make):
    from grading.reference import Reference

    toy = make()
    first, again, other = (Reference(toy, seed, lambda limits: None) for seed in (1, 1, 2))
    assert np.array_equal(first.inputs(AGENT)["x"], again.inputs(AGENT)["x"])
    assert not np.array_equal(first.inputs(AGENT)["x"], other.inputs(AGENT)["x"])
    assert not np.array_equal(first.inputs(AGENT)["x"], first.inputs(LOSS)["x"])
