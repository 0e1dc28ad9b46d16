"""The teacher's page on a class."""

import base64
import dataclasses
import hashlib
import itertools
import random
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from grading.classroom.overview import MAX_GROUPS, MAX_HINTS, MAX_NAME, MAX_PAIRS, as_page
from grading.classroom.records import Adjustment, Attempt, Standing, Student
from grading.classroom.similar import Pair
from grading.report import MAX_LENGTH
from grading.results import Check, ExerciseResult, Report
from tests.browser import CHROMIUM_OPTIONS

SIGN = "Check the entropy's sign."
SHAPE = "One number for each game."
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
EVIL = (
    "\x1b[2J\u202e\ud800\0\ufffe<script>document.title = 'taken'</script>"
    "<img src=x onerror=\"document.title = 'taken'\">"
    "\"'><svg onload=alert(1)></style></title> {{ 7*7 }} {% raw %}"
)


def student(key, name="", section=""):
    return Student(key=key, name=name or key.title(), section=section)


def graded(key, points=(5, 10), hint="", reason="", remarks=(), name="", **options):
    """Returns the standing of somebody with two exercises of at most 5 and 10 points."""
    checks = (
        Check("logits", "the actor's logits", points[0], 5, "", hint if points[0] < 5 else ""),
        Check("step", "one step", points[1], 10),
    )
    exercises = (
        ExerciseResult("agent", checks[:1]),
        ExerciseResult("loss", checks[1:], reason, remarks=("not used: cell 12",) * bool(hint)),
    )
    own = student(key, name, options.pop("section", ""))
    report = Report("kungfu", f"{key}.ipynb", 7, "In bubblewrap.", exercises, "", remarks)
    attempts = options.pop("attempts", 1) * (Attempt(student=own, notebook=Path("a.ipynb")),)
    return Standing(student=own, file=key, attempts=attempts, report=report, **options)


def missing(key):
    return Standing(student=student(key), file=key, attempts=(), report=None)


def waiting(key):
    attempts = (Attempt(student=student(key), notebook=Path("a.ipynb")),)
    return Standing(student=student(key), file=key, attempts=attempts, report=None)


def ungradable(key, reason="it is empty"):
    standing = graded(key, (0, 0))
    exercises = tuple(dataclasses.replace(e, reason=reason) for e in standing.report.exercises)
    report = dataclasses.replace(standing.report, exercises=exercises, reason=reason)
    return dataclasses.replace(standing, report=report)


SMALL = [
    graded("ana", (5, 10), section="A"),
    graded(
        "ben", (0, 8), SIGN, section="B", attempts=3, late_points=-2.0, late_reason="1 day late"
    ),
    graded("cat", (0, 10), SIGN, remarks=("code that looks into the process: cell 9: gc",)),
    graded("dan", (5, 0), reason="cell 3: 1 gap is open"),
    ungradable("eva"),
    waiting("fay"),
    missing("gus"),
    graded(
        "han",
        (2.5, 10),
        SHAPE,
        bonus=1.0,
        adjustments=(Adjustment(student="han", part="bonus", points=1, comment="Found a bug."),),
    ),
]
PAIR = Pair(
    "ben",
    "cat",
    "loss",
    0.987,
    "def f(a):\n    b = a\n    return b < 1",
    "def f(a):\n    c = a\n    return b < 1",
    frozenset({3}),
    frozenset({3}),
)


def page_of(standings=SMALL, **options):
    defaults = {
        "title": "kungfu",
        "graded_at": datetime(2026, 11, 3, 14, 5, tzinfo=UTC),
        "version": "0.1.0",
        "seed": 7,
        "protection": "Submissions ran in bubblewrap.",
        "pairs": (),
        "pictures": {},
        "pages": lambda standing: f"feedback/{standing.file}.html",
    }
    return as_page(standings, **defaults | options)


def make_class(n_students, n_hints=20):
    rng = random.Random(n_students)
    standings = []
    for i in range(n_students):
        key = f"student{i:05}"
        points = (rng.choice([0, 2.5, 5]), rng.randrange(11))
        hint = f"Misconception {rng.randrange(n_hints)}."
        kind = rng.random()
        if kind < 0.03:
            standings.append(missing(key))
        elif kind < 0.06:
            standings.append(ungradable(key, f"cell {rng.randrange(200)} is broken"))
        else:
            remarks = (f"not run: cell {rng.randrange(200)}",)
            standings.append(graded(key, points, hint, "", remarks, section=f"{i % 9}"))
    return standings


