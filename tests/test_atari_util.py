"""Tiny pictures with results worked out by hand, and real games where nothing else will do."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from atari_util import (
    PreprocessAtari,
    crop_frames,
    fill_stack,
    make_atari_vector_env,
    push_planes,
    resize_frames,
    to_greyscale,
    to_observation,
    to_planes,
)

# [height=2, width=4, channels=1]
GREY = np.array([[0, 10, 20, 30], [40, 50, 60, 70]], np.uint8)[..., np.newaxis]
# [height=1, width=4, channels=3]: red, green, blue, white
COLORS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)


class PictureEnv(gym.Env):
    """Shows uniform pictures of 10, 20, 30...; a game is over after 5 of them."""

    def __init__(self, shape=(2, 4, 1)):
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.value = 10
        return self._picture(), {}

    def step(self, action):
        self.value += 10
        return self._picture(), 200.0, self.value == 50, False, {}

    def _picture(self):
        picture = np.full(self.observation_space.shape, self.value, np.uint8)
        if picture.shape[-1] == 3:
            picture[..., 1:] += np.array([1, 2], np.uint8)
        return picture


def kung_fu(frameskip=4, repeat_action_probability=0.25, **options):
    return gym.make(
        "ALE/KungFuMaster-v5",
        frameskip=frameskip,
        repeat_action_probability=repeat_action_probability,
        **options,
    )


# The image functions, on one frame and on a batch.


def test_crop_frames_slices_rows_and_columns():
    assert crop_frames(GREY, lambda img: img[1:, 1:3]).tolist() == [[[50], [60]]]


def test_greyscale_weighs_colors_as_bt601_does():
    assert to_greyscale(COLORS).tolist() == [[[76], [150], [29], [255]]]


def test_greyscale_leaves_one_channel_alone():
    assert to_greyscale(GREY).tolist() == GREY.tolist()


def test_resize_averages_areas_and_takes_height_before_width():
    assert resize_frames(GREY, height=2, width=2).tolist() == [[[5], [25]], [[45], [65]]]
    assert resize_frames(GREY, height=1, width=4).tolist() == [[[20], [30], [40], [50]]]


def test_resize_loses_no_pixel():
    sprite = np.array([[[0], [0], [0], [100]]], np.uint8)
    assert resize_frames(sprite, height=1, width=1).tolist() == [[[25]]]


def test_resize_keeps_colors_apart():
    assert resize_frames(COLORS, height=1, width=2).tolist() == [[[128, 128, 0], [128, 128, 255]]]


@pytest.mark.parametrize(
    "operation",
    [
        lambda frames: crop_frames(frames, lambda img: img[:, 1:]),
        lambda frames: crop_frames(frames, lambda img: img[::-1, ::-1]),
        to_greyscale,
        lambda frames: to_greyscale(frames[..., ::-1, :, :]),
        lambda frames: resize_frames(frames, 3, 2),
        lambda frames: resize_frames(frames[..., ::-1, :, :], 3, 2),
        to_planes,
        lambda frames: fill_stack(frames, 2),
        lambda frames: push_planes(frames, frames[..., :1, :, :]),
        lambda frames: to_observation(frames, "tensorflow"),
        lambda frames: to_observation(frames, "pytorch"),
    ],
)
def test_batch_equals_single_frames_and_arguments_stay(operation):
    batch = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    before = batch.copy()
    expected = np.stack([operation(frame) for frame in batch])
    np.testing.assert_array_equal(operation(batch), expected)
    np.testing.assert_array_equal(batch, before)


def test_stack_fills_with_the_first_and_pushes_the_newest_last():
    def planes(value):
        return np.full((1, 1, 1), value, np.uint8)

    stack = fill_stack(planes(7), 3)
    assert stack.ravel().tolist() == [7, 7, 7]
    assert push_planes(push_planes(stack, planes(8)), planes(9)).ravel().tolist() == [7, 8, 9]


def test_observation_is_scaled_and_ordered():
    stack = np.array([0, 51, 255, 102], np.uint8).reshape(2, 1, 2)  # channels, height, width
    pytorch = to_observation(stack, "pytorch")
    assert pytorch.dtype == np.float32
    np.testing.assert_array_equal(pytorch, np.float32([[[0, 0.2]], [[1, 0.4]]]))
    tensorflow = to_observation(stack, "tensorflow")
    np.testing.assert_array_equal(tensorflow, np.float32([[[0, 1], [0.2, 0.4]]]))


# The wrapper of a single game.


def values_of(observation):
    """The value of each uniform plane `[channels, height, width]`, on the emulator's scale."""
    assert (observation == observation[:, :1, :1]).all()
    return (observation[:, 0, 0] * 255).round().tolist()


