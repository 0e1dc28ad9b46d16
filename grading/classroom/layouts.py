"""Says whose a file is, from the names that platforms give to folders and files.

Each platform has one function here. It turns a file into a `Piece`, or returns None if the file's
name is not one of that platform's.
"""

import dataclasses
import functools
import os
import re
import unicodedata
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

import yaml

from grading.archive import one_line
from grading.classroom.records import Student
from grading.files import UnreadableError, read_regular_file

MOODLE, CANVAS, GRADESCOPE, GITHUB = "Moodle", "Canvas", "Gradescope", "GitHub Classroom"
NBGRADER, BLACKBOARD = "nbgrader", "Blackboard"
FOLDERS, SIDE_BY_SIDE = "one folder a student", "notebooks side by side"

METADATA = "submission_metadata.yml"  # of Gradescope
MAX_METADATA = 20_000_000  # bytes

# Names may contain line breaks, hence (?s).
_MOODLE = re.compile(r"(?s)((?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+)(?:_(?P<file>.*))?")
_CANVAS = re.compile(r"(?s)([^_]+)_(?P<late>LATE_)?(?P<id>\d+)_(?P<serial>\d{1,18})_(?P<file>.+)")
_BLACKBOARD = re.compile(r"(?s)(?P<who>.+?)_attempt_(?P<time>\d{4}(?:-\d\d){5})(?P<file>[_.].+)?")
_GRADESCOPE = re.compile(r"submission_\d+")
_ATTEMPT = re.compile(r"(?si)(?:(?P<stem>.*\S)[ _-]+)?attempt[ _-]?(?P<number>\d{1,9})")
_COPY = re.compile(r"(?s)(?P<stem>.*\S) ?\((?P<number>\d{1,9})\)")  # a browser's renaming
_VERSION = re.compile(r"(?s).+-(?P<number>\d{1,9})")  # Canvas's renaming


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that was found.

    Attributes:
        parts: its path below the class's folder.
        path: where it is.
        modified: when it was last changed.
        num_inside: how many of its parts, the last ones, are from inside a student's zip.
        note: why it is still a zip.
    """

    parts: tuple[str, ...]
    path: Path
    modified: float
    num_inside: int = 0
    note: str = ""

    @property
    def shown(self) -> str:
        return show(self.parts)

    @property
    def ending(self) -> str:
        return PurePath(self.parts[-1]).suffix.lower()

    @property
    def is_notebook(self) -> bool:
        # What Moodle's students wrote into a text field is no file of theirs.
        is_online_text = "_assignsubmission_onlinetext" in self.parts[0]
        return self.ending == ".ipynb" and not is_online_text

    @property
    def is_timestamp(self) -> bool:
        """Whether nbgrader wrote here when it collected the folder STUDENT/ASSIGNMENT."""
        return self.parts[2:] == ("timestamp.txt",)


@dataclass(frozen=True, kw_only=True)
class Class:
    """All files of a class, and what the names of several of them say together.

    Attributes:
        name: of its folder.
        files: without those that nobody wants.
        clones: the folders that git made.
        remarks: what was left out, and why; more come while names are read.
    """

    name: str
    files: list[File]
    clones: set[tuple[str, ...]]
    remarks: list[str]

    @functools.cached_property
    def github_prefix(self) -> str:
        """What the names of all clones begin with: the assignment's name."""
        names = {clone[0] for clone in self.clones if len(clone) == 1}
        # A user name may contain the "-", so a single folder does not tell where it begins.
        return _find_prefix(names, "-") if len(names) > 1 else ""

    @functools.cached_property
    def blackboard_prefix(self) -> str:
        """What all of Blackboard's names begin with: the assignment's name."""
        found = (_BLACKBOARD.fullmatch(file.parts[0]) for file in self.files)
        self.remarks.append("Blackboard's times are taken to be in this machine's time zone")
        return _find_prefix((match["who"] for match in found if match), "_")

    @functools.cached_property
    def times(self) -> dict[tuple[str, ...], datetime | None]:
        """When nbgrader collected each folder STUDENT/ASSIGNMENT."""
        return {f.parts[:2]: _read_timestamp(f, self.remarks) for f in self.files if f.is_timestamp}

    @functools.cached_property
    def submissions(self) -> dict[str, tuple[tuple[Student, ...], datetime | None]]:
        """Who handed in each of Gradescope's folders, and when."""
        files = [file for file in self.files if file.parts == (METADATA,)]
        told = _read_metadata(files[0], self.remarks) if files else {}
        tops = {file.parts[0] for file in self.files if len(file.parts) > 1}
        for top in sorted(filter(_GRADESCOPE.fullmatch, tops - told.keys())):
            self.remarks.append(f"{one_line(top)}: the metadata does not say whose it is")
        for top in sorted(told.keys() - tops):
            self.remarks.append(f"{one_line(top)}: the metadata lists it, but no file came with it")
        return told


