"""What the training tests share: a counting game, and a run in either framework."""

import functools

import gymnasium as gym
import numpy as np

from env_pool import EnvPool
from training import TrainingRun


class ClockEnv(gym.Env):
    """Games of four ticks; the observation is the tick, and each action earns a point."""

    def __init__(self):
        self.observation_space = gym.spaces.Box(0, 4, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.tick = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.tick += 1
        return np.array([self.tick], np.float32), 1.0, self.tick == 4, False, {}


class CountingMemory:
    """The part of an agent that needs no framework: its memory counts ticks."""

    def get_initial_state(self, batch_size):
        return [np.zeros((batch_size, 1), np.float32)]

    def step(self, memory, observations):
        outputs = self.outputs(observations)
        return [memory[0] + 1], (outputs[:, :2], outputs[:, 2])

    def sample_actions(self, outputs):
        return np.random.randint(2, size=len(outputs[0]))


class Setup:
    """What a notebook has when training begins; each framework adds its own agent and step.

    Args:
        agent: Has a method `weights()`, which shows what it has learnt.
        optimizer: The agent's optimizer.
        folder: Folder for checkpoints.
        options: Further arguments of `TrainingRun`.
    """

    def __init__(self, agent, optimizer, folder, **options):
        self.agent = agent
        self.optimizer = optimizer
        self.pool = EnvPool(agent, ClockEnv, 2)
        self.run = TrainingRun(agent, optimizer, self.pool, folder, **options)
        self.n_calls = 0

    @staticmethod
    def maker(module, optimizer):
        """Returns what makes an optimizer, given by its name, or by its name and options."""
        name, options = (optimizer, {}) if isinstance(optimizer, str) else optimizer
        return functools.partial(getattr(module, name), **options)

    def train(self, max_iterations, during=lambda iteration: None, max_minutes=1.0):
        step = self.run.compiled(self.train_on_rollout)
        with self.run.progress(max_iterations, max_minutes) as iterations:
            for iteration in iterations:
                memory = list(self.pool.prev_memory_states)
                rollout = self.pool.interact(3)
                loss = step(*rollout, memory, 0.99)
                self.run.record(loss, rollout)
                self.run.measure(rollout, memory, 0.99)
                during(iteration)

    def state(self):
        """Returns everything that a checkpoint has to restore."""
        run = self.run
        counters = (run.n_iterations, run.n_env_steps, run.best_score)
        histories = ({**run.history}, [*run.rewards_history])
        return self.agent.weights(), self.optimizer_state(), counters, histories
