"""A counting game with literal results for every tick, then real Kung-Fu in every mode.

Observations of the counting game say where it is: tick 3 of the third game is 203. An action in
tick t earns 2**t.
"""

import itertools
import signal

import gymnasium as gym
import numpy as np
import pytest

from atari_util import PreprocessAtari
from env_pool import EnvPool, play_games, reset_memory


class CountingEnv(gym.Env):
    """Games of the given lengths; the last length repeats for ever."""

    def __init__(self, *lengths, truncates=False, n_actions=3):
        self.observation_space = gym.spaces.Box(0, 10_000, (1,), np.int64)
        self.action_space = gym.spaces.Discrete(n_actions)
        self.lengths = itertools.chain(lengths, itertools.repeat(lengths[-1]))
        self.truncates = truncates
        self.game = -1
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed = seed if seed is not None else getattr(self, "seed", None)
        self.game += 1
        self.tick = 0
        self.length = next(self.lengths)
        return self._observation(), {}

    def step(self, action):
        assert self.tick < self.length, "stepped after the end"
        self.actions.append(int(action))
        reward = 2.0**self.tick
        self.tick += 1
        is_over = self.tick == self.length
        ends = (is_over and not self.truncates, is_over and self.truncates)
        return self._observation(), reward, *ends, {}

    def _observation(self):
        return np.array([100 * self.game + self.tick])


class ConvertingAgent:
    """Counts the steps since the game began, in an array of the kind that `convert` makes.

    Its actions are 0, 1, 2, 0...; it notes what it was shown.
    """

    def __init__(self, convert=np.asarray, container=list):
        self.convert = convert
        self.container = container
        self.seen_memories = []
        self.seen_observations = []

    def get_initial_state(self, batch_size):
        return self.container([self.convert(np.zeros((batch_size, 2), np.float32))])

    def step(self, memory, observations):
        (count,) = memory
        self.seen_memories.append(np.asarray(count)[:, 0].tolist())
        self.seen_observations.append(observations)
        return self.container([count + 1]), count

    def sample_actions(self, count):
        return self.convert(np.asarray(count)[:, 0].astype(int) % 3)


def pool_of(*games, agent=None, **options):
    """A pool with these games, in this order."""
    makers = iter(games)
    return EnvPool(agent or ConvertingAgent(), lambda: next(makers), len(games), **options)


def tables(rollout):
    """Returns a rollout as nested lists, the observations without their last axis."""
    observations, actions, rewards, is_not_done = rollout
    return [table.tolist() for table in (observations[..., 0], actions, rewards, is_not_done)]


# Time in a rollout.


@pytest.mark.parametrize("truncates", [False, True])
def test_a_game_that_ends_in_the_middle(truncates):
    pool = pool_of(CountingEnv(3, truncates=truncates))
    assert tables(pool.interact(6)) == [
        [[0, 1, 2, 3, 100, 101]],
        [[0, 1, 2, 0, 0, 0]],
        [[1, 2, 4, 0, 1, 0]],
        [[1, 1, 1, 0, 1, 1]],
    ]
    assert tables(pool.interact(6)) == [
        [[101, 102, 103, 200, 201, 202]],
        [[1, 2, 0, 0, 1, 0]],
        [[2, 4, 0, 1, 2, 0]],
        [[1, 1, 0, 1, 1, 1]],
    ]


@pytest.mark.parametrize("truncates", [False, True])
def test_a_game_that_ends_in_the_last_column_is_over_in_the_next_first_one(truncates):
    pool = pool_of(CountingEnv(3, truncates=truncates))
    assert tables(pool.interact(4)) == [
        [[0, 1, 2, 3]],
        [[0, 1, 2, 0]],
        [[1, 2, 4, 0]],
        [[1, 1, 1, 0]],
    ]
    assert tables(pool.interact(3)) == [
        [[3, 100, 101]],
        [[0, 0, 0]],
        [[0, 1, 0]],
        [[0, 1, 1]],
    ]


def test_games_that_end_again_and_again():
    pool = pool_of(CountingEnv(1))
    assert tables(pool.interact(5)) == [
        [[0, 1, 100, 101, 200]],
        [[0, 1, 0, 1, 0]],
        [[1, 0, 1, 0, 0]],
        [[1, 0, 1, 0, 1]],
    ]


