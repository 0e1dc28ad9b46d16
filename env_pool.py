"""Play several games side by side and return what happened as rectangular rollouts.

A *tick* is one column of a rollout; every tick but the last is *acted on*. Each game ends and
restarts in its own time, in Gymnasium's `AutoresetMode.NEXT_STEP`. Here is a rollout of 6 columns
in which a game ends after three actions (`o3` is its last observation, `n0` the next game's first):

    column:        0    1    2    3    4    5
    observation:   o0   o1   o2   o3   n0   n1
    action:        a0   a1   a2   (a)  b0   0     the game ignores the action drawn for o3;
    reward:        r0   r1   r2   0    s0   0     the last column is not acted on
    is_not_done:   1    1    1    0    1    1
    memory:        m0   m1   m2   m3   i    m'    `i` is the agent's initial state

Column 3 is a *reset tick*. The last column comes back as column 0 of the next rollout, with the
same memory, and is acted on there.
"""

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from tqdm import tqdm

from atari_util import checked_integer, emulator_seed, make_atari_vector_env

VECTORIZATION_MODES = ("sync", "async", "ale_threads")
ARRAY_SPACES = (
    gym.spaces.Box,
    gym.spaces.Discrete,
    gym.spaces.MultiBinary,
    gym.spaces.MultiDiscrete,
)


