"""What an agent earns by playing, with the weights that are handed in."""

import json
import os
from pathlib import Path
from typing import Any

from checks import weights
from checks.frameworks import find_adapter
from checks.measuring import make_agent
from checks.notebook import describe_error
from checks.points import N_GAMES, PLAYING
from checks.sheet import RECORD, CheckFailed

# What playing needs of a notebook.
NEEDED = ("SimpleRecurrentAgent", "make_env", "obs_shape", "n_actions")


def play(namespace: dict[str, Any], path: Path) -> dict[str, Any]:
    """Lets an agent of the notebook's class play with the weights of a file, as in grading.

    Args:
        namespace: the notebook's `globals()`; its own agent stays as it is.
        path: the file.

    Returns:
        `scores`, the points of each game; and `problem`, why there are none.
    """
    if missing := [name for name in NEEDED if name not in namespace]:
        return _problem(f"nobody can play: {', '.join(missing)} not defined")
    from env_pool import play_games

    try:
        arrays = weights.read_file(path)
        framework = find_adapter(namespace)
        obs_shape = tuple(namespace["obs_shape"])
        agent = make_agent(namespace, obs_shape, namespace["n_actions"])
        framework.make_ready(agent, obs_shape)
        with weights.other_weights(framework, agent, arrays):
            make_env = namespace["make_env"]
            scores = play_games(agent, make_env, N_GAMES, vectorization_mode="ale_threads")
    except (weights.WeightsError, CheckFailed) as error:
        return _problem(str(error))
    except Exception as error:
        return _problem(describe_error(error))
    return {"scores": scores, "problem": ""}


def _problem(words: str) -> dict[str, Any]:
    return {"scores": [], "problem": words}


def record_play(namespace: dict[str, Any], path: str) -> None:
    """Plays in a notebook that is run by a command, and leaves the result for the command."""
    with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({PLAYING: play(namespace, Path(path))}) + "\n")
