"""Collects the submissions of a class, in whatever form a platform hands them out.

The names of folders and files say whose they are. A zip counts as the folder that it holds. Each
file becomes a `_Piece`, which knows its student and its attempt; pieces become attempts. Nothing is
changed, executed or followed in what was collected.
"""

import dataclasses
import functools
import itertools
import os
import re
import tempfile
import unicodedata
import zoneinfo
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

import yaml

from grading import UsageError
from grading.classroom.archive import IGNORED, Limits, one_line, unpack
from grading.classroom.records import Attempt, Student
from grading.files import UnreadableError, read_regular_file

MOODLE, CANVAS, GRADESCOPE, GITHUB = "Moodle", "Canvas", "Gradescope", "GitHub Classroom"
NBGRADER, BLACKBOARD = "nbgrader", "Blackboard"
FOLDERS, SIDE_BY_SIDE = "one folder a student", "notebooks side by side"

METADATA = ("submission_metadata.yml",)  # of Gradescope
MAX_METADATA = 20_000_000  # bytes
STUDENT_LIMITS = Limits(members=10_000, member_bytes=200_000_000, total_bytes=1_000_000_000)
ALL_ZIPS = 20_000_000_000  # bytes that all students' zips may unpack to

# What a student may hand in by mistake beside the others' notebooks; other files are nobody's.
MISTAKEN = {".7z", ".doc", ".docx", ".gz", ".htm", ".html", ".ipynb.json", ".ipynb.txt", ".odt"}
MISTAKEN |= {".pdf", ".py", ".rar", ".tar", ".tgz", ".zip"}

_MOODLE = re.compile(
    r"(?P<folder>(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+)(?:_(?P<file>.*))?", re.DOTALL
)
_CANVAS = re.compile(
    r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<id>\d+)_(?P<serial>\d{1,18})_(?P<file>.+)", re.DOTALL
)
_BLACKBOARD = re.compile(
    r"(?P<who>.+?)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?P<file>[_.].+)?", re.DOTALL
)
_GRADESCOPE = re.compile(r"submission_\d+")
_ATTEMPT = re.compile(
    r"(?:(?P<stem>.*\S)[ _-]+)?attempt[ _-]?(?P<number>\d{1,9})", re.IGNORECASE | re.DOTALL
)
_COPY = re.compile(r"(?P<stem>.*\S) ?\((?P<number>\d{1,9})\)", re.DOTALL)  # a browser's renaming
_VERSION = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,9})", re.DOTALL)  # Canvas's renaming


