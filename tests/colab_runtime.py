"""Rebuilds Colab's runtime, for tests that run the kit where students run it.

`build()` makes `.venv-colab` out of the freeze in `tests/colab`, once for each freeze: a minute and
1.5 GB. Nothing may be installed into it. `layer()` puts a disposable environment on top of it in
a fraction of a second, which takes what is installed and hides what it holds itself.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FREEZE = Path(__file__).parent / "colab" / "pip-freeze-2026-08-19.txt"
RUNTIME = ROOT / ".venv-colab"


def build() -> Path:
    """Builds the runtime unless it is there already.

    Returns:
        Its Python.

    Raises:
        RuntimeError: there is no Python 3.13, or a package could not be installed.
    """
    python, marker = RUNTIME / "bin" / "python", RUNTIME / "built-from.txt"
    RUNTIME.mkdir(exist_ok=True)
    with (ROOT / ".venv-colab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or marker.read_text() != FREEZE.read_text():
            shutil.rmtree(RUNTIME)
            _run(_find_python(), "-m", "venv", RUNTIME)
            # Colab lacks packages that others depend on (jedi): take the freeze as it is.
            _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", FREEZE)
            shutil.copy(FREEZE, marker)
    return python


def layer(below: Path, folder: Path) -> Path:
    """Makes an environment that sees all packages of another one and keeps installs to itself.

    Args:
        below: the other environment's Python.
        folder: where the new environment goes.

    Returns:
        The new environment's Python.
    """
    _run(below, "-m", "venv", "--without-pip", folder)
    list_packages = "import sys; print(*(p for p in sys.path if 'site-packages' in p), sep='\\n')"
    site_packages(folder).joinpath("below.pth").write_text(_run(below, "-c", list_packages))
    return folder / "bin" / "python"


def site_packages(folder: Path) -> Path:
    """Returns where an environment of this runtime keeps its packages."""
    return folder / "lib" / "python3.13" / "site-packages"


def _find_python() -> Path:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [*pyenv.glob("versions/3.13.*/bin/python3.13"), shutil.which("python3.13")]
    for python in filter(None, found):
        # An interpreter on the PATH may be a shim without one behind it, or lack Debian's venv.
        if subprocess.run([python, "-c", "import ensurepip"], capture_output=True).returncode == 0:
            return Path(python)

    os.environ["UV_PYTHON_INSTALL_DIR"] = str(RUNTIME / "uv")
    uv = (sys.executable, "-m", "uv", "python")
    try:
        _run(*uv, "install", "--no-bin", "3.13")
        return Path(_run(*uv, "find", "--managed-python", "3.13").strip())
    except RuntimeError as error:
        raise RuntimeError(
            "Colab's runtime needs Python 3.13. There is none in pyenv or on the PATH (Debian's "
            "packages are python3.13 and python3.13-venv), and uv could not download one:\n"
            f"{error}"
        ) from error


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        words = " ".join(map(str, command))
        raise RuntimeError(f"{words} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout
