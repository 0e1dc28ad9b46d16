"""Finds the notebook in what a student handed in: a notebook, or a zip with one in it.

The zip is `hand_in.zip`, which the student's notebook packs, or claims to be.
"""

import stat
from pathlib import Path

from grading import UsageError
from grading.archive import Limits, one_line, unpack
from grading.files import UnreadableError

LIMITS = Limits(members=10_000, member_bytes=200_000_000, total_bytes=1_000_000_000)
MAX_LISTED = 5


def find_notebook(handed_in: Path, folder: Path) -> Path:
    """Returns a notebook: what was handed in, or the only notebook in a zip.

    What came with the notebook in the zip lies beside it then.

    Args:
        handed_in: any file.
        folder: an empty folder for what is in the zip.

    Raises:
        UnreadableError: the zip cannot be unpacked, or holds no notebook, or several.
    """
    if handed_in.suffix.lower() != ".zip":
        return handed_in
    try:
        if not stat.S_ISREG(handed_in.lstat().st_mode):
            raise UnreadableError("this zip is a link, or not a regular file")
        left_out = unpack(handed_in, folder, LIMITS)
    except (OSError, UsageError) as error:
        raise UnreadableError(str(error)) from None
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    notebooks = [path for path in files if path.suffix.lower() == ".ipynb"]
    if len(notebooks) > 1:
        names = _listed(notebooks, folder)
        raise UnreadableError(f"this zip holds {len(notebooks)} notebooks, expected one: {names}")
    if not notebooks:
        found = "; ".join([_listed(files, folder) or "nothing", *left_out[:MAX_LISTED]])
        raise UnreadableError(f"this zip holds no notebook (.ipynb); found {found}")
    return notebooks[0]


def _listed(paths: list[Path], folder: Path) -> str:
    names = [one_line(path.relative_to(folder).as_posix()) for path in paths]
    return ", ".join(names[:MAX_LISTED]) + (", …" if len(names) > MAX_LISTED else "")
