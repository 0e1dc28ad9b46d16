"""Reads the code cells of any file that claims to be a notebook, in bounded time and memory."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from grading.files import UnreadableFileError, read_regular_file

MAX_FILE = 200_000_000  # bytes
MAX_BRACKETS = 3_000_000  # in outputs, attachments and metadata
MAX_REST = 20_000_000  # bytes of everything else
MAX_CELLS = 10_000
MAX_CODE = 400_000  # characters

_UNUSED = re.compile(rb'"(?:outputs|attachments|metadata)"\s*:\s*(?=[\[{])')
# Possessive, so that nothing is remembered on the way through a long output.
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[\[\]{}]', re.DOTALL)


class UnreadableError(ValueError):
    """A file is no notebook that can be read; the message is for its author."""


class CodeCell(NamedTuple):
    """A code cell: its place among all cells, from 1; its id, if it has one; its source."""

    number: int
    id: str
    source: str


def read_code_cells(path: Path) -> list[CodeCell]:
    """Reads a notebook of format 4, whatever else is missing or wrong in it.

    Bytes that are not UTF-8 become question marks, lines end in a line feed.

    Raises:
        UnreadableError: there is no such notebook. Links, devices and folders are not followed.
    """
    data = _drop_unused(_read_file(path))
    if not data.strip():
        raise UnreadableError("this is not a notebook: the file is empty")
    try:
        notebook = json.loads(data.decode("utf-8-sig", errors="replace"), strict=False)
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


def _read_file(path: Path) -> bytes:
    try:
        data = read_regular_file(path, MAX_FILE)
    except UnreadableFileError as error:
        raise UnreadableError(str(error)) from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace").encode()
    return data


def _drop_unused(data: bytes) -> bytes:
    """Drops outputs, attachments and metadata from a notebook's text, before they take memory."""
    kept, position, n_brackets = [], 0, 0
    while key := _UNUSED.search(data, position):
        kept += [data[position : key.end()], b"null"]
        position, depth = key.end(), 0
        while depth or position == key.end():
            n_brackets += 1
            bracket = _TO_BRACKET.match(data, position)
            if bracket is None:
                raise UnreadableError("this is not a notebook: the file ends in the middle")
            if n_brackets > MAX_BRACKETS:
                raise UnreadableError(f"its outputs have more than {MAX_BRACKETS:,} brackets")
            position = bracket.end()
            depth += 1 if data[position - 1] in b"[{" else -1
    kept.append(data[position:])
    size = sum(map(len, kept))
    if size > MAX_REST:
        raise UnreadableError(f"without its outputs it has {size:,} bytes, over {MAX_REST:,}")
    return b"".join(kept)
