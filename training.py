"""Train for minutes or hours and lose nothing: a compiled step, progress, checkpoints, live plots.

The loop itself stays in the notebook, where you can read it: play a rollout, take a gradient step,
tell the `TrainingRun` about it. The run counts, stops when training blows up, keeps what the plots
show, and saves it all now and then.

An *environment step* is one action in one game: a rollout of n columns holds (n - 1) * n_games. A
*tick* steps all games at once.
"""

import contextlib
import io
import math
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure
from tqdm import tqdm

from checkpoints import Checkpoints
from env_pool import EnvPool, reset_memory
from learners import Arrays, find_learner

Rollout = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

SECONDS_BETWEEN_CHECKPOINTS = 120
PLOTTING_SHARE = 0.015  # at most this share of the time goes into plots, on slow machines too
MAX_SNAPSHOTS = 50  # bounds the memory they take where the agent is evaluated very often
EXPLODED_LOSS = 1e12  # the square of a million points: no game earns that many
NUMBERS = "{n_fmt} of {total_fmt} rollouts in {elapsed}{postfix}"  # beside the progress bar
MEASURED = ("iteration", "entropy", "value_loss", "gradient_norm")


class TrainingDivergedError(RuntimeError):
    """The loss or the weights are no longer finite numbers; the checkpoint on disk is intact."""


