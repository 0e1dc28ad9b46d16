"""Plays for marks: the agent runs in a student's worker; the games and their seeds stay here.

At each tick, the worker gets the newest frames and replies with actions. It never learns a seed, a
score, or where a game came from, so an answer can neither invent scores nor search for them.

Two comparisons say whether the network plays, or a script. In the same batch as the games that
count, in places drawn by lot, run others whose agent is shown the pictures of yet another game: who
does as well there does not look. And with shuffled weights, who does as well has not learnt.
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

from checks.weights import FILE, MAX_BYTES
from grading.assignment import Stage, Trial, TrialResult
from grading.files import UnreadableError, read_regular_file
from grading.inside.measurement import Measurement, MeasurementError
from grading.worker import Worker

MAX_MESSAGE = 500  # characters of an error in a student's code
# Whether an agent looks at the screen is asked unless chance would hardly make such a difference.
LEAST_CHANCE = 0.01
N_PERMUTATIONS = 20_000


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
        games: makes the given number of games, from seeds that it draws. No reward is negative.
        record: replays the game of a seed with some actions; returns its score and an MP4.
        shares: rising mean scores, and the share of `maximum` that each earns, from 0 to 1. Between
            them shares rise in straight lines.
        maximum: the most points that can be earned.
        n_games: the number of games that count.
        n_blind_games: the number of games whose agent is shown another game's pictures; at least 2.
        seconds: wall time for all games of one batch. Good agents live long: 20 games of 39,000
            points took more than two minutes on two slow cores that were otherwise idle.
    """

    player: str
    obs_shape: tuple[int, ...]
    n_actions: int
    games: Callable[[np.random.Generator, int], AbstractContextManager[Games]] = field(repr=False)
    record: Callable[[int, Sequence[int]], tuple[float, bytes]] = field(repr=False)
    shares: tuple[tuple[float, float], ...]
    maximum: float
    n_games: int = 20
    n_blind_games: int = 10
    seconds: float = 1200

    @property
    def full_score(self) -> float:
        """The mean score that earns all points."""
        return self.shares[-1][0]

    def points(self, mean_score: float) -> float:
        """Returns what a mean score is worth, to a hundredth."""
        scores, shares = zip(*self.shares, strict=True)
        return round(self.maximum * float(np.interp(mean_score, scores, shares)), 2)


class PlayError(Exception):
    """The agent cannot go on playing; the message is for its author."""


@dataclass
class _Episode:
    seed: int
    score: float = 0.0
    actions: list[int] = field(default_factory=list)
    is_over: bool = False


@dataclass(frozen=True)
class _Batch:
    """Games that were played side by side, to their ends or until a score was certain.

    Attributes:
        counted: those in which the agent saw what it played.
        blind: those in which it was shown the pictures of another game.
    """

    counted: Sequence[_Episode]
    blind: Sequence[_Episode]

    @property
    def is_whole(self) -> bool:
        return all(episode.is_over for episode in self.counted)

    @property
    def mean(self) -> float:
        return float(np.mean([episode.score for episode in self.counted]))


