"""What is drawn follows from the seed, and cannot be found out from the seed alone."""

import stat
import subprocess
import sys

import pytest

from grading import UsageError, draws
from grading.grade import Grader


def draw_elsewhere(home, seed: int = 1, name: str = "loss") -> str:
    """Returns what a process draws whose secrets are kept in a folder."""
    source = "from grading.draws import *\n"
    source += f"print(generator_of({seed}, {name!r}).integers(2**62))"
    environment = {"XDG_STATE_HOME": str(home)}
    return subprocess.check_output([sys.executable, "-c", source], env=environment, text=True)


def test_an_installation_repeats_a_seed_and_no_other_does(tmp_path):
    drawn = draw_elsewhere(tmp_path / "here")
    assert draw_elsewhere(tmp_path / "here") == drawn
    assert draw_elsewhere(tmp_path / "there") != drawn
    assert draw_elsewhere(tmp_path / "here", seed=2) != drawn
    assert draw_elsewhere(tmp_path / "here", name="agent") != drawn


def test_nobody_else_may_read_the_secret(tmp_path):
    draw_elsewhere(tmp_path)
    (secret,) = (tmp_path / "deep-kung-fu").iterdir()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_bytes()) == draws.N_BYTES


@pytest.fixture
def no_secret(tmp_path, monkeypatch):
    """An installation that cannot keep a secret, and has not made one yet."""
    (tmp_path / "deep-kung-fu").write_text("in the way of the folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    draws._secret.cache_clear()
    yield
    draws._secret.cache_clear()


def test_without_a_secret_nothing_is_repeated_and_all_else_works(no_secret):
    first = draws.generator_of(1, "loss").integers(2**62)
    assert draws.generator_of(1, "loss").integers(2**62) == first
    draws._secret.cache_clear()
    assert draws.generator_of(1, "loss").integers(2**62) != first
    with pytest.raises(UsageError, match="a seed repeats no grading here: the secret"):
        Grader(seed=1)
    with Grader() as grader:
        assert grader.seed


def test_a_damaged_secret_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "deep-kung-fu").mkdir()
    (tmp_path / "deep-kung-fu/secret").write_text("short")
    assert "secret holds 5 bytes, expected 32: remove it" in draws.why_not_repeatable()
