"""Finds the answers in any notebook that a student hands in.

The solution defines the exercises: each of its exercise cells defines some names. An answer is the
code that defines these names in the submission, in one cell or in several, anywhere in it.

1.  Cells that repeat a given cell of the solution word for word are left out. All others are the
    student's.
2.  The last cell that defines an exercise's names is its answer, as it would be after Run All.
    Cells that are not Python, because of open gaps or other errors, count only if there is no such
    cell.
3.  The student's statements up to the answer run, in order, if they bind its names, or if they bind
    a name that one of these statements reads, and so on. Imports of `*` and from `__future__`
    always run.
4.  A statement never runs if it binds a name that the solution defines before the exercise or in
    another exercise, because such code comes from the solution. But a notebook made from another
    template keeps its own functions, because its answers may rely on them. Loops never run either:
    a loop does work, but defines nothing.

So a `pool.interact()` beside an answer does no harm, nor do the imports of an old template. Code
that does not run is listed. IPython's magics become calls, as in IPython, and no answer needs a
call. Below `%%time` and `%%capture`, code is read as usual.

Submissions are hostile, so they are read in a process with limited time and memory; see `reader`.
"""

import ast
import bisect
import contextlib
import re
import symtable
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from IPython.core import inputtransformer2

from grading.files import UnreadableError
from grading.gaps import EXERCISE, fill
from grading.notebook import CodeCell, read_code_cells
from grading.tripwire import find_tripwires

MAX_MAGICS = 20  # in a cell
MAX_LISTED = 10  # cells or lines in a remark

_HEADING = re.compile(rf"^{EXERCISE.pattern}\b", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import|from) .*", re.MULTILINE)
_GAP = re.compile(r"[^#]*<YOUR CODE")
_SKIPPED_MAGICS = re.compile(r"(?:\s*%%(?:time|capture)\b.*)*")
# Syntax that came with a version of Python: the version, what an older one says of it, and how it
# looks in a line.
_NEWER = (
    ("3.12", "f-string|line continuation|unterminated", r"""\b(?:[fF][rR]?|[rR][fF])["']"""),
    ("3.12", "", r"^\s*(?:def|class)\s+\w+\[|^\s*type\s+\w+.*="),
    ("3.14", "", r"""\b[tT]["']|^\s*except\s+\w+\s*,"""),
)
# Above the mark may stand magics, other comments and blank lines; `checks.notebook` says the same.
_SLOW = re.compile(r"\ufeff?(?:[^\S\n]*(?:[#%!].*)?\n)*?[^\S\n]*#+[^\S\n]*Slow[^\S\n]*:")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PLAIN_BINDINGS = (*_DEFINITIONS, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)


@dataclass(frozen=True)
class ExerciseCell:
    """What an exercise cell of the solution asks for.

    Attributes:
        name: as in `# Exercise: name`.
        cell_id: the cell's id.
        source: the solution's answer.
        defines: the names that an answer must define.
        foreign: names that an answer may use, but that are never taken from the submission.
    """

    name: str
    cell_id: str
    source: str
    defines: frozenset[str]
    foreign: frozenset[str]


@dataclass(frozen=True)
class Template:
    """What a solution notebook asks for, and what it provides.

    Attributes:
        exercises: in the notebook's order.
        given: the sources of its other code cells.
        functions: the names of the functions in the given cells.
        usable: the sources of given cells whose imports and definitions answers may use.
        imported: all words in its import statements.
    """

    exercises: tuple[ExerciseCell, ...]
    given: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    usable: tuple[str, ...] = ()
    imported: frozenset[str] = frozenset()

    def support(self, sources: Iterable[str]) -> tuple[str, ...]:
        """Returns the usable imports and definitions that some sources read, in order."""
        usable = [s for source in self.usable for s in _read_statements(CodeCell(0, "", source))]
        texts = (CodeCell(0, "", source) for source in sources)
        reading = [statement for cell in texts for statement in _read_statements(cell)]
        names = frozenset().union(*(s.reads | s.reads_later for s in reading))
        return tuple(statement.text for statement in _needed_for(names, usable)[0])


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell; an import of several names counts as several.

    Attributes:
        cell_number: the cell's number in the notebook, from 1.
        line: its first line in the cell, from 1.
        text: its source.
        binds: names that it may define.
        changes: names that it may change, so that their earlier statements are needed as well.
        reads: names that it reads when it runs.
        reads_later: names that its functions read when they are called.
    """

    cell_number: int
    line: int
    text: str
    binds: frozenset[str]
    changes: frozenset[str]
    reads: frozenset[str]
    reads_later: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """A student's answer to one exercise.

    Attributes:
        exercise: the exercise's name.
        state: `complete`, `open` (gaps are left), `broken` (not Python) or `missing`.
        problem: why it is not complete.
        cell_number: the cell that counts, from 1; 0 if there is none.
        source: the code of that cell to run, each line in its place; empty if it is broken or
            missing. A gap that is open fails when it runs.
        helpers: code to run before, piece by piece. If a piece fails, such as the import of a
            missing package, the rest still runs: it may not matter.
        support: given imports and definitions that it reads, to be run first.
        remarks: notes for the teacher.
    """

    exercise: str
    state: str
    problem: str = ""
    cell_number: int = 0
    source: str = ""
    helpers: tuple[str, ...] = ()
    support: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The code to run, in order; empty if there is none."""
        if not self.source:
            return ()
        return (*self.support, *self.helpers, self.source)


