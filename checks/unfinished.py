"""Lets a measurement go on where a student's code is unfinished, or raises an error.

A statement that fails is replaced: by a neutral value if it assigns a name that has one, otherwise
by nothing. Whatever does not depend on it can be measured then. For example, a value loss of zero
leaves the policy's and the entropy's terms as they were.
"""

import ast
import contextlib
import copy
import linecache
import re
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from checks.notebook import PlainError, describe_error
from checks.sheet import Sheet

Result = TypeVar("Result")

# Stands where a gap is open. Nothing defines it, so a statement with a gap fails like any other.
YOUR_CODE = "YOUR_CODE"
MAX_REPLACED = 20  # statements
STEPPING = {"backward", "apply_gradients", "minimize"}
# What the gaps assign to; other neutral values stand for lines that are given.
OF_GAPS = ("new_state", "logits", "state_value", "memory, (logits_t, values_t)")
OF_GAPS += ("value_loss", "advantage", "J_hat", "entropy_reg")
ADDED_UP = {"value_loss", "J_hat"}  # over the ticks
RETURN = "return"  # what is measured returns by itself, and not for another function

_GAP = re.compile(r"<YOUR CODE(?:: [^<>\n]*)?>")


def fill_gaps(source: str) -> str:
    """Makes a cell with open gaps run, up to the first of them."""
    return _GAP.sub(YOUR_CODE, source)


