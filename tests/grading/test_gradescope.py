"""What is uploaded to Gradescope, and what it does there: run in a folder laid out as theirs."""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from grading import UsageError, gradescope
from grading.assignment import all_assignments
from grading.gradescope import Settings, pack
from tests.grading.test_sandbox import opened
from tests.notebooks import ROOT, filled, solution_path, student_path, write_notebook

SINGLE = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "TF_NUM_INTRAOP", "TF_NUM")
}
# As in most containers: root, but without the capability that makes namespaces.
NO_NAMESPACES = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
NO_ACCOUNTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="Gradescope grades as root")
PYTORCH = ("kungfu_a2c_pytorch",)
OUTPUT = ["output_format", "visibility", "stdout_visibility"]


class Autograder:
    """Gradescope's folder, in a place that every account can reach."""

    def __init__(self, root: Path):
        self.root = root
        self.submission = root / "submission"
        for name in ("results", "submission", "source", "home/venv/bin"):
            (root / name).mkdir(parents=True)
        (root / "submission_metadata.json").write_text('{"users": ["ada@example.com"]}')
        python = root / "home/venv/bin/python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)

    def install(self, **settings) -> None:
        data = pack(Settings(**{"assignments": PYTORCH, "minutes": 10} | settings))
        (self.root / "autograder.zip").write_bytes(data)
        with zipfile.ZipFile(self.root / "autograder.zip") as archive:
            archive.extractall(self.root / "source")
        shutil.copy(self.root / "source/run_autograder", self.root)
        (self.root / "run_autograder").chmod(0o755)

    def run(self, *container: str, **variables: str) -> tuple[dict, subprocess.CompletedProcess]:
        """Grades as Gradescope does; returns the results, too."""
        command = ["./run_autograder"]
        if container:
            command = opened([*container, *command])
        home = str(self.root / "home")
        variables |= {"AUTOGRADER_ROOT": str(self.root), "GRADING_HOME": home}
        done = subprocess.run(
            command,
            cwd=self.root,
            env=os.environ | SINGLE | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        results = json.loads((self.root / "results/results.json").read_text())
        return results, done


@pytest.fixture
def autograder() -> Iterator[Autograder]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Autograder(Path(name))


def points(results: dict) -> dict[str, float]:
    earned: dict[str, float] = {}
    for test in results["tests"]:
        exercise = test["name"].partition(":")[0]
        earned[exercise] = earned.get(exercise, 0) + test["score"]
    return earned


def assert_failed(results: dict, words: str) -> None:
    assert results.keys() == {"output", *OUTPUT}  # no score, no tests
    assert results["output"].startswith("The autograder failed. This says nothing about the")
    assert words in results["output"]


# The archive


def test_the_same_files_make_the_same_bytes():
    settings = Settings(assignments=PYTORCH)
    assert pack(settings) == pack(settings)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Iterator[zipfile.ZipFile]:
    path = tmp_path_factory.mktemp("archive") / "autograder.zip"
    settings = Settings(assignments=tuple(a.name for a in all_assignments()), seed=7)
    path.write_bytes(pack(settings))
    with zipfile.ZipFile(path) as opened_archive:
        yield opened_archive


def test_the_archive_holds_what_the_grader_needs_and_nothing_else(archive):
    names = archive.namelist()
    assert names == sorted(names)
    assert {*gradescope.SCRIPTS, "autograder.json", "constraints.txt", "env_pool.py"} <= {*names}
    assert {a.solution.relative_to(ROOT).as_posix() for a in all_assignments()} <= {*names}
    places = {name.partition("/")[0] for name in names if "/" in name}
    assert places == {"grading", "assignments", "checks", "solutions"}
    endings = {Path(name).suffix for name in names} - {""}
    assert endings == {".py", ".ipynb", ".txt", ".toml", ".json", ".sh", ".html"}
    assert not [name for name in names if "test" in name or name.startswith(".")]


def test_only_the_scripts_can_be_run_and_nothing_tells_when_it_was_packed(archive):
    entries = archive.infolist()
    modes = {entry.filename: entry.external_attr >> 16 for entry in entries}
    assert {name for name, mode in modes.items() if mode == 0o100755} == {*gradescope.SCRIPTS}
    assert {*modes.values()} == {0o100755, 0o100644}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


def test_hidden_files_and_caches_stay_here(tmp_path):
    for name in ("a.py", ".b.py", "__pycache__/a.pyc", "c/.d/e.py", "c/f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {path.relative_to(tmp_path).as_posix() for path in gradescope._files_in(tmp_path)}
    assert found == {"a.py", "c/f.txt"}


def test_the_command_writes_the_archive_with_its_settings(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    gradescope.add_command(parser.add_subparsers())
    path = tmp_path / "out.zip"
    words = ["gradescope", "-o", str(path), "--assignment", *PYTORCH, "--template=original"]
    arguments = parser.parse_args([*words, "--seed=3", "--exact", "--minutes=40"])
    assert arguments.run(arguments) == 0
    assert "written, for kungfu_a2c_pytorch" in capsys.readouterr().out
    with zipfile.ZipFile(path) as packed:
        packed.extract("autograder.json", tmp_path)
    assert Settings.read(tmp_path / "autograder.json") == Settings(
        assignments=PYTORCH, template="original", seed=3, is_exact=True, minutes=40
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"assignments": ("no such",)}, "there is no assignment no such, expected some of kungfu"),
        ({"assignments": PYTORCH, "template": "x"}, "no template 'x', expected original"),
    ],
)
def test_unknown_names_are_told_at_once(settings, words):
    with pytest.raises(UsageError, match=words):
        pack(Settings(**settings))


