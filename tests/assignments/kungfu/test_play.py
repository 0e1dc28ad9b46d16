"""Playing for marks: weights files of every kind, then games against agents of every kind."""

import dataclasses
import functools
import io
import os
import pickle
import re
import shutil
import struct
import time
import zipfile
from pathlib import Path

import ale_py
import gymnasium as gym
import numpy as np
import pytest

from assignments.kungfu import games
from assignments.kungfu.play import PlayError, PlayRules, play, read_weights
from atari_util import PreprocessAtari
from checks.weights import MAX_BYTES
from grading.assignment import Stage
from grading.sandbox import Sandbox
from grading.submission import RunCell
from grading.worker import Limits, Worker
from tests.frameworks import TRACKS, each_framework
from tests.notebooks import solution_cells

KIT = {file for track in TRACKS.values() for file in track.inside}
LIMITS = Limits(call_seconds=5, total_seconds=60, flood_bytes=2 << 20)


# ----------------------------------------------------------------------------------------- weights


@pytest.fixture(scope="module")
def read(kit):
    """Reads a weights file in a worker, like grading."""
    with start(kit) as worker:
        yield lambda path: read_weights(path, worker)


def npz(path: Path, *arrays: np.ndarray) -> Path:
    np.savez_compressed(path, *arrays)
    return path


def archive(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
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


def test_weights_come_back_in_order(read, tmp_path):
    arrays = [np.full((2, i + 1), i + 0.5, (np.float16, np.float32)[i % 2]) for i in range(12)]
    read = read(npz(tmp_path / "w.npz", *arrays))
    assert [(a.dtype, a.shape, a.ravel()[0]) for a in read] == [
        (np.float16 if i % 2 == 0 else np.float32, (2, i + 1), i + 0.5) for i in range(12)
    ]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_weights_of_any_layout(read, tmp_path, save):
    table = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    save(tmp_path / "w.npz", np.asfortranarray(table), table.astype(">f4"), np.float32(7))
    fortran, big_endian, scalar = read(tmp_path / "w.npz")
    for array in (fortran, big_endian):
        assert array.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert array.dtype.isnative and array.flags.c_contiguous
    assert (scalar.shape, scalar.tolist()) == ((), 7)


ONE = npy(np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "holds nothing, expected arr_0, arr_1"),
        ([("../arr_0.npy", ONE)], "holds '../arr_0', expected arr_0, arr_1"),
        ([("/tmp/arr_0.npy", ONE)], "without names"),
        ([("\x1b[2Jarr_0.npy", ONE)], r"holds '\x1b[2Jarr_0'"),
        ([("weights.npy", ONE)], "holds 'weights', expected"),
        ([("weights.pkl", ONE)], "holds 'weights.pkl', expected"),
        ([("arr_0.npy", ONE), ("arr_2.npy", ONE)], "holds 'arr_0', 'arr_2', expected"),
        ([(f"arr_{i}.npy", b"") for i in range(1000)], "arr_0 of the weights file is not an array"),
        ([("arr_0.npy", npy(np.ones(4)))], "arr_0 holds float64, expected float16 or float32"),
        ([("arr_0.npy", npy(np.ones(4, int)))], "arr_0 holds int64, expected"),
        ([("arr_0.npy", npy(np.ones(4, np.complex64)))], "arr_0 holds complex64, expected"),
        ([("arr_0.npy", npy(np.array([1, np.nan], np.float32)))], "arr_0 holds NaN or infinity"),
        ([("arr_0.npy", npy(np.array([np.inf], np.float16)))], "the largest float16 is 65,504"),
        ([("arr_0.npy", b"PK not npy")], "arr_0 of the weights file is not an array"),
        ([("arr_0.npy", ONE[:60])], "damaged: EOF"),
        ([("arr_0.npy", ONE[:-1])], "damaged: EOF"),
        ([("arr_0.npy", b"\x93NUMPY\x03\x00" + ONE[8:])], "damaged"),
        ([("arr_0.npy", with_header("{" + "-" * 999))], "damaged"),
        ([("arr_0.npy", with_header("[" * 900))], "damaged"),
        ([("arr_0.npy", with_header("__import__('os').abort()"))], "damaged"),
    ],
)
def test_other_archives(read, tmp_path, members, message):
    with pytest.raises(PlayError, match=re.escape(message)):
        read(archive(tmp_path / "w.npz", members))