class TrainingRun:
    """One agent's training, from its first rollout to its last, across interruptions.

    Example:
        >>> run = TrainingRun(agent, optimizer, pool, "checkpoints")  # doctest: +SKIP
        >>> train_step = run.compiled(train_on_rollout)
        >>> with run.progress(max_iterations=15_000, max_minutes=60) as iterations:
        ...     for iteration in iterations:
        ...         memory = list(pool.prev_memory_states)
        ...         rollout = pool.interact(10)
        ...         run.record(train_step(*rollout, memory, gamma), rollout)

    Args:
        agent: The agent that learns.
        optimizer: Its optimizer, from Keras or PyTorch.
        pool: The games it learns from.
        folder: Folder for checkpoints, made when the first one is written.
        max_gradient_norm: The compiled step clips gradients to this global norm; None leaves them
            alone. See `learners.Learner`.
        tensorboard_folder: Folder for a TensorBoard log; None writes none.

    Attributes:
        n_iterations: Number of rollouts learnt from.
        n_env_steps: Number of environment steps learnt from.
        history: A list of numbers for each name in `MEASURED`, one for each call of `measure`.
        rewards_history: A score for each call of `evaluated` or `evaluate_recent`.
        best_score: The highest of them, earned by the agent that is saved separately; -inf before
            there is one.

    Raises:
        ModuleNotFoundError: If `tensorboard_folder` is given and TensorBoard is not installed.
        TypeError: If the optimizer is from neither Keras nor PyTorch.
    """

    def __init__(
        self,
        agent: Any,
        optimizer: Any,
        pool: EnvPool,
        folder: str | Path,
        *,
        max_gradient_norm: float | None = None,
        tensorboard_folder: str | Path | None = None,
    ):
        self.n_iterations = 0
        self.n_env_steps = 0
        self.history: dict[str, list[float]] = {name: [] for name in MEASURED}
        self.rewards_history: list[float] = []
        self.best_score = -math.inf
        self._agent = agent
        self._pool = pool
        self._learner = find_learner(agent, optimizer, max_gradient_norm)
        self._checkpoints = Checkpoints(folder)
        self._best: Arrays | None = None  # in memory, too: the folder may be out of reach
        self._unwritten: set[Path] = set()  # files that could not be written
        self._saved_at = time.monotonic()
        self._losses: deque[float] = deque(maxlen=5)
        self._n_ignored_games = 0  # the pool's first games, which a replaced agent played
        self._n_ticks = 0  # ticks learnt from since this run was made
        self._snapshots: deque[tuple[int, Arrays]] = deque(maxlen=MAX_SNAPSHOTS)
        self._bar = tqdm(disable=True)
        self._tensorboard = _tensorboard_writer(tensorboard_folder) if tensorboard_folder else None
        if self._checkpoints.is_left_over:
            _say(
                f"There is a checkpoint in {self._checkpoints.folder}, of an agent that has "
                "trained before. To go on with that one, run: run.restore()"
            )

    @property
    def unrestored(self) -> str:
        """Why this agent should not be played or handed in; "" if nothing speaks against it."""
        if self.n_iterations > 0 or not self._checkpoints.is_left_over:
            return ""
        return (
            "This agent has learnt nothing yet, but there is a checkpoint of one that has in "
            f"{self._checkpoints.folder}: run.restore() goes on with that one."
        )

    def compiled(
        self, train_on_rollout: Callable[..., Any], *, xla: bool = False
    ) -> Callable[..., Any]:
        """Return the training step, compiled if the framework can, with gradients clipped.

        A compiled function keeps the first agent and optimizer it saw: after you replace either,
        make a new run and compile again.

        Args:
            train_on_rollout: Takes one gradient step and returns the loss. If it cannot be
                compiled, it runs as it is and a printed line says why.
            xla: Let XLA fuse the many small operations. Worth its seconds of compile time when
                few games are played.

        Raises:
            RuntimeError: By the training step, if many steps have not changed any weight.
        """
        return self._learner.compiled(train_on_rollout, xla)

    @contextlib.contextmanager
    def progress(self, max_iterations: int, max_minutes: float) -> Iterator[Iterator[int]]:
        """Show a progress bar, and end training at a limit or at an interrupt.

        However the loop ends, a checkpoint is written, unless training diverged.

        Args:
            max_iterations: Number of rollouts in all, including those before a restart.
            max_minutes: Time limit for this call.

        Yields:
            The numbers of the rollouts to come, counted from 1 at the very beginning.

        Raises:
            RuntimeError: If the loop does not call `record` once in every iteration.
        """
        started, n_before = time.monotonic(), self.n_env_steps
        ended = ""

        def iterations() -> Iterator[int]:
            nonlocal ended
            while self.n_iterations < max_iterations:
                seconds = time.monotonic() - started
                if seconds >= 60 * max_minutes:
                    ended = f"This was the limit of {max_minutes:g} minutes. "
                    return
                rate = (self.n_env_steps - n_before) / max(seconds, 1e-9)
                self._bar.set_postfix_str(f"{rate:,.0f} steps/s, {self._score()}", refresh=False)
                number = self.n_iterations + 1
                yield number
                if self.n_iterations != number:
                    raise RuntimeError("call record once in every iteration of the loop")
            ended = f"This was the limit of {max_iterations:,} rollouts. "

        self._bar = _progress_bar(total=max_iterations, initial=self.n_iterations)
        try:
            yield iterations()
        except TrainingDivergedError:
            raise
        except KeyboardInterrupt:
            self._save_or_say_why_not()
            ended = "Interrupted. "
        except BaseException:
            self._save_or_say_why_not()
            raise
        else:
            self._save_or_say_why_not()
        finally:
            self._bar.close()
        counts = f"{self.n_iterations:,} rollouts, {self.n_env_steps:,} steps so far"
        _say(f"{ended}{counts}, {self._score()}.")
        if not self._unwritten:
            best = "" if self.best_score == -math.inf else ", and the best agent so far"
            _say(
                f"All is saved in {self._checkpoints.folder}: what this agent has learnt{best}. To "
                "train on, run this cell again; after a restart of the kernel, run the cells "
                "above, then run.restore()."
            )

    def record(self, loss: Any, rollout: Rollout) -> None:
        """Count a rollout that was learnt from, and write a checkpoint if the last one is old.

        Args:
            loss: What the training step returned.
            rollout: What `EnvPool.interact` returned.

        Raises:
            TrainingDivergedError: If the loss is infinite, NaN, or too large for the game's points
                to explain. The rollout is not counted then.
        """
        self._losses.append(float(loss))
        if not abs(self._losses[-1]) < EXPLODED_LOSS:
            raise TrainingDivergedError(self._what_diverged(rollout))
        n_games, n_columns = rollout[2].shape
        self.n_iterations += 1
        self.n_env_steps += n_games * (n_columns - 1)
        self._n_ticks += n_columns - 1
        self._bar.update()
        if time.monotonic() > self._saved_at + SECONDS_BETWEEN_CHECKPOINTS:
            self._save_or_say_why_not()

    def measure(self, rollout: Rollout, prev_memory_states: Sequence[Any], gamma: float) -> None:
        """Add the current entropy, value loss and gradient norm to the history.

        Args:
            rollout: What `EnvPool.interact` returned last.
            prev_memory_states: The agent's memory before that rollout.
            gamma: Discount per tick.
        """
        entropy, value_loss = measure_rollout(self._agent, rollout, prev_memory_states, gamma)
        measured = (entropy, value_loss, self._learner.gradient_norm())
        self.history["iteration"].append(self.n_iterations)
        for name, number in zip(MEASURED[1:], measured, strict=True):
            self.history[name].append(number)
            self._log(name, number)

    def evaluate_recent(self, n_games: int, go_back_below: float = 0) -> float:
        """Score the agent by the latest games that ended in the pool, at no extra cost.

        The agent kept learning during those games, and may be worse by now. So if the score is the
        best so far, the average of what it was during those games is saved as the best agent.

        Policies break down now and then, and do not recover: an agent that scores much less than
        its best gets the weights of its best back.

        Args:
            n_games: How many games count, usually as many as the pool plays side by side.
            go_back_below: Fraction of the best score below which the agent goes back to its best;
                0 never goes back.

        Returns:
            The mean points of those games. NaN until that many have ended, since the first to end
            are those that went wrong.
        """
        self._snapshots.append((self._n_ticks, self._learner.agent_arrays()))
        returns = self._pool.episode_returns[self._n_ignored_games :][-n_games:]
        if len(returns) < n_games:
            self._add_score(math.nan, {})
            return math.nan
        score = float(np.mean(returns))
        self._add_score(score, self._average_agent(n_games))
        if score < go_back_below * self.best_score:
            _say("The latest games went much worse than the best ones.")
            self.restore_best()
        return score

    def evaluated(self, score: float) -> None:
        """Add a score to the history, and save the agent separately if it is the best so far.

        Args:
            score: Mean points of several whole games: one lucky game does not make a good agent.
        """
        self._add_score(float(score), self._learner.agent_arrays())

    def _average_agent(self, n_games: int) -> dict[str, np.ndarray]:
        """Average the snapshots that played the last `n_games` games, and drop older ones.

        Those games ended within about one game's length, so they began within two. Every training
        step throws the agent off in a different direction, so the average plays better than most
        of the snapshots (Izmailov et al., 2018, arXiv:1803.05407).
        """
        ticks = 2 * np.mean(self._pool.episode_lengths[-n_games:])
        while len(self._snapshots) > 1 and self._snapshots[0][0] < self._n_ticks - ticks:
            self._snapshots.popleft()
        agents = [arrays for _, arrays in self._snapshots]
        return {
            name: np.mean([arrays[name] for arrays in agents], axis=0).astype(array.dtype)
            for name, array in agents[0].items()
        }

    def _add_score(self, score: float, agent_arrays: dict[str, np.ndarray]) -> None:
        self.rewards_history.append(score)
        self._log("score", score)
        if score > self.best_score:
            self._keep_as_best(score, agent_arrays)

    def _keep_as_best(self, score: float, agent_arrays: Arrays) -> None:
        self.best_score, self._best = score, agent_arrays
        self._write_or_say_why_not(self._checkpoints.best, agent_arrays)

    def save(self) -> None:
        """Write the agent, the optimizer, the history and the random state to the checkpoint.

        Raises:
            OSError: If it cannot be written; the checkpoint that was there is whole.
            TrainingDivergedError: If the agent's weights are not finite. Nothing is written then.
        """
        arrays = self._state()
        if self._checkpoints.best in self._unwritten:
            self._write(self._checkpoints.best, self._best)
        self._write(self._checkpoints.latest, arrays)

    def _state(self) -> dict[str, Any]:
        arrays = self._learner.agent_arrays()
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise TrainingDivergedError("the agent's weights are no longer finite numbers")
        arrays |= self._learner.other_arrays()
        arrays |= {f"history_{name}": np.array(self.history[name]) for name in MEASURED}
        arrays |= {f"random_{i}": part for i, part in enumerate(np.random.get_state())}
        return arrays | {
            "n_iterations": self.n_iterations,
            "n_steps": self.n_env_steps,
            "rewards_history": np.array(self.rewards_history),
            "best_score": self.best_score,
        }

    def _write(self, path: Path, arrays: dict[str, Any]) -> None:
        self._saved_at = time.monotonic()
        self._checkpoints.write(path, arrays)
        self._unwritten.discard(path)

    def _save_or_say_why_not(self) -> None:
        """Save, but let training go on if the folder is out of reach: it may come back."""
        arrays = self._state()
        if self._checkpoints.best in self._unwritten:
            self._write_or_say_why_not(self._checkpoints.best, self._best)
        self._write_or_say_why_not(self._checkpoints.latest, arrays)

    def _write_or_say_why_not(self, path: Path, arrays: dict[str, Any]) -> None:
        was_unwritten = path in self._unwritten
        try:
            self._write(path, arrays)
        except OSError as error:
            self._unwritten.add(path)
            _say(
                f"{path} could not be written ({error}). Training goes on, but this is not saved. "
                f"The next try is in {SECONDS_BETWEEN_CHECKPOINTS} seconds; run.save() tries at "
                "once."
            )
        else:
            if was_unwritten:
                _say(f"{path} is written again.")

    def restore(self) -> None:
        """Continue where the checkpoint left off. Games that the pool has begun do not count.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            ValueError: If it belongs to a different agent or optimizer. Nothing is changed then.
        """
        arrays = self._checkpoints.read_latest()
        self._learner.restore(arrays)
        self._forget_replaced_agent()
        for name in MEASURED:
            self.history[name][:] = arrays[f"history_{name}"].tolist()
        self.rewards_history[:] = arrays["rewards_history"].tolist()
        self.n_iterations = int(arrays["n_iterations"])
        self.n_env_steps = int(arrays["n_steps"])
        self.best_score = float(arrays["best_score"])
        np.random.set_state([arrays[f"random_{i}"][()] for i in range(5)])
        self._best = None
        self._unwritten.clear()
        self._checkpoints.resume()
        print(f"Restored: {self.n_iterations:,} rollouts, {self.n_env_steps:,} steps.")

    def restore_best(self) -> None:
        """Give the agent the weights that scored highest so far, if any were saved.

        Raises:
            ValueError: If they belong to a different agent. Nothing is changed then.
        """
        if self.best_score == -math.inf:
            print("No best agent was kept so far: this one stays as it is.")
            return
        self._become(self._best_arrays())
        _say(f"Back to the best agent so far: it scored {self.best_score:,.0f}.")

    def restore_better(self, play: Callable[[], Sequence[float]]) -> None:
        """Give the agent the weights of the better one: the best that was kept, or the latest.

        The score of the best was the highest of many, so luck had a part in it; and who trains on,
        or resumes, may have a better agent before any score says so. So both play fresh games. The
        better one is kept as the best.

        Args:
            play: Plays several whole games with the agent as it is and returns their points.

        Raises:
            RuntimeError: If there is only a checkpoint of an earlier run, to be restored first.
            ValueError: If the best weights belong to a different agent. Nothing is changed then.
        """
        if self.unrestored:
            raise RuntimeError(self.unrestored)
        if self.best_score == -math.inf:
            print("Training has scored no agent so far: this one plays as it is.")
            return
        latest, best = self._learner.agent_arrays(), self._best_arrays()
        if _are_equal(latest, best):
            print("The latest agent is the best one that was kept.")
            return
        print("The latest agent and the best one that was kept play fresh games:", end=" ")
        latest_score = float(np.mean(play()))
        self._become(best)
        best_score = float(np.mean(play()))
        print(f"{latest_score:,.0f} and {best_score:,.0f} points.", end=" ")
        if latest_score > best_score:
            self._become(latest)
            self._keep_as_best(latest_score, latest)
            print("The latest stays.")
        else:
            print("The best one stays.")

    def _best_arrays(self) -> Arrays:
        return self._checkpoints.read_best() if self._best is None else self._best

    def _become(self, agent_arrays: Arrays) -> None:
        self._learner.restore_agent(agent_arrays)
        self._forget_replaced_agent()

    def _forget_replaced_agent(self) -> None:
        """Drop its snapshots; ignore its games, including those it has begun."""
        self._snapshots.clear()
        n_begun = len(self._pool.prev_observations)
        self._n_ignored_games = len(self._pool.episode_returns) + n_begun

    def _score(self) -> str:
        """The last point in the plot of scores, in words."""
        score = self.rewards_history[-1] if self.rewards_history else math.nan
        if math.isfinite(score):
            return f"latest games {score:,.0f}"
        n_ended = len(self._pool.episode_returns)
        return f"no score yet (games ended in this kernel: {n_ended})"

    def _log(self, name: str, number: float) -> None:
        if self._tensorboard is not None:
            self._tensorboard.add_scalar(name, number, self.n_iterations)

    def _what_diverged(self, rollout: Rollout) -> str:
        observations, _, rewards, _ = rollout
        *earlier_losses, loss = self._losses
        lines = [
            f"The loss of rollout {self.n_iterations + 1:,} is {loss:g}.",
            f"The losses before it: {', '.join(f'{earlier:g}' for earlier in earlier_losses)}",
            f"Norm of the last gradient: {self._learner.gradient_norm():g}",
            f"Rewards: from {rewards.min():g} to {rewards.max():g}",
            f"Observations: from {observations.min():g} to {observations.max():g}",
        ]
        lines += [
            f"{name} of the agent is no longer finite"
            for name, array in self._learner.agent_arrays().items()
            if not np.isfinite(array).all()
        ]
        lines += [
            "Clip gradients, lower the learning rate, or scale rewards down. Then make a new agent "
            "and optimizer, or go back with restore() if there is a checkpoint."
        ]
        return "\n".join(lines)


