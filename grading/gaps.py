"""Finds the gaps of a solution cell, cuts them out, and proves that they can be found again."""

import ast
import contextlib
import difflib
import io
import itertools
import re
import tokenize
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

PLACEHOLDER = re.compile(r"<YOUR CODE(?:: [^<>\n]*)?>")
OPEN = "YOUR_CODE"  # stands where a gap is open, so that the rest can run; nothing defines it
EXERCISE = re.compile(r"# Exercise: ([a-z][a-z0-9-]*)")

_MARKER = re.compile(r"# YOUR CODE(?P<lines> \(lines\))?(?:: (?P<hint>\S.*))?")
_MAGIC = re.compile(r"^([ \t]*)(?:[\w.]+[ \t]*=[ \t]*)?[%!](?:.*\\\n)*.*$", re.MULTILINE)


@dataclass(frozen=True)
class Secret:
    """An answer that must not reach students, and how to find it.

    Attributes:
        text: the answer as `ast.unparse` writes it.
        squeezed: how it may be written, squeezed: looking for that is fast, and most texts lack it.
        pattern: finds it in a text.
    """

    text: str
    squeezed: frozenset[str]
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Gap:
    """A part of a solution cell that students write.

    Attributes:
        line: the line of the marker, from 1.
        start, end: the part is `source[start:end]`, the marker included.
        hint: what the marker says, or nothing.
        is_bare: whether the gap hides whole statements and not one assignment's value.
        secrets: the answers in it.
    """

    line: int
    start: int
    end: int
    hint: str
    is_bare: bool
    secrets: tuple[Secret, ...]

    @property
    def placeholder(self) -> str:
        """What stands in the student's cell instead."""
        return f"<YOUR CODE: {self.hint}>" if self.hint else "<YOUR CODE>"


class SourceError(ValueError):
    """A cell cannot be cut; `problems` holds every `(line, message)`."""

    def __init__(self, *problems: tuple[int, str]):
        super().__init__("; ".join(f"line {line}: {message}" for line, message in problems))
        self.problems = list(problems)


def find_gaps(source: str) -> list[Gap]:
    """Finds the gaps of a solution cell, in order.

    Raises:
        SourceError: the source is not Python, or a marker is misspelt or misplaced.
    """
    nodes = ast.walk(_parse(source))
    statements = {(n.lineno, n.col_offset): n for n in nodes if isinstance(n, ast.stmt)}
    gaps, problems = [], []
    for tokens in _logical_lines(source):
        code = [token for token in tokens if token.type != tokenize.COMMENT]
        for comment in (token for token in tokens if token.type == tokenize.COMMENT):
            try:
                if marker := _read_marker(comment.string):
                    if comment is not tokens[-1] or not code:
                        raise ValueError("a marker must stand at the end of a statement")
                    statement = statements.get(code[0].start)
                    gaps.append(_make_gap(source, statement, code, comment, marker))
            except ValueError as error:
                problems.append((comment.start[0], str(error)))
    gaps.sort(key=lambda gap: gap.start)
    for outer, inner in itertools.pairwise(gaps):
        if inner.start < outer.end:
            problems.append((inner.line, "this marker stands in a statement that is hidden anyway"))
    if problems:
        raise SourceError(*sorted(problems))
    return _merge(source, gaps)


def cut(source: str, gaps: list[Gap]) -> str:
    """Returns the student's version of a solution cell."""
    for gap in reversed(gaps):
        source = source[: gap.start] + gap.placeholder + source[gap.end :]
    return source


def fill(source: str) -> str:
    """Makes a student's cell with open gaps Python, which fails in those that it comes to."""
    return PLACEHOLDER.sub(OPEN, source)


def leave_open(source: str, targets: Collection[str]) -> str:
    """Opens gaps of a solution cell, or values that were given, so that it fails there only.

    Args:
        source: the solution's cell.
        targets: what the assignments assign to, as `ast.unparse` writes it, or "return"; "" for all
            gaps of whole statements.
    """
    gaps = find_gaps(source)
    spans = [(gap.start, gap.end) for gap in gaps if target_of(source, gap) in targets]
    hidden = {target_of(source, gap) for gap in gaps}
    given = [value for name, value in _assignments(source) if name in {*targets} - hidden]
    spans += [(_start(source, value), _end(source, value)) for value in given]
    for start, end in sorted(spans, reverse=True):
        source = source[:start] + OPEN + source[end:]
    return source


def _start(source: str, node: ast.expr) -> int:
    return _offset_of_bytes(source, node.lineno, node.col_offset)


