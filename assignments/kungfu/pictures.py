"""Pictures that illustrate hints on the student's feedback page.

Their numbers come from the rollouts of the visible checks, which students have anyway. Their
background is opaque, so they look the same on a light and on a dark page. Positions are pixels from
the top left corner.
"""

import io
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from assignments.kungfu.variants import IDEAS
from checks.loss_cases import CASES

WIDTH = 800
DOTS_PER_INCH = 100
N_COLOURS = 64

PAPER, INK, QUIET = "#fbf6ea", "#2a2d3e", "#666373"
OWN, OWN_FILL = "#256f45", "#cbe8d4"
WRONG_LINE, WRONG_FILL = "#ac2e3b", "#f6d0d0"
PLAIN_FILL, OVER_FILL = "#ece5d5", "#2a2d3e"

SMALL, BODY, TITLE = 23, 26, 30


def draw_broadcast() -> bytes:
    """Two games' values in a column: targets minus values become a 2 × 2 table."""
    tick = 2
    case = CASES["uniform"]
    values, next_values = case.values[:2, tick], case.values[:2, tick + 1]
    targets = case.rewards[:2, tick] + case.gamma * next_values
    table = targets[None, :] - values[:, None]

    axes = _sheet(470)
    _text(axes, 30, 44, "Targets minus values of two games", TITLE, ha="left", weight="bold")
    _text(axes, 235, 100, "Shape (n,)", color=OWN, weight="bold")
    _text(axes, 235, 132, "each game on its own", SMALL, OWN)
    _text(axes, 620, 100, "Shape (n, 1)", color=WRONG_LINE, weight="bold")
    _text(axes, 620, 132, "all pairs of games", SMALL, WRONG_LINE)

    for y, words in ((190, "Target"), (278, "− Value")):
        _text(axes, 120, y, words, SMALL, ha="right")
    for game, x in enumerate((136, 244)):
        _box(axes, x, 166, 96, 48, PLAIN_FILL, INK, _number(targets[game]))
        _box(axes, x, 254, 96, 48, PLAIN_FILL, INK, _number(values[game]))
        _text(axes, x + 48, 322, "=")
        _box(axes, x, 342, 96, 48, OWN_FILL, OWN, _number(table[game, game]))
    for column, x in enumerate((532, 656)):
        _box(axes, x, 166, 112, 48, PLAIN_FILL, INK, _number(targets[column]))
        for row, y in enumerate((254, 342)):
            tone = (OWN_FILL, OWN) if row == column else (WRONG_FILL, WRONG_LINE)
            _box(axes, x, y, 112, 48, *tone, _number(table[row, column]))
    for row, y in enumerate((254, 342)):
        _text(axes, 410, y + 24, "−")
        _box(axes, 426, y, 84, 48, PLAIN_FILL, INK, _number(values[row]))

    own, all_pairs = np.mean(np.diag(table) ** 2), np.mean(table**2)
    _text(axes, 235, 430, f"Mean of squares {own:.3f}", SMALL, OWN)
    _text(axes, 620, 430, f"Mean of squares {all_pairs:.3f}", SMALL, WRONG_LINE)
    return _png(axes)


def draw_entropy_sign() -> bytes:
    """A policy whose entropy was pushed up, and one whose entropy was pushed down."""
    start = CASES["idle"].logits[0, 0].astype(float)
    axes = _sheet(450)
    _text(axes, 30, 44, "How a policy over 14 actions changes", TITLE, ha="left", weight="bold")
    for x, sign, words, color, fill in (
        (40, 1, "Entropy pushed up", OWN, OWN_FILL),
        (430, -1, "Entropy pushed down", WRONG_LINE, WRONG_FILL),
    ):
        before, after = _softmax(start), _softmax(_follow_entropy(start, sign))
        words_below = f"{_entropy(before):.1f} becomes {_entropy(after):.1f}"
        _text(axes, x + 165, 98, words, color=color, weight="bold")
        _text(axes, x + 165, 130, words_below, SMALL, color)
        for action, (old, new) in enumerate(zip(before, after, strict=True)):
            place = {"x": x + 4 + 23 * action, "width": 18, "bottom": 380, "align": "edge"}
            axes.bar(height=-220 * new, color=fill, edgecolor=color, linewidth=2, **place)
            axes.bar(height=-220 * old, fill=False, edgecolor=INK, linewidth=1.2, **place)
        axes.plot([x, x + 328], [380, 380], color=INK, linewidth=2)
    words = "Bars: the probability of each action; thin lines: before"
    _text(axes, 400, 416, words, SMALL, QUIET)
    return _png(axes)


