"""The workflows for GitHub, and the container in which students can work there.

One workflow runs students' checks, one tries the student kit on other systems, one is the example
that grades a class.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from grading.project import load_project
from tests.notebooks import ROOT, copy_kit, filled, solution_path, student_path

CHECKS = ROOT / ".github/workflows/checks.yml"
CI = ROOT / ".github/workflows/ci.yml"
CLASS = ROOT / "docs/grade-class.yml"
CONTAINER = ROOT / ".devcontainer/devcontainer.json"
EVENTS = True  # what YAML 1.1 reads for the key `on`
each_workflow = pytest.mark.parametrize("path", [CHECKS, CI, CLASS], ids=lambda path: path.stem)


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def steps_of(path: Path) -> list[dict]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def run_step(path: Path, name: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs a step's commands as GitHub does, with this Python for `python`."""
    (step,) = [step for step in steps_of(path) if step.get("name") == name]
    search = [*filter(None, [variables.pop("PATH", "")]), str(Path(sys.executable).parent)]
    variables |= {"PATH": ":".join([*search, os.environ["PATH"]]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


def write_fake(folder: Path, name: str, body: str) -> str:
    """Writes a stand-in for a program; returns the folder, for PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f'#!/bin/bash\necho "{name} $*" >>"$LOG"\n{body}\n')
    (folder / name).chmod(0o755)
    return str(folder)


@each_workflow
def test_nothing_may_be_written(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    assert "pull_request_target" not in workflow[EVENTS]
    for step in steps_of(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each_workflow
def test_actions_are_pinned(path):
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@each_workflow
def test_commands_are_well_formed_and_take_nothing_from_outside(path):
    for step in steps_of(path):
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)
            assert "${{" not in step["run"]  # a name could hold commands
    assert all("timeout-minutes" in job for job in read(path)["jobs"].values())


# Students' checks


def test_every_notebook_is_checked_with_its_own_packages():
    entries = read(CHECKS)["jobs"]["checks"]["strategy"]["matrix"]["include"]
    notebooks = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(entry["notebook"] for entry in entries) == notebooks
    for entry in entries:
        assert entry["requirements"] in load_project(ROOT).helper_names
        framework = Path(entry["notebook"]).stem.split("_")[-1].replace("pytorch", "torch")
        assert re.search(rf"^{framework}\b", (ROOT / entry["requirements"]).read_text(), re.M)


def test_the_checks_never_start_here():
    """GitHub's `*` stands for no folder."""
    assert read(CHECKS)[EVENTS]["push"]["paths"] == ["*.ipynb"]
    assert not list(ROOT.glob("*.ipynb"))


def test_only_a_notebook_that_was_changed_is_checked(tmp_path):
    def git(*arguments: str) -> None:
        names = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        subprocess.run(["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def begun(notebook: str) -> str:
        output = tmp_path / "output"
        output.write_text("")
        variables = {"NOTEBOOK": notebook, "GITHUB_OUTPUT": str(output)}
        done = run_step(CHECKS, "Has it been filled in?", tmp_path, **variables)
        assert done.returncode == 0, done.stderr
        return output.read_text()

    git("init", "--quiet")
    for name in ("a.ipynb", "b.ipynb"):
        (tmp_path / name).write_text("{}")
    git("add", "a.ipynb", "b.ipynb")
    git("commit", "--message", "the template")
    assert begun("a.ipynb") == ""
    (tmp_path / "a.ipynb").write_text('{"cells": []}')
    git("rm", "b.ipynb")
    git("commit", "--all", "--message", "my work")
    assert [begun(name) for name in ("a.ipynb", "b.ipynb", "c.ipynb")] == ["yes=true\n", "", ""]
    conditions = [step.get("if") for step in steps_of(CHECKS)[2:]]
    assert conditions == ["steps.begun.outputs.yes"] * len(conditions)


def test_the_packages_of_the_notebook_are_installed(tmp_path):
    path = write_fake(tmp_path / "fakes", "pip", "")
    log = tmp_path / "log"
    variables = {"PATH": path, "LOG": str(log), "REQUIREMENTS": "requirements-pytorch.txt"}
    assert run_step(CHECKS, "Install", tmp_path, **variables).returncode == 0
    assert log.read_text() == "pip install --quiet --requirement requirements-pytorch.txt\n"


@pytest.mark.pytorch
def test_the_checks_show_points_and_fail_until_all_are_there(tmp_path):
    copy_kit(tmp_path)
    name = student_path("pytorch").name
    shutil.copy(student_path("pytorch"), tmp_path)
    unfilled = run_step(CHECKS, "Check", tmp_path, NOTEBOOK=name)
    assert unfilled.returncode == 1
    assert re.search(r"^total +\d+ / 80$", unfilled.stdout, re.MULTILINE), unfilled.stdout
    nbformat.write(filled("pytorch"), tmp_path / name)
    finished = run_step(CHECKS, "Check", tmp_path, NOTEBOOK=name)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"^total +80 / 80$", finished.stdout, re.MULTILINE)


# The student kit on other systems

# What Python lacks on Windows, as far as somebody might want it.
NOT_ON_WINDOWS = {
    *("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"),
    *("fork", "geteuid", "getpgid", "getuid", "killpg", "mkfifo", "setsid", "sysconf", "uname"),
    *("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "alarm", "setitimer"),
}


def test_the_kit_is_tried_wherever_students_may_use_it():
    job = read(CI)["jobs"]["student-kit"]
    matrix = job["strategy"]["matrix"]
    assert [s.partition("-")[0] for s in matrix["system"]] == ["ubuntu", "windows", "macos"]
    makefile = (ROOT / "Makefile").read_text()
    first, last = map(int, re.search(r"\(3, (\d+)\) <= .* <= \(3, (\d+)\)", makefile).groups())
    assert matrix["python"] == [f"3.{minor}" for minor in range(first, last + 1)]
    assert job["runs-on"] == "${{ matrix.system }}"
    (setup,) = [s for s in job["steps"] if s.get("uses", "").startswith("actions/setup-python@")]
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    assert job["strategy"]["fail-fast"] is False


def test_every_systems_own_shell_understands_the_commands():
    workflow = read(CI)
    for part in (workflow, *workflow["jobs"].values(), *steps_of(CI)):
        assert not {"shell", "defaults"} & part.keys()  # so it is PowerShell on Windows
    commands = [step["run"] for step in steps_of(CI) if "run" in step]
    assert commands
    for command in commands:
        assert re.fullmatch(r"python -m \w+( ([\w./-]+|\"[\w ]+\"))+", command), command


def test_solutions_are_checked_as_soon_as_their_packages_are_there():
    """Else a package that the one list lacks could come from elsewhere."""
    commands = [step["run"] for step in steps_of(CI) if "run" in step]
    for framework, name in (("tensorflow", ""), ("pytorch", "-pytorch")):
        install = f"python -m pip install --quiet --requirement requirements{name}.txt"
        following = commands[commands.index(install) + 1]
        notebook = solution_path(framework).relative_to(ROOT).as_posix()
        assert following == f"python -m checks {notebook}"


def test_the_lists_of_packages_differ_in_the_framework_alone():
    paths = ROOT / "requirements.txt", ROOT / "requirements-pytorch.txt"
    one, other = ({*re.findall(r"^[a-z].*", path.read_text(), re.M)} for path in paths)
    differing = [*one - other, *other - one]
    assert [line.partition(">")[0] for line in differing] == ["tensorflow", "torch"]


def files_of(paths: list[Path]) -> set[Path]:
    """Returns Python files of ours and all that they import of ours."""
    found, new = set(), {*paths}
    while new:
        path = new.pop()
        found.add(path)
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        bases = [ROOT / name.replace(".", "/") for name in names]
        files = {f for base in bases for f in (base.with_suffix(".py"), base / "__init__.py")}
        new |= {file for file in files if file.is_file()} - found
    return found


def lacking_on_windows(source: str) -> set[str]:
    """Returns what a file uses that Windows lacks, but for tests that are left out there."""
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if "pytest.mark.posix" not in map(ast.unparse, getattr(node, "decorator_list", ()))
    ]
    return NOT_ON_WINDOWS & {*re.findall(r"\w+", ast.unparse(tree))}


def test_what_is_tried_needs_nothing_that_windows_lacks():
    words = {word for step in steps_of(CI) for word in step.get("run", "").split()}
    tests = [ROOT / word for word in words if word.endswith(".py")]
    assert {path.stem for path in tests} >= {"test_atari_util", "test_env_pool", "test_training"}
    shipped = [path for path in load_project(ROOT).helpers if path.suffix == ".py"]
    files = files_of([*tests, *shipped, *ROOT.glob("tests/training_*.py")])
    assert ROOT / "learners.py" in files
    lacking = {f: lacking_on_windows(f.read_text(encoding="utf-8")) for f in files}
    assert {file.name: names for file, names in lacking.items() if names} == {}
    assert lacking_on_windows("import fcntl\n@pytest.mark.posix\ndef test():\n    fork()") == {
        "fcntl"
    }


def test_files_are_read_and_written_in_the_same_encoding_everywhere():
    rule = ["--isolated", "--preview", "--select", "PLW1514"]
    paths = [*load_project(ROOT).helpers, *(ROOT / "solutions").glob("*.ipynb")]
    paths = [path for path in paths if path.suffix in (".py", ".ipynb")]
    command = [sys.executable, "-m", "ruff", "check", *rule, *paths]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout


# What ships


def test_students_get_the_container_and_their_own_workflow():
    shipped = load_project(ROOT).shipped
    assert {name for name in shipped if name.startswith(".")} == {
        CHECKS.relative_to(ROOT).as_posix(),
        CONTAINER.relative_to(ROOT).as_posix(),
    }


def test_the_container_has_what_the_notebooks_need():
    container = json.loads(CONTAINER.read_text(encoding="utf-8"))
    image, _, version = container["image"].partition(":")
    assert image == "mcr.microsoft.com/devcontainers/python"
    assert version in read(CI)["jobs"]["student-kit"]["strategy"]["matrix"]["python"]
    *_, requirements = container["postCreateCommand"].split()
    assert requirements in load_project(ROOT).shipped
    assert "ms-toolsai.jupyter" in container["customizations"]["vscode"]["extensions"]


# A teacher's class

# As `gh`: the filter is its own, so only what it is asked is known here.
GH = """
case "$1 $2" in
    "repo list") printf '%s\\n' $REPOSITORIES ;;
    "repo clone") mkdir -p "$4" ;;
esac
"""


def collect(folder: Path, repositories: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    path = write_fake(folder / "fakes", "gh", GH)
    variables = {"PATH": path, "LOG": str(folder / "log"), "REPOSITORIES": repositories}
    done = run_step(CLASS, "Collect", folder, OWNER="school", PREFIX="hw-", **variables)
    return done, (folder / "log").read_text().splitlines()


def test_every_repository_is_cloned(tmp_path):
    done, calls = collect(tmp_path, "hw-ada hw-ben")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "submissions").iterdir()) == [
        "hw-ada",
        "hw-ben",
    ]
    assert calls[0].startswith("gh repo list school --limit 5000 --json name --jq ")
    assert "startswith(env.PREFIX)" in calls[0]
    options = "-- --quiet --depth 1 --config core.symlinks=false"
    assert calls[1] == f"gh repo clone school/hw-ada submissions/hw-ada {options}"


def test_a_class_without_repositories_is_an_error(tmp_path):
    done, _ = collect(tmp_path, "")
    assert done.returncode == 1
    assert "::error::no repository school/hw-*" in done.stdout


def test_the_class_is_graded_from_what_was_collected(tmp_path):
    path = write_fake(tmp_path / "fakes", "make", "")
    done = run_step(CLASS, "Grade", tmp_path, PATH=path, LOG=str(tmp_path / "log"))
    assert done.returncode == 0, done.stderr
    (call,) = (tmp_path / "log").read_text().splitlines()
    assert call == "make class SUBMISSIONS=submissions OUT=graded"
    (upload,) = [s for s in steps_of(CLASS) if "upload-artifact" in s.get("uses", "")]
    assert upload["with"]["path"] == "graded"


def test_secrets_reach_only_the_step_that_needs_them():
    holding = [step for step in steps_of(CLASS) if "secrets." in str(step)]
    assert [step["name"] for step in holding] == ["Collect"]
    assert "secrets." not in CHECKS.read_text()
