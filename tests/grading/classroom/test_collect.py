"""Submissions are found in every platform's download, and each belongs to its student."""

import io
import os
import zipfile
from datetime import UTC, datetime

import pytest

from grading import UsageError
from grading.archive import Limits
from grading.classroom.collect import collect

NOTEBOOK = b'{"nbformat": 4, "cells": []}'
GRADESCOPE = b"""\
submission_11:
  :submitters:
  - :name: Ada Lovelace
    :sid: '0042'
    :email: ada@uni.edu
  :created_at: 2026-03-04 05:06:07.123456789 -08:00
  :results: &x {tests: []}
submission_12:
  :submitters:
  - :name: Bob
    :sid: 43
  - :name: Carol
    :sid:
    :email: carol@uni.edu
  - :name: Dan
    :sid: ''
  :created_at: '2026-03-04 05:06:07 UTC'
  :results: *x
submission_13:
  :submitters:
  - :sid: '0042'
  :created_at: '2026-03-05 05:06:07 +0100'
submission_15: {}
"""


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def contents_of(path):
    return NOTEBOOK if path.lower().endswith(".ipynb") else b"x"


def write(folder, files):
    """Writes files, each a minute younger than the one before; a list has usual contents."""
    files = files if isinstance(files, dict) else {path: contents_of(path) for path in files}
    for i, (path, content) in enumerate(files.items()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        os.utime(target, (60 * i, 60 * i))
    return folder


def shape(collection):
    """Returns each attempt as its key, where it is or what is wrong, and its attachments."""
    rows = []
    for attempt in collection.attempts:
        assert (attempt.notebook is None) == bool(attempt.problem)
        what = attempt.problem or attempt.label
        rows.append((attempt.student.key, what, *(path.name for path in attempt.attachments)))
    return rows


def collected(tmp_path, files, **options):
    return collect(write(tmp_path / "class", files), tmp_path / "scratch", **options)


NO_NOTEBOOK = "no notebook was handed in; found "
MOODLE_FILE = "assignsubmission_file"
# Each class is its layout, its files, and each attempt with its attachments.
CLASSES = {
    "notebooks side by side": (
        "notebooks side by side",
        "ada (2).ipynb | ada (1).ipynb | ada.ipynb | ada.npz | ada (2).npz | x.npz | roster.csv |"
        "bob_attempt_10.ipynb | bob_attempt_2.ipynb | bob.pdf | team-1.ipynb | team-2.ipynb |"
        "Eve.ipynb | eve.IPYNB | fay.pdf | gil.ipynb.txt | .x.ipynb | utils.py | jo.py.txt |"
        "ada-report.pdf | ADA.docx | adam.html | bob.zip.pdf | hw-Copy1.ipynb |"
        ".ipynb_checkpoints/ada.ipynb | __MACOSX/ada.ipynb",
        [
            "Eve | Eve.ipynb",
            "ada | ada.ipynb | ada.npz",
            "ada | ada (1).ipynb",
            "ada | ada (2).ipynb | ada (2).npz",
            "adam | no notebook was handed in; found adam.html",
            "bob | bob_attempt_2.ipynb",
            "bob | bob_attempt_10.ipynb",
            "eve | eve.IPYNB",
            "fay | no notebook was handed in; found fay.pdf",
            "gil | no notebook was handed in; found gil.ipynb.txt",
            "hw-Copy1 | hw-Copy1.ipynb",
            "jo.py | no notebook was handed in; found jo.py.txt",
            "team-1 | team-1.ipynb",
            "team-2 | team-2.ipynb",
        ],
    ),
    "one student side by side": (
        "notebooks side by side",
        "hw.ipynb | kungfu_weights.npz | hw (1).ipynb",
        ["hw | hw.ipynb | kungfu_weights.npz", "hw | hw (1).ipynb | kungfu_weights.npz"],
    ),
    "loose files where owners are clear": (
        "one folder a student",
        "ada/hw-Copy1.ipynb | ada/hw.ipynb | bob/hw.ipynb | utils.py | ada_notes.pdf | carol.pdf",
        [
            "ada | ada/hw-Copy1.ipynb",
            "ada | ada/hw.ipynb",
            "bob | bob/hw.ipynb",
            "carol | no notebook was handed in; found carol.pdf",
        ],
    ),
    "folders": (
        "one folder a student",
        "ada/attempt-10/hw.ipynb | ada/attempt-10/w.npz | ada/attempt-2/hw.ipynb |"
        "bob/hand_in/hw.ipynb | bob/c.npz | bob/hand_in/a.npz | bob/hand_in/kungfu_weights.npz |"
        "bob/hand_in/.ipynb_checkpoints/hw.ipynb | carol/report.pdf | carol/hw.py |"
        "dan/hw.ipynb | dan/a.npz | dan/hw.npz | dan/kungfu_weights (1).npz | Dan/late/hw.ipynb |"
        "eve_attempt_2/hw.ipynb | eve_attempt_1/hw.ipynb | fay.ipynb | fay.npz | x.npz |"
        "ida.ipynb | gil/new.ipynb | gil/old.ipynb",
        [
            "Dan | Dan/late/hw.ipynb",
            "ada | ada/attempt-2/hw.ipynb",
            "ada | ada/attempt-10/hw.ipynb | w.npz",
            "bob | bob/hand_in/hw.ipynb | kungfu_weights.npz | a.npz | c.npz",
            "carol | no notebook was handed in; found hw.py, report.pdf",
            "dan | dan/hw.ipynb | hw.npz | a.npz | kungfu_weights (1).npz",
            "eve | eve_attempt_1/hw.ipynb",
            "eve | eve_attempt_2/hw.ipynb",
            "fay | fay.ipynb | fay.npz",
            "gil | gil/new.ipynb",
            "gil | gil/old.ipynb",
            "ida | ida.ipynb",
        ],
    ),
    "Moodle": (
        "Moodle",
        "Ada Lovelace_7_@file_/hw.ipynb | Ada Lovelace_7_@file_/w.npz |"
        "Ada Lovelace_7_@onlinetext_/onlinetext.html | Ada Lovelace_8_@file/deep/hw.ipynb |"
        "O'Neil_x, Bo_9_@file_my_hw.ipynb | O'Neil_x, Bo_9_@file_my_hw.npz |"
        "Eve_10_@file_x_7_@file_hw.ipynb | Fay_11_@file_/essay.pdf |"
        "Gil_12_@onlinetext_/onlinetext.ipynb",
        [
            "Ada Lovelace_7 | Ada Lovelace_7_@file_/hw.ipynb | w.npz",
            "Ada Lovelace_8 | Ada Lovelace_8_@file/deep/hw.ipynb",
            "Eve_10 | Eve_10_@file_x_7_@file_hw.ipynb",
            "Fay_11 | no notebook was handed in; found essay.pdf",
            "Gil_12 | no notebook was handed in; found onlinetext.ipynb",
            "O'Neil_x, Bo_9 | O'Neil_x, Bo_9_@file_my_hw.ipynb | O'Neil_x, Bo_9_@file_my_hw.npz",
        ],
    ),
    "Canvas": (
        "Canvas",
        "lovelace_7_102_hw-2.ipynb | lovelace_7_105_kungfu_weights-2.npz |"
        "lovelace_7_101_hw.ipynb | lovelace_7_100_kungfu_weights.npz | lovelace_7_109_hw-1.ipynb |"
        "bobby_LATE_8_110_kungfu.ipynb | bobby_LATE_8_111_w-1.npz | bobby_9_112_a_1_2_b.ipynb |"
        "carol_10_120_essay.pdf | dan_11_1300_a.ipynb | dan_11_130_b.ipynb | dan_11_131_w.npz",
        [
            "bobby_8 | bobby_LATE_8_110_kungfu.ipynb | bobby_LATE_8_111_w-1.npz",
            "bobby_9 | bobby_9_112_a_1_2_b.ipynb",
            "carol_10 | no notebook was handed in; found essay.pdf",
            "dan_11 | dan_11_130_b.ipynb | dan_11_131_w.npz",
            "dan_11 | dan_11_1300_a.ipynb | dan_11_131_w.npz",
            "lovelace_7 | lovelace_7_101_hw.ipynb | lovelace_7_100_kungfu_weights.npz",
            "lovelace_7 | lovelace_7_109_hw-1.ipynb | lovelace_7_100_kungfu_weights.npz"
            " | lovelace_7_105_kungfu_weights-2.npz",
            "lovelace_7 | lovelace_7_102_hw-2.ipynb | lovelace_7_105_kungfu_weights-2.npz",
        ],
    ),
    "GitHub Classroom": (
        "GitHub Classroom",
        "kung-fu-ada/.git/HEAD | kung-fu-ada/notebooks/a.ipynb | kung-fu-ada/w.npz |"
        "kung-fu-b-o-b/.git/HEAD | kung-fu-b-o-b/a.ipynb | kung-fu-b-o-b/util.py |"
        "kung-fu-carol-x/.git/HEAD | kung-fu-carol-x/README.md |"
        "kung-fu-anna/.git/HEAD | kung-fu-anna/a.ipynb | kung-fu-dan/a.ipynb",
        [
            "ada | kung-fu-ada/notebooks/a.ipynb | w.npz",
            "anna | kung-fu-anna/a.ipynb",
            "b-o-b | kung-fu-b-o-b/a.ipynb",
            "carol-x | no notebook was handed in; found README.md",
            "kung-fu-dan | kung-fu-dan/a.ipynb",
        ],
    ),
    "one student with attempts": (
        "one folder a student",
        "ada/attempt-2/hw.ipynb | ada/attempt-1/hw.ipynb",
        ["ada | ada/attempt-1/hw.ipynb", "ada | ada/attempt-2/hw.ipynb"],
    ),
    "one student with one notebook": (
        "one folder a student",
        "ada/hw.ipynb | ada/data/w.npz",
        ["ada | ada/hw.ipynb | w.npz"],
    ),
    "one student without a notebook": (
        "one folder a student",
        "ada/report.pdf",
        ["ada | no notebook was handed in; found report.pdf"],
    ),
    "one student of nbgrader": (
        "nbgrader",
        "submitted/ada/ps1/hw.ipynb | submitted/ada/ps2/x.ipynb",
        ["ada | ada/ps1/hw.ipynb", "ada | ada/ps2/x.ipynb"],
    ),
    "one clone": (
        "GitHub Classroom",
        "kung-fu-ada/.git/HEAD | kung-fu-ada/a/1.ipynb",
        ["kung-fu-ada | kung-fu-ada/a/1.ipynb"],
    ),
    "Blackboard": (
        "Blackboard",
        "Kung_Fu_ada_attempt_2026-10-01-12-00-00_hw.ipynb |"
        "Kung_Fu_ada_attempt_2026-10-01-12-00-00_kungfu_weights.npz |"
        "Kung_Fu_ada_attempt_2026-10-01-12-00-00.txt |"
        "Kung_Fu_ada_attempt_2026-09-01-12-00-00_hw (1).ipynb |"
        "Kung_Fu_ada_attempt_2026-09-01-12-00-00_x_attempt_2026-01-01-00-00-00_y.npz |"
        "Kung_Fu_bob_attempt_2026-10-01-12-00-00_hw.ipynb |"
        "Kung_Fu_x_bob_attempt_2026-10-01-12-00-00_hw.docx |"
        "Kung_Fu_zoe_attempt_2026-99-01-12-00-00_hw.ipynb",
        [
            "ada | Kung_Fu_ada_attempt_2026-09-01-12-00-00_hw (1).ipynb"
            " | Kung_Fu_ada_attempt_2026-09-01-12-00-00_x_attempt_2026-01-01-00-00-00_y.npz",
            "ada | Kung_Fu_ada_attempt_2026-10-01-12-00-00_hw.ipynb"
            " | Kung_Fu_ada_attempt_2026-10-01-12-00-00_kungfu_weights.npz",
            "bob | Kung_Fu_bob_attempt_2026-10-01-12-00-00_hw.ipynb",
            "x_bob | no notebook was handed in; found hw.docx",
            "zoe | Kung_Fu_zoe_attempt_2026-99-01-12-00-00_hw.ipynb",
        ],
    ),
}


def files_of(name):
    return [path.strip() for path in CLASSES[name][1].replace("@", "assignsubmission_").split("|")]


@pytest.mark.parametrize("form", ["folder", "zip", "wrapped folder", "wrapped zip"])
@pytest.mark.parametrize("name", CLASSES)
def test_layouts(tmp_path, name, form):
    layout, _, expected = CLASSES[name]
    wrapper = "class-2026/all/" if "wrapped" in form else ""
    files = {f"{wrapper}{path}": contents_of(path) for path in files_of(name)}
    source = tmp_path / "class"
    if "zip" in form:
        source = tmp_path / "class.zip"
        source.write_bytes(zipped(files))
    else:
        write(source, files)
    collection = collect(source, tmp_path / "scratch")
    assert collection.layout == layout
    expected = [row.replace("@", "assignsubmission_").split(" | ") for row in expected]
    assert shape(collection) == [tuple(row) for row in expected]
    found = [attempt.notebook for attempt in collection.attempts if attempt.notebook]
    assert all(path.read_bytes() == NOTEBOOK for path in found)


def test_remarks_name_what_was_left_out(tmp_path):
    collection = collected(tmp_path, files_of("notebooks side by side"))
    left_out = ["ADA.docx", "ada-report.pdf", "bob.zip.pdf", "roster.csv", "utils.py", "x.npz"]
    reason = "left out: it belongs to no notebook"
    assert collection.remarks == tuple(f"{name}: {reason}" for name in left_out)
    collection = collected(tmp_path / "no notebook", ["ada.pdf", "bob.html", "utils.py"])
    expected = [("ada", f"{NO_NOTEBOOK}ada.pdf"), ("bob", f"{NO_NOTEBOOK}bob.html")]
    assert shape(collection) == expected
    files = ["gil/b.ipynb", "gil/a.ipynb", "ada/a.ipynb"]
    collection = collect(write(tmp_path / "two", files), tmp_path / "x")
    assert shape(collection)[1:] == [("gil", "gil/b.ipynb"), ("gil", "gil/a.ipynb")]
    together = "gil: gil/b.ipynb, gil/a.ipynb came together; gil/a.ipynb counts"
    assert collection.remarks == (together,)


def test_moodle_tells_names_numbers_and_folders(tmp_path):
    attempts = collected(tmp_path, files_of("Moodle")).attempts
    found = {a.student.platform_id: (a.student.name, a.folder) for a in attempts}
    assert found == {
        "7": ("Ada Lovelace", f"Ada Lovelace_7_{MOODLE_FILE}_"),
        "8": ("Ada Lovelace", f"Ada Lovelace_8_{MOODLE_FILE}"),
        "9": ("O'Neil_x, Bo", f"O'Neil_x, Bo_9_{MOODLE_FILE}_"),
        "10": ("Eve", f"Eve_10_{MOODLE_FILE}_"),
        "11": ("Fay", f"Fay_11_{MOODLE_FILE}_"),
        "12": ("Gil", "Gil_12_assignsubmission_onlinetext_"),
    }


def test_canvas_tells_numbers_and_lateness(tmp_path):
    attempts = collected(tmp_path, files_of("Canvas")).attempts
    found = {a.student.key: (a.student.platform_id, a.is_late) for a in attempts}
    assert found == {
        "lovelace_7": ("7", False),
        "bobby_8": ("8", True),
        "bobby_9": ("9", False),
        "carol_10": ("10", False),
        "dan_11": ("11", False),
    }


def test_blackboard_tells_times(tmp_path):
    collection = collected(tmp_path, files_of("Blackboard"))
    times = [a.submitted and a.submitted.replace(tzinfo=None) for a in collection.attempts]
    first, second = datetime(2026, 9, 1, 12), datetime(2026, 10, 1, 12)
    assert times == [first, second, second, second, None]
    assert collection.attempts[0].submitted.tzinfo
    assert collection.remarks == ("Blackboard's times are taken to be in this machine's time zone",)


def test_an_attempt_without_a_notebook_does_not_count_but_is_named(tmp_path):
    names = ["hw_ada_attempt_2026-10-01-12-00-00_hw.ipynb", "hw_bo_attempt_2026-10-01-12-00-00_x"]
    names.append("hw_ada_attempt_2026-10-02-12-00-00_report.pdf")
    collection = collected(tmp_path, names)
    assert shape(collection)[0] == ("ada", names[0])
    assert "ada: 2026-10-02-12-00-00 holds no notebook; found report.pdf" in collection.remarks


def test_gradescope(tmp_path):
    files = {"submission_metadata.yml": GRADESCOPE}
    paths = ["submission_13/hw.ipynb", "submission_11/hw (1).ipynb", "submission_11/w.npz"]
    paths += ["submission_12/deep/hw.ipynb", "submission_14/hw.ipynb"]
    collection = collected(tmp_path, files | {path: contents_of(path) for path in paths})
    assert collection.layout == "Gradescope"
    assert shape(collection) == [
        ("0042", "submission_11/hw (1).ipynb", "w.npz"),
        ("0042", "submission_13/hw.ipynb"),
        ("43", "submission_12/deep/hw.ipynb"),
        ("Dan", "submission_12/deep/hw.ipynb"),
        ("carol@uni.edu", "submission_12/deep/hw.ipynb"),
        ("submission_14", "submission_14/hw.ipynb"),
    ]
    ada = collection.attempts[1]
    assert (ada.student.name, ada.student.email) == ("Ada Lovelace", "ada@uni.edu")
    assert ada.submitted == datetime(2026, 3, 5, 4, 6, 7, tzinfo=UTC)
    time = datetime(2026, 3, 4, 13, 6, 7, 123456, tzinfo=UTC)
    assert collection.attempts[0].submitted == time
    assert collection.remarks == (
        "submission_14: the metadata does not say whose it is",
        "submission_15: the metadata lists it, but no file came with it",
    )


@pytest.mark.parametrize(
    "written",
    [
        *("2026-03-04 05:06:07", "2026-03-04T05:06:07Z", "2026-03-04 06:06:07.000000000 +01:00"),
        *("'2026-03-04 05:06:07 UTC'", "'2026-03-04 06:06:07 +0100'", "'2026-03-04 05:06:07 Z'"),
    ],
)
def test_gradescope_times(tmp_path, written):
    metadata = f"submission_1:\n  :created_at: {written}\n"
    files = {"submission_metadata.yml": metadata.encode(), "submission_1/hw.ipynb": NOTEBOOK}
    (attempt,) = collected(tmp_path, files).attempts
    assert attempt.submitted == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


HOSTILE_METADATA = [
    *("", "[]", "7", "submission_11: 7", "? [a]\n: 1", "\0", "\t: - x", "[" * 9_999),
    *('submission_11: {":submitters": 7}', 'submission_11: {":created_at": [7]}'),
    'submission_11: {":submitters": [7, {":sid": [x], ":email": {a: b}, ":name": null}]}',
    *('submission_11: {":created_at": 2026-99-99 00:00:00}', 'submission_11: {":created_at": no}'),
    *('x: "\\UFFFFFFFF"', "submission_11: {&a ':submitters': *a}", "a: &a [*a]"),
    *("x: !!int ''", "x: !!timestamp x", "1: &a {<<: {}}", "x: " + "9" * 5_000),
    "!!python/object/apply:os.mkdir [evil]",
    "a: &a [x, x]\n" + "".join(f"{'b' * i}: &{'b' * i} [*a, *a]\n" for i in range(1, 50)),
    "a: &a0 {x: 1}\n" + "".join(f"{i}: &a{i} {{<<: [{f'*a{i - 1},' * 9}]}}\n" for i in range(1, 9)),
]


@pytest.mark.parametrize("metadata", HOSTILE_METADATA, ids=range(len(HOSTILE_METADATA)))
def test_gradescope_metadata_of_an_enemy(tmp_path, metadata, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"submission_metadata.yml": metadata.encode(), "submission_11/hw.ipynb": NOTEBOOK}
    collection = collected(tmp_path, files)
    assert shape(collection) == [("submission_11", "submission_11/hw.ipynb")]
    assert collection.attempts[0].submitted is None
    assert not (tmp_path / "evil").exists()


STAMPS = {
    "2015-02-02 15:58:23.948203 America/Los_Angeles": datetime(2015, 2, 2, 23, 58, 23, 948203, UTC),
    "2015-02-02 15:58:23 UTC\n": datetime(2015, 2, 2, 15, 58, 23, tzinfo=UTC),
    "2015-02-02 15:58:23 +0100": datetime(2015, 2, 2, 14, 58, 23, tzinfo=UTC),
    "2015-02-02 15:58:23": datetime(2015, 2, 2, 15, 58, 23, tzinfo=UTC),
    "2015-02-02 15:58:23 ../../../etc/passwd": None,
    "2015-02-02 15:58:23 America": None,
    "2015-02-02 15:58:23 Gallifrey": None,
    "yesterday": None,
    "2015-02-02 15:58:23 UTC" + " " * 2_000: None,
}


@pytest.mark.parametrize(("text", "time"), STAMPS.items())
def test_nbgrader_timestamps(tmp_path, text, time):
    files = {"ada/ps1/hw.ipynb": NOTEBOOK, "ada/ps1/timestamp.txt": text.encode()}
    collection = collected(tmp_path, files)
    assert shape(collection) == [("ada", "ada/ps1/hw.ipynb")]
    assert collection.attempts[0].submitted == time
    bad = "ada/ps1/timestamp.txt: left out: it is not a time with a time zone"
    assert collection.remarks == (() if time else (bad,))


@pytest.mark.parametrize("top", ["submitted/", "submitted/submitted/", "course/submitted/", "x/"])
def test_nbgrader(tmp_path, top):
    students = {
        "ada/ps1/hw.ipynb": NOTEBOOK,
        "ada/ps1/timestamp.txt": b"2015-02-02 15:58:23 UTC",
        "ada/ps1/w.npz": b"x",
        "ada/ps2/hw (1).ipynb": NOTEBOOK,
        "ada/ps2/timestamp.txt": b"2015-02-01 15:58:23 UTC",
        "bob/ps1/hw.ipynb": NOTEBOOK,
        "bob/ps1/timestamp.txt": b"2015-02-02 15:58:23 UTC",
    }
    files = {f"{top}{path}": content for path, content in students.items()}
    others = {"source/ps1/hw.ipynb": NOTEBOOK, "gradebook.db": b"x"}
    if top.startswith("course"):
        files |= {f"course/{path}": content for path, content in others.items()}
    write(tmp_path, files)
    collection = collect(tmp_path / top.split("/")[0], tmp_path / "scratch")
    assert collection.layout == "nbgrader"
    assert shape(collection) == [
        ("ada", "ada/ps2/hw (1).ipynb"),
        ("ada", "ada/ps1/hw.ipynb", "w.npz"),
        ("bob", "bob/ps1/hw.ipynb"),
    ]


def test_zips_of_students(tmp_path):
    hand_in = zipped({"hw.ipynb": NOTEBOOK, "w.npz": b"x", "__MACOSX/._hw.ipynb": b"x"})
    hostile = zipped({"../../ada/hw.ipynb": b"evil", "/tmp/x": b"", "x/hw.ipynb": NOTEBOOK})
    files = {
        f"Ada_1_{MOODLE_FILE}_/hand_in.zip": hand_in,
        f"Bob_2_{MOODLE_FILE}_/hand_in.zip": hostile,
        f"Carol_3_{MOODLE_FILE}_/hand_in.zip": b"PK\3\4 broken",
        f"Dan_4_{MOODLE_FILE}_/hand_in.ZIP": zipped({"inner.zip": hand_in}),
        f"Eve_5_{MOODLE_FILE}_/hand_in.zip": zipped({".hidden.ipynb": NOTEBOOK}),
        f"Fay_6_{MOODLE_FILE}_hand_in.zip": hand_in,
        "gil_LATE_7_1_hand_in-1.zip": hand_in,
        "gil_LATE_7_2_w-1.npz": b"x",
        "hal.zip": hand_in,
        "hal (1).zip": hand_in,
        "ira.zip": b"no zip",
    }
    (tmp_path / "class.zip").write_bytes(zipped(files))
    for source in (write(tmp_path / "class", files), tmp_path / "class.zip"):
        collection = collect(source, tmp_path / "scratch")
        broken = "cannot be unpacked: File is not a zip file"
        assert shape(collection) == [
            ("Ada_1", f"Ada_1_{MOODLE_FILE}_/hand_in/hw.ipynb", "w.npz"),
            ("Bob_2", f"Bob_2_{MOODLE_FILE}_/hand_in/x/hw.ipynb"),
            ("Carol_3", f"{NO_NOTEBOOK}hand_in.zip (hand_in.zip {broken})"),
            ("Dan_4", f"{NO_NOTEBOOK}hand_in/inner.zip"),
            ("Eve_5", f"{NO_NOTEBOOK}hand_in.zip (nothing in it can be unpacked)"),
            ("Fay_6", f"Fay_6_{MOODLE_FILE}_hand_in/hw.ipynb", "w.npz"),
            ("gil_7", "gil_LATE_7_1_hand_in-1/hw.ipynb", "w.npz", "gil_LATE_7_2_w-1.npz"),
            ("hal", "hal/hw.ipynb", "w.npz"),
            ("hal", "hal (1)/hw.ipynb", "w.npz"),
            ("ira", f"{NO_NOTEBOOK}ira.zip (ira.zip {broken})"),
        ]
        folders = {attempt.student.key: attempt.folder for attempt in collection.attempts}
        assert folders["Fay_6"] == f"Fay_6_{MOODLE_FILE}_"
        remarks = "\n".join(collection.remarks)
        assert "Bob_2_assignsubmission_file_/hand_in.zip: ../../ada/hw.ipynb: left out" in remarks
        assert "inner.zip: not unpacked: it is a zip within a zip" in remarks


@pytest.mark.parametrize(
    "names",
    [
        ("ada/hand_in.zip", "ada/hand_in (1).zip", "ada/kungfu_weights.npz"),
        ("ada/attempt-1/hand_in.zip", "ada/attempt-2/hand_in.zip", "ada/kungfu_weights.npz"),
        ("ada_7_1_hand_in.zip", "ada_7_9_hand_in-1.zip", "ada_7_5_kungfu_weights.npz"),
        (
            "HW_ada_attempt_2026-10-01-12-00-00_hand_in.zip",
            "HW_ada_attempt_2026-10-02-12-00-00_hand_in.zip",
            "HW_ada_attempt_2026-10-02-12-00-00_kungfu_weights.npz",
        ),
    ],
)
def test_weights_in_a_zip_belong_to_the_notebook_in_it(tmp_path, names):
    first, second = (
        zipped({"homework.ipynb": NOTEBOOK, "kungfu_weights.npz": weights})
        for weights in (b"first", b"second")
    )
    others = {"bob/hand_in.zip": first} if "/" in names[0] else {}
    files = dict(zip(names, (first, second, b"loose"), strict=True)) | others
    attempts = collected(tmp_path, files).attempts
    weights = [attempt.attachments[0].read_bytes() for attempt in attempts]
    assert weights == [b"first", b"second", *[b"first"] * len(others)]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"hw.ipynb": NOTEBOOK}, [("ada", "ada/hw/hw.ipynb")]),
        (
            {"a/1.ipynb": NOTEBOOK, "b/2.ipynb": NOTEBOOK, "b/w.npz": b"x"},
            [("ada", "ada/hw/a/1.ipynb", "w.npz"), ("ada", "ada/hw/b/2.ipynb", "w.npz")],
        ),
        ({"x/report.pdf": b"x"}, [("ada", f"{NO_NOTEBOOK}hw/x/report.pdf")]),
    ],
)
@pytest.mark.parametrize("beside", [{}, {"ada/notes.txt": b"x"}])
def test_the_zip_of_an_only_student(tmp_path, files, expected, beside):
    collection = collected(tmp_path, {"ada/hw.zip": zipped(files)} | beside)
    if beside and NO_NOTEBOOK in expected[0][1]:
        expected = [("ada", f"{expected[0][1]}, notes.txt")]
    assert shape(collection) == expected


