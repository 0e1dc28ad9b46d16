"""The baseline: deep Kung-Fu as it was trained before, written anew.

Everything happens eagerly and in Python: the games are stepped and their pictures prepared one
after the other, and neither acting nor learning is compiled. Games, network and loss are the
notebook's own, so whatever is faster than this does the same work. The optimizer is the
assignment's, without the clipping that the notebook adds.
"""

import numpy as np

from benchmarks.notebook_code import Settings, load_notebook


class OriginalTraining:
    """Plays and learns as the original does: `update` is one rollout and one gradient step.

    Args:
        settings: as `read_settings` returns them.
        seed: of agent and games.

    Attributes:
        steps_per_update: Environment steps of one update.
    """

    def __init__(self, settings: Settings, seed: int):
        n_games, self._n_ticks = settings["n_training_games"], settings["n_steps"]
        self._code = load_notebook(settings, seed)
        self._agent = self._code["agent"]
        self._games = [self._code["make_env"]() for _ in range(n_games)]
        self._observations = [
            game.reset(seed=seed + number)[0] for number, game in enumerate(self._games)
        ]
        self._is_over = [False] * n_games
        self._track = settings["track"]
        self._memory = self._agent.get_initial_state(n_games)
        self.steps_per_update = n_games * (self._n_ticks - 1)

    def update(self) -> float:
        """Plays a rollout, learns from it and returns the loss."""
        memory = self._memory
        return float(self._code["train_on_rollout"](*self._interact(), memory, self._code["gamma"]))

    def _interact(self) -> list[np.ndarray]:
        ticks = []
        for _ in range(self._n_ticks - 1):
            observations, was_over = self._observations, self._is_over
            memory, outputs = self._act(observations)
            actions = self._agent.sample_actions(outputs)
            rewards = self._step_games(actions)
            for part in memory:
                part[np.array(was_over)] = 0  # the agent's initial state
            self._memory = memory
            ticks.append((observations, actions, rewards, ~np.array(was_over)))
        nothing = np.zeros(len(self._games), int)
        ticks.append((self._observations, nothing, nothing, ~np.array(self._is_over)))
        return [np.array(column).swapaxes(0, 1) for column in zip(*ticks, strict=True)]

    def _act(self, observations: list[np.ndarray]) -> tuple:
        """Returns the agent's new memory, which may be written into, and its outputs."""
        if self._track == "pytorch":  # whose step is not compiled
            return self._agent.step(self._memory, np.array(observations))
        tf = self._code["tf"]
        memory = [tf.convert_to_tensor(part) for part in self._memory]
        memory, outputs = self._agent.forward(memory, tf.convert_to_tensor(np.array(observations)))
        return [part.numpy().copy() for part in memory], [part.numpy() for part in outputs]

    def _step_games(self, actions: np.ndarray) -> list[float]:
        """Steps every game, or starts it anew after its end; returns the rewards."""
        steps = []
        for game, action, was_over in zip(self._games, actions, self._is_over, strict=True):
            if was_over:
                steps.append((game.reset()[0], 0.0, False))
            else:
                observation, reward, terminated, truncated, _ = game.step(int(action))
                steps.append((observation, reward, terminated or truncated))
        self._observations, rewards, self._is_over = map(list, zip(*steps, strict=True))
        return rewards