# What it says


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("Chromium is needed: let root run `apt-get install chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens a page; `requests` are those for anything else, `problems` is what the console says."""
    contexts = []

    def open_page(html, **options):
        path = tmp_path / "index.html"
        path.write_text(html, encoding="utf-8")
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.requests, page.problems = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(path.as_uri())
        page.requests = [
            url for url in page.requests if not url.startswith((path.as_uri(), "data:"))
        ]
        return page

    yield open_page
    for context in contexts:
        context.close()


def cells(rows):
    """Returns the words in each cell of some rows of a table."""
    return [[" ".join(cell.split()) for cell in row.split("\t")] for row in rows.all_inner_texts()]


def section(page, name):
    return page.get_by_role("region", name=name, exact=True).first


def test_summary(open_page):
    page = open_page(page_of(remarks=["the roster lacks x1"]))
    expect(page.get_by_role("heading", level=1)).to_have_text("5 of 8 students graded")
    assert page.locator(".figures").inner_text().split("\n") == [
        *("Median", "10 of 15", "Mean", "9.9 of 15"),
        *("Ungradable", "1", "Not graded yet", "1", "Missing", "1"),
    ]
    expect(page.locator("header")).to_contain_text(
        "Graded on 3 November 2026, 14:05 UTC with version 0.1.0, seed 7. "
        "Submissions ran in bubblewrap."
    )
    expect(page.locator(".notes")).to_have_text("the roster lacks x1")


def test_distribution(open_page):
    # The totals are 15, 6, 10, 5 and 13.5.
    page = open_page(page_of())
    bars = page.locator(".chart rect title").all_text_contents()
    assert bars == [
        "5 to 6 points: 1 student",
        "6 to 7 points: 1 student",
        "10 to 11 points: 1 student",
        "13 to 14 points: 1 student",
        "14 to 15 points: 1 student",
    ]
    chart = page.get_by_role("img", name="Distribution of points")
    expect(chart).to_have_accessible_description(re.compile("median is 10 points"))
    page.get_by_text("The numbers as a table").click()
    rows = page.locator(".as-table tbody tr").all_inner_texts()
    assert (len(rows), rows[0], rows[-1]) == (15, "0 to below 1\t0", "14 to 15\t1")


@pytest.mark.parametrize(
    ("totals", "n_bars", "high"),
    [([0], 15, 15), ([100], 20, 100), ([1e6], 20, 1e6), ([0.5], 15, 15)],
)
def test_the_chart_has_few_bars_whatever_the_points(totals, n_bars, high):
    standings = [graded(f"s{i}", (0, total)) for i, total in enumerate(totals)]
    html = page_of(standings)
    assert f"{n_bars} bars from 0 to {high:g} points" in html
    assert html.count("<rect") == 1


def test_points_by_part(open_page):
    page = open_page(page_of())
    parts = section(page, "Points by part")
    assert parts.locator("h3").all_inner_texts() == ["Agent\n5 answers", "Loss\n4 answers"]
    assert cells(parts.locator("tbody tr")) == [
        ["the actor's logits", "", "40%", "2.5 / 5"],
        ["one step", "", "75%", "9.5 / 10"],
    ]
    assert parts.locator(".bar > span").first.get_attribute("style") == "width: 40.0%"


def test_misconceptions(open_page):
    html = page_of(pictures={SIGN: PICTURE, "of nobody": PICTURE})
    assert html.count("data:image/png") == 1
    page = open_page(html)
    hints = section(page, "Misconceptions").locator(".hints > li")
    assert [hint.locator(".how-often").inner_text() for hint in hints.all()] == ["2", "1"]
    expect(hints.first.locator(".text")).to_have_text(SIGN)
    expect(hints.first.get_by_role("link")).to_have_count(0)  # before it is opened
    hints.first.locator("summary").press("Enter")
    assert hints.first.get_by_role("link").all_inner_texts() == ["Ben", "Cat"]
    assert hints.first.get_by_role("link").first.get_attribute("href") == "feedback/ben.html"
    assert hints.first.locator("img").evaluate("image => image.decode().then(() => 'good')")


def test_what_was_not_gradable_and_why(open_page):
    page = open_page(page_of([*SMALL, ungradable("ida")]))
    reasons = section(page, "Not gradable")
    assert reasons.locator("h3").all_inner_texts() == [
        "The whole notebook\n2 students",
        "Loss\n1 student",
    ]
    assert reasons.locator(".groups > li").all_inner_texts() == [
        "it is empty\n\nEva\nIda",
        "cell 3: 1 gap is open\n\nDan",
    ]


def test_remarks_are_grouped_and_the_rarest_come_first(open_page):
    page = open_page(page_of())
    kinds = section(page, "Remarks").locator(".kinds > li")
    assert kinds.locator(".line").all_inner_texts() == [
        "Code that looks into the process\n1 student",
        "Not used\n3 students",
    ]
    kinds.last.locator("summary").click()
    assert kinds.last.locator(".groups > li").all_inner_texts() == [
        "loss: cell 12\n\nBen\nCat\nHan",
    ]


def test_pairs_stand_side_by_side(open_page):
    page = open_page(page_of(pairs=[PAIR]))
    pairs = section(page, "Near-identical answers")
    expect(pairs).to_contain_text("Places to look, not verdicts.")
    assert pairs.locator(".line").all_inner_texts() == ["Ben and Cat\nloss, 98%"]
    pairs.locator("summary").click()
    left, right = pairs.locator(".code").all()
    expect(left.locator("[data-mark='≠']")).to_have_text("    b = a")
    expect(right.locator("[data-mark='≠']")).to_have_text("    c = a")
    expect(left.locator("[data-mark='≈']")).to_have_text("    return b < 1")
    assert left.bounding_box()["y"] == right.bounding_box()["y"]


def test_lines_of_a_pair_that_are_like_all_others_are_folded(open_page):
    lines = [f"x = {i}" for i in range(30)]
    others = [*lines[:20], "y = 0", *lines[21:]]
    pair = dataclasses.replace(PAIR, first_source="\n".join(lines), second_source="\n".join(others))
    page = open_page(page_of(pairs=[dataclasses.replace(pair, first_lines=frozenset())]))
    section(page, "Near-identical answers").locator("summary").first.click()
    left = page.locator(".code").first
    assert left.locator("summary").all_inner_texts() == ["18 lines", "7 lines"]
    assert left.locator("code").all_text_contents() == lines


def test_adjustments_come_with_their_comments(open_page):
    page = open_page(page_of())
    rows = section(page, "Adjustments").locator("tbody tr")
    assert cells(rows) == [["Han", "bonus", "1", "Found a bug."]]


def test_table(open_page):
    page = open_page(page_of())
    headers = page.locator("#table thead th").all_inner_texts()
    assert headers == [
        *("Name", "Section", "agent", "loss"),
        *("Total", "Late", "Adjusted", "Attempts", "Status"),
    ]
    rows = cells(page.locator("#table tbody tr"))
    assert rows[0] == ["Ana", "A", "5", "10", "15", "", "", "1", "graded"]
    assert rows[1] == ["Ben", "B", "0", "8", "6", "−2 1 day late", "", "3", "graded"]
    assert rows[3] == ["Dan", "", "5", "–", "5", "", "", "1", "graded"]
    assert rows[4] == ["Eva", "", "–", "–", "–", "", "", "1", "ungradable"]
    assert rows[5] == ["Fay", "", "–", "–", "–", "", "", "1", "not graded yet"]
    assert rows[6] == ["Gus", "", "–", "–", "–", "", "", "", "missing"]
    assert rows[7] == ["Han", "", "2.5", "10", "13.5", "", "1", "1", "graded"]
    links = page.locator("#table tbody th a").all()
    assert [link.inner_text() for link in links] == ["Ana", "Ben", "Cat", "Dan", "Eva", "Han"]


def test_students_of_one_name_are_told_apart():
    html = page_of([graded("a1", name="Ana Li"), graded("a2", name="Ana Li"), graded("b")])
    assert {"Ana Li (a1)", "Ana Li (a2)", "B"} == set(re.findall("<bdi>(.*?)</bdi></a>", html))


# Empty classes


def test_an_empty_class(open_page):
    page = open_page(page_of([]))
    expect(page.get_by_role("heading", level=1)).to_have_text("Nobody yet")
    expect(page.locator("main")).to_contain_text("There are no students in this class yet.")
    expect(page.locator("script, table, svg, nav")).to_have_count(0)
    assert page.problems == []


def test_a_class_where_nobody_is_graded(open_page):
    page = open_page(page_of([waiting("ana"), missing("ben")]))
    expect(page.get_by_role("heading", level=1)).to_have_text("0 of 2 students graded")
    expect(page.locator("main")).to_contain_text("Nothing has been graded")
    assert page.locator("h2").all_inner_texts() == ["Points", "All students"]
    assert page.problems == []


def test_a_class_where_all_are_ungradable(open_page):
    page = open_page(page_of([ungradable("ana"), ungradable("ben")]))
    expect(page.locator(".figures")).to_have_text(re.compile(r"^\s*Ungradable\s*2\s*$"))
    assert page.locator("h2").all_inner_texts()[1:] == [
        *("Points by part", "Not gradable", "All students")
    ]
    expect(section(page, "Points by part").locator("tbody tr").first).to_contain_text("not graded")


# Hostile texts


def hostile_class():
    """Returns a class with hostile text wherever somebody has influence."""
    checks = (Check(EVIL, EVIL, 0, 5, EVIL, EVIL),)
    exercises = (ExerciseResult(EVIL, checks, remarks=(EVIL,)), ExerciseResult("b", checks, EVIL))
    own = Student(key=EVIL, name=EVIL, email=EVIL, section=EVIL, platform_id=EVIL)
    bad = Standing(
        student=own,
        file=EVIL,
        attempts=(Attempt(student=own, notebook=None, label=EVIL, problem=EVIL),),
        report=Report(EVIL, EVIL, 7, EVIL, exercises, EVIL, (EVIL, f"{EVIL}: {EVIL}")),
        adjustments=(Adjustment(student=EVIL, part=EVIL, points=1, comment=EVIL),),
        late_points=-1.0,
        late_reason=EVIL,
    )
    waits = dataclasses.replace(bad, student=student("w"), report=None)
    long = graded("long", name="x" * 10**6, section="y" * 10**6)
    return [bad, waits, long, ungradable("u", EVIL), graded("wide", name="漢" * 500)]


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_texts_stay_text(open_page, width):
    pair = Pair(EVIL, "nobody", EVIL, 1.0, f"{EVIL}\n" * 5_000, "x = '" + "=" * 10**6)
    html = page_of(
        hostile_class(),
        title=EVIL,
        version=EVIL,
        protection=EVIL,
        pairs=[pair],
        pages=lambda _: f"javascript:document.title='taken'//{EVIL}",
        remarks=[EVIL],
    )
    html.encode()  # a lone surrogate would raise
    assert not set(html) & set("\x1b\0\x07\u202e\ufffe\r")
    assert len(html) < 200_000
    page = open_page(html, viewport={"width": width, "height": 800})
    expect(page.locator("script")).to_have_count(1)
    expect(page.locator("img, main style, section title:not(.chart title)")).to_have_count(0)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for link in page.locator("#table tbody a").all()[:1]:
        assert link.evaluate("link => link.protocol") == "file:"
    assert page.title() != "taken"
    words = page.locator("main").inner_text()
    assert "<script>document.title = 'taken'</script><img src=x onerror=" in words
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert (page.requests, page.problems) == ([], [])


def test_injected_scripts_do_not_run_even_if_escaping_fails(open_page):
    injected = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 1\">"
    page = open_page(page_of().replace("</main>", f"{injected}</main>"))
    expect(page.locator("script")).to_have_count(2)
    assert page.title() == "kungfu: the class"


def test_only_the_script_of_the_page_may_run():
    html = page_of()
    [script] = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_long_texts_are_cut():
    html = page_of(hostile_class())
    assert "x" * (MAX_NAME - 1) + "…" in html
    assert "x" * MAX_NAME not in html
    assert "=" * MAX_LENGTH not in html


# As a page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_of_200_students(open_page, width, scheme, tmp_path):
    pairs = [dataclasses.replace(PAIR, first=f"student{i:05}", second="ben") for i in range(20)]
    html = page_of(make_class(200), pairs=pairs, pictures={"Misconception 3.": PICTURE})
    page = open_page(html, viewport={"width": width, "height": 800}, color_scheme=scheme)
    expect(page.locator("#table tbody tr")).to_have_count(200)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert colour == {"light": "rgb(244, 239, 227)", "dark": "rgb(24, 26, 36)"}[scheme]
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (page.requests, page.problems) == ([], [])


def test_headings_are_in_order_and_ids_are_unique(open_page):
    page = open_page(page_of(make_class(50), pairs=[PAIR]))
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids))
    for link in page.locator("nav a").all():
        assert link.get_attribute("href").removeprefix("#") in ids


