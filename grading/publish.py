"""Publishes the bundle: `python -m grading publish OWNER/NAME`.

The bundle becomes one commit with a tag in a clone of the student repository. Nothing is pushed.
Everything that can fail comes first: the commit is made under a name of its own, its whole history
is looked through, and only then do branch and tag move to it, both at once. The project's own files
follow last, so after a failure the same command goes on.
"""

import contextlib
import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from grading import UsageError
from grading.files import write_whole
from grading.git import GitError, git
from grading.project import is_repository, load_project, show
from grading.release import Release, make_release, refuse

_SETTING = re.compile(r'^(student-repository[ \t]*=[ \t]*)"[^"\n]*"(?!")', re.MULTILINE)
_DRAFT = "refs/publish/draft"


def add_command(commands) -> None:
    """Adds `publish` to the sub-commands of an `argparse` parser."""
    command = commands.add_parser("publish", help="commit the bundle in the student repository")
    command.add_argument("repository", metavar="OWNER/NAME", help="the repository on GitHub")
    command.add_argument("--clone", type=Path, metavar="DIR", help="the clone to commit in")
    command.add_argument("--remote", metavar="ADDRESS", help="what to clone, by default GitHub's")
    command.set_defaults(run=_run)


def _run(arguments) -> int:
    name = arguments.repository
    if not is_repository(name):
        raise UsageError(f"the repository is {name!r}, expected owner/name")
    project = dataclasses.replace(load_project(Path.cwd()), repository=name)
    settings = project.root / "pyproject.toml"
    text, count = _SETTING.subn(rf'\1"{name}"', settings.read_text("utf-8"))
    if count != 1:
        raise UsageError(
            f"{show(settings)} should set student-repository in one line of its own; "
            f"such lines: {count}"
        )
    release = make_release(project)
    if release.problems:
        return refuse(release.problems)

    remote = arguments.remote or f"https://github.com/{name}.git"
    if Path(remote).exists():
        remote = str(Path(remote).resolve())  # whatever folder the clone is in
    clone = arguments.clone or project.root / "build" / "publish" / name
    branch = _open_clone(clone, remote)
    with _committed(clone, branch, release, project.ref) as draft:
        if problems := release.check_history(clone):
            return refuse(problems)
        changes = _publish(clone, branch, draft, project.ref)

    if settings.read_text("utf-8") != text:
        write_whole(settings, text.encode())
        print(f"{show(settings)}: written")
    release.write()
    if changes:
        print(f"\nCommitted as {project.ref} in {show(clone)}:", changes, sep="\n")
    else:
        print(f"\nNothing has changed: {project.ref} in {show(clone)} is this bundle already.")
    push = ["git", "-C", show(clone), "push", "--atomic", "origin", branch, project.ref]
    print("\nTo publish it, push:", f"    {shlex.join(push)}", sep="\n")
    return 0


def _open_clone(clone: Path, remote: str) -> str:
    """Makes a clone, or brings one up to date; returns the branch that is checked out.

    Raises:
        UsageError: it cannot be cloned, is of something else, or has changes of its own.
    """
    if not clone.exists():
        clone.parent.mkdir(parents=True, exist_ok=True)
        try:
            git(clone.parent, "clone", "--quiet", remote, clone.absolute())
        except GitError as error:
            raise UsageError(
                f"{remote} cannot be cloned. Does it exist, and may you read it? {error}"
            ) from None
    if not (clone / ".git").exists():
        raise UsageError(f"{show(clone)} is no clone of {remote}: name another with --clone")
    origin = git(clone, "remote", "get-url", "origin")
    if origin != remote:
        raise UsageError(
            f"{show(clone)} is a clone of {origin}, not of {remote}: name another with --clone"
        )
    if changes := git(clone, "status", "--porcelain"):
        raise UsageError(
            f"{show(clone)} has changes that are in no commit; commit or remove them:\n{changes}"
        )
    branch = git(clone, "symbolic-ref", "--short", "HEAD")
    git(clone, "fetch", "--quiet", "--tags", "origin")
    if _find(clone, f"refs/remotes/origin/{branch}"):
        try:
            git(clone, "merge", "--quiet", "--ff-only", f"origin/{branch}")
        except GitError:
            raise UsageError(
                f"{branch} in {show(clone)} has commits that are not in {remote}, which has others:"
                " push or remove them, or name another folder with --clone"
            ) from None
    return branch


@contextlib.contextmanager
def _committed(clone: Path, branch: str, release: Release, ref: str) -> Iterator[str]:
    """Commits the bundle under a name of its own, which is gone afterwards; yields the commit."""
    author = git(clone, "var", "GIT_COMMITTER_IDENT")  # fails if nobody has said who commits
    parent = _find(clone, f"refs/heads/{branch}")
    lines = [f"commit {_DRAFT}".encode(), f"committer {author}".encode(), *_data(ref.encode())]
    lines += [f"from {parent}".encode()] if parent else []
    lines += [b"deleteall"]
    for name, file in sorted(release.bundle.items()):
        lines += [f"M 100{file.mode:o} inline {name}".encode(), *_data(file.data)]
    stream = b"\n".join([*lines, b"done", b""])
    try:
        git(clone, "fast-import", "--quiet", "--done", "--force", data=stream)
        yield git(clone, "rev-parse", _DRAFT)
    finally:
        git(clone, "update-ref", "-d", _DRAFT)


def _data(data: bytes) -> tuple[bytes, bytes]:
    return f"data {len(data)}".encode(), data


def _publish(clone: Path, branch: str, draft: str, ref: str) -> str:
    """Moves the branch and the new tag to a commit; returns what it changes.

    Raises:
        UsageError: there is a tag of this name already, of something else.
    """
    if tagged := _find(clone, f"refs/tags/{ref}"):
        if git(clone, "rev-parse", f"{draft}^{{tree}}") == git(
            clone, "rev-parse", f"{tagged}^{{tree}}"
        ):
            return ""
        raise UsageError(
            f"{ref} is published already, and the bundle has changed since: count up `version` in "
            "pyproject.toml"
        )
    git(
        clone,
        "update-ref",
        "--stdin",
        data=f"update refs/heads/{branch} {draft}\ncreate refs/tags/{ref} {draft}\n".encode(),
    )
    git(clone, "reset", "--quiet", "--hard")
    return git(clone, "show", "--stat", "--format=", "--root", draft)


def _find(clone: Path, ref: str) -> str:
    """Returns the commit that a branch or tag leads to, or "" if there is no such name."""
    return git(clone, "for-each-ref", "--format=%(objectname)", ref)
