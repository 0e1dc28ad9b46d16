"""Unpacks a zip that somebody hostile may have made.

`zipfile` gives up on a whole archive if one name in it is not UTF-8 or one version number is too
high, and its decompressors for LZMA and bzip2 take as much memory as the archive asks for. So the
table of contents is read here, and only what students' computers write is decompressed: members
that are stored or deflated. Nothing that a header says about sizes is relied upon.
"""

import contextlib
import errno
import os
import re
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from grading import UsageError
from grading.report import clean

MAX_DEPTH = 50  # folders within folders
MAX_REMARKS = 20
IGNORED = "__MACOSX"  # the folder in which macOS keeps what other systems cannot store

_CHUNK = 1 << 20  # bytes
_MAX_NAME, _MAX_PATH = 255, 4_000  # bytes, of Linux and macOS
_STORED, _DEFLATED = 0, 8
_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


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


class _BadMemberError(ValueError):
    """A member is left out; the message says why."""


class _FullError(Exception):
    """The archive reached the limit of all files together."""


@dataclass(frozen=True, kw_only=True)
class _Member:
    """What the table of contents says of a member, true or not."""

    raw_name: bytes
    flags: int
    method: int
    date: int
    time: int
    checksum: int
    compressed: int
    mode: int
    offset: int

    @property
    def name(self) -> str:
        """The name with `/` between folders, which Windows sometimes writes as a backslash.

        Many programs write UTF-8 without saying so; what is not UTF-8 is in the code page of DOS.

        Raises:
            _BadMemberError: it claims to be UTF-8, and is not.
        """
        try:
            name = self.raw_name.decode()
        except UnicodeDecodeError:
            if self.flags & 0x800:
                raise _BadMemberError("its name is not UTF-8") from None
            name = self.raw_name.decode("cp437")
        return name.replace("\\", "/")


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
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        # Links could lie in it, and they would be followed.
        raise UsageError(
            f"{folder} is not empty, so {one_line(archive.name)} is not unpacked there"
        )
    left_out: list[str] = []
    try:
        with archive.open("rb") as file:
            members = _read_directory(file, limits, one_line(archive.name))
            _unpack_members(file, members, folder, limits, left_out)
    except OSError as error:
        raise UsageError(f"{one_line(archive.name)} cannot be unpacked: {error.strerror}") from None
    if len(left_out) > MAX_REMARKS:
        more = len(left_out) - MAX_REMARKS
        left_out[MAX_REMARKS:] = [f"{more:,} more files in {one_line(archive.name)}: left out"]
    return left_out


def _unpack_members(
    file: BinaryIO, members: list[_Member], folder: Path, limits: Limits, left_out: list[str]
) -> None:
    overlapping = _find_overlapping(members)
    room = limits.total_bytes
    for i, member in enumerate(members):
        shown = one_line(member.raw_name.decode(errors="replace"))
        try:
            target = _find_target(member, folder)
            if target is None:
                continue
            _check_kind(member)
            if i in overlapping:
                raise _BadMemberError("it overlaps another file of the zip")
            room -= _unpack_member(file, member, target, room, limits.member_bytes)
        except _BadMemberError as error:
            left_out.append(f"{shown}: left out: {error}")
        except _FullError:
            left_out.append(
                f"{shown} and all after it: left out: the zip unpacks to more than "
                f"{limits.total_bytes:,} bytes"
            )
            return


def _read_directory(file: BinaryIO, limits: Limits, name: str) -> list[_Member]:
    """Reads the table of contents, as far as it can be read."""
    found = _find_directory(file)
    if found is None:
        raise UsageError(f"{name} is not a zip file, or its end is missing")
    start, size, shift = found
    file.seek(start)
    members: list[_Member] = []
    end = start + size
    while file.tell() + 46 <= end:
        # The record ends with lengths of what follows it, attributes, and the member's place.
        fields = struct.unpack("<4s4x4H3L5H2L", file.read(46))
        signature, flags, method, time, date, checksum, compressed, full = fields[:8]
        name_length, extra_length, comment_length, _, _, attributes, offset = fields[8:]
        if signature != b"PK\1\2":
            break
        if len(members) == limits.members:
            raise UsageError(f"{name} holds more than {limits.members:,} files")
        raw_name = file.read(name_length)
        extra = file.read(extra_length)
        file.seek(comment_length, os.SEEK_CUR)
        _, compressed, offset = _apply_zip64(extra, full, compressed, offset)
        members.append(
            _Member(
                raw_name=raw_name,
                flags=flags,
                method=method,
                date=date,
                time=time,
                checksum=checksum,
                compressed=compressed,
                mode=attributes >> 16,
                offset=offset + shift,
            )
        )
    if size and not members:
        raise UsageError(f"{name} is damaged: its table of contents cannot be read")
    return members


def _find_directory(file: BinaryIO) -> tuple[int, int, int] | None:
    """Finds the table of contents: its place, its size, and how far all of the zip is shifted."""
    length = file.seek(0, os.SEEK_END)
    tail_start = max(0, length - 22 - 0xFFFF)  # a comment may follow the last record
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        return None
    size, offset = struct.unpack("<2L", tail[at + 12 : at + 20])
    end = tail_start + at
    if end >= 76:
        file.seek(end - 76)
        large = file.read(76)  # the record of a zip over 4 GB, and where that record is
        if large.startswith(b"PK\6\6") and large[56:60] == b"PK\6\7":
            size, offset = struct.unpack("<2Q", large[40:56])
            end -= 76
    return None if size > end else (end - size, size, end - size - offset)


