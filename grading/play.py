"""Plays for marks: the agent runs in a student's kernel, the games and their seeds stay here.

The kernel is told the newest frames, tick by tick, and answers with actions. It is never told a
seed, a score, or where a game came from: scores can be neither invented nor searched for.
"""

import base64
import io
import math
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from grading.kernel import Kernel
from grading.weights import WeightsError, read_weights

MAX_MESSAGE = 500  # characters of a student's


class Games(Protocol):
    """Some games of a kind, stepped in lockstep.

    Attributes:
        seeds: what `PlayRules.record` needs to play each of them again.
    """

    seeds: Sequence[int]

    def reset(self) -> np.ndarray:
        """Starts the games and returns their first frames, uint8 `[n_games, height, width]`."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the newest frames, and `[n_games]` rewards and whether games are over.

        Games that are over may go on as they like: nothing more is asked of them.
        """


@dataclass(frozen=True, kw_only=True)
class PlayRules:
    """What is played, and what it is worth.

    Attributes:
        player: the module that plays in the kernel, where it can be imported. Its `make_player(
            sources, weights, n_games, obs_shape, n_actions)` returns something with
            `act(message)`; see `assignments/kungfu/inside/player.py`.
        agent: the exercise whose answer plays.
        weights_name: the file that the notebook writes the agent's weights to.
        obs_shape: of one observation.
        n_actions: actions are 0 to n_actions - 1.
        games: makes as many games as it is told, from seeds that it draws.
        record: plays a game of this seed again by these actions; returns its score and an MP4.
        zero_score, full_score: the mean scores between which points rise from 0 to `maximum`.
        maximum: points.
        n_games: whose first scores count.
        n_shuffled_games: played by the same agent with its weights shuffled.
        seconds: for either set of games, on a clock on the wall. Good agents live long: 20 games of
            39,000 points took more than two minutes on two slow cores with nothing else to do.
    """

    player: str
    agent: str
    weights_name: str
    obs_shape: tuple[int, ...]
    n_actions: int
    games: Callable[[np.random.Generator, int], AbstractContextManager[Games]] = field(repr=False)
    record: Callable[[int, Sequence[int]], tuple[float, bytes]] = field(repr=False)
    zero_score: float
    full_score: float
    maximum: float
    n_games: int = 20
    n_shuffled_games: int = 5
    seconds: float = 1200

    def points(self, mean_score: float) -> float:
        """Returns what a mean score is worth, to a hundredth."""
        share = (mean_score - self.zero_score) / (self.full_score - self.zero_score)
        return round(self.maximum * min(max(share, 0.0), 1.0), 2)


@dataclass(frozen=True, kw_only=True)
class PlayResult:
    """What came of playing.

    Attributes:
        scores: of each game; empty if the games were not played to their end.
        points: what their mean is worth.
        message: the mean and how sure it is, or why there is none, for the student.
        remarks: what a teacher may want to know.
        video: the best game, MP4.
    """

    scores: tuple[float, ...] = ()
    points: float = 0.0
    message: str
    remarks: tuple[str, ...] = ()
    video: bytes | None = None


class PlayError(Exception):
    """The agent cannot go on playing; the message is for its author."""


@dataclass
class _Episode:
    seed: int
    score: float = 0.0
    actions: list[int] = field(default_factory=list)
    is_over: bool = False


def play(
    kernel: Kernel,
    sources: Sequence[str],
    weights_path: Path,
    rules: PlayRules,
    seed: int,
    start_another: Callable[[], Kernel] | None = None,
) -> PlayResult:
    """Lets a student's agent play, and says what that is worth.

    Args:
        kernel: a fresh one, in which `rules.player` can be imported.
        sources: cells that define the agent, the answer last.
        weights_path: the file that was handed in.
        rules: of the assignment.
        seed: what all games are drawn from. The same seed gives the same games.
        start_another: starts a kernel for the games with shuffled weights, so that no agent can
            tell that they are the second ones; by default they are played in the same.
    """
    generator, other_generator = np.random.default_rng(seed).spawn(2)
    try:
        weights = read_weights(weights_path)
        episodes = _play_games(kernel, sources, weights, rules, rules.n_games, generator)
    except (WeightsError, PlayError) as error:
        return PlayResult(message=str(error))
    scores = [episode.score for episode in episodes]
    mean_score = float(np.mean(scores))
    remarks = []
    if rules.points(mean_score) > 0:
        another = start_another() if start_another else kernel
        remarks += _look_at_weights(another, sources, weights, rules, other_generator, mean_score)
    best = max(episodes, key=lambda episode: episode.score)
    replayed_score, video = rules.record(best.seed, best.actions)
    if replayed_score != best.score:
        video = None
        remarks.append(
            f"no video: played again, the best game brought {replayed_score:,.0f} points and not "
            f"{best.score:,.0f}"
        )
    return PlayResult(
        scores=tuple(scores),
        points=rules.points(mean_score),
        message=_describe(scores, rules),
        remarks=tuple(remarks),
        video=video,
    )


