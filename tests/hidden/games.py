"""The games that are played for marks: Kung-Fu Master as the notebook sets it up, in full."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import numpy as np

from atari_util import PreprocessAtari, emulator_seed, make_atari_vector_env
from grading.play import PlayRules

OBS_SHAPE = (42, 42, 4)
FRAMES_PER_SECOND = 15  # of the game's 60, which shows every fourth


def make_env(render_mode: str | None = None) -> PreprocessAtari:
    """Makes the notebook's environment; rewards are the game's own points."""
    env = gym.make(
        "ALE/KungFuMaster-v5",
        frameskip=4,
        repeat_action_probability=0.25,
        render_mode=render_mode,
    )
    return PreprocessAtari(env, crop=lambda img: img[60:-30, 5:], dim_order="tensorflow")


class KungFuGames:
    """Some games, stepped side by side; see `grading.play.Games`."""

    def __init__(self, generator: np.random.Generator, n_games: int):
        numbers = (int(generator.integers(2**63)) for _ in itertools.count())
        # The emulator's vector environment takes 31 of the 32 bits of an emulator's seed.
        playable = (number for number in numbers if emulator_seed(number) < 2**31)
        self.seeds = list(itertools.islice(playable, n_games))
        env = make_env()
        self._env = make_atari_vector_env(env, n_games)
        env.close()

    def __enter__(self) -> "KungFuGames":
        return self

    def __exit__(self, *_: object) -> None:
        self._env.close()

    def reset(self) -> np.ndarray:
        """Starts the games and returns their first frames, uint8 `[n_games, height, width]`."""
        observations, _ = self._env.reset(seed=self.seeds)
        return _newest(observations)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps the games; returns their newest frames, rewards, and which of them are over."""
        observations, rewards, terminated, truncated, _ = self._env.step(actions)
        return _newest(observations), rewards, terminated | truncated


def record(seed: int, actions: Sequence[int]) -> tuple[float, bytes]:
    """Replays a game and returns its score and its video, MP4."""
    with tempfile.TemporaryDirectory() as folder:
        env = gym.wrappers.RecordVideo(
            make_env(render_mode="rgb_array"),
            f"{folder}/new",  # it warns of folders that exist
            fps=FRAMES_PER_SECOND,
            disable_logger=True,
        )
        env.reset(seed=seed)
        score = sum(float(env.step(action)[1]) for action in actions)
        env.close()
        (video,) = Path(folder).glob("new/*.mp4")
        return score, video.read_bytes()


def _newest(observations: np.ndarray) -> np.ndarray:
    return np.rint(observations[..., -1] * 255).astype(np.uint8)


RULES = PlayRules(
    player="play_tensorflow",
    agent="agent",
    obs_shape=OBS_SHAPE,
    n_actions=14,
    games=KungFuGames,
    record=record,
    zero_score=5_000,
    full_score=10_000,
    maximum=20,
    seconds=300,
)
