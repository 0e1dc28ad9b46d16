"""The games played for marks: whole games of Kung-Fu Master, set up as in the notebook."""

import functools
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np

from assignments.kungfu.play import PlayRules
from atari_util import PreprocessAtari, emulator_seed, make_atari_vector_env
from checks.points import PLAYING, PLAYING_SHARES, POINTS

FRAMES_PER_SECOND = 15  # the game has 60, and every fourth is shown

# Makes one game like the notebook, except that rewards are the game's own points.
MakeEnv = Callable[..., PreprocessAtari]


def make_env(
    *, left: int, n_frames: int, dim_order: str, render_mode: str | None = None
) -> PreprocessAtari:
    """Makes a game, with `left` columns of its frames cut off."""
    env = gym.make(
        "ALE/KungFuMaster-v5",
        frameskip=4,
        repeat_action_probability=0.25,
        render_mode=render_mode,
    )
    return PreprocessAtari(
        env, crop=lambda img: img[60:-30, left:], n_frames=n_frames, dim_order=dim_order
    )


class KungFuGames:
    """Several games, stepped side by side; see `play.Games`."""

    def __init__(self, make_env: MakeEnv, generator: np.random.Generator, n_games: int):
        numbers = (int(generator.integers(2**63)) for _ in itertools.count())
        # An emulator's seed has 32 bits, but the vector environment accepts only 31.
        playable = (number for number in numbers if emulator_seed(number) < 2**31)
        self.seeds = list(itertools.islice(playable, n_games))
        env = make_env()
        self._frame_axis = int(np.argmin(env.observation_space.shape)) + 1
        self._env = make_atari_vector_env(env, n_games)
        env.close()

    def __enter__(self) -> "KungFuGames":
        return self

    def __exit__(self, *_: object) -> None:
        self._env.close()

    def reset(self) -> np.ndarray:
        """Starts the games and returns their first frames, uint8 `[n_games, height, width]`."""
        observations, _ = self._env.reset(seed=self.seeds)
        return self._newest(observations)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps the games; returns their newest frames, rewards, and which of them are over."""
        observations, rewards, terminated, truncated, _ = self._env.step(actions)
        return self._newest(observations), rewards, terminated | truncated

    def _newest(self, observations: np.ndarray) -> np.ndarray:
        newest = np.take(observations, -1, axis=self._frame_axis)
        return np.rint(newest * 255).astype(np.uint8)


def record(make_env: MakeEnv, seed: int, actions: Sequence[int]) -> tuple[float, bytes]:
    """Replays a game and returns its score and its video, MP4."""
    with tempfile.TemporaryDirectory() as folder:
        env = gym.wrappers.RecordVideo(
            make_env(render_mode="rgb_array"),
            f"{folder}/new",  # it warns if the folder exists
            fps=FRAMES_PER_SECOND,
            disable_logger=True,
        )
        env.reset(seed=seed)
        score = sum(float(env.step(action)[1]) for action in actions)
        env.close()
        (video,) = Path(folder).glob("new/*.mp4")
        return score, video.read_bytes()


def play_rules(player: str, obs_shape: tuple[int, ...], make_env: MakeEnv) -> PlayRules:
    """Returns the rules of playing for marks."""
    return PlayRules(
        player=player,
        obs_shape=obs_shape,
        n_actions=14,
        games=functools.partial(KungFuGames, make_env),
        record=functools.partial(record, make_env),
        shares=PLAYING_SHARES,
        maximum=POINTS[PLAYING][PLAYING],
    )
