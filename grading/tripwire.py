"""Finds code that looks into the process that runs it, as an answer has no reason to.

A tripwire and no proof: there are other ways to look, and now and then an honest reason. So it
makes a remark for the teacher, who reads the cell, and never costs a point.
"""

import ast
from collections.abc import Iterator

MODULES = {"ctypes", "gc", "inspect"}
# Modules beside which a student's code runs, and which it has no need to know.
OURS = {"cells", "functions", "measure", "measurement", "measuring", "run_all", "serve", "shell"}
OURS |= {"unfinished", "disguise"}
ATTRIBUTES = {
    "__closure__",
    "__code__",
    "__globals__",
    "__subclasses__",
    "_getframe",
    "f_back",
    "f_globals",
    "f_locals",
    "tb_frame",
    "user_ns",
}
CALLS = {"__import__", "eval", "exec"}
REPLACED = {"agent", "opt", "optimizer"}  # by stand-ins, while a loss is measured
MAX_LENGTH = 60  # characters of a line


def find_tripwires(source: str) -> list[str]:
    """Returns the lines of some Python code that look into its process, shortened."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    asked_for = {id(node) for node in _asked_for(tree)}
    found = [node for node in ast.walk(tree) if id(node) not in asked_for and _is_looking(node)]
    lines = source.splitlines()
    return list(dict.fromkeys(lines[node.lineno - 1].strip()[:MAX_LENGTH] for node in found))


def _asked_for(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields what `"google.colab" in sys.modules` compares with: only a question."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            yield from ast.walk(node.comparators[0])


def _is_looking(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any({*name.name.split(".")} & (MODULES | OURS) for name in names)
        case ast.ImportFrom(module=str(module), names=names):
            imported = {name.name for name in names} if module == "checks" else set()
            return bool({*module.split("."), *imported} & (MODULES | OURS))
        case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):
            return True
        case ast.Attribute(attr=attribute) if attribute in ATTRIBUTES:
            return True
        case ast.Attribute(value=ast.Name(id=name), attr="__class__") if name in REPLACED:
            return True
        case ast.Call(func=ast.Name(id="type"), args=[ast.Name(id=name)]) if name in REPLACED:
            return True
        case ast.Name(id=name):
            return name in CALLS or "StandIn" in name
        case ast.Constant(value=str(text)):
            return "StandIn" in text
    return False
