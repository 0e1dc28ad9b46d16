"""Badges and links: they follow the one setting, and none leads nowhere."""

import hashlib
import shutil
from pathlib import Path

import nbformat
import pytest

from grading.__main__ import main
from grading.project import load_project
from tests.grading.toy import BADGE, COLAB, NO_BADGE, TARGET, code, refused, text

ROOT = Path(__file__).parents[2]
UNSET = ('"school/toy"', '""')
OTHERS = BADGE.replace("school/toy/blob/v1.2.3", "other/kit.b/blob/main")
RAW = "https://raw.githubusercontent.com"
SET_UP = 'KIT = ""  # where\nSHA256 = ""\nOTHER_KIT = ""\nprint(KIT)'


@pytest.mark.parametrize("before", [BADGE, OTHERS, NO_BADGE])
@pytest.mark.parametrize("page", ["README.md", "docs/page.md", "solutions/toy.ipynb"])
def test_a_badge_follows_the_setting_and_back(toy, capsys, before, page):
    for badge in (BADGE, NO_BADGE, BADGE):
        if badge == NO_BADGE:
            toy.configure(*UNSET)
        elif 'repository = ""' in (toy.root / "pyproject.toml").read_text():
            toy.configure(*UNSET[::-1])
        else:  # the beginning
            toy.solve(text(f"Hello\n\n{before} and {before}."))
            if page.endswith(".md"):
                toy.write(page, f"Hello\n\n{before} and {before}.")
            solution = (toy.root / "solutions/toy.ipynb").read_text()
        assert main(["release"]) == 0
        after = f"Hello\n\n{badge} and {badge}."
        assert toy.released().cells[0].source == after
        if page.endswith(".md"):
            assert (toy.root / page).read_text() == after
        assert (toy.root / "solutions/toy.ipynb").read_text() == solution  # only people edit it
    capsys.readouterr()
    assert main(["release"]) == 0
    assert capsys.readouterr().out == ""


def test_other_badges_and_links_stay(toy):
    others = f"[![Open in Colab](x.svg)](https://x.org/toy.ipynb) [![Mine](x.svg)]({TARGET})"
    toy.solve(code(f"# {others}"))
    assert main(["release"]) == 0
    assert toy.released().cells[0].source == f"# {others}"


@pytest.mark.parametrize("badge", [BADGE, NO_BADGE])
@pytest.mark.parametrize("setting", [[], [UNSET]])
def test_a_badge_names_a_notebook_of_the_bundle(toy, capsys, badge, setting):
    for edit in setting:
        toy.configure(*edit)
    toy.solve(text(badge.replace("toy.ipynb", "toys.ipynb")))
    assert "toys.ipynb" in refused(capsys)


def test_the_set_up_cell_of_students_gets_address_and_checksum(toy):
    toy.solve(code(SET_UP))
    assert main(["release", "--bundle", "bundle"]) == 0
    bundle = toy.root / "bundle"
    digest = hashlib.sha256((bundle / "kit.zip").read_bytes()).hexdigest()
    lines = nbformat.read(bundle / "toy.ipynb", 4).cells[0].source.splitlines()
    assert lines == [
        f'KIT = "{RAW}/school/toy/v1.2.3/kit.zip"  # where',
        f'SHA256 = "{digest}"',
        'OTHER_KIT = ""',
        "print(KIT)",
    ]
    toy.configure(*UNSET)
    assert main(["release", "--bundle", "bundle"]) == 0
    assert nbformat.read(bundle / "toy.ipynb", 4).cells[0].source == SET_UP


@pytest.mark.parametrize(
    "link",
    [
        TARGET + "#scrollTo=title",
        f"{RAW}/school/toy/v1.2.3/helper.py",
        f"{RAW}/school/toy/v1.2.3/{{name}}",
        f"{RAW}/school/toy/v1.2.3/$name",
        f"{RAW}/school/toy/v1.2.3/",
        f"{RAW}/school/toy/v1.2.3",
        f"{RAW}/school/toy/v1.2.3/kit.zip",
        f"{COLAB}/",
    ],
)
def test_link(toy, capsys, link):
    toy.write("README.md", f"See [it]({link}), or {link}.")
    toy.solve(text(f"[it]({link})"))
    assert main(["release"]) == 0
    if "toy" in link:  # and while nothing is published
        shutil.rmtree("notebooks")
        toy.configure(*UNSET)
        assert "leads nowhere while student-repository is not set" in refused(capsys)


