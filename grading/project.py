"""What `pyproject.toml` says about a project: the only reader of `[tool.grading]`."""

import ast
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from grading import UsageError


@dataclass(frozen=True)
class Project:
    """The settings of a project.

    Attributes:
        root: the folder of `pyproject.toml`.
        repository: where students get the assignment, `owner/name` on GitHub; "" if nowhere yet.
        ref: the tag of this version there.
        helpers: the files that students get beside the notebooks, those in folders too.
        repository_files: what the student repository holds besides, and no notebook needs.
        readme_names: the Python file whose names the students' README may use, if there is one.
        given_away: answers that the text tells on purpose, as `ast.unparse` writes them.
    """

    root: Path
    repository: str
    ref: str
    helpers: tuple[Path, ...]
    repository_files: tuple[Path, ...]
    readme_names: Path | None
    given_away: frozenset[str]

    @property
    def shipped(self) -> dict[str, Path]:
        """All files that students get beside the notebooks, by their path there."""
        files = (*self.helpers, *self.repository_files)
        return {path.relative_to(self.root).as_posix(): path for path in files}

    @property
    def helper_names(self) -> list[str]:
        """The helper files' paths in the student repository."""
        return [path.relative_to(self.root).as_posix() for path in self.helpers]


def load_project(folder: Path) -> Project:
    """Reads the `pyproject.toml` of the folder or of the nearest one above it.

    Raises:
        UsageError: there is none, or something is missing or wrong in it.
    """
    paths = (parent / "pyproject.toml" for parent in (folder, *folder.parents))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise UsageError(f"there is no pyproject.toml in {folder} or above it")
    try:
        config = tomllib.loads(path.read_text("utf-8", errors="replace"))
        table = config["tool"]["grading"]
        entries = [(entry["statement"], entry["reason"]) for entry in table.get("given-away", [])]
        listed = [path.parent / name for name in table["helper-files"]]
        others = [path.parent / name for name in table.get("repository-files", [])]
        readme = [path.parent / table["readme-names"]] if "readme-names" in table else []
        project = Project(
            root=path.parent,
            repository=table["student-repository"],
            ref=f"v{config['project']['version']}",
            helpers=tuple(file for helper in listed for file in _files_of(helper)),
            repository_files=tuple(others),
            readme_names=readme[0] if readme else None,
            given_away=frozenset(ast.unparse(ast.parse(statement)) for statement, _ in entries),
        )
    except KeyError as error:
        raise UsageError(f"{show(path)} lacks {error}") from None
    except (tomllib.TOMLDecodeError, SyntaxError) as error:
        raise UsageError(f"{show(path)} cannot be read: {error}") from None
    if project.repository and not is_repository(project.repository):
        raise UsageError(
            f"{show(path)}: student-repository is {project.repository!r}, expected owner/name"
        )
    if not all(reason.strip() for _, reason in entries):
        raise UsageError(f"{show(path)} gives no reason for an answer that is given away")
    for file in (*listed, *others, *readme):
        if not file.exists():
            raise UsageError(f"{show(path)} lists a helper file that is missing: {show(file)}")
    return project


def is_repository(name: object) -> bool:
    """Says whether this may be the name of a repository on GitHub, `owner/name`."""
    pattern = r"[A-Za-z0-9][A-Za-z0-9-]*/[\w.-]*[\w-][\w.-]*"
    return isinstance(name, str) and bool(re.fullmatch(pattern, name, re.ASCII))


def show(path: Path) -> str:
    """Writes a path as seen from where the command was called."""
    return os.path.relpath(path)


def _files_of(helper: Path) -> list[Path]:
    """Returns a helper file, or all files of a helper folder but caches and hidden ones."""
    if not helper.is_dir():
        return [helper]
    files = [path for path in sorted(helper.rglob("*")) if path.is_file()]
    names = [path.relative_to(helper).parts for path in files]
    return [
        path
        for path, parts in zip(files, names, strict=True)
        if not any(part == "__pycache__" or part.startswith(".") for part in parts)
    ]