# Building the container


def test_the_scripts_are_well_formed(archive, tmp_path):
    for name in gradescope.SCRIPTS:
        archive.extract(name, tmp_path)
        subprocess.run(["bash", "-n", name], cwd=tmp_path, check=True)
        assert (tmp_path / name).read_text().startswith("#!/usr/bin/env bash\n")


FAKE = """#!/bin/bash
printf '%s\\n' "{name} $*" >>"$LOG"
{body}
"""
# Makes environments whose Python only writes down what it is asked.
FAKE_PYTHON = """
[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" &&
    cp "$0" "$3/bin/python" && cp "$FAKES/uv" "$3/bin/uv"
case "$*" in
    *releaselevel*) exit {status} ;;
    *why_not_repeatable*) exec "$REAL_PYTHON" "$@" ;;
esac
"""
FAKE_UV = 'mkdir -p "${@: -1}/bin" && cp "$FAKES/python3" "${@: -1}/bin/python"'


def run_setup(folder: Path, source: Path, offered: str, status: int = 0) -> list[str]:
    """Runs setup.sh with stand-ins for all that it calls; returns the calls."""
    fakes, log = folder / "fakes", folder / "log"
    fakes.mkdir()
    bodies = {"apt-get": "", "apt-cache": f'[ "$2" = "{offered}-venv" ]', "uv": FAKE_UV}
    for name in {"python3", offered} - {""}:
        bodies[name] = FAKE_PYTHON.format(status=status)
    for name, body in bodies.items():
        (fakes / name).write_text(FAKE.format(name=name, body=body))
        (fakes / name).chmod(0o755)
    environment = {"PATH": f"{fakes}:/usr/bin:/bin", "LOG": str(log), "FAKES": str(fakes)}
    environment["REAL_PYTHON"] = sys.executable
    done = subprocess.run(
        ["bash", source / "setup.sh"],
        env=environment | {"GRADING_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return log.read_text().splitlines()


@pytest.fixture
def source(archive, tmp_path) -> Path:
    archive.extractall(tmp_path / "source")
    return tmp_path / "source"


def test_the_container_gets_the_systems_python(tmp_path, source):
    calls = run_setup(tmp_path, source, "python3.12")
    home = tmp_path / "home"
    installed = [call.split("--no-install-recommends ")[1] for call in calls if "-qq --no" in call]
    assert installed == ["bubblewrap util-linux", "python3.12 python3.12-venv"]
    assert f"python3.12 -m venv {home}/venv" in calls
    (pip,) = [call for call in calls if "pip install" in call]
    assert "--constraint constraints.txt --requirement requirements-grading.txt" in pip
    for framework in ("requirements.txt", "requirements-pytorch.txt"):
        assert f"--requirement {framework}" in pip
    assert calls[-3].endswith("-c import grading, tensorflow, torch")
    assert calls[-2].endswith("-m compileall -q .")
    assert not any(call.startswith("uv") for call in calls)
    assert (home / "state").stat().st_mode & 0o777 == 0o700
    assert (home / "state/deep-kung-fu/secret").stat().st_size == 32


@pytest.mark.parametrize(("offered", "status"), [("", 0), ("python3.11", 1)])
def test_where_the_system_has_no_finished_python_uv_brings_one(tmp_path, source, offered, status):
    calls = run_setup(tmp_path, source, offered, status)
    home = tmp_path / "home"
    assert f"uv venv --quiet --seed --managed-python --python 3.13 {home}/venv" in calls
    assert not any(f"{offered or 'python3.11'} -m venv" in call for call in calls)
    assert calls[-2].endswith("-m compileall -q .")


def test_only_what_is_graded_is_installed():
    chosen = Settings(assignments=PYTORCH).chosen()
    assert gradescope._requirements(chosen) == [
        "requirements-grading.txt",
        "requirements-pytorch.txt",
    ]


@pytest.mark.parametrize("index", ["", "https://example.org/a b"])
def test_another_index_of_packages_is_used(index):
    chosen = Settings(assignments=PYTORCH).chosen()
    lines = gradescope._script("setup.sh", chosen, index).splitlines()
    exported = [line for line in lines if line.startswith("export PIP_")]
    assert exported == [f"export PIP_EXTRA_INDEX_URL='{index}'"] * bool(index)


def test_a_package_that_no_list_brings_is_told():
    class Assignment:
        name, requires = "toy", ("no_such_module",)

    with pytest.raises(UsageError, match="toy needs no_such_module, which none of requirements"):
        gradescope._requirements([Assignment])


# Grading


@pytest.mark.pytorch
def test_a_solution_is_graded_in_the_sandbox(autograder):
    autograder.install(seed=7)
    shutil.copy(solution_path("pytorch"), autograder.submission / "homework.ipynb")
    results, done = autograder.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert points(results) == {"agent": 20, "loss": 50, "optimizer": 10, "play": 0}
    assert results["score"] == 80
    assert results["output"] == "80 of 100 points"
    assert results["extra_data"]["protection"].startswith("Submissions ran in bubblewrap")
    assert results["stdout_visibility"] == "hidden"
    assert "Seed: 7" in done.stdout  # for the teacher


SPY = """
import glob, os, pathlib
here = {root!r}
for name in {targets!r}:
    try:
        open(os.path.join(here, name)).read()
    except OSError:
        continue
    pathlib.Path({canary!r}, "read " + name.replace("/", "_")).touch()
for name in ("results/results.json", "submission/homework.ipynb", "source/grading/report.py"):
    try:
        open(os.path.join(here, name), "w").write('{{"score": 100}}')
    except OSError:
        continue
    pathlib.Path({canary!r}, "wrote " + name.replace("/", "_")).touch()
try:
    pathlib.Path({canary!r}, "ran as %d" % os.getuid()).touch()
except OSError:
    pass
"""


def write_hostile(autograder: Autograder, canary: Path) -> None:
    """Hands in a solution whose agent also looks for secrets and overwrites the results."""
    targets = ["submission_metadata.json", "results/results.json", "submission/homework.ipynb"]
    targets += ["source/autograder.json", "source/assignments/kungfu/variants.py"]
    targets += ["source/solutions/kungfu_a2c_pytorch.ipynb", "autograder.zip"]
    notebook = filled("pytorch")
    cell = next(cell for cell in notebook.cells if cell.id == "agent-exercise")
    spying = SPY.format(root=str(autograder.root), targets=targets, canary=str(canary))
    assert cell.source.count("super().__init__()") == 1
    cell.source = cell.source.replace("super().__init__()", f"super().__init__(); exec({spying!r})")
    nbformat.write(notebook, autograder.submission / "homework.ipynb")


@pytest.fixture
def canary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@as_root
@pytest.mark.pytorch
def test_without_namespaces_another_account_runs_a_hostile_notebook(autograder, canary):
    autograder.install()
    write_hostile(autograder, canary)
    results, done = autograder.run(*NO_NAMESPACES)
    assert done.returncode == 0, done.stdout + done.stderr
    (trace,) = canary.iterdir()  # it ran; it read and wrote nothing
    assert int(trace.name.removeprefix("ran as ")) > 60_000
    assert results["score"] == 80
    assert "ran under a separate account" in results["extra_data"]["protection"]
    assert done.stdout.startswith("There is no sandbox here: bubblewrap may not make namespaces")
    assert "NO SANDBOX: submissions ran under a separate account" in done.stdout


@as_root
def test_what_cannot_be_kept_apart_is_not_graded(autograder, canary):
    autograder.install()
    write_hostile(autograder, canary)
    results, done = autograder.run(*NO_ACCOUNTS)
    assert done.returncode == 20
    assert_failed(results, "The teacher finds the reason")
    assert "neither a sandbox nor another account" in done.stdout
    assert list(canary.iterdir()) == []


SEPARATE = """
import sys
from pathlib import Path
from grading.assignment import all_assignments
from grading.gradescope import close, require_separation
root = Path(sys.argv[1])
closed = close(root, all_assignments())
if sys.argv[2:]:
    Path(root, sys.argv[2]).chmod(0o755)
require_separation(closed)
"""


@as_root
@pytest.mark.parametrize("left", ["", "results", "source/solutions/kungfu_a2c_pytorch.ipynb"])
def test_what_another_account_could_read_stops_the_grader(autograder, left):
    autograder.install()
    command = [sys.executable, "-c", SEPARATE, str(autograder.root), *filter(None, [left])]
    done = subprocess.run(
        opened([*NO_NAMESPACES, *command]),
        cwd=autograder.root / "source",
        env=os.environ | {"PYTHONPATH": str(autograder.root / "source")},
        capture_output=True,
        text=True,
    )
    words = f"students' code could read {autograder.root / left}\n" if left else ""
    assert done.stderr.endswith(words) if words else done.stderr == ""
    assert done.returncode == bool(left)


FIND = """
import os, sys
from pathlib import Path
from grading.assignment import ROOT, all_assignments
from grading.gradescope import close
from grading.sandbox import PYTHON, Unsandboxed
close(ROOT.parent, all_assignments())
source = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import grading.reader as r; print(r)"
with Unsandboxed().start([PYTHON, "-c", source], processes=64, scratch_bytes=1 << 20) as process:
    print(process.communicate()[0].decode())
"""


@as_root
def test_the_other_account_runs_the_grader_that_was_unpacked(autograder):
    """Where the project is also installed, that would hide a folder in which nothing is found."""
    autograder.install()
    source = autograder.root / "source"
    done = subprocess.run(
        opened([*NO_NAMESPACES, sys.executable, "-c", FIND]),
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert f"from '{source}/grading/reader.py'" in done.stdout, done.stderr


def test_no_notebook_is_ungradable_and_earns_nothing(autograder):
    autograder.install()
    (autograder.submission / "homework.py").write_text("x = 1")
    with zipfile.ZipFile(autograder.submission / "all.zip", "w") as archive:
        archive.writestr("../../results/results.json", "{}")
        archive.writestr("weights.npz", "")
    results, done = autograder.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert results["score"] == 0
    first, second = results["output"].splitlines()
    assert first == (
        "ungradable: there is no notebook (.ipynb) among the files that were handed in: "
        "all.zip, homework.py, all.zip/weights.npz"
    )
    assert second.startswith("all.zip: ../../results/results.json: left out: its name leads out")


@pytest.mark.pytorch
def test_of_two_notebooks_the_one_that_answers_is_graded(autograder):
    autograder.install()
    write_notebook(autograder.submission / "a notes.ipynb", ["x = 1"])
    shutil.copy(student_path("pytorch"), autograder.submission / "b.ipynb")
    with zipfile.ZipFile(autograder.submission / "mine.zip", "w") as archive:
        student = nbformat.read(student_path("pytorch"), as_version=4)
        answers = {cell.id: cell for cell in filled("pytorch").cells}
        for number, cell in enumerate(student.cells):
            if cell.id == "optimizer-exercise":
                student.cells[number] = answers[cell.id]
        archive.writestr("work/c.ipynb", nbformat.writes(student))
        archive.writestr("work/b.npz", b"of another")
        archive.writestr("kungfu_weights.npz", b"no weights")
    results, done = autograder.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert points(results)["optimizer"] == 10
    assert results["output"].splitlines()[1] == (
        "Graded: mine.zip/work/c.ipynb. Not graded: a notes.ipynb, b.ipynb."
    )


def test_a_file_that_is_no_notebook_is_ungradable(autograder):
    autograder.install()
    (autograder.submission / "homework.ipynb").write_bytes(b"\x80 no notebook")
    results, done = autograder.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert results["score"] == 0
    assert results["output"].startswith("ungradable: ")


def test_weights_stay_with_their_notebook(tmp_path):
    handed_in = {}
    for name in ("a.ipynb", "a.npz", "b.ipynb", "b.npz", "x/b.npz", "w.npz", "note.txt"):
        path = handed_in[name] = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (tmp_path / "out").mkdir()
    path = gradescope._put_together("b.ipynb", handed_in, {".npz"}, tmp_path / "out")
    assert path == tmp_path / "out/b.ipynb"
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert found == {name: name for name in ("b.ipynb", "b.npz", "w.npz")}


def test_a_failing_grader_gives_no_score(autograder):
    autograder.install()
    settings = autograder.root / "source/autograder.json"
    settings.write_text(settings.read_text().replace("kungfu", "none"))
    shutil.copy(student_path("pytorch"), autograder.submission)
    results, done = autograder.run()
    assert done.returncode == 20
    assert_failed(results, "The teacher finds the reason")
    assert "UsageError: there is no assignment none_a2c_pytorch" in done.stdout


def test_a_grader_that_does_not_start_gives_no_score(autograder):
    autograder.install()
    (autograder.root / "home/venv/bin/python").unlink()
    results, done = autograder.run()
    assert done.returncode != 0
    assert_failed(results, "It did not start")


@pytest.mark.pytorch
def test_a_grader_that_is_killed_gives_no_score(autograder):
    autograder.install()
    (autograder.root / "source/grading/grade.py").write_text(
        "import os\nclass Grader:\n    def __init__(*_):\n        os.kill(os.getpid(), 9)\n"
    )
    shutil.copy(student_path("pytorch"), autograder.submission)
    results, done = autograder.run()
    assert done.returncode == -9
    assert_failed(results, "too little memory")


@pytest.mark.pytorch
def test_time_that_runs_out_gives_no_score(autograder):
    """Gradescope gives 0 points to a submission whose grading it has to stop."""
    autograder.install(minutes=40)
    notebook = filled("pytorch")
    cell = next(cell for cell in notebook.cells if cell.id == "agent-exercise")
    cell.source += "\nwhile True:\n    pass"
    nbformat.write(notebook, autograder.submission / "homework.ipynb")
    results, done = autograder.run(TIMEOUT_SECONDS="12")
    assert done.returncode == 20, done.stdout + done.stderr
    assert_failed(results, "It did not finish within 0.2 minutes")
