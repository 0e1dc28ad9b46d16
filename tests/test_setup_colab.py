"""The set-up, run in Colab's runtime rebuilt: it changes nothing of Colab's and fails loudly."""

import os
import re
import shutil
import subprocess
import time
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import nbformat
import numpy as np
import pytest

from grading.project import load_project
from tests import colab_runtime
from tests.colab_runtime import ROOT, layer, site_packages
from tests.notebooks import copy_kit, filled, run_nbval, student_path

pytestmark = pytest.mark.tensorflow

PROJECT = load_project(ROOT)
KIT = f"https://raw.githubusercontent.com/{PROJECT.repository}/{PROJECT.ref}/"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


def run_script(python, script=ROOT / "setup_colab.sh", *arguments, **environment):
    """Runs setup_colab.sh as the notebook does."""
    return subprocess.run(
        ["bash", script, *arguments],
        env={**os.environ, "PYTHON": str(python), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def packages(python):
    """Returns `{name: version}` of an environment."""
    command = [python, "-m", "pip", "list", "--format=freeze"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split("==") for line in listing.splitlines())


@pytest.fixture(scope="module")
def colab():
    """Colab as students find it."""
    return colab_runtime.build()


@pytest.fixture(scope="module")
def first_run(colab, tmp_path_factory):
    """A fresh runtime after its first set-up, and what that said."""
    python = layer(colab, tmp_path_factory.mktemp("colab") / "ready")
    return python, run_script(python)


@pytest.fixture
def ready(first_run, tmp_path):
    """A runtime after its set-up, which the test may damage: its Python and its site-packages."""
    python, _ = first_run
    return layer(python, tmp_path / "damaged"), site_packages(tmp_path / "damaged")


def test_the_first_run_adds_what_is_missing_and_changes_nothing_else(colab, first_run):
    python, setup = first_run
    before, after = packages(colab), packages(python)

    assert setup.returncode == 0, setup.stderr
    assert setup.stdout.splitlines()[0] == "Installing nbval>=0.11"
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"nbval", "coverage", "jedi"}


def test_the_second_run_is_quick_quiet_and_needs_no_network(first_run):
    python, _ = first_run
    start = time.monotonic()
    setup = run_script(python, **OFFLINE)

    assert setup.returncode == 0
    assert setup.stderr == ""
    assert re.sub(r"python 3\.13\.\d+", "python 3.13", setup.stdout) == (
        "Ready: python 3.13, tensorflow 2.20.0, keras 3.13.2, gymnasium 1.3.0, ale-py 0.12.1, "
        "numpy 2.1.3, matplotlib 3.10.0, pandas 2.2.3, ipython 7.34.0, ipykernel 6.17.1, "
        "nbval 0.11.0, opencv-python-headless 5.0.0.93, moviepy 1.0.3, tqdm 4.67.3\n"
    )
    assert time.monotonic() - start < 20


def test_what_cannot_be_installed_is_an_error(colab, tmp_path):
    setup = run_script(layer(colab, tmp_path / "offline"), **OFFLINE)

    assert setup.returncode == 1
    assert "pip could not install nbval>=0.11" in setup.stderr
    assert "Ready" not in setup.stdout


def write_wheel(folder, name, version, requires=""):
    """Writes a wheel of one empty module."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")


def test_what_needs_a_newer_package_than_colab_has_is_an_error(ready, tmp_path):
    python, _ = ready
    script = Path(shutil.copy(ROOT / "setup_colab.sh", tmp_path))
    requirements = (ROOT / "requirements.txt").read_text()
    (tmp_path / "requirements.txt").write_text(requirements + "demanding\n")
    write_wheel(tmp_path, "demanding", "1.0", "Requires-Dist: tqdm>=99\n")
    write_wheel(tmp_path, "tqdm", "99.0")
    setup = run_script(python, script, **OFFLINE | {"PIP_FIND_LINKS": str(tmp_path)})

    assert setup.returncode == 1
    assert "pip could not install demanding" in setup.stderr
    assert packages(python)["tqdm"] == "4.67.3"


def test_the_pytorch_notebook_has_requirements_of_its_own(ready):
    python, _ = ready
    setup = run_script(python, ROOT / "setup_colab.sh", "requirements-pytorch.txt", **OFFLINE)

    assert setup.returncode == 1
    assert setup.stdout == "Installing torch>=2.6,<3\n"  # the rebuilt runtime goes without
    assert "pip could not install torch>=2.6,<3" in setup.stderr


def test_an_unsuitable_version_is_an_error_and_stays(ready):
    python, site = ready
    metadata = "Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.19.0\n"
    (site / "tensorflow-2.19.0.dist-info").mkdir()
    (site / "tensorflow-2.19.0.dist-info" / "METADATA").write_text(metadata)
    setup = run_script(python)

    assert setup.returncode == 1
    assert "tensorflow is 2.19.0, but the notebook needs tensorflow>=2.20,<2.22." in setup.stderr
    assert "Runtime > Disconnect and delete runtime" in setup.stderr
    assert setup.stdout == ""
    assert packages(python)["tensorflow"] == "2.19.0"


def test_opencv_counts_under_its_other_name(first_run, tmp_path):
    python = layer(first_run[0], tmp_path / "other")
    site = site_packages(tmp_path / "other")
    (site / "below.pth").unlink()
    for below in (colab_runtime.RUNTIME, Path(first_run[0]).parents[1]):
        for entry in site_packages(below).iterdir():
            if entry.match("opencv_python_headless-*.dist-info"):
                other = shutil.copytree(entry, site / "opencv_python-5.0.0.93.dist-info")
                text = (other / "METADATA").read_text("utf-8").replace("-headless", "", 1)
                (other / "METADATA").write_text(text, "utf-8")
            elif entry.name != "below.pth":
                (site / entry.name).symlink_to(entry)
    setup = run_script(python, **OFFLINE)

    assert "opencv-python-headless" not in packages(python)
    assert setup.returncode == 0, setup.stderr
    assert setup.stdout.startswith("Ready: ")


def test_a_missing_rom_is_an_error(ready):
    python, site = ready
    for folder in ("ale_py", "ale_py.libs"):
        shutil.copytree(site_packages(colab_runtime.RUNTIME) / folder, site / folder)
    (site / "ale_py" / "roms" / "kung_fu_master.bin").unlink()
    setup = run_script(python)

    assert setup.returncode == 1
    assert setup.stderr.startswith("setup_colab.sh: The game KungFuMaster does not start (")
    assert "Runtime > Disconnect and delete runtime" in setup.stderr


def test_a_package_that_cannot_be_imported_is_an_error(ready):
    python, site = ready
    (site / "cv2.py").write_text("raise ImportError('libGL.so.1: no such file')")
    setup = run_script(python)

    assert setup.returncode == 1
    assert (
        "opencv-python-headless is broken (ImportError: libGL.so.1: no such file)" in setup.stderr
    )


# ------------------------------------------------------------------------------- the set-up cell


def setup_cell(kit):
    """Returns the student notebook's set-up cell, with the published kit's address replaced."""
    notebook = nbformat.read(student_path(), as_version=4)
    [cell] = [c for c in notebook.cells if "setup" in c.metadata.get("tags", [])]
    assert KIT in cell.source
    return cell.source.replace(KIT, kit)


def run_cell(python, folder, kit=f"file://{ROOT}/", in_colab=True):
    """Runs the set-up cell in `folder`; the cell after it prints the Keras backend."""
    (folder / "cell.py").write_text(setup_cell(kit), encoding="utf-8")
    start = "import google.colab; " if in_colab else ""
    end = "; import env_pool, os; print(os.environ['KERAS_BACKEND'])"
    code = f"{start}exec(open('cell.py', encoding='utf-8').read()){end}"
    return subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def in_colab(ready):
    """A ready runtime with Colab's own package."""
    python, site = ready
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    return python


def test_in_colab_the_cell_fetches_the_kit_and_sets_it_up(in_colab, tmp_path):
    first = run_cell(in_colab, tmp_path)
    assert first.returncode == 0, first.stderr
    assert "Ready: python 3.13" in first.stdout
    assert first.stdout.endswith("tensorflow\n")
    assert {"checks/tensorflow.py", "env_pool.py", "setup_colab.sh"} <= {*PROJECT.helper_names}
    for name, path in zip(PROJECT.helper_names, PROJECT.helpers, strict=True):
        assert (tmp_path / name).read_bytes() == path.read_bytes()
    assert not [*tmp_path.glob("*.part"), *tmp_path.glob("checks/*.part")]

    (tmp_path / "env_pool.py").write_text("# mine")
    again = run_cell(in_colab, tmp_path, kit="http://127.0.0.1:9/")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "env_pool.py").read_text() == "# mine"


