"""Reports: for the teacher, programs, Gradescope and the student."""

import contextlib
import dataclasses
import io
import json
import shutil
import socket
from xml.etree import ElementTree

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from assignments.kungfu.pictures import PICTURES
from assignments.kungfu.variants import IDEAS
from grading.report import (
    MAX_LENGTH,
    WIDTH,
    as_gradescope,
    as_html,
    as_json,
    as_table,
    clean,
)
from grading.results import Check, ExerciseResult, Report
from tests.browser import CHROMIUM_OPTIONS

HINT = "One number for each game, not a table that pairs games with each other."
SMALL = Report(
    assignment="kungfu",
    submission="ana.ipynb",
    seed=7,
    protection="Submissions ran in bubblewrap.",
    exercises=(
        ExerciseResult(
            "agent",
            (
                Check("logits", "the actor's logits", 5, 5),
                Check("value", "the critic's value", 0, 5, "it has shape (6, 1), not (6,)", HINT),
                Check("ends", "episode ends", 0, 2.5, "the next game gets in", HINT),
            ),
            remarks=("not used: cell 12",),
        ),
        ExerciseResult("loss", (Check("step", "one step", 0, 4),), "cell 3: 1 gap is open"),
        ExerciseResult("optimizer", (Check("descent", "it goes downhill", 10, 10),)),
        ExerciseResult("play", (Check("mean", "20 games", 7.333333, 15, "a mean of 7,444"),)),
    ),
    remarks=("not run: cells 14, 15",),
)
UNREADABLE = dataclasses.replace(
    SMALL,
    exercises=tuple(dataclasses.replace(e, reason="it is empty") for e in SMALL.exercises[1:2]),
    reason="it is empty",
    remarks=(),
)


# The table


def test_table():
    assert (
        as_table(SMALL)
        == """\
Submissions ran in bubblewrap. Seed: 7.

kungfu: ana.ipynb
  Note: not run: cells 14, 15

agent          5 / 12.5
  ✗   0 / 5   the critic's value
              it has shape (6, 1), not (6,)
  ✗   0 / 2.5 episode ends
              the next game gets in
              Hint: One number for each game, not a table that pairs games with each other.
  Note: not used: cell 12
loss           0 / 4      ungradable: cell 3: 1 gap is open
optimizer     10 / 10     passed
play        7.33 / 15
  ✗ 7.33 / 15  20 games
              a mean of 7,444
total      22.33 / 41.5
"""
    )


def test_table_of_an_ungradable_file():
    assert (
        as_table(UNREADABLE)
        == """\
Submissions ran in bubblewrap. Seed: 7.

kungfu: ana.ipynb
ungradable: it is empty

loss       0 / 4      ungradable: it is empty
total      0 / 4      ungradable
"""
    )


def test_one_error_in_many_checks_is_shown_once():
    checks = tuple(Check(name, name, 0, 1, "ValueError: no") for name in ("a", "b", "c"))
    table = as_table(with_checks(*checks))
    assert (
        "  ✗   0 / 1   a\n  ✗   0 / 1   b\n  ✗   0 / 1   c\n              ValueError: no\n" in table
    )
    assert table.count("ValueError") == 1


def test_a_passed_check_may_have_a_message():
    table = as_table(with_checks(Check("mean", "20 games", 15, 15, "a mean of 12,000")))
    assert (
        "loss      15 / 15     passed\n  ✓  15 / 15  20 games\n              a mean of 12,000\n"
        in table
    )


# JSON


def test_json():
    result = as_json(SMALL)
    assert json.loads(json.dumps(result)) == result
    exercises = result.pop("exercises")
    assert result == {
        "assignment": "kungfu",
        "submission": "ana.ipynb",
        "seed": 7,
        "protection": "Submissions ran in bubblewrap.",
        "status": "graded",
        "reason": "",
        "score": 22.33,
        "maximum": 41.5,
        "remarks": ["not run: cells 14, 15"],
    }
    assert [exercise["status"] for exercise in exercises] == [
        "graded",
        "ungradable",
        "graded",
        "graded",
    ]
    checks = exercises[0].pop("checks")
    assert exercises[0] == {
        "name": "agent",
        "status": "graded",
        "reason": "",
        "points": 5,
        "maximum": 12.5,
        "remarks": ["not used: cell 12"],
    }
    assert checks[1] == {
        "name": "value",
        "title": "the critic's value",
        "points": 0,
        "maximum": 5,
        "passed": False,
        "message": "it has shape (6, 1), not (6,)",
        "hint": HINT,
    }
    assert checks[0]["passed"] is True


