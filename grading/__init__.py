"""The autograder: cuts student notebooks out of solutions, and grades what comes back.

It knows nothing of any particular assignment: what is specific stands in the project's
`pyproject.toml`, in the table `[tool.grading]`.
"""


class UsageError(Exception):
    """The command cannot start: the message says what was given and what was expected."""
