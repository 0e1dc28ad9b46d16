"""Notebooks as people write them: by authors who saw the student notebook, but not the grader.

Each file is a notebook without its texts. `# %%` begins a code cell; `# %% keep: ID` stands for the
cell of this id in the student notebook. Above the first cell, comments say what a careful reader
makes of it:

    # style: how it is written
    # verdict: right | wrong
    # mistake: what is wrong, one line for each mistake
    # loses: the names of the parts that cost points
    # ungradable: the exercises that the grader cannot measure, though a reader could judge them
    # named: words of the message or hint that names a mistake, one line for each
    # note: why it is right though different, or what else is worth knowing
"""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent.parent / "notebooks"


@dataclass(frozen=True)
class Entry:
    """A notebook of the corpus.

    Attributes:
        path: its file.
        loses: the names of the parts that cost points.
        named: words that the report must contain.
        ungradable: the names of exercises that the grader cannot measure.
    """

    path: Path
    loses: frozenset[str]
    named: tuple[str, ...]
    ungradable: frozenset[str]

    @property
    def framework(self) -> str:
        return self.path.parent.name

    @property
    def number(self) -> int:
        return int(self.path.stem.partition("_")[0])

    @property
    def name(self) -> str:
        return f"{self.framework}/{self.path.stem}"

    def write(self, path: Path) -> Path:
        """Writes it as a notebook."""
        student = nbformat.read(NOTEBOOKS / f"kungfu_a2c_{self.framework}.ipynb", 4)
        given = {cell["id"]: cell.source for cell in student.cells}
        _, *pieces = re.split(r"^# %%(.*)\n", self.path.read_text(), flags=re.MULTILINE)
        cells = []
        for title, body in zip(pieces[::2], pieces[1::2], strict=True):
            kept = re.fullmatch(r"\s*keep:\s*([\w-]+)\s*", title)
            cells.append(nbformat.v4.new_code_cell(given[kept[1]] if kept else body.strip("\n")))
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path


def read_entry(path: Path) -> Entry:
    """Reads the header of a file."""
    header = path.read_text().partition("# %%")[0]
    fields = re.findall(r"^# (loses|named|ungradable): *(.*)$", header, re.MULTILINE)

    def names(wanted: str) -> frozenset[str]:
        return frozenset(re.findall(r"\w+", " ".join(v for name, v in fields if name == wanted)))

    named = tuple(text.strip() for name, text in fields if name == "named")
    return Entry(path, names("loses"), named, names("ungradable"))


ENTRIES = [read_entry(path) for path in sorted(HERE.glob("*/*.py"))]