class Unfinished:
    """Replaces statements that fail in functions and classes of a notebook.

    Args:
        namespace: the notebook's globals. They keep the replacements until `restore`.
        framework: its adapter, with neutral expressions in `NEUTRAL`: by what they are assigned to,
            as `ast.unparse` writes it, or "return"; the one under "" is a statement that stands in
            for a gap of whole statements. In them, `_neutral` is the adapter.
        exercise: the exercise's name.

    Attributes:
        failed: descriptions of the errors, by what the statement assigns to (a key of `neutral`),
            or by its place if that has no neutral value; in the order in which they were met.
    """

    def __init__(
        self,
        namespace: dict[str, Any],
        framework: types.ModuleType,
        exercise: str,
    ):
        self.failed: dict[str, str] = {}
        self._namespace = namespace
        self._neutral = framework.NEUTRAL[exercise]
        self._framework, self._exercise = framework, exercise
        self._trees: dict[str, ast.Module] = {}
        self._before: dict[str, Any] = {}
        self._left_out: dict[str, str] = {}  # the errors of statements, by the names they assign

    def run(self, measure: Callable[[], Result]) -> Result:
        """Measures; after an error, replaces the statement that failed, and measures once more.

        Raises:
            Exception: an error for which no statement can be replaced; the first one, as later ones
                may only be its consequences.
        """
        first: Exception | None = None
        while True:
            try:
                return measure()
            except PlainError:  # by what measures, not by a statement
                raise
            except Exception as error:
                first = first or error
                if len(self.failed) >= MAX_REPLACED or not self._replace(error):
                    raise first from None

    def complete(self, function: str, key: str, words: str, is_done: Callable[[], bool]) -> None:
        """Runs a function, and lets it end with a neutral statement if something is not done.

        Args:
            function: its name.
            key: of the statement among the neutral ones, "" or `RETURN`.
            words: what is wrong if the statement helps.
            is_done: runs the function; returns whether it does what it should.

        Raises:
            Exception: as `run`.
        """
        if self.run(is_done) or key in self.failed:
            return
        before = self._namespace[function]
        if self._end_with(before, key):
            self._before.setdefault(function, before)
            with contextlib.suppress(Exception):  # it may call the loss by another name
                if is_done():
                    self.failed[key] = words
                    return
            self._namespace[function] = before

    def _end_with(self, function: Any, key: str) -> bool:
        """Puts a neutral statement at the end of a function, before its last return if it is none.

        Returns:
            Whether that was possible.
        """
        code = getattr(function, "__code__", None)
        if code is None or self._find_statement(code.co_filename, code.co_firstlineno + 1) is None:
            return False
        for node in self._trees[code.co_filename].body:
            if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
                longer = copy.deepcopy(node)
                place = len(longer.body) - isinstance(longer.body[-1], ast.Return)
                source = f"return {self._neutral[key]}" if key == RETURN else self._neutral[key]
                longer.body.insert(place, ast.parse(source).body[0])
                return self._define(code.co_filename, longer)
        return False

    def tell(self, sheet: Sheet) -> set[str]:
        """Adds a line to a check for each statement that was replaced.

        Returns:
            The parts of the exercise that fail by it, and need no other line.
        """
        told: set[str] = set()
        for target, words in self.failed.items():
            parts = self._framework.GAPS[self._exercise].get(target, ())
            told.update(parts)
            title = f"{target} can be computed" if target and parts else "each line runs"
            title = {RETURN: "it returns", "": "the optimizer takes one step"}.get(target, title)
            sheet.fail(title, words, *parts)
        return told

    def restore(self) -> None:
        """Puts back the functions and classes of the notebook."""
        self._namespace.update(self._before)
        self._namespace.pop("_neutral", None)

    def _replace(self, error: Exception) -> bool:
        """Replaces the statement that raised an error; returns whether that was possible."""
        places = list(self._places(error))
        if len(places) == 1 and isinstance(places[0][1], ast.Return):  # all else has been done
            places = [(*places[0][:2], RETURN)]
        named = [place for place in places if place[2] in self._neutral and place[2]]
        # A function that no longer returns anything only fails somewhere else.
        others = [place for place in places if not isinstance(place[1], ast.Return)]
        if not named and not others:
            return False
        file, statement, target = (named or others)[0]
        is_named = bool(named) and target not in self.failed  # else its neutral value failed, too
        key = target if is_named else f"{file}, line {statement.lineno}"
        is_gap = isinstance(error, NameError) and error.name == YOUR_CODE
        if not is_named and "" in self._neutral and "" not in self.failed:
            key = "" if isinstance(statement, ast.Expr) and self._is_step(statement) else key
        if key in self.failed:  # replacing it has not helped
            return False
        words = self._cause(error, statement) or (
            f"a gap is open: `{_first_line(statement).replace(YOUR_CODE, '<YOUR CODE>')}`"
            if is_gap
            else describe_error(error)
        )
        new = self._neutral_statement(statement, target if is_named else "", key == "")
        if not self._redefine(file, statement, new):
            return False
        self.failed[key] = words
        if not is_named:
            self._left_out |= dict.fromkeys(_names_changed_by(statement), words)
        return True

    def _is_step(self, statement: ast.Expr) -> bool:
        """Says whether a statement is a gap, or something that an optimizer should do."""
        nodes = [*ast.walk(statement)]
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        methods = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        is_of_optimizer = names & {YOUR_CODE, *self._framework.OPTIMIZER_NAMES}
        return bool(is_of_optimizer or methods & STEPPING)

    def _cause(self, error: Exception, statement: ast.stmt) -> str:
        """Returns the earlier error of which this one is a consequence, "" if of none.

        A name whose statement was left out is not defined, or holds what it held before.
        """
        if isinstance(error, NameError):
            return self._left_out.get(_name_missing(error), "")
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        read = [name.id for name in names if isinstance(name.ctx, ast.Load)]
        return next((self._left_out[name] for name in read if name in self._left_out), "")

    def _places(self, error: BaseException) -> Iterator[tuple[str, ast.stmt, str]]:
        """Yields the file, the statement and its target of each student's frame, inmost first."""
        trace, frames = error.__traceback__, []
        while trace is not None:
            if trace.tb_frame.f_globals is self._namespace:
                frames.append((trace.tb_frame.f_code, trace.tb_lineno))
            trace = trace.tb_next
        for code, line in reversed(frames):
            if code.co_name == "<module>":  # a cell itself, which ran before
                continue
            statement = self._find_statement(code.co_filename, line)
            if statement is not None:
                target = _target_of(statement)
                if isinstance(statement, ast.Raise):
                    target = self._gap_of(code.co_filename, statement)
                yield code.co_filename, statement, target

    def _find_statement(self, file: str, line: int) -> ast.stmt | None:
        """Returns the simple statement in a line of a cell, in its latest version."""
        if file not in self._trees:
            try:
                self._trees[file] = ast.parse("".join(linecache.getlines(file)))
            except (SyntaxError, ValueError):
                return None
        around = [
            node
            for node in ast.walk(self._trees[file])
            if isinstance(node, ast.stmt)
            and not hasattr(node, "body")
            and not isinstance(node, ast.Match)
            and node.lineno <= line <= node.end_lineno
        ]
        return around[-1] if around else None

    def _gap_of(self, file: str, statement: ast.Raise) -> str:
        """Returns what was to be assigned where a `raise` stands, "" if that is unclear."""
        nodes = [*ast.walk(self._outermost(file, statement))]
        statements = [node for node in nodes if isinstance(node, ast.Assign | ast.AugAssign)]
        loads = (n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
        read = {node.id for node in loads}
        # What is added up begins as a number and is divided in the end, an advantage is stopped:
        # these are given.
        given = {
            node
            for node in statements
            if isinstance(node.value, ast.Constant)
            or isinstance(getattr(node, "op", None), ast.Div)
            or _target_of(node) in {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        }
        assigned = {_target_of(node) for node in statements if node not in given}
        # What has another name in this notebook is not read by the template's.
        missing = [
            gap
            for gap in OF_GAPS
            if gap in self._neutral and gap not in assigned and read & {*re.findall(r"\w+", gap)}
        ]
        return missing[0] if len(missing) == 1 else ""

    def _neutral_statement(self, statement: ast.stmt, target: str, is_bare_gap: bool) -> ast.stmt:
        if is_bare_gap:
            source = self._neutral[""] or "pass"
        elif not target:
            source = "pass"
        elif target == RETURN:
            source = f"return {self._neutral[RETURN]}"
        elif isinstance(statement, ast.AugAssign) or (
            isinstance(statement, ast.Raise) and target in ADDED_UP
        ):
            source = f"{target} += {self._neutral[target]}"
        elif isinstance(statement, ast.Assign) and target in {
            n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name)
        }:
            source = f"{target} = {target} + ({self._neutral[target]})"
        else:
            source = f"{target} = {self._neutral[target]}"
        return ast.parse(source).body[0]

    def _redefine(self, file: str, old: ast.stmt, new: ast.stmt) -> bool:
        """Defines the function or class around a statement anew, with another in its place."""
        outermost = self._outermost(file, old)
        if not isinstance(outermost, ast.FunctionDef | ast.ClassDef):
            return False
        _Replacer(old, new).visit(outermost)
        return self._define(file, outermost)

    def _outermost(self, file: str, statement: ast.stmt) -> ast.stmt:
        """Returns the function, the class or whatever else of a cell a statement is in."""
        line = statement.lineno
        return next(n for n in self._trees[file].body if n.lineno <= line <= n.end_lineno)

    def _define(self, file: str, outermost: ast.FunctionDef | ast.ClassDef) -> bool:
        """Defines a function or class of a cell, as its tree is now; returns whether it could."""
        name, source = outermost.name, ast.unparse(outermost)
        self._before.setdefault(name, self._namespace.get(name))
        self._namespace["_neutral"] = self._framework
        file = f"{file}~"
        # Tracebacks, and TensorFlow's compiler, read sources from this cache.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), self._namespace)
        except Exception:
            return False
        return True


class _Replacer(ast.NodeTransformer):
    def __init__(self, old: ast.stmt, new: ast.stmt):
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _target_of(statement: ast.stmt) -> str:
    """Returns what a statement assigns to, "" if nothing, or several things."""
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    if len(targets) != 1 or targets[0] is None or getattr(statement, "value", None) is None:
        return ""
    if isinstance(targets[0], ast.Tuple):
        return ", ".join(map(ast.unparse, targets[0].elts))
    return ast.unparse(targets[0])


def _names_changed_by(statement: ast.stmt) -> set[str]:
    """Returns the names that a statement assigns, or of whose object it calls a method."""
    nodes = [*ast.walk(statement)]
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        method = statement.value.func
        if isinstance(method, ast.Attribute) and isinstance(method.value, ast.Name):
            stored.add(method.value.id)  # terms.append(term)
    return stored


def _name_missing(error: Exception) -> str:
    """Returns the name that is not defined, "" if the error is another one."""
    quoted = re.search(r"'(\w+)'", str(error))
    return quoted[1] if isinstance(error, NameError) and quoted else ""


def _first_line(statement: ast.stmt) -> str:
    return ast.unparse(statement).splitlines()[0]
