"""A control group for each worker, where the machine lets us make one.

The kernel charges a group for everything that its processes make it hold, buffers of sockets, page
tables and files in memory included, which no look at the processes shows. Root can make groups, but
for most containers; elsewhere a worker is only watched. See Linux's `cgroup-v2.rst` and
`cgroup-v1/memory.rst`.
"""

import contextlib
import itertools
import os
import re
import time
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
LIMITS = {1: "memory.limit_in_bytes", 2: "memory.max"}  # by the version of control groups
COUNTS = {1: "memory.oom_control", 2: "memory.events"}  # where it says how often it was too much
# Joins groups, then becomes the command: all that it starts is in them from the first moment.
JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
REMOVE_SECONDS = 5

_numbers = itertools.count()


class ControlGroup(contextlib.AbstractContextManager):
    """Limits the memory and the number of the processes that start in it; gone on exit.

    Args:
        memory_bytes: all memory that is charged to the group; beyond it, the kernel kills.
        processes: processes and threads.

    Attributes:
        launcher: the beginning of a command that starts another in the group; empty if this machine
            lets us make none.
    """

    def __init__(self, memory_bytes: int, processes: int):
        self._name = f"deep-kung-fu-{os.getpid()}-{next(_numbers)}"
        self._folders: dict[Path, None] = {}  # in order; with version 2 there is one for all
        self._counts: Path | None = None
        with contextlib.suppress(OSError):
            version, parent = find_hierarchy("memory")
            folder = self._limit(parent, LIMITS[version], memory_bytes)
            self._counts = folder / COUNTS[version]
        with contextlib.suppress(OSError):
            _, parent = find_hierarchy("pids")
            self._limit(parent, "pids.max", processes)
        files = [str(folder / "cgroup.procs") for folder in self._folders]
        self.launcher = ["/bin/sh", "-c", JOIN, "sh", *files, "--"] if files else []

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + REMOVE_SECONDS
        for folder in self._folders:
            while True:
                try:
                    folder.rmdir()
                    break
                except OSError:  # its last processes are still ending
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.01)

    @property
    def has_overflowed(self) -> bool:
        """Whether the kernel has killed a process because the group held too much memory."""
        try:
            counts = self._counts.read_text() if self._counts else ""
        except OSError:
            return False
        return re.search(r"^oom_kill [1-9]", counts, re.MULTILINE) is not None

    def _limit(self, parent: Path, file: str, limit: int) -> Path:
        """Sets a limit in a group below a folder, and returns the group's own folder.

        Raises:
            OSError: that is impossible; a group without limits does no harm.
        """
        folder = parent / self._name
        folder.mkdir(exist_ok=True)
        self._folders[folder] = None
        (folder / file).write_text(str(limit))
        return folder


def find_hierarchy(controller: str) -> tuple[int, Path]:
    """Returns the version of control groups that has a controller, and the folder of all of them.

    Raises:
        OSError: there is none, or it is not ours to use.
    """
    for line in MOUNTS.read_text().splitlines():
        place, _, rest = line.partition(" - ")
        folder, (kind, _, options) = Path(place.split()[4]), rest.split()[:3]
        if kind == "cgroup" and controller in options.split(","):
            return 1, folder
        if kind == "cgroup2" and controller in (folder / "cgroup.controllers").read_text().split():
            control = folder / "cgroup.subtree_control"
            if controller not in control.read_text().split():
                control.write_text(f"+{controller}")
            return 2, folder
    raise FileNotFoundError(f"no control groups limit {controller} here")
