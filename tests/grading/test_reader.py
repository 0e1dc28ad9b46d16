"""The reader of submissions: any file is read soon, or given up, within limited memory."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grading.reader import LIMITS, Reader
from grading.sandbox import Sandbox
from grading.submission import read_template
from grading.worker import WorkerStartError
from tests.grading.test_submission import COMPLETE, SOLUTION, TEXT, notebook, states

ROOT = Path(__file__).parents[2]


@pytest.fixture
def reader():
    limits = dataclasses.replace(LIMITS, call_seconds=10, memory_bytes=500 << 20)
    with Reader(Sandbox(), [read_template(TEXT.encode())], limits) as reader:
        yield reader


def test_a_reader_that_cannot_start_accuses_no_notebook(tmp_path, monkeypatch):
    (tmp_path / "solution.ipynb").write_text(TEXT)
    (tmp_path / "nothing").mkdir()
    monkeypatch.setattr("grading.reader.PACKAGE", tmp_path / "nothing")
    with (
        Reader(Sandbox(), [read_template(TEXT.encode())]) as reader,
        pytest.raises(WorkerStartError, match=r"notebooks cannot be read here: .*grading"),
    ):
        reader.read(tmp_path / "solution.ipynb")


def test_not_a_regular_file(tmp_path, reader):
    real = tmp_path / "real.ipynb"
    real.write_text(TEXT)
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(200_000_001)
    problems = {
        tmp_path / "link": "this file is a symbolic link, which is not followed",
        tmp_path / "passwd": "this file is a symbolic link, which is not followed",
        tmp_path / "loop": "this file is a symbolic link, which is not followed",
        tmp_path / "folder": "this file cannot be read: Is a directory",
        tmp_path / "fifo": "this file is not a regular file",
        Path("/dev/zero"): "this file is not a regular file",
        tmp_path / "none": "this file cannot be read: No such file or directory",
        tmp_path / "huge": "this file has 200,000,001 bytes, over 200,000,000",
    }
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    for path, problem in problems.items():
        assert reader.read(path).submission.problem == problem
    assert len(list(Path("/proc/self/fd").iterdir())) == n_open
    assert states(reader.read(real).submission) == COMPLETE


def test_a_template_is_chosen_by_what_is_imported_and_answered(tmp_path):
    other = json.dumps(SOLUTION).replace("keras", "torch")
    templates = [read_template(text.encode()) for text in (TEXT, other)]
    with Reader(Sandbox(), templates) as reader:
        for text, number in ((TEXT, 0), (other, 1), (json.dumps(notebook("import torch")), None)):
            (tmp_path / "homework.ipynb").write_text(text)
            assert reader.read(tmp_path / "homework.ipynb").number == number


HOSTILE = {
    "help after a long word, and many magics": "a" * 12_000 + " ?\n" + "!x\n" * 20,
    "help after a long sum": "a+" * 6_000 + "a ?\n" + "%x\n" * 19,
    "a long line of brackets": "x = " + "(" * 90 + "1" + ")" * 90 + "\n!x" * 15,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_cells_that_take_long_to_read_are_given_up_in_time(tmp_path, reader, kind):
    (tmp_path / "homework.ipynb").write_text(json.dumps(notebook(HOSTILE[kind])))
    began = time.monotonic()
    reading = reader.read(tmp_path / "homework.ipynb")
    assert time.monotonic() - began < 30
    assert states(reading.submission) == ["missing"] * 3
    (tmp_path / "homework.ipynb").write_text(TEXT)
    assert states(reader.read(tmp_path / "homework.ipynb").submission) == COMPLETE


FLOODS = {
    "lists in a cell": '{"cells": [' + "[]," * 20_000_000 + "0]}",
    "objects in outputs": TEXT.replace(
        '"outputs": []', '"outputs": [' + "{}," * 20_000_000 + "0]", 1
    ),
    "keys": '{"a": {' + ",".join(f'"{i}":[]' for i in range(5_000_000)) + "}}",
}


@pytest.mark.parametrize("kind", FLOODS)
def test_files_that_would_fill_the_memory_are_given_up(tmp_path, reader, kind):
    (tmp_path / "homework.ipynb").write_text(FLOODS[kind])
    resident = psutil.Process().memory_info().rss
    reading = reader.read(tmp_path / "homework.ipynb")
    assert "held more than 500 MiB of memory" in reading.submission.problem
    assert psutil.Process().memory_info().rss - resident < 100 << 20


MEASURE = """
import resource, sys, time
from pathlib import Path
from grading.reader import Reader
from grading.sandbox import Sandbox
from grading.submission import read_template
with Reader(Sandbox(), [read_template(Path(sys.argv[1]).read_bytes())]) as reader:
    reader.read(Path(sys.argv[1]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    submission = reader.read(Path(sys.argv[2])).submission
print(*(answer.state for answer in submission.answers.values()))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)
"""
OUTPUTS = {
    "one line": ['"', "x" * 100, '"'],
    "many escapes": ['"', r"[0.1, \"\\\"]\n", '"'],
    "many lines": ["", r'"a line of text with [brackets] in it\n",', "1"],
    "a snowman": ['"☃', "x" * 100, '"'],
    "numbers": ["", "1.1,", "1"],
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_100_megabytes_of_output(tmp_path, kind):
    (tmp_path / "toy.ipynb").write_text(TEXT)
    start, part, end = OUTPUTS[kind]
    text = start + part * (100_000_000 // len(part)) + end
    output = '"outputs": [{"output_type": "stream", "text": [' + text + "]}]"
    (tmp_path / "homework.ipynb").write_text(TEXT.replace('"outputs": []', output, 1))
    command = [sys.executable, "-c", MEASURE, "toy.ipynb", "homework.ipynb"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    found, megabytes = run.stdout.splitlines()
    assert found == "complete complete complete"
    assert float(megabytes) < 150
