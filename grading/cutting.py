r"""Cuts student notebooks out of solution notebooks, and says which answers they are to be free of.

What happens to a solution on its way to the students:

1.  A statement that ends in `# YOUR CODE` or `# YOUR CODE: a hint` is replaced, whole:
    `x = …` by `x = <YOUR CODE: a hint>`, and so for `x += …`, `x: int = …` and `x = y = …`. A
    statement that assigns nothing is replaced by a bare `<YOUR CODE: a hint>`.
2.  `# YOUR CODE (lines): a hint` hides the target too. On the first line of a `for`, `with`, `if`,
    `def`, … it hides the whole block. Bare gaps on adjacent lines become one, their hints joined.
3.  Images in Markdown with relative paths become `data:` URIs: the notebook needs no other file.
4.  Outputs, execution counts, attachments and all metadata but tags go; the kernel is Python 3.
5.  Code cells get nbval's tag `nbval-ignore-output`, slow ones also `nbval-skip`.

What is proven of each notebook:

-   Each gap stands in an exercise cell and can be found again. With the answers put back the cell
    is the solution's, and with names in the gaps it is Python.

The answers come back beside the notebooks: an answer is four tokens or more. Of an assignment it is
the value (if that is shorter, the statement), of anything else the statement. Spacing, line breaks,
comments, the kind of quotation marks and trailing commas make no difference where it is looked for.
"""

import base64
import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

from grading import UsageError
from grading.gaps import (
    EXERCISE,
    Gap,
    Secret,
    SourceError,
    check_cut,
    check_given,
    cut,
    find_gaps,
)
from grading.project import show

TAGS = {"setup", "given", "exercise", "check", "slow"}

_SLOW = re.compile(r"# Slow: \S.*")
# Ids that tools make up begin with eight hexadecimal digits.
_CELL_ID = re.compile(r"(?![0-9a-f]{8}(-|$))[a-z][a-z0-9]*(-[a-z0-9]+)*")
_IMAGE = re.compile(r"(!\[[^\]]*\]\(|<img\b[^>]*?\bsrc=[\"'])(?!https?:|data:)([^)\s\"']+)")
_KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Cut:
    """What became of solutions.

    Attributes:
        students: the text of each student notebook by its file name.
        secrets: the answers that were cut out, each with its origin.
        problems: every problem found. Nothing may be published while there is one.
    """

    students: dict[str, str]
    secrets: list[tuple[Secret, str]]
    problems: list[str]


def cut_notebooks(solutions: Iterable[Path], update: Callable[[str], str]) -> Cut:
    """Makes the student notebooks.

    Args:
        solutions: the notebooks they are made from.
        update: brings what a cell says about the outside up to date, such as an address.

    Raises:
        UsageError: a solution cannot be read.
    """
    result = Cut({}, [], [])
    for path in solutions:
        solution = _read_notebook(path)
        student = nbformat.v4.new_notebook(metadata=_KERNEL)
        result.problems.extend(f"{show(path)}: {said}" for said in _check_cells(solution.cells))
        for number, cell in enumerate(solution.cells, 1):
            place = f"{show(path)}: {_name(number, cell)}"
            student_cell, gaps, found = _cut_cell(cell, path.parent)
            student_cell.source = update(student_cell.source)
            student.cells.append(student_cell)
            result.problems.extend(f"{place}, line {line}: {problem}" for line, problem in found)
            result.secrets.extend(
                (secret, f"{place}, line {gap.line}") for gap in gaps for secret in gap.secrets
            )
        result.students[path.name] = nbformat.v4.writes(student) + "\n"
    return result


def _read_notebook(path: Path) -> nbformat.NotebookNode:
    try:
        content = json.loads(path.read_text("utf-8"))
        draft = json.loads(json.dumps(content)) | {"nbformat_minor": 5}
        for number, cell in enumerate(draft["cells"]):
            cell["id"] = f"cell-{number}"  # _check_cells has better messages about ids
        nbformat.validate(draft, version=4)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{path} is not a notebook of format 4: {reason}") from None
    return nbformat.v4.to_notebook_json(content)


# Cells


def _check_cells(cells: list[nbformat.NotebookNode]) -> Iterator[str]:
    """Yields what is wrong with ids, tags and first lines."""
    ids, exercises = Counter(cell.get("id") for cell in cells), Counter()
    for number, cell in enumerate(cells, 1):
        name = _name(number, cell)
        if "id" not in cell:
            yield f"{name} has no id"
        elif ids[cell.id] > 1:
            yield f"{name} shares its id with another cell"
        elif not _CELL_ID.fullmatch(cell.id):
            yield f"{name} needs an id that says what it is, like `agent-check`"
        tags = set(cell.metadata.get("tags", []))
        if tags - TAGS:
            yield f"{name} has unknown tags {sorted(tags - TAGS)}; known are {sorted(TAGS)}"
        first_line = cell.source.partition("\n")[0] if cell.cell_type == "code" else ""
        for tag, form in (("exercise", EXERCISE), ("slow", _SLOW)):
            is_meant = tag in tags or re.match(rf"#\s*{tag}\b", first_line, re.IGNORECASE)
            if is_meant and not (tag in tags and form.fullmatch(first_line)):
                yield (
                    f"{name}, line 1: the tag `{tag}` and a first line `{form.pattern}` need each "
                    f"other, in a code cell; tags are {sorted(tags)}, the line is {first_line!r}"
                )
        if exercise := EXERCISE.fullmatch(first_line):
            if exercise[1] in exercises:
                yield f"{name}, line 1: there is an exercise `{exercise[1]}` already"
            exercises[exercise[1]] += 1


def _name(number: int, cell: nbformat.NotebookNode) -> str:
    return f"cell {cell.id}" if "id" in cell else f"cell number {number}"


def _cut_cell(
    cell: nbformat.NotebookNode, folder: Path
) -> tuple[nbformat.NotebookNode, list[Gap], list[tuple[int, str]]]:
    """Returns the student's cell, its gaps, and each `(line, problem)` of its source."""
    tags = list(cell.metadata.get("tags", []))
    student = {"cell_type": cell.cell_type, "id": cell.get("id", ""), "source": cell.source}
    gaps, problems = [], []
    if cell.cell_type == "markdown":
        student["source"], problems = _embed_images(cell.source, folder)
    elif cell.cell_type == "code":
        try:
            if "exercise" in tags:
                gaps = find_gaps(cell.source)
                student["source"] = cut(cell.source, gaps)
                problems = check_cut(cell.source, gaps, student["source"])
            else:
                problems = check_given(cell.source)
        except SourceError as error:
            problems = error.problems
        tags += ["nbval-ignore-output"] + ["nbval-skip"] * ("slow" in tags)
        student |= {"execution_count": None, "outputs": []}
    student["metadata"] = {"tags": tags} if tags else {}
    return nbformat.from_dict(student), gaps, problems


def _embed_images(source: str, folder: Path) -> tuple[str, list[tuple[int, str]]]:
    problems = []

    def embed(image: re.Match[str]) -> str:
        path = folder / urllib.parse.unquote(image[2])
        data = path.read_bytes() if path.is_file() else None
        if data and data.startswith(b"\x89PNG\r\n\x1a\n"):
            return f"{image[1]}data:image/png;base64,{base64.b64encode(data).decode()}"
        fault = "there is no image" if data is None else "this is not a PNG image:"
        problems.append((source.count("\n", 0, image.start()) + 1, f"{fault} {image[2]}"))
        return image[0]

    return _IMAGE.sub(embed, source), problems
