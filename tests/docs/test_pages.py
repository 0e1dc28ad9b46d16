"""README, that of students, docs/: each is found, and what they quote is still so."""

import re
from pathlib import Path

from assignments.kungfu import TENSORFLOW
from tests.docs.test_text import links, parse, text_of

ROOT = Path(__file__).parent.parent.parent
STUDENTS = ROOT / "notebooks" / "README.md"
PAGES = [ROOT / "README.md", STUDENTS, *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_is_read_in_two_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    names = [page.relative_to(ROOT).as_posix() for page in PAGES[1:]]
    assert [name for name in names if f"({name})" not in readme] == []


def test_what_students_read_needs_no_other_page():
    addresses = [address for _, address in links(parse(text_of(STUDENTS)))]
    assert [link for link in addresses if not link.startswith(("#", "https://"))] == []


def test_students_are_told_what_each_part_is_worth():
    rows = re.findall(r"^\| ?(\w*) \| (.+) \| (\d+) \|$", STUDENTS.read_text(), re.M)
    told, exercise = [], ""
    for name, _, points in rows:
        exercise = name or exercise
        told.append((exercise, int(points)))
    parts = [(e.name, part.points) for e in TENSORFLOW.exercises for part in e.parts]
    assert told == [*parts, *((trial.name, trial.points) for trial in TENSORFLOW.trials)]
    assert sum(points for _, points in told) == 100


def test_a_line_of_the_checks_is_quoted_as_it_is():
    (line,) = re.findall(r"^    ✗ entropy: (.+)$", STUDENTS.read_text(), re.M)
    sources = [*ROOT.glob("checks*.py"), *ROOT.glob("checks/*.py")]
    assert any(line in path.read_text() for path in sources)