def test_several_games_that_end_at_once_and_apart():
    pool = pool_of(CountingEnv(2), CountingEnv(2, 1), CountingEnv(3, truncates=True))
    observations, _, rewards, is_not_done = tables(pool.interact(6))
    assert observations == [
        [0, 1, 2, 100, 101, 102],
        [0, 1, 2, 100, 101, 200],
        [0, 1, 2, 3, 100, 101],
    ]
    assert rewards == [[1, 2, 0, 1, 2, 0], [1, 2, 0, 1, 0, 0], [1, 2, 4, 0, 1, 0]]
    assert is_not_done == [[1, 1, 0, 1, 1, 0], [1, 1, 0, 1, 0, 1], [1, 1, 1, 0, 1, 1]]
    assert pool.episode_returns == [3, 3, 7, 1, 3]
    assert pool.episode_lengths == [2, 2, 3, 1, 2]


def test_a_game_takes_every_recorded_action_but_those_of_reset_ticks():
    games = CountingEnv(3), CountingEnv(2)
    pool = pool_of(*games)
    recorded = [[], []]
    for _ in range(3):
        _, actions, _, is_not_done = pool.interact(5)
        for i in range(2):
            recorded[i] += actions[i, :-1][is_not_done[i, :-1] == 1].tolist()
    assert recorded == [game.actions for game in games]


def test_returns_of_the_worked_example_follow_from_the_masks():
    values = {0: 10, 1: 20, 2: 30, 3: 40, 100: 50}
    observations, _, rewards, is_not_done = pool_of(CountingEnv(3)).interact(5)
    v = np.vectorize(values.get)(observations[0, :, 0])
    r, m = rewards[0], is_not_done[0]
    returns = [m[4] * v[4]]
    for t in (3, 2, 1, 0):
        returns.insert(0, r[t] + 0.5 * m[t] * returns[0])
    assert returns == [3, 4, 4, 0, 50]
    assert (r[:4] + 0.5 * m[:4] * v[1:]).tolist() == [11, 17, 24, 0]


def test_one_column_is_a_look_without_a_step():
    pool = pool_of(CountingEnv(3))
    for _ in range(2):
        assert tables(pool.interact(1)) == [[[0]], [[0]], [[0]], [[1]]]


def test_types_are_those_that_training_expects():
    pool = pool_of(CountingEnv(3))
    types = [array.dtype for array in (*pool.interact(2), pool.prev_observations)]
    assert types == [np.float32, np.int32, np.float32, np.float32, np.float32]


# The agent's memory.


def numpy_kind():
    return np.asarray, np.ndarray


def tensorflow_kind():
    import tensorflow as tf

    return tf.constant, np.ndarray


def torch_kind():
    import torch

    return torch.tensor, torch.Tensor


TENSORFLOW_KIND = pytest.param(tensorflow_kind, marks=pytest.mark.tensorflow)
TORCH_KIND = pytest.param(torch_kind, marks=pytest.mark.pytorch)


@pytest.mark.parametrize("container", [list, tuple])
@pytest.mark.parametrize("kind", [numpy_kind, TENSORFLOW_KIND, TORCH_KIND])
def test_memory_starts_anew_with_each_game(kind, container):
    convert, kept_as = kind()
    agent = ConvertingAgent(convert, container)
    pool = pool_of(CountingEnv(3), CountingEnv(1, 4), agent=agent)
    for n_steps, expected in ((4, [3, 1]), (1, [3, 1]), (2, [0, 2]), (2, [1, 3])):
        pool.interact(n_steps)
        assert type(pool.prev_memory_states) is container
        (memory,) = pool.prev_memory_states
        assert isinstance(memory, kept_as)
        assert str(memory.dtype).endswith("float32")
        assert memory.tolist() == [[count, count] for count in expected]
    # Games of 0 1 2 3 | 0 1 and of 0 1 | 0 1 2 3: the memory counts what the game counts.
    assert agent.seen_memories == [[0, 0], [1, 1], [2, 0], [3, 1], [0, 2]]
    assert [(seen[:, 0] % 100).tolist() for seen in agent.seen_observations] == agent.seen_memories


