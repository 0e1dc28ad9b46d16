"""Makes the student notebooks and the bundle: `python -m grading release`.

What is proven of all that students get together, before anything is written:

-   No answer, and no file of the teacher's, occurs anywhere in it. Answers that the text tells on
    purpose are listed in `pyproject.toml`, each with its reason.
-   Links into the student repository name its owner, its name, this version's tag and a file there.

The badges in README.md and docs/ follow `pyproject.toml`. Nothing else that people edit is written.
"""

import difflib
import hashlib
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grading import UsageError
from grading.bundle import (
    README,
    TEMPLATE,
    BundleFile,
    find_changes,
    make_kit,
    make_readme,
    read_shipped,
    write_bundle,
)
from grading.files import write_whole
from grading.git import objects_of
from grading.leaks import Scanner, texts_of
from grading.links import KIT, Address
from grading.project import Project, load_project, show


def add_command(commands) -> None:
    """Adds `release` to the sub-commands of an `argparse` parser."""
    command = commands.add_parser("release", help="make the student notebooks from the solutions")
    command.add_argument("solutions", nargs="*", type=Path, metavar="SOLUTION")
    command.add_argument("--bundle", type=Path, metavar="OUT", help="write all that students get")
    command.add_argument("--check", action="store_true", help="compare instead of writing")
    command.set_defaults(run=_run)


def _run(arguments) -> int:
    if arguments.bundle and arguments.solutions:
        raise UsageError("a bundle holds every notebook: give --bundle or solutions, not both")
    release = make_release(load_project(Path.cwd()), arguments.solutions)
    problems = release.problems
    if arguments.bundle and not problems and (arguments.bundle / ".git").exists():
        problems = release.check_history(arguments.bundle)
    if problems:
        return refuse(problems)
    if arguments.bundle:
        return _write_bundle(arguments.bundle, release, arguments.check)
    changed = release.changed()
    if arguments.check:
        return _show_changes({path: release.files[path] for path in changed})
    release.write()
    return 0


def refuse(problems: list[str]) -> int:
    """Prints problems; returns the exit code."""
    print(*problems, f"problems: {len(problems)}; nothing written", sep="\n", file=sys.stderr)
    return 1


@dataclass(frozen=True)
class Release:
    """What becomes of the solutions.

    Attributes:
        bundle: all that students get, by its path there.
        files: what is written into the project itself.
        problems: why nothing may be written.
        scanner: knows what students must not get.
    """

    bundle: dict[str, BundleFile]
    files: dict[Path, bytes]
    problems: list[str]
    scanner: Scanner

    def changed(self) -> list[Path]:
        """Returns the project's files that are not what they should be."""
        files = self.files.items()
        return [path for path, data in files if not path.is_file() or path.read_bytes() != data]

    def write(self) -> None:
        """Writes the project's files that are not what they should be, and says which."""
        for path in self.changed():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.files[path])
            print(f"{show(path)}: written")

    def check_history(self, repository: Path) -> list[str]:
        """Returns what students must not get and could find in a repository's history."""
        return [
            problem
            for what, path, content in objects_of(repository)
            for problem in self.scanner.scan(f"{show(repository)}, history: {what}", path, content)
        ]


def make_release(project: Project, solutions: list[Path] | None = None) -> Release:
    """Makes all that students get, and writes nothing.

    Args:
        project: the settings.
        solutions: the notebooks, by default all of the project's.

    Raises:
        UsageError: there are no solutions, or something cannot be read.
    """
    solutions = solutions or sorted(project.root.glob("solutions/*.ipynb"))
    if not solutions:
        raise UsageError(f"no notebooks in {show(project.root / 'solutions')}")
    if len({path.name for path in solutions}) < len(solutions):
        raise UsageError("two of the solutions have the same file name")
    from grading.cutting import cut_notebooks  # its nbformat takes a second of other commands' time

    kit = make_kit(project)
    address = Address(project.repository, project.ref, hashlib.sha256(kit).hexdigest())
    cut = cut_notebooks(solutions, address.update)
    made = {name: text.encode() for name, text in cut.students.items()}
    if readme := make_readme(project):
        made[README] = address.update(readme).encode()
    files = {name: BundleFile(data) for name, data in made.items()}
    files |= read_shipped(project) | {KIT: BundleFile(kit)}

    pages = [*project.root.glob("README.md"), *sorted(project.root.glob("docs/*.md"))]
    pages = {page: address.update(_read_text(page)) for page in pages}
    problems = list(cut.problems)
    secrets = [(s, origin) for s, origin in cut.secrets if s.text not in project.given_away]
    scanner = Scanner(secrets, project.root)
    sources = {path.name: path for path in solutions} | project.shipped
    sources[README] = project.root / TEMPLATE
    texts = []
    for name, file in files.items():
        place = show(sources[name]) if name in sources else name
        problems += scanner.scan(place, name, file.data)
        if name != KIT:  # its files are in the bundle, too
            texts += [(f"{place}{part}", text) for part, text in texts_of(file.data)]
    for place, text in [*texts, *((show(path), text) for path, text in pages.items())]:
        problems += [f"{place}: {problem}" for problem in address.check(text, files)]
    written = {project.root / "notebooks" / name: data for name, data in made.items()}
    return Release(
        bundle=files,
        files=written | {path: text.encode() for path, text in pages.items()},
        problems=problems,
        scanner=scanner,
    )


def _write_bundle(folder: Path, release: Release, is_check: bool) -> int:
    if is_check:
        changed = find_changes(folder, release.bundle)
        return _show_changes({folder / name: release.bundle[name].data for name in changed})
    for name in write_bundle(folder, release.bundle):
        print(f"{show(folder / name)}: written")
    return 0


def _show_changes(changed: dict[Path, bytes]) -> int:
    for path, data in changed.items():
        print(f"{show(path)}: not what would be written", *_diff(path, data), sep="\n")
    return 1 if changed else 0


def _diff(path: Path, data: bytes) -> Iterator[str]:
    """Yields the first few lines of what would change."""
    now = _read_text(path).splitlines() if path.is_file() else []
    then = data.decode("utf-8", errors="replace").splitlines()
    lines = difflib.unified_diff(now, then, "now", "then", n=1, lineterm="")
    return (line[:100] for line in itertools.islice(lines, 20))


def _read_text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")
