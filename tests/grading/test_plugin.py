"""`pytest --nbval SUBMISSION.ipynb`, as teachers use it."""

import nbformat
import pytest

from tests.grading.test_command import ENVIRONMENT, run, write_variant
from tests.notebooks import ROOT, student_path


@pytest.mark.parametrize("package", ["assignments", "assignments/kungfu", "checks"])
def test_installed_packages_of_the_same_name_do_no_harm(tmp_path, monkeypatch, package):
    (tmp_path / "site" / package).mkdir(parents=True)
    for folder in (package, package.partition("/")[0]):
        (tmp_path / "site" / folder / "__init__.py").write_text("raise ImportError('another')")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path / "site"))
    (tmp_path / "homework.ipynb").write_bytes(student_path().read_bytes())
    finished = run("pytest", "--nbval", "homework.ipynb", cwd=tmp_path)
    assert finished.returncode == 10, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    "planted",
    ["conftest.py", "pytest.ini", ".pytest.toml", "numpy.py", "cv2.abi3.so", "keras/__init__.py"],
)
def test_bare_pytest_refuses_a_folder_with_more_in_it(tmp_path, planted):
    write_variant(tmp_path / "homework.ipynb")
    (tmp_path / planted).parent.mkdir(exist_ok=True)
    (tmp_path / planted).write_text("")
    finished = run("pytest", "--nbval", tmp_path / "homework.ipynb", cwd=ROOT)
    assert finished.returncode == 4
    assert f"come with it: {planted.partition('/')[0]}. The" in finished.stderr
    assert "python -m grading grade FILE" in finished.stderr


@pytest.mark.parametrize("planted", ["conftest.py", "deeper/conftest.py"])
def test_nothing_beside_a_submission_runs_before_it_is_refused(tmp_path, planted):
    (tmp_path / "class" / "deeper").mkdir(parents=True)
    (tmp_path / "class" / "homework.ipynb").write_bytes(student_path().read_bytes())
    marker = tmp_path / "it ran"
    (tmp_path / "class" / planted).write_text(f"open({str(marker)!r}, 'w')")
    finished = run("pytest", "--nbval", "class", cwd=tmp_path)
    assert finished.returncode == 4, finished.stdout + finished.stderr
    assert "come with it: conftest.py. The safe command" in finished.stderr
    assert not marker.exists()


def test_a_name_that_pytest_would_print_is_refused(tmp_path):
    (tmp_path / "x\x1b]0;title\x07.ipynb").write_bytes(student_path().read_bytes())
    finished = run("pytest", "--nbval", ".", cwd=tmp_path)
    assert finished.returncode == 4
    assert "it has unprintable characters" in finished.stderr
    assert "\x1b]0" not in finished.stdout + finished.stderr


@pytest.mark.tensorflow
@pytest.mark.pytorch
def test_both_frameworks_and_an_unrelated_notebook_in_one_run(tmp_path):
    write_variant(tmp_path / "right.ipynb")
    (tmp_path / "unfilled.ipynb").write_bytes(student_path("pytorch").read_bytes())
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 + 1 == 2")])
    nbformat.write(other, tmp_path / "other.ipynb")
    names = ["right.ipynb", "unfilled.ipynb", "other.ipynb"]
    finished = run("pytest", "--nbval", "-v", *names, cwd=tmp_path)
    assert finished.returncode == 10
    assert "right.ipynb::loss: entropy_gradient PASSED" in finished.stdout
    assert "unfilled.ipynb::agent: logits FAILED" in finished.stdout
    assert "other::ipynb::Cell 0 PASSED" in finished.stdout  # as nbval calls it


@pytest.mark.parametrize("option", ["--nbval", "--nbval-lax"])
@pytest.mark.parametrize(
    "way",
    ["../home work/hw.ipynb", "./../home work//hw.ipynb", "link/hw.ipynb", "link.ipynb", "link/.."],
)
def test_nbval_never_runs_an_answer_however_its_path_is_written(tmp_path, way, option):
    folder, here = tmp_path / "home work", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    (here / "link").symlink_to(folder)
    (here / "link.ipynb").symlink_to(folder / "hw.ipynb")
    notebook = nbformat.read(student_path(), as_version=4)
    canary = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(canary))
    nbformat.write(notebook, folder / "hw.ipynb")
    finished = run("pytest", option, way, cwd=here)
    assert finished.returncode == 10, finished.stdout + finished.stderr
    assert "ungradable" in finished.stdout
    assert not (tmp_path / "ran").exists()


def test_reports_of_submissions_with_one_name_lie_apart(tmp_path):
    for student in ("ada", "ben"):
        (tmp_path / "class" / student).mkdir(parents=True)
        (tmp_path / "class" / student / "hw.ipynb").write_bytes(student_path().read_bytes())
    options = ["--rootdir", ".", "--grading-reports", "out"]
    finished = run("pytest", "--nbval", "class", *options, cwd=tmp_path)
    assert finished.returncode == 10, finished.stdout + finished.stderr
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.html"))
    assert written == ["out/class/ada/hw.html", "out/class/ben/hw.html"]


def test_a_grader_that_fails_blames_nobody(tmp_path, monkeypatch):
    (tmp_path / "hw.ipynb").write_bytes(student_path().read_bytes())
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "breaks_it.py").write_text(
        "from grading.grade import Grader\nGrader.grade = lambda *_: 1 / 0\n"
    )
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path / "site"))
    finished = run("pytest", "--nbval", "hw.ipynb", "-p", "breaks_it", cwd=tmp_path)
    assert finished.returncode == 20, finished.stdout + finished.stderr
    assert "the grader failed: ZeroDivisionError: division by zero" in finished.stdout
    assert "of 100" not in finished.stdout