class EnvPool:
    """Several copies of a game, and one agent that plays them all.

    The agent has three methods. Its memory is a list or tuple of arrays `[n_games, ...]`: NumPy
    arrays, TensorFlow tensors or PyTorch tensors.

    * `get_initial_state(batch_size)` returns the memory with which games start;
    * `step(memory, observations)` returns the new memory and any outputs;
    * `sample_actions(outputs)` returns integer actions `[n_games]`.

    Example:
        >>> with EnvPool(agent, make_env, n_parallel_games=5, seed=1) as pool:  # doctest: +SKIP
        ...     observations, actions, rewards, is_not_done = pool.interact(10)

    Args:
        agent: Plays the games. You may replace `pool.agent` between rollouts.
        make_env: Makes a new game at each call, with discrete actions and with arrays of numbers,
            or numbers, as observations.
        n_parallel_games: Number of games, `n_games` in shapes; the field says *num_envs*.
        vectorization_mode: `'sync'` steps the games one after the other. `'async'` steps each in
            its own process (a script then needs the usual `if __name__ == '__main__':`).
            `'ale_threads'` steps Atari games in the emulator's own threads;
            `atari_util.make_atari_vector_env` says which games it supports.
        seed: Seeds the games, so that the same actions give the same rollouts; None for games that
            differ from run to run. It does not seed the agent. The first games are the same in
            every mode; later ones differ with `'ale_threads'`.

    Attributes:
        agent: The argument of that name.
        prev_observations: The last column of the last rollout, float32 `[n_games, ...]`.
        prev_memory_states: The agent's memory before it sees `prev_observations`, which is where
            training on the next rollout starts. A list or tuple, as the agent returns it, of
            PyTorch tensors or NumPy arrays. Every rollout makes a new one.
        reward_scale: Factor between the game's own points and rewards.
        seeds: The seed of each game, or None.
        episode_returns: The points of every finished game, in order of finishing, as the game
            counts them: not multiplied by `reward_scale`.
        episode_lengths: Number of actions taken in each of these games.

    Raises:
        ValueError: If an argument, a game or the agent's initial state is not as described above.
    """

    def __init__(
        self,
        agent: Any,
        make_env: Callable[[], gym.Env],
        n_parallel_games: int = 1,
        *,
        vectorization_mode: str = "sync",
        seed: int | None = None,
    ):
        n_games = checked_integer("n_parallel_games", n_parallel_games, minimum=1)
        _check_agent(agent)
        if not callable(make_env):
            raise ValueError(f"make_env must be a function that makes one game, got {make_env!r}")
        if vectorization_mode not in VECTORIZATION_MODES:
            raise ValueError(
                f"vectorization_mode must be one of {VECTORIZATION_MODES}, "
                f"got {vectorization_mode!r}"
            )
        self.seeds = (
            None if seed is None else _game_seeds(checked_integer("seed", seed, minimum=0), n_games)
        )
        initial_states = _snapshot(agent.get_initial_state(n_games), n_games)

        self.agent = agent
        self._n_games = n_games
        self._env, self.reward_scale = _make_vector_env(make_env, n_games, vectorization_mode)
        action_space = self._env.single_action_space
        if not isinstance(action_space, gym.spaces.Discrete):
            self.close()
            raise ValueError(f"the games must have a Discrete action space, got {action_space}")
        observation_space = self._env.single_observation_space
        if not isinstance(observation_space, ARRAY_SPACES):
            self.close()
            raise ValueError(
                f"the games must have arrays of numbers as observations, got {observation_space}"
            )
        self._first_action = int(action_space.start)
        self._last_action = int(action_space.start + action_space.n - 1)

        self.prev_memory_states = initial_states
        self.episode_returns: list[float] = []
        self.episode_lengths: list[int] = []
        self._is_over = np.zeros(n_games, bool)
        self._scaled_returns = np.zeros(n_games)
        self._lengths = np.zeros(n_games, int)
        observations, _ = self._env.reset(seed=self.seeds)
        self.prev_observations = self._checked_numbers("observations", observations, self._lengths)

    def interact(
        self, n_steps: int = 100, verbose: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Continue where the last call stopped, and return a rollout of `n_steps` columns.

        Each game is stepped `n_steps - 1` times, since column 0 repeats the last column of the
        previous call. Arrays and memories returned earlier never change.

        Args:
            n_steps: Number of columns, at least 1.
            verbose: Show a progress bar.

        Returns:
            observations: float32 `[n_games, n_steps, ...]`.
            actions: int32 `[n_games, n_steps]`; 0 in the last column.
            rewards: float32 `[n_games, n_steps]`, earned by the action in the same column; 0 on
                reset ticks and in the last column.
            is_not_done: float32 `[n_games, n_steps]`; 0 where the observation is the last of a
                game, terminated or truncated, and 1 elsewhere. Other libraries multiply it by gamma
                and call it *discount*.

        Raises:
            ValueError: If `n_steps` is not a positive integer, the agent's memory or actions have
                the wrong shape or type, the game has no such action, or what a game answers has
                the wrong shape or type, or is not finite.
        """
        n_steps = checked_integer("n_steps", n_steps, minimum=1)
        shape = (self._n_games, n_steps)
        observations = np.empty(shape + self.prev_observations.shape[1:], np.float32)
        actions = np.zeros(shape, np.int32)
        rewards = np.zeros(shape, np.float32)
        is_not_done = np.empty(shape, np.float32)

        # Callers may hold these arrays: an agent that works in place must not reach them.
        memory_states = _snapshot(self.prev_memory_states, self._n_games)
        observation = self.prev_observations.copy()
        try:
            for t in tqdm(range(n_steps - 1), disable=not verbose):
                observations[:, t] = observation
                is_not_done[:, t] = ~self._is_over
                new_memory_states, outputs = _checked_answer(
                    "agent.step",
                    ("the new memory", "outputs"),
                    self.agent.step(memory_states, observation),
                )
                played = self._checked_actions(self.agent.sample_actions(outputs))
                if self._is_over.any():
                    initial_states = self.agent.get_initial_state(self._n_games)
                    new_memory_states = reset_memory(
                        new_memory_states, initial_states, self._is_over
                    )
                actions[:, t] = played
                with _interrupts_wait():
                    observation, rewards[:, t] = self._step_games(played)
                    memory_states = new_memory_states
            observations[:, -1] = observation
            is_not_done[:, -1] = ~self._is_over
        finally:
            # An interrupted rollout is lost, but the games can continue from here.
            self.prev_observations = observation
            self.prev_memory_states = _snapshot(memory_states, self._n_games)
        return observations, actions, rewards, is_not_done

    def close(self) -> None:
        """End the games and any processes they run in. Calling it twice does no harm."""
        self._env.close()

    def __enter__(self) -> "EnvPool":
        return self

    def __exit__(self, *exception_info: object) -> None:
        self.close()

    def _step_games(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        was_over = self._is_over
        observations, rewards, terminated, truncated, _ = self._env.step(actions)
        self._is_over = terminated | truncated
        self._checked_numbers("rewards", rewards, self._lengths)
        self._scaled_returns += rewards
        self._lengths += ~was_over
        observations = self._checked_numbers("observations", observations, self._lengths)
        for game in np.flatnonzero(self._is_over):
            self.episode_returns.append(float(self._scaled_returns[game] / self.reward_scale))
            self.episode_lengths.append(int(self._lengths[game]))
            self._scaled_returns[game] = 0
            self._lengths[game] = 0
        return observations, rewards

    @staticmethod
    def _checked_numbers(what: str, numbers: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """Return what all games answered as float32 `[n_games, ...]`, if it is finite.

        Args:
            what: What it is.
            numbers: The answers.
            ticks: The tick that each game has come to.
        """
        with np.errstate(over="ignore"):  # too large for float32: infinite
            converted = np.asarray(numbers, np.float32)
        is_finite = np.isfinite(converted)
        if not is_finite.all():
            game = int(np.argwhere(~is_finite)[0, 0])
            raise ValueError(
                f"the games' {what} must be finite numbers, got {numbers[~is_finite][0]} in game "
                f"{game}, tick {ticks[game]} (both count from 0)"
            )
        return converted

    def _checked_actions(self, actions: Any) -> np.ndarray:
        returned, actions = actions, _as_numbers(actions)
        if actions.shape != (self._n_games,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"agent.sample_actions must return {self._n_games} integers, one for each game, "
                f"got {_kind_of(returned)}"
            )
        if actions.min() < self._first_action or actions.max() > self._last_action:
            raise ValueError(
                f"agent.sample_actions must return actions from {self._first_action} to "
                f"{self._last_action}, got {actions.tolist()}"
            )
        return actions.astype(np.int32)


def play_games(
    agent: Any,
    make_env: Callable[[], gym.Env],
    n_games: int = 20,
    *,
    vectorization_mode: str = "sync",
    seed: int | None = None,
) -> list[float]:
    """Play whole games side by side, one in each environment, and return their points.

    Only the first game of each environment counts. The first `n_games` to finish would be the short
    ones, which are the bad ones.

    Args:
        agent: Plays the games, as in `EnvPool`.
        make_env: Makes a new game at each call.
        n_games: Number of games.
        vectorization_mode: As in `EnvPool`.
        seed: As in `EnvPool`.

    Returns:
        The points of each game, as the game counts them.

    Raises:
        ValueError: As in `EnvPool`.
    """
    n_games = checked_integer("n_games", n_games, minimum=1)
    with EnvPool(
        agent, make_env, n_games, vectorization_mode=vectorization_mode, seed=seed
    ) as pool:
        scores = np.zeros(n_games)
        is_first_game = np.ones(n_games, bool)
        while is_first_game.any():
            _, _, rewards, is_not_done = pool.interact(20)
            counts = np.minimum.accumulate(is_not_done, axis=1) * is_first_game[:, np.newaxis]
            scores += (rewards * counts).sum(axis=1)
            is_first_game = counts[:, -1] > 0
        return (scores / pool.reward_scale).tolist()


def reset_memory(
    memory_states: Sequence[Any], initial_states: Sequence[Any], is_reset: np.ndarray
) -> list[Any] | tuple[Any, ...]:
    """Return the memory with some games put back to their initial state.

    Args:
        memory_states: Arrays `[n_games, ...]`: NumPy, TensorFlow or PyTorch. They are not changed.
        initial_states: Arrays of the same shapes.
        is_reset: bool `[n_games]`, which games to put back.

    Returns:
        A list or tuple like `memory_states`, of PyTorch tensors where it has them and NumPy arrays
        elsewhere.

    Raises:
        ValueError: If the shapes are not the same.
    """

    def put_back(state: Any, initial: Any) -> Any:
        mask = is_reset.reshape((-1,) + (1,) * (len(state.shape) - 1))
        if _is_torch_tensor(state):
            torch = sys.modules["torch"]
            initial = torch.as_tensor(initial, dtype=state.dtype, device=state.device)
            return torch.where(torch.as_tensor(mask, device=state.device), initial, state)
        state = np.asarray(state)
        return np.where(mask, np.asarray(initial, state.dtype), state)

    shapes = [tuple(np.shape(state)) for state in memory_states]
    expected = [tuple(np.shape(state)) for state in initial_states]
    if shapes != expected:
        raise ValueError(
            f"the agent's memory must keep the shapes that get_initial_state gives it, {expected}, "
            f"got {shapes}"
        )
    pairs = zip(memory_states, initial_states, strict=True)
    return _like(memory_states, [put_back(state, initial) for state, initial in pairs])


def _snapshot(memory_states: Any, n_games: int) -> list[Any] | tuple[Any, ...]:
    """Copy an agent's memory after validating it."""
    if not isinstance(memory_states, (list, tuple)):
        raise ValueError(
            "the agent's memory must be a list or tuple of arrays [n_games, ...], "
            f"got {type(memory_states).__name__}"
        )
    copies = [
        state.detach().clone() if _is_torch_tensor(state) else np.array(state)
        for state in memory_states
    ]
    shapes = [tuple(state.shape) for state in copies]
    if any(shape[:1] != (n_games,) for shape in shapes):
        raise ValueError(
            f"every array of the agent's memory must be [n_games={n_games}, ...], "
            f"got the shapes {shapes}"
        )
    return _like(memory_states, copies)


def _like(container: Sequence[Any], items: list[Any]) -> list[Any] | tuple[Any, ...]:
    return tuple(items) if isinstance(container, tuple) else items


def _is_torch_tensor(array: Any) -> bool:
    # There are tensors only where PyTorch is imported; importing it here would take seconds.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


class _CheckedGame(gym.Wrapper):
    """A game whose answers are what the pool relies on, or are named.

    It leaves out the infos. The pool needs none, and infos of several games cannot be joined where
    their arrays change shape.
    """

    def reset(self, **options: Any) -> tuple[np.ndarray, dict]:
        answer = self.env.reset(**options)
        observation, _ = _checked_answer("a game's reset", ("observation", "info"), answer)
        return self._checked_observation(observation), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        what = ("observation", "reward", "terminated", "truncated", "info")
        answer = _checked_answer("a game's step", what, self.env.step(action))
        observation, reward, terminated, truncated, _ = answer
        number = _as_numbers(reward)
        if number.size != 1 or number.dtype.kind not in "biuf":
            raise ValueError(f"a game's reward must be one number, got {_kind_of(reward)}")
        ends = bool(terminated), bool(truncated)
        return self._checked_observation(observation), float(number.item()), *ends, {}

    def _checked_observation(self, observation: Any) -> np.ndarray:
        """Return an observation in the type that the game's observation space has."""
        space, array = self.observation_space, _as_numbers(observation)
        if array.dtype.kind not in "biuf" or array.shape != space.shape:
            raise ValueError(
                f"a game's observations must be {space.dtype} {space.shape}, as its "
                f"observation_space says, got {_kind_of(observation)}"
            )
        with np.errstate(invalid="ignore"):
            converted = array.astype(space.dtype, copy=False)
        if space.dtype.kind in "biu" and not np.array_equal(converted, array):
            raise ValueError(
                f"a game's observations must be {space.dtype}, as its observation_space says, got "
                f"{array.dtype} that cannot be converted"
            )
        return converted


def _check_agent(agent: Any) -> None:
    if isinstance(agent, type):
        raise ValueError(f"agent must be an agent, got its class: {agent.__name__}(...) makes one")
    for name in ("get_initial_state", "step", "sample_actions"):
        if not callable(getattr(agent, name, None)):
            raise ValueError(f"agent must have a method {name}, got {agent!r:.100}")


def _checked_answer(function: str, what: Sequence[str], answer: Any) -> Sequence[Any]:
    """Return what a function returned, if it is as many things as it should be."""
    if not isinstance(answer, (tuple, list)) or len(answer) != len(what):
        found = f"{len(answer)} things" if isinstance(answer, (tuple, list)) else _kind_of(answer)
        raise ValueError(f"{function} must return {', '.join(what)}, got {found}")
    return answer


def _as_numbers(value: Any) -> np.ndarray:
    """Return an array, of type object where a value is no rectangular one."""
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths
        return np.asarray(None)


def _kind_of(value: Any) -> str:
    """Say what a value is, for a message: its type, and its shape or the value itself."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"{type(value).__name__}: {value!r:.100}"


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold back an interrupt until the games have been stepped, so that none falls out of step.

    A second one is not held back: a game may hang.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # interrupts arrive elsewhere, or are ignored
        return
    held_back = []

    def hold_back(*interrupt: Any) -> None:
        if held_back:
            handler(*interrupt)
        held_back.append(interrupt)

    signal.signal(signal.SIGINT, hold_back)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if held_back:
        handler(*held_back[0])


def _make_game_in_process(make_env: Callable[[], gym.Env], parent: int) -> _CheckedGame:
    """Make a game in a process of its own, which leaves interrupts to its parent.

    A notebook's stop button interrupts the processes of all games as well.
    """
    if os.getpid() != parent:  # Gymnasium makes one in the parent, too
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _make_game(make_env)


def _make_game(make_env: Callable[[], gym.Env]) -> _CheckedGame:
    game = make_env()
    if not isinstance(game, gym.Env):
        hint = ": does it lack a `return`?" if game is None else ""
        raise ValueError(f"make_env must return one game, a gymnasium.Env, got {game!r}{hint}")
    return _CheckedGame(game)


def _make_games(make_env: Callable[[], gym.Env], n_games: int) -> list[_CheckedGame]:
    """Make some games, none of which is another one or a wrapper around it."""
    games = [_make_game(make_env) for _ in range(n_games)]
    if len({id(game.unwrapped) for game in games}) < n_games:
        raise ValueError(
            "make_env must make a new game at each call, got the same one again: what makes it, "
            "like gym.make, belongs inside the function"
        )
    return games


def _make_vector_env(
    make_env: Callable[[], gym.Env], n_games: int, vectorization_mode: str
) -> tuple[VectorEnv, float]:
    """Return the games, in NEXT_STEP mode, and their `reward_scale`."""
    # Other modes make their games elsewhere; two that are not played show whether that will do.
    games = _make_games(make_env, n_games if vectorization_mode == "sync" else min(n_games, 2))
    if vectorization_mode == "sync":
        vector_env = SyncVectorEnv([lambda game=game: game for game in games])
    else:
        for game in games:
            game.close()
    if vectorization_mode == "ale_threads":
        vector_env = make_atari_vector_env(games[0].env, n_games)
        return vector_env, vector_env.reward_scale

    if vectorization_mode == "async":
        # A fork would copy locks held by TensorFlow's or OpenCV's threads, never to be released.
        start_methods = multiprocessing.get_all_start_methods()
        context = "forkserver" if "forkserver" in start_methods else "spawn"
        makers = [functools.partial(_make_game_in_process, make_env, os.getpid())] * n_games
        vector_env = AsyncVectorEnv(makers, context=context)
    is_scaled = vector_env.call("has_wrapper_attr", "reward_scale")[0]
    return vector_env, vector_env.get_attr("reward_scale")[0] if is_scaled else 1


def _game_seeds(seed: int, n_games: int) -> list[int]:
    """Return the first `n_games` seeds from `seed` up that every vectorization mode can play.

    The emulator's vector environment takes only 31 of an emulator seed's 32 bits, which rules out
    about half of all numbers.
    """
    playable = (number for number in itertools.count(seed) if emulator_seed(number) < 2**31)
    return list(itertools.islice(playable, n_games))
