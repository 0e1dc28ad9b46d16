"""A project with an assignment that needs NumPy alone, so that whole classes are graded quickly."""

from pathlib import Path

import pytest

from tests.docs.test_new_assignment import blocks, copy_project, do_block


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A copy of the project that has the assignment of `docs/new-assignment.md` as well."""
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder)
    solution, module = blocks()[:2]
    do_block(folder, solution)
    do_block(folder, module)
    return folder
