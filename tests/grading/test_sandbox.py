"""The sandbox: attacks from inside fail and leave the machine unchanged.

Every attack runs under the account that runs the tests. If that is root, it also runs as an
ordinary user, whose sandbox is built in another way.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from grading import sandbox
from grading.sandbox import (
    FIRST_UID,
    Sandbox,
    Unsandboxed,
    claimed_slots,
    python_folders,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.alone
NOBODY = 65534
SCRATCH_BYTES = 8 << 20

DRIVER = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from grading.sandbox import Sandbox
source, read_only, processes = json.load(sys.stdin)
box = Sandbox(read_only=[Path(path) for path in read_only], environment={{"GIVEN": "1"}})
command = [sys.executable, "-c", source]
with box.start(command, processes=processes, scratch_bytes={SCRATCH_BYTES}) as process:
    print(process.communicate()[0].decode(), end="")
"""

# `attempt` reports the result of a forbidden action; `call` makes a system call by its number.
PRELUDE = """
import ctypes, fcntl, os, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "DONE"
def attempt(what, *arguments):
    try:
        what(*arguments)
        print("DONE", what, *arguments)
    except OSError as error:
        print(type(error).__name__)
def write(path):
    with open(path, "w") as file:
        file.write("x")
"""


def opened(command: list[str]) -> list[str]:
    """Returns a command that runs another where every account can reach Python and the project."""
    view = ["bwrap", "--dev-bind", "/", "/"]
    for folder in [*python_folders(), ROOT]:
        closed = [path for path in reversed(folder.parents) if not path.stat().st_mode & 0o001]
        if closed:
            shape = ["--perms", "0755", "--tmpfs", str(closed[0])] * (str(closed[0]) not in view)
            for parent in reversed(folder.parents):
                if parent.is_relative_to(closed[0]) and parent != closed[0]:
                    shape += ["--perms", "0755", "--dir", str(parent)]
            view += [*shape, "--ro-bind", str(folder), str(folder)]
    return [*view, "--", *command]


def as_ordinary_user(command: list[str]) -> list[str]:
    """Returns a command that runs another as `nobody`, with access to Python and the project."""
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    return opened([*drop, *command])


