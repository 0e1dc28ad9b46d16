"""Playing for marks: weights files of every kind, then games against agents of every kind."""

import dataclasses
import functools
import io
import os
import pickle
import re
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import ale_py
import gymnasium as gym
import numpy as np
import pytest

from assignments.kungfu import games
from atari_util import PreprocessAtari
from grading.grade import needed_statements
from grading.kernel import Kernel, Limits
from grading.play import PlayRules, play
from grading.sandbox import Sandbox
from grading.weights import MAX_BYTES, WeightsError, read_weights
from tests.frameworks import TRACKS, each_framework
from tests.notebooks import solution_cells

KIT = {path for track in TRACKS.values() for path in track.kit}
LIMITS = Limits(cell_seconds=5, total_seconds=60)


# ----------------------------------------------------------------------------------------- weights


def npz(path: Path, *arrays: np.ndarray) -> Path:
    np.savez_compressed(path, *arrays)
    return path


def archive(path: Path, members: list[tuple[str, bytes]], method=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_header(header: str, data: bytes = b"") -> bytes:
    return (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + data
    )


def test_weights_come_back_in_order(tmp_path):
    arrays = [np.full((2, i + 1), i + 0.5, (np.float16, np.float32)[i % 2]) for i in range(12)]
    read = read_weights(npz(tmp_path / "w.npz", *arrays))
    assert [(a.dtype, a.shape, a.ravel()[0]) for a in read] == [
        (np.float16 if i % 2 == 0 else np.float32, (2, i + 1), i + 0.5) for i in range(12)
    ]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_weights_of_any_layout(tmp_path, save):
    table = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    save(tmp_path / "w.npz", np.asfortranarray(table), table.astype(">f4"), np.float32(7))
    fortran, big_endian, scalar = read_weights(tmp_path / "w.npz")
    for array in (fortran, big_endian):
        assert array.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert array.dtype.isnative and array.flags.c_contiguous
    assert (scalar.shape, scalar.tolist()) == ((), 7)


ONE = npy(np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "holds nothing, expected were arr_0, arr_1"),
        ([("../arr_0.npy", ONE)], "holds '../arr_0', expected were arr_0, arr_1"),
        ([("/tmp/arr_0.npy", ONE)], "without names"),
        ([("\x1b[2Jarr_0.npy", ONE)], r"holds '\x1b[2Jarr_0'"),
        ([("weights.npy", ONE)], "holds 'weights', expected"),
        ([("weights.pkl", ONE)], "holds 'weights.pkl', which is no array"),
        ([("arr_0.npy", ONE), ("arr_2.npy", ONE)], "holds 'arr_0', 'arr_2', expected"),
        ([(f"arr_{i}.npy", b"") for i in range(1001)], "more than 1000 arrays"),
        ([("arr_0.npy", npy(np.ones(4)))], "arr_0 holds float64, expected float16 or float32"),
        ([("arr_0.npy", npy(np.ones(4, int)))], "arr_0 holds int64, expected"),
        ([("arr_0.npy", npy(np.ones(4, np.complex64)))], "holds complex64, which is no type of"),
        ([("arr_0.npy", npy(np.array([1, np.nan], np.float32)))], "arr_0 holds NaN or infinity"),
        ([("arr_0.npy", npy(np.array([np.inf], np.float16)))], "float16 ends at 65,504"),
        ([("arr_0.npy", b"")], "damaged"),
        ([("arr_0.npy", b"PK not npy")], "damaged: the magic string is not correct"),
        ([("arr_0.npy", ONE[:60])], "damaged: EOF"),
        ([("arr_0.npy", ONE[:-1])], "15 bytes, which is not what float32 of shape (4,) takes"),
        ([("arr_0.npy", ONE + b"\0")], "17 bytes, which is not"),
        ([("arr_0.npy", b"\x93NUMPY\x03\x00" + ONE[8:])], "version (3, 0)"),
        ([("arr_0.npy", with_header("{" + "-" * 999))], "damaged: Header info length"),
        ([("arr_0.npy", with_header("[" * 900))], "damaged"),
        ([("arr_0.npy", with_header("__import__('os').abort()"))], "damaged"),
    ],
)
def test_archives_of_something_else(tmp_path, members, message):
    with pytest.raises(WeightsError, match=re.escape(message)):
        read_weights(archive(tmp_path / "w.npz", members))


