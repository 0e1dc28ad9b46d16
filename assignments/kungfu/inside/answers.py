"""Describes errors in an answer, in the student's terms; works for every framework."""

import contextlib
from collections.abc import Iterator

from checks.notebook import describe_error


class AnswerError(Exception):
    """A student's code failed or broke its contract; the message says how, in plain terms."""

    is_plain = True  # shown without the name of this class


@contextlib.contextmanager
def described_errors() -> Iterator[None]:
    """Turns any exception into an `AnswerError` that names the student's own line."""
    try:
        yield
    except BaseException as error:  # the student's code may raise anything
        raise AnswerError(describe_error(error)) from None
