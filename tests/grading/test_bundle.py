"""What students get: all of it, nothing else, and the same bytes each time."""

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from grading.__main__ import main
from grading.bundle import make_readme
from grading.project import load_project
from tests.grading.toy import EXERCISE, exercise, refused

ROOT = Path(__file__).parents[2]
FILES = {"helper.py": 0o644, "kit.zip": 0o644, "setup.sh": 0o755, "toy.ipynb": 0o644}


def modes_of(folder):
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_bundle(toy, capsys):
    toy.solve(exercise(EXERCISE))
    bundle = toy.root / "out/bundle"
    assert main(["release", "--bundle", "out/bundle"]) == 0
    assert main(["release", "--bundle", "out/bundle", "--check"]) == 0
    assert not toy.student.exists()
    assert main(["release"]) == 0
    assert modes_of(bundle) == FILES
    assert (bundle / "toy.ipynb").read_bytes() == toy.student.read_bytes()
    for name in ("helper.py", "setup.sh"):
        assert (bundle / name).read_bytes() == (toy.root / name).read_bytes()
    with zipfile.ZipFile(bundle / "kit.zip") as kit:
        assert kit.namelist() == ["helper.py", "setup.sh"]
        assert kit.read("setup.sh") == (bundle / "setup.sh").read_bytes()

    (bundle / "setup.sh").chmod(0o644)
    assert main(["release", "--bundle", "out/bundle", "--check"]) == 1
    toy.write("kit/one.py", "")
    toy.write("kit/__pycache__/one.pyc", "")
    toy.configure('"setup.sh"', '"kit", "setup.sh"')
    assert main(["release", "--bundle", "out/bundle"]) == 0
    assert modes_of(bundle) == FILES | {"kit/one.py": 0o644}
    for stranger in ("kit/stranger.py", "solution.ipynb", ".env"):
        (bundle / stranger).write_text("")
        capsys.readouterr()
        assert main(["release", "--bundle", "out/bundle"]) == 2
        assert f"out/bundle holds more than a bundle: {stranger}" in capsys.readouterr().err
        (bundle / stranger).unlink()
    assert main(["release", "--bundle", "helper.py"]) == 2
    assert "helper.py is no folder" in capsys.readouterr().err


def test_a_file_of_the_repository_ships_and_is_not_in_the_kit(toy, capsys):
    toy.solve(exercise(EXERCISE))
    table = '[tool.grading]\nrepository-files = [".github/checks.yml"]'
    toy.configure("[tool.grading]", table)
    assert main(["release", "--bundle", "out/bundle"]) == 2
    assert "a helper file that is missing: .github/checks.yml" in capsys.readouterr().err
    toy.write(".github/checks.yml", "on: push\n")
    assert main(["release", "--bundle", "out/bundle"]) == 0
    bundle = toy.root / "out/bundle"
    assert (bundle / ".github/checks.yml").read_text() == "on: push\n"
    with zipfile.ZipFile(bundle / "kit.zip") as kit:
        assert ".github/checks.yml" not in kit.namelist()
    answer = nbformat.read(toy.root / "solutions/toy.ipynb", 4).cells[0].source
    toy.write(".github/checks.yml", answer)
    assert "checks.yml" in refused(capsys)


