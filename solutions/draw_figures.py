"""Draw the notebooks' figures into notebooks/images/.

Run it as `python solutions/draw_figures.py`. With the same libraries it writes the same bytes:
seeds are fixed and the files carry no metadata.

Every figure is drawn on a sheet of paper with transparent rounded corners, so that it looks the
same on light and dark pages. Positions are in pixels from the top left corner. A colour means the
same thing everywhere: see `OBSERVATION` and its neighbours.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import ale_py
import gymnasium as gym
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Outline
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from atari_util import PreprocessAtari  # noqa: E402

IMAGES = ROOT / "notebooks" / "images"
DOTS_PER_INCH = 100


class Tone(NamedTuple):
    """A colour for lines and text, and its pale shade for areas."""

    line: str
    fill: str


PAPER = Tone("#d9cdb4", "#fbf6ea")
INK = Tone("#2a2d3e", "#474b63")
QUIET = Tone("#666373", "#ece5d5")
LAYER = Tone("#585c86", "#dcdcee")
OBSERVATION = Tone("#286594", "#cde2f1")
MEMORY = Tone("#9b4d08", "#fbdcb5")
ACTION = Tone("#ac2e3b", "#f6d0d0")
REWARD = Tone("#7d6100", "#f6e7a6")
VALUE = Tone("#256f45", "#cbe8d4")
NEXT_GAME = Tone("#1d4b70", "#8dbfe2")
MASK = Tone(INK.line, "#fffdf8")
GAME_OVER = Tone("#fbf6ea", "#2a2d3e")

SMALL, BODY, TITLE = 20, 23, 29


# Drawing primitives


def sheet(width, height):
    """Returns axes in pixels, y pointing down, on a sheet of paper of this size."""
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    box(axes, 2, 2, width - 4, height - 4, PAPER, radius=26)
    return axes


def text(axes, x, y, words, size=BODY, color=INK.line, **style):
    """Writes words centred on (x, y), with size in pixels."""
    points = size * 72 / DOTS_PER_INCH
    style = {"ha": "center", "va": "center", "linespacing": 1.3} | style
    axes.text(x, y, words, fontsize=points, color=color, **style)


def title(axes, x, y, words, **style):
    """Writes a heading whose baseline is at y."""
    text(axes, x, y, words, TITLE, weight="bold", va="baseline", **style)


def box(axes, x, y, width, height, tone, words="", *, size=BODY, radius=8, line_width=2):
    """Draws a rounded box with its words in the middle."""
    shape = f"round,pad=0,rounding_size={radius}"
    style = {"facecolor": tone.fill, "edgecolor": tone.line, "linewidth": line_width}
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, **style))
    text(axes, x + width / 2, y + height / 2, words, size, tone.line)


def arrow(axes, *corners, tone=INK, bend=18, style="-|>", width=2.6):
    """Draws an arrow through the corners, rounding them off."""
    points = np.array(corners, dtype=float)
    vertices, codes = [points[0]], [Outline.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start = corner + bend * (before - corner) / np.linalg.norm(before - corner)
        end = corner + bend * (after - corner) / np.linalg.norm(after - corner)
        vertices += [start, corner, end]
        codes += [Outline.LINETO, Outline.CURVE3, Outline.CURVE3]
    path = Outline([*vertices, points[-1]], [*codes, Outline.LINETO])
    head = {"arrowstyle": style, "mutation_scale": 17, "joinstyle": "miter", "capstyle": "butt"}
    axes.add_patch(FancyArrowPatch(path=path, color=tone.line, linewidth=width, **head))


def bracket(axes, left, right, y, words, tone=INK, *, depth=12):
    """Draws a bracket from left to right that opens upwards, or downwards for a negative depth."""
    corners = (left, y), (left, y + depth), (right, y + depth), (right, y)
    arrow(axes, *corners, tone=tone, bend=6, style="-")
    side = "top" if depth > 0 else "bottom"
    text(axes, (left + right) / 2, y + 1.8 * depth, words, color=tone.line, va=side)


def picture(axes, image, x, y, width, height, tone=INK):
    """Shows a grey [height, width] or colour [height, width, 3] image, enlarged without blur."""
    extent = (x, x + width, y + height, y)
    style = {"interpolation": "nearest", "aspect": "auto", "zorder": 1}
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=extent, **style)
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=tone.line, linewidth=2))


def save(axes, name):
    """Writes the figure as a PNG without metadata, in its 256 most frequent colours.

    Flat areas stay exact; other pixels, mostly at the edges of letters and lines, take the nearest
    of these colours.
    """
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    flat_pixels = pixels.reshape(-1, 4)
    colours, index, counts = np.unique(flat_pixels, axis=0, return_inverse=True, return_counts=True)
    palette = colours[np.argsort(-counts, kind="stable")[:256]]
    distance = np.linalg.norm(colours[:, None] - palette.astype(float), axis=-1)
    index = distance.argmin(axis=-1)[index].reshape(pixels.shape[:2])
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(palette.tobytes(), rawmode="RGBA")
    IMAGES.mkdir(parents=True, exist_ok=True)
    image.save(IMAGES / name, optimize=True)


# The game


def make_game():
    """Returns the game without preprocessing, with the notebook's settings."""
    gym.register_envs(ale_py)
    return gym.make(
        "ALE/KungFuMaster-v5",
        frameskip=4,
        repeat_action_probability=0.25,
        render_mode="rgb_array",
    )