class RunCell(NamedTuple):
    """A code cell of a notebook that runs as a whole.

    Attributes:
        number: its number in the notebook, from 1.
        source: its source; the gaps of an answer are replaced, see `gaps.fill`.
        is_slow: whether it is marked `# Slow:`, so that nobody runs it without need.
    """

    number: int
    source: str
    is_slow: bool


@dataclass(frozen=True)
class Submission:
    """What a student handed in.

    Attributes:
        answers: the answers by the names of their exercises.
        cells: all code cells, in order.
        remarks: notes for the teacher.
        is_foreign: whether it was made from another template: no cell, heading or id in it belongs
            to this assignment.
        is_all_answers: whether each line of the student's own is part of an answer. Nothing else
            in the notebook can then change what the answers do.
        problem: why the file cannot be read as a notebook, "" if it can.
    """

    answers: dict[str, Answer]
    cells: tuple[RunCell, ...] = ()
    remarks: tuple[str, ...] = ()
    problem: str = ""
    is_foreign: bool = False
    is_all_answers: bool = False


def read_template(solution: bytes, usable: Iterable[str] = ()) -> Template:
    """Reads a solution notebook.

    Args:
        solution: the file.
        usable: ids of given cells whose imports and definitions answers may use.

    Raises:
        UnreadableError: it cannot be read, a cell is missing, or an exercise cell is not Python or
            defines nothing.
    """
    code = read_code_cells(solution)
    cells = [_Cell(cell) for cell in code]
    by_id = {cell.id: cell.source for cell in code}
    if missing := [name for name in usable if name not in by_id]:
        raise UnreadableError(f"it has no cell {', '.join(missing)}")
    exercises, given, functions, before = [], [], set(), set()
    headings = [(cell, EXERCISE.match(cell.source)) for cell in cells]
    asked = frozenset().union(*(cell.binds for cell, heading in headings if heading))
    for cell, heading in headings:
        if heading and cell.problem:
            raise UnreadableError(cell.problem)
        if heading and not cell.binds:
            raise UnreadableError(f"cell {cell.number} is an exercise, but defines nothing")
        if heading:
            foreign = (asked | before) - cell.binds - {"_", "*"}
            exercises.append(ExerciseCell(heading[1], cell.id, cell.source, cell.binds, foreign))
        else:
            given.append(_normalise(cell.source))
            functions.update(re.findall(r"^def (\w+)", cell.source, re.MULTILINE))
            before |= cell.binds
    imports = _IMPORT.findall("\n".join(cell.source for cell in code))
    return Template(
        tuple(exercises),
        frozenset(given),
        frozenset(functions),
        tuple(by_id[name] for name in usable),
        frozenset(re.findall(r"\w+", " ".join(imports))),
    )


def choose_template(code: list[CodeCell], templates: Sequence[Template]) -> list[Template]:
    """Returns the templates, the likeliest first.

    The templates of one assignment ask for nearly the same names, so the framework decides: the
    more often a notebook uses words that only one solution imports, the likelier its template.
    """
    words = re.findall(r"\w+", "\n".join(cell.source for cell in code))

    def likeness(template: Template) -> int:
        others = (other.imported for other in templates if other is not template)
        own = template.imported.difference(*others)
        return sum(word in own for word in words)

    return sorted(templates, key=likeness, reverse=True)


