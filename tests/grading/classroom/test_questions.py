"""Questions about students' own lines, with answers from what mutants measure."""

import dataclasses
import runpy
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import sync_playwright

from assignments.kungfu.tracks import PYTORCH
from grading.assignment import Assignment
from grading.classroom.questions import (
    Examiner,
    Question,
    Sheet,
    _find_candidates,
    as_student_page,
    as_teacher_page,
)
from grading.grade import Grader
from grading.results import Check, ExerciseResult, Report
from tests.browser import CHROMIUM_OPTIONS
from tests.grading.classroom.test_class import ERROR, FIT, RIGHT, STUDENTS, write_notebook
from tests.notebooks import filled, wrong

SUM, NO_X = "A mean does not grow", "its derivative contains x"  # in the mutants' hints


@pytest.fixture(scope="module")
def line_fit(project) -> Assignment:
    """The assignment of `docs/new-assignment.md`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grading.assignment.ROOT", project)
        return runpy.run_path(str(project / "assignments" / "line_fit.py"))["LINE_FIT"]


@pytest.fixture(scope="module")
def grader(line_fit) -> Iterator[Grader]:
    with Grader(seed=5, assignments=[line_fit]) as grader:
        yield grader


def graded(grader: Grader, path: Path) -> tuple[dict[str, str], Report]:
    """Returns the answers in a notebook, and what they earned."""
    answers = grader.read(path).submission.answers.values()
    return {answer.exercise: answer.source for answer in answers}, grader.grade(path)


def full_marks(assignment: Assignment) -> Report:
    exercises = [
        ExerciseResult(e.name, tuple(Check(p.name, p.title, p.points, p.points) for p in e.parts))
        for e in assignment.exercises
    ]
    return Report(assignment.name, "a.ipynb", 5, "", tuple(exercises))


def ask(grader: Grader, student: str = "ada", n: int = 3, **lines: str) -> list[Question]:
    """Asks somebody who has full marks for these lines."""
    cells = [text.format(**RIGHT | lines) for text in (ERROR, FIT)]
    answers = dict(zip(("mean-squared-error", "fit-line"), cells, strict=True))
    report = full_marks(grader.assignments[0])
    return Examiner(grader).make_questions(student, answers, report, n)


def by_exercise(questions: list[Question]) -> dict[str, Question]:
    return {question.exercise: question for question in questions}


# Who is asked what


def test_a_line_stands_beside_a_mutants(grader, tmp_path):
    write_notebook(tmp_path / "gus.ipynb", STUDENTS["gus"][0])
    answers, report = graded(grader, tmp_path / "gus.ipynb")
    found = by_exercise(Examiner(grader).make_questions("gus", answers, report, 3))
    assert found.keys() == {"mean-squared-error", "fit-line"}
    error, fit = found["mean-squared-error"], found["fit-line"]
    assert (error.theirs, error.place) == ("loss = (error @ error) / len(x)", "line 5")
    assert (error.other, error.assigns) == ("loss = np.sum(error**2)", ("loss",))
    assert [(c.title, c.points, c.maximum) for c in error.earned] == [("its value", 4, 4)]
    assert error.answer.name == "a sum instead of the mean"
    lost = {"value": ("its value", "it is not the mean of the squared errors")}
    assert error.answer.lost == lost
    assert SUM in error.answer.hint
    assert error.answer.numbers.relation == "12 times as large"  # there are 12 points
    assert fit.theirs == "slope_gradient = 2 * np.mean(error * x)"
    assert fit.other == "slope_gradient = 2 * np.mean(error)"
    assert fit.answer.lost.keys() == {"slope", "descent"}
    assert not error.is_given and not fit.is_given


@pytest.mark.parametrize(
    ("student", "asked"),
    [
        ("ben", {"mean-squared-error"}),  # wrong in the other
        ("cy", {"fit-line"}),
        ("dee", {"fit-line"}),  # a gap is open
        ("eve", {"mean-squared-error"}),  # it ends its process
        ("jo", set()),  # no notebook
    ],
)
def test_nobody_is_asked_about_what_they_got_wrong(grader, tmp_path, student, asked):
    write_notebook(tmp_path / f"{student}.ipynb", STUDENTS[student][0])
    answers, report = graded(grader, tmp_path / f"{student}.ipynb")
    questions = Examiner(grader).make_questions(student, answers, report, 3)
    assert by_exercise(questions).keys() == asked


def test_the_seed_draws_the_questions(grader):
    def first(student: str) -> str:
        (question,) = ask(grader, student, 1)
        return question.exercise

    students = [f"student {number}" for number in range(12)]
    drawn = [first(student) for student in students]
    assert drawn == [first(student) for student in students]
    assert len({*drawn}) == 2


def test_a_class_costs_each_mutant_once(line_fit, monkeypatch):
    with Grader(seed=5, assignments=[line_fit]) as grader:
        tried, try_variant = [], grader.try_variant
        monkeypatch.setattr(grader, "try_variant", lambda *a: tried.append(a) or try_variant(*a))
        examiner, report = Examiner(grader), full_marks(line_fit)
        answers = {e.name: line_fit.solution_of(e.name) for e in line_fit.exercises}
        for student in ("ada", "ben", "cy"):
            assert len(examiner.make_questions(student, answers, report, 3)) == 2
        assert len(tried) == 2


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ("2 * np.mean(\n            error * x\n        )", None),
        (
            "0.0; slope_gradient += 2 * np.mean(error * x)",
            "slope_gradient += 2 * np.mean(error * x)",
        ),
        (
            "np.mean(error * x)\n        slope_gradient *= 2",
            "slope_gradient = np.mean(error * x)\nslope_gradient *= 2",
        ),
        (
            "0.0\n        slope_gradient, rest = 2 * np.mean(error * x), 0",
            "slope_gradient, rest = 2 * np.mean(error * x), 0",
        ),
        (
            "0.0\n        product = error * x\n        slope_gradient = 2 * product.mean()",
            "product = error * x\nslope_gradient = 2 * product.mean()",
        ),
    ],
)
def test_all_of_a_students_statement_is_shown(grader, lines, shown):
    if shown is None:
        shown = "slope_gradient = 2 * np.mean(\n    error * x\n)"
    assert by_exercise(ask(grader, slope=lines))["fit-line"].theirs == shown


@pytest.mark.parametrize(
    "lines",
    [
        "2*np.mean( error )",  # the mutant's own line
        "<YOUR CODE>",
        "0.0",  # with everything else, it is still no line of the same place
        "2 * np.mean(error * x) + 0 * (" + " + ".join(["slope"] * 200) + ")",  # too long
    ],
)
def test_some_lines_make_no_question(grader, lines):
    questions = by_exercise(ask(grader, slope=lines))
    if lines == "0.0":
        assert questions["fit-line"].theirs == "slope_gradient = 0.0"
    else:
        assert questions.keys() == {"mean-squared-error"}


def test_the_other_line_reads_only_what_the_student_defines(grader):
    report = full_marks(grader.assignments[0])
    answers = {"fit-line": FIT.format(**RIGHT).replace("error", "gap")}
    assert Examiner(grader).make_questions("ada", answers, report, 3) == []


def test_a_hint_that_was_given_is_not_asked_about(grader):
    report = full_marks(grader.assignments[0])
    hint = next(v.hint for v in grader.assignments[0].variants if NO_X in v.hint)
    checks = (*report.exercises[0].checks, Check("more", "more", 0, 1, "", f"{hint} And more."))
    exercises = (dataclasses.replace(report.exercises[0], checks=checks), report.exercises[1])
    answers = {"fit-line": FIT.format(**RIGHT)}
    told = dataclasses.replace(report, exercises=exercises)
    assert Examiner(grader).make_questions("ada", answers, told, 3) == []


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def fit_line(:",
        "slope_gradient = " + "1+" * 30_000 + "1",
        "slope_gradient = " + "-" * 90_000 + "1",
        "slope_gradient = " + "(" * 5_000,
        "slope_gradient = '\0'",
        "slope_gradient = '\ud800'",
        "slope_gradient = x" + ".x" * 40_000,
        "x = 1\n" * 200_000,
        "match x:\n    case 1: slope_gradient = 2\ntry: pass\nexcept* E: slope_gradient = 3",
    ],
    ids=range(10),
)
def test_what_cannot_be_read_makes_no_question(grader, source):
    report = full_marks(grader.assignments[0])
    questions = Examiner(grader).make_questions("ada", {"fit-line": source}, report, 3)
    assert questions == []


def test_an_assignment_without_mutants_has_no_questions(line_fit):
    right = [variant for variant in line_fit.variants if not variant.loses]
    assignment = dataclasses.replace(line_fit, variants=right)
    with Grader(seed=5, assignments=[assignment]) as grader:
        assert ask(grader) == []


# Pages


def test_the_answers_are_on_the_teachers_page_only(grader):
    sheets = [Sheet(name="Ada", questions=ask(grader), page="a #1.html")]
    ours, theirs = as_student_page(sheets[0], "Lines"), as_teacher_page(sheets, "Lines")
    for words in ("its derivative contains x", "a sum instead of the mean", "12 times as large"):
        assert words not in ours
        assert words in theirs
    for words in ("np.sum(error**2)", "loss = np.mean(error ** 2)"):
        assert words in ours and words in theirs
    assert 'href="a%20%231.html"' in theirs
    assert "4 of 4 points" in theirs


def test_the_page_says_if_there_is_no_question():
    sheet = Sheet(name="Ada", questions=[])
    assert "There is no question" in as_student_page(sheet, "Lines")
    assert "There is no question" in as_teacher_page([sheet], "Lines")


EVIL = "\x1b[2J\u202e</pre><script>document.title='taken'</script><img src=x onerror=alert(1)>"


def test_hostile_text_stays_in_its_box(grader):
    lines = f"2 * np.mean(error * x) + 0 * len('''{EVIL}{'W' * 200}''')"
    question = by_exercise(ask(grader, slope=lines))["fit-line"]
    sheet = Sheet(name=EVIL, questions=[question], page="javascript:alert(1)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_OPTIONS
        )
        for html in (as_student_page(sheet, EVIL), as_teacher_page([sheet, sheet], EVIL)):
            assert "\x1b" not in html and "\u202e" not in html
            page = browser.new_page(viewport={"width": 390, "height": 800})
            page.set_content(html)
            assert page.title() != "taken"
            assert page.locator("script, img").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            links = page.locator("h2 a").evaluate_all("links => links.map(link => link.protocol)")
            assert "javascript:" not in links
        browser.close()


# Kung-Fu


@pytest.mark.pytorch
def test_kungfu(tmp_path):
    with Grader(seed=5, assignments=[PYTORCH]) as grader:
        examiner = Examiner(grader)
        nbformat.write(filled("pytorch"), tmp_path / "right.ipynb")
        answers, report = graded(grader, tmp_path / "right.ipynb")
        for student in ("ada", "ben"):
            questions = examiner.make_questions(student, answers, report, 3)
            assert len(questions) == 3
            lost = [(q.exercise, name) for q in questions for name in q.answer.lost]
            assert len(lost) == len({*lost})
            for question in questions:
                assert question.theirs != question.other
                assert question.theirs.splitlines()[0] in answers[question.exercise]
                assert question.answer.is_plain and not question.is_given
                assert all(check.passed for check in question.earned)

        notebook = wrong("pytorch")  # the entropy's sign
        cell = next(cell for cell in notebook.cells if cell.id == "loss-exercise")
        mask = "gamma * is_not_done[:, t] * V_next"
        assert mask in cell.source
        cell.source = cell.source.replace(mask, "gamma * V_next")
        nbformat.write(notebook, tmp_path / "flawed.ipynb")
        answers, report = graded(grader, tmp_path / "flawed.ipynb")
        assert {c.name for e in report.exercises[:3] for c in e.checks if not c.passed} == {
            "entropy_value",
            "entropy_gradient",
            "value_ends",
        }
        questions = [q for s in "def" for q in examiner.make_questions(s, answers, report, 3)]
        assert len(questions) == 9
        shown = "\n".join(question.other for question in questions)
        assert "is_not_done[:, t] * V_next" not in shown  # what this student lacks
        assert "entropy_reg =" not in shown and "value_loss +=" not in shown


ENTROPY = """-torch.mean(
        torch.sum(probas * logprobas, dim=-1)
    )"""


@pytest.mark.pytorch
@pytest.mark.parametrize(
    ("lost", "right", "instead", "kept_away"),
    [
        # A one-step advantage holds the target of the value loss.
        (
            "value_ends",
            "* is_not_done[:, t] * V_next",
            "* V_next",
            ("value_loss +=", "is_not_done[:, t] * V_next"),
        ),
        ("entropy_value", ENTROPY, "probas.sum()", ("entropy_reg =", "torch.sum(probas")),
        # A new optimizer in every call holds the optimizer.
        ("descent", "torch.optim.Adam(agent.parameters(), lr=3e-4)", "YOUR_CODE", ("opt =",)),
        ("step", "opt.step()", "pass", ("opt.", "backward")),
        (
            "new_state",
            "hidden, cell = self.rnn(features, prev_state)",
            "hidden = cell = features",
            ("new_state =", "self.rnn("),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_the_other_line_gives_nothing_away(lost, right, instead, kept_away):
    answers = {e.name: PYTORCH.solution_of(e.name) for e in PYTORCH.exercises}
    assert sum(source.count(right) for source in answers.values()) == 1
    answers = {name: source.replace(right, instead) for name, source in answers.items()}
    report = full_marks(PYTORCH)
    exercises = [
        dataclasses.replace(
            exercise,
            checks=tuple(
                dataclasses.replace(check, points=0 if check.name == lost else check.points)
                for check in exercise.checks
            ),
        )
        for exercise in report.exercises
    ]
    report = dataclasses.replace(report, exercises=tuple(exercises))
    candidates = [*_find_candidates(PYTORCH, answers, report)]
    assert len(candidates) > 20
    shown = "\n".join(candidate.edit.other for candidate in candidates)
    assert not [words for words in kept_away if words in shown]