def play_randomly(env, n_steps, seed):
    """Returns the screen [210, 160, 3] and the observation after n_steps random actions."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(n_steps):
        observation, *_ = env.step(env.action_space.sample())
    screen = env.render()
    env.close()
    return screen, observation


# The figures


def draw_agent(n_frames, units):
    """Draws convolutions, dense layer, LSTM cell and two heads, and how memory is passed on."""
    axes = sheet(1300, 580)
    middle = 330
    for step in range(4 - n_frames, 4):
        box(axes, 42 + 9 * step, middle - 80 + 9 * step, 132, 132, OBSERVATION, radius=4)
    text(axes, 135, middle + 13, f"42 × 42\n× {n_frames}", color=OBSERVATION.line)
    text(axes, 122, middle + 120, "Observation $s_t$", color=OBSERVATION.line)

    for centre, side, shape in ((306, 96, "20 × 20"), (443, 72, "9 × 9"), (560, 54, "4 × 4")):
        for channel in range(5):
            corner = -side / 2 + 6 * (channel - 2)
            box(axes, centre + corner, middle + corner, side, side, LAYER, radius=3, line_width=1.5)
        text(axes, centre, middle + 95, f"{shape}\n× 32", SMALL, LAYER.line)
    words = "Three convolutions, ELU\n32 filters, 3 × 3, stride 2"
    bracket(axes, 246, 600, middle + 130, words, LAYER)

    box(axes, 630, middle - 50, 98, 100, LAYER, "Flatten\n512")
    box(axes, 758, middle - 50, 98, 100, LAYER, f"Dense\n{units}")
    box(axes, 892, middle - 75, 150, 150, MEMORY, f"LSTM cell\n{units}", radius=14)
    box(axes, 1098, middle - 110, 162, 90, ACTION, "Logits\n14 actions")
    box(axes, 1098, middle + 20, 162, 90, VALUE, "State value\n1 number")

    for start, end in ((205, 244), (369, 393), (494, 519), (602, 628), (730, 756), (858, 890)):
        arrow(axes, (start, middle), (end, middle))
    for head in (middle - 65, middle + 65):
        arrow(axes, (1042, middle), (1070, middle), (1070, head), (1096, head), bend=12)

    top = middle - 75
    arrow(axes, (1000, top), (1000, 120), (934, 120), (934, top - 2), tone=MEMORY, bend=30, width=4)
    text(axes, 916, 190, "Memory in\n$h_{t-1}, c_{t-1}$", color=MEMORY.line, ha="right")
    text(axes, 1018, 170, "Memory out\n$h_t, c_t$", color=MEMORY.line, ha="left")
    text(axes, 967, 88, "Passed on from time t to t + 1", color=MEMORY.line)
    title(axes, 40, 66, "The agent", ha="left")
    return axes


def draw_pool(obs_shape, units):
    """Draws one agent that plays five games as a batch, and the rollout that comes out."""
    axes = sheet(1300, 740)
    title(axes, 124, 72, "One agent")
    title(axes, 670, 72, "EnvPool: five games")
    title(axes, 1099, 72, "Rollout")
    box(axes, 40, 132, 168, 530, LAYER, "Agent", size=TITLE, radius=18)
    box(axes, 482, 132, 376, 530, QUIET, radius=18)

    for y, tone, name, shape in (
        (222, OBSERVATION, "Observations", f"[5, {obs_shape}]"),
        (397, MEMORY, "Memory", f"[5, {units}] twice"),
        (572, ACTION, "Actions", "[5]"),
    ):
        ends = ((214, y), (476, y)) if tone is ACTION else ((476, y), (214, y))
        style = "<|-|>" if tone is MEMORY else "-|>"
        arrow(axes, *ends, tone=tone, style=style, width=4)
        text(axes, 345, y - 26, name, color=tone.line)
        text(axes, 345, y + 28, shape, color=tone.line)

    for game in range(5):
        middle = 189 + 104 * game
        screen, _ = play_randomly(make_game(), 180, seed=game)
        picture(axes, screen[60:180], 716, middle - 45, 124, 90)
        text(axes, 498, middle, f"Game {game}", SMALL, ha="left")
        for cell in range(5):
            box(axes, 590 + 21 * cell, middle - 14, 21, 28, MEMORY, radius=2, line_width=1.5)
        for step in range(10):
            box(axes, 944 + 31 * step, middle - 24, 31, 48, OBSERVATION, radius=3, line_width=1.5)
    text(axes, 670, 692, "One row of memory for each game", SMALL, MEMORY.line)
    arrow(axes, (864, 397), (936, 397), width=4)
    bracket(axes, 944, 1254, 148, "[n_games, n_steps]", depth=-10)
    text(axes, 1099, 676, "Observations, actions,\nrewards, is_not_done", SMALL)
    return axes


def draw_rollouts():
    """Draws long games, cut into rollouts that share a column with their neighbours."""
    axes = sheet(1300, 740)
    left, side, lanes, bottom = 150, 38, (186, 282, 410, 476), 528
    last_frames = ((4, 23), (12,), (25,), (6, 20))

    def column(number):
        return left + side * number

    for first, n_columns, color in ((9, 10, QUIET.fill), (9, 1, PAPER.line), (18, 1, PAPER.line)):
        size = (side * n_columns, bottom - 156)
        axes.add_patch(Rectangle((column(first), 156), *size, facecolor=color))
    for first, y, name in (
        (0, 146, "Rollout k − 1"),
        (9, 92, "Rollout k"),
        (18, 146, "Rollout k + 1"),
    ):
        bracket(axes, column(first) + 2, column(first + 10) - 2, y, name, depth=-12)

    for game, (y, game_over) in enumerate(zip(lanes, last_frames, strict=True)):
        text(axes, 40, y + 17, f"Game {game}", ha="left")
        for number in range(28):
            if number in game_over:
                box(axes, column(number), y, side, 34, GAME_OVER, "×", radius=3)
            else:
                n_games_before = sum(last < number for last in game_over)
                tone = (OBSERVATION, NEXT_GAME)[n_games_before % 2]
                box(axes, column(number), y, side, 34, tone, radius=3, line_width=1.5)
        text(axes, 1240, y + 14, "…", TITLE)

    text(axes, column(13) - 8, lanes[1] - 14, "Game over", SMALL, ha="right", va="baseline")
    text(axes, column(13) + 8, lanes[1] - 14, "New game", SMALL, ha="left", va="baseline")
    text(axes, column(9) - 12, lanes[1] + 60, "Mask, is_not_done", SMALL, ha="right")
    for number in range(9, 19):
        mask = int(number not in last_frames[1])
        weight = "normal" if mask else "bold"
        text(axes, column(number) + side / 2, lanes[1] + 60, mask, weight=weight)

    for number, words in (
        (9, "$s_0$ need not\nopen a game"),
        (18, "The last state\nneed not end one"),
    ):
        middle = column(number) + side / 2
        arrow(axes, (middle, 556), (middle, bottom + 2))
        text(axes, middle, 566, words, va="top")
    arrow(axes, (1010, 592), (1244, 592), width=4)
    text(axes, 1127, 568, "Time", SMALL)

    box(axes, 40, 652, side, 34, GAME_OVER, "×", radius=3)
    words = "Last frame: mask 0, and the action\nplayed on it is ignored (reset tick)"
    text(axes, 92, 669, words, SMALL, ha="left")
    axes.add_patch(Rectangle((660, 652), side, 34, facecolor=PAPER.line))
    words = "Shared: the last column of one rollout\nis the first column of the next one"
    text(axes, 712, 669, words, SMALL, ha="left")
    return axes


def draw_game(cut, n_frames):
    """Draws the game's screen, and the small grey frames that the agent sees."""
    axes = sheet(1300, 830)
    small = {"height": 42, "width": 42, "n_frames": n_frames, "dim_order": "pytorch"}
    env = PreprocessAtari(make_game(), crop=lambda img: img[60:-30, cut:], **small)
    screen, frames = play_randomly(env, 180, seed=0)

    left, top, scale = 50, 132, 3
    title(axes, left, 72, "What you see", ha="left")
    picture(axes, screen, left, top, 160 * scale, 210 * scale)
    corner = left + cut * scale + 2, top + 60 * scale + 2
    kept = Rectangle(corner, (160 - cut) * scale - 5, 120 * scale - 4)
    kept.set(fill=False, edgecolor="white", linewidth=3, linestyle=(0, (3, 2)))
    axes.add_patch(kept)
    text(axes, left + 80 * scale, 114, "Time t", SMALL)
    text(axes, left + 80 * scale, 792, "160 × 210 pixels, in colour", SMALL)
    arrow(axes, (542, 492), (622, 492), width=4)

    title(axes, 640, 72, "What the agent sees", ha="left")
    names = ("Time t − 3", "Time t − 2", "Time t − 1", "Time t")[-n_frames:]
    side = 294 if n_frames > 1 else 610
    for index, (name, frame) in enumerate(zip(names, frames, strict=True)):
        row, column = divmod(index, 2)
        x, y = 640 + 316 * column, top + 336 * row
        picture(axes, frame, x, y, side, side, OBSERVATION)
        text(axes, x + side / 2, y - 18, name, SMALL)
    text(axes, 945, 792, "The part inside the dashes, 42 × 42 pixels, in grey", SMALL)
    return axes


