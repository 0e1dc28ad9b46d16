"""The generator of student notebooks, through its command line."""

import base64
import json
import shutil
import stat
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import nbformat
import pytest

from grading.__main__ import main
from grading.project import load_project

PYPROJECT = """
[project]
name = "toy"
version = "1.2.3"

[tool.grading]
student-repository = "school/toy"
helper-files = ["helper.py", "setup.sh"]
given-away = [{ statement = "f(a) + g( b )", reason = "the text derives it" }]
"""
BADGE = "https://colab.research.google.com/github/school/toy/blob/v1.2.3/toy.ipynb"
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
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def solve(self, *cells, name="toy", **metadata):
        notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        self.write(f"solutions/{name}.ipynb", json.dumps(notebook))

    def released(self, name="toy"):
        path = self.root / f"notebooks/{name}.ipynb"
        return nbformat.read(path, as_version=4)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Toy(tmp_path)


def refused(capsys, *argv):
    """Runs a release that must be refused; returns what it says."""
    assert main(["release", *argv]) == 1
    assert not Path("notebooks").exists()
    return capsys.readouterr().err


def test_whole_notebook(toy):
    """Everything but gaps, outputs, metadata and images stays."""
    image = png()
    toy.write("solutions/a dot.png", image)
    loss = exercise(EXERCISE)
    loss |= {"execution_count": 3, "outputs": [nbformat.v4.new_output("stream", text="0.5")]}
    loss.metadata["colab"] = {"base_uri": "https://localhost/"}
    toy.solve(
        text(f"# Toy [![Open in Colab](https://badge.svg)]({BADGE})\n![A dot](a%20dot.png)"),
        code("!ls  # look\nx = %pwd\n%time f(x)\n!a \\\n  b", "setup", id="set-up"),
        loss,
        code("# Slow: a minute.\ntrain(1)", "slow", id="train"),
        code("x = 1", id="play"),
        code("%%shell\nif true; then echo hello; fi  # always", id="greet"),
        nbformat.v4.new_raw_cell("as it is", id="raw"),
        colab={"provenance": []},
        kernelspec={"name": "other", "display_name": "Mine"},
    )
    assert main(["release"]) == 0
    uri = "data:image/png;base64," + base64.b64encode(image).decode()
    content = toy.student.read_text()
    assert content.endswith("}\n")
    assert json.loads(content) == {
        "cells": [
            {
                "cell_type": "markdown",
                "id": "title",
                "metadata": {},
                "source": [
                    f"# Toy [![Open in Colab](https://badge.svg)]({BADGE})\n",
                    f"![A dot]({uri})",
                ],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "set-up",
                "metadata": {"tags": ["setup", "nbval-ignore-output"]},
                "outputs": [],
                "source": ["!ls  # look\n", "x = %pwd\n", "%time f(x)\n", "!a \\\n", "  b"],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "loss-exercise",
                "metadata": {"tags": ["exercise", "nbval-ignore-output"]},
                "outputs": [],
                "source": [
                    "# Exercise: loss\n",
                    "def train(x):\n",
                    "    total = 0.0\n",
                    "    total += <YOUR CODE: the mean, weighted>\n",
                    "    return total",
                ],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "train",
                "metadata": {"tags": ["slow", "nbval-ignore-output", "nbval-skip"]},
                "outputs": [],
                "source": ["# Slow: a minute.\n", "train(1)"],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "play",
                "metadata": {"tags": ["nbval-ignore-output"]},
                "outputs": [],
                "source": ["x = 1"],
            },
            {
                "cell_type": "code",
                "execution_count": None,
                "id": "greet",
                "metadata": {"tags": ["nbval-ignore-output"]},
                "outputs": [],
                "source": ["%%shell\n", "if true; then echo hello; fi  # always"],
            },
            {"cell_type": "raw", "id": "raw", "metadata": {}, "source": ["as it is"]},
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


# Refusals


CELLS = [
    (code("x = f(1)  # YOUR CODE", "given", id="play"), "play, line 1: only an exercise cell can"),
    (code("!ls\nx = 1  # yourcode", id="play"), "play, line 2: only an exercise cell can"),
    (code("%%time\nx = 1  # YOUR CODE", id="play"), "play, line 2: only an exercise cell can"),
    (code("%%shell\ndone  # YOUR CODE", id="play"), "play, line 2: only an exercise cell can"),
    (code("!ls\nx = (1", id="play"), "play, line 2: this is not Python"),
    (code("x = 1", "givn", id="play"), "play has unknown tags ['givn']; known are ['check', "),
    (code("x = 1", "exercise", id="play"), "play, line 1: the tag `exercise` and a first line"),
    (code("# Exercise: x\nx = 1", id="play"), "play, line 1: the tag `exercise` and a first line"),
    (code("# exercise: x\nx = 1", id="play"), "play, line 1: the tag `exercise` and a first line"),
    (code("x = 1", "slow", id="play"), "play, line 1: the tag `slow` and a first line"),
    (code("# Slow: hours\nx = 1", id="play"), "play, line 1: the tag `slow` and a first line"),
    (exercise(EXERCISE, id="play"), "play, line 1: there is an exercise `loss` already"),
    (code("x = 1"), "loss-exercise shares its id with another cell"),
    (code("x = 1", id="af3a9c1e"), "af3a9c1e needs an id that says what it is, like `agent-check`"),
    (code("x = 1", id="Xq3_yZ-7uW"), "Xq3_yZ-7uW needs an id that says what it is"),
    ({"cell_type": "raw", "metadata": {}, "source": "x"}, "cell number 2 has no id"),
    (text("One\n![dot](no/dot.png)"), "title, line 2: there is no image no/dot.png"),
    (text('<img width="5" src="dot.png">'), "title, line 1: there is no image dot.png"),
    (text("![dot](toy.ipynb)"), "title, line 1: this is not a PNG image: toy.ipynb"),
    (text("![dot](attachment:dot.png)"), "title, line 1: there is no image attachment:dot.png"),
]


@pytest.mark.parametrize(("cell", "message"), CELLS)
def test_bad_cell(toy, capsys, cell, message):
    toy.solve(exercise(EXERCISE), cell)
    said = refused(capsys)
    assert message in said
    assert all(line.startswith("solutions/toy.ipynb: cell ") for line in said.splitlines()[:-1])


def test_all_problems_at_once(toy, capsys):
    toy.solve(exercise("# Exercise: loss\nx = 1"), text("![a](a.png) ![b](b.png)"))
    toy.solve(code("x = 1", "givn", id="play"), name="twin")
    said = refused(capsys)
    assert said.splitlines() == [
        "solutions/toy.ipynb: cell loss-exercise, line 1: an exercise needs a gap",
        "solutions/toy.ipynb: cell title, line 1: there is no image a.png",
        "solutions/toy.ipynb: cell title, line 1: there is no image b.png",
        "solutions/twin.ipynb: cell play has unknown tags ['givn']; known are "
        "['check', 'exercise', 'given', 'setup', 'slow']",
        "problems: 4; nothing written",
    ]


# Leaks


ANSWER = "tf.reduce_mean(logits * (x['a'] + 1.5), axis=-1)"
LEAKS = [
    ANSWER,
    'tf . reduce_mean(\n    logits * (x["a"] + 1.5),\n    axis=-1,\n)',
    "tf.reduce_mean(  # why\n    logits  # these\n    * (x['a'] + 1.5), axis=-1)",
    "# y = tf.reduce_mean(\n#     logits * (x['a'] + 1.5), axis=-1)",
    "print(\"tf.reduce_mean(logits * (x['a'] + 1.5), axis=-1)\")",
    "z = {'y': -tf.reduce_mean(logits * (x['a'] + 1.5), axis=-1) ** 2}",
]


def solve_with_answer(toy, *cells, given=""):
    toy.solve(exercise(f"# Exercise: loss\n{given}\ny = {ANSWER}  # YOUR CODE"), *cells)


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("where", ["code", "magic", "markdown", "helper", "exercise"])
def test_leak(toy, capsys, leak, where):
    place = "solutions/toy.ipynb: cell title"
    if where == "code":
        solve_with_answer(toy, code(leak, id="title"))
    elif where == "magic":
        solve_with_answer(toy, code(f"!ls\n{leak}", id="title"))
    elif where == "markdown":
        solve_with_answer(toy, text(leak.replace("reduce_mean", r"reduce\_mean")))
    elif where == "helper":
        toy.write("helper.py", leak)
        solve_with_answer(toy)
        place = "helper.py"
    else:
        solve_with_answer(toy, given=leak)
        place = "solutions/toy.ipynb: cell loss-exercise"
    said = refused(capsys)
    assert said.startswith(place)
    assert f"gives away `{ANSWER}`, answer of solutions/toy.ipynb: cell loss-exercise, line" in said
    assert said.endswith("problems: 1; nothing written\n")


IMAGES = {
    "text chunk": (png((b"tEXt", b"Title\0" + ANSWER.encode())), "gives away"),
    "after the end": (png() + ANSWER.encode(), "gives away"),
    "compressed": (png((b"zTXt", b"Title\0\0" + zlib.compress(ANSWER.encode()))), "compressed"),
    "international": (png((b"iTXt", b"Title\0\1\0\0\0" + zlib.compress(b"x"))), "compressed"),
}


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("kind", IMAGES)
def test_leak_in_image(toy, capsys, kind, embedded):
    image, message = IMAGES[kind]
    toy.write("solutions/dot.png", image)
    uri = "data:image/png;base64," + base64.b64encode(image).decode()
    solve_with_answer(toy, text(f"![dot]({uri if embedded else 'dot.png'})"))
    said = refused(capsys)
    assert said.startswith("solutions/toy.ipynb: cell title, image")
    assert message in said


def test_outputs_and_metadata_cannot_leak(toy):
    run = code("x = 1", id="play", note=ANSWER)
    run.outputs = [nbformat.v4.new_output("stream", text=ANSWER)]
    drawn = text("![dot](https://example.org/dot.png)")
    drawn.attachments = {"dot.png": {"text/plain": ANSWER}}
    toy.solve(exercise(f"# Exercise: loss\ny = {ANSWER}  # YOUR CODE"), run, drawn, a=ANSWER)
    assert main(["release"]) == 0
    assert "reduce_mean" not in toy.student.read_text()


def test_leak_in_another_notebook(toy, capsys):
    solve_with_answer(toy)
    toy.solve(code(ANSWER, id="play"), name="twin")
    assert refused(capsys).startswith("solutions/twin.ipynb: cell play, line 1: gives away")


@pytest.mark.parametrize(
    ("gap", "leak"),
    [
        ("loss = a - b  # YOUR CODE", "loss = a - b"),
        ("loss = a + b - c  # YOUR CODE", "z = a + b - c"),
        ("y = (\n    a\n    + b  # why\n    - c\n)  # YOUR CODE", "z = a + b - c"),
        ("y = (a * b) - c  # YOUR CODE", "z = a * b - c"),
        ("y = (a * b) - c  # YOUR CODE", "z = (a * b) - c"),
        ("loss = f(a)  # YOUR CODE (lines)", "loss = f(a)"),
        ("step(a)  # YOUR CODE", "step(a)"),
        ("for a in b:  # YOUR CODE (lines)\n    step(a, 1)", "step(a, 1)"),
        ("x = 1  # YOUR CODE (lines)\nloss = f(a)  # YOUR CODE (lines)", "loss = f(a)"),
    ],
)
def test_what_a_secret_is(toy, capsys, gap, leak):
    toy.solve(exercise(f"# Exercise: loss\n{gap}"), code(leak, id="play"))
    assert "cell play, line 1: gives away" in refused(capsys)


@pytest.mark.parametrize(
    ("gap", "harmless"),
    [
        ("loss = a - b  # YOUR CODE", "z = a - b"),
        ("x = f  # YOUR CODE", "x = f"),
        ("loss = f(a)  # YOUR CODE (lines)", "z = f(a)"),
        ("y = a + b * c  # YOUR CODE", "y = aa + b * c\nz = a + b * cc"),
        ("y = a + b * 1  # YOUR CODE", "y = a + b * 1.5"),
        ("y = f(a) + g(b)  # YOUR CODE", "y = f(a)+g(b)"),
    ],
)
def test_what_is_no_leak(toy, gap, harmless):
    toy.solve(exercise(f"# Exercise: loss\n{gap}"), code(harmless, id="play"))
    assert main(["release"]) == 0


# Links


@pytest.mark.parametrize(
    "link",
    [
        BADGE + "#scrollTo=title",
        "https://raw.githubusercontent.com/school/toy/v1.2.3/helper.py",
        "https://raw.githubusercontent.com/school/toy/v1.2.3/{name}",
        "https://raw.githubusercontent.com/school/toy/v1.2.3/$name",
        "https://raw.githubusercontent.com/school/toy/v1.2.3/",
        "https://raw.githubusercontent.com/school/toy/v1.2.3",
        "https://colab.research.google.com/",
    ],
)
def test_link(toy, link):
    toy.write("README.md", f"See [it]({link}), or {link}.")
    toy.solve(text(f"[it]({link})"))
    assert main(["release"]) == 0


COLAB, RAW = "colab.research.google.com/github", "raw.githubusercontent.com"
LINKS = [
    (f"{COLAB}/teacher/toy/blob/v1.2.3/toy.ipynb", f"begin with {COLAB}/school/toy/blob/v1.2.3/"),
    (f"{COLAB}/school/kit/blob/v1.2.3/toy.ipynb", "begin with"),
    (f"{COLAB}/school/toy/blob/v1.2.2/toy.ipynb", "begin with"),
    (f"{COLAB}/school/toy/blob/v1.2.30/toy.ipynb", "begin with"),
    (f"{COLAB}/school/toy/v1.2.3/toy.ipynb", "begin with"),
    (f"{COLAB}/school/toy/blob/v1.2.3/toys.ipynb", "names no file of the bundle"),
    (f"{RAW}/school/toy/main/helper.py", f"begin with {RAW}/school/toy/v1.2.3/"),
    (f"{RAW}/school/toy/v1.2.3/helpers.py", "names no file of the bundle"),
]


MISADDRESSED = [link for link in LINKS if "begin with" in link[1] and link[0] != LINKS[4][0]]
PLACES = ["markdown", "code", "setup.sh", "README.md"]
# Where links are rewritten, only what cannot be is refused.
BAD_LINKS = [
    (where, *link)
    for where in PLACES
    for link in LINKS
    if where == "setup.sh" or link not in MISADDRESSED
]


@pytest.mark.parametrize(("where", "link", "message"), BAD_LINKS)
def test_bad_link(toy, capsys, link, message, where):
    if where == "markdown":
        toy.solve(text(f"[it](https://{link})"))
    elif where == "code":
        toy.solve(code(f"url = 'https://{link}'", id="title"))
    else:
        toy.write(where, f"https://{link}\n")
        toy.solve(text("Hello"))
    place = "solutions/toy.ipynb: cell title" if where in ("markdown", "code") else where
    said = refused(capsys)
    assert said.startswith(f"{place}: the link {link} ")
    assert message in said


@pytest.mark.parametrize("link", [link for link, _ in MISADDRESSED])
@pytest.mark.parametrize("page", ["README.md", "docs/students.md", "solutions/toy.ipynb"])
def test_links_are_rewritten(toy, capsys, page, link):
    (toy.root / "docs").mkdir()
    toy.solve(text(f"See [it](https://{link}#a) at {RAW}/a/b/v1."))
    if page.endswith(".md"):
        toy.write(page, f"See [it](https://{link}#a) at {RAW}/a/b/v1.")
    assert main(["release", "--check"]) == 1
    assert f"{page}: not what would be written" in capsys.readouterr().out
    assert main(["release"]) == 0
    name = link.rpartition("/")[2]
    blob = "/blob" if link.startswith(COLAB) else ""
    address = f"{link.partition('/')[0]}{'/github' if blob else ''}/school/toy{blob}/v1.2.3/{name}"
    right = f"See [it](https://{address}#a) at {RAW}/school/toy/v1.2.3."
    assert right in (toy.root / page).read_text()
    assert toy.released().cells[0].source == right
    assert f"{page}: written" in capsys.readouterr().out
    assert main(["release"]) == 0
    assert capsys.readouterr().out == ""


def test_the_helper_files_are_listed_where_a_solution_asks_for_them(toy):
    (toy.root / "kit/deep").mkdir(parents=True)
    (toy.root / "kit/__pycache__").mkdir()
    for name in ("kit/one.py", "kit/deep/two.py", "kit/.hidden", "kit/__pycache__/one.pyc"):
        toy.write(name, "")
    toy.solve(code("HELPERS = []  # fmt: skip\nn = len(HELPERS)"), note="kept")
    for order in ('"kit", "setup.sh"', '"setup.sh", "kit"'):  # written first, then rewritten
        toy.write("pyproject.toml", PYPROJECT.replace('"setup.sh"', order))
        assert main(["release"]) == 0
    names = {}
    exec(toy.released().cells[0].source, names)
    assert names["HELPERS"] == ["helper.py", "setup.sh", "kit/deep/two.py", "kit/one.py"]
    assert names["n"] == 4
    solution = nbformat.read(toy.root / "solutions/toy.ipynb", as_version=4)
    assert solution.cells[0].source == toy.released().cells[0].source
    assert solution.metadata == {"note": "kept"}


def test_where_the_kit_is_published_stands_in_one_line(tmp_path, monkeypatch):
    """Renaming the student repository and counting up the version leave nothing of the old."""
    root = Path(__file__).parents[2]
    for name in (
        "pyproject.toml",
        "README.md",
        ".github",
        "docs",
        "notebooks",
        "solutions",
        "checks",
    ):
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, tmp_path / name)
    for pattern in ("*.py", "requirements*.txt", "*.sh", "LICENSE"):
        for path in root.glob(pattern):
            shutil.copy(path, tmp_path)
    old = load_project(root)
    settings = (tmp_path / "pyproject.toml").read_text()
    assert settings.count(old.repository) == 1
    settings = settings.replace(old.repository, "elsewhere/renamed")
    version = f'version = "{old.ref[1:]}"'
    assert settings.count(version) == 1
    (tmp_path / "pyproject.toml").write_text(settings.replace(version, 'version = "77.8"'))
    monkeypatch.chdir(tmp_path)

    assert main(["release"]) == 0
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.suffix in TEXT]
    assert not [text for text in texts if old.repository in text or f"/{old.ref}/" in text]
    assert sum("elsewhere/renamed/blob/v77.8/" in text for text in texts) >= 5
    assert main(["release", "--check"]) == 0


