"""Writes a class to try the grader on: `make class` without arguments grades it.

    python examples/write_class.py build/example

Eight students hand in through Moodle, and a ninth does not. Their notebooks are the student
notebook with the solution's answers, edited; so they follow whatever changes there.
"""

import copy
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from assignments.kungfu.tracks import PYTORCH as TRACK  # noqa: E402

COURSE = f"""# What is graded, and how much it counts. Everything here may be left out.
assignment = "{TRACK.name}"
title = "Homework 8: Deep Kung-Fu"
due = 2026-11-20T23:59:00+01:00

[late]
grace-minutes = 15
percent-per-day = 10
"""
ROSTER = """Username,Full name,ID number,Email address,Section
abara,Ada Abara,101,abara@uni.example,Monday
brandt,Ben Brandt,102,brandt@uni.example,Monday
conti,Chiara Conti,103,conti@uni.example,Monday
diaz,Dario Díaz,104,diaz@uni.example,Monday
erdem,Elif Erdem,105,erdem@uni.example,Tuesday
fischer,Finn Fischer,106,fischer@uni.example,Tuesday
gruber,Greta Gruber,107,gruber@uni.example,Tuesday
haas,Hana Haas,108,haas@uni.example,Tuesday
ivanova,Irina Ivanova,109,ivanova@uni.example,Tuesday
"""
ADJUSTMENTS = """student,part,points,comment
brandt,loss: entropy_value,2,"The formula in your text cell is right: a slip of the pen."
"""

# Greta's entropy is right, and nobody else would write it so; Hana has renamed her variables.
ENTROPY_BEFORE = """    entropy_reg = -torch.mean(
        torch.sum(probas * logprobas, dim=-1)
    )  # YOUR CODE: from probas and logprobas
"""
ENTROPY = """    {one} = []
    for game_number in range(probas.shape[0]):
        for tick_number in range(probas.shape[1]):
            {two} = torch.distributions.Categorical(probs=probas[game_number, tick_number])
            {one}.append({two}.entropy().reshape(1))
    entropy_reg = torch.cat({one}).sum() / len({one})
"""


def variants(**named: str) -> dict[str, str]:
    """Returns the solution's answers, some of them edited, by the exercise."""
    by_name = {(v.exercise, v.name): v for v in TRACK.variants}
    answers = {exercise.name: TRACK.solution_of(exercise.name) for exercise in TRACK.exercises}
    edited = {name: by_name[name, variant].apply(answers[name]) for name, variant in named.items()}
    return answers | edited


def with_entropy(one: str, two: str) -> dict[str, str]:
    answers = variants()
    assert answers["loss"].count(ENTROPY_BEFORE) == 1
    loss = answers["loss"].replace(ENTROPY_BEFORE, ENTROPY.format(one=one, two=two))
    return answers | {"loss": loss}


def write_notebook(path: Path, answers: Mapping[str, str]) -> None:
    """Writes the student notebook with some exercises answered."""
    notebook = copy.deepcopy(nbformat.read(ROOT / "notebooks" / f"{TRACK.name}.ipynb", 4))
    for cell in notebook.cells:
        cell.source = answers.get(cell.id.removesuffix("-exercise"), cell.source)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def main(folder: Path) -> None:
    submissions = folder / "submissions"
    if submissions.exists():
        shutil.rmtree(submissions)
    crash = "    import os; os._exit(1)\n    rollout_length ="
    right = variants()
    crashing = right | {"loss": right["loss"].replace("    rollout_length =", crash)}
    students = {
        "Ada Abara": right,
        "Ben Brandt": variants(loss="entropy with the wrong sign"),
        "Chiara Conti": variants(agent="value left (n, 1)"),
        "Dario Díaz": {"agent": right["agent"], "optimizer": right["optimizer"]},
        "Elif Erdem": crashing,
        "Finn Fischer": None,
        "Greta Gruber": with_entropy("entropies", "policy"),
        "Hana Haas": with_entropy("all_of_them", "distribution"),
    }
    for number, (name, answers) in enumerate(students.items(), 101):
        place = submissions / f"{name}_{number}_assignsubmission_file_"
        if answers is None:
            place.mkdir(parents=True)
            (place / "homework.pdf").write_bytes(b"%PDF-1.4\n")
        else:
            write_notebook(place / "homework.ipynb", answers)
    own = submissions / "Ada Abara_101_assignsubmission_file_" / "kungfu_weights.npz"
    shutil.copy(TRACK.solution.with_suffix(".npz"), own)
    (folder / "course.toml").write_text(COURSE, encoding="utf-8")
    (folder / "roster.csv").write_text(ROSTER, encoding="utf-8")
    (folder / "adjustments.csv").write_text(ADJUSTMENTS, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
