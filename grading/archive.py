"""Unpacks a zip that somebody hostile may have made.

`zipfile` reads the archive. This module decides what may be written: the names, kinds and sizes in
an archive are whatever its author put there.
"""

import contextlib
import errno
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from grading import UsageError
from grading.report import clean

MAX_DEPTH = 50  # folders within folders
MAX_REMARKS = 20
IGNORED = "__MACOSX"  # the folder in which macOS keeps what other systems cannot store

_CHUNK = 1 << 20  # bytes
_DIRECTORY_BYTES = 300  # in the table of contents, for each member that is allowed
_ENCRYPTED, _UTF_8 = 0x1, 0x800  # flags of a member
_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
# What `zipfile` raises: RuntimeError also for what it does not implement, ValueError for bad text.
_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_ERRORS += (RuntimeError, ValueError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of an archive is unpacked.

    Attributes:
        members: files and folders; an archive with more is not unpacked at all.
        member_bytes: of one file, decompressed; a larger one is left out.
        total_bytes: of all files, decompressed; the rest is left out.
    """

    members: int = 100_000
    member_bytes: int = 1_000_000_000
    total_bytes: int = 20_000_000_000


class _RefusedError(ValueError):
    """A member, or the archive, is left out; the message says why."""


class _Reader(io.BufferedReader):
    """A file that refuses to read much at once.

    `zipfile` reads the table of contents in one piece and keeps an object for each member in it, so
    a table that is too long has to be refused before, whatever the archive says of its length.
    """

    most = _CHUNK

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise _RefusedError(f"its table of contents has more than {self.most:,} bytes")
        return super().read(size)


class _Room:
    """Counts the bytes of all members, also of those that turn out to be bad."""

    def __init__(self, total: int):
        self._total = self._left = total

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _RefusedError(f"the zip unpacks to more than {self._total:,} bytes")


def one_line(text: str) -> str:
    """Returns a hostile text made safe to show, on one line of at most 200 characters."""
    text = " ".join(clean(text).split())
    return text if len(text) <= 200 else f"{text[:199]}…"


def unpack(archive: Path, folder: Path, limits: Limits = Limits()) -> list[str]:
    """Unpacks a zip into a new or empty folder; dot files and macOS's own are left out.

    An empty `.git` stays where there was one, since it tells a clone from other folders.

    Returns:
        Which members were left out, and why.

    Raises:
        UsageError: the file is not a zip, or too large; or the disk is full.
    """
    shown = one_line(archive.name)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        # Links could lie in it, and they would be followed.
        raise UsageError(f"{folder} is not empty, so {shown} is not unpacked there")
    try:
        with _Reader(io.FileIO(archive)) as file:
            file.most = max(_CHUNK, limits.members * _DIRECTORY_BYTES)
            left_out = list(_unpack_members(zipfile.ZipFile(file), folder, limits))
    except _ERRORS as error:
        raise UsageError(f"{shown} cannot be unpacked: {_reason(error)}") from None
    if len(left_out) > MAX_REMARKS:
        more = len(left_out) - MAX_REMARKS
        left_out[MAX_REMARKS:] = [f"{more:,} more files in {shown}: left out"]
    return left_out


def _unpack_members(opened: zipfile.ZipFile, folder: Path, limits: Limits) -> Iterator[str]:
    """Unpacks what may be unpacked, and yields a remark on each member that is left out."""
    members, room = opened.infolist(), _Room(limits.total_bytes)
    if len(members) > limits.members:
        raise _RefusedError(f"it holds more than {limits.members:,} files")
    for member in members:
        name = _name_of(member)
        try:
            if target := _find_target(name, folder):
                _check(member, limits)
                _write(opened, member, target, room)
        except _ERRORS as error:
            if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
                raise
            yield f"{one_line(name)}: left out: {_reason(error)}"


def _name_of(member: zipfile.ZipInfo) -> str:
    """Returns a name with `/` between folders, which Windows sometimes writes as a backslash.

    `zipfile` takes names for the code page of DOS, but many programs write UTF-8 without saying so.
    """
    name = member.orig_filename
    if not member.flag_bits & _UTF_8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")


def _find_target(name: str, folder: Path) -> Path | None:
    """Returns where a member goes; None if it is a folder or a file that nobody wants."""
    parts = [unicodedata.normalize("NFC", p) for p in name.split("/") if p not in ("", ".")]
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise _RefusedError("its name is an absolute path")
    if ".." in parts:
        raise _RefusedError("its name leads out of the zip")
    if "\0" in name or not parts:
        raise _RefusedError("its name is not one of a file")
    if len(parts) > MAX_DEPTH:
        raise _RefusedError(f"it lies more than {MAX_DEPTH} folders deep")
    for i, part in enumerate(parts):
        if part == ".git":
            folder.joinpath(*parts[: i + 1]).mkdir(parents=True, exist_ok=True)
        if part.startswith(".") or part == IGNORED:
            return None
    return None if name.endswith("/") else folder.joinpath(*parts)


def _check(member: zipfile.ZipInfo, limits: Limits) -> None:
    """Refuses what is not a plain file.

    Other decompressors than deflate's take as much memory as an archive asks for. The stated size
    may be relied on here: `zipfile` never returns more of a member.
    """
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise _RefusedError("it is a link or a device")
    if member.flag_bits & _ENCRYPTED:
        raise _RefusedError("it is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _RefusedError(f"it is compressed by method {member.compress_type}, not by deflate")
    if member.file_size > limits.member_bytes:
        raise _RefusedError(f"it has more than {limits.member_bytes:,} bytes")


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, room: _Room) -> None:
    """Writes a member completely or not at all."""
    room.take(0)
    target.parent.mkdir(parents=True, exist_ok=True)
    output = target.open("xb")
    try:
        with output, opened.open(member) as source:
            while piece := source.read(_CHUNK):
                room.take(len(piece))
                output.write(piece)
    except BaseException:
        target.unlink()
        raise
    modified = datetime(1980, 1, 1)  # the oldest date of a zip, for what is no date
    with contextlib.suppress(ValueError):
        modified = datetime(*member.date_time)
    os.utime(target, (modified.timestamp(), modified.timestamp()))


def _reason(error: Exception) -> str:
    """Says what is wrong with a member or an archive."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "another file of the zip has the same name"
    if isinstance(error, UnicodeDecodeError):
        return "a name in it is not the UTF-8 that it claims to be"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return one_line(text or "its end is missing")  # an EOFError has no message