def _describe(scores: Sequence[float], rules: PlayRules) -> str:
    error = np.std(scores, ddof=1) / math.sqrt(len(scores)) if len(scores) > 1 else math.inf
    return (
        f"the mean of {len(scores)} games is {np.mean(scores):,.0f} ± {error:,.0f} (standard "
        f"error); points rise from {rules.zero_score:,.0f} to {rules.full_score:,.0f}"
    )


def _look_at_weights(
    kernel: Kernel,
    sources: Sequence[str],
    weights: Sequence[np.ndarray],
    rules: PlayRules,
    generator: np.random.Generator,
    mean_score: float,
) -> list[str]:
    """Returns a remark if the agent plays as well when its weights are shuffled."""
    shuffled = [generator.permutation(array.ravel()).reshape(array.shape) for array in weights]
    try:
        episodes = _play_games(kernel, sources, shuffled, rules, rules.n_shuffled_games, generator)
    except PlayError as error:
        return [f"with shuffled weights the agent does not play: {error}"]
    shuffled_mean = np.mean([episode.score for episode in episodes])
    if shuffled_mean < mean_score / 2:
        return []
    return [
        f"with shuffled weights the agent plays about as well: the mean of {len(episodes)} games "
        f"is {shuffled_mean:,.0f}. Is it the network that plays?"
    ]


def _play_games(
    kernel: Kernel,
    sources: Sequence[str],
    weights: Sequence[np.ndarray],
    rules: PlayRules,
    n_games: int,
    generator: np.random.Generator,
) -> list[_Episode]:
    """Plays each of some games once, to its end.

    Raises:
        PlayError: the agent fails, acts as nobody may, or takes too long.
    """
    deadline = time.monotonic() + rules.seconds
    agent = _RemoteAgent(kernel, sources, weights, rules, n_games)
    with rules.games(generator, n_games) as games:
        episodes = [_Episode(seed) for seed in games.seeds]
        frames = games.reset()
        while not all(episode.is_over for episode in episodes):
            if time.monotonic() > deadline:
                raise PlayError(f"the games took longer than {rules.seconds:g} s")
            is_running = np.array([not episode.is_over for episode in episodes])
            actions = agent.act(is_running, frames)
            frames, rewards, is_over = games.step(actions)
            for i in np.flatnonzero(is_running):
                episodes[i].score += float(rewards[i])
                episodes[i].actions.append(int(actions[i]))
                episodes[i].is_over = bool(is_over[i])
    return episodes


class _RemoteAgent:
    """The agent in the kernel."""

    def __init__(
        self,
        kernel: Kernel,
        sources: Sequence[str],
        weights: Sequence[np.ndarray],
        rules: PlayRules,
        n_games: int,
    ):
        self._kernel = kernel
        self._name = f"player_{secrets.token_hex(8)}"
        self._n_games = n_games
        self._n_actions = rules.n_actions
        file = io.BytesIO()
        np.savez(file, *weights)
        arguments = f"{n_games}, {rules.obs_shape}, {rules.n_actions}"
        # An expression is evaluated as it is, where IPython would look at each token of a cell.
        self._ask(
            f"globals().update({self._name}=__import__({rules.player!r}).make_player("
            f"{list(sources)!r}, {_decoding(file.getvalue())}, {arguments})) or b''"
        )

    def act(self, is_running: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Returns an action for each game, int64 `[n_games]`, for those that are over as well."""
        message = is_running.astype(np.uint8).tobytes() + frames[is_running].tobytes()
        answer = self._ask(f"{self._name}.act({base64.b64encode(message).decode()!r})")
        if len(answer) != 8 * self._n_games:
            raise PlayError(f"{self._n_games} actions were expected, {len(answer)} bytes came")
        actions = np.frombuffer(answer, "<i8")
        wrong = actions[(actions < 0) | (actions >= self._n_actions)]
        if wrong.size:
            raise PlayError(
                f"the agent chose action {wrong[0]}, and there are 0 to {self._n_actions - 1}: are "
                "there NaNs among its logits?"
            )
        return actions

    def _ask(self, expression: str) -> bytes:
        result = self._kernel.run("", fetch=expression)
        if result.payload is not None:
            return result.payload
        words = result.error_value or result.error_name
        raise PlayError(f"the agent cannot play: {words}"[:MAX_MESSAGE])


def _decoding(data: bytes) -> str:
    return f"__import__('base64').b64decode({base64.b64encode(data).decode()!r})"