def names(page):
    return page.locator("#table tbody tr:visible th").all_inner_texts()


def test_sorting(open_page):
    page = open_page(page_of())
    total = page.get_by_role("button", name="Total")
    total.press("Enter")
    assert names(page) == ["Dan", "Ben", "Cat", "Han", "Ana", "Eva", "Fay", "Gus"]
    expect(page.get_by_role("columnheader", name="Total")).to_have_attribute(
        "aria-sort", "ascending"
    )
    total.click()
    assert names(page) == ["Ana", "Han", "Cat", "Ben", "Dan", "Eva", "Fay", "Gus"]
    page.get_by_role("button", name="Late").click()
    assert names(page)[0] == "Ben"
    expect(page.locator("[aria-sort]")).to_have_count(1)
    page.get_by_role("button", name="Name").click()
    assert names(page) == ["Ana", "Ben", "Cat", "Dan", "Eva", "Fay", "Gus", "Han"]


def test_filtering(open_page):
    page = open_page(page_of())
    page.get_by_label("Search").fill("AN gr")
    assert names(page) == ["Ana", "Dan", "Han"]
    expect(page.locator("output")).to_have_text("3 of 8")
    page.get_by_label("Search").fill("")
    page.get_by_label("Status").select_option("missing")
    assert names(page) == ["Gus"]


