"""What a grading draws: it follows from the grading's seed and a secret of this installation.

With the seed alone, which may be a date, a submission could find out what it will be asked.
"""

import functools
import hashlib
import os
import secrets
from pathlib import Path

import numpy as np

N_BYTES = 32
_adopted = b""  # the secret of the grader that this process works for


def generator_of(seed: int, name: str) -> np.random.Generator:
    """Returns a generator that nobody without the secret can foresee.

    Args:
        seed: the seed of the grading.
        name: what is drawn; each name has draws of its own.
    """
    digest = hashlib.blake2b(f"{seed} {name}".encode(), key=_secret(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest))


def share_secret() -> bytes:
    """Returns the secret, for graders elsewhere that must draw the same."""
    return _secret()


def adopt_secret(secret: bytes) -> None:
    """Makes this process draw as another installation does.

    Raises:
        ValueError: it has not the size of a secret.
    """
    global _adopted
    if len(secret) != N_BYTES:
        raise ValueError(f"a secret has {N_BYTES} bytes, got {len(secret)}")
    _adopted = secret
    _secret.cache_clear()


def why_not_repeatable() -> str:
    """Returns '' if the same seed will give the same draws in another process, else why not."""
    if _adopted:
        return ""
    try:
        _kept_secret()
    except (OSError, RuntimeError) as error:
        return f"the secret that belongs to it cannot be kept: {error}"
    return ""


@functools.cache
def _secret() -> bytes:
    if _adopted:
        return _adopted
    try:
        return _kept_secret()
    except (OSError, RuntimeError):
        return secrets.token_bytes(N_BYTES)  # good for this process


def _kept_secret() -> bytes:
    """Returns the installation's secret, which is made on first use.

    Raises:
        OSError: it can be neither read nor made.
        RuntimeError: this account has no home.
    """
    folder = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    path = folder / "deep-kung-fu" / "secret"
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"secret-{secrets.token_hex(8)}")
        unfinished.touch(0o600)
        unfinished.write_bytes(secrets.token_bytes(N_BYTES))
        try:
            os.link(unfinished, path)  # unless another grading was first
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
        secret = path.read_bytes()
    if len(secret) != N_BYTES:
        raise OSError(f"{path} holds {len(secret)} bytes, expected {N_BYTES}: remove it")
    return secret