def draw_episode_end() -> bytes:
    """A game that ends at tick 1 of a rollout: its target must exclude the next game's value."""
    game, last = 1, 1
    case = CASES["uniform_ends"]
    values, rewards = case.values[game], case.rewards[game]
    targets = rewards[:-1] + case.gamma * case.is_not_done[game, :-1] * values[1:]
    leak = case.gamma * values[last + 1]

    axes = _sheet(574)
    _text(axes, 30, 44, "A rollout in which a game ends", TITLE, ha="left", weight="bold")
    columns = (150, 300, 490, 640)
    wall = (columns[last] + 120 + columns[last + 1]) / 2
    axes.plot([wall, wall], [88, 470], color=INK, linewidth=3, linestyle=(0, (3, 2)))
    _text(axes, wall - 16, 108, "Game over", SMALL, ha="right", va="baseline")
    _text(axes, wall + 16, 108, "New game", SMALL, ha="left", va="baseline")
    for y, words in ((156, "Seen"), (232, "Reward"), (308, "Value"), (428, "Target")):
        _text(axes, 30, y, words, ha="left")
    for tick, x in enumerate(columns):
        fill, color = (OVER_FILL, PAPER) if tick == last else (PLAIN_FILL, INK)
        _box(axes, x, 132, 120, 48, fill, INK, f"$s_{tick}$", color)
        _box(axes, x, 284, 120, 48, PLAIN_FILL, INK, _number(values[tick]))
    for tick, x in enumerate(columns[:-1]):
        _box(axes, x, 208, 120, 48, PLAIN_FILL, INK, _number(rewards[tick]))
        _box(axes, x, 404, 120, 48, OWN_FILL, OWN, _number(targets[tick]))
        start, end = (columns[tick + 1] + 40, 337), (x + 90, 401)
        if tick == last:
            _arrow(axes, start, end, WRONG_LINE, linestyle=(0, (3, 1.5)))
        else:
            _arrow(axes, start, end, OWN)
            _text(axes, x + 70, 368, f"× {case.gamma}", SMALL, OWN)
    _text(axes, wall, 369, "×", 44, WRONG_LINE, weight="bold")
    words = (
        "With the dashed arrow, the target of a finished game\n"
        f"would include {_number(leak)} from a game that it never plays."
    )
    _text(axes, 400, 522, words, SMALL, WRONG_LINE)
    return _png(axes)


PICTURES: dict[str, Callable[[], bytes]] = {
    IDEAS["agent"]["value left (n, 1)"].hint: draw_broadcast,
    IDEAS["loss"]["entropy with the wrong sign"].hint: draw_entropy_sign,
    IDEAS["loss"]["no mask in the TD target"].hint: draw_episode_end,
}


def _follow_entropy(logits: np.ndarray, sign: int) -> np.ndarray:
    """Steps up (sign 1) or down (-1) the entropy's gradient with respect to the logits."""
    for _ in range(12):
        policy = _softmax(logits)
        logits = logits - sign * 2 * policy * (np.log(policy) + _entropy(policy))
    return logits


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def _entropy(policy: np.ndarray) -> float:
    return float(-np.sum(policy * np.log(policy)))


def _number(value: float) -> str:
    return f"{value + 0.0:.1f}".replace("-0.0", "0.0").replace("-", "−")


def _sheet(height: int) -> Axes:
    """Returns axes on paper, in pixels, with y pointing down."""
    figure = Figure(figsize=(WIDTH / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    figure.patch.set_facecolor(PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return axes


def _text(axes: Axes, x: float, y: float, words: str, size=BODY, color=INK, **style) -> None:
    style = {"ha": "center", "va": "center", "linespacing": 1.35} | style
    axes.text(x, y, words, fontsize=size * 72 / DOTS_PER_INCH, color=color, **style)


def _box(axes, x, y, width, height, fill, line, words, color=None) -> None:
    shape = "round,pad=0,rounding_size=8"
    style = {"facecolor": fill, "edgecolor": line, "linewidth": 2}
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, **style))
    _text(axes, x + width / 2, y + height / 2, words, color=color or line)


def _arrow(axes: Axes, start, end, color: str, linestyle="solid") -> None:
    head = {"arrowstyle": "-|>", "mutation_scale": 20, "shrinkA": 0, "shrinkB": 0}
    style = {"color": color, "linewidth": 3, "linestyle": linestyle}
    axes.add_patch(FancyArrowPatch(start, end, **style, **head))


def _png(axes: Axes) -> bytes:
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    image.quantize(N_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()