@dataclass(frozen=True)
class Piece:
    """One file of one student, or of a group.

    Attributes:
        within: its path as the student gave it.
        folder: the name that the platform wants to see again, or "".
        group: what the platform calls the attempt.
        number: of the attempt, as the student called it; 0 if there is none.
        version: of a file that was renamed because another had its name.
        serial: the platform's number of the file.
    """

    file: File
    layout: str
    students: tuple[Student, ...]
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


# The class's own folder


def enter(whole: Class) -> Class:
    """Enters folders that only wrap the class."""
    while top := _find_wrapper(whole):
        files = [
            dataclasses.replace(file, parts=file.parts[1:])
            for file in whole.files
            if file.parts[0] == top
        ]
        clones = {clone[1:] for clone in whole.clones if clone[:1] == (top,)}
        whole = Class(name=top, files=files, clones=clones, remarks=whole.remarks)
    return whole


def _find_wrapper(whole: Class) -> str:
    """Returns the folder that holds all students, or "" if it is the class's own."""
    tops = {file.parts[0] for file in whole.files}
    folders = {file.parts[0] for file in whole.files if len(file.parts) > 1}
    if whole.name != "submitted" and "submitted" in folders and tops & {"source", "release"}:
        whole.remarks.append("nbgrader's folders beside `submitted` were left out")
        return "submitted"
    if len(tops) != 1 or folders != tops or (whole.name == "submitted" and whole.name not in tops):
        return ""
    (top,) = tops
    return "" if _is_one_student(top, whole) else top


def _is_one_student(top: str, whole: Class) -> bool:
    """Whether the only folder of a class is a student's, and does not wrap many students."""
    if top == "submitted":
        return False
    if (top,) in whole.clones or _is_from_platform(top):
        return True
    folders = {file.parts[1] for file in whole.files if len(file.parts) > 2}
    stamped = {file.parts[1] for file in whole.files if file.is_timestamp}
    if folders and (folders == stamped or all(map(_ATTEMPT.fullmatch, folders))):
        return True
    # A student hands in one notebook, or several in one zip; or only other files, without folders.
    notebooks = [file for file in whole.files if file.is_notebook]
    places = {f.parts[: len(f.parts) - f.num_inside] for f in notebooks or whole.files}
    return all(len(place) == 2 for place in places) and not (notebooks and len(places) > 1)


def _is_from_platform(name: str) -> bool:
    """Says whether a platform gave this name to a student's folder or file."""
    patterns = (_MOODLE, _CANVAS, _BLACKBOARD, _GRADESCOPE)
    return any(pattern.fullmatch(name) for pattern in patterns)


# Whose is it?


def identify(file: File, whole: Class) -> Piece | None:
    """Says whose file this is; None if the platform wrote it."""
    if file.parts == (METADATA,) or file.is_timestamp:
        return None
    readers = (_moodle, _blackboard, _canvas, _gradescope, _github, _nbgrader, _plain)
    piece = next(filter(None, (read(file, whole) for read in readers)))
    number, version = 0, piece.version
    # Students give numbers to attempts, and browsers to files of the same name.
    for part in (*file.parts[:-1], PurePath(file.parts[-1]).stem):
        _, its_number, its_version = _split(part)
        number, version = number or its_number, version or its_version
    return dataclasses.replace(piece, number=number, version=version)


