"""Collects the submissions of a class, in whatever form a platform hands them out.

Files are found, a zip counting as the folder that it holds; `layouts` says whose each is; the files
of a student become attempts. Nothing is changed, executed or followed in what was collected.
"""

import dataclasses
import functools
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from grading import UsageError
from grading.archive import IGNORED, one_line, unpack
from grading.classroom.layouts import SIDE_BY_SIDE, Class, File, Piece, enter, identify, show
from grading.classroom.records import Attempt, Student
from grading.handed_in import LIMITS as STUDENT_LIMITS

ALL_ZIPS = 20_000_000_000  # bytes that all students' zips may unpack to

# What a student may hand in by mistake beside the others' notebooks; other files are nobody's.
MISTAKEN = (".7z", ".doc", ".docx", ".gz", ".htm", ".html", ".ipynb.json", ".ipynb.txt", ".odt")
MISTAKEN += (".pdf", ".py.txt", ".rar", ".tar", ".tgz", ".zip")


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
    whole = enter(_find_files(source, scratch))
    pieces = [piece for file in whole.files if (piece := identify(file, whole))]
    students = {student.key: student for piece in pieces for student in piece.students}
    by_key: dict[str, list[Piece]] = {}
    for piece in pieces:
        for student in piece.students:
            by_key.setdefault(student.key, []).append(piece)
    loose = (p for p in pieces if p.layout == SIDE_BY_SIDE and p.file.is_notebook)
    owners = {student.key for piece in loose for student in piece.students}
    _settle_loose(by_key, owners, whole.remarks)
    answers = functools.cache(answers)  # a group's notebook is asked about once
    attempts = []
    for key in sorted(by_key):
        is_crowded = len(owners) > 1
        attempts += _attempts(students[key], by_key[key], is_crowded, answers, whole.remarks)
    if not attempts:
        shown = one_line(str(source))
        whole.remarks.append(f"nothing that a student handed in was found in {shown}")
    layouts = Counter(pieces[0].layout for pieces in by_key.values())
    layout = layouts.most_common(1)[0][0] if layouts else SIDE_BY_SIDE
    return Collection(layout, tuple(attempts), tuple(whole.remarks))


# Files


def _find_files(source: Path, scratch: Path) -> Class:
    """Finds all files, also those in zips."""
    scratch.mkdir(parents=True, exist_ok=True)
    folder, remarks = source, []
    if not source.is_dir():
        if not source.is_file():
            raise UsageError(f"there is no folder or zip file {source}")
        folder = Path(tempfile.mkdtemp(prefix="class-", dir=scratch))
        remarks += unpack(source, folder)
    found, clones = _walk(folder, (), remarks)
    files = []
    room = ALL_ZIPS
    for file in found:
        unpacked = [file] if file.ending != ".zip" else _unpack_one(file, scratch, room, remarks)
        room -= sum(inner.path.stat().st_size for inner in unpacked if inner.num_inside)
        files += unpacked
    return Class(name=source.absolute().stem, files=files, clones=clones, remarks=remarks)


def _walk(
    folder: Path, parts: tuple[str, ...], remarks: list[str]
) -> tuple[list[File], set[tuple[str, ...]]]:
    """Returns the regular files below a folder, and which folders are clones."""
    files, clones, folders = [], set(), [(folder, parts)]
    while folders:
        folder, parts = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            remarks.append(f"{show(parts)}: left out: it cannot be read: {error.strerror}")
            continue
        for entry in entries:
            here = (*parts, entry.name)
            if entry.name == ".git":
                clones.add(parts)
            if entry.name.startswith(".") or entry.name == IGNORED:
                continue
            if entry.is_symlink():
                remarks.append(f"{show(here)}: left out: it is a link")
            elif entry.is_dir(follow_symlinks=False):
                folders.append((Path(entry.path), here))
            elif entry.is_file(follow_symlinks=False):
                modified = entry.stat(follow_symlinks=False).st_mtime
                files.append(File(parts=here, path=Path(entry.path), modified=modified))
            else:
                remarks.append(f"{show(here)}: left out: it is not a regular file")
    return sorted(files, key=lambda file: file.parts), clones


def _unpack_one(file: File, scratch: Path, room: int, remarks: list[str]) -> list[File]:
    """Returns the files in a student's zip; the zip itself if there are none."""
    folder = Path(tempfile.mkdtemp(prefix="zip-", dir=scratch))
    limits = dataclasses.replace(STUDENT_LIMITS, total_bytes=min(room, STUDENT_LIMITS.total_bytes))
    try:
        notes = unpack(file.path, folder, limits)
    except UsageError as error:
        remarks.append(f"{file.shown}: left out: {error}")
        return [dataclasses.replace(file, note=str(error))]
    remarks += (f"{file.shown}: {note}" for note in notes)
    outer = (*file.parts[:-1], PurePath(file.parts[-1]).stem)
    files, _ = _walk(folder, outer, remarks)
    inner = [file.shown for file in files if file.ending == ".zip"]
    remarks += (f"{shown}: not unpacked: it is a zip within a zip" for shown in inner)
    files = [dataclasses.replace(f, num_inside=len(f.parts) - len(outer)) for f in files]
    return files or [dataclasses.replace(file, note="nothing in it can be unpacked")]