def draw_returns():
    """Draws a worked example of n-step returns, with a game that ends at time 3."""
    axes = sheet(1300, 780)
    left, pitch, width, height = 296, 202, 116, 52
    observations_y, rewards_y, masks_y, values_y, returns_y = 186, 262, 338, 414, 594
    rewards, masks, values = (1, 2, 4, 0, 0), (1, 1, 1, 0, 1), (10, 20, 30, 40, 50)
    returns = (3, 4, 4, 0, 50)
    sums = ("1 + 0.5 · 1 · 4", "2 + 0.5 · 1 · 4", "4 + 0.5 · 1 · 0", "0 + 0.5 · 0 · 50", "1 · 50")

    formula = r"$G_t \,=\, r_t + \gamma \, m_t \, G_{t+1}$"
    text(axes, 40, 66, formula, TITLE, VALUE.line, ha="left")
    start = r"$G_4 \,=\, m_4 \, V_\mathrm{const}(s_4)$"
    text(axes, 400, 66, start, TITLE, VALUE.line, ha="left")
    text(axes, 1260, 66, r"From right to left, with $\gamma$ = 0.5", ha="right")
    for y, name, tone in (
        (observations_y, "Observation $s_t$", OBSERVATION),
        (rewards_y, "Reward $r_t$", REWARD),
        (masks_y, "Mask $m_t$", MASK),
        (values_y, r"Value $V_\mathrm{const}(s_t)$", VALUE),
        (returns_y, "Return $G_t$", VALUE),
    ):
        text(axes, 40, y + height / 2, name, color=tone.line, ha="left")

    for time in range(5):
        x, last = left + pitch * time, time == 4
        seen = (OBSERVATION, NEXT_GAME)[last] if masks[time] else GAME_OVER
        box(axes, x, observations_y, width, height, seen, f"$s_{time}$")
        box(axes, x, rewards_y, width, height, QUIET if last else REWARD, rewards[time])
        box(axes, x, masks_y, width, height, MASK if masks[time] else GAME_OVER, masks[time])
        box(axes, x, values_y, width, height, VALUE if last else QUIET, values[time])
        box(axes, x, returns_y, width, height, VALUE, returns[time], size=TITLE, line_width=3)
        text(axes, x + width / 2, returns_y + height + 26, sums[time], SMALL, VALUE.line)

    middle = returns_y + height / 2
    for time in range(4):
        x = left + pitch * time + width
        tone, factor = (VALUE, "× 0.5") if masks[time] else (QUIET, "× 0")
        arrow(axes, (x + pitch - width - 4, middle), (x + 4, middle), tone=tone, width=4)
        text(axes, x + (pitch - width) / 2, middle - 28, factor, SMALL, tone.line)
    cut = left + pitch * 3 + width + (pitch - width) / 2
    box(axes, cut - 15, middle - 15, 30, 30, GAME_OVER, "×", radius=3)

    end = left + pitch * 4 + width / 2
    arrow(axes, (end, values_y + height + 4), (end, returns_y - 5), tone=VALUE, width=4)
    words = "Bootstrap: the last value stands in\nfor all rewards still to come"
    text(axes, end - 20, (values_y + height + returns_y) / 2, words, SMALL, VALUE.line, ha="right")
    text(axes, end - pitch, observations_y - 36, "Game over,\nreset tick", SMALL)
    text(axes, end, observations_y - 36, "New game,\nnot played yet", SMALL)
    text(axes, 40, 736, "Grey: plays no part in these returns", SMALL, QUIET.line, ha="left")
    return axes


FIGURES = {
    "agent.png": lambda: draw_agent(n_frames=4, units=256),
    "agent_pytorch.png": lambda: draw_agent(n_frames=1, units=128),
    "pool.png": lambda: draw_pool("42, 42, 4", units=256),
    "pool_pytorch.png": lambda: draw_pool("1, 42, 42", units=128),
    "rollouts.png": draw_rollouts,
    "game.png": lambda: draw_game(cut=5, n_frames=4),
    "game_pytorch.png": lambda: draw_game(cut=15, n_frames=1),
    "returns.png": draw_returns,
}


def main():
    """Draws every figure."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    matplotlib.rcdefaults()
    for name, draw in FIGURES.items():
        save(draw(), name)


if __name__ == "__main__":
    main()
