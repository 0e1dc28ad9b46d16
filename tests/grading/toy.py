"""A project in a temporary folder, small enough to be released in no time."""

import json
import struct
import zlib
from pathlib import Path

import nbformat

from grading.__main__ import main

PYPROJECT = """
[project]
name = "toy"
version = "1.2.3"

[tool.grading]
student-repository = "school/toy"
helper-files = ["helper.py", "setup.sh"]
given-away = [{ statement = "f(a) + g( b )", reason = "the text derives it" }]
"""
COLAB = "https://colab.research.google.com"
TARGET = f"{COLAB}/github/school/toy/blob/v1.2.3/toy.ipynb"
BADGE = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({TARGET})"
NO_BADGE = "*Not published yet: a badge that opens toy.ipynb in Colab will stand here.*"
EXERCISE = """# Exercise: loss
def train(x):
    total = 0.0
    total += x.mean() * weight  # YOUR CODE: the mean, weighted
    return total"""


def code(source, *tags, id="loss-exercise", **metadata):
    return nbformat.v4.new_code_cell(source, id=id, metadata={"tags": list(tags), **metadata})


def exercise(source, id="loss-exercise"):
    return code(source, "exercise", id=id)


def text(source, id="title"):
    return nbformat.v4.new_markdown_cell(source, id=id)


def png(*chunks):
    """Returns a PNG image of one black pixel, with further chunks before its end."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0\0")), *chunks, (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    return data


class Toy:
    """A project in a temporary folder, with the solution `toy.ipynb`."""

    def __init__(self, root):
        self.root = root
        self.student = root / "notebooks/toy.ipynb"
        (root / "solutions").mkdir()
        self.write("pyproject.toml", PYPROJECT)
        self.write("helper.py", "def help():\n    return 1\n")
        self.write("setup.sh", "#!/bin/sh\necho hello\n")
        (root / "setup.sh").chmod(0o755)

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def solve(self, *cells, name="toy", **metadata):
        notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        self.write(f"solutions/{name}.ipynb", json.dumps(notebook))

    def configure(self, old, new):
        settings = (self.root / "pyproject.toml").read_text()
        assert settings.count(old) == 1
        self.write("pyproject.toml", settings.replace(old, new))

    def released(self, name="toy"):
        path = self.root / f"notebooks/{name}.ipynb"
        return nbformat.read(path, as_version=4)


def refused(capsys, *argv):
    """Runs a release that must be refused; returns what it says."""
    assert main(["release", *argv]) == 1
    assert not Path("notebooks").exists()
    return capsys.readouterr().err