def read_submission(code: list[CodeCell], template: Template) -> Submission:
    """Finds the answers among a notebook's code cells; never raises."""
    cells = [_Cell(cell) for cell in code if _normalise(cell.source) not in template.given]
    is_foreign = len(cells) == len(code) and not any(
        cell.is_meant_for(exercise) for cell in cells for exercise in template.exercises
    )
    answers, used = {}, set()
    for exercise in template.exercises:
        own_functions = template.functions if is_foreign else frozenset()
        asked = replace(exercise, foreign=exercise.foreign - own_functions)
        answer, needed = _find_answer(asked, cells)
        answers[exercise.name] = replace(answer, support=template.support(answer.sources))
        used.update(needed)
    counted = {answer.cell_number for answer in answers.values()}
    unfinished = {answer.cell_number for answer in answers.values() if answer.state == "open"}
    return Submission(
        answers,
        cells=tuple(_as_run(cell, cell.number in unfinished) for cell in code),
        remarks=(*_list_unused(cells, used, counted), *_list_tripwires(cells)),
        is_foreign=is_foreign,
        is_all_answers=not is_foreign
        and all(cell.number in counted or not cell.problem for cell in cells)
        and all(statement in used for cell in cells for statement in cell.statements),
    )


def _list_tripwires(cells: Iterable["_Cell"]) -> list[str]:
    """Returns a remark on code that looks into the process that runs it, or nothing."""
    found = [
        f"cell {cell.number}: {line}"
        for cell in cells
        for statement in cell.statements
        for line in find_tripwires(statement.text)
    ]
    if not found:
        return []
    more = f", and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    return [
        "code that looks into the process that grades it, for you to read: "
        + "; ".join(found[:MAX_LISTED])
        + more
    ]


def _as_run(cell: CodeCell, is_unfinished: bool) -> RunCell:
    source = fill(cell.source) if is_unfinished else cell.source
    return RunCell(cell.number, source, bool(_SLOW.match(source)))


def unreadable_submission(template: Template, reason: str) -> Submission:
    """Returns the submission that stands for an unreadable file."""
    answers = {e.name: Answer(e.name, "missing", reason) for e in template.exercises}
    return Submission(answers, problem=reason)


class _Cell:
    """A student's cell; it has statements if it is Python, otherwise a problem."""

    def __init__(self, cell: CodeCell):
        self.number, self.id, self.source = cell
        self.statements: list[Statement] = []
        self.state = self.problem = ""
        try:
            with warnings.catch_warnings(action="ignore"):
                self.statements = list(_read_statements(cell))
        except SyntaxError as error:
            self.state = "broken"
            line = error.lineno or 1
            lines = cell.source.split("\n")[line - 1 : line + 1]
            needed = _version_needed(str(error.msg), lines)
            version = f" {sys.version_info[0]}.{sys.version_info[1]}" if needed else ""
            advice = f"; it may need Python {needed}: grade it with that one" if needed else ""
            words = str(error.msg)[:100]
            self.problem = (
                f"cell {cell.number}, line {line}: this is not Python{version}: {words}{advice}"
            )
        except Exception:  # parsers fail in many ways on hostile or deeply nested code
            self.state = "broken"
            self.problem = f"cell {cell.number} cannot be read as Python"
        lines = enumerate(cell.source.split("\n"), 1)
        if self.problem and (gaps := [number for number, line in lines if _GAP.match(line)]):
            self.state = "open"
            are = "gap is" if len(gaps) == 1 else "gaps are"
            self.problem = f"cell {cell.number}: {len(gaps)} {are} open, in {_list('line', gaps)}"
            with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
                self.statements = list(_read_statements(cell._replace(source=fill(cell.source))))
        self.binds = frozenset().union(*(s.binds for s in self.statements))

    def is_meant_for(self, exercise: ExerciseCell) -> bool:
        """Says whether its id, its heading or, if broken, a defining line names the exercise."""
        names = "|".join(exercise.defines)
        defining = rf"^(?:(?:async +)?def|class) +(?:{names})\b|^(?:{names}) *(?::[^=\n]*)?=(?!=)"
        return (
            self.id == exercise.cell_id
            or any(heading[1] == exercise.name for heading in _HEADING.finditer(self.source))
            or bool(self.problem and re.search(defining, self.source, re.MULTILINE))
        )


