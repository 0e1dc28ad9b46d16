"""What others train with: Stable-Baselines3's A2C and sb3-contrib's RecurrentPPO.

They see the same games, observations and rewards, with the channels first as PyTorch wants them.
Hyperparameters are the ones that the authors' RL Baselines3 Zoo tunes for Atari
(https://github.com/DLR-RM/rl-baselines3-zoo, `hyperparams/a2c.yml` and `ppo_lstm.yml`). Each game
runs in a process of its own, which is the faster of their two ways.
"""

import functools
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from benchmarks.measuring import RateMeter
from benchmarks.notebook_code import OnProgress, Progress, Settings, load_make_env
from benchmarks.report import refuse

A2C_GAMES, A2C_STEPS = 16, 5
PPO_GAMES, PPO_STEPS = 8, 128
SCHEDULE_STEPS = 10_000_000  # over which RecurrentPPO's rates fall to zero

PACKAGES = {
    "sb3_a2c": ("stable_baselines3", "stable-baselines3"),
    "sb3_recurrent_ppo": ("sb3_contrib", "sb3-contrib"),
}


def require_installed(contender: str) -> None:
    """Ends the program, saying what to install, if a contender's package is not there."""
    module, package = PACKAGES.get(contender, ("benchmarks", ""))  # ours needs none
    if find_spec(module) is None:
        refuse(
            f"{contender} needs {package}, which is not installed: pip install {package} "
            "(PyTorch first, its CPU build)"
        )


def make_games(settings: Settings, n_games: int) -> Any:
    """Returns the notebook's games for Stable-Baselines3, each in a process of its own."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    make_game = functools.partial(_make_game, dict(settings))
    return SubprocVecEnv([make_game] * n_games)


def _make_game(settings: Settings) -> Any:
    from stable_baselines3.common.monitor import Monitor

    return Monitor(load_make_env(settings, dim_order="pytorch")())


def make_a2c(settings: Settings, seed: int, n_games: int = A2C_GAMES, n_steps: int = A2C_STEPS):
    """Returns a feed-forward A2C, its games included."""
    from stable_baselines3 import A2C
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    return A2C(
        "CnnPolicy",
        make_games(settings, n_games),
        n_steps=n_steps,
        ent_coef=0.01,
        vf_coef=0.25,
        policy_kwargs={
            "normalize_images": False,  # observations are in [0, 1] already
            "optimizer_class": RMSpropTFLike,
            "optimizer_kwargs": {"eps": 1e-5},
        },
        seed=seed,
    )


def make_recurrent_ppo(
    settings: Settings, seed: int, n_games: int = PPO_GAMES, n_steps: int = PPO_STEPS
):
    """Returns a PPO with an LSTM, its games included."""
    from sb3_contrib import RecurrentPPO

    return RecurrentPPO(
        "CnnLstmPolicy",
        make_games(settings, n_games),
        n_steps=n_steps,
        n_epochs=4,
        batch_size=min(256, n_games * n_steps),
        learning_rate=lambda remaining: 2.5e-4 * remaining,
        clip_range=lambda remaining: 0.1 * remaining,
        vf_coef=0.5,
        ent_coef=0.01,
        policy_kwargs={"normalize_images": False},
        seed=seed,
    )


MAKERS = {"sb3_a2c": make_a2c, "sb3_recurrent_ppo": make_recurrent_ppo}


def measure_a2c_rate(settings: Settings, seconds: float, seed: int) -> float:
    """Returns how many environment steps a second A2C makes while it learns."""
    model = make_a2c(settings, seed, settings["n_training_games"], settings["n_steps"])
    meter = RateMeter(seconds)
    _learn(model, lambda steps, episode_returns: meter.is_over(steps))
    return meter.rate


def train_peer(
    contender: str, settings: Settings, minutes: float, seed: int, on_progress: OnProgress
) -> None:
    """Trains a peer as `NotebookTraining.train` trains ours, with hyperparameters of its own."""
    model = MAKERS[contender](settings, seed)
    reward_scale = model.get_env().get_attr("reward_scale")[0]
    started = time.monotonic()

    def is_over(steps: int, episode_returns: list[float]) -> bool:
        seconds = time.monotonic() - started
        points = [scaled / reward_scale for scaled in episode_returns]
        return on_progress(Progress(seconds, steps, points)) or seconds >= 60 * minutes

    _learn(model, is_over)


def _learn(model: Any, is_over: Callable[[int, list[float]], bool]) -> None:
    from stable_baselines3.common.callbacks import BaseCallback

    returns: list[float] = []

    class Watch(BaseCallback):
        """Asks after every update whether training is over."""

        _is_over = False

        def _on_rollout_start(self) -> None:
            # What comes before the first rollout is no update.
            self._is_over = self.num_timesteps > 0 and is_over(self.num_timesteps, returns)

        def _on_step(self) -> bool:
            ends = (info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
            returns.extend(map(float, ends))
            return not self._is_over

    try:
        model.learn(SCHEDULE_STEPS, callback=Watch(), log_interval=SCHEDULE_STEPS)
    finally:
        model.get_env().close()
