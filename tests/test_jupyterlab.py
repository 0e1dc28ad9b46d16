"""The student notebook in JupyterLab: looked at, run and filled in through a browser."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import nbformat
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Route, expect, sync_playwright

from tests.browser import CHROMIUM_OPTIONS
from tests.frameworks import FRAMEWORKS
from tests.notebooks import ROOT, solution_cells, student_path

SCREENSHOTS = ROOT / "build" / "screenshots"
WINDOW = {"width": 1280, "height": 900}
TIMEOUT = 60_000  # ms; only ends what hangs, on a busy machine, too
OBS_SHAPE = {"tensorflow": "(42, 42, 4)", "pytorch": "(1, 42, 42)"}
# The game and, beside it, the frames of an observation: of four, two above two.
N_PANELS = {"tensorflow": 3, "pytorch": 2}


class Lab:
    """A notebook that is open in JupyterLab; cells go by their ids in the file."""

    def __init__(self, page: Page, path: Path, framework: str):
        self.page = page
        self.framework = framework
        self.file_cells = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}

    def cell(self, cell_id: str) -> Locator:
        index = list(self.file_cells).index(cell_id)
        return self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{index}"]')

    def output(self, cell_id: str) -> Locator:
        return self.cell(cell_id).locator(".jp-Cell-outputWrapper")

    def errors(self, cell_id: str) -> Locator:
        """Exceptions, and what was written to stderr: JupyterLab marks both alike."""
        return self.output(cell_id).locator('[data-mime-type="application/vnd.jupyter.stderr"]')

    def run(self, cell_id: str) -> None:
        """Puts the cursor into a code cell, presses Ctrl+Enter and waits until it has run."""
        before = self._prompt(cell_id).inner_text()
        self.start(cell_id)
        expect(self._prompt(cell_id)).not_to_have_text(before)
        self._wait_until_done(cell_id)

    def start(self, cell_id: str) -> None:
        """Puts the cursor into a code cell and presses Ctrl+Enter."""
        self._editor(cell_id).click()
        self.page.keyboard.press("Control+Enter")

    def interrupt(self, cell_id: str) -> None:
        """Presses ■ while a cell runs, and waits until it has ended."""
        self.page.get_by_role("button", name="Interrupt the kernel").click()
        self._wait_until_done(cell_id)

    def restart_kernel(self) -> None:
        """Presses ⟳ and confirms it; prompts are empty then."""
        self.page.get_by_role("button", name="Restart the kernel", exact=True).click()
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text(
            "Python 3 (ipykernel) | Idle"
        )

    def save(self) -> None:
        """Presses Ctrl+S and waits until the file is written."""
        self.page.keyboard.press("Control+S")
        expect(self.page.locator(".jp-mod-dirty")).to_have_count(0)

    def fill(self, cell_id: str, source: str) -> None:
        """Overwrites all that stands in a code cell."""
        self._editor(cell_id).click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source)

    def save_screenshot(self, path: Path) -> None:
        """Makes the window as tall as the notebook, so that the picture shows all of it."""
        panels = self.page.locator(".jp-WindowedPanel-outer")
        heights = panels.evaluate_all("panels => panels.map(panel => panel.scrollHeight)")
        self.page.set_viewport_size({**WINDOW, "height": max([WINDOW["height"], *heights])})
        panels.evaluate_all("panels => panels.forEach(panel => panel.scrollTo(0, 0))")
        self.page.screenshot(path=path)

    def _prompt(self, cell_id: str) -> Locator:
        return self.cell(cell_id).locator(".jp-InputPrompt")

    def _wait_until_done(self, cell_id: str) -> None:
        expect(self._prompt(cell_id)).to_have_text(re.compile(r"\[\d+\]:"))

    def _editor(self, cell_id: str) -> Locator:
        return self.cell(cell_id).locator(".cm-content")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """What students download, in a folder of its own."""
    folder = tmp_path_factory.mktemp("bundle")
    command = [sys.executable, "-m", "grading", "release", "--bundle", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def server(bundle, tmp_path_factory):
    """JupyterLab as freshly installed, serving the bundle; yields its address."""
    home = tmp_path_factory.mktemp("home")
    folders = {"HOME": home, "IPYTHONDIR": home / "ipython"}
    for kind in ("CONFIG", "DATA", "RUNTIME"):
        folders[f"JUPYTER_{kind}_DIR"] = home / kind.lower()
    # Nobody is there to answer whether Jupyter's news are welcome.
    page_config = home / "config" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True)
    disabled = {"@jupyterlab/apputils-extension:announcements": True}
    page_config.write_text(json.dumps({"disabledExtensions": disabled}))

    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | {k: str(v) for k, v in folders.items()}
    environment.pop("CHECKS_AS_TEXT", None)  # which holds for notebooks that nobody looks at
    log = home / "jupyter.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    with log.open("w") as log_file:
        process = subprocess.Popen(
            [*command, "--ServerApp.port=0", "--IdentityProvider.token="],
            cwd=bundle,
            env=environment,
            stdout=log_file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield wait_for_address(process, home / "runtime", log)
    finally:
        process.terminate()  # the server shuts its kernels down
        try:
            process.wait(TIMEOUT / 1000)
        finally:
            process.kill()  # kernels end by themselves when their server is gone
            process.wait()


def wait_for_address(process: subprocess.Popen, runtime: Path, log: Path) -> str:
    """Returns the address from the file that a server writes when it is up."""
    info = runtime / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + TIMEOUT / 1000
    while process.poll() is None and time.monotonic() < deadline:
        if info.exists() and info.read_text().endswith("}"):
            return json.loads(info.read_text())["url"]
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="module", params=FRAMEWORKS)
def lab(request, server, bundle):
    """A student notebook, open; leaves a screenshot behind, for people to see."""
    path = bundle / student_path(request.param).name
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("Chromium is needed: let root run `apt-get install chromium`.")
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(TIMEOUT)
        page.route("**/*", allow_local_only)
        # In a workspace of its own, or the notebook before would open beside it.
        page.goto(f"{server}lab/workspaces/{request.param}/tree/{path.name}")
        opened = Lab(page, path, request.param)
        yield opened
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        opened.save_screenshot(SCREENSHOTS / f"{request.param}.png")
        browser.close()


def allow_local_only(route: Route) -> None:
    """Cuts the page off from the internet: what it shows must be the same everywhere."""
    if urlsplit(route.request.url).hostname == "localhost":
        route.continue_()
    else:
        route.abort()


@pytest.fixture(scope="module")
def started(lab):
    """The notebook with all cells above the first exercise run."""
    # Whoever runs a cell before the kernel is there is asked which one it shall be.
    expect(lab.page.locator("#jp-main-statusbar")).to_contain_text("Python 3 (ipykernel) | Idle")
    for cell_id in cells_above_the_exercise(lab):
        lab.run(cell_id)
    return lab


def cells_above_the_exercise(lab: Lab) -> list[str]:
    above = list(lab.file_cells)[: list(lab.file_cells).index("agent-exercise")]
    return [cell_id for cell_id in above if lab.file_cells[cell_id].cell_type == "code"]


def test_all_figures_are_shown(lab):
    embedded = "".join(
        cell.source for cell in lab.file_cells.values() if cell.cell_type == "markdown"
    ).count("](data:image/png;base64,")
    # The badge comes from the internet.
    badge = '[src^="https://colab.research.google.com/"]'
    figures = lab.page.locator(f".jp-RenderedMarkdown img:not({badge})")
    assert embedded > 0
    expect(figures).to_have_count(embedded)
    for figure in figures.all():
        assert width_of(figure) > 0


def width_of(image: Locator) -> int:
    """Scrolls to an image, waits until it is visible and loaded; returns its width in pixels."""
    image.scroll_into_view_if_needed()
    expect(image).to_be_visible()
    return image.evaluate("image => image.decode().then(() => image.naturalWidth)")


def test_the_given_cells_run_quietly(started):
    for cell_id in cells_above_the_exercise(started):
        expect(started.errors(cell_id), cell_id).to_have_count(0)
    expect(started.output("make-env")).to_contain_text(OBS_SHAPE[started.framework])


def test_the_game_and_the_frames_of_an_observation_are_shown(started):
    picture = started.output("look").locator("img")
    assert count_panels(picture_pixels(picture)) == N_PANELS[started.framework]


def picture_pixels(image: Locator) -> np.ndarray:
    """Waits for an output's picture; returns its grey pixels, [height, width]."""
    width_of(image)
    _, _, base64_text = image.get_attribute("src").partition("base64,")
    encoded = np.frombuffer(base64.b64decode(base64_text), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)