def _find_answer(exercise: ExerciseCell, cells: list[_Cell]) -> tuple[Answer, list[Statement]]:
    """Returns the answer and all of its statements."""
    name, lacking = exercise.name, exercise.defines
    meant = [cell for cell in cells if cell.is_meant_for(exercise)]
    finished = [cell for cell in cells if not cell.problem]
    for among in (finished, cells):
        defining = [cell for cell in among if cell.binds & exercise.defines]
        if not defining:
            continue
        last = defining[-1]
        needed, lacking = _select(exercise, [c for c in among if c.number <= last.number])
        if not lacking:
            answer = Answer(
                name,
                last.state or "complete",
                last.problem,
                cell_number=last.number,
                source=_join(s for s in needed if s.cell_number == last.number),
                helpers=tuple(s.text for s in needed if s.cell_number != last.number),
                remarks=_list_others({*defining, *meant} - {last}),
            )
            return answer, needed
    if problems := [cell for cell in meant if cell.problem]:
        *others, last = problems
        remarks = _list_others(others)
        return Answer(name, last.state, last.problem, last.number, remarks=remarks), []
    place = f"cell {meant[-1].number}, where it should be," if meant else "the notebook"
    return Answer(name, "missing", f"{place} does not define {', '.join(sorted(lacking))}"), []


def _select(exercise: ExerciseCell, cells: list[_Cell]) -> tuple[list[Statement], frozenset[str]]:
    """Returns the statements that an answer needs, and which of its names are never bound."""
    statements = [
        statement
        for cell in cells
        for statement in cell.statements
        if statement.binds & exercise.defines
        or not (statement.binds | statement.changes) & exercise.foreign
    ]
    needed, unbound = _needed_for(exercise.defines | {"*"}, statements)
    return needed, unbound & exercise.defines


def _needed_for(
    names: frozenset[str], statements: list[Statement]
) -> tuple[list[Statement], frozenset[str]]:
    """Returns the statements that bind some names, and all that these need, in order.

    Also returns the names that nothing binds before they are read.
    """
    binders = defaultdict(list)
    for i, statement in enumerate(statements):
        for name in statement.binds | statement.changes:
            binders[name].append(i)
    end = len(statements)
    needed, unbound = set(), set()
    todo = [(name, end) for name in names]
    while todo:
        name, before = todo.pop()
        # A name has its latest value; functions are called after everything has run.
        last = bisect.bisect_left(binders[name], before) - 1
        if last < 0:
            unbound.add(name)
        elif (i := binders[name][last]) not in needed:
            needed.add(i)
            statement = statements[i]
            todo += [(read, i) for read in statement.reads]
            todo += [(read, end) for read in statement.reads_later]
            todo += [(changed, i) for changed in statement.changes if binders[changed][0] < i]
    return [statements[i] for i in sorted(needed)], frozenset(unbound)


def _list_unused(cells: list[_Cell], used: set[Statement], counted: set[int]) -> Iterator[str]:
    parts, unused = [], []
    for cell in cells:
        lines = [statement.line for statement in cell.statements if statement not in used]
        if cell.number in counted:
            if lines:
                yield f"not run in cell {cell.number}: {_list('line', lines)}"
        elif cell.problem or lines:
            (parts if len(lines) < len(cell.statements) else unused).append(cell.number)
    if parts:
        yield f"run in part: {_list('cell', parts)}"
    if unused:
        yield f"not run: {_list('cell', unused)}"


def _list_others(cells: Iterable[_Cell]) -> tuple[str, ...]:
    numbers = [cell.number for cell in cells]
    return (f"not used: {_list('cell', numbers)}",) if numbers else ()


def _list(noun: str, numbers: Iterable[int]) -> str:
    numbers = sorted(set(numbers))
    more = f" and {len(numbers) - MAX_LISTED} more" if len(numbers) > MAX_LISTED else ""
    return f"{noun}{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:MAX_LISTED]))}{more}"


def _version_needed(words: str, lines: list[str]) -> str:
    """Returns the Python that accepts what this one does not, as far as can be told.

    Args:
        words: what this one says.
        lines: the line in which it says so, and the next.
    """
    for version, said, pattern in _NEWER:
        is_newer = sys.version_info[:2] < tuple(map(int, version.split(".")))
        if is_newer and re.search(said, words) and any(re.search(pattern, x) for x in lines):
            return version
    return ""


def _join(statements: Iterable[Statement]) -> str:
    """Joins statements of one cell, each in its original line."""
    pieces, line = [], 1
    for statement in statements:
        pieces += ["\n" * (statement.line - line) or "; " * bool(pieces), statement.text]
        line = statement.line + statement.text.count("\n")
    return "".join(pieces)


