r"""Cuts student notebooks out of solution notebooks, and proves that no answer is left in them.

What happens to a solution on its way to the students:

1.  A statement that ends in `# YOUR CODE` or `# YOUR CODE: a hint` is replaced, whole:
    `x = …` by `x = <YOUR CODE: a hint>`, and so for `x += …`, `x: int = …` and `x = y = …`. A
    statement that assigns nothing is replaced by a bare `<YOUR CODE: a hint>`.
2.  `# YOUR CODE (lines): a hint` hides the target too. On the first line of a `for`, `with`, `if`,
    `def`, … it hides the whole block. Bare gaps on adjacent lines become one, their hints joined.
3.  Images in Markdown with relative paths become `data:` URIs: the notebook needs no other file.
4.  Outputs, execution counts, attachments and all metadata but tags go; the kernel is Python 3.
5.  Code cells get nbval's tag `nbval-ignore-output`, slow ones also `nbval-skip`.

Solutions, README.md and docs/ follow `pyproject.toml`, and so do the notebooks: links into the
student repository get its name and this version's tag, `HELPERS = […]` the names of all helper
files. Only these are written into files that people edit.

What is proven, of all notebooks and helper files together, before anything is written:

-   Each gap stands in an exercise cell and can be found again. With the answers put back the cell
    is the solution's, and with names in the gaps it is Python.
-   No answer of four tokens or more occurs in any string of a student notebook, in an image or in a
    helper file. Of an assignment the answer is the value (if that is shorter, the statement), of
    anything else the statement. Spacing, line breaks, comments, the kind of quotation marks and
    trailing commas make no difference. Answers that the text tells on purpose are listed in
    `pyproject.toml`, each with its reason.
-   Links into the student repository name its owner, its name, this version's tag and a file in it.
"""

import base64
import json
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat

from grading import UsageError
from grading.gaps import EXERCISE, Gap, SourceError, check_cut, check_given, cut, find_gaps
from grading.leaks import find_leaks, strings_in
from grading.project import Project, show

TAGS = {"setup", "given", "exercise", "check", "slow"}

_SLOW = re.compile(r"# Slow: \S.*")
# Ids that tools make up begin with eight hexadecimal digits.
_CELL_ID = re.compile(r"(?![0-9a-f]{8}(-|$))[a-z][a-z0-9]*(-[a-z0-9]+)*")
_IMAGE = re.compile(r"(!\[[^\]]*\]\(|<img\b[^>]*?\bsrc=[\"'])(?!https?:|data:)([^)\s\"']+)")
_LINK = re.compile(
    r"(colab\.research\.google\.com/github|raw\.githubusercontent\.com)/[^\s\"'`<>)\]\\]*"
)
_KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def build(
    project: Project, solutions: list[Path], pages: Mapping[Path, str]
) -> tuple[dict[str, str], list[str]]:
    """Makes the student notebooks.

    Args:
        project: what they follow.
        solutions: the notebooks they are made from.
        pages: the text of each page about the project, whose links are checked.

    Returns:
        The text of each student notebook by its file name, and every problem found. Nothing may be
        published while there is a problem.

    Raises:
        UsageError: a solution cannot be read.
    """
    students, problems, secrets, shipped = {}, [], [], []
    for path in solutions:
        solution = _read_notebook(path)
        student = nbformat.v4.new_notebook(metadata=_KERNEL)
        problems += [f"{show(path)}: {problem}" for problem in _check_cells(solution.cells)]
        for number, cell in enumerate(solution.cells, 1):
            place = f"{show(path)}: {_name(number, cell)}"
            student_cell, gaps, found = _cut_cell(cell, path.parent)
            student_cell.source = project.update(student_cell.source)
            student.cells.append(student_cell)
            problems += [f"{place}, line {line}: {problem}" for line, problem in found]
            secrets += [(s, f"{place}, line {gap.line}") for gap in gaps for s in gap.secrets]
            shipped += [(place, text) for text in strings_in(student_cell)]
        students[path.name] = nbformat.v4.writes(student) + "\n"
    shipped += [
        (show(path), path.read_text("utf-8", "replace")) for path in project.shipped.values()
    ]
    files = {*students, *project.shipped}
    secrets = [(s, origin) for s, origin in secrets if s.text not in project.given_away]
    for place, text in shipped:
        problems += [f"{place}{problem}" for problem in find_leaks(text, secrets)]
    for place, text in [*shipped, *((show(path), text) for path, text in pages.items())]:
        problems += [f"{place}: {problem}" for problem in _check_links(text, project, files)]
    return students, problems


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


# Links


def _check_links(text: str, project: Project, files: set[str]) -> Iterator[str]:
    for link in _LINK.finditer(text):
        blob = "/blob" if link[1].startswith("colab") else ""
        base = f"{link[1]}/{project.repository}{blob}/{project.ref}"
        url = link[0].rstrip(".,;:/")
        name = re.split("[?#]", url.removeprefix(base + "/"))[0]
        if url != base and not url.startswith(base + "/"):
            yield f"the link {url} should begin with {base}/"
        elif url != base and name not in files and not re.search("[${]", name):
            yield f"the link {url} names no file of the bundle"