def test_a_learned_initial_state_is_asked_for_anew():
    agent = ConvertingAgent()
    pool = pool_of(CountingEnv(2), agent=agent)
    agent.get_initial_state = lambda batch_size: [np.full((batch_size, 2), 50.0)]
    pool.interact(5)
    assert agent.seen_memories == [[0], [1], [2], [50]]
    assert pool.prev_memory_states[0].dtype == np.float32


@pytest.mark.parametrize("kind", [numpy_kind, TORCH_KIND])
def test_memories_are_put_back_without_touching_the_old_ones(kind):
    convert, kept_as = kind()
    memory = (convert(np.float32([[1, 2], [3, 4]])), convert(np.float32([5, 6])))
    initial = (convert(np.float32([[7, 7], [8, 8]])), convert(np.float32([9, 9])))
    result = reset_memory(memory, initial, np.array([False, True]))
    assert isinstance(result, tuple) and all(isinstance(state, kept_as) for state in result)
    assert [state.tolist() for state in result] == [[[1, 2], [8, 8]], [5, 9]]
    assert [state.tolist() for state in memory] == [[[1, 2], [3, 4]], [5, 6]]


class InPlaceAgent(ConvertingAgent):
    """Updates a single array in place, as an agent might to save memory."""

    def step(self, memory, observations):
        memory[0] += 1
        observations += 1
        return memory, memory[0]


@pytest.mark.parametrize("agent", [ConvertingAgent, InPlaceAgent])
def test_what_was_handed_out_never_changes(agent):
    pool = pool_of(CountingEnv(3), CountingEnv(5), agent=agent())
    handed_out = [*pool.prev_memory_states, pool.prev_observations]
    handed_out += [*pool.interact(5), *pool.prev_memory_states, pool.prev_observations]
    remembered = [array.copy() for array in handed_out]
    pool.interact(10)
    for array, as_it_was in zip(handed_out, remembered, strict=True):
        np.testing.assert_array_equal(array, as_it_was)


def test_observations_shown_to_the_agent_never_change():
    agent = ConvertingAgent()
    pool = pool_of(CountingEnv(3), agent=agent)
    pool.interact(6)
    assert [int(seen[0, 0]) for seen in agent.seen_observations] == [0, 1, 2, 3, 100]


# What a game of one's own may answer.


class AnsweringEnv(CountingEnv):
    """A counting game in which some answers are replaced by what functions of the tick return."""

    def __init__(self, **answers):
        super().__init__(3)
        self.answers = answers

    def _answer(self, name, answer):
        return self.answers[name](self.tick) if name in self.answers else answer

    def reset(self, *, seed=None, options=None):
        observation, _ = super().reset(seed=seed)
        return self._answer("reset", (observation, self._answer("info", {})))

    def step(self, action):
        observation, reward, terminated, truncated, _ = super().step(action)
        reward, info = self._answer("reward", reward), self._answer("info", {})
        return self._answer("step", (observation, reward, terminated, truncated, info))

    def _observation(self):
        return self._answer("observation", super()._observation())


def torch_tensor(*numbers):
    import torch

    return torch.tensor(numbers)


EVER_LONGER = itertools.count(1)

