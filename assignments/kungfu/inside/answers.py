"""What an answer that fails says, in its author's terms; of no framework."""

import contextlib
from collections.abc import Iterator

from checks.notebook import describe_error


class AnswerError(Exception):
    """A student's code failed or broke its contract; the message says how, in their terms."""

    is_plain = True  # it needs no name before it


@contextlib.contextmanager
def described_errors() -> Iterator[None]:
    """Turns whatever is raised into an `AnswerError` that names the student's own line."""
    try:
        yield
    except BaseException as error:  # the student's code may raise anything
        raise AnswerError(describe_error(error)) from None
