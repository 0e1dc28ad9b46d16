"""Colours: text can be read on its ground, and nothing is told by colour alone."""

import itertools
import re
from types import SimpleNamespace

import matplotlib
import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from assignments.kungfu import pictures
from checks import sheet
from solutions import draw_figures
from tests.notebooks import ROOT, solution_cells

TEXT, SHAPE = 4.5, 3  # the least contrasts that WCAG 2 allows
TEMPLATES = sorted((ROOT / "grading" / "templates").glob("*.html"))
# Where words stand in a page's templates, beside the page and its sheets.
OTHER_GROUNDS = {"idea-sheet": {"ink", "idea", "quiet"}, "track": {"ink"}}


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours, as in WCAG 2."""

    def luminance(colour: str) -> float:
        parts = matplotlib.colors.to_rgb(colour)
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def too_faint(pairs: list[tuple[str, str]], least: float = TEXT) -> list[str]:
    found = {f"{one} on {other}: {contrast(one, other):.2f}" for one, other in pairs}
    return sorted(text for text in found if float(text.rpartition(" ")[2]) < least)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
    assert too_faint([("#777777", "#ffffff"), ("#767676", "#ffffff")]) == [
        "#777777 on #ffffff: 4.48"
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_pages_can_be_read(template, scheme):
    page = template.read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", page, re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", {"light": light, "dark": dark}[scheme]))
    texts = {*re.findall(r"(?<![\w-])color: var\(--([\w-]+)\)", page)}
    assert {"ink", "quiet"} <= texts <= colours.keys()
    assert not re.search(r"(?<![\w-])color: *#", page)  # else it would not follow the scheme
    pairs = [(text, ground) for text in texts for ground in ("page", "sheet")]
    pairs += [(text, ground) for ground, ours in OTHER_GROUNDS.items() for text in ours & texts]
    assert too_faint([(colours[t], colours[g]) for t, g in pairs if g in colours]) == []
    shapes = {"good", "idea", "edge"} & colours.keys()
    assert too_faint([(colours[s], colours["sheet"]) for s in shapes], SHAPE) == []


def test_marks_of_the_checks_can_be_read():
    assert too_faint([colours for _, *colours in sheet._MARKS.values()]) == []
    assert len({word for word, *_ in sheet._MARKS.values()}) == len(sheet._MARKS) == 3


def test_figures_can_be_read():
    tones = {
        n: tone for n, tone in vars(draw_figures).items() if isinstance(tone, draw_figures.Tone)
    }
    paper, ink = tones.pop("PAPER"), tones.pop("INK")
    on_paper = [(tone.line, paper.fill) for name, tone in tones.items() if name != "GAME_OVER"]
    on_own = [(tone.line, tone.fill) for tone in tones.values()]
    assert len(on_own) >= 8
    assert too_faint([(ink.line, paper.fill), *on_paper, *on_own]) == []


def test_pictures_of_hints_can_be_read():
    p = pictures
    pairs = [(p.INK, p.PAPER), (p.QUIET, p.PAPER), (p.INK, p.PLAIN_FILL), (p.PAPER, p.OVER_FILL)]
    pairs += [(p.OWN, p.PAPER), (p.OWN, p.OWN_FILL), (p.WRONG_LINE, p.WRONG_FILL)]
    assert too_faint([*pairs, (p.WRONG_LINE, p.PAPER)]) == []


def test_lines_of_the_plots_differ_by_more_than_their_colour():
    (cell,) = solution_cells("plots")
    numbers = [5.0, 3.0, 8.0]
    names = ("iteration", "entropy", "value_loss", "gradient_norm")
    settings = {
        "np": np,
        "pd": pd,
        "plt": plt,
        "run": SimpleNamespace(history=dict.fromkeys(names, numbers), n_iterations=150),
        "rewards_history": numbers,
        "n_training_games": 16,
        "evaluate_every": 50,
        "passing_score": 10_000,
        "random_score": 410,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        exec(cell.source, settings)
        figure = settings["draw_history"]()
    plt.close(figure)
    assert len(figure.axes) == 4
    for panel in figure.axes:
        lines = [line for line in panel.lines if len(line.get_xdata())]
        looks = [(line.get_linestyle(), line.get_marker()) for line in lines]
        assert all(one != other for one, other in itertools.combinations(looks, 2)), looks
        ground = panel.get_facecolor()
        assert too_faint([(line.get_color(), ground) for line in lines], SHAPE) == []
        texts = [panel.title, panel.xaxis.label, panel.yaxis.label, *panel.get_xticklabels()]
        texts += panel.get_legend().get_texts() if panel.get_legend() else []
        assert too_faint([(text.get_color(), ground) for text in texts]) == []