@pytest.mark.parametrize("shape", ["(10**9,)", "(1000000000, 1000000000)", "(-2, -2)", "(0, -1)"])
def test_false_shapes(read, tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    path = archive(tmp_path / "w.npz", [("arr_0.npy", with_header(header, bytes(16)))])
    with pytest.raises(PlayError, match="damaged"):
        read(path)


def test_duplicates(read, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "w.npz", [("arr_0.npy", ONE), ("arr_0.npy", ONE)])
    with pytest.raises(PlayError, match="holds 'arr_0', expected arr_0, arr_1"):
        read(path)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_nothing_is_unpickled(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = np.array([Bomb()], object)
    np.savez(tmp_path / "objects.npz", objects)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps([Bomb()]))
    with pytest.raises(PlayError, match="damaged: Object arrays cannot be loaded"):
        read(tmp_path / "objects.npz")
    with pytest.raises(PlayError, match=r"is not an \.npz file: the notebook's last cell"):
        read(tmp_path / "pickle.npz")
    assert not (tmp_path / "unpickled").exists()


def declare(path: Path, size: int) -> None:
    """Changes the unpacked size that an archive declares for its only member."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, size)
    path.write_bytes(data)


def test_very_many_arrays_are_refused(read, tmp_path):
    path = npz(tmp_path / "w.npz", *[np.ones(1, np.float16)] * 1001)
    with pytest.raises(PlayError, match="holds 1,001 arrays, over 1,000"):
        read(path)


def test_bombs_are_not_unpacked(read, tmp_path):
    path = archive(tmp_path / "w.npz", [("arr_0.npy", ONE[:-16] + bytes(MAX_BYTES))])
    assert path.stat().st_size < 100_000
    with pytest.raises(PlayError, match="unpacks to 16,777,344 bytes, over 16,777,216"):
        read(path)
    declare(path, len(ONE))
    with pytest.raises(PlayError, match="damaged"):
        read(path)


def test_a_member_may_be_shorter_than_declared(read, tmp_path):
    path = archive(tmp_path / "w.npz", [("arr_0.npy", ONE)])
    declare(path, MAX_BYTES // 2)
    (array,) = read(path)
    assert array.tolist() == [1, 1, 1, 1]


def test_truncated_files(read, tmp_path):
    path = npz(tmp_path / "w.npz", np.ones((30, 30), np.float16), np.ones(30, np.float16))
    whole = path.read_bytes()
    for size in (2, 4, 30, len(whole) // 2, len(whole) - 23, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(PlayError, match="damaged"):
            read(path)
    path.write_bytes(b"")
    with pytest.raises(PlayError, match=r"is not an \.npz file"):
        read(path)


def test_damaged_bytes_never_raise_anything_else(read, tmp_path):
    path = npz(tmp_path / "w.npz", np.ones((5, 5), np.float16), np.ones(5, np.float32))
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    n_refused = 0
    for _ in range(500):
        data = np.frombuffer(whole, np.uint8).copy()
        data[generator.integers(len(data), size=3)] = generator.integers(256, size=3)
        path.write_bytes(data.tobytes())
        try:
            read(path)
        except PlayError:
            n_refused += 1
    assert n_refused > 300


def test_only_regular_files_of_bounded_size(read, tmp_path):
    good = npz(tmp_path / "good.npz", np.ones(3, np.float16))
    (tmp_path / "link.npz").symlink_to(good)
    os.mkfifo(tmp_path / "fifo.npz")
    with (tmp_path / "huge.npz").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name, message in {
        "link.npz": "is a symbolic link, which is not followed",
        "fifo.npz": "is not a regular file",
        ".": "is not a regular file|cannot be read: Is a directory",
        "huge.npz": "has 16,777,217 bytes, over 16,777,216",
        "missing.npz": "cannot be read: No such file or directory",
    }.items():
        with pytest.raises(PlayError, match=message):
            read(tmp_path / name)


# ------------------------------------------------------------------------------------ small games

PLAY_NUMPY = """
import run_all
from answers import described_errors
from cells import run_cells
from measurement import Measurement
from player import Player, start

def make_player(weights, sources, n_games, obs_shape, n_actions):
    with described_errors():
        names = run_all.namespace() if sources is None else run_cells("agent", sources)
        agent = names["Agent"]()
    agent.weights = Measurement.from_bytes(weights)["arr_0"]
    is_last = obs_shape[-1] < 40
    start(Player(agent, n_games, obs_shape, frame_axis=-1 if is_last else 0))
"""

# Its memory counts ticks; if its first weight is 0, it plays the action in the newest frame.
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
    """Each frame shows the action that earns 100 points; games end after 10, 11 or 12 ticks.

    Finished games continue, with many points that must not count.
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
        ends = 10 + np.arange(len(self.seeds)) % 3
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
    player="play_numpy",
    obs_shape=(2, 2, 4),
    n_actions=14,
    games=GuessingGames,
    record=replay_guessing,
    shares=((500, 0), (2_000, 1)),
    maximum=20,
    n_games=12,
    n_blind_games=6,
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
def test_the_games_have_their_documented_time(framework):
    assert rules_of(framework).seconds == PlayRules.seconds == 1200


def start(kit, limits=LIMITS):
    environment = {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    }
    return Worker(Sandbox(environment=environment), limits, [kit])


@pytest.fixture(scope="module")
def worker(kit):
    with start(kit) as worker:
        yield worker


def rules_of(framework) -> PlayRules:
    (trial,) = TRACKS[framework].trials
    return trial.run.keywords["rules"]


def play_in(worker, sources, weights, rules, seed, cells=(), is_exact=False):
    """Plays all games, including those with shuffled weights, in one worker."""
    stage = Stage(
        sources=sources,
        cells=cells,
        attachment=weights,
        seed=seed,
        is_exact=is_exact,
        start_worker=lambda seconds: worker,
    )
    return play(stage, rules)


@pytest.fixture
def weights(tmp_path):
    return npz(tmp_path / "w.npz", np.array([0, 1, 1, 1, 1, 1, 1, 1], np.float16))


def test_games_are_played_once_each(worker, weights):
    result = play_in(worker, [AGENT], weights, GUESSING, seed=1)
    assert result.points == 7.89  # (1092 - 500) / (2000 - 500) * 20
    assert result.message == (
        "the mean of 12 games is 1,092 ± 26 (standard error); 500 earns 0%, 2,000 earns 100% of "
        "the points"
    )
    assert result.remarks == ()
    assert len(result.video) == 12  # the longest game is the best


def test_an_agent_of_a_whole_notebook_plays_as_well(worker, weights):
    sources = [f"%matplotlib inline\n{AGENT}", "import nothing_of_the_kind", "1 / 0"]
    cells = [RunCell(number, source, False) for number, source in enumerate(sources, 1)]
    alone = play_in(worker, [AGENT], weights, GUESSING, seed=1)
    assert play_in(worker, [], weights, GUESSING, seed=1, cells=cells) == alone


def test_the_same_seed_gives_the_same_games(worker, weights):
    lazy = AGENT.replace(LAST, "return np.minimum(outputs.astype(int) % 14, 6)")
    results = [play_in(worker, [lazy], weights, GUESSING, seed) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    ("score", "points"),
    [
        (0, 0),
        (5_000, 0),
        (5_049, 0.1),
        (7_500, 5),
        (10_000, 10),
        (15_000, 15),
        (20_000, 20),
        (41_800, 20),
    ],
)
def test_points_rise_in_straight_lines(score, points):
    for framework in TRACKS:
        assert rules_of(framework).points(score) == points


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (LAST, "return outputs.astype(int) % 14 + 1", "chose action 14, expected 0 to 13"),
        (LAST, "return -outputs.astype(int) - 1", "expected 0 to 13"),
        (LAST, "return outputs", "18 integers, one for each game, got float32 of shape (18,)"),
        (LAST, "return outputs.astype(int)[1:]", "got int64 of shape (17,)"),
        (LAST, "return outputs.astype(int)[:, None]", "got int64 of shape (18, 1)"),
        (LAST, "return None", "got object of shape ()"),
        (STEP, "1 / 0", "cannot play: ZeroDivisionError: division by zero (at `1 / 0`)"),
        (STEP, "raise KeyboardInterrupt", "cannot play: KeyboardInterrupt"),
        (STEP, "raise ValueError('x' * 10_000)", "ValueError: xxx"),
        ("class Agent", "class Other", "cannot play: KeyError: 'Agent'"),
        ("class Agent", "missing\nclass Agent", "NameError: name 'missing' is not defined"),
    ],
)
def test_agents_that_break_the_rules(worker, weights, old, new, message):
    result = play_in(worker, [AGENT.replace(old, new)], weights, GUESSING, seed=1)
    assert (result.points, result.video) == (0, None)
    assert message in result.message
    assert len(result.message) <= 500


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("os._exit(3)", "cannot play: the process ended: exit code 3"),
        ("time.sleep(1000)", "cannot play: it ran longer than 1 s"),
        ("print('x' * 2_200_000)", "cannot play: its output exceeded"),
        (
            "play_numpy.Player.act = lambda *_: bytes(32)",
            "expected 18 actions as int64, got 32 bytes",
        ),
        ("play_numpy.Player.act = lambda *_: {'score': 10_000}", "bytes-like object is required"),
    ],
)
def test_agents_that_end_during_a_game(kit, weights, action, message):
    agent = AGENT.replace(STEP, f"{STEP}\n        import play_numpy\n        if t == 5: {action}")
    with start(kit, dataclasses.replace(LIMITS, call_seconds=1)) as worker:
        result = play_in(worker, [agent], weights, GUESSING, seed=1)
    assert (result.points, result.video) == (0, None)
    assert message in result.message


