"""Finds what students must not get: answers, and files that are the teacher's, wherever they hide.

Every byte is looked at: of text, of the strings in a notebook, of images in `data:` URIs, of zips,
their members and comments, of whatever zlib has packed, such as the text chunks of a PNG image, and
of all these inside each other.
"""

import base64
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from grading.gaps import Secret, squeeze

PRIVATE = ("assignments", "grading", "solutions")  # folders of which nothing is for students

_MAX_DEPTH = 8
_MAX_BYTES = 1 << 26  # of one thing, unpacked
_SMALL = 64  # bytes: a smaller file, such as an empty one, is nobody's
_DATA = re.compile(rb";base64,((?:[\w+/]{4})+(?:[\w+/]{2}==|[\w+/]{3}=)?)", re.ASCII)
_ZLIB_HEADERS = [
    bytes([method, flags])
    for method in range(0x08, 0x79, 0x10)
    for flags in range(256)
    if (method * 256 + flags) % 31 == 0 and not flags & 0x20
]
_PACKED = re.compile(b"|".join(map(re.escape, [b"\x1f\x8b\x08", *_ZLIB_HEADERS])))


class Scanner:
    """Looks for answers and private files. What it has seen once it does not report again.

    Args:
        secrets: the answers, each with its origin.
        root: the project's folder, in which the private folders lie.
    """

    def __init__(self, secrets: Collection[tuple[Secret, str]], root: Path):
        self._secrets = secrets
        self._seen: dict[bytes, set[str]] = {}  # the answers in each content, by its digest
        self._private = {
            _digest(path.read_bytes()): path.relative_to(root).as_posix()
            for folder in PRIVATE
            for path in (root / folder).rglob("*")
            if path.is_file() and path.suffix != ".png" and path.stat().st_size >= _SMALL
        }

    def scan(self, place: str, name: str, data: bytes) -> list[str]:
        """Returns every problem with a file.

        Args:
            place: what the problems are said of.
            name: the file's path, where students get it.
            data: what is in it.
        """
        problems = [f"{place}: nothing in {name} is for students"] * is_private(name)
        self._scan(place, data, 0, problems)
        return problems

    def _scan(self, place: str, data: bytes, depth: int, problems: list[str]) -> set[str]:
        """Appends problems; returns the answers found."""
        digest = _digest(data)
        if digest not in self._seen:
            found = self._seen[digest] = set()
            if digest in self._private:
                problems.append(f"{place}: this is {self._private[digest]}")
            try:
                for part, inner in _unpack(data):
                    if depth == _MAX_DEPTH:
                        raise ValueError(f"it is packed more than {_MAX_DEPTH} times")
                    name = part.removeprefix(", member ")
                    if name != part and is_private(name):
                        problems.append(f"{place}: nothing in {name} is for students")
                    found |= self._scan(place + part, inner, depth + 1, problems)
            except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError) as error:
                problems.append(f"{place}: it cannot be unpacked, so not be checked: {error}")
            for secret, origin, line in self._find(data):
                if secret not in found:
                    said = f"gives away `{secret}`, answer of {origin}"
                    problems.append(f"{place}, line {line}: {said}")
                    found.add(secret)
        return self._seen[digest]

    def _find(self, data: bytes) -> Iterator[tuple[str, str, int]]:
        """Yields each answer in a text, with its origin and its line."""
        content = data.decode("utf-8", "replace").replace("\\", "")
        contents = [content, content.replace("\0", "")] if "\0" in content else [content]  # UTF-16
        # Commented-out code is found in the one, code with comments inside in the other.
        views = [view for c in contents for view in (c.replace("#", " "), re.sub("#.*", "", c))]
        views = [(view, squeeze(view)) for view in views]
        for secret, origin in self._secrets:
            for view, squeezed in views:
                may_hold = any(text in squeezed for text in secret.squeezed)
                if may_hold and (found := secret.pattern.search(view)):
                    yield secret.text, origin, view.count("\n", 0, found.start()) + 1
                    break


def is_private(name: str) -> bool:
    """Says whether a path in the bundle, or in its history, leads into a private folder."""
    return name.partition("/")[0] in PRIVATE


def texts_of(data: bytes) -> Iterator[tuple[str, str]]:
    """Yields the strings in a notebook, each with the cell it is in; of another file its text."""
    text = data.decode("utf-8", "replace")
    try:
        notebook = json.loads(text)
        cells = notebook.pop("cells")
        parts = [(f": cell {cell['id']}", string) for cell in cells for string in _strings_in(cell)]
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        yield "", text
    else:
        yield from parts
        yield from (("", string) for string in _strings_in(notebook))


def _unpack(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields all that is packed in some data, each with what to call it.

    Raises:
        zipfile.BadZipFile, zlib.error, RuntimeError, ValueError: it cannot be unpacked.
    """
    if data.startswith(b"{"):
        yield from ((part, t.encode("utf-8", "replace")) for part, t in texts_of(data) if part)
    for image in _DATA.finditer(data):
        yield ", image", base64.b64decode(image[1])
    if b"PK\x05\x06" in data and zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # In the raw bytes, these follow names without anything between.
            members = archive.infolist()
            for said in (archive.comment, *(m.comment for m in members)):
                yield ", comment", said
            yield from ((", extra field", member.extra) for member in members)
            for member in members:
                if member.file_size > _MAX_BYTES:
                    raise ValueError(f"{member.filename} has {member.file_size:,} bytes")
                yield f", member {member.filename}", archive.read(member)
    if not _is_text(data):
        for start in _PACKED.finditer(data):
            unpacker = zlib.decompressobj(wbits=47)  # zlib or gzip, as its header says
            try:
                content = unpacker.decompress(memoryview(data)[start.start() :], _MAX_BYTES)
            except zlib.error:
                continue  # it only looked like a header
            if unpacker.unconsumed_tail:
                raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
            yield ", packed text", content


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _strings_in(value) -> Iterator[str]:
    """Yields every string in a JSON value; lines in a list are one string."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in [*value.keys(), *value.values()]:
            yield from _strings_in(item)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield "".join(value)
    elif isinstance(value, list):
        for item in value:
            yield from _strings_in(item)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
