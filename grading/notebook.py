"""Reads the code cells of a file that claims to be a notebook.

Hostile files are read in a process with limited time and memory; see `reader`.
"""

import json
import re
from typing import NamedTuple

from grading.files import UnreadableError

MAX_FILE = 200_000_000  # bytes
MAX_CELLS = 10_000
MAX_CODE = 400_000  # characters


class CodeCell(NamedTuple):
    """A code cell: its number among all cells, from 1; its id, if any; its source."""

    number: int
    id: str
    source: str


def read_code_cells(data: bytes) -> list[CodeCell]:
    """Reads a notebook of format 4, even if much else in it is missing or wrong.

    Bytes that are not UTF-8 are replaced, and lines end in a line feed.

    Raises:
        UnreadableError: it is not such a notebook.
    """
    if not data.strip():
        raise UnreadableError("this is not a notebook: the file is empty")
    is_utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")
    try:
        notebook = json.loads(text, strict=False)
    except RecursionError:
        raise UnreadableError("this is not a notebook: it is too deeply nested") from None
    except ValueError as error:
        reason = str(error)[:100]
        raise UnreadableError(f"this is not a notebook: it is not JSON: {reason}") from None
    if not isinstance(notebook, dict):
        raise UnreadableError("this is not a notebook: it has no cells")
    version = str(notebook.get("nbformat") or 4)[:10]
    if version.split(".")[0] != "4":
        raise UnreadableError(
            f"this is a notebook of format {version}, and only format 4 can be read: "
            "open it in Jupyter and save it again"
        )
    if not isinstance(notebook.get("cells"), list):
        raise UnreadableError("this is not a notebook: it has no cells")
    cells = [
        CodeCell(number, str(cell.get("id", "")), _read_source(cell.get("source")))
        for number, cell in enumerate(notebook["cells"], 1)
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    ]
    if len(cells) > MAX_CELLS:
        raise UnreadableError(f"it has {len(cells):,} code cells, over {MAX_CELLS:,}")
    size = sum(len(cell.source) for cell in cells)
    if size > MAX_CODE:
        raise UnreadableError(f"it holds {size:,} characters of code, over {MAX_CODE:,}")
    return cells


def _read_source(source) -> str:
    lines = source if isinstance(source, list) else [source]
    text = "".join(line for line in lines if isinstance(line, str))
    text = text.encode(errors="replace").decode()  # halves of surrogate pairs
    return re.sub("\r\n?", "\n", text)