PLAIN = {
    "an array of one reward": {"reward": lambda t: np.array([2.0])},
    "a nested one": {"reward": lambda t: np.array([[2]])},
    "a NumPy number": {"reward": lambda t: np.float16(2)},
    "an integer": {"reward": lambda t: 2},
    "a truth value": {"reward": lambda t: True},
    "infos that change shape": {"info": lambda t: {"seen": np.zeros(next(EVER_LONGER))}},
    "infos that change type": {"info": lambda t: {"seen": [1, "two"][next(EVER_LONGER) % 2]}},
    "infos of all kinds": {"info": lambda t: {t: object()}},
    "observations in a list": {"observation": lambda t: [t]},
    "observations of another type": {"observation": lambda t: np.array([t], np.float64)},
    "ends in an array": {"step": lambda t: (np.array([t]), 1.0, np.array([t == 3]), False, {})},
    "ends as numbers": {"step": lambda t: (np.array([t]), 1.0, int(t == 3), None, {})},
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", PLAIN)
def test_what_a_game_answers_may_have_any_plain_form(name):
    pool = pool_of(AnsweringEnv(**PLAIN[name]), AnsweringEnv(**PLAIN[name]))
    observations, _, rewards, is_not_done = tables(pool.interact(6))
    earned = {"reward": 1 if "truth" in name else 2, "step": 1}
    (what,) = PLAIN[name]
    reward = [earned[what]] * 3 if what in earned else [1, 2, 4]
    assert [[o % 100 for o in row] for row in observations] == [[0, 1, 2, 3, 0, 1]] * 2
    assert rewards == [[*reward, 0, reward[0], 0]] * 2
    assert is_not_done == [[1, 1, 1, 0, 1, 1]] * 2
    assert pool.episode_returns == [sum(reward)] * 2


@pytest.mark.pytorch
def test_rewards_may_be_tensors():
    pool = pool_of(AnsweringEnv(reward=lambda t: torch_tensor(2.0)))
    assert pool.interact(3)[2].tolist() == [[2, 2, 0]]


UNUSABLE = {
    "two rewards": ({"reward": lambda t: np.zeros(2)}, r"number, got float64 of shape \(2,\)"),
    "no reward": ({"reward": lambda t: None}, "one number, got NoneType: None"),
    "a word": ({"reward": lambda t: "1"}, "one number, got str: '1'"),
    "NaN": (
        {"reward": lambda t: np.nan if t == 2 else 0},
        r"rewards must be finite numbers, got nan in game 1, tick 1 \(both count from 0\)",
    ),
    "infinity": ({"reward": lambda t: -np.inf}, "got -inf in game 1, tick 0"),
    "too large": ({"reward": lambda t: 1e39}, r"got 1e\+39 in game 1, tick 0"),
    "the old step": (
        {"step": lambda t: (np.array([t]), 1.0, False, {})},
        "step must return observation, reward, terminated, truncated, info, got 4 things",
    ),
    "another shape": (
        {"observation": lambda t: np.zeros(1 + t)},
        r"observations must be int64 \(1,\), as its .* says, got float64 of shape \(2,\)",
    ),
    "no picture": ({"observation": lambda t: None if t else [0]}, r"\(1,\).* got NoneType: None"),
    "ragged": ({"observation": lambda t: [[1], [1, 2]] if t else [0]}, r"got list: \[\[1\], "),
    "halves": (
        {"observation": lambda t: [t / 2]},
        "must be int64, .* got float64 that cannot be converted",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_answers_are_named(name):
    answers, message = UNUSABLE[name]
    pool = pool_of(CountingEnv(3), AnsweringEnv(**answers))
    with pytest.raises(ValueError, match=message):
        pool.interact(5)


def test_an_unusable_beginning_is_named():
    with pytest.raises(ValueError, match="reset must return observation, info, got int64 of shape"):
        pool_of(AnsweringEnv(reset=lambda t: np.zeros(2, int)))
    blind = AnsweringEnv(observation=lambda t: [np.nan])
    blind.observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    with pytest.raises(ValueError, match="observations must be finite numbers, got nan in game 0"):
        pool_of(blind)
    blind.observation_space = gym.spaces.Dict(seen=blind.observation_space)
    with pytest.raises(ValueError, match="must have arrays of numbers as observations, got Dict"):
        pool_of(blind)


def make_interrupted_game():
    """Makes a game that is interrupted at its second step, and earns two numbers at the fifth."""

    def reward(tick):
        if tick == 2:
            signal.raise_signal(signal.SIGINT)
        return np.zeros(2) if tick == 5 else 1.0

    game = AnsweringEnv(reward=reward)
    game.lengths = itertools.repeat(9)
    return game


def test_an_interrupt_waits_until_all_games_have_been_stepped():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pool = pool_of(make_interrupted_game(), CountingEnv(9))
        with pytest.raises(KeyboardInterrupt):
            pool.interact(5)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert tables(pool.interact(3))[0] == [[2, 3, 4], [2, 3, 4]]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")  # it tells in them what it raises
def test_processes_survive_an_interrupt_and_name_unusable_answers():
    with EnvPool(ConvertingAgent(), make_interrupted_game, 2, vectorization_mode="async") as pool:
        assert tables(pool.interact(5))[0] == [[0, 1, 2, 3, 4]] * 2
        with pytest.raises(ValueError, match="a game's reward must be one number, got float64 of"):
            pool.interact(5)


# Everything around it.
# Everything around it.


def test_returns_are_the_games_own_points():
    game = CountingEnv(3)
    game.reward_scale = 0.5
    pool = pool_of(game)
    assert pool.interact(5)[2].tolist() == [[1, 2, 4, 0, 0]]
    assert pool.episode_returns == [14]


def test_seeds_are_consecutive_numbers_that_every_mode_can_play():
    games = [CountingEnv(3) for _ in range(4)]
    pool = pool_of(*games, seed=0)
    assert pool.seeds == [game.seed for game in games] == [1, 4, 6, 8]
    unseeded = CountingEnv(3)
    assert pool_of(unseeded).seeds is None
    assert unseeded.seed is None


def test_an_interrupted_rollout_leaves_the_games_playable():
    class InterruptedAgent(ConvertingAgent):
        def step(self, memory, observations):
            if len(self.seen_memories) == 2 and not hasattr(self, "was_interrupted"):
                self.was_interrupted = True
                raise KeyboardInterrupt
            return super().step(memory, observations)

    agent = InterruptedAgent()
    pool = pool_of(CountingEnv(3), agent=agent)
    with pytest.raises(KeyboardInterrupt):
        pool.interact(6)
    assert tables(pool.interact(4))[0] == [[2, 3, 100, 101]]
    assert agent.seen_memories == [[0], [1], [2], [3], [0]]


def test_progress_is_shown_on_demand(capsys):
    pool = pool_of(CountingEnv(3))
    pool.interact(4)
    assert capsys.readouterr() == ("", "")
    pool.interact(4, verbose=True)
    assert "3/3" in capsys.readouterr().err


def test_the_agent_may_be_replaced():
    pool = pool_of(CountingEnv(9))
    pool.interact(3)
    pool.agent = ConvertingAgent()
    pool.interact(3)
    assert pool.agent.seen_memories == [[2], [3]]


@pytest.mark.parametrize("vectorization_mode", ["sync", "async", "ale_threads"])
def test_pools_close_and_may_be_closed_twice(vectorization_mode):
    with EnvPool(RandomAgent(0), make_kung_fu, 2, vectorization_mode=vectorization_mode) as pool:
        assert pool.interact(2)[0].shape == (2, 2, 42, 42, 4)
    pool.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_parallel_games": 0}, "n_parallel_games must be an integer of at least 1, got 0"),
        ({"n_parallel_games": 2.5}, r"n_parallel_games must be an integer .* got 2\.5"),
        ({"make_env": CountingEnv(3)}, "make_env must be a function that makes one game, got <"),
        (
            {"vectorization_mode": "threads"},
            r"one of \('sync', 'async', 'ale_threads'\), got 'threads'",
        ),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": "0"}, "seed must be an integer of at least 0, got '0'"),
        ({"make_env": lambda: gym.make("Pendulum-v1")}, r"a Discrete action space, got Box"),
        (
            {"vectorization_mode": "ale_threads"},
            "needs a PreprocessAtari around the game, got <CountingEnv",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    valid = {"agent": ConvertingAgent(), "make_env": lambda: CountingEnv(3)}
    with pytest.raises(ValueError, match=message):
        EnvPool(**(valid | arguments))


ONE_GAME = CountingEnv(3)


@pytest.mark.parametrize("vectorization_mode", ["sync", "async", "ale_threads"])
@pytest.mark.parametrize(
    ("make_env", "message"),
    [
        (lambda: None, "return one game, a gymnasium.Env, got None: does it lack a `return`"),
        (lambda: CountingEnv, "return one game, a gymnasium.Env, got <class 'tests.test_env_"),
        (lambda: "ALE/KungFuMaster-v5", "one game, a gymnasium.Env, got 'ALE/KungFuMaster-v5'"),
        (lambda: gym.make_vec("CartPole-v1", 2), "a gymnasium.Env, got CartPoleVectorEnv"),
        (lambda: ONE_GAME, "a new game at each call, got the same one again"),
        (lambda: gym.Wrapper(ONE_GAME), "at each call, got the same one again"),
    ],
)
def test_what_makes_no_new_game_is_named(vectorization_mode, make_env, message):
    for play in (EnvPool, play_games):
        with pytest.raises(ValueError, match=f"make_env must .*{message}"):
            play(ConvertingAgent(), make_env, 3, vectorization_mode=vectorization_mode)


def test_a_single_game_need_not_be_new():
    for _ in range(2):
        assert EnvPool(ConvertingAgent(), lambda: ONE_GAME).interact(3)[2].tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("n_steps", [0, -3, 2.0, "10", True, None])
def test_a_bad_number_of_steps_is_named(n_steps):
    with pytest.raises(ValueError, match=f"n_steps must be an integer .*, got {n_steps!r}"):
        pool_of(CountingEnv(3)).interact(n_steps)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.zeros((2, 4)), r"must be a list or tuple of arrays \[n_games, ...\], got ndarray"),
        ([np.zeros((2, 4)), np.zeros((4, 2))], r"n_games=2, ...\], got the shapes .*\(4, 2\)\]"),
        ([np.float32(0)], r"n_games=2, ...\], got the shapes \[\(\)\]"),
    ],
)
def test_a_memory_of_the_wrong_kind_is_named(state, message):
    agent = ConvertingAgent()
    agent.get_initial_state = lambda batch_size: state
    with pytest.raises(ValueError, match=message):
        pool_of(CountingEnv(3), CountingEnv(3), agent=agent)
    agent = ConvertingAgent()
    pool = pool_of(CountingEnv(3), CountingEnv(3), agent=agent)
    agent.step = lambda memory, observations: (state, np.zeros((2, 1)))
    with pytest.raises(ValueError, match=message):
        pool.interact(2)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"get_initial_state": None}, "agent must have a method get_initial_state, got <tests"),
        (
            {"step": lambda memory, seen: memory},
            "step must return the new memory, outputs, got 1",
        ),
        ({"step": lambda memory, seen: (memory, 0, 0)}, "new memory, outputs, got 3 things"),
        ({"step": lambda memory, seen: None}, "new memory, outputs, got NoneType: None"),
        (
            {"step": lambda memory, seen: ([np.zeros((1, 5))], memory[0])},
            r"get_initial_state gives it, \[\(1, 2\)\], got \[\(1, 5\)\]",
        ),
        (
            {"step": lambda memory, seen: ([memory[0]] * 2, memory[0])},
            r"gives it, \[\(1, 2\)\], got \[\(1, 2\), \(1, 2\)\]",
        ),
    ],
)
def test_an_agent_of_another_kind_is_named(methods, message):
    agent = ConvertingAgent()
    vars(agent).update(methods)
    with pytest.raises(ValueError, match=message):
        pool_of(CountingEnv(1), agent=agent).interact(4)


