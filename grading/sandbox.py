"""Runs a command in bubblewrap: without network or secrets, and with little memory to write to.

Inside are the system's libraries and this Python, read-only, and an empty `SCRATCH`. The caller
names anything else that the command may see. Everything that could hurt the machine is limited,
except time and resident memory, which `worker` watches.

There are two ways to get there. An ordinary user gets a user namespace, in which its capabilities
are worthless. Root would keep real capabilities there and could remount a read-only folder, so the
command drops them all, and runs under another uid. Processes are counted by uid, so each slot has
its own.
"""

import contextlib
import errno
import functools
import os
import platform
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[1].resolve()
SCRATCH = Path("/tmp")
FIRST_UID = 60_706  # systemd's table of uids calls 60706 to 61183 unused
SLOTS = 478
UNCLAIMED_SLOTS = 2  # for what is short, and runs no student's code
SHARED_MEMORY_BYTES = 64 << 20
OPEN_FILES = 512
TOOLS = ("bwrap", "prlimit", "setpriv")
SYSTEM = ("/usr", "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime")
CPUS = "/sys/devices/system/cpu"
# Its folder is resolved: Python may be called through a link, or by a path with `..` in it.
PYTHON = str(Path(sys.executable).parent.resolve() / Path(sys.executable).name)
# A Python that cannot read its own library silently uses another one's.
PROBE = (PYTHON, "-Ic", "import sys; print(sys.base_prefix)")
MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

# System calls that allocate memory charged to no process, create namespaces (where a tmpfs has no
# limit), use up what the whole machine shares, tell one sandbox what another reads, or reach much
# of the kernel's least tested code. Numbers: (x86_64, aarch64); -1 where there is no such call.
DENIED = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "fadvise64": (221, 223),
    "fanotify_init": (300, 262),
    "fsetxattr": (190, 7),
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "lsetxattr": (189, 6),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "msgget": (68, 186),
    "perf_event_open": (298, 241),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "shmget": (29, 194),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
# Sockets of other families may reach beyond a network namespace, as AF_VSOCK does, or the kernel.
SOCKET_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
SOCKET_CALLS = {"socket": (41, 198), "socketpair": (53, 199)}
FCNTL, F_NOTIFY = (72, 25), 1026  # tells who else reads a folder
# Where Linux shares processors among sessions, one with many takes them from other gradings. Who
# asks for a session of its own is told that it got one.
SETSID = (112, 157)
CLONE = (56, 220)
CLONE3 = 435  # its flags are in memory, out of a filter's sight; the C library falls back to clone
AUDIT_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
NEW_NAMESPACE_FLAGS = 0x7E02_0000
X32_NUMBERS = 0x4000_0000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97