def test_frames_are_stacked_newest_last_and_reset_starts_anew():
    env = PreprocessAtari(PictureEnv(), height=1, width=2, n_frames=3)
    seen = []
    for _ in range(2):
        seen.append(values_of(env.reset()[0]))
        seen += [values_of(env.step(0)[0]) for _ in range(4)]
    game = [[10, 10, 10], [10, 10, 20], [10, 20, 30], [20, 30, 40], [30, 40, 50]]
    assert seen == game * 2


@pytest.mark.parametrize(
    ("dim_order", "shape"), [("tensorflow", (3, 5, 6)), ("pytorch", (6, 3, 5))]
)
def test_colors_and_frames_share_the_channel_axis_frame_by_frame(dim_order, shape):
    env = PreprocessAtari(
        PictureEnv((6, 10, 3)), height=3, width=5, color=True, n_frames=2, dim_order=dim_order
    )
    env.reset()
    observation = env.step(0)[0]
    assert observation.shape == env.observation_space.shape == shape
    planes = np.moveaxis(observation, -1, 0) if dim_order == "tensorflow" else observation
    assert values_of(planes) == [10, 11, 12, 20, 21, 22]


@pytest.mark.parametrize("frame_shape", [(90, 60, 3), (90, 60, 1), (90, 60)])
@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("dim_order", ["tensorflow", "pytorch"])
def test_observations_are_what_the_space_declares(frame_shape, color, dim_order):
    env = PreprocessAtari(
        PictureEnv(frame_shape), height=42, width=84, color=color, dim_order=dim_order
    )
    channels = 12 if color and frame_shape[2:] == (3,) else 4
    shape = (42, 84, channels) if dim_order == "tensorflow" else (channels, 42, 84)
    assert env.observation_space == gym.spaces.Box(0, 1, shape, np.float32)
    for observation in (env.reset()[0], env.step(0)[0]):
        assert observation in env.observation_space


def test_defaults_are_those_of_the_assignment():
    env = PreprocessAtari(PictureEnv((210, 160, 3)))
    assert env.observation_space == gym.spaces.Box(0, 1, (4, 42, 42), np.float32)
    env.reset()
    assert env.step(0)[1] == 200


def test_crop_cuts_before_resizing():
    frame = np.zeros((210, 160, 3), np.uint8)
    frame[60:-30, 5:] = 255
    game = PictureEnv(frame.shape)
    game._picture = lambda: frame
    env = PreprocessAtari(game, crop=lambda img: img[60:-30, 5:])
    np.testing.assert_array_equal(env.reset()[0], np.ones((4, 42, 42)))


def test_rewards_are_scaled_and_options_stay_readable():
    def crop(img):
        return img[1:]

    env = PreprocessAtari(PictureEnv(), 3, 5, True, crop, 2, "tensorflow", reward_scale=0.01)
    env.reset()
    assert env.step(0)[1] == 2
    names = ("height", "width", "color", "crop", "n_frames", "dim_order", "reward_scale")
    options = [getattr(env, name) for name in names]
    assert options == [3, 5, True, crop, 2, "tensorflow", 0.01]