def count_panels(pixels: np.ndarray) -> int:
    """Counts what stands side by side on white."""
    is_drawn = (pixels < 255).any(axis=0)
    return int(is_drawn[0]) + np.count_nonzero(~is_drawn[:-1] & is_drawn[1:])


def test_an_exercise_names_its_gaps_and_passes_once_they_are_filled(started):
    source = started.file_cells["agent-exercise"].source
    lines = [
        f"  line {number}: {line.strip()}"
        for number, line in enumerate(source.splitlines(), 1)
        if "<YOUR CODE" in line
    ]
    started.run("agent-exercise")
    message = started.output("agent-exercise")
    expect(message).to_contain_text(f"OpenGaps: {len(lines)} gaps are still open in this cell.")
    shown = message.inner_text().splitlines()
    assert [line for line in shown if line.startswith("  line ")] == lines
    assert "SyntaxError" not in message.inner_text()
    assert "Traceback" not in message.inner_text()

    [answer] = solution_cells("agent-exercise", framework=started.framework)
    started.fill("agent-exercise", answer.source)
    started.run("agent-exercise")
    expect(started.errors("agent-exercise")).to_have_count(0)
    started.run("agent-check")
    expect(started.output("agent-check")).to_contain_text(re.compile(r"All \d+ lines passed\."))