def test_a_class_is_no_agent():
    with pytest.raises(ValueError, match=r"got its class: ConvertingAgent\(...\) makes one"):
        EnvPool(ConvertingAgent, lambda: CountingEnv(3))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (None, "must return 1 integers, .* got NoneType: None"),
        ([[0], [1, 2]], r"must return 1 integers, .* got list: \[\[0\], \[1, 2\]\]"),
        ("LEFT", "must return 1 integers, .* got str: 'LEFT'"),
        ([True], r"must return 1 integers, .* got list: \[True\]"),
    ],
)
def test_what_is_no_array_of_actions_is_shown(actions, message):
    agent = ConvertingAgent()
    agent.sample_actions = lambda outputs: actions
    with pytest.raises(ValueError, match=message):
        pool_of(CountingEnv(3), agent=agent).interact(2)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 1, 2]), r"must return 2 integers, .* got int64 of shape \(3,\)"),
        (np.array([[0], [1]]), r"must return 2 integers, .* got int64 of shape \(2, 1\)"),
        (np.array([0.0, 1.0]), r"must return 2 integers, .* got float64 of shape \(2,\)"),
        (np.array([0, 3]), r"actions from 0 to 2, got \[0, 3\]"),
        (np.array([-1, 0]), r"actions from 0 to 2, got \[-1, 0\]"),
    ],
)
def test_actions_that_no_game_has_are_named(actions, message):
    agent = ConvertingAgent()
    agent.sample_actions = lambda outputs: actions
    with pytest.raises(ValueError, match=message):
        pool_of(CountingEnv(3), CountingEnv(3), agent=agent).interact(2)