def test_json_of_an_ungradable_file():
    result = as_json(UNREADABLE)
    assert (result["status"], result["reason"], result["score"]) == ("ungradable", "it is empty", 0)


# Gradescope


def test_gradescope():
    result = as_gradescope(SMALL)
    assert json.loads(json.dumps(result)) == result
    tests = result.pop("tests")
    assert result == {
        "score": 22.33,
        "output": "22.33 of 41.5 points",
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
    }
    assert [(test["number"], test["status"]) for test in tests] == [
        ("1.1", "passed"),
        ("1.2", "failed"),
        ("1.3", "failed"),
        ("2.1", "failed"),
        ("3.1", "passed"),
        ("4.1", "failed"),
    ]
    assert tests[1] == {
        "name": "agent: the critic's value",
        "number": "1.2",
        "score": 0,
        "max_score": 5,
        "status": "failed",
        "output": f"it has shape (6, 1), not (6,)\n\nHint: {HINT}",
        "visibility": "visible",
    }
    assert tests[3]["output"] == "ungradable: cell 3: 1 gap is open"


def test_gradescope_of_an_ungradable_file():
    assert as_gradescope(UNREADABLE)["output"] == "ungradable: it is empty"
    nothing = dataclasses.replace(SMALL, exercises=())
    assert as_gradescope(nothing)["output"] == "ungradable: there was nothing to judge"


@pytest.mark.parametrize(
    "as_text", [lambda r: json.dumps(as_gradescope(r)), lambda r: as_html(r, {})]
)
def test_students_do_not_see_notes_for_the_teacher(as_text):
    secret = dataclasses.replace(
        SMALL, seed=987654321, protection="PROTECTION", remarks=("REMARK",), video=b"video"
    )
    text = as_text(secret)
    assert "shape (6, 1)" in text
    assert not any(word in text for word in ("987654321", "PROTECTION", "REMARK", "not used"))


# Hostile text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31mred\x1b[0m \x1b[2J\x1b[1;1H", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07a \x1b]8;;http://a.b/\x1b\\link\x1b]8;;\x1b\\", "a link"),
        ("\x1bPdevice\x1b\\ \x1bc\x1b(0 open \x1b]0;for ever", "open 0;for ever"),
        ("\x1b\x1b[31m[31m", "[31m"),
        ("a\rb\r\nc\vd\fe\x85f\u2028g\u2029h", "a\nb\nc\nd\ne\nf\ng\nh"),
        ("bell\a, back\b, null\0, delete\x7f", "bell, back, null, delete"),
        ("\u202eback\u202c \u2066wards\u2069 \u200b\u200e\ufeff\u061c\xad", "back wards"),
        ("lone \ud800\udfff \udc80", "lone"),
        ("no character \ufffe\uffff", "no character"),
        ("\ttab", "tab"),
        ("x\ty", "x    y"),
        ("Ελπίδα, 学生 and Ωμέγα: 🥋 = Σ π·log π", "Ελπίδα, 学生 and Ωμέγα: 🥋 = Σ π·log π"),
        ("x" * MAX_LENGTH, "x" * MAX_LENGTH),
        ("x" * 10**7, "x" * (MAX_LENGTH - 1) + "…"),
        ("\x1b]" * 10**6, ""),
        ("x" + "\x1b[m" * 10 * MAX_LENGTH + "what is read has an end", "x"),
    ],
)
def test_clean(text, plain):
    assert clean(text) == plain
    assert clean(plain) == plain


FORGED = "no\nloss          50 / 50     passed\ntotal         100 / 100"
EVIL = (
    "\x1b[2J\u202e\ud800\0\ufffe<script>document.title = 'taken'</script>"
    "<img src=x onerror=\"document.title = 'taken'\">"
    "\"'><svg onload=alert(1)></style></title> {{ 7*7 }} {% raw %} javascript:1 =1+1 "
    f"{'=' * 300} \n{FORGED}\n"
)


