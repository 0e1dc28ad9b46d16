"""What a course's mutants change in the solution, and where."""

import ast
import functools
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from grading.assignment import Assignment, Variant
from grading.classroom.statements import (
    Code,
    Statement,
    blocks_of,
    first_line,
    own_nodes,
    read_code,
)
from grading.gaps import find_gaps

MAX_STATEMENTS = 4  # on either side of a question
MAX_LINES, MAX_CHARACTERS = 8, 500  # of them together
MAX_LOST = 3  # parts; a mutant that loses more breaks nearly everything
N_WORDS = 5  # of code that give an answer away


@dataclass(frozen=True, eq=False)
class Edit:
    """What a mutant changes in the solution.

    Attributes:
        variant: the mutant.
        part: the exercise, and the first part that the mutant loses.
        old: the solution's statements, which stand one after the other.
        is_insertion: whether the mutant only adds to them.
        other: what stands there instead; "" for nothing.
        new: the texts of these statements, as `ast.unparse` writes them.
        assigns: the names that they assign to.
        reads: the names that they read, but do not define.
    """

    variant: Variant
    part: tuple[str, str]
    old: tuple[Statement, ...]
    is_insertion: bool
    other: str
    new: tuple[str, ...]
    assigns: tuple[str, ...]
    reads: frozenset[str]

    @property
    def places(self) -> set[tuple[str, str]]:
        """The exercise, and what the statements assign to or call."""
        return {(self.variant.exercise, statement.place) for statement in self.old}

    @property
    def parts(self) -> set[tuple[str, str]]:
        """The exercise, and the parts that the mutant loses."""
        return {(self.variant.exercise, name) for name in self.variant.loses}

    @property
    def is_much(self) -> bool:
        """Whether it is more than one talks about in a minute."""
        return len(self.new) > len(self.old) + 2 or len(self.variant.loses) > MAX_LOST


@dataclass(frozen=True, eq=False)
class Solution:
    """An exercise of the solution, and its mutants.

    Attributes:
        code: the solution.
        given: the scope and the text of the statements that students get.
        edits: what the mutants change.
        depends: by a statement's place, the parts lost by the mutants that change it alone.
    """

    code: Code
    given: frozenset[tuple[str, str]]
    edits: tuple[Edit, ...]
    depends: Mapping[str, frozenset[str]]

    def is_given(self, statement: Statement) -> bool:
        return statement.identity in self.given

    def needs(self, edit: Edit) -> frozenset[str]:
        """Returns the parts that must have passed, so that the edit gives nothing away."""
        depends = (self.depends.get(old.place, frozenset()) for old in edit.old)
        return edit.variant.loses.union(*depends)

    def unearned(self, earned: Collection[str]) -> set[str]:
        """Returns pieces of the solution that answer what a student did not get right.

        Args:
            earned: the names of the parts that passed.
        """
        parts = frozenset().union(*self.depends.values())
        return {
            piece
            for statement in self.code.statements
            if not self.is_given(statement)
            and not self.depends.get(statement.place, parts) <= {*earned}
            for piece in _pieces(statement)
        }


@functools.cache
def read_solution(assignment: Assignment, exercise: str) -> Solution:
    source = assignment.solution_of(exercise)
    code, hidden = read_code(source), set()
    for gap in find_gaps(source):
        first, last = (source.count("\n", 0, at) + 1 for at in (gap.start, gap.end))
        hidden.update(range(first, last + 1))
    given = {s.identity for s in code.statements if hidden.isdisjoint(_lines(s.node))}
    mutants = [v for v in assignment.variants if v.exercise == exercise and v.loses]
    parts = [part.name for part in assignment.exercise(exercise).parts]
    edits = [edit for mutant in mutants if (edit := _read_edit(code, mutant, given, parts))]
    depends: dict[str, frozenset[str]] = {}
    for edit in edits:
        if len(edit.old) == 1 and not edit.is_insertion and len(edit.variant.loses) <= MAX_LOST:
            place = edit.old[0].place
            depends[place] = edit.variant.loses.union(depends.get(place, ()))
    return Solution(code, frozenset(given), tuple(edits), depends)