@pytest.mark.parametrize("seconds", [0.1, 1000])
def test_all_games_together_are_bounded(kit, weights, seconds):
    slow = AGENT.replace(STEP, f"{STEP}\n        time.sleep({seconds})")
    rules = dataclasses.replace(GUESSING, seconds=1)
    began = time.monotonic()
    with start(kit, dataclasses.replace(LIMITS, call_seconds=60)) as worker:
        result = play_in(worker, [slow], weights, rules, seed=1)
    assert (result.points, result.message) == (0, "the games took longer than 1 s")
    assert time.monotonic() - began < 30  # not as long as one call may take


def test_a_policy_without_weights_is_flagged_but_keeps_its_points(worker, weights):
    scripted = AGENT.replace(" + self.weights[0]", "")
    result = play_in(worker, [scripted], weights, GUESSING, seed=1)
    assert result.points == 7.89
    assert result.remarks == (
        "with shuffled weights the agent plays at least half as well: the mean of 18 games is 600 "
        "or more. Does the network choose the actions?",
    )


# It presses one button after the other, whatever it sees, and knows its own weights.
BLIND = AGENT.replace(STEP, f"{STEP} * (self.weights[0] == 0)").replace(
    "return [memory[0] + 1], np.rint(observations[:, 0, 0, -1] * 255 + self.weights[0])",
    "return [memory[0] + 1], np.full(len(observations), t)",
)


