"""Makes the student notebooks and the bundle: `python -m grading release`."""

import difflib
import itertools
import json
import shutil
import sys
from pathlib import Path

from grading import UsageError
from grading.files import write_whole
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
    project = load_project(Path.cwd())
    solutions = arguments.solutions or sorted(project.root.glob("solutions/*.ipynb"))
    if not solutions:
        raise UsageError(f"no notebooks in {show(project.root / 'solutions')}")
    if len({path.name for path in solutions}) < len(solutions):
        raise UsageError("two of the solutions have the same file name")
    from grading.cutting import build  # its nbformat takes a second of all other commands' time

    pages = _pages(project)
    students, problems = build(project, solutions, pages)
    if problems:
        print(*problems, f"problems: {len(problems)}; nothing written", sep="\n", file=sys.stderr)
        return 1

    folder = arguments.bundle or project.root / "notebooks"
    files = {folder / name: text.encode() for name, text in students.items()}
    if arguments.bundle:
        files |= {folder / name: path.read_bytes() for name, path in project.shipped.items()}
        _check_folder(folder, files.keys())
    else:
        files |= {path: text.encode() for path, text in pages.items()}
        files |= {path: _update_solution(path, project) for path in solutions}
    changed = [path for path in files if not path.is_file() or path.read_bytes() != files[path]]
    if arguments.check:
        for path in changed:
            print(f"{show(path)}: not what would be written", *_diff(path, files[path]), sep="\n")
        return 1 if changed else 0
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, files[path])
        print(f"{show(path)}: written")
    if arguments.bundle:
        for name, path in project.shipped.items():
            shutil.copymode(path, folder / name)
    return 0


def _pages(project: Project) -> dict[Path, str]:
    """Returns the pages about the project as they should be."""
    paths = [*project.root.glob("README.md"), *sorted(project.root.glob("docs/*.md"))]
    return {path: project.update(_read_text(path)) for path in paths}


def _update_solution(path: Path, project: Project) -> bytes:
    """Returns a solution's file as it should be, byte by byte as it is if nothing changes."""
    data = path.read_bytes()
    notebook = json.loads(data)
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    updated = [project.update(source) for source in sources]
    if updated == sources:
        return data
    for cell, source in zip(notebook["cells"], updated, strict=True):
        cell["source"] = source.splitlines(keepends=True)
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _read_text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


def _check_folder(folder: Path, files: set[Path]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{show(folder)} is no folder")
    expected = {*files, *(parent for file in files for parent in file.parents)}
    strangers = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path not in expected
        and path.parent in expected
        and not path.name.startswith(".")  # the student repository's own .git may be there
    ]
    if strangers:
        raise UsageError(f"{show(folder)} holds more than a bundle: {', '.join(sorted(strangers))}")


def _diff(path: Path, data: bytes) -> list[str]:
    """Returns the first few lines of what would change."""
    now = _read_text(path).splitlines() if path.is_file() else []
    then = data.decode("utf-8", errors="replace").splitlines()
    lines = difflib.unified_diff(now, then, "now", "then", n=1, lineterm="")
    return [line[:100] for line in itertools.islice(lines, 20)]
