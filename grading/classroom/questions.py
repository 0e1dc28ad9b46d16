"""Questions for a talk of five minutes: who understood what they handed in?

Each question shows a line of a student's own and one of a known mistake, a *mutant*, and asks what
would happen if the second stood in place of the first. So the grader knows the answer: it has
measured the mutant, and the student's line.

1.  A mutant edits a few statements of the solution, in one place. What they assign to, or call,
    says which of the student's statements stand in their place.
2.  A student is asked only about what they got right: every part that any mutant of that place
    costs must have passed. No mutant is shown whose hint is in their own report, nor one that holds
    a piece of the solution that they still lack. So the other line gives nothing away, and accuses
    nobody.
3.  The other line must fit: whatever it reads is defined in the student's answer, too.
4.  The seed draws parts, then a place and a mutant for each; what is about other parts and places
    comes first. Mutants that end in an error, make two mistakes, or break nearly everything come
    last, as do lines that the template gives.

Answers are hostile. They are parsed, which the grader's reader has done before, and never run.
"""

import ast
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from grading.archive import one_line
from grading.assignment import Assignment, Exercise, Variant
from grading.classroom.edits import (
    MAX_LOST,
    MAX_STATEMENTS,
    Edit,
    Solution,
    is_short,
    read_solution,
)
from grading.classroom.statements import Code, Statement, blocks_of, read_code
from grading.draws import generator_of
from grading.gaps import OPEN, fill
from grading.grade import Grader
from grading.inside.measurement import Measurement
from grading.judge import is_close, without_line
from grading.reference import CLAUSE_END
from grading.report import clean, page_template
from grading.results import Check, Report

MAX_SOURCE = 100_000  # characters of an answer
N_NUMBERS = 3  # of an array that are shown


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a part is judged by, of the solution and of a mutant.

    Attributes:
        title: the part's title.
        right, wrong: a few numbers each, rounded.
        relation: how they compare.
    """

    title: str
    right: str
    wrong: str
    relation: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the grader measured of a mutant.

    Attributes:
        name: what the mutant does differently.
        lost: the parts that it fails, by name; each with its title and what the grader says.
        hint: the misunderstanding.
        numbers: some of what was measured; None if no number tells anything.
        is_plain: whether it makes one mistake, and runs to its end.
    """

    name: str
    lost: Mapping[str, tuple[str, str]]
    hint: str
    numbers: Numbers | None
    is_plain: bool


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a student's own lines.

    Attributes:
        exercise: the exercise's name.
        theirs: the student's lines.
        place: where they stand in their cell.
        is_given: whether they come from the template.
        other: the mutant's lines instead; "" if nothing stands there.
        assigns: the names that the other lines assign to.
        earned: what the student's lines earned, in those parts that the mutant fails.
        answer: what the grader measured of the mutant.
    """

    exercise: str
    theirs: str
    place: str
    is_given: bool
    other: str
    assigns: tuple[str, ...]
    earned: tuple[Check, ...]
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The questions for one student.

    Attributes:
        name: the student's name.
        questions: the questions, perhaps none.
        page: where the student's page is, seen from the teacher's; "" if there is none.
    """

    name: str
    questions: Sequence[Question]
    page: str = ""


class Examiner:
    """Makes the questions for a whole class; what it measures of a mutant is kept for the next.

    Args:
        grader: measures the mutants; its seed draws the questions.
    """

    def __init__(self, grader: Grader):
        self._grader = grader
        self._answers: dict[tuple[str, str, str], Answer] = {}

    def make_questions(
        self, student: str, answers: Mapping[str, str], report: Report, n: int
    ) -> list[Question]:
        """Makes the questions for one student, at most n.

        Args:
            student: the student's key.
            answers: the source of each exercise's answer, as in `Graded`.
            report: what it earned, before a teacher changed any points.
            n: the number of questions.

        Raises:
            GraderError: the mutants cannot be measured.
        """
        found = [a for a in self._grader.assignments if a.name == report.assignment]
        candidates = [c for a in found for c in _find_candidates(a, answers, report)]
        draws = _draw(candidates, generator_of(self._grader.seed, f"questions {student}"))
        chosen: dict[Edit, Question] = {}
        late: dict[Edit, Question] = {}  # fit, but worse than others

        def is_told(edit: Edit) -> bool:
            return any(edit.variant.hint == other.variant.hint for other in chosen)

        while candidates and len(chosen) < n:
            best = min(candidates, key=lambda c: (*_overlap(c, chosen), draws[c]))
            candidates.remove(best)
            if is_told(best.edit):
                continue
            if question := self._ask(found[0], best, report):
                (chosen if question.answer.is_plain else late)[best.edit] = question
        for edit, question in late.items():
            if len(chosen) < n and not is_told(edit):
                chosen[edit] = question
        return [*chosen.values()]

    def _ask(
        self, assignment: Assignment, candidate: "_Candidate", report: Report
    ) -> Question | None:
        """Returns the question; None if the mutant loses something else than it should."""
        edit = candidate.edit
        answer = self._answer(assignment, edit.variant)
        checks = next(e.checks for e in report.exercises if e.name == edit.variant.exercise)
        earned = tuple(check for check in checks if check.name in answer.lost)
        if not earned or not all(_is_earned(check) for check in earned):
            return None
        return Question(
            exercise=edit.variant.exercise,
            theirs=candidate.theirs,
            place=candidate.where,
            is_given=candidate.is_given,
            other=edit.other,
            assigns=edit.assigns,
            earned=earned,
            answer=answer,
        )

    def _answer(self, assignment: Assignment, variant: Variant) -> Answer:
        key = assignment.name, variant.exercise, variant.name
        if key not in self._answers:
            self._answers[key] = self._measure(assignment, variant)
        return self._answers[key]

    def _measure(self, assignment: Assignment, variant: Variant) -> Answer:
        exercise = assignment.exercise(variant.exercise)
        result = self._grader.try_variant(assignment, variant)
        reference = self._grader.reference(assignment)
        wrong = reference.measure(exercise, variant)
        failed = [check for check in result.checks if not check.passed]
        words = [check.message for check in failed]
        return Answer(
            name=variant.name,
            lost={check.name: (check.title, without_line(check.message)) for check in failed},
            hint=variant.hint,
            numbers=_compare(exercise, failed, reference.measure(exercise, None), wrong),
            is_plain=not (
                wrong.first_error
                or wrong.unfinished
                or any(CLAUSE_END in message for message in words)
                or len(failed) > MAX_LOST
            ),
        )