def _end(source: str, node: ast.expr) -> int:
    return _offset_of_bytes(source, node.end_lineno, node.end_col_offset)


def _offset_of_bytes(source: str, line: int, column: int) -> int:
    before = source.split("\n")[line - 1].encode()[:column]
    return _offset(source, (line, len(before.decode())))


def targets_of(source: str) -> set[str]:
    """Returns what the assignments of a cell assign to, and "" for its other statements."""
    return {"", *(name for name, _ in _assignments(source))}


def _assignments(source: str) -> Iterator[tuple[str, ast.expr]]:
    """Yields what each assignment assigns to, or "return", and the value."""
    for node in ast.walk(_parse(source)):
        if isinstance(node, ast.Assign | ast.AugAssign):
            (target, *_) = getattr(node, "targets", None) or [node.target]
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            yield ", ".join(map(ast.unparse, parts)), node.value
        elif isinstance(node, ast.Return) and node.value:
            yield "return", node.value


def target_of(source: str, gap: Gap) -> str:
    """Returns what a gap's assignment assigns to, "" for a gap of whole statements."""
    if gap.is_bare:
        return ""
    before = source[source.rfind("\n", 0, gap.start) + 1 : gap.start]
    return re.sub(r"\s*\W?=\s*$", "", before).strip()


def check_cut(source: str, gaps: list[Gap], student: str) -> list[tuple[int, str]]:
    """Proves that an exercise has gaps, that they can be found, and that the rest is unchanged.

    Args:
        source: the solution's cell.
        gaps: what was found in it.
        student: the student's cell.

    Returns:
        Each problem, with its line.
    """
    if not gaps:
        return [(1, "an exercise needs a gap")]
    kept = PLACEHOLDER.split(student)
    hidden = [source[gap.start : gap.end] for gap in gaps]
    restored = "".join(itertools.chain(*itertools.zip_longest(kept, hidden, fillvalue="")))
    if len(kept) != len(gaps) + 1 or restored != source:
        return [(1, "the gaps cannot be told from other text that looks like one")]
    try:
        _parse(fill(student))
    except SourceError as error:
        return error.problems
    # Hints go when students fill a gap: then its line and the two around it are what is known.
    lines = [line for line in PLACEHOLDER.sub("<YOUR CODE>", student).split("\n") if line.strip()]
    contexts = Counter(zip(["", *lines], lines, [*lines[1:], ""], strict=False))
    return [
        (1, f"two gaps look alike, and so do the lines around them: {line.strip()}")
        for (before, line, after), count in contexts.items()
        if "<YOUR CODE>" in line and count > 1
    ]


def check_given(source: str) -> list[tuple[int, str]]:
    """Looks for markers in a code cell that is no exercise; IPython's magics may stand in it.

    Returns:
        Each problem, with its line.

    Raises:
        SourceError: the source is not Python.
    """
    if source.startswith("%%"):
        lines = enumerate(source.split("\n"), 1)
        comments = [(number, line[line.index("#") :]) for number, line in lines if "#" in line]
    else:
        try:
            _parse(source)
        except SourceError:
            source = _MAGIC.sub(
                lambda magic: magic[1] + "pass" + "\n" * magic[0].count("\n"), source
            )
            _parse(source)
        tokens = itertools.chain(*_logical_lines(source))
        comments = [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]
    problems = []
    for line, comment in comments:
        with contextlib.suppress(ValueError):
            if _read_marker(comment) is None:
                continue
        problems.append((line, f"only an exercise cell can have gaps: {comment}"))
    return problems


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise SourceError((error.lineno or 1, f"this is not Python: {error.msg}")) from None


def _logical_lines(source: str) -> Iterator[list[tokenize.TokenInfo]]:
    """Yields the tokens of each statement or block header, with the comments before it."""
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(source + "\n").readline):
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            yield tokens
            tokens = []
        elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            tokens.append(token)


def _read_marker(comment: str) -> re.Match[str] | None:
    """Reads a comment; raises `ValueError` if it is no marker but seems meant as one."""
    marker = _MARKER.fullmatch(comment.rstrip())
    if marker and re.search("[<>]", comment):
        raise ValueError(f"a hint cannot contain < or >: {comment}")
    start = re.sub("[^a-z]", "", comment.lower())[:8]
    likeness = difflib.SequenceMatcher(None, "yourcode", start).ratio()
    if not marker and ("YOUR CODE" in comment or likeness > 0.8):
        raise ValueError(
            f"a marker is `# YOUR CODE` or `# YOUR CODE (lines)`, perhaps `: a hint`, not {comment}"
        )
    return marker