@pytest.fixture(params=["own account", "ordinary user"] if os.geteuid() == 0 else ["own account"])
def inside(request):
    """Runs Python source in a sandbox and returns its output."""

    def run(source: str, *, read_only: tuple[Path, ...] = (), processes: int = 64) -> str:
        command = [sys.executable, "-c", DRIVER]
        if request.param == "ordinary user":
            command = as_ordinary_user(command)
        done = subprocess.run(
            command,
            input=json.dumps([PRELUDE + source, list(map(str, read_only)), processes]),
            capture_output=True,
            text=True,
            cwd="/",
            env={**os.environ, "SECRET": "canary"},
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def open_folder():
    """A folder that, unlike `tmp_path`, every account may read and write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def remove_debris(folders: Sequence[str | Path]) -> list[Path]:
    """Removes and returns the files that a leaking sandbox has written."""
    written = [path for path in (Path(folder, "hacked") for folder in folders) if path.exists()]
    for path in written:
        path.unlink()
    return written


def test_a_sandbox_works_here():
    assert sandbox.why_unavailable() == ""


@pytest.mark.parametrize("way", ["./link/bin/python", "../{here}/link/bin/python"])
def test_it_works_however_python_was_called(tmp_path, way):
    (tmp_path / "link").symlink_to(sys.prefix)
    source = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    source += "from grading.sandbox import why_unavailable; print(why_unavailable())"
    command = [way.format(here=tmp_path.name), "-c", source]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.stdout == "\n", finished.stdout + finished.stderr


def test_the_environment_of_the_grader_is_absent(inside):
    printed = inside("""
print(*sorted(os.environ))
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        print(open(f"/proc/{pid}/environ").read())
    except PermissionError:
        pass
""")
    names = "GIVEN HOME LANG PATH PWD PYTHONDONTWRITEBYTECODE TMPDIR USER"
    assert printed.split("\n", 1)[0] == names
    assert "canary" not in printed


def test_files_of_the_machine_are_absent(inside, open_folder):
    secret = open_folder / "solution.ipynb"
    secret.write_text("canary")
    paths = [secret, ROOT / "pyproject.toml", ROOT / "grading", ROOT / "solutions"]
    paths += [Path("/etc/passwd"), Path("/etc/shadow"), Path("/home"), Path("/var"), Path("/run")]
    printed = inside(f"print([path for path in {list(map(str, paths))} if os.path.exists(path)])")
    assert printed == "[]\n"


def test_what_is_bound_can_be_read_and_not_written(inside, open_folder):
    given = open_folder / "given.py"
    given.write_text("x = 1")
    given.chmod(0o666)
    source = f"print(open({str(given)!r}).read()); attempt(write, {str(given)!r})"
    assert inside(source, read_only=(given,)) == "x = 1\nOSError\n"
    assert given.read_text() == "x = 1"


def test_nothing_can_be_written_but_scratch(inside):
    folders = ["/", "/usr", "/etc", "/dev", "/proc/sys/kernel", "/sys/devices/system/cpu"]
    folders += [*map(str, python_folders()), str(Path(sys.prefix) / "lib")]
    printed = inside(f"for folder in {folders}: attempt(write, folder + '/hacked')")
    assert remove_debris(folders) == []
    assert len(printed.splitlines()) == len(folders)
    assert set(printed.splitlines()) <= {"OSError", "PermissionError", "FileNotFoundError"}


@pytest.mark.parametrize(
    ("folder", "size"), [("/tmp", SCRATCH_BYTES), ("/dev/shm", sandbox.SHARED_MEMORY_BYTES)]
)
def test_writable_folders_are_bounded(inside, folder, size):
    printed = inside(f"""
written = 0
try:
    for number in range(1000):
        with open(f"{folder}/{{number}}", "wb", buffering=0) as file:
            written += file.write(bytes(1 << 20))
except OSError as error:
    print(error.strerror, written)
""")
    assert printed.startswith("No space left on device")
    assert size - (1 << 20) <= int(printed.split()[-1]) <= size


def test_a_single_file_is_bounded_wherever_it_lies(inside):
    printed = inside(f"""
with open("/dev/shm/large", "wb", buffering=0) as file:
    file.write(bytes({SCRATCH_BYTES}))
    attempt(file.write, b"x")
""")
    assert printed == "OSError\n"


def test_there_is_no_network(inside):
    name = f"\0sandbox-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name)
        abstract.listen()
        printed = inside(f"""
attempt(socket.create_connection, ("127.0.0.1", {tcp.getsockname()[1]}), 2)
attempt(socket.socket(socket.AF_UNIX).connect, {name!r})
attempt(socket.getaddrinfo, "example.org", 80)
attempt(socket.create_connection, ("192.0.2.1", 80), 2)
""")
    assert printed == "ConnectionRefusedError\nConnectionRefusedError\ngaierror\nOSError\n"


def test_a_read_only_folder_cannot_be_remounted(inside, open_folder):
    (open_folder / "given.py").write_text("x = 1")
    printed = inside(
        f"""
REMOUNT, BIND = 32, 4096
for folder in (b"/usr", {str(open_folder).encode()}, b"/"):
    print(libc.mount(None, folder, None, REMOUNT | BIND, None), ctypes.get_errno())
    attempt(write, folder + b"/hacked")
print(libc.umount2({str(open_folder).encode()}, 2), ctypes.get_errno())
""",
        read_only=(open_folder,),
    )
    assert remove_debris(["/usr", open_folder]) == []
    assert printed == "-1 1\nOSError\n" * 3 + "-1 1\n"


def test_privileges_are_gone_for_good(inside):
    printed = inside("""
for line in open("/proc/self/status"):
    if line.startswith(("Cap", "NoNewPrivs", "Seccomp:", "Groups")):
        print(*line.split())
for number in (0, 1000, 65533):
    attempt(os.setuid, number)
    attempt(os.setgid, number)
attempt(os.setgroups, [0])
attempt(os.chroot, "/tmp")
print(subprocess.run(["su", "-c", "id"], capture_output=True).returncode != 0)
""")
    assert printed.count("0000000000000000\n") == 5
    assert "NoNewPrivs: 1\n" in printed
    assert "Seccomp: 2\n" in printed
    assert "DONE" not in printed
    assert printed.endswith("True\n")


@pytest.mark.parametrize("flag", [0x2_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000])
def test_no_namespace_can_be_made(inside, flag):
    printed = inside(f"""
CLONE = {{"x86_64": 56, "aarch64": 220}}[os.uname().machine]
attempt(lambda: call(CLONE, {flag} | 17, 0, 0, 0, 0))
print(libc.unshare({flag}), ctypes.get_errno())
attempt(lambda: call(435, 0, 0))
""")
    assert printed == "PermissionError\n-1 1\nOSError\n"


def test_memory_charged_to_no_process_is_refused(inside):
    printed = inside("""
attempt(os.memfd_create, "hidden")
write("/tmp/file")
attempt(os.setxattr, "/tmp/file", "user.hidden", b"x" * 1000)
attempt(lambda: os.setxattr("/tmp", "user.hidden", b"x" * 1000, follow_symlinks=False))
print(libc.shmget(0, 1 << 20, 0o1600), ctypes.get_errno())
print(libc.semget(0, 32_000, 0o1600), ctypes.get_errno())
print(libc.ptrace(0, 0, 0, 0), ctypes.get_errno())
""")
    assert printed == "PermissionError\n" * 3 + "-1 1\n" * 3


def test_sockets_are_of_families_that_stay_inside(inside):
    printed = inside("""
AF_VSOCK, AF_ALG, AF_PACKET, AF_NETLINK = 40, 38, 17, 16
for family in (AF_VSOCK, AF_ALG, AF_PACKET, AF_NETLINK):
    attempt(socket.socket, family, socket.SOCK_DGRAM)
    attempt(socket.socketpair, family)
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
    socket.socket(family, socket.SOCK_STREAM).close()
socket.socketpair()
""")
    assert printed == "OSError\n" * 8


def test_what_the_whole_machine_shares_is_not_used_up(inside):
    printed = inside("""
IO_SETUP = {"x86_64": 206, "aarch64": 0}[os.uname().machine]
context = ctypes.c_ulong(0)
attempt(lambda: call(IO_SETUP, 1000, ctypes.byref(context)))
attempt(os.openpty)
attempt(write, "/dev/pts/hacked")
print(os.path.exists("/dev/ptmx"))
""")
    assert printed == "PermissionError\nFileNotFoundError\nOSError\nFalse\n"


def test_what_another_sandbox_reads_is_not_told(inside):
    printed = inside("""
FAN_REPORT_FID, F_NOTIFY, DN_ACCESS = 0x200, 1026, 1
print(libc.inotify_init1(0), ctypes.get_errno())
print(libc.fanotify_init(FAN_REPORT_FID, 0), ctypes.get_errno())
folder = os.open("/usr", os.O_RDONLY)
attempt(fcntl.fcntl, folder, F_NOTIFY, DN_ACCESS)
fcntl.fcntl(folder, fcntl.F_GETFD)
with open(sys.executable, "rb") as file:
    attempt(os.posix_fadvise, file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
""")
    assert printed == "-1 1\n-1 1\nPermissionError\nPermissionError\n"


def test_a_session_of_its_own_takes_no_processor_from_others(inside):
    printed = inside("""
before = os.getsid(0)
os.setsid()
subprocess.run(["true"], start_new_session=True, check=True)
print(os.getsid(0) == before)
""")
    assert printed == "True\n"


def test_processes_of_the_machine_can_be_neither_seen_nor_killed(inside):
    with subprocess.Popen(["sleep", "100"]) as bystander:
        printed = inside(f"""
print(len([name for name in os.listdir("/proc") if name.isdigit()]) < 5)
print(os.path.exists("/proc/{bystander.pid}"))
attempt(os.kill, {bystander.pid}, 9)
assert os.getppid() == 1, "what follows would hit the machine"
attempt(os.kill, -1, 9)
subprocess.run(["pkill", "-9", "sleep|bwrap|pytest"], stderr=subprocess.DEVNULL)
try:
    os.kill(1, 9)
except PermissionError:
    pass  # if permitted, it does nothing: the first process ignores signals from inside
print("alive")
""")
        assert bystander.poll() is None
        bystander.kill()
    assert printed == "True\nFalse\nProcessLookupError\nProcessLookupError\nalive\n"


def test_a_fork_bomb_is_bounded(inside):
    printed = inside(
        """
import time
children = 0
try:
    while children < 200:
        if os.fork() == 0:
            time.sleep(100)
        children += 1
    print("unbounded", children)
except OSError as error:
    print(error.strerror, children, flush=True)
os._exit(0)
""",
        processes=40,
    )
    reason, _, number = printed.strip().rpartition(" ")
    assert reason == "Resource temporarily unavailable"
    assert 20 < int(number) < 40
    assert subprocess.run(["true"]).returncode == 0


def test_threads_count_as_processes(inside):
    printed = inside(
        """
import threading, time
try:
    for number in range(1000):
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
except RuntimeError as error:
    print(error, number < 40, flush=True)
os._exit(0)
""",
        processes=40,
    )
    assert printed == "can't start new thread True\n"


def test_the_project_around_the_environment_is_hidden(tmp_path):
    (tmp_path / "solution.py").write_text("canary")
    python = tmp_path / ".venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], check=True)
    packages = next(python.parents[1].glob("lib/python*/site-packages"))
    (packages / "project.pth").write_text(str(tmp_path))  # as an editable installation does
    source = f"import os, sys; print(os.listdir({str(tmp_path)!r}), sys.prefix)"
    request = json.dumps([source, [], 64])
    printed = subprocess.run(
        [python, "-c", DRIVER], input=request, capture_output=True, text=True, check=True
    ).stdout
    assert printed == f"['.venv'] {python.parents[1]}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="moves the project to another place")
@pytest.mark.parametrize("environment_is_inside", [True, False])
def test_a_project_below_a_folder_of_the_system_is_hidden(tmp_path, environment_is_inside):
    place = Path("/usr/src/app")
    (tmp_path / "grading/inside").mkdir(parents=True)
    for name in ("__init__.py", "sandbox.py", "inside/serve.py"):
        shutil.copy(ROOT / "grading" / name, tmp_path / "grading" / name)
    for name in ("pyproject.toml", "solution.ipynb", ".env"):
        (tmp_path / name).write_text("canary")
    python = Path(sys.executable)
    source = f"""
import sys
for folder, _, files in os.walk({str(place)!r}):
    print(folder, *files) if "/.venv" not in folder else None
print(os.path.exists("/usr/bin/env"), {str(place)!r} in sys.prefix)
"""
    request = json.dumps(["import os\n" + source, [str(place / "grading/inside")], 64])
    view = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", "/usr/src", "--bind", tmp_path, place]
    if environment_is_inside:
        python = place / ".venv/bin" / python.name
        view += ["--bind", sys.prefix, place / ".venv"]
    driver = DRIVER.replace(str(ROOT), str(place))
    printed = subprocess.run(
        [*view, "--", python, "-P", "-c", driver], input=request, capture_output=True, text=True
    )
    told = printed.stdout.splitlines()
    assert told[-1] == f"True {environment_is_inside}", printed.stdout + printed.stderr
    assert {line.rstrip() for line in told[:-1]} == {
        str(place),
        f"{place}/grading",
        f"{place}/grading/inside serve.py",
    }


def test_a_folder_that_every_submission_can_read_is_known(tmp_path):
    assert sandbox.seen_by_students(tmp_path) is None
    assert sandbox.seen_by_students(ROOT / "solutions") is None
    assert sandbox.seen_by_students(Path("/usr/share/course")) == Path("/usr")
    assert sandbox.seen_by_students(Path(sys.prefix) / "share") is not None


def test_a_machine_without_core_dumps_can_grade():
    source = f"""
import resource, subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from grading.sandbox import why_unavailable
print(why_unavailable())
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr


def test_it_dies_with_the_grader():
    source = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from grading.sandbox import Sandbox
with Sandbox().start(["sleep", "4321"], processes=64, scratch_bytes=1 << 20) as process:
    print(process.pid, flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as grader:
        pid = int(grader.stdout.readline())
        time.sleep(0.2)
        grader.kill()
    deadline = time.monotonic() + 5
    while subprocess.run(["pgrep", "-f", "^sleep 4321"], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline, f"the sandbox outlived the grader: {pid}"
        time.sleep(0.01)


@pytest.mark.parametrize("slot", [0, 7])
def test_the_account_inside_belongs_to_nobody_else(slot):
    box = Sandbox(slot=slot)
    with box.start(["id", "-u"], processes=64, scratch_bytes=SCRATCH_BYTES) as process:
        uid = int(process.communicate()[0])
    assert uid == (FIRST_UID + slot if os.geteuid() == 0 else NOBODY)


@pytest.mark.parametrize("slot", [-1, 478])
def test_slots_are_limited(slot):
    for kind in (Sandbox, Unsandboxed):
        with pytest.raises(ValueError, match=f"slot is {slot}, expected 0 to 477"):
            kind(slot=slot)


def test_graders_side_by_side_never_share_an_account():
    claim = "from grading.sandbox import claimed_slots\nwith claimed_slots() as slot: "
    with claimed_slots() as first, claimed_slots() as second:
        assert abs(first - second) >= 2
        printed = subprocess.check_output([sys.executable, "-c", claim + "print(slot)"], text=True)
        assert int(printed) not in (first, second)
    source = claim + "print(slot, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        theirs = int(other.stdout.readline())
        other.kill()  # whoever claimed one and was killed has it no more
        other.wait()
        with claimed_slots() as slot:
            assert slot <= theirs


def test_no_account_left_is_said(monkeypatch):
    monkeypatch.setattr(sandbox, "SLOTS", sandbox.UNCLAIMED_SLOTS)
    with pytest.raises(RuntimeError, match="other graders use all"), claimed_slots():
        pass


def test_missing_programs_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    sandbox.why_unavailable.cache_clear()
    try:
        assert sandbox.why_unavailable() == (
            "install bwrap, prlimit, setpriv (Debian: apt-get install bubblewrap)"
        )
    finally:
        sandbox.why_unavailable.cache_clear()


WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up capabilities")
@pytest.mark.parametrize(
    "container",
    [
        WITHOUT_CAPABILITIES,
        ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"],
        [
            *("setpriv", "--reuid=60000", "--regid=60000", "--clear-groups"),
            *("bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"),
        ],
    ],
)
def test_a_container_without_namespaces_is_refused_in_these_words(container):
    command = [sys.executable, "-m", "grading", "grade", "notebooks/kungfu_a2c_pytorch.ipynb"]
    done = subprocess.run(opened([*container, *command]), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    assert "no sandbox for student code: bubblewrap may not make namespaces here" in done.stderr
    assert done.stderr.rstrip().endswith("or take the risk with --no-sandbox")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up capabilities")
def test_a_container_without_namespaces_has_a_second_best_that_is_told(tmp_path):
    notebook = tmp_path / "homework.ipynb"
    notebook.write_text("{}")
    command = [sys.executable, "-m", "grading", "grade", "--no-sandbox", str(notebook)]
    done = subprocess.run(
        [*WITHOUT_CAPABILITIES, *command], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.startswith("NO SANDBOX: submissions ran as the grader itself"), done.stderr


def test_an_unknown_processor_has_no_filter():
    with pytest.raises(ValueError, match="no system call filter for riscv64"):
        sandbox.system_call_filter("riscv64")


def test_without_a_sandbox_the_report_says_so():
    box = Unsandboxed(environment={"GIVEN": "1"})
    assert box.protection.startswith("NO SANDBOX: submissions ran")
    with box.start(
        ["sh", "-c", 'echo "$GIVEN" "$SECRET" "$HOME" "$PWD"'],
        processes=64,
        scratch_bytes=SCRATCH_BYTES,
    ) as process:
        given, home, here = process.communicate()[0].decode().split()
        assert (given, home) == ("1", here)
        assert Path(home).is_dir()
    assert not Path(home).exists()


def test_without_a_sandbox_another_account_serves_only_if_it_can_read_the_project(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    shutil.copytree(ROOT / "grading", tmp_path / "closed" / "grading")
    source = """
import sys
sys.path.insert(0, sys.argv[1])
from grading.sandbox import Unsandboxed
from grading.worker import Limits, Worker
with Worker(Unsandboxed(), Limits()) as worker:
    print(worker.call("shell:evaluate", b"str(__import__('os').getuid()).encode()").data.decode())
"""
    users = []
    for project in (ROOT, tmp_path / "closed"):
        command = opened([sys.executable, "-c", source, str(project)])
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr
        users.append(int(done.stdout))
    assert users == ([FIRST_UID, 0] if os.geteuid() == 0 else [os.geteuid()] * 2)