# Enough for a score and a video, with games that end early.
SHORT_GAMES = 'gym.spec("ALE/KungFuMaster-v5").kwargs["max_num_frames_per_episode"] = 400'
QUICK = "import training\ntraining.PLOTTING_SHARE = 1  # otherwise half a minute between two\n"
QUICK += "n_training_games, measure_every, evaluate_every, passing_score = 4, 2, 4, 10**6"
EXERCISES = ("agent-exercise", "loss-exercise", "optimizer-exercise")


@pytest.mark.parametrize("lab", [pytest.param("pytorch", marks=pytest.mark.pytorch)], indirect=True)
def test_a_student_trains_interrupts_restarts_resumes_watches_and_hands_in(started, bundle):
    lab, cells = started, started.file_cells
    for cell_id in EXERCISES:
        [answer] = solution_cells(cell_id, framework=lab.framework)
        lab.fill(cell_id, answer.source)
    lab.fill("imports", f"{cells['imports'].source}\n{SHORT_GAMES}")
    lab.fill("training-settings", f"{cells['training-settings'].source}\n{QUICK}")

    def run_above_training():
        for cell_id in list(cells)[: list(cells).index("train")]:
            if cells[cell_id].cell_type == "code":
                lab.run(cell_id)
                expect(lab.errors(cell_id), cell_id).to_have_count(0)

    run_above_training()
    for cell_id in ("agent-check", "loss-check", "optimizer-check"):
        expect(lab.output(cell_id).locator("table")).to_contain_text("passes")
        expect(lab.output(cell_id)).to_contain_text(re.compile(r"All \d+ lines passed\."))

    # Training: one bar and one plot, both alive.
    lab.start("train")
    output = lab.output("train")
    plot = output.locator("img")
    width_of(plot)
    first = plot.get_attribute("src")
    expect(plot).not_to_have_attribute("src", first)
    expect(output.locator("progress")).to_have_count(1)
    lab.interrupt("train")
    expect(output).to_contain_text("Interrupted.")
    expect(output).to_contain_text("All is saved in checkpoints")
    expect(output.locator("progress")).to_have_count(1)
    expect(output.locator("img")).to_have_count(1)
    interrupted_at = int(re.search(r"([\d,]+) rollouts, ", output.inner_text())[1].replace(",", ""))

    lab.restart_kernel()
    run_above_training()
    expect(lab.output("history")).to_contain_text("run.restore()")
    lab.fill("history", f"{cells['history'].source}\nrun.restore()")
    lab.run("history")
    expect(lab.output("history")).to_contain_text(f"Restored: {interrupted_at:,} rollouts")
    lab.fill(
        "training-settings",
        f"{cells['training-settings'].source}\n{QUICK}\nmax_iterations = {interrupted_at + 40}",
    )
    lab.run("training-settings")
    lab.run("train")
    expect(output).to_contain_text(f"{interrupted_at + 40:,} rollouts, ")

    lab.run("final")
    expect(lab.errors("final")).to_have_count(0)
    expect(lab.output("final")).to_contain_text("Your agent, mean of 20 games:")
    lab.run("final-video")
    video = lab.output("final-video").locator("video")
    video.scroll_into_view_if_needed()
    assert video.evaluate("video => video.poster").startswith("data:image/png;base64,")
    video.evaluate("video => { video.muted = true; return video.play() }")
    lab.page.wait_for_function("video => video.currentTime > 0.2", arg=video.element_handle())

    lab.save()
    lab.run("hand-in")
    expect(lab.errors("hand-in")).to_have_count(0)
    with zipfile.ZipFile(bundle / "hand_in.zip") as handed_in:
        assert "kungfu_weights.npz" in handed_in.namelist()
        assert student_path(lab.framework).name in handed_in.namelist()