def measure_rollout(
    agent: Any, rollout: Rollout, prev_memory_states: Sequence[Any], gamma: float
) -> tuple[float, float]:
    """Replay a rollout as the pool played it, and measure what the plots show.

    Args:
        agent: Its `step` returns the new memory and `(logits, state_value)`, of shapes
            `[n_games, n_actions]` and `[n_games]`.
        rollout: Observations, actions, rewards and mask, `[n_games, n_columns, ...]`.
        prev_memory_states: The memory before column 0, arrays `[n_games, ...]`.
        gamma: Discount per tick.

    Returns:
        The policy's mean entropy in nats, and the mean of the squared TD error
        r + gamma * mask * V(next) - V.
    """
    observations, _, rewards, is_not_done = rollout
    n_games, n_columns = rewards.shape
    memory = prev_memory_states
    entropies, values = [], []
    for t in range(n_columns):
        memory, (logits, value) = agent.step(memory, observations[:, t])
        is_over = is_not_done[:, t] == 0
        if is_over.any():
            memory = reset_memory(memory, agent.get_initial_state(n_games), is_over)
        logits = np.asarray(logits, np.float64)
        log_policy = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        entropies.append(-(np.exp(log_policy) * log_policy).sum(-1).mean())
        values.append(np.asarray(value, np.float64).reshape(n_games))
    values = np.stack(values, axis=1)
    targets = rewards[:, :-1] + gamma * is_not_done[:, :-1] * values[:, 1:]
    return float(np.mean(entropies)), float(np.mean((targets - values[:, :-1]) ** 2))