def evil_everywhere(value, text=EVIL):
    """Returns a report whose every text is `text`."""
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(evil_everywhere(item, text) for item in value)
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return type(value)(**{name: evil_everywhere(getattr(value, name), text) for name in names})
    return value


def with_checks(*checks):
    return dataclasses.replace(SMALL, exercises=(ExerciseResult("loss", checks),), remarks=())


def evil_checks():
    """Returns a graded report with hostile text wherever a submission has influence."""
    checks = SMALL.exercises[0].checks
    checks = tuple(dataclasses.replace(check, message=EVIL, title=EVIL) for check in checks)
    loss = dataclasses.replace(SMALL.exercises[1], reason=EVIL)
    exercises = (ExerciseResult("agent", checks, remarks=(EVIL,)), loss)
    return dataclasses.replace(SMALL, submission=EVIL, exercises=exercises, remarks=(EVIL,))


@pytest.mark.parametrize("report", [evil_everywhere(SMALL), evil_checks()])
def test_hostile_words_in_every_field(report):
    for text in (
        as_table(report),
        json.dumps(as_json(report), ensure_ascii=False),
        json.dumps(as_gradescope(report), ensure_ascii=False),
        as_html(report, {}),
    ):
        text.encode()  # a lone surrogate would raise
        assert not set(text) & set("\x1b\0\x07\u202e\ufffe\r")
        ElementTree.fromstring(f"<text>{text.replace('&', '&amp;').replace('<', '&lt;')}</text>")


@pytest.mark.parametrize("report", [evil_everywhere(SMALL), evil_checks()])
def test_no_line_of_the_table_is_too_long(report):
    assert max(map(len, as_table(report).splitlines())) <= WIDTH


def test_wide_characters_do_not_wrap_in_the_terminal():
    report = dataclasses.replace(SMALL, remarks=("漢" * 86 + "total  100 / 100",))
    lines = [line for line in as_table(report).splitlines() if "漢" in line]
    assert len(lines) > 1
    assert all(sum(1 + (c == "漢") for c in line) <= WIDTH for line in lines)


@pytest.mark.parametrize("name", [EVIL, "x" * (WIDTH - len("kungfu: ")) + " total 100 / 100"])
def test_no_row_of_the_table_can_be_forged(name):
    rows = as_table(dataclasses.replace(evil_checks(), submission=name)).splitlines()
    starts = [row[:25] for row in rows if row.startswith(("agent ", "loss ", "total "))]
    assert starts == ["agent      5 / 12.5", "loss       0 / 4      ung", "total      5 / 16.5"]


# The pictures


@pytest.mark.parametrize("hint", PICTURES)
def test_picture(hint):
    assert hint in {idea.hint for ideas in IDEAS.values() for idea in ideas.values()}
    data = PICTURES[hint]()
    assert data == PICTURES[hint]()
    assert len(data) < 30_000
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.width) == ("PNG", 800)
    pixels = np.asarray(image.convert("RGBA"))
    assert np.all(pixels[..., 3] == 255)
    paper = np.all(np.abs(pixels[..., :3].astype(int) - (251, 246, 234)) < 4, axis=-1)
    assert 0.5 < paper.mean() < 0.95
    edge = np.concatenate([paper[:8].ravel(), paper[-8:].ravel(), paper[:, :8].ravel()])
    assert np.all(edge)
    assert np.all(paper[:, -8:])


# The page


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
    """Opens a page; its `requests` are those for anything but the page itself."""
    pages = []

    def open_page(html, **options):
        path = tmp_path / "feedback.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page(**options)
        pages.append(page)
        page.requests = []
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(path.as_uri())
        page.requests = [
            url for url in page.requests if url != path.as_uri() and not url.startswith("data:")
        ]
        return page

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "best.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (160, 208), fps=15, macro_block_size=16)
    writer.send(None)
    for brightness in range(0, 240, 16):
        writer.send(np.full((208, 160, 3), brightness, np.uint8))
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def pictures():
    return {hint: draw() for hint, draw in PICTURES.items()}