@pytest.mark.parametrize("dim_order", ["tensorflow", "pytorch"])
@pytest.mark.parametrize("n_frames", [1, 2])
def test_observations_never_change_later(dim_order, n_frames):
    env = PreprocessAtari(PictureEnv(), dim_order=dim_order, n_frames=n_frames)
    handed_out = [env.reset()[0]] + [env.step(0)[0] for _ in range(3)] + [env.reset()[0]]
    remembered = [observation.copy() for observation in handed_out]
    for observation in handed_out[:2]:
        observation += 5  # nor does the wrapper read them again
    env.step(0)
    np.testing.assert_array_equal(handed_out[2:], remembered[2:])
    np.testing.assert_array_equal(env.step(0)[0].max(), np.float32(30 / 255))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"env": "Pong"}, "env must be a gymnasium.Env, got str: 'Pong'"),
        ({"env": PictureEnv((2, 4, 2))}, r"uint8 frames .* got Box\(0, 255, \(2, 4, 2\), uint8\)"),
        ({"env": gym.make("CartPole-v1")}, r"uint8 frames .* got Box\(.*float32\)"),
        ({"height": 0}, "height must be an integer of at least 1, got 0"),
        ({"width": 42.0}, r"width must be an integer of at least 1, got 42\.0"),
        ({"n_frames": True}, "n_frames must be an integer of at least 1, got True"),
        ({"color": "yes"}, "color must be True or False, got 'yes'"),
        ({"crop": 60}, "crop must be a function of a frame, got 60"),
        ({"crop": lambda img: img[5:]}, r"shape \(2, 4, 1\) .* got shape \(0, 4, 1\)"),
        ({"crop": lambda img: img[..., 0]}, r"shape \(2, 4, 1\) .* got shape \(2, 4\)"),
        ({"crop": lambda img: None}, "crop must return an array, got NoneType: None"),
        (
            {"env": PictureEnv((2, 4, 3)), "crop": lambda img: img[..., :2]},
            r"all 3 channels .* got shape \(2, 4, 2\)",
        ),
        (
            {"dim_order": "theano"},
            r"dim_order must be one of \('tensorflow', 'pytorch'\), got 'theano'",
        ),
        ({"reward_scale": 0}, "reward_scale must be a positive number, got 0"),
        ({"reward_scale": float("nan")}, "reward_scale must be a positive number, got nan"),
        ({"reward_scale": "1"}, "reward_scale must be a positive number, got '1'"),
    ],
)
def test_bad_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        PreprocessAtari(**({"env": PictureEnv()} | argument))


def test_a_frame_that_cannot_be_cropped_later_is_named():
    env = PreprocessAtari(PictureEnv(), crop=lambda img: img[: 0 if img[0, 0, 0] == 20 else 1])
    env.reset()
    with pytest.raises(ValueError, match=r"got shape \(0, 4, 1\)"):
        env.step(0)


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
@pytest.mark.parametrize(
    ("color", "dim_order"), [(False, "tensorflow"), (True, "pytorch"), (False, "pytorch")]
)
def test_environment_checkers_accept_it(color, dim_order):
    env = PreprocessAtari(
        kung_fu(), crop=lambda img: img[60:-30, 5:], color=color, dim_order=dim_order
    )
    # The rendering check opens an emulator window, and loading TensorFlow into a process
    # that has done so crashes it.
    check_env(env, skip_render_check=True)
    # It warns about pictures that are not uint8; these are float32 on purpose.
    sb3_check_env(env, warn=False)
    env.close()


# The vector path.


@pytest.mark.parametrize(
    ("game", "options"),
    [
        ("KungFuMaster", {"dim_order": "tensorflow"}),
        ("MsPacman", {"height": 30, "width": 50, "n_frames": 2, "reward_scale": 0.01}),
        ("Seaquest", {"color": True, "n_frames": 2}),
        ("KungFuMaster", {"color": True, "n_frames": 1, "dim_order": "tensorflow"}),
    ],
)
def test_vector_path_plays_and_shows_what_single_games_do(game, options):
    def make_env():
        return PreprocessAtari(
            gym.make(f"ALE/{game}-v5"), crop=lambda img: img[20:-30, 5:], **options
        )

    singles = [make_env(), make_env()]
    vector = make_atari_vector_env(singles[0], num_envs=2)
    assert vector.single_observation_space == singles[0].observation_space
    observations = [vector.reset(seed=[4, 1])[0]]
    points = 0
    expected = [np.stack([singles[0].reset(seed=4)[0], singles[1].reset(seed=1)[0]])]
    rng = np.random.default_rng(0)
    for _ in range(120):
        actions = rng.integers(singles[0].action_space.n, size=2)
        observation, rewards, *_ = vector.step(actions)
        ticks = [env.step(action) for env, action in zip(singles, actions, strict=True)]
        observations.append(observation)
        expected.append(np.stack([tick[0] for tick in ticks]))
        assert rewards.tolist() == [tick[1] for tick in ticks]
        points += rewards.sum()
    # Compared at the end, to catch observations that change later.
    np.testing.assert_array_equal(observations, expected)
    assert observations[0].dtype == np.float32
    assert points > 0 or game != "MsPacman"  # the agent eats pills from the start
    vector.close()