def _lines(node: ast.stmt) -> range:
    """Returns the lines of a statement, without the blocks in it."""
    first_inside = [block[0].lineno for block in blocks_of(node)]
    return range(node.lineno, max(min(first_inside, default=node.end_lineno + 1), node.lineno + 1))


def _read_edit(
    code: Code, mutant: Variant, given: Collection[tuple[str, str]], parts: Sequence[str]
) -> Edit | None:
    """Returns what a mutant changes; None if that is too much to show, or in several places."""
    try:
        edited = read_code(mutant.apply(code.source))
    except ValueError:
        edited = None
    if edited is None:
        return None
    statements = {s.node: s for s in (*code.statements, *edited.statements)}
    old, new, beside = _difference(code.body, edited.body)
    is_insertion = not old
    if is_insertion:  # it is shown with a statement beside it, one that students write if possible
        beside.sort(key=lambda pair: statements[pair[0]].identity in given)
        for ours, theirs in beside[:1]:
            old = [ours]
            new = sorted([theirs, *new], key=lambda node: node.lineno)
    is_first_line = len(old) == len(new) == 1 and bool(blocks_of(old[0]) and blocks_of(new[0]))
    new = [node for node in new if not isinstance(node, ast.Pass)]
    if not 1 <= len(old) <= MAX_STATEMENTS or any(map(blocks_of, old)) > is_first_line:
        return None
    if is_first_line:
        other, inside = statements[new[0]].text, new
    else:
        other = "\n".join(map(edited.show_in_a_line, new))
        inside = [node for top in new for node in ast.walk(top) if isinstance(node, ast.stmt)]
    if not is_short(other):
        return None
    every = [statements[node] for node in inside]
    names = [name for s in every for name in sorted(s.touches) if name.isidentifier()]
    reads = frozenset().union(*(s.reads for s in every))
    return Edit(
        variant=mutant,
        part=(mutant.exercise, next(name for name in parts if name in mutant.loses)),
        old=tuple(statements[node] for node in old),
        is_insertion=is_insertion,
        other=other,
        new=tuple(s.text for s in every),
        assigns=tuple(dict.fromkeys(name for name in names if name not in ("return", "_"))),
        reads=reads.difference(*(s.touches for s in every)) if len(every) > 1 else reads,
    )


def _pieces(statement: Statement) -> Iterator[str]:
    """Yields the expressions in a statement that are more than a name or two."""
    for node in own_nodes(statement.node):
        if isinstance(node, ast.expr):
            text = ast.unparse(node)
            if len(re.findall(r"\w+|[^\w\s]", text)) >= N_WORDS:
                yield text


def _difference(
    old: list[ast.stmt], new: list[ast.stmt]
) -> tuple[list[ast.stmt], list[ast.stmt], list[tuple[ast.stmt, ast.stmt]]]:
    """Compares two blocks of code, as deep inside them as the difference lies.

    Returns:
        The statements between those that are equal at the start and at the end, of both blocks, and
        pairs of equal ones before and after.
    """
    texts = [[ast.unparse(node) for node in block] for block in (old, new)]
    most = min(len(old), len(new))
    start = _n_equal(*texts, most)
    end = _n_equal(texts[0][::-1], texts[1][::-1], most - start)
    ours, theirs = old[start : len(old) - end], new[start : len(new) - end]
    if len(ours) == len(theirs) == 1 and first_line(ours[0]) == first_line(theirs[0]):
        blocks = zip(blocks_of(ours[0]), blocks_of(theirs[0]), strict=False)
        changed = [
            pair for pair in blocks if [*map(ast.unparse, pair[0])] != [*map(ast.unparse, pair[1])]
        ]
        if len(changed) == 1:
            return _difference(*changed[0])
    before = [(old[start - 1], new[start - 1])] if start else []
    after = [(old[-end], new[-end])] if end else []
    return ours, theirs, before + after


def _n_equal(first: Sequence[str], second: Sequence[str], most: int) -> int:
    pairs = itertools.islice(zip(first, second, strict=False), most)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def is_short(text: str) -> bool:
    return len(text) <= MAX_CHARACTERS and text.count("\n") < MAX_LINES