def _normalise(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().split("\n"))


# Statements


def _read_statements(cell: CodeCell) -> Iterator[Statement]:
    magics = _SKIPPED_MAGICS.match(cell.source)[0]
    source = "\n" * magics.count("\n") + cell.source[len(magics) :]
    if source.lstrip().startswith("%%"):
        raise SyntaxError(f"it begins with {source.split(maxsplit=1)[0]}")
    try:
        # Only parsed: compiling deeply nested comprehensions crashes Python 3.12 and 3.13.
        tree = ast.parse(source)
    except SyntaxError:
        source = _translate_magics(source)
        tree = ast.parse(source)
    lines = [line + b"\n" for line in source.encode().split(b"\n")]
    for node in tree.body:
        line = min(n.lineno for n in [node, *getattr(node, "decorator_list", [])])
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                node.names = [alias]
                yield _read_statement(node, cell.number, line, ast.unparse(node))
        else:
            text = lines[line - 1 : node.end_lineno]
            text[-1] = text[-1][: node.end_col_offset]
            text[0] = text[0][node.col_offset :]
            yield _read_statement(node, cell.number, line, b"".join(text).decode())


def _translate_magics(source: str) -> str:
    """Does what IPython's `transform_cell` does, but keeps empty lines, and stops early."""
    lines = [line + "\n" for line in source.split("\n")]
    n_blank = next((i for i, line in enumerate(lines) if line.strip()), 0)
    blank, lines = lines[:n_blank], lines[n_blank:]
    for clean in ("leading_indent", "classic_prompt", "ipython_prompt"):
        lines = getattr(inputtransformer2, clean)(lines)
    manager = inputtransformer2.TransformerManager()
    for _ in range(MAX_MAGICS):
        changed, lines = manager.do_one_token_transform(lines)
        if not changed:
            return "".join(blank + lines)
    raise SyntaxError(f"it has more than {MAX_MAGICS} magics")


def _read_statement(node: ast.stmt, cell_number: int, line: int, text: str) -> Statement:
    reads, reads_later = _read_names(symtable.symtable(text, "cell", "exec"))
    nodes = list(_own_nodes(node))
    binds = {name for n in nodes if (name := _bound_name(n))}
    changes = {name for n in nodes if (name := _changed_name(n))}
    is_loop = any(isinstance(n, ast.For | ast.AsyncFor | ast.While) for n in nodes)
    is_declaration = isinstance(node, ast.AnnAssign) and not node.value
    if is_loop or is_declaration:
        binds = changes = set()
    elif isinstance(node, ast.ImportFrom) and (binds == {"*"} or node.module == "__future__"):
        binds = changes = {"*"}
    elif not isinstance(node, _PLAIN_BINDINGS):
        changes |= binds
    return Statement(cell_number, line, text, *map(frozenset, (binds, changes, reads, reads_later)))


def _read_names(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Returns the names that a statement reads at once, and those that functions read later."""
    now, later = {s.get_name() for s in table.get_symbols() if s.is_referenced()}, set()
    tables = [(child, False) for child in table.get_children()]
    while tables:
        child, is_later = tables.pop()
        is_later = is_later or child.get_type() == "function"
        names = {s.get_name() for s in child.get_symbols() if s.is_global()}
        (later if is_later else now).update(names)
        tables += [(grandchild, is_later) for grandchild in child.get_children()]
    return now, later


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes of a statement, without the bodies of functions and classes."""
    yield node
    if not isinstance(node, _DEFINITIONS):
        for child in ast.iter_child_nodes(node):
            # The variables of a comprehension are local to it.
            if not (isinstance(node, ast.comprehension) and child is node.target):
                yield from _own_nodes(child)


def _bound_name(node: ast.AST) -> str:
    """Returns the name that a node binds, "" if it binds none."""
    if isinstance(node, ast.alias):
        return node.asname or node.name.split(".")[0]
    if isinstance(node, ast.Name):
        return node.id if isinstance(node.ctx, ast.Store) else ""
    name = getattr(node, "name", None)  # of a definition, an exception, a pattern
    return name if isinstance(name, str) else ""


def _changed_name(node: ast.AST) -> str:
    """Returns the `a` of an assignment to `a.b[c].d`, "" for any other node."""
    if not (isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store)):
        return ""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return getattr(node, "id", "")