def test_vector_path_reads_grey_games_options_and_ends():
    options = {
        "obs_type": "grayscale",
        "full_action_space": True,
        "frameskip": 100,
        "max_num_frames_per_episode": 400,
        "render_mode": "rgb_array",
    }
    single = PreprocessAtari(kung_fu(**options), color=True)
    vector = make_atari_vector_env(single, num_envs=3)
    assert vector.single_action_space == gym.spaces.Discrete(18)
    first = vector.reset()[0]
    for planes in first:
        assert (planes == planes[:1]).all()
    actions = np.zeros(3, np.int32)
    ticks = [vector.step(actions) for _ in range(4)]
    assert [tick[3].tolist() for tick in ticks] == [[False] * 3] * 3 + [[True] * 3]
    assert (ticks[-1][0] != first).any()
    # A reset tick: every game's stack holds only its new first frame.
    observations, rewards, terminated, truncated, _ = vector.step(actions)
    np.testing.assert_array_equal(observations, first)
    assert not rewards.any() and not terminated.any() and not truncated.any()
    vector.close()


def test_a_game_without_a_limit_is_not_truncated():
    vector = make_atari_vector_env(PreprocessAtari(kung_fu(max_num_frames_per_episode=None)), 1)
    vector.reset()
    assert vector.step(np.zeros(1, np.int32))[3].tolist() == [False]
    vector.close()


@pytest.mark.parametrize(
    ("make_env", "message"),
    [
        (lambda: RecordEpisodeStatistics(PreprocessAtari(kung_fu())), "RecordEpisodeStatistics"),
        (lambda: PreprocessAtari(TimeLimit(kung_fu(), 10)), "TimeLimit"),
        (lambda: PreprocessAtari(PictureEnv()), r"made by gymnasium.make\('ALE/...'\), got .*Pict"),
        (kung_fu, "needs a PreprocessAtari around the game, got <OrderEnforcing"),
        (lambda: PreprocessAtari(kung_fu(frameskip=(2, 5))), r"frameskip, got \(2, 5\)"),
        (lambda: PreprocessAtari(kung_fu(mode=0)), "does not support mode=0"),
        (lambda: PreprocessAtari(kung_fu(difficulty=0)), "does not support difficulty=0"),
        (lambda: PreprocessAtari(kung_fu(continuous=True)), "does not support continuous=True"),
    ],
)
def test_what_the_vector_path_cannot_translate_is_named(make_env, message):
    with pytest.raises(ValueError, match=message):
        make_atari_vector_env(make_env(), num_envs=2)


def test_bad_arguments_of_the_vector_path_are_named():
    env = PreprocessAtari(kung_fu())
    with pytest.raises(ValueError, match="num_envs must be an integer of at least 1, got 0"):
        make_atari_vector_env(env, num_envs=0)
    vector = make_atari_vector_env(env, num_envs=2)
    with pytest.raises(ValueError, match=r"seed must hold 2 seeds, got 3: \[1, 4, 6\]"):
        vector.reset(seed=[1, 4, 6])
    with pytest.raises(ValueError, match=r"cannot be seeded with 0: its emulator seed \d+ is not"):
        vector.reset(seed=0)
    with pytest.raises(ValueError, match=r"reset takes no options, got .*reset_mask"):
        vector.reset(options={"reset_mask": 1})
    vector.close()