def test_two_clones_make_the_same_bytes(tmp_path):
    """Whatever the folder, the umask, the time, the time zone, and the order of hashes."""
    made = []
    for name, umask, zone in (("one", 0o022, "UTC"), ("a second", 0o077, "Asia/Tokyo")):
        copy = tmp_path / name / "kit"
        before = os.umask(umask)
        try:
            names = ("checks", "solutions", "notebooks", ".github", ".devcontainer", "grading")
            copy.mkdir(parents=True)
            for path in sorted(ROOT.iterdir()):
                if path.is_file():
                    write_copy(path, copy / path.name)
                elif path.name in names:
                    for file in path.rglob("*"):
                        if file.is_file() and "__pycache__" not in file.parts:
                            write_copy(file, copy / file.relative_to(ROOT))
            command = [sys.executable, "-m", "grading", "release", "--bundle", "../bundle"]
            environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": str(umask)}
            subprocess.run(command, cwd=copy, env=environment, check=True)
        finally:
            os.umask(before)
        bundle = tmp_path / name / "bundle"
        modes = modes_of(bundle)
        made.append((modes, {file: (bundle / file).read_bytes() for file in modes}))
        shutil.rmtree(copy)
    assert made[0] == made[1]
    modes, files = made[0]
    assert modes["setup_colab.sh"] == 0o755
    wanted = {"README.md", "LICENSE", "kit.zip", "checks/__main__.py", "requirements.txt"}
    assert wanted | {".github/workflows/checks.yml"} <= files.keys()
    assert {name for name in files if name.endswith(".ipynb")} == {
        path.name for path in (ROOT / "solutions").glob("*.ipynb")
    }


def write_copy(source, target):
    """Copies a file as a fresh clone would: its time is now, its mode follows the umask."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    if source.stat().st_mode & stat.S_IXUSR:
        target.chmod(0o777 & ~os.umask(os.umask(0o022)))


# README


def test_a_readme_is_made_from_its_template(toy):
    toy.write("points.py", "POINTS = {'loss': 3}\n")
    toy.configure("[tool.grading]", '[tool.grading]\nreadme-names = "points.py"')
    template = "{% if ref %}\n{{ ref }} {{ repository }}\n{% endif %}\n"
    toy.write("solutions/README.md.jinja", template + "{{ POINTS.loss }} points\n")
    toy.solve(exercise(EXERCISE))
    assert main(["release"]) == 0
    made = "v1.2.3 school/toy\n3 points\n"
    assert (toy.root / "notebooks/README.md").read_text() == made
    assert main(["release", "--bundle", "bundle"]) == 0
    assert (toy.root / "bundle/README.md").read_text() == made


@pytest.mark.parametrize(
    ("template", "names", "message"),
    [
        ("{{ POINT }}", "POINTS = 1", "solutions/README.md.jinja: 'POINT' is undefined"),
        ("a\n{% if %}", "POINTS = 1", "solutions/README.md.jinja, line 2: "),
        ("{{ POINTS + 'x' }}", "POINTS = 1", "solutions/README.md.jinja or its names: TypeError"),
        ("{{ POINTS }}", "1 / 0", "or its names: ZeroDivisionError: division by zero"),
    ],
)
def test_a_mistake_in_the_template_is_named(toy, capsys, template, names, message):
    toy.write("points.py", names)
    toy.configure("[tool.grading]", '[tool.grading]\nreadme-names = "points.py"')
    toy.write("solutions/README.md.jinja", template)
    toy.solve(exercise(EXERCISE))
    assert main(["release"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("notebooks").exists()


def test_an_answer_in_the_readme_is_found(toy, capsys):
    toy.write("solutions/README.md.jinja", "Write x.mean() * weight.\n")
    toy.solve(exercise(EXERCISE))
    assert refused(capsys).startswith("solutions/README.md.jinja, line 1: gives away")


def test_the_readme_of_this_homework_changes_with_what_parts_are_worth(tmp_path, monkeypatch):
    (tmp_path / "solutions").mkdir()
    shutil.copy(ROOT / "solutions/README.md.jinja", tmp_path / "solutions")
    points = (ROOT / "checks/points.py").read_text()
    for changed in (points, points.replace('"heads": 2,', '"heads": 93,')):
        (tmp_path / "points.py").write_text(changed)
        (tmp_path / "pyproject.toml").write_text(
            '[project]\nversion = "1"\n[tool.grading]\nstudent-repository = ""\n'
            'helper-files = []\nreadme-names = "points.py"\n'
        )
        made = make_readme(load_project(tmp_path))
        assert ("| 93 |" in made) == (changed != points)
        assert ("**191**" if changed != points else "**100**") in made
