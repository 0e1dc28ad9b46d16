"""Fixtures of several modules."""

import pytest

from tests.grading.toy import Toy


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Toy(tmp_path)