def test_everything_can_be_read_without_a_script(open_page):
    page = open_page(page_of(pairs=[PAIR]), java_script_enabled=False)
    expect(page.locator("#table tbody tr")).to_have_count(len(SMALL))
    expect(page.locator("#tools, button")).to_have_count(1)
    expect(page.locator("#tools")).to_be_hidden()
    page.locator("#pairs summary").first.click()
    expect(page.get_by_text("return b < 1").first).to_be_visible()


def test_it_can_be_printed(open_page):
    page = open_page(page_of(), color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("body").evaluate("b => getComputedStyle(b).color") == "rgb(0, 0, 0)"
    expect(page.locator("#tools")).to_be_hidden()
    expect(page.locator("nav")).to_be_hidden()


def test_thousands_of_students_make_a_page_that_opens(open_page):
    standings = make_class(10_000)
    pairs = [
        Pair(f"student{i:05}", "ben", "loss", 1.0, "x = '\"<&>'\n" * 2_000, "y = 1\n" * 2_000)
        for i in range(200)
    ]
    start = time.perf_counter()
    html = page_of(standings, pairs=pairs)
    assert time.perf_counter() - start < 30
    assert len(html.encode()) < 10_000_000
    start = time.perf_counter()
    page = open_page(html, viewport={"width": 390, "height": 800})
    expect(page.locator("#table tbody tr")).to_have_count(1_000)
    assert html.count('class="n total"') == 10_000
    assert time.perf_counter() - start < 30
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.locator("output")).to_have_text("the first 1000 are shown")
    start = time.perf_counter()
    page.get_by_label("Status").select_option("missing")
    page.get_by_role("button", name="Name").click()
    page.get_by_role("button", name="Name").click()
    gone = sorted((s.student.key.title() for s in standings if not s.attempts), reverse=True)
    assert names(page) == gone
    assert time.perf_counter() - start < 20
    hints = section(page, "Misconceptions").locator(":scope > .hints > li")
    expect(hints).to_have_count(MAX_HINTS + 1)
    hints.first.locator("summary").click()
    expect(hints.first.locator(".people li")).to_have_count(101)
    expect(hints.first.locator(".people li").last).to_have_text(re.compile(r"and \d+ more"))
    expect(section(page, "Near-identical answers").locator(".more")).to_have_text(
        "and 100 more pairs"
    )
    expect(section(page, "Near-identical answers").locator(".pairs > li")).to_have_count(
        MAX_PAIRS + 1
    )
    groups = section(page, "Not gradable").locator(".groups").first.locator(":scope > li")
    expect(groups).to_have_count(MAX_GROUPS + 1)