class _NotebookBar(tqdm):
    """A bar with a place of its own in a cell's output.

    What is printed or drawn meanwhile would cut a bar of plain text in two.
    """

    def __init__(self, **options: Any):
        self._handle = None
        super().__init__(file=io.StringIO(), **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        text = str(self) if msg is None else msg
        numbers = self.format_meter(**self.format_dict | {"bar_format": NUMBERS})
        bar = f'<progress value="{self.n}" max="{self.total}" style="width: 40%"></progress>'
        content = {"text/plain": text, "text/html": f"<div>{bar} {numbers}</div>"}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _progress_bar(total: int, initial: int) -> tqdm:
    options = {"total": total, "initial": initial, "mininterval": 1}
    if hasattr(get_ipython(), "kernel"):
        return _NotebookBar(bar_format=f"{{l_bar}}{{bar}}| {NUMBERS}", **options)
    return tqdm(file=sys.stdout, bar_format=f"{{l_bar}}{{bar}}| {NUMBERS}", **options)


class LivePlot:
    """A figure that is redrawn in place, without flicker, and not too often.

    Args:
        draw: Draws the figure and returns it.
    """

    def __init__(self, draw: Callable[[], Figure]):
        self._draw = draw
        self._handle = None
        self._not_before = -math.inf

    def update(self, *, at_once: bool = False) -> None:
        """Redraw the figure unless it was drawn only just now; `at_once` redraws it anyway."""
        started = time.monotonic()
        if started < self._not_before and not at_once:
            return
        figure = self._draw()
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)
        now = time.monotonic()
        self._not_before = now + (now - started) / PLOTTING_SHARE


def _say(text: str) -> None:
    """Print a text in lines that break between words; notebooks break them anywhere."""
    lines = textwrap.fill(text, 80, break_long_words=False, break_on_hyphens=False)
    tqdm.write(lines)  # print would write into a progress bar's line


def _are_equal(first: Arrays, second: Arrays) -> bool:
    return all(np.array_equal(array, second.get(name)) for name, array in first.items())


def _tensorboard_writer(folder: str | Path) -> Any:
    try:
        from tensorboard.summary import Writer
    except ImportError as error:
        raise ModuleNotFoundError("TensorBoard is missing: pip install tensorboard") from error
    return Writer(str(folder))
