"""The set-up, run in Colab's runtime rebuilt: it changes nothing of Colab's and fails loudly."""

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import nbformat
import numpy as np
import pytest

from grading.bundle import BundleFile, make_kit, pack
from grading.notebook import read_code_cells
from grading.project import load_project
from grading.submission import read_submission, read_template
from tests import colab_runtime
from tests.colab_runtime import ROOT, layer, site_packages
from tests.frameworks import each_framework
from tests.notebooks import copy_kit, filled, quick, run_nbval, solution_path

pytestmark = pytest.mark.tensorflow

PROJECT = load_project(ROOT)
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


def published(source, address, kit):
    """Returns a set-up cell as it would be if `kit` were published at an address."""
    digest = hashlib.sha256(kit).hexdigest()
    for name, value in (("KIT", address), ("SHA256", digest)):
        source, count = re.subn(rf'^{name} = ".*"', f'{name} = "{value}"', source, flags=re.M)
        assert count == 1
    return source


def setup_cell(framework="tensorflow"):
    notebook = nbformat.read(solution_path(framework), as_version=4)
    [cell] = [c for c in notebook.cells if "setup" in c.metadata.get("tags", [])]
    return cell.source


def run_cell(source, folder, python=sys.executable, *, before="", times=1, **environment):
    """Runs the set-up cell in `folder`, then says where the helper files were found."""
    (folder / "cell.py").write_text(source, encoding="utf-8")
    cell = f"exec(open({str(folder / 'cell.py')!r}, encoding='utf-8').read())\n"
    code = f"{before}\n{cell * times}import env_pool; print(env_pool.__file__)"
    return subprocess.run(
        [python, "-P", "-c", code],
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


# What the cell asks of the helper files, and no more.
STUBS = {
    "env_pool.py": b"",
    "setup_notebook.py": b"def prepare_packages(name): print('packages of', name)",
    "checks/__init__.py": b"def prepare_notebook(name): print('checks in', name)",
}
KIT = pack({name: BundleFile(data) for name, data in STUBS.items()})
IN_COLAB = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')"
UPLOAD = "upload it to {} with the folder icon on the left, and run this cell again."


class Server:
    """A server on this machine with one file, `kit.zip`; it counts how often it is asked."""

    def __init__(self):
        self.kit = b""
        self.length = None  # what it says of the length, if that is wrong
        self.n_requests = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.n_requests += 1
                is_there = self.path == "/kit.zip"
                self.send_response(200 if is_there else 404)
                length = len(owner.kit) if owner.length is None else owner.length
                self.send_header("Content-Length", str(length if is_there else 0))
                self.end_headers()
                self.wfile.write(owner.kit if is_there else b"")

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_port}/kit.zip"
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server():
    server = Server()
    server.kit = KIT
    yield server
    server.stop()


@each_framework
def test_in_colab_the_cell_fetches_the_kit_once(server, tmp_path, framework):
    source = published(setup_cell(framework), server.address, KIT)
    first = run_cell(source, tmp_path, before=IN_COLAB)
    assert first.returncode == 0, first.stderr
    requirements = {"tensorflow": "requirements.txt", "pytorch": "requirements-pytorch.txt"}
    assert first.stdout.splitlines() == [
        f"packages of {requirements[framework]}",
        f"checks in {framework}",
        str(tmp_path / "kit" / "env_pool.py"),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"kit", "cell.py"}
    assert server.n_requests == 1

    server.kit = b"something else"
    (tmp_path / "kit" / "env_pool.py").write_text("print('mine')")
    again = run_cell(source, tmp_path, before=IN_COLAB, times=2)
    assert again.returncode == 0, again.stderr
    assert "mine" in again.stdout
    assert server.n_requests == 1


def break_off(server):
    server.length = len(KIT) + 1000


def send_less(server):
    server.kit = KIT[:-1]


def send_another(server):
    server.kit = pack({"env_pool.py": BundleFile(b"print('wrong')")})


def stop_it(server):
    server.stop()
    server.stop = lambda: None


def move(server):
    server.address += "s"