def trial(rules: PlayRules) -> Trial:
    """Returns the trial in which the agent of the exercise `agent` plays."""
    return Trial(
        name="play",
        title=f"the mean of {rules.n_games} games",
        points=rules.maximum,
        exercise="agent",
        attachment=FILE,
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
    enough = math.inf if stage.is_exact else rules.full_score
    try:
        # More time than the games have: their own limit, which has its own message, comes first.
        worker = stage.start_worker(2 * rules.seconds)
        weights = read_weights(stage.attachment, worker)
        batch = _play_games(worker, stage, weights, rules, generator, enough, rules.n_blind_games)
    except PlayError as error:
        return TrialResult(message=str(error))
    remarks = []
    if rules.points(batch.mean) > 0:
        remarks += _compare_blind_games(batch, generator)
        # In another worker, so that the agent cannot tell that it has played before.
        another = stage.start_worker(2 * rules.seconds)
        remarks += _compare_shuffled_weights(
            another, stage, weights, rules, other_generator, batch.mean
        )
    best = max(batch.counted, key=lambda episode: episode.score)
    replayed_score, video = rules.record(best.seed, best.actions)
    if replayed_score != best.score:
        video = None
        remarks.append(
            f"no video: the replay of the best game scored {replayed_score:,.0f} points instead of "
            f"{best.score:,.0f}"
        )
    return TrialResult(
        points=rules.points(batch.mean),
        message=_describe(batch, rules),
        remarks=tuple(remarks),
        video=video,
    )


def read_weights(path: Path, worker: Worker) -> list[np.ndarray]:
    """Reads a weights file in a worker that has run no student code yet.

    Raises:
        PlayError: they cannot be read.
    """
    try:
        data = read_regular_file(path, MAX_BYTES, "the weights file")
    except UnreadableError as error:
        raise PlayError(str(error)) from None
    reply = worker.call("weights:read", data, max_bytes=MAX_BYTES)
    if reply.status != "ok":
        raise PlayError(f"the weights file cannot be read: {reply.problem}"[:MAX_MESSAGE])
    try:
        weights = Measurement.from_bytes(reply.data)
    except MeasurementError as error:
        raise PlayError(f"the weights file cannot be read: {error}") from None
    if weights.first_error:
        raise PlayError(weights.first_error)
    return [weights[f"arr_{i}"] for i in range(len(weights))]


def _describe(batch: _Batch, rules: PlayRules) -> str:
    n_games = len(batch.counted)
    if not batch.is_whole:
        return (
            f"the mean of {n_games} games is at least {batch.mean:,.0f}; they ended early, since "
            "that earns all points"
        )
    scores = [episode.score for episode in batch.counted]
    error = np.std(scores, ddof=1) / math.sqrt(n_games) if n_games > 1 else math.inf
    shares = ", ".join(f"{score:,.0f} earns {share:.0%}" for score, share in rules.shares)
    return (
        f"the mean of {n_games} games is {batch.mean:,.0f} ± {error:,.0f} (standard error); "
        f"{shares} of the points"
    )


def _compare_blind_games(batch: _Batch, generator: np.random.Generator) -> list[str]:
    """Returns a remark if the agent plays about as well when it is shown other pictures.

    To an agent that does not look, all games are alike, and which of them count is a matter of
    chance: a permutation test (Fisher, 1935, The Design of Experiments).
    """
    scores = np.array([episode.score for episode in [*batch.counted, *batch.blind]])
    n_games = len(batch.counted)
    drawn = generator.permuted(np.tile(scores, (N_PERMUTATIONS, 1)), axis=1)
    chance = np.mean(drawn[:, :n_games].mean(axis=1) >= scores[:n_games].mean())
    if chance <= LEAST_CHANCE:
        return []
    return [
        f"shown the pictures of other games, the agent plays about as well: the mean of "
        f"{len(batch.blind)} such games is {scores[n_games:].mean():,.0f}, beside "
        f"{batch.mean:,.0f}. Does it look at the screen? An agent that has learnt little may not "
        "yet. If it does not, a difference like this or a larger one comes by chance in "
        f"{chance:.1%} of all gradings"
    ]


def _compare_shuffled_weights(
    worker: Worker,
    stage: Stage,
    weights: Sequence[np.ndarray],
    rules: PlayRules,
    generator: np.random.Generator,
    mean_score: float,
) -> list[str]:
    """Returns a remark if the agent plays at least half as well when its weights are shuffled.

    It plays as many games as before, which it cannot tell from those.
    """
    shuffled = [generator.permutation(array.ravel()).reshape(array.shape) for array in weights]
    try:
        batch = _play_games(worker, stage, shuffled, rules, generator, mean_score / 2)
    except PlayError as error:
        return [f"with shuffled weights the agent does not play: {error}"]
    if batch.mean < mean_score / 2:
        return []
    return [
        f"with shuffled weights the agent plays at least half as well: the mean of "
        f"{len(batch.counted)} games is {batch.mean:,.0f}"
        f"{'' if batch.is_whole else ' or more'}. Does the network choose the actions?"
    ]


def _play_games(
    worker: Worker,
    stage: Stage,
    weights: Sequence[np.ndarray],
    rules: PlayRules,
    generator: np.random.Generator,
    enough: float,
    n_blind: int = 0,
) -> _Batch:
    """Plays each game once, to its end or until the mean score is enough.

    Args:
        worker: where the agent acts.
        stage: the cells that define it.
        weights: its weights.
        rules: of the games, which are as many with blind ones among them as without.
        generator: draws the games, and the places of the blind ones.
        enough: the mean score of the games that count at which all of them end.
        n_blind: the number of blind games.

    Raises:
        PlayError: the agent fails, chooses an invalid action, or takes too long.
    """
    deadline = time.monotonic() + rules.seconds
    n_games = rules.n_games + rules.n_blind_games
    agent = _RemoteAgent(worker, stage, weights, rules, n_games, deadline)
    places = generator.permutation(n_games)
    blind, counted = np.sort(places[:n_blind]), np.sort(places[n_blind:])
    shown = np.arange(n_games)
    shown[blind] = np.roll(blind, 1)
    with rules.games(generator, n_games) as games:
        episodes = [_Episode(seed) for seed in games.seeds]
        batch = _Batch([episodes[i] for i in counted], [episodes[i] for i in blind])
        frames = games.reset()
        while not all(episode.is_over for episode in episodes) and batch.mean < enough:
            is_running = np.array([not episode.is_over for episode in episodes])
            actions = agent.act(is_running, frames[shown])
            frames, rewards, is_over = games.step(actions)
            for i in np.flatnonzero(is_running):
                episodes[i].score += float(rewards[i])
                episodes[i].actions.append(int(actions[i]))
                episodes[i].is_over = bool(is_over[i])
    return batch


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
