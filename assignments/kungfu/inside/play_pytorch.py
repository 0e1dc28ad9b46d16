"""Makes a player from a student's PyTorch agent and weights, in the student's worker."""

from collections.abc import Sequence

import numpy as np
import player
import torch


def make_player(
    weights: bytes,
    sources: Sequence[str] | None,
    n_games: int,
    obs_shape: Sequence[int],
    n_actions: int,
) -> None:
    """Starts a player with the agent that the sources define; see `player.make_agent`."""

    def weights_of(agent: torch.nn.Module) -> list[torch.Tensor]:
        agent.eval()
        # Lazy layers have no weights before the first tick.
        agent.step(agent.get_initial_state(1), np.zeros((1, *obs_shape), np.float32))
        return list(agent.state_dict().values())

    def assign(tensor: torch.Tensor, array: np.ndarray) -> None:
        tensor.copy_(torch.as_tensor(array))  # converts to the tensor's type

    torch.manual_seed(0)  # a constant: it reveals nothing about the games
    agent = player.make_agent(sources, weights, obs_shape, n_actions, weights_of, assign)
    player.start(player.Player(agent, n_games, obs_shape, frame_axis=0))
