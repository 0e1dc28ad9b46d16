"""Turn Atari pictures into the small observations that an agent learns from.

Every image operation is one pure function. A single game and a vector of games use the same
functions, so both get the same observations, bit for bit.

Words used here:

* *frame*: one picture from the emulator, uint8 `[height, width, channels]`. A *batch* of frames has
  a leading axis, `[num_envs, height, width, channels]`; the image functions take either.
* *planes*: a preprocessed frame, channels first, uint8 `[..., channels, height, width]`.
* *stack*: the planes of the latest `n_frames` frames, oldest first.
* *observation*: a stack scaled to [0, 1], float32, with its axes in the order of `dim_order`.

How a stack of 4 frames moves through time when a new game starts after frame 3:

    frame:  0     1     2     3     | 0     1     2
    stack:  0000  0001  0012  0123  | 0000  0001  0012
"""

import inspect
import math
import operator
from collections.abc import Callable
from typing import Any

import ale_py
import cv2
import gymnasium as gym
import numpy as np
from ale_py.env import AtariEnv
from ale_py.vector_env import AtariVectorEnv
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

gym.register_envs(ale_py)
# Otherwise the emulator prints a greeting to stderr for every game.
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)

Crop = Callable[[np.ndarray], np.ndarray]

DIM_ORDERS = ("tensorflow", "pytorch")


def crop_frames(frames: np.ndarray, crop: Crop) -> np.ndarray:
    """Cut the same region out of every frame.

    Args:
        frames: `[height, width, channels]` or `[num_envs, height, width, channels]`.
        crop: Slices the rows and columns of one frame, for example `lambda img: img[60:-30, 5:]`.

    Raises:
        ValueError: If `crop` does not return an array of the same rank and channels, or leaves no
            pixel.
    """
    if frames.ndim == 4:
        return np.stack([crop_frames(frame, crop) for frame in frames])
    cropped = crop(frames)
    if not isinstance(cropped, np.ndarray):
        raise ValueError(f"crop must return an array, got {type(cropped).__name__}: {cropped!r}")
    if cropped.ndim != 3 or cropped.shape[-1] != frames.shape[-1] or cropped.size == 0:
        raise ValueError(
            f"crop must keep some rows and columns and all {frames.shape[-1]} channels of a frame "
            f"of shape {frames.shape} [height, width, channels], got shape {cropped.shape}"
        )
    return cropped


def to_greyscale(frames: np.ndarray) -> np.ndarray:
    """Weigh red, green and blue as the eye does (ITU-R BT.601), into a channel axis of length 1.

    Frames with one channel are already grey and are returned unchanged.

    Args:
        frames: RGB or grey, `[..., height, width, channels]`.
    """
    if frames.shape[-1] == 1:
        return frames
    *leading_and_height, width, channels = frames.shape
    # Pixels are converted one by one, so a batch can pass as one tall picture.
    tall_picture = frames.reshape(-1, width, channels)
    return cv2.cvtColor(tall_picture, cv2.COLOR_RGB2GRAY).reshape(*leading_and_height, width, 1)


