"""Does what `docs/new-assignment.md` says, block by block, in a copy of the project."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "new-assignment.md"
NOT_NEEDED = ("benchmarks/", "docs/", "tests/", "solutions/kungfu_a2c_pytorch.npz")
NOT_NEEDED += ("solutions/kungfu_a2c_tensorflow.npz",)

_BLOCK = re.compile(
    r"(?:^Save this as `(?P<path>[^`]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks() -> list[re.Match[str]]:
    return list(_BLOCK.finditer(PAGE.read_text()))


def copy_project(folder: Path) -> None:
    """Copies the files that git tracks."""
    command = ["git", "ls-files", "-z", "--cached"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0"):
        if (ROOT / name).is_file() and not name.startswith(NOT_NEEDED):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def run(folder: Path, *command: str, text: str | None = None) -> str:
    """Runs a command there with this Python's environment activated; returns what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    finished = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONSAFEPATH": ""},
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return finished.stdout


def do_block(folder: Path, block: re.Match[str]) -> None:
    """Saves a file, runs Python, or runs a command and compares what it prints."""
    if block["path"]:
        (folder / block["path"]).write_text(block["text"])
    elif block["kind"] == "python":
        assert run(folder, "python", "-", text=block["text"]) == ""
    elif block["kind"] == "console":
        command, expected = re.fullmatch(r"\$ (.+?\n)(.*)", block["text"], re.DOTALL).groups()
        printed = run(folder, "bash", "-c", command)
        lines = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
        # How the protection is described differs between machines.
        is_same = doctest.OutputChecker().check_output(expected, lines, doctest.ELLIPSIS)
        assert is_same, f"the page says\n{expected}\nand it prints\n{printed}"
    else:
        pytest.fail(f"no way to try a block of {block['kind']}")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project in which all that the page says has been done."""
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder)
    for block in blocks():
        do_block(folder, block)
    return folder


def test_the_page_does_what_it_says(project):
    kinds = [block["path"] or block["kind"] for block in blocks()]
    assert kinds.count("assignments/line_fit.py") == 1
    assert kinds.count("console") == 3
    assert kinds.count("python") == 3
    assert (project / "build/reports/ben.html").exists()


def test_an_assignment_needs_two_files_and_the_generated_notebook(project):
    ours = {"assignments/line_fit.py", "solutions/line_fit.ipynb", "notebooks/line_fit.ipynb"}
    files = {path for path in project.rglob("*") if path.is_file()}
    names = {path.relative_to(project).as_posix() for path in files}
    new = {name for name in names if not (ROOT / name).is_file()}
    assert {n for n in new if not n.startswith("build/") and "__pycache__" not in n} == ours
    same = (names - new) - {n for n in names if "__pycache__" in n}
    assert [n for n in same if (project / n).read_bytes() != (ROOT / n).read_bytes()] == []


@pytest.mark.parametrize(
    ("right", "broken", "reason"),
    [
        ('"first/0", "it', '"first/7", "it', "the solution fails fit-line, slope"),
        ('"learning_rate": np', '"rate": np', "unexpected keyword argument 'rate'"),
        ('given=("imports"', 'given=("numpy"', "line_fit.ipynb: it has no cell numpy"),
    ],
)
def test_a_mistake_in_the_module_is_not_the_students_fault(project, right, broken, reason):
    module = project / "assignments" / "line_fit.py"
    source = module.read_text()
    assert source.count(right) == 1
    try:
        module.write_text(source.replace(right, broken))
        printed = run(project, "python", "-m", "grading", "grade", "solutions/line_fit.ipynb")
    finally:
        module.write_text(source)
    assert "total" not in printed
    assert reason in " ".join(printed.split())