def _make_gap(
    source: str,
    statement: ast.stmt | None,
    code: list[tokenize.TokenInfo],
    comment: tokenize.TokenInfo,
    marker: re.Match[str],
) -> Gap:
    if statement is None or code[0].string == "elif":
        raise ValueError("a marker must stand at the end of a statement or of a block's first line")
    if any(token.string == ";" for token in code):
        raise ValueError("a marker must stand behind one statement, not several")
    start, end, nodes = code[0].start, comment.end, [statement]
    assigns = isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign) and statement.value
    is_bare = bool(marker["lines"]) or not assigns
    if _is_block(statement):
        if not marker["lines"]:
            raise ValueError("only `# YOUR CODE (lines)` can hide a whole block")
        decorators = getattr(statement, "decorator_list", [])
        start = (min(node.lineno for node in [statement, *decorators]), statement.col_offset)
        end = (statement.end_lineno, len(source.split("\n")[statement.end_lineno - 1]))
        inside = (node for node in ast.walk(statement) if isinstance(node, ast.stmt))
        nodes = [node for node in inside if not _is_block(node)]
    elif not is_bare:
        start = _value_start(code, statement)
        is_short = len(_words(ast.get_source_segment(source, statement.value))) < 4
        nodes = [statement if is_short else statement.value]
    secrets = [_make_secret(source, node) for node in nodes]
    return Gap(
        line=comment.start[0],
        start=_offset(source, start),
        end=_offset(source, end),
        hint=marker["hint"] or "",
        is_bare=is_bare,
        secrets=tuple(secret for secret in secrets if secret),
    )


def _is_block(statement: ast.stmt) -> bool:
    return hasattr(statement, "body") or isinstance(statement, ast.Match)


def _value_start(code: list[tokenize.TokenInfo], assignment: ast.stmt) -> tuple[int, int]:
    """Returns where the value begins, parentheses included, which a syntax tree leaves out."""
    left = len(getattr(assignment, "targets", [assignment]))
    depth = position = 0
    while left:
        if code[position].type == tokenize.OP:
            depth += (code[position].string in "([{") - (code[position].string in ")]}")
            left -= depth == 0 and code[position].string.endswith("=")
        position += 1
    return code[position].start


def _offset(source: str, position: tuple[int, int]) -> int:
    line, column = position
    return sum(len(text) + 1 for text in source.split("\n")[: line - 1]) + column


def _merge(source: str, gaps: list[Gap]) -> list[Gap]:
    """Makes one gap of bare ones on adjacent lines of the same indentation."""
    merged = []
    for gap in gaps:
        last = merged[-1] if merged else gap
        indentation = source[source.rfind("\n", 0, last.start) + 1 : last.start]
        is_next = source[last.end : gap.start] == "\n" + indentation
        if last.is_bare and gap.is_bare and is_next:
            hint = "; ".join(filter(None, [last.hint, gap.hint]))
            secrets = last.secrets + gap.secrets
            merged[-1] = replace(last, end=gap.end, hint=hint, secrets=secrets)
        else:
            merged.append(gap)
    return merged


def _make_secret(source: str, node: ast.AST) -> Secret | None:
    """Makes a secret of a piece of code, or nothing if it has fewer than four tokens."""
    text = ast.unparse(node)
    written, plain = _words(ast.get_source_segment(source, node)), _words(text)
    if len(written) < 4:
        return None
    squeezed = frozenset(squeeze("".join(words)) for words in (written, plain))
    return Secret(text, squeezed, re.compile(f"{_pattern(written)}|{_pattern(plain)}"))


def squeeze(text: str) -> str:
    """Leaves out all that makes no difference between two ways to write the same code."""
    return re.sub(r"[\s\\,\"']+", "", text)


def _words(code: str) -> list[str]:
    """Returns the tokens of a piece of code, without comments and line structure."""
    # Within parentheses any line breaks and indentation are allowed.
    tokens = tokenize.generate_tokens(io.StringIO(f"({code}\n)").readline)
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
    return [token.string for token in tokens if token.type not in layout][1:-1]


def _pattern(words: list[str]) -> str:
    """Returns a pattern for code, whatever its spacing, quotation marks and trailing commas."""
    code = " ".join(words)
    pieces = [
        "[\"']" if piece in "\"'" else r",?\s*" * (piece in ")]}") + re.escape(piece)
        for piece in re.findall(r"\w+|[^\w\s\\]", code)
    ]
    before = r"(?<!\w)" if re.match(r"\w", code) else ""
    after = r"(?!\w|\.\d)" if re.search(r"\w$", code) else ""
    return before + r"\s*".join(pieces) + after