def test_a_policy_that_does_not_look_is_flagged_but_keeps_its_points(worker, weights):
    rules = dataclasses.replace(GUESSING, shares=((0, 0), (2_000, 1)))
    for seed in range(10):
        result = play_in(worker, [BLIND], weights, rules, seed)
        assert 0 < result.points < 5
        (remark, *_) = result.remarks
        assert remark.startswith("shown the pictures of other games, the agent plays about as well")
        assert "Does it look at the screen?" in remark


def test_games_end_once_all_points_are_certain(worker, weights):
    rules = dataclasses.replace(GUESSING, shares=((500, 0), (800, 1)))
    early = play_in(worker, [AGENT], weights, rules, seed=1)
    assert (early.points, early.message) == (
        20,
        "the mean of 12 games is at least 800; they ended early, since that earns all points",
    )
    assert len(early.video) == 8
    exact = play_in(worker, [AGENT], weights, rules, seed=1, is_exact=True)
    assert exact.points == 20
    assert exact.message.startswith("the mean of 12 games is 1,092 ±")
    assert len(exact.video) == 12
    assert early.remarks == exact.remarks == ()


def test_an_agent_cannot_tell_the_batches_apart_by_their_size(worker, weights):
    sizes = []

    class CountedGames(GuessingGames):
        def __init__(self, generator, n_games):
            sizes.append(n_games)
            super().__init__(generator, n_games)

    play_in(worker, [AGENT], weights, dataclasses.replace(GUESSING, games=CountedGames), seed=1)
    assert sizes == [18, 18]


def test_without_weights_nothing_is_played(worker, tmp_path):
    result = play_in(worker, [AGENT], tmp_path / "w.npz", GUESSING, seed=1)
    assert (result.points, result.video) == (0, None)
    assert result.message == "the weights file cannot be read: No such file or directory"


def test_a_replay_with_another_score_is_not_shown(worker, weights):
    rules = dataclasses.replace(GUESSING, record=lambda seed, actions: (7.0, b"video"))
    result = play_in(worker, [AGENT], weights, rules, seed=1)
    assert (result.points, result.video) == (7.89, None)
    assert result.remarks[-1] == (
        "no video: the replay of the best game scored 7 points instead of 1,200"
    )


# ------------------------------------------------------------------------------------- Kung-Fu

# Any difference in its observations or memory changes its actions.
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
    """Makes the game with the solution's own cell."""
    namespace = {"gym": gym, "ale_py": ale_py, "PreprocessAtari": PreprocessAtari}
    (cell,) = solution_cells("make-env", framework=framework)
    exec(cell.source, namespace)
    return namespace["env"]


