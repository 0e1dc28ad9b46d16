"""The autograder: makes student notebooks from solutions, and grades what comes back.

It knows nothing about any particular assignment: assignments are modules in `assignments/`, and the
project's settings are in the table `[tool.grading]` of `pyproject.toml`.
"""


class UsageError(Exception):
    """The command cannot start; the message says what was given and what was expected."""