# Platforms, in the order in which they are asked


def _moodle(file: File, whole: Class) -> Piece | None:
    """Reads NAME_ID_assignsubmission_KIND_, a folder or the beginning of a file's name."""
    match = _MOODLE.fullmatch(file.parts[0])
    if not match:
        return None
    name, number = as_name(match["name"]), match["id"]
    student = Student(key=f"{name}_{number}", name=name, platform_id=number)
    within = (*filter(None, [match["file"]]), *file.parts[1:]) or file.parts
    # Where files are not in folders, Moodle still expects to see such a folder's name again.
    is_folder = len(file.parts) > 1 and not match["file"]
    folder = file.parts[0] if is_folder else f"{match[1]}_"
    return Piece(file, MOODLE, (student,), within, folder=folder)


def _blackboard(file: File, whole: Class) -> Piece | None:
    """Reads ASSIGNMENT_USER_attempt_TIME_FILE."""
    match = _BLACKBOARD.fullmatch(file.parts[0])
    if not match:
        return None
    try:
        # Blackboard does not say in which time zone; most likely in the one of this machine.
        time = datetime.strptime(match["time"], "%Y-%m-%d-%H-%M-%S").astimezone()
    except (ValueError, OverflowError, OSError):
        time = None
    students = _one(match["who"].removeprefix(whole.blackboard_prefix))
    within = ((match["file"] or "").lstrip("_") or file.parts[0], *file.parts[1:])
    return Piece(file, BLACKBOARD, students, within, group=match["time"], submitted=time)


def _canvas(file: File, whole: Class) -> Piece | None:
    """Reads NAME_LATE_ID_SERIAL_FILE, where FILE ends with "-1" if it was handed in again."""
    match = _CANVAS.fullmatch(file.parts[0])
    if not match:
        return None
    student = Student(key=f"{as_name(match[1])}_{match['id']}", platform_id=match["id"])
    version = _VERSION.fullmatch(PurePath(match["file"]).stem)
    return Piece(
        file,
        CANVAS,
        (student,),
        (match["file"], *file.parts[1:]),
        version=int(version["number"]) if version else 0,
        serial=int(match["serial"]),
        is_late=bool(match["late"]),
    )


def _gradescope(file: File, whole: Class) -> Piece | None:
    """Reads a folder submission_ID; the metadata says whose it is."""
    top = file.parts[0]
    is_known = top in whole.submissions or _GRADESCOPE.fullmatch(top)
    if len(file.parts) == 1 or not is_known:
        return None
    students, time = whole.submissions.get(top, ((), None))
    return Piece(file, GRADESCOPE, students or _one(top), file.parts[1:], group=top, submitted=time)


def _github(file: File, whole: Class) -> Piece | None:
    """Reads a clone, ASSIGNMENT-USER."""
    top = file.parts[0]
    if (top,) not in whole.clones:
        return None
    return Piece(file, GITHUB, _one(top.removeprefix(whole.github_prefix) or top), file.parts[1:])


def _nbgrader(file: File, whole: Class) -> Piece | None:
    """Reads STUDENT/ASSIGNMENT/FILE, in `submitted` or beside a timestamp."""
    place, within = file.parts[:2], file.parts[2:]
    if not within or (whole.name != "submitted" and place not in whole.times):
        return None
    time = whole.times.get(place)
    return Piece(file, NBGRADER, _one(place[0]), within, group=place[1], submitted=time)


def _plain(file: File, whole: Class) -> Piece:
    """Reads any other folder, or a file in the class's own, which is called after its student."""
    top = file.parts[0]
    if len(file.parts) > 1:
        return Piece(file, FOLDERS, _one(_split(top)[0]), file.parts[1:])
    key, *_ = _split(PurePath(top).stem.removesuffix(".ipynb"))
    return Piece(file, SIDE_BY_SIDE, _one(key), file.parts)


