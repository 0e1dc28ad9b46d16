"""The name under which old notebooks import Gymnasium, with the name that the game had then."""

from typing import Any

import gymnasium
from gymnasium import *  # noqa: F403

OLD_NAMES = ("KungFuMasterDeterministic-v0", "KungFuMasterDeterministic-v4")


def make(game: str, *arguments: Any, **keywords: Any) -> gymnasium.Env:
    """Makes a game as `gymnasium.make` does."""
    import ale_py

    gymnasium.register_envs(ale_py)
    if game in OLD_NAMES:
        game, keywords = "ALE/KungFuMaster-v5", {"frameskip": 4, **keywords}
    return gymnasium.make(game, *arguments, **keywords)