def illustrated(video):
    """Returns a report in which every hint with a picture belongs to two checks."""
    checks = [
        Check(f"{name}{i}", f"{name} {i}", 0, 3, f"the {name} is wrong", hint)
        for i, hint in enumerate(PICTURES)
        for name in ("value", "slope")
    ]
    report = with_checks(*checks, Check("step", "one step", 3, 3))
    return dataclasses.replace(report, exercises=report.exercises + SMALL.exercises, video=video)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_page(open_page, pictures, video, width, scheme, tmp_path):
    html = as_html(illustrated(video), pictures)
    page = open_page(html, viewport={"width": width, "height": 800}, color_scheme=scheme)
    expect(page.locator("h1")).to_have_text("25.33 of 62.5 points")
    expect(page.locator("section")).to_have_count(6)
    expect(page.get_by_text("the value is wrong").first).to_be_visible()
    expect(page.get_by_text("cell 3: 1 gap is open")).to_be_visible()

    images = page.locator("img")
    expect(images).to_have_count(len(PICTURES))  # each hint once, although two checks have it
    for image in images.all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 800
    assert page.evaluate("document.documentElement.scrollWidth") == width
    light = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert light == {"light": "rgb(244, 239, 227)", "dark": "rgb(24, 26, 36)"}[scheme]
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.requests == []


def test_the_video_plays_when_asked_to(open_page, video):
    page = open_page(as_html(illustrated(video), {}))
    film = page.locator("video")
    film.scroll_into_view_if_needed()
    film.evaluate(
        "film => film.readyState >= 2 || new Promise((done, fail) => "
        "{ film.onloadeddata = done; film.onerror = () => fail(film.error.message); })"
    )
    assert film.evaluate("film => [film.controls, film.paused, film.currentTime]") == [
        True,
        True,
        0,
    ]
    assert film.evaluate("film => [film.videoWidth, film.videoHeight]") == [160, 208]
    film.evaluate(
        "film => new Promise(done => { film.muted = true; film.onended = done; film.play(); })"
    )


def test_without_a_video_there_is_no_player(open_page):
    page = open_page(as_html(SMALL, {}))
    expect(page.locator("video, .video, img")).to_have_count(0)
    expect(page.locator(".done .title")).to_have_text(["the actor's logits", "it goes downhill"])


def test_page_of_an_ungradable_file(open_page):
    page = open_page(as_html(UNREADABLE, {}))
    expect(page.locator("h1")).to_have_text("Not graded")
    expect(page.locator("main")).to_contain_text("it is empty")
    expect(page.locator("section, table")).to_have_count(0)


@pytest.mark.parametrize("report", [evil_everywhere(SMALL), evil_checks()])
def test_hostile_text_stays_text(open_page, report):
    page = open_page(as_html(report, {}), viewport={"width": 375, "height": 800})
    expect(page.locator("script, img, svg, main style, main title")).to_have_count(0)
    assert page.title() != "taken"
    words = page.locator("main").inner_text()
    assert "<script>document.title = 'taken'</script><img src=x onerror=" in words
    assert "{{ 7*7 }} {% raw %} javascript:1" in words
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.requests == []


def test_the_page_forbids_scripts_even_if_escaping_fails(open_page):
    with socket.create_server(("127.0.0.1", 0)) as server:
        site = f"http://127.0.0.1:{server.getsockname()[1]}"
        injected = (
            "<script>document.title = 'taken'</script>"
            "<img src=x onerror=\"document.title = 'taken'\">"
            f"<link rel=stylesheet href={site}/a.css><img src={site}/a.png>"
            f"<iframe src={site}></iframe><video preload=auto src={site}/a.mp4></video>"
            f"<script src={site}/a.js></script>"
        )
        page = open_page(as_html(SMALL, {}).replace("</main>", f"{injected}</main>"))
        expect(page.locator("script")).to_have_count(2)
        assert page.title() == "kungfu: feedback"
        assert received(server) == b""


def received(server):
    """Returns everything that was sent to a server.

    Chromium may connect to a frame's server before it checks the policy, but then sends nothing.
    """
    server.settimeout(0.2)
    sent = b""
    with contextlib.suppress(TimeoutError):
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(TimeoutError):
                connection.settimeout(0.2)
                sent += connection.recv(1000)
    return sent


def test_the_page_can_be_printed(open_page, pictures, video):
    page = open_page(as_html(illustrated(video), pictures), color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("body").evaluate("b => getComputedStyle(b).color") == "rgb(0, 0, 0)"
    expect(page.locator(".video")).to_be_hidden()
    expect(page.locator("img")).to_have_count(len(PICTURES))