@pytest.mark.parametrize("shape", ["(10**9,)", "(1000000000, 1000000000)", "(-2, -2)", "(0, -1)"])
def test_shapes_that_lie(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    path = archive(tmp_path / "w.npz", [("arr_0.npy", with_header(header, bytes(16)))])
    with pytest.raises(WeightsError, match=r"not what float32|damaged"):
        read_weights(path)


def test_duplicates(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "w.npz", [("arr_0.npy", ONE), ("arr_0.npy", ONE)])
    with pytest.raises(WeightsError, match="holds two arrays of one name"):
        read_weights(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression(tmp_path, method):
    with pytest.raises(WeightsError, match="packed as NumPy packs nothing"):
        read_weights(archive(tmp_path / "w.npz", [("arr_0.npy", ONE)], method))


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = np.array([Bomb()], object)
    np.savez(tmp_path / "objects.npz", objects)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps([Bomb()]))
    with pytest.raises(WeightsError, match=r"holds object, which is no type of numbers"):
        read_weights(tmp_path / "objects.npz")
    with pytest.raises(WeightsError, match=r"is no \.npz file: write it with np.savez_compressed"):
        read_weights(tmp_path / "pickle.npz")
    assert not (tmp_path / "unpickled").exists()


def declare(path: Path, size: int) -> None:
    """Changes the unpacked size that an archive declares of its one member."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, size)
    path.write_bytes(data)


def test_bombs_are_not_unpacked(tmp_path):
    path = archive(tmp_path / "w.npz", [("arr_0.npy", ONE[:-16] + bytes(MAX_BYTES))])
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="unpacks to 67,108,992 bytes, over 67,108,864"):
            read_weights(path)
        declare(path, len(ONE))
        with pytest.raises(WeightsError, match="damaged: Bad CRC-32"):
            read_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_a_member_shorter_than_declared(tmp_path):
    path = archive(tmp_path / "w.npz", [("arr_0.npy", ONE)])
    declare(path, MAX_BYTES)
    with pytest.raises(WeightsError, match="is shorter than the archive says"):
        read_weights(path)


def test_truncated_files(tmp_path):
    path = npz(tmp_path / "w.npz", np.ones((30, 30), np.float16), np.ones(30, np.float16))
    whole = path.read_bytes()
    for size in (2, 4, 30, len(whole) // 2, len(whole) - 23, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="damaged"):
            read_weights(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"is no \.npz file"):
        read_weights(path)


def test_damaged_bytes_never_raise_anything_else(tmp_path):
    path = npz(tmp_path / "w.npz", np.ones((5, 5), np.float16), np.ones(5, np.float32))
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    n_refused = 0
    for _ in range(500):
        data = np.frombuffer(whole, np.uint8).copy()
        data[generator.integers(len(data), size=3)] = generator.integers(256, size=3)
        path.write_bytes(data.tobytes())
        try:
            read_weights(path)
        except WeightsError:
            n_refused += 1
    assert n_refused > 300


def test_only_regular_files_of_bounded_size(tmp_path):
    good = npz(tmp_path / "good.npz", np.ones(3, np.float16))
    (tmp_path / "link.npz").symlink_to(good)
    os.mkfifo(tmp_path / "fifo.npz")
    with (tmp_path / "huge.npz").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name, message in {
        "link.npz": "is a symbolic link, which is not followed",
        "fifo.npz": "is not a regular file",
        ".": "is not a regular file|cannot be read: Is a directory",
        "huge.npz": "has 67,108,865 bytes, over 67,108,864",
        "missing.npz": "cannot be read: No such file or directory",
    }.items():
        with pytest.raises(WeightsError, match=message):
            read_weights(tmp_path / name)


# ------------------------------------------------------------------------------------ small games

PLAY_NUMPY = """
import io
import numpy
from answers import described_errors, run_cells
from player import Player

def make_player(sources, weights, n_games, obs_shape, n_actions):
    with described_errors():
        agent = run_cells("agent", sources)["Agent"]()
    agent.weights = numpy.load(io.BytesIO(weights))["arr_0"]
    is_last = obs_shape[-1] < 40
    return Player(agent, n_games, obs_shape, frame_axis=-1 if is_last else 0)
"""

# Its memory counts ticks; it plays what the newest frame shows if its first weight is 0.
AGENT = """
import os, time
import numpy as np

class Agent:
    def get_initial_state(self, n_games):
        return [np.zeros(n_games)]

    def step(self, memory, observations):
        t = int(memory[0][0])
        return [memory[0] + 1], np.rint(observations[:, 0, 0, -1] * 255 + self.weights[0])

    def sample_actions(self, outputs):
        return outputs.astype(np.int64) % 14
"""
LAST = "return outputs.astype(np.int64) % 14"
STEP = "t = int(memory[0][0])"


class GuessingGames:
    """Each frame shows the action that brings 100 points; game i ends after 10 + i ticks.

    What is over goes on, with many points that must not count.
    """

    def __init__(self, generator, n_games):
        self.seeds = [int(seed) for seed in generator.integers(1000, size=n_games)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def reset(self):
        self.ticks = 0
        return self._frames()

    def step(self, actions):
        assert actions.shape == (len(self.seeds),)
        rewards = 100.0 * (actions == self._frames()[:, 0, 0])
        self.ticks += 1
        ends = 10 + np.arange(len(self.seeds))
        rewards[self.ticks > ends] = 1e6
        return self._frames(), rewards, self.ticks == ends

    def _frames(self):
        shown = (np.array(self.seeds) + self.ticks * 3) % 14
        return np.tile(shown.astype(np.uint8)[:, None, None], (1, 2, 2))


def replay_guessing(seed, actions):
    game = GuessingGames(np.random.default_rng(), 1)
    game.seeds = [seed]
    game.reset()
    shown = [(seed + tick * 3) % 14 for tick in range(len(actions))]
    return 100.0 * sum(a == s for a, s in zip(actions, shown, strict=True)), bytes(actions)


GUESSING = PlayRules(
    agent="agent",
    weights_name="weights.npz",
    player="play_numpy",
    obs_shape=(2, 2, 4),
    n_actions=14,
    games=GuessingGames,
    record=replay_guessing,
    zero_score=500,
    full_score=2_000,
    maximum=20,
    n_games=3,
    n_shuffled_games=2,
    seconds=20,
)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    for path in KIT:
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy(path, folder)
    (folder / "play_numpy.py").write_text(PLAY_NUMPY)
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    return folder


@each_framework
def test_the_games_have_the_time_that_is_promised(framework):
    assert TRACKS[framework].play.seconds == PlayRules.seconds == 1200


def start(kit, limits=LIMITS):
    environment = {
        "PYTHONPATH": str(kit),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    }
    return Kernel(Sandbox(read_only=[kit], environment=environment), limits)


@pytest.fixture(scope="module")
def kernel(kit):
    with start(kit) as kernel:
        yield kernel


@pytest.fixture
def weights(tmp_path):
    return npz(tmp_path / "w.npz", np.array([0, 1, 1, 1, 1, 1, 1, 1], np.float16))


def test_games_are_played_once_each(kernel, weights):
    result = play(kernel, [AGENT], weights, GUESSING, seed=1)
    assert result.scores == (1000, 1100, 1200)
    assert result.points == 8  # (1100 - 500) / (2000 - 500) * 20
    assert result.message == (
        "the mean of 3 games is 1,100 ± 58 (standard error); points rise from 500 to 2,000"
    )
    assert result.remarks == ()
    assert len(result.video) == 12  # the longest game is the best


def test_the_same_seed_gives_the_same_games(kernel, weights):
    lazy = AGENT.replace(LAST, "return np.minimum(outputs.astype(int) % 14, 6)")
    results = [play(kernel, [lazy], weights, GUESSING, seed) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    ("score", "points"),
    [(0, 0), (5_000, 0), (5_049, 0.2), (7_500, 10), (10_000, 20), (41_800, 20)],
)
def test_points_rise_linearly(score, points):
    for track in TRACKS.values():
        assert track.play.points(score) == points


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (LAST, "return outputs.astype(int) % 14 + 1", "chose action 14, and there are 0 to 13"),
        (LAST, "return -outputs.astype(int) - 1", "and there are 0 to 13"),
        (LAST, "return outputs", "3 integers, one for each game, got float32 of shape (3,)"),
        (LAST, "return outputs.astype(int)[1:]", "got int64 of shape (2,)"),
        (LAST, "return outputs.astype(int)[:, None]", "got int64 of shape (3, 1)"),
        (LAST, "return None", "got object of shape ()"),
        (STEP, "1 / 0", "cannot play: ZeroDivisionError: division by zero (at `1 / 0`)"),
        (STEP, "raise KeyboardInterrupt", "cannot play: KeyboardInterrupt"),
        (STEP, "raise ValueError('x' * 10_000)", "ValueError: xxx"),
        ("class Agent", "class Other", "cannot play: KeyError: 'Agent'"),
        ("class Agent", "missing\nclass Agent", "NameError: name 'missing' is not defined"),
    ],
)
def test_agents_that_break_the_rules(kernel, weights, old, new, message):
    result = play(kernel, [AGENT.replace(old, new)], weights, GUESSING, seed=1)
    assert (result.scores, result.points, result.video) == ((), 0, None)
    assert message in result.message
    assert len(result.message) <= 500


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("os._exit(3)", "cannot play: the kernel's process ended: exit code 3"),
        ("time.sleep(1000)", "cannot play: the cell ran longer than 1 s"),
        ("print('x' * 2_200_000)", "cannot play: the cell's output exceeded"),
        ("play_numpy.Player.act = lambda *_: bytes(32)", "3 actions were expected, 32 bytes came"),
        ("play_numpy.Player.act = lambda *_: {'score': 10_000}", "bytes-like object is required"),
    ],
)
def test_agents_that_end_in_the_middle(kit, weights, action, message):
    agent = AGENT.replace(STEP, f"{STEP}\n        import play_numpy\n        if t == 5: {action}")
    with start(kit, dataclasses.replace(LIMITS, cell_seconds=1)) as kernel:
        result = play(kernel, [agent], weights, GUESSING, seed=1)
    assert (result.scores, result.points, result.video) == ((), 0, None)
    assert message in result.message


def test_all_games_together_are_bounded(kernel, weights):
    slow = AGENT.replace(STEP, f"{STEP}\n        time.sleep(0.05)")
    rules = dataclasses.replace(GUESSING, seconds=0.3)
    result = play(kernel, [slow], weights, rules, seed=1)
    assert (result.points, result.message) == (0, "the games took longer than 0.3 s")


def test_a_policy_that_needs_no_weights_is_flagged_and_not_marked_down(kernel, weights):
    scripted = AGENT.replace(" + self.weights[0]", "")
    result = play(kernel, [scripted], weights, GUESSING, seed=1)
    assert result.points == 8
    assert result.remarks == (
        "with shuffled weights the agent plays about as well: the mean of 2 games is 1,050. "
        "Is it the network that plays?",
    )


def test_no_weights_no_games(kernel, tmp_path):
    result = play(kernel, [AGENT], tmp_path / "w.npz", GUESSING, seed=1)
    assert (result.scores, result.points) == ((), 0)
    assert result.message == "the weights file cannot be read: No such file or directory"


def test_a_video_of_another_game_is_not_shown(kernel, weights):
    rules = dataclasses.replace(GUESSING, record=lambda seed, actions: (7.0, b"video"))
    result = play(kernel, [AGENT], weights, rules, seed=1)
    assert (result.points, result.video) == (8, None)
    assert result.remarks[-1] == (
        "no video: played again, the best game brought 7 points and not 1,200"
    )


# ------------------------------------------------------------------------------------- Kung-Fu

# Any difference in what it sees or remembers makes another action.
HASHING_AGENT = """
import zlib
import numpy as np

class Agent:
    def get_initial_state(self, n_games):
        return [np.zeros(n_games, np.int64)]

    def step(self, memory, observations):
        assert observations.dtype == np.float32 and observations.flags.c_contiguous
        hashes = [zlib.crc32(game.tobytes()) for game in observations]
        memory = [(memory[0] * 31 + hashes) % 1_000_003]
        return memory, memory[0]

    def sample_actions(self, outputs):
        return outputs % 14
"""


def notebook_env(framework):
    """Makes the game by the solution's own cell."""
    namespace = {"gym": gym, "ale_py": ale_py, "PreprocessAtari": PreprocessAtari}
    (cell,) = solution_cells("make-env", framework=framework)
    exec(cell.source, namespace)
    return namespace["env"]


@pytest.mark.parametrize("framework", TRACKS)  # the agent is of NumPy
def test_agents_see_what_the_notebook_shows_them(kernel, weights, framework):
    recorded, rules = [], TRACKS[framework].play

    def record(seed, actions):
        recorded.append((seed, actions))
        return TRACKS[framework].play.record(seed, actions)

    rules = dataclasses.replace(
        rules, player="play_numpy", record=record, n_games=2, zero_score=9_000
    )
    result = play(kernel, [HASHING_AGENT], weights, rules, seed=5)
    assert len(result.scores) == 2
    assert result.video[4:8] == b"ftyp"

    namespace = {}
    exec(HASHING_AGENT, namespace)
    agent, env = namespace["Agent"](), notebook_env(framework)
    ((seed, actions),) = recorded
    observation, _ = env.reset(seed=seed)
    memory, score = agent.get_initial_state(1), 0.0
    for t, action in enumerate(actions):
        memory, outputs = agent.step(memory, observation[None])
        assert agent.sample_actions(outputs)[0] == action, f"another action in tick {t}"
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (terminated or truncated) == (t == len(actions) - 1)
        score += reward / env.reward_scale
    assert score == pytest.approx(max(result.scores))
    assert score > 0


# ------------------------------------------------------------------------------ the solutions

# Of the weights in their order; the actor's head is at `LOGITS` and behind it.
SHAPES = {
    "tensorflow": [
        *((3, 3, 4, 32), (32,), (3, 3, 32, 32), (32,), (3, 3, 32, 32), (32,), (512, 256), (256,)),
        *((256, 1024), (256, 1024), (1024,), (256, 14), (14,), (256, 1), (1,)),
    ],
    "pytorch": [
        *((32, 1, 3, 3), (32,), (32, 32, 3, 3), (32,), (32, 32, 3, 3), (32,), (128, 512), (128,)),
        *((512, 128), (512, 128), (512,), (512,), (14, 128), (14,), (1, 128), (1,)),
    ],
}
LOGITS = {"tensorflow": 11, "pytorch": 12}


class ShortGames(games.KungFuGames):
    """The first 30 ticks of games."""

    def reset(self):
        self.ticks = 0
        return super().reset()

    def step(self, actions):
        self.ticks += 1
        frames, rewards, is_over = super().step(actions)
        return frames, rewards, is_over | (self.ticks == 30)


@pytest.fixture(scope="module")
def large_kernel(kit):
    with start(kit, Limits(cell_seconds=60, total_seconds=240)) as kernel:
        yield kernel


def play_short_games(kernel, framework, path, n_games=2, edit=("", "")):
    """Plays the solution's agent with some weights; returns the result and one game's actions.

    Args:
        kernel: plays.
        framework: whose solution.
        path: of the weights.
        n_games: how many.
        edit: what to replace in the agent's cell, and by what.
    """
    recorded, rules = [], TRACKS[framework].play
    rules = dataclasses.replace(
        rules,
        games=functools.partial(ShortGames, *rules.games.args),
        record=lambda seed, actions: (recorded.append(actions) or 0.0, b""),
        n_games=n_games,
    )
    imports, agent = solution_cells("imports", "agent-exercise", framework=framework)
    answer = agent.source.replace(*edit)
    sources = [*needed_statements(imports.source, answer), answer]
    return play(kernel, sources, path, rules, seed=1), *recorded


@each_framework
def test_the_solution_plays_by_the_weights_given(large_kernel, tmp_path, framework):
    arrays = [np.zeros(shape, np.float16) for shape in SHAPES[framework]]
    arrays[LOGITS[framework] + 1][3] = 50
    path = npz(tmp_path / "w.npz", *arrays)
    result, actions = play_short_games(large_kernel, framework, path)
    assert len(result.scores) == 2
    assert actions == [3] * 30


@pytest.mark.pytorch
def test_layers_that_make_their_weights_at_the_first_tick_play(large_kernel, tmp_path):
    arrays = [np.zeros(shape, np.float16) for shape in SHAPES["pytorch"]]
    arrays[LOGITS["pytorch"] + 1][3] = 50
    path = npz(tmp_path / "w.npz", *arrays)
    edit = ("nn.Linear(512, 128)", "nn.LazyLinear(128)")
    result, actions = play_short_games(large_kernel, "pytorch", path, edit=edit)
    assert len(result.scores) == 2
    assert actions == [3] * 30


@each_framework
def test_the_solution_samples_and_the_seed_decides(large_kernel, tmp_path, framework):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(0, 0.05, shape).astype(np.float32) for shape in SHAPES[framework]]
    path = npz(tmp_path / "w.npz", *arrays)
    first, second = (play_short_games(large_kernel, framework, path) for _ in range(2))
    assert first == second
    assert len(set(first[1])) > 5


@each_framework
def test_weights_of_another_agent(large_kernel, tmp_path, framework):
    arrays = [np.zeros(shape, np.float16) for shape in SHAPES[framework]]
    n, head = len(arrays), LOGITS[framework]
    path = npz(tmp_path / "w.npz", *arrays[:-1])
    (result,) = play_short_games(large_kernel, framework, path)
    words = f"holds {n - 1} arrays, the notebook's agent has {n} trainable variables"
    assert words in result.message
    right = SHAPES[framework][head]
    arrays[head] = np.zeros(right[::-1], np.float16)
    path = npz(tmp_path / "w.npz", *arrays)
    (result,) = play_short_games(large_kernel, framework, path)
    assert (
        f"arr_{head} of the weights file has shape {right[::-1]}, the notebook's agent needs "
        f"{right}" in result.message
    )