def test_in_colab_a_failed_set_up_stops_the_cell(in_colab, tmp_path):
    site = site_packages(tmp_path / "damaged")
    (site / "cv2.py").write_text("raise ImportError('libGL.so.1: no such file')")
    setup = run_cell(in_colab, tmp_path)

    assert setup.returncode == 1
    assert "RuntimeError: setup_colab.sh: opencv-python-headless is broken" in setup.stderr


def test_a_download_that_breaks_off_leaves_no_half_file(in_colab, tmp_path):
    class HalfAnswer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"import numpy")

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), HalfAnswer) as server:
        Thread(target=server.serve_forever).start()
        setup = run_cell(in_colab, tmp_path, kit=f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()

    assert setup.returncode == 1
    assert "ContentTooShortError" in setup.stderr
    assert [*tmp_path.glob("*.py"), *tmp_path.glob("checks/*")] == [tmp_path / "cell.py"]
    assert run_cell(in_colab, tmp_path).returncode == 0


@pytest.fixture
def kit(tmp_path):
    """The helper files in a folder, with an empty folder `notebooks` in it."""
    copy_kit(tmp_path)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_elsewhere_the_cell_finds_the_kit_here_or_one_folder_up(ready, kit, folder):
    python, _ = ready
    setup = run_cell(python, kit / folder, in_colab=False)

    assert setup.returncode == 0, setup.stderr
    assert setup.stdout == "tensorflow\n"


def test_elsewhere_the_cell_says_what_is_missing_and_how_to_get_it(colab, kit):
    setup = run_cell(colab, kit / "notebooks", in_colab=False)

    assert setup.returncode == 1
    assert setup.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: nbval missing. Run in a terminal: "
        f'"{colab}" -m pip install -r "{kit / "requirements.txt"}"'
    )