def as_student_page(sheet: Sheet, title: str) -> str:
    """Returns a student's page, which holds no answers and needs no other file.

    Args:
        sheet: the questions.
        title: the assignment's title.
    """
    return _render([sheet], title, is_for_teacher=False)


def as_teacher_page(sheets: Sequence[Sheet], title: str) -> str:
    """Returns the teacher's page: everybody's questions, with their answers."""
    return _render(sheets, title, is_for_teacher=True)


def _render(sheets: Sequence[Sheet], title: str, is_for_teacher: bool) -> str:
    filters = {"clean": clean, "one_line": one_line, "points": lambda p: f"{p:.4g}"}
    return page_template("questions.html", filters).render(
        sheets=sheets, title=title, is_for_teacher=is_for_teacher
    )


# What a student can be asked


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A mutant that a student can be asked about; the rest is as in `Question`."""

    edit: Edit
    theirs: str
    where: str
    is_given: bool


def _find_candidates(
    assignment: Assignment, answers: Mapping[str, str], report: Report
) -> Iterator[_Candidate]:
    results = {result.name: result for result in report.exercises}
    told = {check.hint for result in report.exercises for check in result.checks}
    earned, codes = {}, {}
    for name in (exercise.name for exercise in assignment.exercises):
        checks = results[name].checks if name in results else ()
        earned[name] = {check.name for check in checks if _is_earned(check)}
        source = answers.get(name, "")
        codes[name] = read_code(fill(source)) if len(source) <= MAX_SOURCE else None
    own = "\n".join(s.text for code in codes.values() if code for s in code.statements)
    secrets = {
        text
        for name in codes
        for text in read_solution(assignment, name).unearned(earned[name])
        if text not in own
    }
    for name, code in codes.items():
        solution = read_solution(assignment, name)
        for edit in solution.edits:
            if code is None or not solution.needs(edit) <= earned[name]:
                continue
            if any(edit.variant.hint in hint for hint in told):
                continue
            if any(secret in text for text in edit.new for secret in secrets):
                continue
            if found := _find_own(code, solution, edit):
                is_given = all(map(solution.is_given, edit.old))
                texts = [s.text if blocks_of(s.node) else code.show(s.node) for s in found]
                if is_short(theirs := "\n".join(texts)):
                    yield _Candidate(edit, theirs, _where(found), is_given)


def _draw(candidates: Sequence[_Candidate], generator: np.random.Generator) -> dict:
    """Returns a number for each mutant, by which they are sorted.

    Those about one part stay together. The more there are, the earlier they come: nobody should
    foresee the only mutant of a part, nor should all students talk about the same statement.
    """
    sizes = Counter(candidate.edit.part for candidate in candidates)
    waits = {part: generator.exponential() / size**0.5 for part, size in sizes.items()}
    order = generator.permutation(len(candidates))
    return {c: (waits[c.edit.part], i) for c, i in zip(candidates, order, strict=True)}


def _overlap(candidate: _Candidate, chosen: Collection[Edit]) -> tuple[bool, bool, int]:
    """Returns what makes a mutant a worse choice beside those that are chosen."""
    edit = candidate.edit
    parts = set().union(*(other.parts for other in chosen))
    places = set().union(*(other.places for other in chosen))
    is_worse = candidate.is_given or edit.is_much
    return bool(edit.places & places), is_worse, len(edit.parts & parts)


def _is_earned(check: Check) -> bool:
    return check.passed and check.maximum > 0


def _find_own(code: Code, solution: Solution, edit: Edit) -> list[Statement]:
    """Returns the student's statements that an edit would replace, or nothing if it does not fit.

    Args:
        code: the student's answer.
        solution: the solution.
        edit: what the mutant changes in it.
    """
    found: set[Statement] = set()
    for old in edit.old:
        own = _counterparts(code, solution, old)
        if not own:
            return []
        found.update(own)
    _add_helpers(found, code, solution)
    in_order = [s for s in code.statements if s in found]
    texts = [s.text for s in code.statements]
    own_texts = [s.text for s in in_order]
    hidden = {s.text for s in solution.code.statements if not solution.is_given(s)}
    reads_others = edit.reads & solution.code.assigned - code.assigned
    is_same = [*edit.new] == own_texts or (len(edit.new) == 1 and edit.new[0] in texts)
    tells_solution = hidden & {*edit.new} - {*texts}
    is_open = any(OPEN in text for text in own_texts)
    if reads_others or is_same or tells_solution or is_open or len(found) > MAX_STATEMENTS:
        return []
    return in_order


def _counterparts(code: Code, solution: Solution, old: Statement) -> list[Statement]:
    """Returns the student's statements that do what a statement of the solution does."""
    if solution.is_given(old):
        return [s for s in code.statements if s.identity == old.identity]
    own = [s for s in code.statements if s.touches & old.touches and not solution.is_given(s)]
    own = [s for s in own if s.scope == old.scope] or own
    # `value_loss = 0` only begins what other statements do.
    own = [s for s in own if not _is_constant(s.node)] or own
    touched = frozenset().union(*(s.touches for s in own))
    return own if old.touches <= touched else []


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)