def resize_frames(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by averaging areas, which keeps thin sprites that sampling pixels would lose.

    Args:
        frames: `[height, width, channels]` or `[num_envs, height, width, channels]`.
        height: New height in pixels.
        width: New width in pixels.
    """
    if frames.ndim == 4:
        return np.stack([resize_frames(frame, height, width) for frame in frames])
    # OpenCV wants (width, height), and drops a channel axis of length 1.
    resized = cv2.resize(frames, (width, height), interpolation=cv2.INTER_AREA)
    return resized.reshape(height, width, frames.shape[-1])


def to_planes(frames: np.ndarray) -> np.ndarray:
    """Put channels first: `[..., height, width, channels]` to `[..., channels, height, width]`.

    Stacking whole planes is many times faster than interleaving single pixels.
    """
    return np.moveaxis(frames, -1, -3)


def fill_stack(planes: np.ndarray, n_frames: int) -> np.ndarray:
    """Repeat a game's first planes into a stack `[..., n_frames * channels, height, width]`."""
    return np.concatenate([planes] * n_frames, axis=-3)


def push_planes(stack: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return a new stack without its oldest planes and with `planes` at the end."""
    channels = planes.shape[-3]
    return np.concatenate([stack[..., channels:, :, :], planes], axis=-3)


def to_observation(stack: np.ndarray, dim_order: str) -> np.ndarray:
    """Return a stack scaled from 0...255 to [0, 1] as a new float32 array, its axes in order.

    Args:
        stack: uint8 `[..., channels, height, width]`.
        dim_order: `'tensorflow'` for `[..., height, width, channels]`, `'pytorch'` for
            `[..., channels, height, width]`.
    """
    if dim_order == "tensorflow":
        stack = np.moveaxis(stack, -3, -1)
    return np.divide(stack, 255, dtype=np.float32, order="C")


def checked_integer(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int, or raise a ValueError that says what `name` must be."""
    try:
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if isinstance(value, bool) or number < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
    return number


def emulator_seed(seed: int) -> int:
    """Return the 32-bit seed that the emulator gets when an Atari game is reset with `seed`.

    `AtariEnv.reset` derives two seeds from the one it is given; the second is the emulator's.
    """
    return int(np.random.SeedSequence(seed).generate_state(2)[1])


class PreprocessAtari(gym.Wrapper, RecordConstructorArgs):
    """Crop, grey, resize, stack and scale the frames of one Atari game.

    The steps in order, each a function of this module:

    1. crop the frame;
    2. turn it grey, unless `color`;
    3. resize it to `height` x `width`;
    4. stack it with the `n_frames - 1` frames before it, newest last; a reset fills the whole stack
       with the new game's first frame;
    5. scale to [0, 1], float32, axes in the order of `dim_order`.

    Rewards are multiplied by `reward_scale`; divide by it to get the game's own points. All options
    can be read as attributes.

    Example:
        >>> import gymnasium as gym
        >>> game = gym.make("ALE/KungFuMaster-v5")
        >>> env = PreprocessAtari(game, crop=lambda img: img[60:-30, 5:], dim_order="tensorflow")
        >>> env.observation_space
        Box(0.0, 1.0, (42, 42, 4), float32)

    Args:
        env: A game whose observations are uint8 frames, `[height, width, 3]`,
            `[height, width, 1]` or `[height, width]`.
        height: Height of an observation in pixels.
        width: Width of an observation in pixels.
        color: Keep the frame's channels instead of turning it grey.
        crop: Slices the rows and columns of a frame `[height, width, channels]`.
        n_frames: Number of frames in an observation. Frames and channels share one axis of length
            `n_frames * channels`, frame by frame.
        dim_order: `'tensorflow'` for observations `[height, width, channels]`, `'pytorch'` for
            `[channels, height, width]`.
        reward_scale: Factor applied to rewards.

    Raises:
        ValueError: If an argument is not as described above.
    """

    def __init__(
        self,
        env: gym.Env,
        height: int = 42,
        width: int = 42,
        color: bool = False,
        crop: Crop = lambda img: img,
        n_frames: int = 4,
        dim_order: str = "pytorch",
        reward_scale: float = 1,
    ):
        if not isinstance(env, gym.Env):
            raise ValueError(f"env must be a gymnasium.Env, got {type(env).__name__}: {env!r}")
        frame_shape = _frame_shape(env.observation_space)
        height = checked_integer("height", height, minimum=1)
        width = checked_integer("width", width, minimum=1)
        n_frames = checked_integer("n_frames", n_frames, minimum=1)
        if not isinstance(color, bool):
            raise ValueError(f"color must be True or False, got {color!r}")
        if not callable(crop):
            raise ValueError(f"crop must be a function of a frame, got {crop!r}")
        if dim_order not in DIM_ORDERS:
            raise ValueError(f"dim_order must be one of {DIM_ORDERS}, got {dim_order!r}")
        if not _is_positive_number(reward_scale):
            raise ValueError(f"reward_scale must be a positive number, got {reward_scale!r}")
        crop_frames(np.zeros(frame_shape, np.uint8), crop)

        RecordConstructorArgs.__init__(
            self,
            height=height,
            width=width,
            color=color,
            crop=crop,
            n_frames=n_frames,
            dim_order=dim_order,
            reward_scale=reward_scale,
        )
        gym.Wrapper.__init__(self, env)
        self.height = height
        self.width = width
        self.color = color
        self.crop = crop
        self.n_frames = n_frames
        self.dim_order = dim_order
        self.reward_scale = reward_scale

        self._frame_shape = frame_shape
        channels = n_frames * (frame_shape[-1] if color else 1)
        shape = (height, width, channels)
        if dim_order == "pytorch":
            shape = (channels, height, width)
        self.observation_space = gym.spaces.Box(0.0, 1.0, shape, np.float32)
        self._stack = np.zeros((channels, height, width), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        frame, info = self.env.reset(seed=seed, options=options)
        self._stack = fill_stack(self.shrink(frame.reshape(self._frame_shape)), self.n_frames)
        return to_observation(self._stack, self.dim_order), info

    def step(self, action):
        frame, reward, terminated, truncated, info = self.env.step(action)
        self._stack = push_planes(self._stack, self.shrink(frame.reshape(self._frame_shape)))
        observation = to_observation(self._stack, self.dim_order)
        return observation, reward * self.reward_scale, terminated, truncated, info

    def shrink(self, frames: np.ndarray) -> np.ndarray:
        """Turn a frame, or a batch of frames, into planes: steps 1 to 3 above."""
        frames = crop_frames(frames, self.crop)
        if not self.color:
            frames = to_greyscale(frames)
        return to_planes(resize_frames(frames, self.height, self.width))


class PreprocessAtariVector(VectorWrapper):
    """`PreprocessAtari` for many games that the emulator steps in its own threads.

    Observations, rewards and ends equal those of single games under `PreprocessAtari`, bit for bit,
    and `reset` takes the same seeds. There are two exceptions, both at the end of a game:

    * The emulator stops at the very frame that ends a game and does not draw it, so the last
      observation shows the tick before. You notice only in games that are truncated or change their
      picture as they end (Kung-Fu Master does not).
    * Its random numbers continue differently, so later games differ from those played singly.

    Autoreset is `AutoresetMode.NEXT_STEP`: the step after a game's end ignores its action and
    returns the next game's first observation, which fills that game's stack.

    Args:
        env: The emulator's vector environment, with single frames in their original size: RGB if
            the preprocessing keeps colours, otherwise grey.
        preprocessing: A single game's wrapper, whose options apply to all games.
    """

    def __init__(self, env: AtariVectorEnv, preprocessing: PreprocessAtari):
        super().__init__(env)
        # All instances share one dictionary, which the next one may change.
        self.metadata = {**env.metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.reward_scale = preprocessing.reward_scale
        self.single_observation_space = preprocessing.observation_space
        self.observation_space = gym.vector.utils.batch_space(
            preprocessing.observation_space, self.num_envs
        )
        self._preprocessing = preprocessing
        self._stacks = np.zeros((), np.uint8)
        self._is_over = np.zeros(self.num_envs, bool)

    def reset(
        self,
        *,
        seed: int | list[int] | None = None,
        options: dict[str, Any] | None = None,
    ):
        """Start a new game in every environment.

        Args:
            seed: A list with one seed for each game, as single games take them; the first of
                consecutive seeds; or None for games that differ from run to run.
            options: Not supported.

        Raises:
            ValueError: If there are `options`, the number of seeds is wrong, or a seed's
                `emulator_seed` is 2**31 or more, which the vector environment cannot take (this
                rules out about half of all seeds).
        """
        if options:
            raise ValueError(f"reset takes no options, got {options}")
        if seed is not None:
            is_first_seed = isinstance(seed, (int, np.integer))
            seeds = range(seed, seed + self.num_envs) if is_first_seed else seed
            if len(seeds) != self.num_envs:
                raise ValueError(f"seed must hold {self.num_envs} seeds, got {len(seeds)}: {seed}")
            seed = np.array([emulator_seed(game_seed) for game_seed in seeds])
            for game_seed, number in zip(seeds, seed, strict=True):
                if number >= 2**31:
                    raise ValueError(
                        f"the vector environment cannot be seeded with {game_seed}: its emulator "
                        f"seed {number} is not below 2**31"
                    )
        frames, infos = self.env.reset(seed=seed)
        self._stacks = self._fresh_stacks(self._shrink(frames))
        self._is_over = np.zeros(self.num_envs, bool)
        return to_observation(self._stacks, self._preprocessing.dim_order), infos

    def step(self, actions: np.ndarray):
        """Step the games that are going on, and restart those that are over."""
        frames, rewards, terminated, truncated, infos = self.env.step(actions)
        planes = self._shrink(frames)
        self._stacks = push_planes(self._stacks, planes)
        if self._is_over.any():
            self._stacks[self._is_over] = self._fresh_stacks(planes[self._is_over])
        self._is_over = terminated | truncated
        observations = to_observation(self._stacks, self._preprocessing.dim_order)
        return observations, rewards * self.reward_scale, terminated, truncated, infos

    def _shrink(self, frames: np.ndarray) -> np.ndarray:
        # [num_envs, stack_num=1, height, width] or the same with a channel axis.
        frames = frames[:, 0]
        return self._preprocessing.shrink(frames if frames.ndim == 4 else frames[..., np.newaxis])

    def _fresh_stacks(self, planes: np.ndarray) -> np.ndarray:
        return fill_stack(planes, self._preprocessing.n_frames)


def make_atari_vector_env(env: gym.Env, num_envs: int) -> PreprocessAtariVector:
    """Make a vector environment that plays the same game as `env`, `num_envs` times in C++ threads.

    `env` is only read, not played.

    Args:
        env: `PreprocessAtari` around a game made by `gymnasium.make('ALE/...')`.
        num_envs: Number of games.

    Raises:
        ValueError: If `num_envs` is not a positive integer, or if `env` holds something that the
            vector environment cannot do: another wrapper, another kind of environment, or an option
            such as a random frameskip.
    """
    num_envs = checked_integer("num_envs", num_envs, minimum=1)
    preprocessing, game = _unwrap(env)
    parameters = inspect.signature(AtariEnv).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters}
    options = defaults | game.spec.kwargs
    if not isinstance(options["frameskip"], int):
        raise ValueError(f"the vector path needs a fixed frameskip, got {options['frameskip']!r}")
    if options["render_mode"] == "human":
        raise ValueError("the vector path cannot show games: render_mode='human' is not supported")
    same_in_both = {"frameskip", "repeat_action_probability", "full_action_space"}
    translated = {"game", "max_num_frames_per_episode"}
    # These change nothing that PreprocessAtari shows.
    without_effect = {"obs_type", "render_mode", "continuous_action_threshold"}
    for name in options.keys() - same_in_both - translated - without_effect:
        if options[name] != defaults[name]:
            raise ValueError(f"the vector path does not support {name}={options[name]!r}")

    vector_env = AtariVectorEnv(
        options["game"],
        num_envs,
        **{name: options[name] for name in same_in_both},
        # None and 0 mean no limit to a single game, but an immediate end here.
        max_num_frames_per_episode=options["max_num_frames_per_episode"] or np.iinfo(np.int32).max,
        # For every colour of its palette, the emulator's grey equals that of to_greyscale.
        grayscale=not preprocessing.color or options["obs_type"] == "grayscale",
        img_height=game.observation_space.shape[0],
        img_width=game.observation_space.shape[1],
        stack_num=1,
        maxpool=False,
        noop_max=0,
        use_fire_reset=False,
        reward_clipping=False,
    )
    return PreprocessAtariVector(vector_env, preprocessing)


def _unwrap(env: gym.Env) -> tuple[PreprocessAtari, AtariEnv]:
    preprocessing = None
    layer = env
    while isinstance(layer, gym.Wrapper):
        if type(layer) is PreprocessAtari and preprocessing is None:
            preprocessing = layer
        elif not isinstance(layer, (OrderEnforcing, PassiveEnvChecker)):
            raise ValueError(
                f"the vector path does not support the wrapper {type(layer).__name__}: it needs a "
                f"single PreprocessAtari around gymnasium.make, got {env}"
            )
        layer = layer.env
    if preprocessing is None:
        raise ValueError(f"the vector path needs a PreprocessAtari around the game, got {env}")
    if type(layer) is not AtariEnv or layer.spec is None:
        raise ValueError(
            f"the vector path needs an Atari game made by gymnasium.make('ALE/...'), got {layer}"
        )
    return preprocessing, layer


def _frame_shape(space: gym.Space) -> tuple[int, int, int]:
    is_frame = (
        isinstance(space, gym.spaces.Box)
        and space.dtype == np.uint8
        and (len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[-1] in (1, 3)))
    )
    if not is_frame:
        raise ValueError(
            "the observations of env must be uint8 frames [height, width, 3], [height, width, 1] "
            f"or [height, width], got {space}"
        )
    height, width, *channels = space.shape
    return height, width, channels[0] if channels else 1


def _is_positive_number(value: float) -> bool:
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0