def test_zips_in_a_folder_around_the_class(tmp_path):
    hand_in = zipped({"hw.ipynb": NOTEBOOK})
    collection = collected(tmp_path, {"all/ada.zip": hand_in, "all/bob.zip": hand_in})
    assert shape(collection) == [("ada", "ada/hw.ipynb"), ("bob", "bob/hw.ipynb")]


@pytest.mark.parametrize(
    ("setting", "value", "num_unpacked"),
    [("ALL_ZIPS", 150, 2), ("STUDENT_LIMITS", Limits(total_bytes=50), 0)],
)
def test_zips_have_limits_alone_and_together(tmp_path, monkeypatch, setting, value, num_unpacked):
    monkeypatch.setattr(f"grading.classroom.collect.{setting}", value)
    zips = {f"{i}.zip": zipped({"hw.ipynb": b"x" * 60}) for i in range(4)}
    expected = [(str(i), f"{i}/hw.ipynb") for i in range(num_unpacked)]
    for i in range(num_unpacked, 4):
        expected.append((str(i), f"{NO_NOTEBOOK}{i}.zip (nothing in it can be unpacked)"))
    assert shape(collected(tmp_path, zips)) == expected


def test_only_the_notebook_that_answers_something_is_kept(tmp_path):
    verdicts = {"touched": True, "untouched": False, "strange": None}
    asked = []

    def answers(path):
        asked.append(path.name)
        return verdicts[path.stem]

    files = ["ada/touched.ipynb", "ada/untouched.ipynb", "ada/strange.ipynb"]
    files += ["bob/untouched.ipynb", "bob/strange.ipynb", "carol/untouched.ipynb"]
    collection = collected(tmp_path, files, answers=answers)
    assert [label for _, label in shape(collection)] == [
        "ada/touched.ipynb",
        "ada/strange.ipynb",
        "bob/untouched.ipynb",
        "bob/strange.ipynb",
        "carol/untouched.ipynb",
    ]
    assert len(asked) == 5  # carol has only one
    assert "ada: ada/untouched.ipynb left out: it answers nothing" in collection.remarks