def _add_helpers(found: set[Statement], code: Code, solution: Solution) -> None:
    """Adds the statements that define names of the student's own which the others read."""
    while len(found) <= MAX_STATEMENTS:
        names = frozenset().union(*(s.reads for s in found)) - solution.code.assigned
        scopes = {s.scope for s in found}
        helpers = [
            s
            for s in code.statements
            if s not in found
            and s.touches & names
            and s.scope in scopes
            and not (solution.is_given(s) or blocks_of(s.node))
        ]
        if not helpers:
            break
        found.update(helpers)


def _where(statements: Sequence[Statement]) -> str:
    *others, last = map(str, sorted({s.node.lineno for s in statements}))
    return f"lines {', '.join(others)} and {last}" if others else f"line {last}"


# Numbers


@np.errstate(all="ignore")
def _compare(
    exercise: Exercise, failed: Sequence[Check], right: Measurement, wrong: Measurement
) -> Numbers | None:
    """Returns what tells a mutant from the solution, of the first part that shows it.

    Answers that may have any size, and weights of their own, are judged by their properties: of
    these, numbers tell nothing.
    """
    if exercise.tailor:
        return None
    names = {check.name for check in failed}
    for part in exercise.parts:
        if part.name not in names:
            continue
        try:
            pairs = list(zip(part.evidence(right), part.evidence(wrong), strict=True))
        except Exception:  # nothing was measured, or not this
            continue
        for ours, theirs in pairs:
            if found := _compare_arrays(np.asarray(ours), np.asarray(theirs)):
                shown, instead, relation = found
                return Numbers(title=part.title, right=shown, wrong=instead, relation=relation)
    return None


def _compare_arrays(right: np.ndarray, wrong: np.ndarray) -> tuple[str, str, str] | None:
    """Returns numbers of both, and how they compare; None if they tell nothing."""
    if right.dtype.kind != "f" or wrong.dtype.kind not in "fiu" or not right.size:
        return None
    if np.all(right == np.round(right)):  # counts, or yes and no
        return None
    if right.shape != wrong.shape:
        if not wrong.size or right.size != wrong.size:
            return None
        return _shown(right), _shown(wrong), f"its shape is {wrong.shape}, not {right.shape}"
    if is_close(wrong, right):
        return None
    large = np.abs(right) > 1e-3 * np.max(np.abs(right))
    ratios = wrong[large] / right[large]
    differs = ~np.isclose(right, wrong, rtol=1e-3, atol=1e-4 * np.max(np.abs(right)))
    shown, instead = _shown(right[differs]), _shown(wrong[differs])
    return None if shown == instead or not ratios.size else (shown, instead, _relation(ratios))


def _relation(ratios: np.ndarray) -> str:
    least, most = ratios.min(), ratios.max()
    if not np.all(np.isfinite(ratios)):
        return "not all of it finite"
    if not np.any(ratios):
        return "nothing but zeros"
    if least < 0 < most:
        return "in part with the other sign"
    sizes = sorted({_number(abs(least)), _number(abs(most))}, key=float)
    size = "as large" if sizes == ["1"] else f"{' to '.join(sizes)} times as large"
    return size + (", with the other sign" if most < 0 else "")


def _shown(array: np.ndarray) -> str:
    numbers = array.ravel()
    more = ", …" if numbers.size > N_NUMBERS else ""
    return ", ".join(map(_number, numbers[:N_NUMBERS])) + more


def _number(number: float) -> str:
    return f"{number:.3g}".replace("-", "−")
