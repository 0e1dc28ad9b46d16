"""Plays for marks: the agent runs in a student's worker; the games and their seeds stay here.

At each tick, the worker gets the newest frames and replies with actions. It never learns a seed, a
score, or where a game came from, so an answer can neither invent scores nor search for them.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from grading.assignment import Stage, Trial, TrialResult
from grading.files import UnreadableError, read_regular_file
from grading.inside.measurement import Measurement
from grading.worker import Worker

MAX_MESSAGE = 500  # characters of an error in a student's code
MAX_WEIGHT_BYTES = 64 << 20  # of the file, and of its unpacked contents


class Games(Protocol):
    """Several games of one kind, stepped in lockstep.

    Attributes:
        seeds: what `PlayRules.record` needs to replay each of them.
    """

    seeds: Sequence[int]

    def reset(self) -> np.ndarray:
        """Starts the games and returns their first frames, uint8 `[n_games, height, width]`."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps the games; returns the newest frames, `[n_games]` rewards, and which are over.

        What happens in a game after its end is ignored.
        """


@dataclass(frozen=True, kw_only=True)
class PlayRules:
    """What is played, and what it is worth.

    Attributes:
        player: the module that makes the player in the worker; see `inside/player.py`.
        obs_shape: the shape of one observation.
        n_actions: the number of actions, which are 0 to n_actions - 1.
        games: makes the given number of games, from seeds that it draws.
        record: replays the game of a seed with some actions; returns its score and an MP4.
        zero_score, full_score: the mean scores between which points rise from 0 to `maximum`.
        maximum: the most points that can be earned.
        n_games: the number of games that count.
        n_shuffled_games: the number of games that the agent plays with shuffled weights.
        seconds: wall time for each of these two sets of games. Good agents live long: 20 games of
            39,000 points took more than two minutes on two slow cores that were otherwise idle.
    """

    player: str
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


class PlayError(Exception):
    """The agent cannot go on playing; the message is for its author."""


@dataclass
class _Episode:
    seed: int
    score: float = 0.0
    actions: list[int] = field(default_factory=list)
    is_over: bool = False


def trial(rules: PlayRules) -> Trial:
    """Returns the trial in which the agent of the exercise `agent` plays."""
    return Trial(
        name="play",
        title=f"the mean of {rules.n_games} games",
        points=rules.maximum,
        exercise="agent",
        attachment="kungfu_weights.npz",
        missing="no weights were handed in",
        run=functools.partial(play, rules=rules),
    )


def play(stage: Stage, rules: PlayRules) -> TrialResult:
    """Lets a student's agent play, and returns what it earned.

    Args:
        stage: the cells that define the agent, the weights, and the seed of all games. The same
            seed gives the same games.
        rules: the rules of the assignment.
    """
    generator, other_generator = np.random.default_rng(stage.seed).spawn(2)
    try:
        # More time than the games have: their own limit, which has its own message, comes first.
        worker = stage.start_worker(2 * rules.seconds)
        weights = read_weights(stage.attachment, worker)
        episodes = _play_games(worker, stage, weights, rules, rules.n_games, generator)
    except PlayError as error:
        return TrialResult(message=str(error))
    scores = [episode.score for episode in episodes]
    mean_score = float(np.mean(scores))
    remarks = []
    if rules.points(mean_score) > 0:
        # In another worker, so that the agent cannot tell that it has played before.
        another = stage.start_worker(2 * rules.seconds)
        remarks += _compare_shuffled_weights(
            another, stage, weights, rules, other_generator, mean_score
        )
    best = max(episodes, key=lambda episode: episode.score)
    replayed_score, video = rules.record(best.seed, best.actions)
    if replayed_score != best.score:
        video = None
        remarks.append(
            f"no video: the replay of the best game scored {replayed_score:,.0f} points instead of "
            f"{best.score:,.0f}"
        )
    return TrialResult(
        points=rules.points(mean_score),
        message=_describe(scores, rules),
        remarks=tuple(remarks),
        video=video,
    )


def read_weights(path: Path, worker: Worker) -> list[np.ndarray]:
    """Reads a weights file in a worker that has run no student code yet.

    Raises:
        PlayError: they cannot be read.
    """
    try:
        data = read_regular_file(path, MAX_WEIGHT_BYTES, "the weights file")
    except UnreadableError as error:
        raise PlayError(str(error)) from None
    reply = worker.call("weights:read", data, max_bytes=MAX_WEIGHT_BYTES)
    if reply.status != "ok":
        raise PlayError(f"the weights file cannot be read: {reply.problem}"[:MAX_MESSAGE])
    weights = Measurement.from_bytes(reply.data)
    if weights.first_error:
        raise PlayError(weights.first_error)
    return [weights[f"arr_{i}"] for i in range(len(weights))]


def _describe(scores: Sequence[float], rules: PlayRules) -> str:
    error = np.std(scores, ddof=1) / math.sqrt(len(scores)) if len(scores) > 1 else math.inf
    return (
        f"the mean of {len(scores)} games is {np.mean(scores):,.0f} ± {error:,.0f} (standard "
        f"error); points rise from {rules.zero_score:,.0f} to {rules.full_score:,.0f}"
    )


def _compare_shuffled_weights(
    worker: Worker,
    stage: Stage,
    weights: Sequence[np.ndarray],
    rules: PlayRules,
    generator: np.random.Generator,
    mean_score: float,
) -> list[str]:
    """Returns a remark if the agent plays as well when its weights are shuffled."""
    shuffled = [generator.permutation(array.ravel()).reshape(array.shape) for array in weights]
    try:
        episodes = _play_games(worker, stage, shuffled, rules, rules.n_shuffled_games, generator)
    except PlayError as error:
        return [f"with shuffled weights the agent does not play: {error}"]
    shuffled_mean = np.mean([episode.score for episode in episodes])
    if shuffled_mean < mean_score / 2:
        return []
    return [
        f"with shuffled weights the agent plays about as well: the mean of {len(episodes)} games "
        f"is {shuffled_mean:,.0f}. Does the network choose the actions?"
    ]


def _play_games(
    worker: Worker,
    stage: Stage,
    weights: Sequence[np.ndarray],
    rules: PlayRules,
    n_games: int,
    generator: np.random.Generator,
) -> list[_Episode]:
    """Plays each game once, to its end.

    Raises:
        PlayError: the agent fails, chooses an invalid action, or takes too long.
    """
    deadline = time.monotonic() + rules.seconds
    agent = _RemoteAgent(worker, stage, weights, rules, n_games, deadline)
    with rules.games(generator, n_games) as games:
        episodes = [_Episode(seed) for seed in games.seeds]
        frames = games.reset()
        while not all(episode.is_over for episode in episodes):
            is_running = np.array([not episode.is_over for episode in episodes])
            actions = agent.act(is_running, frames)
            frames, rewards, is_over = games.step(actions)
            for i in np.flatnonzero(is_running):
                episodes[i].score += float(rewards[i])
                episodes[i].actions.append(int(actions[i]))
                episodes[i].is_over = bool(is_over[i])
    return episodes


class _RemoteAgent:
    """The agent in the worker."""

    def __init__(
        self,
        worker: Worker,
        stage: Stage,
        weights: Sequence[np.ndarray],
        rules: PlayRules,
        n_games: int,
        deadline: float,
    ):
        self._worker = worker
        self._deadline = deadline
        self._overdue = f"the games took longer than {rules.seconds:g} s"
        self._n_games = n_games
        self._n_actions = rules.n_actions
        named = {f"arr_{i}": array for i, array in enumerate(weights)}
        self._ask(
            f"{rules.player}:make_player",
            Measurement(named).to_bytes(),
            sources=stage.define_in(worker),
            n_games=n_games,
            obs_shape=list(rules.obs_shape),
            n_actions=rules.n_actions,
        )

    def act(self, is_running: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Returns an action for each game, including finished ones, int64 `[n_games]`."""
        message = is_running.astype(np.uint8).tobytes() + frames[is_running].tobytes()
        reply = self._ask("player:act", message)
        if len(reply) != 8 * self._n_games:
            raise PlayError(f"expected {self._n_games} actions as int64, got {len(reply)} bytes")
        actions = np.frombuffer(reply, "<i8")
        wrong = actions[(actions < 0) | (actions >= self._n_actions)]
        if wrong.size:
            raise PlayError(
                f"the agent chose action {wrong[0]}, expected 0 to {self._n_actions - 1}: are "
                "there NaNs among its logits?"
            )
        return actions

    def _ask(self, function: str, data: bytes, **keywords: Any) -> bytes:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise PlayError(self._overdue)
        reply = self._worker.call(function, data, within=remaining, **keywords)
        if reply.status == "ok":
            return reply.data
        if reply.status == "timeout" and time.monotonic() >= self._deadline:
            raise PlayError(self._overdue)
        raise PlayError(f"the agent cannot play: {reply.problem}"[:MAX_MESSAGE])
