"""What must not reach students is found wherever it hides, through the command line."""

import base64
import gzip
import io
import json
import struct
import subprocess
import zipfile
import zlib

import nbformat
import pytest

from grading.__main__ import main
from tests.grading.toy import code, exercise, png, refused, text

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


def pack_small(content):
    """Returns content as libpng compresses it where it is short: with a small window."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 9)
    return packer.compress(content) + packer.flush()


PNGS = {
    "text chunk": png((b"tEXt", b"Title\0" + ANSWER.encode())),
    "after the end": png() + ANSWER.encode(),
    "compressed": png((b"zTXt", b"Title\0\0" + zlib.compress(ANSWER.encode()))),
    "international": png((b"iTXt", b"Title\0\1\0\0\0" + zlib.compress(ANSWER.encode()))),
    "small window": png((b"zTXt", b"Title\0\0" + pack_small(ANSWER.encode()))),
}


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("kind", PNGS)
def test_leak_in_image(toy, capsys, kind, embedded):
    image = PNGS[kind]
    toy.write("solutions/dot.png", image)
    uri = "data:image/png;base64," + base64.b64encode(image).decode()
    solve_with_answer(toy, text(f"![dot]({uri if embedded else 'dot.png'})"))
    said = refused(capsys)
    assert said.startswith("solutions/toy.ipynb: cell title, image")
    assert f"gives away `{ANSWER}`" in said
    assert said.endswith("problems: 1; nothing written\n")


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


# Files of other kinds


def pack_zip(content, *, comment=b"", extra=b"", name="notes.txt", file_comment=b""):
    """Returns a deflated zip of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.extra, entry.comment, entry.compress_type = extra, file_comment, zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
        archive.comment = comment
    return buffer.getvalue()


HIDDEN = ANSWER.encode()
NOTEBOOK = json.dumps(nbformat.v4.new_notebook(cells=[code(LEAKS[1])])).encode()
PACKED = {
    "member": (pack_zip(HIDDEN), ", member notes.txt, line 1: gives away"),
    "notebook in a zip": (pack_zip(NOTEBOOK), "notes.txt: cell loss-exercise, line 1: gives"),
    "archive's comment": (pack_zip(b"", comment=HIDDEN), ", comment, line 1: gives away"),
    "member's comment": (pack_zip(b"", file_comment=HIDDEN), ", comment, line 1: gives away"),
    "extra field": (
        pack_zip(b"", extra=b"\xfe\xca" + struct.pack("<H", len(HIDDEN)) + HIDDEN),
        ", extra field, line 1: gives away",
    ),
    "zip in a zip": (pack_zip(pack_zip(HIDDEN)), "notes.txt, member notes.txt, line 1: gives"),
    "image in a zip": (pack_zip(PNGS["compressed"]), "notes.txt, packed text, line 1: gives"),
    "gzip": (gzip.compress(HIDDEN), ", packed text, line 1: gives away"),
    "UTF-16": (ANSWER.encode("utf-16"), ", line 1: gives away"),
    "private name in a zip": (
        pack_zip(b"", name="solutions/toy.npz"),
        "nothing in solutions/toy.npz is for students",
    ),
    "damaged zip": (
        pack_zip(HIDDEN).replace(zlib.compress(HIDDEN)[2:12], bytes(10)),
        "it cannot be unpacked, so not be checked",
    ),
    "far too large": (pack_zip(bytes(2**26 + 1)), "it cannot be unpacked, so not be checked"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_leak_in_a_file_of_another_kind(toy, capsys, kind):
    data, message = PACKED[kind]
    toy.write("setup.sh", data)
    solve_with_answer(toy)
    said = refused(capsys)
    assert said.startswith("setup.sh")
    assert message in said
    assert said.endswith("problems: 1; nothing written\n")


def test_what_is_harmless_in_files_of_other_kinds(toy):
    toy.write("setup.sh", pack_zip(bytes(range(256)) * 99, comment=b"by its author"))
    toy.write("helper.py", png((b"zTXt", b"Title\0\0" + zlib.compress(b"a dot"))))
    solve_with_answer(toy)
    assert main(["release"]) == 0


WEIGHTS = bytes(range(256))


@pytest.mark.parametrize("private", ["solutions/toy.npz", "grading/judge.py", "assignments/toy.py"])
def test_a_private_file_is_recognised_whatever_its_name(toy, capsys, private):
    toy.write(private, WEIGHTS)
    toy.write("setup.sh", WEIGHTS)
    solve_with_answer(toy)
    assert refused(capsys).startswith(f"setup.sh: this is {private}\n")


def test_nothing_ships_from_a_private_folder(toy, capsys):
    toy.write("grading/judge.py", "x = 1\n")
    toy.configure('"setup.sh"', '"grading"')
    solve_with_answer(toy)
    assert refused(capsys).startswith("grading/judge.py: nothing in grading/judge.py is for")


# The history of the folder that the bundle goes into


def git(folder, *arguments):
    names = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder, name="x", content=b"x", message="a commit"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    git(folder, "add", ".")
    git(folder, "commit", "--message", message)


HISTORIES = {
    "file": ({"content": HIDDEN}, "history: x ("),
    "image": ({"content": PNGS["compressed"]}, ", packed text, line 1: gives away"),
    "message": ({"message": f"Now with\n\n{ANSWER}"}, "history: commit ("),
    "weights": ({"content": WEIGHTS}, "this is solutions/toy.npz"),
    "private folder": ({"name": "solutions/old.npz"}, "nothing in solutions is for students"),
}


@pytest.mark.parametrize("kind", HISTORIES)
def test_leak_in_the_history_of_a_clone(toy, capsys, kind):
    planted, message = HISTORIES[kind]
    toy.write("solutions/toy.npz", WEIGHTS)
    solve_with_answer(toy)
    bundle = toy.root / "bundle"
    bundle.mkdir()
    git(bundle, "init", "--quiet")
    assert main(["release", "--bundle", "bundle"]) == 0
    commit(bundle)
    (bundle / "x").unlink()
    git(bundle, "commit", "--all", "--message", "removed")
    capsys.readouterr()
    assert main(["release", "--bundle", "bundle"]) == 0  # nothing is wrong so far
    commit(bundle, **planted)
    git(bundle, "rm", "--quiet", "-r", planted.get("name", "x"))
    git(bundle, "commit", "--quiet", "--message", "away with it")
    assert main(["release", "--bundle", "bundle"]) == 1
    *problems, last = capsys.readouterr().err.splitlines()
    assert message in problems[0]
    assert all(problem.startswith("bundle, history: ") for problem in problems)
    assert last.endswith("; nothing written")


def test_a_tag_and_another_branch_are_history(toy, capsys):
    solve_with_answer(toy)
    bundle = toy.root / "bundle"
    bundle.mkdir()
    git(bundle, "init", "--quiet")
    git(bundle, "commit", "--allow-empty", "--message", "begun")
    git(bundle, "tag", "--annotate", "--message", ANSWER, "v0")
    git(bundle, "checkout", "--quiet", "-b", "other")
    commit(bundle, content=HIDDEN)
    git(bundle, "checkout", "--quiet", "-")
    assert main(["release", "--bundle", "bundle"]) == 1
    said = capsys.readouterr().err
    assert "bundle, history: v0 (" in said
    assert "bundle, history: x (" in said