# Attempts


def _settle_loose(by_key: dict[str, list[Piece]], owners: set[str], remarks: list[str]) -> None:
    """Decides about files that share a folder with notebooks, and are called after nobody.

    Weights are the owner's if there is only one. What looks handed in by mistake is a student's
    whose notebook is missing, unless its name begins with that of a student who is there.
    """
    loose = {
        key
        for key, pieces in by_key.items()
        if all(p.layout == SIDE_BY_SIDE and not p.file.is_notebook for p in pieces)
    }
    known = "|".join(map(re.escape, by_key.keys() - loose)) or "(?!)"
    for key in sorted(loose):
        pieces = by_key[key]
        is_mistake = any(p.file.parts[0].lower().endswith(MISTAKEN) for p in pieces)
        if len(owners) == 1 and any(p.file.ending == ".npz" for p in pieces):
            by_key[min(owners)] += by_key.pop(key)
        elif not is_mistake or re.match(rf"({known})(?![^\W_])", key, re.IGNORECASE):
            remarks += (f"{p.file.shown}: left out: it belongs to no notebook" for p in pieces)
            del by_key[key]


def _attempts(
    student: Student, pieces: list[Piece], is_crowded: bool, answers: Callable, remarks: list[str]
) -> Iterator[Attempt]:
    """Yields the attempts of one student, the oldest first; other students' may be beside them."""
    notebooks = [piece for piece in pieces if piece.file.is_notebook]
    if not notebooks:
        yield _without_notebook(student, pieces)
        return
    for notebook in _choose_notebooks(notebooks, answers, student, remarks):
        yield Attempt(
            student=student,
            notebook=notebook.file.path,
            attachments=_find_attachments(notebook, pieces, is_crowded),
            label=notebook.file.shown,
            folder=notebook.folder,
            submitted=notebook.submitted,
            is_late=notebook.is_late,
        )
    for group in sorted({p.group for p in pieces} - {p.group for p in notebooks}):
        found = _list(piece for piece in pieces if piece.group == group)
        remarks.append(f"{student.key}: {one_line(group)} holds no notebook; found {found}")


def _without_notebook(student: Student, pieces: list[Piece]) -> Attempt:
    """Returns an attempt that says what came instead of a notebook."""
    newest = max(pieces, key=lambda piece: piece.order)
    # Of Moodle's folders, the one for files is where feedback belongs.
    folders = sorted({piece.folder for piece in pieces})
    folder = next((name for name in folders if "assignsubmission_file" in name), folders[0])
    return Attempt(
        student=student,
        notebook=None,
        label=newest.file.shown,
        folder=folder,
        submitted=newest.submitted,
        is_late=newest.is_late,
        problem=f"no notebook was handed in; found {_list(pieces)}",
    )


def _list(pieces: Iterable[Piece]) -> str:
    """Lists what came in the place of a notebook."""
    notes = {show(piece.within): piece.file.note for piece in pieces}
    names = [f"{name} ({note})" if note else name for name, note in sorted(notes.items())]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _choose_notebooks(
    notebooks: list[Piece], answers: Callable, student: Student, remarks: list[str]
) -> list[Piece]:
    """Orders notebooks by age, without those that the student did not touch if others remain."""
    notebooks = sorted(notebooks, key=lambda piece: piece.order)
    if len(notebooks) == 1:
        return notebooks
    verdicts = {piece.file.parts: answers(piece.file.path) for piece in notebooks}
    untouched = [p for p in notebooks if any(verdicts.values()) and verdicts[p.file.parts] is False]
    for piece in untouched:
        remarks.append(f"{student.key}: {piece.file.shown} left out: it answers nothing")
    kept = [piece for piece in notebooks if piece not in untouched]
    last = kept[-1]
    together = [p.file.shown for p in kept if (p.rank, p.group) == (last.rank, last.group)]
    if len(together) > 1:
        names = ", ".join(together[:5])
        remarks.append(f"{student.key}: {names} came together; {last.file.shown} counts")
    return kept


def _find_attachments(notebook: Piece, pieces: list[Piece], is_crowded: bool) -> tuple[Path, ...]:
    """Returns the weights that came with a notebook, the likeliest first."""
    found = [p for p in pieces if p.file.ending == ".npz" and p.group == notebook.group]
    if is_crowded and notebook.layout == SIDE_BY_SIDE:
        found = [p for p in found if p.stem == notebook.stem]
    numbered = [p for p in found if p.number == notebook.number]
    found = numbered or [p for p in found if not p.number]
    if len({p.version for p in pieces if p.file.is_notebook}) > 1:
        found = [p for p in found if p.version == notebook.version] or found

    def unlikeliness(weights: Piece) -> tuple:
        return (
            weights.stem.casefold() != notebook.stem.casefold(),
            weights.within[:-1] != notebook.within[:-1],
            weights.version != notebook.version,
            not weights.stem.casefold().startswith("kungfu_weights"),
            weights.file.parts,
        )

    return tuple(weights.file.path for weights in sorted(found, key=unlikeliness))