@dataclass(frozen=True)
class Collection:
    """What a class handed in.

    Attributes:
        layout: how it came, for people; of a mixture, what most students have.
        attempts: ordered by the student's key; of each student the oldest first.
        remarks: what was left out, and why.
    """

    layout: str
    attempts: tuple[Attempt, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file: its path for people, below the class's folder; its place; why it is still a zip."""

    parts: tuple[str, ...]
    path: Path
    modified: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Class:
    """All files, and what the names of several of them say together."""

    name: str
    files: list[_File]
    clones: set[tuple[str, ...]]
    remarks: list[str]
    submissions: dict[str, tuple[list[Student], datetime | None]]

    @functools.cached_property
    def github_prefix(self) -> str:
        names = {clone[0] for clone in self.clones if len(clone) == 1}
        # A user name may contain the "-", so a single folder does not tell where it begins.
        return _find_prefix(names, "-") if len(names) > 1 else ""

    @functools.cached_property
    def blackboard_prefix(self) -> str:
        found = (_BLACKBOARD.fullmatch(file.parts[0]) for file in self.files)
        return _find_prefix((match["who"] for match in found if match), "_")

    @functools.cached_property
    def times(self) -> dict[tuple[str, ...], datetime | None]:
        """When nbgrader collected each folder STUDENT/ASSIGNMENT."""
        stamps = [f for f in self.files if len(f.parts) == 3 and f.parts[2] == "timestamp.txt"]
        return {stamp.parts[:2]: _read_timestamp(stamp, self.remarks) for stamp in stamps}

    @functools.cached_property
    def loose_keys(self) -> set[str]:
        """The students of the notebooks that share the class's own folder."""
        names = [f.parts[0] for f in self.files if len(f.parts) == 1 and _is_notebook(f)]
        return {_split(PurePath(name).stem)[0] for name in names if not _is_from_platform(name)}


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """One file of one student.

    Attributes:
        within: its path as the student gave it.
        group: what the platform calls the attempt.
        number: of the attempt, as the student called it; 0 if there is none.
        version: of a file that was renamed because another had its name.
        serial: the platform's number of the file.
    """

    file: _File
    layout: str
    student: Student
    within: tuple[str, ...]
    folder: str = ""
    group: str = ""
    number: int = 0
    version: int = 0
    serial: int = 0
    submitted: datetime | None = None
    is_late: bool | None = None

    @property
    def rank(self) -> tuple:
        """What puts attempts in order for certain; names count among what came at one time."""
        time = self.submitted.timestamp() if self.submitted else 0.0
        return time, self.number, self.version, self.serial

    @property
    def order(self) -> tuple:
        return *self.rank, self.file.modified, self.file.parts

    @property
    def stem(self) -> str:
        return PurePath(self.within[-1]).stem

    @property
    def label(self) -> str:
        return _shown(self.file.parts)


def collect(
    source: Path, scratch: Path, answers: Callable[[Path], bool | None] = lambda notebook: None
) -> Collection:
    """Collects what a class handed in.

    Args:
        source: a folder or a zip.
        scratch: a folder for what comes out of zips; attempts point into it.
        answers: whether a notebook answers anything: False if it is no assignment's, or if all of
            its gaps are open; None if nobody knows. Asked only about a student's several notebooks.

    Raises:
        UsageError: source is neither a folder nor a zip.
    """
    remarks: list[str] = []
    files, clones = _find_files(source, scratch, remarks)
    name, files, clones = _enter(source.absolute().stem, files, clones, remarks)
    submissions = _read_metadata(files, remarks)
    whole = _Class(name=name, files=files, clones=clones, remarks=remarks, submissions=submissions)
    by_key: dict[str, list[_Piece]] = {}
    for file in files:
        for piece in _identify(file, whole):
            by_key.setdefault(piece.student.key, []).append(piece)
    _drop_strangers(by_key, remarks)
    _note_gaps(by_key, whole)
    layouts = Counter(pieces[0].layout for pieces in by_key.values())
    answers = functools.cache(answers)  # a group's notebook is asked about once
    attempts = [
        attempt
        for key in sorted(by_key)
        for attempt in _attempts(by_key[key], whole, answers, remarks)
    ]
    if not attempts:
        remarks.append(f"nothing that a student handed in was found in {one_line(str(source))}")
    layout = layouts.most_common(1)[0][0] if layouts else SIDE_BY_SIDE
    return Collection(layout, tuple(attempts), tuple(remarks))


# Files


def _find_files(
    source: Path, scratch: Path, remarks: list[str]
) -> tuple[list[_File], set[tuple[str, ...]]]:
    """Returns all files, those in zips too, and the paths of clones."""
    scratch.mkdir(parents=True, exist_ok=True)
    folder = source
    if not source.is_dir():
        if not source.is_file():
            raise UsageError(f"there is no folder or zip file {source}")
        folder = Path(tempfile.mkdtemp(prefix="class-", dir=scratch))
        remarks += unpack(source, folder)
    found, clones = _walk(folder, (), remarks)
    files = []
    room = ALL_ZIPS
    for file in found:
        if PurePath(file.parts[-1]).suffix.lower() != ".zip":
            files.append(file)
            continue
        unpacked = _unpack_one(file, scratch, room, remarks)
        room -= sum(inner.path.stat().st_size for inner in unpacked if not inner.note)
        files += unpacked
    return files, clones


def _walk(
    folder: Path, parts: tuple[str, ...], remarks: list[str]
) -> tuple[list[_File], set[tuple[str, ...]]]:
    """Returns the regular files below a folder, and which folders are clones."""
    files, clones, folders = [], set(), [(folder, parts)]
    while folders:
        folder, parts = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            remarks.append(f"{_shown(parts)}: left out: it cannot be read: {error.strerror}")
            continue
        for entry in entries:
            here = (*parts, entry.name)
            if entry.name == ".git":
                clones.add(parts)
            if _is_hidden(entry.name):
                continue
            if entry.is_symlink():
                remarks.append(f"{_shown(here)}: left out: it is a link")
            elif entry.is_dir(follow_symlinks=False):
                folders.append((Path(entry.path), here))
            elif entry.is_file(follow_symlinks=False):
                modified = entry.stat(follow_symlinks=False).st_mtime
                files.append(_File(parts=here, path=Path(entry.path), modified=modified))
            else:
                remarks.append(f"{_shown(here)}: left out: it is not a regular file")
    return sorted(files, key=lambda file: file.parts), clones


def _unpack_one(file: _File, scratch: Path, room: int, remarks: list[str]) -> list[_File]:
    """Returns the files in a student's zip; the zip itself if there are none."""
    folder = Path(tempfile.mkdtemp(prefix="zip-", dir=scratch))
    limits = dataclasses.replace(STUDENT_LIMITS, total_bytes=min(room, STUDENT_LIMITS.total_bytes))
    try:
        notes = unpack(file.path, folder, limits)
    except UsageError as error:
        remarks.append(f"{_shown(file.parts)}: left out: {error}")
        return [dataclasses.replace(file, note=str(error))]
    remarks += (f"{_shown(file.parts)}: {note}" for note in notes)
    files, _ = _walk(folder, (*file.parts[:-1], PurePath(file.parts[-1]).stem), remarks)
    for inner in files:
        if PurePath(inner.parts[-1]).suffix.lower() == ".zip":
            remarks.append(f"{_shown(inner.parts)}: not unpacked: it is a zip within a zip")
    return files or [dataclasses.replace(file, note="nothing in it can be unpacked")]


def _enter(
    name: str, files: list[_File], clones: set[tuple[str, ...]], remarks: list[str]
) -> tuple[str, list[_File], set[tuple[str, ...]]]:
    """Enters folders that only wrap the class; returns its folder's name, its files and clones."""
    while True:
        tops = {file.parts[0] for file in files}
        folders = {file.parts[0] for file in files if len(file.parts) > 1}
        if name != "submitted" and "submitted" in folders and tops & {"source", "release"}:
            top = "submitted"
            remarks.append("nbgrader's folders beside `submitted` were left out")
        elif len(tops) == 1 and folders == tops and (name != "submitted" or name in tops):
            (top,) = tops
            if _is_one_student(top, files, clones):
                return name, files, clones
        else:
            return name, files, clones
        name = top
        files = [
            dataclasses.replace(file, parts=file.parts[1:])
            for file in files
            if file.parts[0] == top
        ]
        clones = {clone[1:] for clone in clones if clone[:1] == (top,)}


def _is_one_student(top: str, files: list[_File], clones: set[tuple[str, ...]]) -> bool:
    """Whether the only folder of a class is a student's, and does not wrap many students."""
    if top == "submitted":
        return False
    if (top,) in clones or _is_from_platform(top):
        return True
    folders = {file.parts[1] for file in files if len(file.parts) > 2}
    stamped = {f.parts[1] for f in files if len(f.parts) == 3 and f.parts[2] == "timestamp.txt"}
    if folders and (folders == stamped or all(map(_ATTEMPT.fullmatch, folders))):
        return True
    notebooks = [file for file in files if _is_notebook(file)]
    return not folders if not notebooks else len(notebooks) == 1 and len(notebooks[0].parts) == 2


# Whose is it?


def _identify(file: _File, whole: _Class) -> Iterator[_Piece]:
    """Yields whose file this is; a group's file belongs to each of its members."""
    if file.parts == METADATA or file.parts[2:] == ("timestamp.txt",):
        return
    top = file.parts[0]
    if match := _MOODLE.fullmatch(top):
        piece = _from_moodle(file, match)
    elif match := _BLACKBOARD.fullmatch(top):
        piece = _from_blackboard(file, match, whole)
    elif match := _CANVAS.fullmatch(top):
        piece = _from_canvas(file, match)
    elif len(file.parts) == 1:
        piece = _from_loose_file(file, whole)
    elif top in whole.submissions or _GRADESCOPE.fullmatch(top):
        yield from map(_numbered, _from_gradescope(file, whole))
        return
    elif (top,) in whole.clones:
        key = _name(top.removeprefix(whole.github_prefix) or top)
        piece = _Piece(file=file, layout=GITHUB, student=Student(key=key), within=file.parts[1:])
    elif len(file.parts) > 2 and (whole.name == "submitted" or file.parts[:2] in whole.times):
        piece = _Piece(
            file=file,
            layout=NBGRADER,
            student=Student(key=_name(top)),
            within=file.parts[2:],
            group=file.parts[1],
            submitted=whole.times.get(file.parts[:2]),
        )
    else:
        key, number, version = _split(top)
        piece = _Piece(
            file=file,
            layout=FOLDERS,
            student=Student(key=key),
            within=file.parts[1:],
            number=number,
            version=version,
        )
    yield _numbered(piece)


def _from_moodle(file: _File, match: re.Match) -> _Piece:
    name = _name(match["name"])
    within = (*filter(None, [match["file"]]), *file.parts[1:])
    # Where files are not in folders, Moodle still expects to see such a folder's name again.
    is_folder = len(file.parts) > 1 and not match["file"]
    return _Piece(
        file=file,
        layout=MOODLE,
        student=Student(key=f"{name}_{match['id']}", name=name, platform_id=match["id"]),
        within=within or file.parts,
        folder=file.parts[0] if is_folder else f"{match['folder']}_",
    )


def _from_canvas(file: _File, match: re.Match) -> _Piece:
    name = match["file"]
    stem = PurePath(name).stem if len(file.parts) == 1 else name
    version = _VERSION.fullmatch(stem)
    return _Piece(
        file=file,
        layout=CANVAS,
        student=Student(key=f"{_name(match['name'])}_{match['id']}", platform_id=match["id"]),
        within=(name, *file.parts[1:]),
        version=int(version["number"]) if version else 0,
        serial=int(match["serial"]),
        is_late=bool(match["late"]),
    )


def _from_blackboard(file: _File, match: re.Match, whole: _Class) -> _Piece:
    try:
        # Blackboard does not say in which time zone; most likely in the one of this machine.
        submitted = datetime.strptime(match["time"], "%Y-%m-%d-%H-%M-%S").astimezone()
    except (ValueError, OverflowError, OSError):
        submitted = None
    name = (match["file"] or "").lstrip("_") or file.parts[0]
    return _Piece(
        file=file,
        layout=BLACKBOARD,
        student=Student(key=_name(match["who"].removeprefix(whole.blackboard_prefix))),
        within=(name, *file.parts[1:]),
        group=match["time"],
        submitted=submitted,
    )


def _from_gradescope(file: _File, whole: _Class) -> Iterator[_Piece]:
    top = file.parts[0]
    students, submitted = whole.submissions.get(top, ([], None))
    for student in students or [Student(key=_name(top))]:
        yield _Piece(
            file=file,
            layout=GRADESCOPE,
            student=student,
            within=file.parts[1:],
            group=top,
            submitted=submitted,
        )


def _from_loose_file(file: _File, whole: _Class) -> _Piece:
    name = PurePath(file.parts[0])
    key, number, version = _split(name.stem.removesuffix(".ipynb"))
    if name.suffix == ".npz" and len(whole.loose_keys) == 1:
        (key,) = whole.loose_keys
    return _Piece(
        file=file,
        layout=SIDE_BY_SIDE,
        student=Student(key=key),
        within=file.parts,
        number=number,
        version=version,
    )


def _numbered(piece: _Piece) -> _Piece:
    """Reads the numbers that students give to attempts, and browsers to files of the same name."""
    *parts, name = piece.within
    number, version = piece.number, piece.version
    for part in [*parts, PurePath(name).stem]:
        stem = part
        if copy := _COPY.fullmatch(part):
            stem, version = copy["stem"], version or int(copy["number"])
        if attempt := _ATTEMPT.fullmatch(stem):
            number = number or int(attempt["number"])
    return dataclasses.replace(piece, number=number, version=version)


def _split(stem: str) -> tuple[str, int, int]:
    """Returns the student's key, the attempt's number and the browser's number."""
    number = version = 0
    if copy := _COPY.fullmatch(stem):
        stem, version = copy["stem"], int(copy["number"])
    if (attempt := _ATTEMPT.fullmatch(stem)) and attempt["stem"]:
        stem, number = attempt["stem"], int(attempt["number"])
    return _name(stem), number, version


# Attempts


def _attempts(
    pieces: list[_Piece], whole: _Class, answers: Callable, remarks: list[str]
) -> Iterator[Attempt]:
    """Yields the attempts of one student."""
    student = _merge(piece.student for piece in pieces)
    notebooks = [piece for piece in pieces if _is_notebook(piece.file)]
    if not notebooks:
        yield _without_notebook(student, pieces)
        return
    kept = _drop_unanswered(notebooks, answers, student, remarks)
    for notebook in sorted(kept, key=lambda piece: piece.order):
        yield Attempt(
            student=student,
            notebook=notebook.file.path,
            attachments=_find_attachments(notebook, pieces, whole),
            label=notebook.label,
            folder=notebook.folder,
            submitted=notebook.submitted,
            is_late=notebook.is_late,
        )
    for group in sorted({p.group for p in pieces} - {p.group for p in notebooks}):
        found = _found(piece for piece in pieces if piece.group == group)
        remarks.append(f"{student.key}: {one_line(group)} holds no notebook; found {found}")


def _without_notebook(student: Student, pieces: list[_Piece]) -> Attempt:
    newest = max(pieces, key=lambda piece: piece.order)
    # Of Moodle's folders, the one for files is where feedback belongs.
    folders = sorted({piece.folder for piece in pieces})
    folder = next((name for name in folders if "assignsubmission_file" in name), folders[0])
    return Attempt(
        student=student,
        notebook=None,
        label=newest.label,
        folder=folder,
        submitted=newest.submitted,
        is_late=newest.is_late,
        problem=f"no notebook was handed in; found {_found(pieces)}",
    )


def _drop_unanswered(
    notebooks: list[_Piece], answers: Callable, student: Student, remarks: list[str]
) -> list[_Piece]:
    """Leaves out the notebooks that a student did not touch, if there is another."""
    if len(notebooks) == 1:
        return notebooks
    verdicts = [answers(piece.file.path) for piece in notebooks]
    kept = notebooks
    if any(verdicts):
        kept = [p for p, verdict in zip(notebooks, verdicts, strict=True) if verdict is not False]
        for piece in notebooks:
            if piece not in kept:
                remarks.append(f"{student.key}: {piece.label} left out: it answers nothing")
    last = max(kept, key=lambda piece: piece.order)
    together = [p for p in kept if p.rank == last.rank and p.group == last.group]
    if len(together) > 1:
        names = ", ".join(piece.label for piece in together[:5])
        remarks.append(f"{student.key}: {names} came together; {last.label} counts")
    return kept


def _find_attachments(notebook: _Piece, pieces: list[_Piece], whole: _Class) -> tuple[Path, ...]:
    """Returns the weights that came with a notebook, the likeliest first."""
    found = [p for p in pieces if p.file.path.suffix.lower() == ".npz"]
    found = [p for p in found if p.group == notebook.group]
    if notebook.layout == SIDE_BY_SIDE and len(whole.loose_keys) > 1:
        found = [p for p in found if p.within == (f"{notebook.stem}{p.file.path.suffix}",)]
    numbered = [p for p in found if p.number == notebook.number]
    found = numbered or [p for p in found if not p.number]
    if len({p.version for p in pieces if _is_notebook(p.file)}) > 1:
        found = [p for p in found if p.version == notebook.version] or found

    def unlikeliness(weights: _Piece) -> tuple:
        return (
            weights.stem.casefold() != notebook.stem.casefold(),
            weights.within[:-1] != notebook.within[:-1],
            weights.version != notebook.version,
            not weights.stem.casefold().startswith("kungfu_weights"),
            weights.file.parts,
        )

    return tuple(weights.file.path for weights in sorted(found, key=unlikeliness))


def _drop_strangers(by_key: dict[str, list[_Piece]], remarks: list[str]) -> None:
    """Leaves out files that share a folder with notebooks and are nobody's."""
    for key, pieces in list(by_key.items()):
        if any(piece.layout != SIDE_BY_SIDE or _is_notebook(piece.file) for piece in pieces):
            continue
        names = [piece.file.parts[0].lower() for piece in pieces]
        if not any(name.endswith(tuple(MISTAKEN)) for name in names):
            remarks += (f"{piece.label}: left out: it belongs to no notebook" for piece in pieces)
            del by_key[key]


def _note_gaps(by_key: dict[str, list[_Piece]], whole: _Class) -> None:
    """Says where a platform's metadata and its folders disagree."""
    pieces = [piece for pieces in by_key.values() for piece in pieces]
    folders = {piece.group for piece in pieces if piece.layout == GRADESCOPE}
    for folder in sorted(folders - whole.submissions.keys()):
        whole.remarks.append(f"{one_line(folder)}: the metadata does not say whose it is")
    for folder in sorted(whole.submissions.keys() - folders):
        whole.remarks.append(f"{one_line(folder)}: the metadata lists it, but no file came with it")
    if any(piece.layout == BLACKBOARD for piece in pieces):
        whole.remarks.append("Blackboard's times are taken to be in this machine's time zone")


# What platforms write


def _read_metadata(
    files: list[_File], remarks: list[str]
) -> dict[str, tuple[list[Student], datetime | None]]:
    """Reads Gradescope's metadata: who handed in each folder, and when."""
    found = [file for file in files if file.parts == METADATA]
    if not found:
        return {}
    try:
        text = read_regular_file(found[0].path, MAX_METADATA, METADATA[0])
        metadata = yaml.load(text, Loader=_Loader)
    except UnreadableError as error:
        remarks.append(f"left out: {one_line(str(error))}")
        return {}
    except Exception as error:  # PyYAML raises whatever its conversions raise
        remarks.append(f"{METADATA[0]}: left out: {one_line(str(error))}")
        return {}
    submissions = metadata.items() if isinstance(metadata, dict) else ()
    return {
        folder: (_read_submitters(entry), _read_created(entry))
        for folder, entry in submissions
        if isinstance(folder, str) and isinstance(entry, dict)
    }


class _Loader(yaml.SafeLoader):
    """Reads YAML without merged mappings, with which a small file can fill the memory.

    It is the one in Python: the one in C crashes on deep nesting.
    """

    def flatten_mapping(self, node):
        pass


def _read_submitters(entry: dict) -> list[Student]:
    submitters = _get(entry, "submitters")
    students = {}
    for submitter in submitters if isinstance(submitters, list) else ():
        if isinstance(submitter, dict):
            sid, email, name = (_text(_get(submitter, key)) for key in ("sid", "email", "name"))
            if key := sid or email or name:
                students[key] = Student(key=key, name=name, email=email, platform_id=sid)
    return list(students.values())


def _read_created(entry: dict) -> datetime | None:
    created = _get(entry, "created_at")
    if isinstance(created, str):
        try:
            text = created.strip().replace(" UTC", "+00:00")
            created = datetime.fromisoformat(re.sub(r" (?=[+-]\d\d:?\d\d$|Z$)", "", text))
        except ValueError:
            return None
    return _with_zone(created) if isinstance(created, datetime) else None


def _get(entry: dict, key: str) -> Any:
    """Returns a value of Gradescope's, whose keys are Ruby's symbols."""
    return entry.get(f":{key}:", entry.get(f":{key}", entry.get(key)))


def _text(value: Any) -> str:
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30
    return one_line(str(value)) if is_number or isinstance(value, str) else ""


def _read_timestamp(file: _File, remarks: list[str]) -> datetime | None:
    """Reads nbgrader's timestamp, such as `2015-02-02 15:58:23.948203 America/Los_Angeles`."""
    try:
        text = read_regular_file(file.path, 1_000, "the timestamp").decode(errors="replace")
        match = re.fullmatch(r"(\S+[ T]\S+?)(?: (\S+))?", text.strip())
        if not match:
            raise ValueError
        time = datetime.fromisoformat(match[1])
        if match[2] and re.fullmatch(r"[+-]\d\d:?\d\d", match[2]):
            return datetime.fromisoformat(f"{match[1]}{match[2]}")
        return time.replace(tzinfo=zoneinfo.ZoneInfo(match[2])) if match[2] else _with_zone(time)
    except (ValueError, KeyError, OSError):
        remarks.append(f"{_shown(file.parts)}: left out: it is not a time with a time zone")
        return None


def _with_zone(time: datetime) -> datetime:
    """Returns a time with a time zone: UTC, unless it says otherwise."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# Names


def _name(text: str) -> str:
    """Returns a name that can be shown and compared: of several spellings in Unicode the usual."""
    # Python reads bytes that are no UTF-8 as halves of surrogate pairs; names must stay different.
    text = re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)
    return one_line(unicodedata.normalize("NFC", text)) or "without a name"


def _shown(parts: Iterable[str]) -> str:
    return one_line("/".join(map(_name, parts)))


def _found(pieces: Iterable[_Piece]) -> str:
    """Lists what came in the place of a notebook."""
    notes = {_shown(piece.within): piece.file.note for piece in pieces}
    names = [f"{name} ({note})" if note else name for name, note in sorted(notes.items())]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _merge(students: Iterable[Student]) -> Student:
    """Returns one student with all that is known of them."""
    merged: dict[str, str] = {}
    for student in students:
        merged = {k: merged.get(k) or v for k, v in dataclasses.asdict(student).items()}
    return Student(**merged)


def _find_prefix(names: Iterable[str], end: str) -> str:
    """Returns what all names begin with, up to the last `end`."""
    columns = zip(*names, strict=False)
    same = itertools.takewhile(lambda column: len(set(column)) == 1, columns)
    shared = "".join(column[0] for column in same)
    return shared[: shared.rfind(end) + 1]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == IGNORED


def _is_notebook(file: _File) -> bool:
    # What Moodle's students wrote into a text field is no file of theirs.
    is_online_text = "_assignsubmission_onlinetext" in file.parts[0]
    return file.parts[-1].lower().endswith(".ipynb") and not is_online_text


def _is_from_platform(name: str) -> bool:
    patterns = (_MOODLE, _CANVAS, _BLACKBOARD, _GRADESCOPE)
    return any(pattern.fullmatch(name) for pattern in patterns)
