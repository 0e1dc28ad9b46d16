"""What the set-up cell does once the helper files are there: sees to the packages they need.

It needs no package itself.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST = (3, 11)

# A package's name, and the name of its module where that differs.
_LINE = re.compile(r"^([\w-]+)(?:.*# import (\w+))?", re.MULTILINE)


def prepare_packages(requirements: str) -> None:
    """Makes sure that every package is there: Colab gets what it lacks, elsewhere that is named.

    Args:
        requirements: the file that lists them, beside this one.

    Raises:
        RuntimeError: this Python is too old, or Colab's set-up failed; the message says why.
        ModuleNotFoundError: packages are missing; the message says how to install them.
    """
    if sys.version_info < OLDEST:
        needed, found = (".".join(map(str, version[:2])) for version in (OLDEST, sys.version_info))
        raise RuntimeError(
            f"This notebook needs Python {needed} or newer, but its kernel runs {found}: make an "
            "environment with a newer Python, as README says, and choose it as the kernel."
        )
    path = Path(__file__).with_name(requirements)
    if "google.colab" in sys.modules:
        setup = subprocess.run(
            ["bash", path.with_name("setup_colab.sh"), path.name],
            env={**os.environ, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
        )
        print(setup.stdout)
        if setup.returncode != 0:
            raise RuntimeError(setup.stderr)
        return
    packages = _LINE.findall(path.read_text(encoding="utf-8"))
    missing = [package for package, module in packages if not find_spec(module or package)]
    if missing:
        raise ModuleNotFoundError(
            f"{', '.join(missing)} missing. Run this in a new cell, then restart the kernel: "
            f'%pip install -r "{path.as_posix()}"'
        )