@pytest.mark.parametrize("framework", TRACKS)  # the agent uses NumPy
def test_agents_see_what_the_notebook_shows_them(worker, weights, framework):
    recorded, rules = [], rules_of(framework)

    def record(seed, actions):
        recorded.append((seed, actions))
        return rules_of(framework).record(seed, actions)

    rules = dataclasses.replace(
        rules,
        player="play_numpy",
        record=record,
        n_games=2,
        n_blind_games=2,
        shares=((9_000, 0), (9_001, 1)),
    )
    result = play_in(worker, [HASHING_AGENT], weights, rules, seed=5)
    assert "the mean of 2 games" in result.message
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
    assert score == pytest.approx(rules.record(seed, actions)[0])
    assert result.remarks == ()  # the replay had the same score
    assert score > 0


# ------------------------------------------------------------------------------ the solutions

# The shapes of the weights, in order; the actor's head starts at `LOGITS`.
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
    """Games that end after 30 ticks."""

    def reset(self):
        self.ticks = 0
        return super().reset()

    def step(self, actions):
        self.ticks += 1
        frames, rewards, is_over = super().step(actions)
        return frames, rewards, is_over | (self.ticks == 30)


@pytest.fixture(scope="module")
def large_worker(kit):
    with start(kit, Limits(call_seconds=60, total_seconds=240)) as worker:
        yield worker


def play_short_games(worker, framework, path, n_games=2, edit=("", "")):
    """Plays the solution's agent with some weights; returns the result and one game's actions.

    Args:
        worker: where to play.
        framework: the solution's framework.
        path: the path of the weights.
        n_games: the number of games.
        edit: an old text in the agent's cell, and the new text.
    """
    recorded, rules = [], rules_of(framework)
    rules = dataclasses.replace(
        rules,
        games=functools.partial(ShortGames, *rules.games.args),
        record=lambda seed, actions: (recorded.append(actions) or 0.0, b""),
        n_games=n_games,
        n_blind_games=2,
    )
    track = TRACKS[framework]
    answer = track.solution_of("agent").replace(*edit)
    sources = [*track.template.support([answer]), answer]
    return play_in(worker, sources, path, rules, seed=1), *recorded


@each_framework
def test_the_solution_plays_by_the_weights_given(large_worker, tmp_path, framework):
    arrays = [np.zeros(shape, np.float16) for shape in SHAPES[framework]]
    arrays[LOGITS[framework] + 1][3] = 50
    path = npz(tmp_path / "w.npz", *arrays)
    result, actions = play_short_games(large_worker, framework, path)
    assert "the mean of 2 games" in result.message
    assert actions == [3] * 30


@pytest.mark.pytorch
def test_layers_that_make_their_weights_at_the_first_tick_play(large_worker, tmp_path):
    arrays = [np.zeros(shape, np.float16) for shape in SHAPES["pytorch"]]
    arrays[LOGITS["pytorch"] + 1][3] = 50
    path = npz(tmp_path / "w.npz", *arrays)
    edit = ("nn.Linear(512, 128)", "nn.LazyLinear(128)")
    result, actions = play_short_games(large_worker, "pytorch", path, edit=edit)
    assert "the mean of 2 games" in result.message
    assert actions == [3] * 30


@each_framework
def test_the_solution_samples_and_the_seed_decides(large_worker, tmp_path, framework):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(0, 0.05, shape).astype(np.float32) for shape in SHAPES[framework]]
    path = npz(tmp_path / "w.npz", *arrays)
    first, second = (play_short_games(large_worker, framework, path) for _ in range(2))
    assert first == second
    assert len(set(first[1])) > 5


@each_framework
def test_weights_of_another_agent(large_worker, tmp_path, framework):
    arrays = [np.zeros(shape, np.float16) for shape in SHAPES[framework]]
    n, head = len(arrays), LOGITS[framework]
    path = npz(tmp_path / "w.npz", *arrays[:-1])
    (result,) = play_short_games(large_worker, framework, path)
    words = f"holds {n - 1} arrays, the notebook's agent has {n} trainable variables"
    assert words in result.message
    right = SHAPES[framework][head]
    arrays[head] = np.zeros(right[::-1], np.float16)
    path = npz(tmp_path / "w.npz", *arrays)
    (result,) = play_short_games(large_worker, framework, path)
    assert (
        f"arr_{head} of the weights file has shape {right[::-1]}, the notebook's agent needs "
        f"{right}" in result.message
    )