TEXT = {".py", ".md", ".ipynb", ".toml", ".txt", ".sh"}


# Files and the command line


def test_idempotent(toy, capsys):
    toy.solve(exercise(EXERCISE))
    assert main(["release"]) == 0
    assert capsys.readouterr().out == "notebooks/toy.ipynb: written\n"
    before = toy.student.stat()
    assert main(["release"]) == 0
    assert capsys.readouterr().out == ""
    after = toy.student.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [path.name for path in toy.student.parent.iterdir()] == ["toy.ipynb"]


def test_check(toy, capsys):
    toy.solve(exercise(EXERCISE))
    assert main(["release", "--check"]) == 1
    assert not toy.student.exists()
    assert main(["release"]) == 0
    assert main(["release", "--check"]) == 0
    edited = toy.student.read_text().replace("total = 0.0", "total = 1.0")
    toy.student.write_text(edited)
    capsys.readouterr()
    assert main(["release", "--check"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("notebooks/toy.ipynb: not what would be written\n--- now\n+++ then\n")
    assert '\n-    "    total = 1.0\\n",\n+    "    total = 0.0\\n",\n' in said
    assert toy.student.read_text() == edited


def test_failure_keeps_what_was_written(toy, capsys):
    toy.solve(exercise(EXERCISE))
    assert main(["release"]) == 0
    before = toy.student.read_text()
    toy.solve(text("Changed"))
    toy.solve(code("x = (1", id="play"), name="twin")
    assert main(["release"]) == 1
    assert toy.student.read_text() == before
    assert "twin.ipynb: cell play, line 1: this is not Python" in capsys.readouterr().err


def test_named_solutions_from_a_folder_below(toy, monkeypatch, capsys):
    toy.solve(exercise(EXERCISE))
    toy.solve(text("Hello"), name="twin")
    monkeypatch.chdir(toy.root / "solutions")
    assert main(["release", "twin.ipynb"]) == 0
    assert capsys.readouterr().out == "../notebooks/twin.ipynb: written\n"
    assert not toy.student.exists()


def test_a_file_of_the_repository_ships_and_no_notebook_lists_it(toy, capsys):
    toy.solve(exercise(EXERCISE))
    table = '[tool.grading]\nrepository-files = [".github/checks.yml"]'
    toy.write("pyproject.toml", PYPROJECT.replace("[tool.grading]", table))
    assert main(["release", "--bundle", "out/bundle"]) == 2
    assert "a helper file that is missing: .github/checks.yml" in capsys.readouterr().err
    (toy.root / ".github").mkdir()
    toy.write(".github/checks.yml", "on: push\n")
    assert main(["release", "--bundle", "out/bundle"]) == 0
    bundle = toy.root / "out/bundle"
    assert (bundle / ".github/checks.yml").read_text() == "on: push\n"
    assert "checks.yml" not in (bundle / "toy.ipynb").read_text()
    answer = nbformat.read(toy.root / "solutions/toy.ipynb", 4).cells[0].source
    toy.write(".github/checks.yml", answer)
    assert "checks.yml" in refused(capsys)


def test_bundle(toy, capsys):
    toy.solve(exercise(EXERCISE))
    bundle = toy.root / "out/bundle"
    (bundle / ".git").mkdir(parents=True)
    assert main(["release", "--bundle", "out/bundle"]) == 0
    assert main(["release", "--bundle", "out/bundle", "--check"]) == 0
    assert not toy.student.exists()
    assert main(["release"]) == 0
    names = sorted(path.name for path in bundle.iterdir())
    assert names == [".git", "helper.py", "setup.sh", "toy.ipynb"]
    assert (bundle / "toy.ipynb").read_bytes() == toy.student.read_bytes()
    assert (bundle / "helper.py").read_text() == "def help():\n    return 1\n"
    assert stat.S_IMODE((bundle / "setup.sh").stat().st_mode) == 0o755

    (toy.root / "kit").mkdir()
    toy.write("kit/one.py", "")
    toy.write("pyproject.toml", PYPROJECT.replace('"setup.sh"', '"kit", "setup.sh"'))
    assert main(["release", "--bundle", "out/bundle"]) == 0
    assert (bundle / "kit/one.py").exists()
    (bundle / "kit/stranger.py").write_text("")
    capsys.readouterr()
    assert main(["release", "--bundle", "out/bundle"]) == 2
    assert "out/bundle holds more than a bundle: kit/stranger.py" in capsys.readouterr().err
    (bundle / "kit/stranger.py").unlink()

    (bundle / "solution.ipynb").write_text("")
    capsys.readouterr()
    assert main(["release", "--bundle", "out/bundle"]) == 2
    assert "out/bundle holds more than a bundle: solution.ipynb" in capsys.readouterr().err
    assert main(["release", "--bundle", "helper.py"]) == 2
    assert "helper.py is no folder" in capsys.readouterr().err


USAGE = [
    (["none.ipynb"], "cannot read none.ipynb: No such file or directory"),
    (["solutions"], "cannot read solutions: Is a directory"),
    (["setup.sh"], "setup.sh is not a notebook of format 4: Expecting value"),
    (["list.json"], "list.json is not a notebook of format 4"),
    (["old.json"], "old.json is not a notebook of format 4"),
    (["bytes.json"], "bytes.json is not a notebook of format 4"),
    ([], "no notebooks in solutions"),
    (["a/toy.ipynb", "b/toy.ipynb"], "two of the solutions have the same file name"),
    (["--bundle", "out", "toy.ipynb"], "a bundle holds every notebook"),
]


@pytest.mark.parametrize(("argv", "message"), USAGE)
def test_usage(toy, capsys, argv, message):
    toy.write("list.json", "[]")
    toy.write("old.json", '{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []}')
    toy.write("bytes.json", b"\xff\xfe")
    assert main(["release", *argv]) == 2
    assert capsys.readouterr().err.startswith(f"python -m grading: error: {message}")


def test_module_runs(toy):
    """`python -m grading` passes the exit code on, and shows no traceback."""
    program = textwrap.dedent("""
        import runpy, sys
        sys.path.insert(0, sys.argv.pop(1))
        runpy.run_module("grading", run_name="__main__", alter_sys=True)
    """)
    project = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(project), "release", "none.ipynb"]
    run = subprocess.run(command, cwd=toy.root, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.splitlines() == [
        "python -m grading: error: cannot read none.ipynb: No such file or directory"
    ]