def test_elsewhere_without_the_kit_the_cell_names_its_files(colab, tmp_path):
    setup = run_cell(colab, tmp_path, in_colab=False)

    assert setup.returncode == 1
    assert (
        "FileNotFoundError: Put atari_util.py, env_pool.py, training.py, checks, " in setup.stderr
    )


def test_the_whole_notebook_runs_in_colab_training_and_all(first_run, tmp_path):
    notebook = filled()
    for cell in notebook.cells:
        cell.source = cell.source.replace("# Slow:", "# Not skipped here:")
    position = [cell.id for cell in notebook.cells].index("training-settings") + 1
    briefly = nbformat.v4.new_code_cell("max_iterations, measure_every, evaluate_every = 12, 5, 10")
    notebook.cells.insert(position, briefly)
    nbformat.write(notebook, tmp_path / "homework.ipynb")
    exit_code, outcomes = run_nbval(tmp_path, "homework.ipynb", python=first_run[0])

    assert outcomes["homework.ipynb"] == [None] * sum(c.cell_type == "code" for c in notebook.cells)
    assert exit_code == 0
    with np.load(tmp_path / "checkpoints" / "kungfu.npz") as checkpoint:
        assert checkpoint["n_iterations"] == 12
    with np.load(tmp_path / "kungfu_weights.npz") as weights:
        assert [weights[name].dtype for name in weights] == [np.float16] * 15
