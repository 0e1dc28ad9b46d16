"""Reads and writes files where others may have put links, pipes and half-written files."""

import os
import secrets
import stat
from pathlib import Path

from grading import UsageError


class UnreadableError(ValueError):
    """A file is not what it should be, or cannot be read; the message is for the student."""


def read_regular_file(path: Path, max_bytes: int, what: str = "this file") -> bytes:
    """Reads a file that somebody else made.

    Raises:
        UnreadableError: it is a link, a pipe or a device, too large, or unreadable.
    """

    def open_unfollowed(name, flags):
        # A link could lead to any of the teacher's files, and opening a FIFO would block.
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)

    try:
        with open(path, "rb", opener=open_unfollowed) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"{what} is not a regular file")
            if status.st_size > max_bytes:
                size = f"{status.st_size:,} bytes, over {max_bytes:,}"
                raise UnreadableError(f"{what} has {size}")
            return file.read(status.st_size)
    except OSError as error:
        if path.is_symlink():
            reason = f"{what} is a symbolic link, which is not followed"
        else:
            reason = f"{what} cannot be read: {error.strerror}"
        raise UnreadableError(reason) from None


def find_attachment(notebook: Path, written_name: str) -> tuple[Path | None, str]:
    """Finds the file handed in with a notebook.

    Args:
        notebook: the submission.
        written_name: the file that the assignment's notebook writes.

    Returns:
        The file with the notebook's own name. If no other notebook shares the folder, the file with
        the written name, or else the only one with its ending, will do. If there is none of these,
        None and what was looked for.
    """
    ending = Path(written_name).suffix
    own = notebook.with_suffix(ending)
    if os.path.lexists(own):
        return own, ""
    if len(list(notebook.parent.glob("*.ipynb"))) > 1:
        return None, f"{own.name} beside the notebook (other notebooks share its folder)"
    if os.path.lexists(notebook.parent / written_name):
        return notebook.parent / written_name, ""
    looked_for = f"{own.name}, {written_name}"
    found = sorted(notebook.parent.glob(f"*{ending}"))
    if len(found) == 1:
        return found[0], ""
    if found:
        names = ", ".join(path.name for path in found[:5])
        return None, f"{looked_for}; found {names}: rename the right one"
    return None, f"{looked_for}, or a single {ending} file beside the notebook"


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file completely or not at all; replaces what is at its path, even a link.

    Raises:
        UsageError: its folder does not exist.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    draft = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        with draft.open("xb") as file:
            file.write(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