def _apply_zip64(extra: bytes, *values: int) -> list[int]:
    """Replaces the values that did not fit into 32 bits by those in the extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            numbers = iter(struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8]))
            if len(extra) < at + 4 + length // 8 * 8:
                break
            return [next(numbers, (v,))[0] if v == 0xFFFFFFFF else v for v in values]
        at += 4 + length
    return list(values)


def _find_overlapping(members: list[_Member]) -> set[int]:
    """Finds members that share bytes: a small zip can repeat the same large file without end."""
    overlapping = set()
    end = 0
    order = sorted(range(len(members)), key=lambda i: (members[i].offset, i))
    for previous, i in zip([None, *order], order, strict=False):
        member = members[i]
        if previous is not None and member.offset < end:
            overlapping |= {previous, i}
        end = max(end, member.offset + 30 + len(member.raw_name) + member.compressed)
    return overlapping


def _find_target(member: _Member, folder: Path) -> Path | None:
    """Returns where a member goes; None if it is a folder or a file that nobody wants.

    Raises:
        _BadMemberError: its name leads elsewhere, or no file can have it.
    """
    name = member.name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise _BadMemberError("its name is an absolute path")
    if ".." in parts:
        raise _BadMemberError("its name leads out of the zip")
    if "\0" in name or not parts:
        raise _BadMemberError("its name is not one of a file")
    if len(parts) > MAX_DEPTH:
        raise _BadMemberError(f"it lies more than {MAX_DEPTH} folders deep")
    target = folder.joinpath(*(unicodedata.normalize("NFC", part) for part in parts))
    if max(len(os.fsencode(part)) for part in target.parts) > _MAX_NAME:
        raise _BadMemberError(f"its name has more than {_MAX_NAME} bytes")
    if len(os.fsencode(target)) > _MAX_PATH:
        raise _BadMemberError(f"its path has more than {_MAX_PATH:,} bytes")
    hidden = [i for i, part in enumerate(parts) if part.startswith(".") or part == IGNORED]
    if hidden and parts[hidden[0]] == ".git":
        with contextlib.suppress(OSError):
            folder.joinpath(*parts[: hidden[0] + 1]).mkdir(parents=True, exist_ok=True)
    return None if hidden or name.endswith("/") else target


def _check_kind(member: _Member) -> None:
    kind = stat.S_IFMT(member.mode)
    if kind == stat.S_IFLNK:
        raise _BadMemberError("it is a link")
    if kind not in (0, stat.S_IFREG):
        raise _BadMemberError("it is not a regular file")
    if member.flags & 0x41:
        raise _BadMemberError("it is encrypted")
    if member.method not in (_STORED, _DEFLATED):
        raise _BadMemberError(f"it is compressed by method {member.method}, not by deflate")


def _unpack_member(file: BinaryIO, member: _Member, target: Path, room: int, most: int) -> int:
    """Writes a member completely or not at all; returns its size."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        output = target.open("xb")
    except OSError as error:
        _stop_if_full(error)
        raise _BadMemberError("another file of the zip has the same name") from None
    size = checksum = 0
    try:
        with output:
            for piece in _read_member(file, member):
                size += len(piece)
                if size > most:
                    raise _BadMemberError(f"it has more than {most:,} bytes")
                if size > room:
                    raise _FullError
                checksum = zlib.crc32(piece, checksum)
                output.write(piece)
        if checksum != member.checksum:
            raise _BadMemberError("it is damaged: its checksum is wrong")
    except OSError as error:
        target.unlink()
        _stop_if_full(error)
        raise _BadMemberError(f"it cannot be written: {error.strerror}") from None
    except BaseException:
        target.unlink()
        raise
    modified = _read_date(member)
    os.utime(target, (modified, modified))
    return size


def _stop_if_full(error: OSError) -> None:
    if error.errno in _DISK_IS_FULL:
        raise error


def _read_member(file: BinaryIO, member: _Member) -> Iterator[bytes]:
    """Yields the contents in pieces of limited size."""
    header = b""
    if member.offset >= 0:
        with contextlib.suppress(OverflowError, OSError):
            file.seek(member.offset)
            header = file.read(30)
    if len(header) < 30 or not header.startswith(b"PK\3\4"):
        raise _BadMemberError("it is not where the zip says")
    file.seek(sum(struct.unpack("<2H", header[26:30])), os.SEEK_CUR)
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    left = member.compressed
    while left:
        data = file.read(min(left, _CHUNK))
        if not data:
            raise _BadMemberError("it is damaged: its end is missing")
        left -= len(data)
        if member.method == _STORED:
            yield data
        else:
            yield from _decompress(decompressor, data)
    if member.method == _DEFLATED and not decompressor.eof:
        raise _BadMemberError("it is damaged: its end is missing")


def _decompress(decompressor, data: bytes) -> Iterator[bytes]:
    while True:
        try:
            piece = decompressor.decompress(data, _CHUNK)
        except zlib.error:
            raise _BadMemberError("it is damaged: it cannot be decompressed") from None
        yield piece
        data = decompressor.unconsumed_tail
        # A full piece may leave more of it in the decompressor.
        if not data and len(piece) < _CHUNK:
            return


def _read_date(member: _Member) -> float:
    """Returns when a member was last changed; 1980, the oldest date, if what it says is no date."""
    date, time = member.date, member.time
    day = (date >> 9) + 1980, date >> 5 & 15, date & 31
    try:
        return datetime(*day, time >> 11, time >> 5 & 63, (time & 31) * 2).timestamp()
    except ValueError:
        return datetime(1980, 1, 1).timestamp()