# What platforms write


def _read_metadata(file: File, remarks: list[str]) -> dict:
    """Reads Gradescope's metadata: the students of each folder, and when they handed it in."""
    try:
        text = read_regular_file(file.path, MAX_METADATA, METADATA)
        # This loader converts nothing and merges no mappings; the one in C crashes on deep nesting.
        metadata = yaml.load(text, Loader=yaml.BaseLoader)
    except Exception as error:  # PyYAML lets whatever its parser trips over escape
        remarks.append(f"{METADATA}: left out: {one_line(str(error))}")
        return {}
    entries = metadata.items() if isinstance(metadata, dict) else ()
    people: dict[str, Student] = {}
    told = {
        folder: (_read_submitters(entry, people), _read_time(entry.get(":created_at")))
        for folder, entry in entries
        if isinstance(entry, dict)
    }
    return {top: (tuple(people[key] for key in keys), time) for top, (keys, time) in told.items()}


def _read_submitters(entry: dict, people: dict[str, Student]) -> tuple[str, ...]:
    """Returns the keys of a folder's students, and adds to what is known of them."""
    keys = {}
    submitters = entry.get(":submitters")
    for submitter in submitters if isinstance(submitters, list) else ():
        told = submitter.items() if isinstance(submitter, dict) else ()
        told = {k: v for k, v in told if isinstance(v, str) and v not in ("null", "~")}
        sid, email, name = (one_line(told.get(key, "")) for key in (":sid", ":email", ":name"))
        if key := sid or email or name:
            known = people.get(key, Student(key=key, platform_id=sid))
            name, email = known.name or name, known.email or email
            keys[key] = people[key] = dataclasses.replace(known, name=name, email=email)
    return tuple(keys)


def _read_time(value: Any) -> datetime | None:
    """Reads a time such as `2015-02-02 15:58:23.94 America/Los_Angeles`; without a zone, in UTC."""
    words = value.split() if isinstance(value, str) else []
    zone = words.pop() if len(words) > 2 else "UTC"
    try:
        if zone[0] in "+-Z":
            return datetime.fromisoformat(" ".join(words) + zone)
        time = datetime.fromisoformat(" ".join(words))
        return time if time.tzinfo else time.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    except (ValueError, KeyError, OSError):
        return None


def _read_timestamp(file: File, remarks: list[str]) -> datetime | None:
    """Reads the time that nbgrader wrote."""
    try:
        text = read_regular_file(file.path, 1_000, "the timestamp").decode(errors="replace")
    except UnreadableError:
        text = ""
    time = _read_time(text)
    if not time:
        remarks.append(f"{file.shown}: left out: it is not a time with a time zone")
    return time


# Names


def as_name(text: str) -> str:
    """Returns a name that can be shown and compared: of several spellings in Unicode the usual."""
    # Python reads bytes that are no UTF-8 as halves of surrogate pairs; names must stay different.
    text = re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)
    return one_line(unicodedata.normalize("NFC", text)) or "without a name"


def show(parts: Iterable[str]) -> str:
    """Returns a path that can be shown."""
    return one_line("/".join(map(as_name, parts)))


def _one(name: str) -> tuple[Student]:
    """Returns the only student of a piece, of whom no more than a name is known."""
    return (Student(key=as_name(name)),)


def _split(stem: str) -> tuple[str, int, int]:
    """Returns a name without numbers, the attempt's number and the browser's number."""
    number = version = 0
    if copy := _COPY.fullmatch(stem):
        stem, version = copy["stem"], int(copy["number"])
    if attempt := _ATTEMPT.fullmatch(stem):
        stem, number = attempt["stem"] or stem, int(attempt["number"])
    return as_name(stem), number, version


def _find_prefix(names: Iterable[str], end: str) -> str:
    """Returns what all names begin with, up to the last `end`."""
    shared = os.path.commonprefix(list(names))  # noqa: RUF071  # by characters
    return shared[: shared.rfind(end) + 1]