# Real games.


def make_kung_fu():
    return PreprocessAtari(
        gym.make("ALE/KungFuMaster-v5", frameskip=4, repeat_action_probability=0.25),
        height=42,
        width=42,
        crop=lambda img: img[60:-30, 5:],
        color=False,
        n_frames=4,
        dim_order="tensorflow",
        reward_scale=0.01,
    )


class RandomAgent(ConvertingAgent):
    """Plays at random, reproducibly for each seed; every game has its own actions."""

    def __init__(self, seed, n_actions=14):
        super().__init__()
        self.seed = seed
        self.n_actions = n_actions

    def get_initial_state(self, batch_size):
        return [np.zeros((batch_size, 1), np.float32)]

    def step(self, memory, observations):
        return [memory[0] + 1], len(observations)

    def sample_actions(self, n_games):
        if not hasattr(self, "generators"):
            self.generators = [np.random.default_rng([self.seed, i]) for i in range(n_games)]
        return np.array([rng.integers(self.n_actions) for rng in self.generators])


N_GAMES, N_TICKS = 4, 2200


@pytest.fixture(scope="module")
def long_rollouts():
    """The same actions and seeds in two modes, each over several whole games."""

    def play(vectorization_mode):
        with EnvPool(
            RandomAgent(0), make_kung_fu, N_GAMES, vectorization_mode=vectorization_mode, seed=7
        ) as pool:
            return *pool.interact(N_TICKS), pool.episode_returns, pool.episode_lengths

    return play("sync"), play("ale_threads")


