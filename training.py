"""Train for minutes or hours and lose nothing: a compiled step, progress, checkpoints, live plots.

The loop itself stays in the notebook, where you can read it: play a rollout, take a gradient step,
tell the `TrainingRun` about it. The run counts, stops when training blows up, keeps what the plots
show, and saves it all now and then.

An *environment step* is one action in one game: a rollout of n columns holds (n - 1) * n_games. A
*tick* steps all games at once.
"""

import contextlib
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from tqdm import tqdm

from env_pool import EnvPool, reset_memory

Rollout = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

SECONDS_BETWEEN_CHECKPOINTS = 120
PLOTTING_SHARE = 0.015  # at most this share of the time goes into plots, on slow machines too
MAX_SNAPSHOTS = 50  # bounds the memory they take where the agent is evaluated very often
EXPLODED_LOSS = 1e12  # the square of a million points: no game earns that many
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
        max_gradient_norm: The compiled step clips gradients to this global norm (Pascanu et al.,
            2013, arXiv:1211.5063); None leaves them alone.
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
        self._framework = _framework_of(agent, optimizer, max_gradient_norm)
        self._file = Path(folder) / "kungfu.npz"
        self._best_file = Path(folder) / "kungfu-best.npz"
        self._owns_files = False
        self._saved_at = time.monotonic()
        self._losses: deque[float] = deque(maxlen=5)
        self._n_ignored_games = 0  # the pool's first games, which a replaced agent played
        self._n_ticks = 0  # ticks learnt from since this run was made
        self._snapshots: deque[tuple[int, dict[str, np.ndarray]]] = deque(maxlen=MAX_SNAPSHOTS)
        self._bar = tqdm(disable=True)
        self._tensorboard = _tensorboard_writer(tensorboard_folder) if tensorboard_folder else None

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
        """
        return self._framework.compiled(train_on_rollout, xla)

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

        def iterations() -> Iterator[int]:
            while self.n_iterations < max_iterations:
                seconds = time.monotonic() - started
                if seconds >= 60 * max_minutes:
                    return
                rate = (self.n_env_steps - n_before) / max(seconds, 1e-9)
                self._bar.set_postfix_str(f"{rate:,.0f} steps/s{self._recent()}", refresh=False)
                number = self.n_iterations + 1
                yield number
                if self.n_iterations != number:
                    raise RuntimeError("call record once in every iteration of the loop")

        self._bar = tqdm(
            total=max_iterations,
            initial=self.n_iterations,
            mininterval=1,
            file=sys.stdout,
            bar_format="{l_bar}{bar}| {n_fmt} of {total_fmt} rollouts in {elapsed}{postfix}",
        )
        try:
            yield iterations()
        except TrainingDivergedError:
            raise
        except KeyboardInterrupt:
            self.save()
        except BaseException:
            self.save()
            raise
        else:
            self.save()
        finally:
            self._bar.close()
        print(f"{self.n_iterations:,} rollouts, {self.n_env_steps:,} steps so far{self._recent()}.")

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
            self.save()

    def measure(self, rollout: Rollout, prev_memory_states: Sequence[Any], gamma: float) -> None:
        """Add the current entropy, value loss and gradient norm to the history.

        Args:
            rollout: What `EnvPool.interact` returned last.
            prev_memory_states: The agent's memory before that rollout.
            gamma: Discount per tick.
        """
        entropy, value_loss = measure_rollout(self._agent, rollout, prev_memory_states, gamma)
        measured = (entropy, value_loss, self._framework.gradient_norm())
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
        self._snapshots.append((self._n_ticks, self._framework.agent_arrays()))
        returns = self._pool.episode_returns[self._n_ignored_games :][-n_games:]
        if len(returns) < n_games:
            self._add_score(math.nan, {})
            return math.nan
        score = float(np.mean(returns))
        self._add_score(score, self._average_agent(n_games))
        if score < go_back_below * self.best_score:
            tqdm.write("The latest games went much worse than the best ones.")
            self.restore_best()
        return score

    def evaluated(self, score: float) -> None:
        """Add a score to the history, and save the agent separately if it is the best so far.

        Args:
            score: Mean points of several whole games: one lucky game does not make a good agent.
        """
        self._add_score(float(score), self._framework.agent_arrays())

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
            self.best_score = score
            self._write(self._best_file, agent_arrays)

    def save(self) -> None:
        """Write the agent, the optimizer, the history and the random state to the checkpoint.

        Raises:
            TrainingDivergedError: If the agent's weights are not finite. Nothing is written then.
        """
        arrays = self._framework.agent_arrays()
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise TrainingDivergedError("the agent's weights are no longer finite numbers")
        arrays |= self._framework.other_arrays()
        arrays |= {f"history_{name}": np.array(self.history[name]) for name in MEASURED}
        arrays |= {f"random_{i}": part for i, part in enumerate(np.random.get_state())}
        arrays |= {
            "n_iterations": self.n_iterations,
            "n_steps": self.n_env_steps,
            "rewards_history": np.array(self.rewards_history),
            "best_score": self.best_score,
        }
        self._write(self._file, arrays)
        self._saved_at = time.monotonic()

    def restore(self) -> None:
        """Continue where the checkpoint left off. Games that the pool has begun do not count.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            ValueError: If it belongs to a different agent or optimizer. Nothing is changed then.
        """
        arrays = _read(self._file)
        self._framework.restore(arrays)
        self._forget_replaced_agent()
        for name in MEASURED:
            self.history[name][:] = arrays[f"history_{name}"].tolist()
        self.rewards_history[:] = arrays["rewards_history"].tolist()
        self.n_iterations = int(arrays["n_iterations"])
        self.n_env_steps = int(arrays["n_steps"])
        self.best_score = float(arrays["best_score"])
        np.random.set_state([arrays[f"random_{i}"][()] for i in range(5)])
        self._owns_files = True
        print(f"Restored: {self.n_iterations:,} rollouts, {self.n_env_steps:,} steps.")

    def restore_best(self) -> None:
        """Give the agent the weights that scored highest so far, if any were saved.

        Raises:
            ValueError: If they belong to a different agent. Nothing is changed then.
        """
        if self.best_score == -math.inf:
            print("No best agent was kept so far: this one stays as it is.")
            return
        self._framework.restore_agent(_read(self._best_file))
        self._forget_replaced_agent()
        # print would write into the progress bar's line.
        tqdm.write(f"Back to the best agent so far: it scored {self.best_score:,.0f}.")

    def _forget_replaced_agent(self) -> None:
        """Drop its snapshots; ignore its games, including those it has begun."""
        self._snapshots.clear()
        n_begun = len(self._pool.prev_observations)
        self._n_ignored_games = len(self._pool.episode_returns) + n_begun

    def _write(self, path: Path, arrays: dict[str, Any]) -> None:
        if not self._owns_files:
            self._move_old_files_aside()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        unfinished.replace(path)  # the old file stays until the new one is complete

    def _move_old_files_aside(self) -> None:
        """Keep the files of an earlier run that was not restored: it may still be needed."""
        stamp = time.strftime("%Y-%m-%d-%H%M%S")
        for path in filter(Path.exists, (self._file, self._best_file)):
            aside = path.with_stem(f"{path.stem}-until-{stamp}")
            path.replace(aside)
            print(f"There was a checkpoint of an earlier run. It is now {aside}.")
        self._owns_files = True

    def _recent(self) -> str:
        returns = self._pool.episode_returns[-20:]
        return f", last {len(returns)} training games {np.mean(returns):,.0f}" if returns else ""

    def _log(self, name: str, number: float) -> None:
        if self._tensorboard is not None:
            self._tensorboard.add_scalar(name, number, self.n_iterations)

    def _what_diverged(self, rollout: Rollout) -> str:
        observations, _, rewards, _ = rollout
        *earlier_losses, loss = self._losses
        lines = [
            f"The loss of rollout {self.n_iterations + 1:,} is {loss:g}.",
            f"The losses before it: {', '.join(f'{earlier:g}' for earlier in earlier_losses)}",
            f"Norm of the last gradient: {self._framework.gradient_norm():g}",
            f"Rewards: from {rewards.min():g} to {rewards.max():g}",
            f"Observations: from {observations.min():g} to {observations.max():g}",
        ]
        lines += [
            f"{name} of the agent is no longer finite"
            for name, array in self._framework.agent_arrays().items()
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


# --------------------------------------------------------------------------------- the frameworks


class _TensorFlow:
    """What a run needs from TensorFlow: graphs, variables as arrays, the gradient's norm."""

    def __init__(self, agent: Any, optimizer: Any, max_gradient_norm: float | None):
        self._tf = sys.modules["tensorflow"]
        self._agent = agent
        self._optimizer = optimizer
        self._max_norm = max_gradient_norm
        self._norm = self._tf.Variable(math.nan, trainable=False)
        if not optimizer.built:  # a graph can use an optimizer's variables, but not create them
            optimizer.build(agent.trainable_variables)

    def compiled(self, train_on_rollout: Callable[..., Any], xla: bool) -> Callable[..., Any]:
        function = None

        def step(*arguments: Any) -> Any:
            nonlocal function
            with self._gradients_clipped():
                if function is None:
                    function = self._tf.function(train_on_rollout, jit_compile=xla)
                    try:
                        function.get_concrete_function(*arguments)
                    except Exception as error:
                        reason = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0]
                        print(f"Training runs uncompiled, which is slower: {reason}")
                        function = train_on_rollout
                return function(*arguments)

        return step

    @contextlib.contextmanager
    def _gradients_clipped(self) -> Iterator[None]:
        optimizer, tf = self._optimizer, self._tf
        apply = optimizer.apply

        def clip_and_apply(grads: Sequence[Any], *arguments: Any, **options: Any) -> Any:
            self._norm.assign(tf.linalg.global_norm(grads))
            if self._max_norm is not None:
                grads, _ = tf.clip_by_global_norm(grads, self._max_norm, use_norm=self._norm)
            return apply(grads, *arguments, **options)

        optimizer.apply = clip_and_apply
        try:
            yield
        finally:
            del optimizer.apply

    def gradient_norm(self) -> float:
        return float(self._norm)

    def agent_arrays(self) -> dict[str, np.ndarray]:
        return {name: variable.numpy() for name, variable in self._agent_variables().items()}

    def other_arrays(self) -> dict[str, np.ndarray]:
        return {name: variable.numpy() for name, variable in self._optimizer_variables().items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        _assign(self._agent_variables() | self._optimizer_variables(), arrays)

    def restore_agent(self, arrays: dict[str, np.ndarray]) -> None:
        _assign(self._agent_variables(), arrays)

    def _agent_variables(self) -> dict[str, Any]:
        return {f"agent_{i}": v for i, v in enumerate(self._agent.trainable_variables)}

    def _optimizer_variables(self) -> dict[str, Any]:
        # The learning rate is a setting: a new one must survive a restored checkpoint.
        rate = getattr(self._optimizer, "_learning_rate", None)
        variables = (variable for variable in self._optimizer.variables if variable is not rate)
        return {f"optimizer_{i}": variable for i, variable in enumerate(variables)}


class _PyTorch:
    """What a run needs from PyTorch: tensors as arrays, the gradient's norm. No compiling."""

    def __init__(self, agent: Any, optimizer: Any, max_gradient_norm: float | None):
        self._torch = sys.modules["torch"]
        self._agent = agent
        self._optimizer = optimizer
        self._max_norm = math.inf if max_gradient_norm is None else max_gradient_norm
        self._norm = math.nan

    def compiled(self, train_on_rollout: Callable[..., Any], xla: bool) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            clipping = self._optimizer.register_step_pre_hook(self._clip_gradients)
            try:
                return train_on_rollout(*arguments)
            finally:
                clipping.remove()

        return step

    def _clip_gradients(self, *_: Any) -> None:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._norm = self._torch.nn.utils.clip_grad_norm_(parameters, self._max_norm)

    def gradient_norm(self) -> float:
        return float(self._norm)

    def agent_arrays(self) -> dict[str, np.ndarray]:
        state = self._agent.state_dict()
        return {f"agent_{name}": tensor.cpu().numpy().copy() for name, tensor in state.items()}

    def other_arrays(self) -> dict[str, np.ndarray]:
        arrays = {"random_torch": self._torch.get_rng_state().numpy().copy()}
        for i, state in self._optimizer.state_dict()["state"].items():
            arrays |= {
                f"optimizer_{i}_{name}": self._torch.as_tensor(part).cpu().numpy().copy()
                for name, part in state.items()
            }
        return arrays

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.restore_agent(arrays)
        states: dict[int, dict[str, Any]] = {}
        for key, array in arrays.items():
            if key.startswith("optimizer_"):
                _, i, name = key.split("_", 2)
                states.setdefault(int(i), {})[name] = self._torch.as_tensor(array)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": states, "param_groups": groups})
        self._torch.set_rng_state(self._torch.as_tensor(arrays["random_torch"]))

    def restore_agent(self, arrays: dict[str, np.ndarray]) -> None:
        own = self.agent_arrays()
        _check_shapes(arrays, own)
        state = {name.removeprefix("agent_"): self._torch.as_tensor(arrays[name]) for name in own}
        self._agent.load_state_dict(state)


def _framework_of(
    agent: Any, optimizer: Any, max_gradient_norm: float | None
) -> _TensorFlow | _PyTorch:
    origins = {kind.__module__.partition(".")[0] for kind in type(optimizer).__mro__}
    if "keras" in origins:
        return _TensorFlow(agent, optimizer, max_gradient_norm)
    if "torch" in origins:
        return _PyTorch(agent, optimizer, max_gradient_norm)
    raise TypeError(f"optimizer must come from keras.optimizers or torch.optim, got {optimizer!r}")


def _assign(variables: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    _check_shapes(arrays, variables)
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _check_shapes(arrays: dict[str, np.ndarray], expected: dict[str, Any]) -> None:
    for name, array in expected.items():
        shape, found = tuple(array.shape), arrays[name].shape if name in arrays else "none"
        if found != shape:
            raise ValueError(
                "the checkpoint belongs to a different agent or optimizer: "
                f"{name} must have the shape {shape}, found {found}"
            )


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def _tensorboard_writer(folder: str | Path) -> Any:
    try:
        from tensorboard.summary import Writer
    except ImportError as error:
        raise ModuleNotFoundError("TensorBoard is missing: pip install tensorboard") from error
    return Writer(str(folder))
