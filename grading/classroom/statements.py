"""The statements of an answer, as they can be compared with others, whatever their layout."""

import ast
import functools
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_WIDTH = 88  # of a line that is put together again

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, eq=False)
class Statement:
    """A simple statement, or the first line of a block.

    Attributes:
        node: its node.
        scope: the name of the function around it, "" if there is none.
        text: as `ast.unparse` writes it, so that layout does not matter.
        touches: the names that it assigns to, `f()` if all that it does is to call f, or "return".
        reads: the names and the attributes of `self` that it reads.
    """

    node: ast.stmt
    scope: str
    text: str
    touches: frozenset[str]
    reads: frozenset[str]

    @property
    def identity(self) -> tuple[str, str]:
        """What two statements share that say the same in functions of one name."""
        return self.scope, self.text

    @property
    def place(self) -> str:
        """What tells its place from others in a cell."""
        return ", ".join(sorted(self.touches)) or self.text


@dataclass(frozen=True, eq=False)
class Code:
    """A cell: its source, its tree, and all of its statements in order."""

    source: str
    body: list[ast.stmt]
    statements: tuple[Statement, ...]

    @functools.cached_property
    def assigned(self) -> frozenset[str]:
        """All names that it binds, parameters, too."""
        nodes = [node for s in self.statements for node in own_nodes(s.node)]
        parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
        targets = {node.id for node in nodes if isinstance(node, ast.Name) and is_stored(node)}
        return parameters.union(targets, *(s.touches for s in self.statements))

    def show(self, node: ast.stmt) -> str:
        """Returns a statement as its author wrote it, but for its indentation."""
        text = ast.get_source_segment(self.source, node, padded=True) or ast.unparse(node)
        return textwrap.dedent(text).rstrip()

    def show_in_a_line(self, node: ast.stmt) -> str:
        """Returns a statement in a single line if that is short enough."""
        text = self.show(node)
        line = re.sub(r"(?<=[(\[]) | (?=[)\]])", "", " ".join(text.split()))
        joined = read_code(line) if len(line) <= MAX_WIDTH and not blocks_of(node) else None
        is_same = joined and [ast.unparse(n) for n in joined.body] == [ast.unparse(node)]
        return line if is_same else text


def read_code(source: str) -> Code | None:
    """Returns the statements of a cell; None if it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):  # on strange strings, for example
            body = ast.parse(source).body
        return Code(source, body, tuple(_read_statements(body, "")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _read_statements(body: Iterable[ast.stmt], scope: str) -> Iterator[Statement]:
    for node in body:
        reads = (n for n in own_nodes(node) if not is_stored(n))
        names = {ast.unparse(n) for n in reads if isinstance(n, ast.Name) or _is_of_self(n)}
        yield Statement(node, scope, first_line(node), _touches(node), frozenset(names))
        inner = node.name if isinstance(node, _FUNCTIONS) else scope
        for block in blocks_of(node):
            yield from _read_statements(block, inner)


def _touches(node: ast.stmt) -> frozenset[str]:
    if isinstance(node, ast.Return):
        return frozenset({"return"})
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return frozenset({f"{ast.unparse(node.value.func)}()"})
    found, targets = set(), [*getattr(node, "targets", ()), getattr(node, "target", None)]
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Starred):
            target = target.value
        if isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
        elif target is not None:
            found.add(ast.unparse(target))
    return frozenset(found)


def is_stored(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _is_of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"


def blocks_of(node: ast.stmt) -> list[list[ast.stmt]]:
    """Returns the blocks in a statement, in order."""
    parts = [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]
    blocks = [getattr(node, field, []) for field in ("body", "orelse", "finalbody")]
    return [block for block in [*blocks, *(part.body for part in parts)] if block]


def own_nodes(node: ast.stmt) -> Iterator[ast.AST]:
    """Yields the nodes of a statement, without the blocks in it."""
    inside = {id(child) for block in blocks_of(node) for child in block}
    todo: list[ast.AST] = [node]
    while todo:
        current = todo.pop()
        yield current
        todo += [child for child in ast.iter_child_nodes(current) if id(child) not in inside]


def first_line(node: ast.stmt) -> str:
    """Returns a statement as `ast.unparse` writes it, without the blocks in it."""
    lists = ("body", "orelse", "finalbody", "handlers", "cases")
    empty = {field: [] for field in lists if hasattr(node, field)}
    if not empty:
        return ast.unparse(node)
    fields = {name: getattr(node, name, None) for name in node._fields} | empty
    return ast.unparse(type(node)(**fields, lineno=node.lineno, col_offset=0)).strip()
