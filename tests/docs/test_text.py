"""Notebooks and pages as text: for people who listen to them, and who read on a small screen."""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent.parent
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
NOTEBOOKS = [*SOLUTIONS, *sorted((ROOT / "notebooks").glob("*.ipynb"))]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "notebooks").glob("*.md"))

MAX_WORDS = 120  # between two code cells
SAYS_NOTHING = {"click", "click here", "here", "link", "more", "read more", "this", "this page"}

_FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
_BARE_URL = re.compile(r"\b(?:https?://|www\.)\S+")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
each_text = pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=name_of)


def text_of(path: Path) -> str:
    """Returns a page, or all that is written between a notebook's code cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def parse(text: str) -> list[Token]:
    """Returns a text's blocks. A formula becomes one word: its brackets and bars mean nothing."""
    return MarkdownIt("commonmark").enable("table").parse(_FORMULA.sub("formula", text))


def spans(tokens: list[Token]) -> Iterator[Token]:
    """Yields what stands inside the blocks: words, code, links, images."""
    for token in tokens:
        yield from token.children or ()


def images(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    """Yields each image's alternative text and address."""
    for span in spans(tokens):
        if span.type == "image":
            yield span.content, str(span.attrs["src"])


def links(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    """Yields each link's words, an image's alternative text among them, and address."""
    for token in tokens:
        address, words = "", ""
        for span in token.children or ():
            if span.type == "link_open":
                address, words = str(span.attrs["href"]), ""
            elif span.type == "link_close":
                yield words, address
                address = ""
            elif address:
                words += span.content


def headings(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    """Yields each heading's level and words."""
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open":
            yield int(token.tag[1:]), "".join(s.content for s in content.children)


def anchors(tokens: list[Token]) -> set[str]:
    """Returns the anchors that GitHub gives to headings."""
    kept = (re.sub(r"[^\w\- ]", "", words.lower()) for _, words in headings(tokens))
    return {words.replace(" ", "-") for words in kept}


def count_words(tokens: list[Token]) -> int:
    """Counts what one reads: words, code, formulas, tables, but no alternative texts."""
    texts = [span.content for span in spans(tokens) if span.type in ("text", "code_inline")]
    texts += [token.content for token in tokens if token.type in ("code_block", "fence")]
    return sum(any(map(str.isalnum, word)) for text in texts for word in text.split())


def image_problems(tokens: list[Token]) -> list[str]:
    problems = []
    for words, address in images(tokens):
        is_name = Path(address).stem.lower().replace("_", " ") == words.lower().replace("_", " ")
        if is_name or len(words.split()) < 3 or re.match(r"(an? )?(image|picture)\b", words, re.I):
            problems.append(f"{words!r} does not say what {address[:40]} shows")
    return problems


def heading_problems(tokens: list[Token]) -> list[str]:
    found = [*headings(tokens)]
    problems = [] if [level for level, _ in found].count(1) == 1 else ["not one heading of level 1"]
    for (before, _), (level, words) in itertools.pairwise([(0, ""), *found]):
        if level > before + 1:
            problems.append(f"{words!r} has level {level} after level {before}")
    return problems


def link_problems(tokens: list[Token], path: Path, root: Path = ROOT) -> list[str]:
    problems = []
    for words, address in links(tokens):
        name, _, anchor = address.partition("#")
        if words.strip(" .!").lower() in SAYS_NOTHING or not words.strip():
            problems.append(f"{words!r} does not say where {address} leads")
        if re.match(r"[a-z]+:", address):
            if not re.fullmatch(r"https://[\w.-]+\.\w+(/\S*)?", address):
                problems.append(f"{address} is not https")
            continue
        target = (path.parent / name).resolve() if name else path
        if not (target.exists() and target.is_relative_to(root)):
            problems.append(f"{address} is not there")
        elif anchor and anchor not in anchors(parse(text_of(target))):
            problems.append(f"{address} is no heading")
    words = [span.content for span in spans(tokens) if span.type in ("text", "html_inline")]
    bare = _BARE_URL.findall("\n".join(words))
    return problems + [f"{url} is not a link" for url in bare]


def long_texts(notebook: nbformat.NotebookNode) -> dict[str, int]:
    """Returns the number of words of texts that are too long, by the id of their first cell.

    Nothing is read between code cells before the first one, so each cell counts by itself there.
    """
    counts: dict[str, int] = {}
    first, is_opening = "", True
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            first, is_opening = "", False
            continue
        first = cell.id if is_opening else first or cell.id
        counts[first] = counts.get(first, 0) + count_words(parse(cell.source))
    return {name: count for name, count in counts.items() if count > MAX_WORDS}


@each_text
def test_every_image_says_what_it_shows(path):
    tokens = parse(text_of(path))
    assert path.suffix == ".md" or len([*images(tokens)]) >= 5
    assert image_problems(tokens) == []


@each_text
def test_headings_are_in_order(path):
    assert heading_problems(parse(text_of(path))) == []


@each_text
def test_links_say_where_they_lead(path):
    assert link_problems(parse(text_of(path)), path) == []


@each_notebook
def test_texts_between_code_cells_are_short(path):
    assert long_texts(nbformat.read(path, as_version=4)) == {}


def test_faults_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# One")
    tokens = parse(
        "# A\n\n### B\n\n# C\n\n![](a.png) ![a_b](a_b.png) ![Picture of a dog](d.png)\n\n"
        "[here](https://a.org) [the page](http://a.org) [a](no.md) [b](other.md#two)\n\n"
        "https://a.org and `https://code.org` $[x](no.md)$ [fine](other.md#one)"
    )
    assert len(image_problems(tokens)) == 3
    assert heading_problems(tokens) == [
        "not one heading of level 1",
        "'B' has level 3 after level 1",
    ]
    assert link_problems(tokens, tmp_path / "page.md", tmp_path) == [
        "'here' does not say where https://a.org leads",
        "http://a.org is not https",
        "no.md is not there",
        "other.md#two is no heading",
        "https://a.org is not a link",
    ]


def test_all_that_is_read_is_counted():
    table = "| a | `b c` |\n|---|---|\n| $d + e$ | f — g |"
    text = f"# A title\n\n{table}\n\n![not this](x.png)\n\n    h\n"
    assert count_words(parse(text)) == 9
    make_text, make_code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    half = "word " * 61
    cells = [make_text(half), make_text(half), make_code(""), make_text(half), make_text(half)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert [*long_texts(notebook).values()] == [122]


def test_nothing_is_misspelt():
    finished = subprocess.run(
        [Path(sys.executable).with_name("codespell")], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