def test_a_notebook_of_several_students_is_asked_about_once(tmp_path):
    asked = []
    files = {"submission_metadata.yml": GRADESCOPE}
    files |= {f"submission_12/{name}.ipynb": NOTEBOOK for name in "ab"}
    collected(tmp_path, files, answers=lambda path: asked.append(path.name))
    assert sorted(asked) == ["a.ipynb", "b.ipynb"]


def test_nothing_is_followed_or_changed(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/hw.ipynb").write_bytes(NOTEBOOK)
    files = {"ada/hw.zip": zipped({"hw.ipynb": NOTEBOOK}), "eve/hw.ipynb": NOTEBOOK}
    source = write(tmp_path / "class", files)
    (source / "bob").symlink_to(tmp_path / "secret")
    (source / "carol.ipynb").symlink_to(tmp_path / "secret/hw.ipynb")
    (source / "ada/w.npz").symlink_to(tmp_path / "secret/hw.ipynb")
    os.mkfifo(source / "dan.ipynb")
    before = sorted(source.rglob("*"))
    collection = collect(source, tmp_path / "scratch")
    assert shape(collection) == [("ada", "ada/hw/hw.ipynb"), ("eve", "eve/hw.ipynb")]
    assert sorted(source.rglob("*")) == before
    assert collection.remarks == (
        "bob: left out: it is a link",
        "carol.ipynb: left out: it is a link",
        "dan.ipynb: left out: it is not a regular file",
        "ada/w.npz: left out: it is a link",
    )


def test_names_are_fit_to_be_shown_and_stay_different(tmp_path):
    names = [b"M\xfcller", b"M\xf6ller", b"a\x1b[31m\xe2\x80\xaeda\n", "e\u0301ve".encode()]
    for name in names:
        (tmp_path / "class").mkdir(exist_ok=True)
        (tmp_path / "class" / os.fsdecode(name)).mkdir()
        (tmp_path / "class" / os.fsdecode(name) / "hw.ipynb").write_bytes(NOTEBOOK)
    collection = collect(tmp_path / "class", tmp_path / "scratch")
    keys = ["M%F6ller", "M%FCller", "ada", "\u00e9ve"]
    assert shape(collection) == [(key, f"{key}/hw.ipynb") for key in keys]


def test_what_cannot_be_collected(tmp_path):
    (tmp_path / "class.tar").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"class\.tar cannot be unpacked: File is not a zip file"):
        collect(tmp_path / "class.tar", tmp_path / "scratch")
    with pytest.raises(UsageError, match=r"there is no folder or zip file .*nowhere"):
        collect(tmp_path / "nowhere", tmp_path / "scratch")
    collection = collected(tmp_path, ["README.md"])
    assert collection.attempts == ()
    assert "nothing that a student handed in was found" in collection.remarks[-1]
