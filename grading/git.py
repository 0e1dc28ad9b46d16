"""Git, as its command line: runs commands, and reads all that a repository's history holds."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from grading import UsageError


class GitError(UsageError):
    """Git said no; the message is the last of what it said."""


def git(folder: Path, *arguments: str | Path, data: bytes = b"") -> str:
    """Runs a command in a folder.

    Args:
        folder: where.
        arguments: the command.
        data: what it reads from its standard input.

    Returns:
        What it prints, without white space around it.

    Raises:
        GitError: it failed.
        UsageError: there is no Git.
    """
    command = ["git", "-C", folder, *arguments]
    try:
        done = subprocess.run(command, input=data, env=_environment(), capture_output=True)
    except FileNotFoundError:
        raise UsageError("git is needed, and is not installed") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise GitError(f"git {arguments[0]}: {said}")
    return done.stdout.decode("utf-8", "replace").strip()


def objects_of(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yields everything that some branch or tag of a repository leads to.

    Returns:
        Of each object what to call it, its path ("" if it has none), and its content. A folder has
        a path, and no content.

    Raises:
        UsageError: it is no repository, or a damaged one.
    """
    listing = git(folder, "rev-list", "--objects", "--all")
    paths = dict(line.partition(" ")[::2] for line in listing.splitlines())
    with tempfile.TemporaryFile() as names:
        names.write("\n".join(paths).encode())
        names.seek(0)
        command = ["git", "-C", folder, "cat-file", "--batch"]
        with subprocess.Popen(
            command, stdin=names, stdout=subprocess.PIPE, env=_environment()
        ) as reader:
            for name, path in paths.items():
                _, kind, *size = reader.stdout.readline().decode().split()
                if not size:
                    raise UsageError(f"{folder}: its history is not complete: {name} is {kind}")
                content = reader.stdout.read(int(size[0]))
                reader.stdout.read(1)
                yield f"{path or kind} ({name[:10]})", path, b"" if kind == "tree" else content


def _environment() -> dict[str, str]:
    # Within a hook, these would turn every command to the hook's own repository.
    hooks = re.compile("GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|PREFIX)")
    return {name: value for name, value in os.environ.items() if not hooks.fullmatch(name)}