GITHUB = f"{COLAB}/github".removeprefix("https://")
LINKS = [
    (f"{GITHUB}/teacher/toy/blob/v1.2.3/toy.ipynb", f"begin with {GITHUB}/school/toy/blob/v1.2.3/"),
    (f"{GITHUB}/school/kit/blob/v1.2.3/toy.ipynb", "begin with"),
    (f"{GITHUB}/school/toy/blob/v1.2.2/toy.ipynb", "begin with"),
    (f"{GITHUB}/school/toy/blob/v1.2.30/toy.ipynb", "begin with"),
    (f"{GITHUB}/school/toy/v1.2.3/toy.ipynb", "begin with"),
    (f"{GITHUB}/school/toy/blob/v1.2.3/toys.ipynb", "names no file of the bundle"),
    (f"{RAW[8:]}/school/toy/main/helper.py", f"begin with {RAW[8:]}/school/toy/v1.2.3/"),
    (f"{RAW[8:]}/school/toy/v1.2.3/helpers.py", "names no file of the bundle"),
]


@pytest.mark.parametrize("where", ["markdown", "code", "setup.sh", "README.md"])
@pytest.mark.parametrize(("link", "message"), LINKS)
def test_bad_link(toy, capsys, link, message, where):
    if where == "markdown":
        toy.solve(text(f"[it](https://{link})"))
    elif where == "code":
        toy.solve(code(f"url = 'https://{link}'", id="title"))
    else:
        toy.write(where, f"https://{link}\n")
        toy.solve(text("Hello"))
    place = "solutions/toy.ipynb: cell title" if where in ("markdown", "code") else where
    said = refused(capsys)
    assert said.startswith(f"{place}: the link {link} ")
    assert message in said


TEXT = {".py", ".md", ".ipynb", ".toml", ".txt", ".sh", ".yml", ".jinja"}


def test_where_the_kit_is_published_stands_in_one_line(tmp_path, monkeypatch):
    """Naming a repository makes all that students get lead there; taking it back leaves nothing."""
    shutil.copytree(ROOT, tmp_path / "kit", ignore=not_the_kit)
    monkeypatch.chdir(tmp_path / "kit")
    settings = Path("pyproject.toml").read_text()
    unset = settings.replace(f'y = "{load_project(ROOT).repository}"', 'y = ""')
    versioned = unset.replace(f'version = "{load_project(ROOT).ref[1:]}"', 'version = "77.8"')
    assert versioned != unset
    Path("pyproject.toml").write_text(versioned)
    assert main(["release"]) == 0
    before = texts()
    assert not [name for name, said in before.items() if "/v77.8/" in said or "/None/" in said]

    Path("pyproject.toml").write_text(versioned.replace('y = ""', 'y = "elsewhere/renamed"'))
    assert main(["release"]) == 0
    leading = [name for name, said in texts().items() if "elsewhere/renamed/blob/v77.8/" in said]
    assert sorted(leading) == [
        "README.md",
        "notebooks/README.md",
        *sorted(path.as_posix() for path in Path("notebooks").glob("*.ipynb")),
    ]
    assert main(["release", "--check"]) == 0

    Path("pyproject.toml").write_text(versioned)
    assert main(["release"]) == 0
    assert texts() == before


def not_the_kit(folder, names):
    kept = {"checks", "solutions", "notebooks", "docs", ".github", ".devcontainer"}
    return [n for n in names if Path(folder, n).is_dir() and folder == str(ROOT) and n not in kept]


def texts():
    paths = [path for path in Path().rglob("*") if path.suffix in TEXT and path.is_file()]
    return {path.as_posix(): path.read_text() for path in paths}
