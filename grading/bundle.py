"""The bundle: all files that students get, the same bytes wherever and whenever it is made.

Beside the notebooks and what `pyproject.toml` lists, it holds two files that are made here:

-   `kit.zip`, the helper files, which the set-up cell fetches in Colab;
-   `README.md`, if the project has a template of it, `solutions/README.md.jinja`. The template may
    use `repository`, `ref`, and the names of the Python file that `pyproject.toml` calls
    `readme-names`.
"""

import io
import runpy
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from grading import UsageError
from grading.files import write_whole
from grading.project import Project, show

README = "README.md"
TEMPLATE = Path("solutions") / f"{README}.jinja"


@dataclass(frozen=True)
class BundleFile:
    """A file of the bundle.

    Attributes:
        data: what is in it.
        is_executable: whether its mode lets it run.
    """

    data: bytes
    is_executable: bool = False

    @property
    def mode(self) -> int:
        """The mode, whatever the one of the file that it was made from, but for this one bit."""
        return 0o755 if self.is_executable else 0o644


def make_kit(project: Project) -> bytes:
    """Makes the zip of the helper files."""
    return pack({name: read_shipped(project)[name] for name in project.helper_names})


def pack(files: Mapping[str, BundleFile]) -> bytes:
    """Makes a zip that is the same on each machine: stored, as versions of zlib differ."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.create_system = 3  # where files have modes
            entry.external_attr = (stat.S_IFREG | files[name].mode) << 16
            archive.writestr(entry, files[name].data)
    return buffer.getvalue()


def read_shipped(project: Project) -> dict[str, BundleFile]:
    """Reads all files that students get as they are."""
    return {
        name: BundleFile(path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
        for name, path in project.shipped.items()
    }


def make_readme(project: Project) -> str | None:
    """Renders the students' README, or nothing if the project has no template.

    Raises:
        UsageError: the template, or the file with its names, has a mistake.
    """
    path = project.root / TEMPLATE
    if not path.is_file():
        return None
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        names = runpy.run_path(str(project.readme_names)) if project.readme_names else {}
        names |= {"repository": project.repository, "ref": project.ref}
        return environment.from_string(path.read_text("utf-8")).render(names)
    except jinja2.TemplateError as error:
        line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise UsageError(f"{show(path)}{line}: {error}") from None
    except Exception as error:  # whatever the project's own file raises
        raise UsageError(f"{show(path)} or its names: {type(error).__name__}: {error}") from None


def write_bundle(folder: Path, files: Mapping[str, BundleFile]) -> list[str]:
    """Writes a bundle; returns the names of the files that changed."""
    changed = find_changes(folder, files)
    for name in changed:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, files[name].data)
        path.chmod(files[name].mode)
    return changed


def find_changes(folder: Path, files: Mapping[str, BundleFile]) -> list[str]:
    """Returns the names of files that are missing in a folder, or another's bytes or mode.

    Raises:
        UsageError: it is no folder, or holds more than a bundle.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{show(folder)} is no folder")
    known = {Path(".git"), *map(Path, files), *(p for name in files for p in Path(name).parents)}
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    if strangers := [p.as_posix() for p in found if p not in known and p.parent in known]:
        strangers = [name for name in strangers if not name.startswith(".git/")]
    if strangers:
        raise UsageError(f"{show(folder)} holds more than a bundle: {', '.join(sorted(strangers))}")
    return [name for name, file in files.items() if not _is_there(folder / name, file)]


def _is_there(path: Path, file: BundleFile) -> bool:
    return (
        path.is_file()
        and stat.S_IMODE(path.stat().st_mode) == file.mode
        and path.read_bytes() == file.data
    )