def system_call_filter(machine: str) -> bytes:
    """Returns the seccomp program that refuses `DENIED` calls, other sockets and new namespaces.

    Args:
        machine: the processor, `x86_64` or `aarch64`, as `platform.machine` names it.

    Raises:
        ValueError: the processor is neither of the two.
    """
    if machine not in AUDIT_ARCHITECTURES:
        raise ValueError(f"no system call filter for {machine}, only for x86_64 and aarch64")
    column = list(AUDIT_ARCHITECTURES).index(machine)
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse = 0x7FFF_0000, 0x0005_0000
    kill = 0x8000_0000
    # struct seccomp_data: the call's number at 0, the architecture at 4, arguments from 16.
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, AUDIT_ARCHITECTURES[machine]),
        (answer, 0, 0, kill),
        (load, 0, 0, 0),
        (at_least, 0, 1, X32_NUMBERS),
        (answer, 0, 0, kill),
        (equal, 0, 1, CLONE3),
        (answer, 0, 0, refuse | ENOSYS),
    ]
    for numbers in DENIED.values():
        if numbers[column] >= 0:
            program += [(equal, 0, 1, numbers[column]), (answer, 0, 0, refuse | EPERM)]
    families = SOCKET_FAMILIES.values()
    for numbers in SOCKET_CALLS.values():
        program += [(equal, 0, len(families) + 3, numbers[column]), (load, 0, 0, 16)]
        program += [(equal, len(families) - i, 0, family) for i, family in enumerate(families)]
        program += [(answer, 0, 0, refuse | EAFNOSUPPORT), (answer, 0, 0, allow)]
    program += [
        (equal, 0, 1, SETSID[column]),
        (answer, 0, 0, refuse),
        (equal, 0, 4, FCNTL[column]),
        (load, 0, 0, 24),
        (equal, 0, 1, F_NOTIFY),
        (answer, 0, 0, refuse | EPERM),
        (answer, 0, 0, allow),
        (equal, 0, 3, CLONE[column]),
        (load, 0, 0, 16),
        (any_bit, 0, 1, NEW_NAMESPACE_FLAGS),
        (answer, 0, 0, refuse | EPERM),
        (answer, 0, 0, allow),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def python_folders(seen: Sequence[Path] = (Path("/usr"),)) -> list[Path]:
    """Returns the folders that this Python needs: the environment, its base, the real program.

    Args:
        seen: folders that are seen anyway.
    """
    folders = []
    for name in (sys.prefix, sys.base_prefix, Path(sys.executable).resolve().parent.parent):
        for folder in (Path(name), Path(name).resolve()):
            if not any(folder.is_relative_to(known) for known in [*seen, *folders]):
                folders.append(folder)
    return folders


def seen_by_students(path: Path) -> Path | None:
    """Returns the folder of the system through which a sandbox would see a file, or None."""
    path = path.resolve()
    folders = python_folders(seen=())
    folders += map(Path, (*SYSTEM, *MERGED)) if not _is_hidden(path) else ()
    return next((folder for folder in folders if path.is_relative_to(folder)), None)


def _is_hidden(path: Path) -> bool:
    """Says whether the project holds a file, which hides it wherever the project lies."""
    # Without this file the folder would be one in which packages are installed.
    return path.is_relative_to(PROJECT) and (PROJECT / "pyproject.toml").exists()


@contextlib.contextmanager
def claimed_slots() -> Iterator[int]:
    """Claims two neighbouring slots, and returns the first; no other grader here gets them.

    Raises:
        RuntimeError: other graders have them all.
    """
    for slot in range(UNCLAIMED_SLOTS, SLOTS - 1, 2):
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                lock.bind(f"\0deep-kung-fu-slot-{slot}")  # gone with this process, however it ends
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise
            yield slot
            return
    raise RuntimeError(f"other graders use all {SLOTS} accounts: let some of them finish first")


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What a sandboxed command may see; `start` runs one.

    Attributes:
        slot: its number among the sandboxes that run side by side, from 0.
        read_only: further files and folders, bound at their own paths.
        hidden: folders that it would otherwise see, and that appear empty.
        environment: variables besides `PATH`, `HOME`, `LANG` and the like; nothing is inherited.
    """

    slot: int = 0
    read_only: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    # A sentence for the report.
    protection = (
        "Submissions ran in bubblewrap: without network, without the solution, other submissions "
        "or environment variables, with nothing to write to but a bounded scratch folder."
    )

    def __post_init__(self) -> None:
        if not 0 <= self.slot < SLOTS:
            raise ValueError(f"slot is {self.slot}, expected 0 to {SLOTS - 1}")

    @contextlib.contextmanager
    def start(
        self,
        command: Sequence[str],
        *,
        processes: int,
        scratch_bytes: int,
        launcher: Sequence[str] = (),
        **options,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Starts a command whose output goes to one pipe; waits for its end on exit.

        The command dies with the *thread* that calls this.

        Args:
            command: program and arguments.
            processes: how many processes and threads it may have.
            scratch_bytes: the size of its scratch folder.
            launcher: the beginning of a command that starts another, from outside.
            options: for `subprocess.Popen`.
        """
        if os.geteuid() == 0:
            identity, command = [], as_user(command, FIRST_UID + self.slot)
        else:
            identity = ["--unshare-user", "--uid", "65534", "--gid", "65534"]
            identity += ["--cap-drop", "ALL", "--disable-userns"]
        command = limit(command, processes=processes, file_bytes=scratch_bytes)
        pass_fds = options.pop("pass_fds", ())
        with tempfile.TemporaryFile() as program:
            program.write(system_call_filter(platform.machine()))
            program.seek(0)
            process = launch(
                [
                    *launcher,
                    *("bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
                    *("--unshare-cgroup-try", *identity, "--hostname", "sandbox"),
                    *("--die-with-parent", "--new-session"),
                    *self._mounts(scratch_bytes),
                    *("--seccomp", str(program.fileno()), "--chdir", str(SCRATCH), "--", *command),
                ],
                environment(SCRATCH, self.environment),
                pass_fds=[*pass_fds, program.fileno()],
                **options,
            )
        with process:
            yield process

    def count_files(self, pid: int) -> int:
        """Returns how many files and folders there are where a process inside can write."""
        try:
            if Path(f"/proc/{pid}/root").samefile("/"):  # still outside
                return 0
            found = [os.statvfs(f"/proc/{pid}/root{folder}") for folder in (SCRATCH, "/dev/shm")]
        except OSError:  # it has ended
            return 0
        return sum(status.f_files - status.f_ffree for status in found)

    def count_sockets(self, pid: int) -> int:
        """Returns how many sockets there are in the network that a process inside sees."""
        try:
            network = Path(f"/proc/{pid}/ns/net").stat()
            if network.st_ino == Path("/proc/self/ns/net").stat().st_ino:  # still outside
                return 0
            used = Path(f"/proc/{pid}/net/sockstat").read_text().split()
        except OSError:  # it has ended
            return 0
        return int(used[2])

    def _mounts(self, scratch_bytes: int) -> list[str]:
        arguments = ["--proc", "/proc", "--dev", "/dev"]
        # Terminals are counted for the whole machine.
        arguments += ["--size", "4096", "--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts"]
        arguments += ["--perms", "1777", "--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"]
        arguments += ["--perms", "1777", "--size", str(scratch_bytes), "--tmpfs", str(SCRATCH)]
        bound = [Path(name) for name in (*SYSTEM, CPUS) if Path(name).exists()]
        for name in map(Path, MERGED):
            if name.is_symlink():
                arguments += ["--symlink", str(name.readlink()), str(name)]
            elif name.exists():
                bound.append(name)
        bound += [*python_folders(), *(path.absolute() for path in self.read_only)]
        # Parents that bubblewrap creates on its own can be entered by root only.
        parents = {parent for path in bound for parent in path.parents[:-1]}
        for parent in sorted(parents - {SCRATCH}):
            if not any(parent.is_relative_to(path) for path in bound):
                arguments += ["--perms", "0755", "--dir", str(parent)]
        for path in bound:
            arguments += ["--ro-bind", str(path), str(path)]
        if _is_hidden(PROJECT) and any(PROJECT.is_relative_to(path) for path in bound):
            arguments += self._hide_project()
        for path in self.hidden:
            arguments += ["--perms", "0755", "--tmpfs", str(path), "--remount-ro", str(path)]
        return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/"]

    def _hide_project(self) -> list[str]:
        """Hides the project where a folder of the system holds it, but for what is bound."""
        needed = [*python_folders(seen=()), *(path.absolute() for path in self.read_only)]
        arguments = ["--perms", "0755", "--tmpfs", str(PROJECT)]
        for path in needed:
            if path.is_relative_to(PROJECT):
                for parent in reversed(path.relative_to(PROJECT).parents[:-1]):
                    arguments += ["--perms", "0755", "--dir", str(PROJECT / parent)]
                arguments += ["--ro-bind", str(path), str(path)]
        return [*arguments, "--remount-ro", str(PROJECT)]


class Unsandboxed(Sandbox):
    """The fallback where namespaces are missing: another account, if root can provide one.

    It limits that account's processes, threads and files, and hides the variables; nothing else.
    """

    @property
    def protection(self) -> str:
        if _other_account_works():
            return (
                "NO SANDBOX: submissions ran under a separate account, with network access, and "
                "could read everything that any account on this machine may read."
            )
        return (
            "NO SANDBOX: submissions ran as the grader itself and could read and change everything "
            "that it can."
        )

    def count_files(self, pid: int) -> int:
        """Returns 0: the scratch folder lies on a disk, with all others."""
        return 0

    def count_sockets(self, pid: int) -> int:
        """Returns 0: its network is the machine's."""
        return 0

    @contextlib.contextmanager
    def start(
        self,
        command: Sequence[str],
        *,
        processes: int,
        scratch_bytes: int,
        launcher: Sequence[str] = (),
        **options,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Starts a command in a scratch folder, which is its home; see `Sandbox.start`."""
        with tempfile.TemporaryDirectory(prefix="scratch-") as folder:
            if _other_account_works():
                os.chown(folder, FIRST_UID + self.slot, -1)
                command = as_user(command, FIRST_UID + self.slot)
                command = limit(command, processes=processes, file_bytes=scratch_bytes)
            variables = environment(Path(folder), self.environment)
            with launch([*launcher, *command], variables, cwd=folder, **options) as process:
                yield process


def limit(command: Sequence[str], *, processes: int, file_bytes: int) -> list[str]:
    # A limit of one byte disables core dumps even if the machine pipes them into a program.
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    core = 1 if most == resource.RLIM_INFINITY else min(most, 1)
    return [
        *("prlimit", f"--nproc={processes}", f"--fsize={file_bytes}", f"--nofile={OPEN_FILES}"),
        *(f"--core={core}", "--", *command),
    ]


def as_user(command: Sequence[str], uid: int) -> list[str]:
    drop = ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", *drop, "--", *command]


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "USER": "student",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **extra,
    }


def launch(command: Sequence[str], variables: Mapping[str, str], **options) -> subprocess.Popen:
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(f"{command[0]} is not installed")
    return subprocess.Popen(
        [program, *command[1:]],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )


@functools.cache
def why_unavailable() -> str:
    """Returns '' if a sandbox works, otherwise why not; tries one on the first call."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"install {', '.join(missing)} (Debian: apt-get install bubblewrap)"
    try:
        with Sandbox().start(PROBE, processes=64, scratch_bytes=SHARED_MEMORY_BYTES) as process:
            said = process.communicate()[0].decode(errors="replace").strip()
    except ValueError as error:
        return str(error)
    if said == sys.base_prefix:
        return ""
    if re.search("namespace|not permitted|denied", said):
        return f"bubblewrap may not make namespaces here, as in most containers ({said})"
    return f"bubblewrap fails here ({said})"


@functools.cache
def _other_account_works() -> bool:
    if os.geteuid() != 0 or not all(map(shutil.which, ("setpriv", "prlimit"))):
        return False
    # Another account may read neither this Python nor the project, say in /root.
    probe = [*PROBE[:-1], f"open({__file__!r}); {PROBE[-1]}"]
    with launch(as_user(probe, FIRST_UID), environment(SCRATCH, {}), cwd="/") as process:
        return process.communicate()[0].decode(errors="replace").strip() == sys.base_prefix
