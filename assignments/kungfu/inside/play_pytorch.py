"""Makes a player from a student's PyTorch agent and weights, in the student's worker."""

from collections.abc import Sequence

import player
import torch

from checks import pytorch as framework


def make_player(
    weights: bytes,
    sources: Sequence[str] | None,
    n_games: int,
    obs_shape: Sequence[int],
    n_actions: int,
) -> None:
    """Starts a player with the agent that the sources define; see `player.make_agent`."""
    torch.manual_seed(0)  # a constant: it reveals nothing about the games
    agent = player.make_agent(sources, weights, obs_shape, n_actions, framework)
    player.start(player.Player(agent, n_games, obs_shape, frame_axis=0))