FAILURES = {
    "server down": (stop_it, "URLError: <urlopen error [Errno 111] Connection refused>"),
    "breaks off": (break_off, f"IncompleteRead: IncompleteRead({len(KIT)} bytes read, 1000 more"),
    "too short": (send_less, "what came is incomplete or belongs to another version"),
    "another file": (send_another, "what came is incomplete or belongs to another version"),
    "no such file": (move, "HTTPError: HTTP Error 404: Not Found"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_download_says_what_to_do_and_leaves_nothing(server, tmp_path, kind):
    harm, reason = FAILURES[kind]
    harm(server)
    source = published(setup_cell(), server.address, KIT)
    failed = run_cell(source, tmp_path, before=IN_COLAB)
    assert failed.returncode == 1
    said = failed.stderr.splitlines()[-1]
    assert said.startswith(f"RuntimeError: kit.zip did not arrive from {server.address} ({reason}")
    assert said.endswith(f"Run this cell again, or download it, {UPLOAD.format(tmp_path)}")
    assert [path.name for path in tmp_path.iterdir()] == ["cell.py"]
    assert server.n_requests == (0 if kind == "server down" else 3)

    (tmp_path / "kit.zip").write_bytes(KIT)  # as the message says
    uploaded = run_cell(source, tmp_path, before=IN_COLAB)
    assert uploaded.returncode == 0, uploaded.stderr
    assert (tmp_path / "kit" / "checks" / "__init__.py").exists()


def test_an_uploaded_zip_is_checked_like_a_fetched_one(server, tmp_path):
    (tmp_path / "kit.zip").write_bytes(KIT[:-1])
    source = published(setup_cell(), server.address, KIT)
    assert run_cell(source, tmp_path, before=IN_COLAB).returncode == 0
    assert server.n_requests == 1  # the whole one came from there
    shutil.rmtree(tmp_path / "kit")
    stop_it(server)
    failed = run_cell(source, tmp_path, before=IN_COLAB)
    assert failed.returncode == 1
    assert "kit.zip did not arrive from" in failed.stderr
    assert not (tmp_path / "kit").exists()


def test_what_is_not_published_asks_for_the_zip(tmp_path):
    failed = run_cell(setup_cell(), tmp_path, before=IN_COLAB)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "RuntimeError: This notebook is not published yet, and no whole kit.zip is here: ask for "
        f"it, {UPLOAD.format(tmp_path)}"
    )
    (tmp_path / "kit.zip").write_bytes(KIT[:200])
    assert "no whole kit.zip" in run_cell(setup_cell(), tmp_path, before=IN_COLAB).stderr
    (tmp_path / "kit.zip").write_bytes(KIT)
    assert run_cell(setup_cell(), tmp_path, before=IN_COLAB).returncode == 0


def unpack(folder):
    for name, data in STUBS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


PLACES = {
    "beside": ("work", {}, ""),
    "one folder up": (".", {}, ""),
    "unpacked into kit": ("work/kit", {}, ""),
    "Jupyter, elsewhere": ("far", {"JPY_SESSION_NAME": "{far}/homework.ipynb"}, ""),
    "VS Code, elsewhere": ("far", {}, "__vsc_ipynb_file__ = '{far}/homework.ipynb'"),
    "VS Code, a folder below": ("far", {}, "__vsc_ipynb_file__ = '{far}/mine/homework.ipynb'"),
    "Python's path": ("far", {"PYTHONPATH": "{far}"}, ""),
}


@pytest.mark.parametrize("place", PLACES)
def test_elsewhere_the_helper_files_are_found_wherever_the_kernel_starts(tmp_path, place):
    where, environment, before = PLACES[place]
    (tmp_path / "work").mkdir()
    unpack(tmp_path / where)
    environment = {name: value.format(far=tmp_path / "far") for name, value in environment.items()}
    before = before.format(far=tmp_path / "far")
    done = run_cell(setup_cell(), tmp_path / "work", before=before, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str((tmp_path / where).resolve() / "env_pool.py")


def test_elsewhere_without_the_helper_files_the_cell_says_so(tmp_path):
    (tmp_path / "kit.zip").write_bytes(KIT)
    for source, address in (
        (setup_cell(), "your teacher has it"),
        (
            published(setup_cell(), "https://example.org/kit.zip", KIT),
            "https://example.org/kit.zip",
        ),
    ):
        failed = run_cell(source, tmp_path)
        assert failed.returncode == 1
        assert failed.stderr.splitlines()[-1] == (
            f"FileNotFoundError: The helper files are missing: unpack kit.zip ({address}) beside "
            "this notebook."
        )


def test_elsewhere_the_cell_says_which_packages_are_missing_and_how_to_get_them(colab, tmp_path):
    copy_kit(tmp_path)
    setup = run_cell(setup_cell(), tmp_path, python=colab)
    assert setup.returncode == 1
    assert setup.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: nbval missing. Run this in a new cell, then restart the kernel: "
        f'%pip install -r "{(tmp_path / "requirements.txt").as_posix()}"'
    )


def test_in_colab_a_failed_set_up_stops_the_cell(ready, tmp_path):
    python, site = ready
    (site / "cv2.py").write_text("raise ImportError('libGL.so.1: no such file')")
    copy_kit(tmp_path)
    setup = run_cell(setup_cell(), tmp_path, python=python, before=IN_COLAB)
    assert setup.returncode == 1
    assert "RuntimeError: setup_colab.sh: opencv-python-headless is broken" in setup.stderr


def test_what_the_readme_quotes_of_the_cell_is_said_there():
    readme = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert "| `kit.zip did not arrive` |" in readme
    assert "kit.zip did not arrive" in setup_cell()


# ------------------------------------------------------------------------------- a whole notebook


@pytest.fixture
def runtime(ready):
    """A ready runtime with Colab's own package, imported in every process as in Colab's kernels."""
    python, site = ready
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    (site / "colab.pth").write_text("import google.colab\n")
    return python


def test_the_published_notebook_runs_in_colab_training_and_all(runtime, server, tmp_path):
    """From set-up to the first step twice, then to the end."""
    server.kit = make_kit(PROJECT)
    notebook = quick(filled())
    names = [cell.id for cell in notebook.cells]
    setup = notebook.cells[names.index("setup")]
    setup.source = published(setup.source, server.address, server.kit)
    for cell in notebook.cells:
        cell.metadata = {}  # nothing is skipped
    again = copy.deepcopy(notebook.cells[: names.index("first-step") + 1])
    briefly = nbformat.v4.new_code_cell("max_iterations, measure_every, evaluate_every = 12, 5, 10")
    notebook.cells.insert(names.index("training-settings") + 1, briefly)
    for cell in again:
        cell.id += "-again"
    notebook.cells[:0] = again
    nbformat.write(notebook, tmp_path / "homework.ipynb")
    before = packages(runtime)
    exit_code, outcomes = run_nbval(tmp_path, "homework.ipynb", python=runtime, kit=False)

    assert outcomes["homework.ipynb"] == [None] * sum(c.cell_type == "code" for c in notebook.cells)
    assert exit_code == 0
    assert server.n_requests == 1
    assert packages(runtime) == before
    for name, path in zip(PROJECT.helper_names, PROJECT.helpers, strict=True):
        assert (tmp_path / "kit" / name).read_bytes() == path.read_bytes()
    with np.load(tmp_path / "checkpoints" / "kungfu.npz") as checkpoint:
        assert checkpoint["n_iterations"] == 12
    assert len([*(tmp_path / "videos" / "final").glob("*.mp4")]) == 20
    with zipfile.ZipFile(tmp_path / "hand_in.zip") as handed_in:
        assert {Path(name).suffix for name in handed_in.namelist()} == {".ipynb", ".npz"}


@each_framework
def test_saved_by_colab_a_notebook_holds_the_same_answers(framework):
    """Colab's format is 4.0, in which cells have no ids; it keeps none of our tags."""
    notebook = json.loads(nbformat.writes(filled(framework)))
    template = read_template(solution_path(framework).read_bytes(), usable=("imports",))
    whole = read_submission(read_code_cells(json.dumps(notebook).encode()), template)
    notebook |= {"nbformat_minor": 0, "metadata": {"colab": {"provenance": []}}}
    for cell in notebook["cells"]:
        del cell["id"]
        cell["metadata"] = {"id": "Xq3yZ7uWa1B2", "colab": {"base_uri": "https://localhost/"}}
    saved = read_submission(read_code_cells(json.dumps(notebook).encode()), template)
    assert [answer.state for answer in saved.answers.values()] == ["complete"] * 3
    assert saved == whole
