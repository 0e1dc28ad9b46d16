"""README and docs/: every link leads somewhere, and what they quote is still so."""

import re
from pathlib import Path

import pytest

from assignments.kungfu import TENSORFLOW

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text_of(page: Path) -> str:
    """Returns a page without its blocks of code."""
    return _FENCED.sub("", page.read_text())


def anchors_of(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to a page's headings."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text_of(page)))
    return {words.replace(" ", "-") for words in kept}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in _LINK.findall(text_of(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        path = (page.parent / name).resolve() if name else page
        is_there = path.exists() and path.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors_of(path)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    assert _LINK.search(text_of(page))
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.test_pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One, two\n[a](#one-two) [b](#two) [c](no.md) [d](page.md#x) [e](https://x)")
    assert broken_links(page) == ["#two", "no.md", "page.md#x"]


def test_the_readme_is_read_in_two_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in readme] == []


def test_students_are_told_what_each_part_is_worth():
    rows = re.findall(
        r"^\| ?(\w*) \| (.+) \| (\d+) \|$", (ROOT / "docs/students.md").read_text(), re.M
    )
    told, exercise = [], ""
    for name, _, points in rows:
        exercise = name or exercise
        told.append((exercise, int(points)))
    parts = [(e.name, part.points) for e in TENSORFLOW.exercises for part in e.parts]
    assert told == [*parts, *((trial.name, trial.points) for trial in TENSORFLOW.trials)]
    assert sum(points for _, points in told) == 100


def test_a_line_of_the_checks_is_quoted_as_it_is():
    (line,) = re.findall(r"^    ✗ entropy: (.+)$", (ROOT / "docs/students.md").read_text(), re.M)
    sources = [*ROOT.glob("checks*.py"), *ROOT.glob("checks/*.py")]
    assert any(line in path.read_text() for path in sources)