def test_first_games_are_the_same_to_the_bit_in_threads(long_rollouts):
    sync, threads = long_rollouts
    np.testing.assert_array_equal(sync[1], threads[1])
    for game in range(N_GAMES):
        end = int(np.argmin(sync[3][game]))  # the column of the first game's last observation
        assert sync[3][game, end] == 0 and sync[2][game].any()
        for ours, theirs in zip(threads[:4], sync[:4], strict=True):
            np.testing.assert_array_equal(ours[game, : end + 1], theirs[game, : end + 1])


def test_later_games_in_threads_are_of_the_same_kind(long_rollouts):
    for observations, _, rewards, is_not_done, returns, lengths in long_rollouts:
        resets = np.argwhere(is_not_done[:, :-1] == 0)
        assert len(resets) == len(returns) == len(lengths) > 2 * N_GAMES - 2
        for game, t in resets:
            assert rewards[game, t] == 0 and is_not_done[game, t + 1] == 1
            opening = observations[game, t + 1]
            assert (opening == opening[..., :1]).all()
            np.testing.assert_array_equal(opening, observations[game, 0])
        # Everywhere else the stack moves on by one frame. A few pixels are enough to tell.
        goes_on = is_not_done[:, :-1] == 1
        pixels = observations[:, :, ::6, ::6]
        older_frames_now = pixels[:, 1:, ..., :-1][goes_on]
        newer_frames_before = pixels[:, :-1, ..., 1:][goes_on]
        np.testing.assert_array_equal(older_frames_now, newer_frames_before)
        assert np.sum(returns) <= rewards.sum() / 0.01
    (*_, returns, lengths), (*_, thread_returns, thread_lengths) = long_rollouts
    for ours, theirs in ((returns, thread_returns), (lengths, thread_lengths)):
        error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(len(ours))
        assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def test_processes_play_what_one_process_plays():
    rollouts = []
    for vectorization_mode in ("sync", "async"):
        with EnvPool(
            RandomAgent(1), make_kung_fu, 2, vectorization_mode=vectorization_mode, seed=3
        ) as pool:
            rollouts.append([*pool.interact(60), *pool.interact(60), *pool.prev_memory_states])
    for sync, processes in zip(*rollouts, strict=True):
        np.testing.assert_array_equal(sync, processes)


# Whole games.


def test_play_games_counts_the_first_game_of_each_environment_whole():
    games = iter([CountingEnv(3, 1), CountingEnv(25, 2), CountingEnv(1)])
    # 1 + 2 + 4, then 2**25 - 1 over two rollouts, then 1; later games do not count.
    assert play_games(ConvertingAgent(), lambda: next(games), 3) == [7, 2**25 - 1, 1]


def test_play_games_returns_the_points_of_the_game():
    def make_env():
        return gym.wrappers.TransformReward(CountingEnv(3), lambda reward: reward / 4)

    class Scaled(gym.Wrapper):
        reward_scale = 0.25

    assert play_games(ConvertingAgent(), lambda: Scaled(make_env()), 2) == [7, 7]
