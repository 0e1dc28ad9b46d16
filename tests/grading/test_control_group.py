"""Where a machine has control groups, the kernel bounds what no look at the processes shows."""

import os
import subprocess
from pathlib import Path

import pytest

from grading import control_group, worker
from grading.control_group import ControlGroup, find_hierarchy
from grading.sandbox import Sandbox
from grading.worker import Limits, Worker

pytestmark = pytest.mark.alone
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def _groups():
    with ControlGroup(1 << 30, 64) as group:
        if not group.launcher:
            pytest.skip("this machine lets us make no control group")


def leftovers() -> list[Path]:
    return [*GROUPS.glob(f"**/deep-kung-fu-{os.getpid()}-*")]


@pytest.mark.usefixtures("_groups")
def test_a_command_and_what_it_starts_are_in_the_group():
    with ControlGroup(1 << 30, 64) as group:
        command = [
            *group.launcher,
            "sh",
            "-c",
            "cat /proc/self/cgroup; sh -c 'cat /proc/self/cgroup'",
        ]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.count("/deep-kung-fu-") >= 2
    assert leftovers() == []


@pytest.mark.usefixtures("_groups")
def test_the_kernel_stops_what_the_watcher_does_not_see(monkeypatch):
    monkeypatch.setattr(worker, "SPARE_BYTES", -300 << 20)
    monkeypatch.setattr(worker.Worker, "_excess", lambda self, processes: "")  # it sees nothing
    limits = Limits(memory_bytes=400 << 20, scratch_bytes=16 << 20, call_seconds=30)
    with Worker(Sandbox(), limits) as process:
        assert process.call("shell:evaluate", b"b''").status == "ok"
        reply = process.call("shell:evaluate", b"bytes(bytearray(b'x') * (300 << 20))[:1]")
    assert (reply.status, reply.problem) == (
        "memory",
        "the processes held more than 400 MiB of memory",
    )
    assert leftovers() == []


def test_without_groups_a_worker_is_only_watched(tmp_path, monkeypatch):
    (tmp_path / "mounts").write_text("24 1 0:22 / /proc rw - proc proc rw\n")
    monkeypatch.setattr(control_group, "MOUNTS", tmp_path / "mounts")
    with ControlGroup(1 << 30, 64) as group:
        assert (group.launcher, group.has_overflowed) == ([], False)


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_second_version_is_one_folder_for_all(tmp_path, monkeypatch, is_enabled):
    """Its files behave like plain ones, but for what a new folder holds."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n" if is_enabled else "cpu\n")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"31 1 0:27 / {tmp_path} rw,nosuid - cgroup2 cgroup rw\n")
    monkeypatch.setattr(control_group, "MOUNTS", mounts)
    assert find_hierarchy("memory") == (2, tmp_path)
    if not is_enabled:
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    monkeypatch.setattr(control_group, "REMOVE_SECONDS", 0)
    with ControlGroup(1 << 30, 64) as group:
        (folder,) = tmp_path.glob("deep-kung-fu-*")
        assert group.launcher[4:] == [str(folder / "cgroup.procs"), "--"]
        assert (folder / "memory.max").read_text() == str(1 << 30)
        assert (folder / "pids.max").read_text() == "64"
        assert not group.has_overflowed
        (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
        assert group.has_overflowed
