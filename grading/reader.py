"""Reads submissions in a worker: a hostile file may make a parser hang or fill the memory."""

import contextlib
import dataclasses
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grading.files import UnreadableError, read_regular_file
from grading.notebook import MAX_FILE, read_code_cells
from grading.sandbox import Sandbox
from grading.submission import (
    Answer,
    RunCell,
    Submission,
    Template,
    choose_template,
    read_submission,
    unreadable_submission,
)
from grading.worker import Limits, Worker, WorkerStartError

PACKAGE = Path(__file__).parent
LIMITS = Limits(call_seconds=20, total_seconds=float("inf"), memory_bytes=2 << 30)


@dataclass(frozen=True)
class Reading:
    """What was found in a file.

    Attributes:
        submission: its answers.
        number: the index of the template that it answers; None if it answers none.
    """

    submission: Submission
    number: int | None


class Reader(contextlib.AbstractContextManager):
    """Reads files that claim to be notebooks, one after the other.

    Args:
        sandbox: where to read them; the parsers are honest, but the files may not be.
        templates: those that submissions may answer.
        limits: for each file.
    """

    def __init__(self, sandbox: Sandbox, templates: Sequence[Template], limits: Limits = LIMITS):
        variables = {**sandbox.environment, "PYTHONPATH": str(PACKAGE.parent)}
        read_only = [*sandbox.read_only, PACKAGE]
        self._sandbox = dataclasses.replace(sandbox, read_only=read_only, environment=variables)
        self._templates = templates
        self._limits = limits
        self._cleanup = contextlib.ExitStack()
        self._worker: Worker | None = None

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def read(self, path: Path) -> Reading:
        """Reads any file as a submission; an unreadable one counts for the first template.

        Raises:
            WorkerStartError: the reader itself fails.
        """
        try:
            data = read_regular_file(path, MAX_FILE)
        except UnreadableError as error:
            return self._unreadable(str(error))
        if self._worker is None or not self._worker.is_alive:
            self._worker = self._cleanup.enter_context(Worker(self._sandbox, self._limits))
            ready = self._worker.call("grading.reader:prepare", pickle.dumps(self._templates))
            if ready.status != "ok":  # of no notebook's doing: none has come yet
                self._worker.stop()
                raise WorkerStartError(f"notebooks cannot be read here: {ready.problem}")
        reply = self._worker.call("grading.reader:read", data)
        if reply.status == "ok":
            return _from_json(reply.data)
        return self._unreadable(f"this file cannot be read as a notebook: {reply.problem}")

    def _unreadable(self, reason: str) -> Reading:
        return Reading(unreadable_submission(self._templates[0], reason), 0)


_templates: list[Template] = []  # in the worker


def prepare(data: bytes) -> None:
    """Receives the grader's own templates, in the worker."""
    _templates[:] = pickle.loads(data)


def read(data: bytes) -> bytes:
    """Reads a submission, in the worker; returns JSON for `Reader`."""
    try:
        code = read_code_cells(data)
    except UnreadableError as error:
        return _as_json(unreadable_submission(_templates[0], str(error)), 0)
    for template in choose_template(code, _templates):
        submission = read_submission(code, template)
        if {answer.state for answer in submission.answers.values()} - {"missing"}:
            return _as_json(submission, _templates.index(template))
    return _as_json(submission, None)


def _as_json(submission: Submission, number: int | None) -> bytes:
    return json.dumps([dataclasses.asdict(submission), number]).encode()


def _from_json(data: bytes) -> Reading:
    def tupled(fields: dict) -> dict:
        return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}

    fields, number = json.loads(data)
    answers = {name: Answer(**tupled(answer)) for name, answer in fields["answers"].items()}
    cells = tuple(RunCell(*cell) for cell in fields["cells"])
    return Reading(Submission(**tupled(fields) | {"answers": answers, "cells": cells}), number)
