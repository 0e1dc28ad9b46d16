"""`python -m checks NOTEBOOK`, run as a student runs it."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from grading.__main__ import main as release
from tests.frameworks import each_framework
from tests.notebooks import ROOT, filled, quick, wrong


def check_notebook(path: Path, kit: Path = ROOT) -> subprocess.CompletedProcess:
    """Runs `python -m checks NOTEBOOK` in the kit's folder, as a student does."""
    return subprocess.run(
        [sys.executable, "-m", "checks", str(path)],
        cwd=kit,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,  # only ends what hangs
    )


@each_framework
def test_points_of_a_wrong_notebook(tmp_path, framework):
    path = tmp_path / "homework.ipynb"
    nbformat.write(quick(wrong(framework)), path)
    before = path.read_bytes()
    finished = check_notebook(path)
    assert finished.returncode == 1
    assert "agent         20 / 20  passed" in finished.stdout
    assert "loss           0 / 50  CheckFailed: " in finished.stdout
    assert "✗ entropy: wrong sign" in finished.stdout
    assert "total         30 / 80" in finished.stdout
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@each_framework
def test_a_bundle_is_all_that_is_needed(tmp_path, monkeypatch, framework):
    monkeypatch.chdir(ROOT)
    bundle = tmp_path / "bundle"
    assert release(["release", "--bundle", str(bundle)]) == 0
    nbformat.write(quick(filled(framework)), bundle / "filled.ipynb")
    present = {*bundle.rglob("*")}
    finished = check_notebook("filled.ipynb", kit=bundle)
    assert finished.returncode == 0, finished.stdout
    assert "total         80 / 80" in finished.stdout
    assert {path for path in bundle.rglob("*") if "__pycache__" not in path.parts} == present


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.ipynb", ""), ("text.ipynb", "no JSON"), ("list.ipynb", "[]"), ("missing.ipynb", None)],
)
def test_what_is_no_notebook_is_said(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    finished = check_notebook(tmp_path / name)
    assert finished.returncode == 2
    assert f"{name} is not a notebook that can be read" in finished.stderr
    assert "Traceback" not in finished.stderr
