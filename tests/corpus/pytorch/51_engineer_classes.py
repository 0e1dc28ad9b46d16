# style: a software engineer: Protocol, abstract base class for loss terms, frozen dataclass with cached properties, a Learner object; train_on_rollout is a thin adapter
# verdict: right
# loses:
# note: weights and the optimizer are looked up at call time through lambdas, so that later cells' settings count; J is negated inside its term
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
# Exercise: agent
from typing import Protocol

Memory = tuple[torch.Tensor, torch.Tensor]
Outputs = tuple[torch.Tensor, torch.Tensor]


class RecurrentAgent(Protocol):
    def forward(self, prev_state: Memory, obs_t: torch.Tensor) -> tuple[Memory, Outputs]: ...

    def get_initial_state(self, batch_size: int) -> Memory: ...


class ConvEncoder(nn.Module):
    """Observation -> feature vector."""

    def __init__(self, n_channels: int, n_filters: int, n_features: int) -> None:
        super().__init__()
        channels = [n_channels, n_filters, n_filters, n_filters]
        self.convs = nn.ModuleList(
            nn.Conv2d(c_in, c_out, kernel_size=3, stride=2)
            for c_in, c_out in zip(channels[:-1], channels[1:], strict=True)
        )
        self.hid = nn.LazyLinear(n_features)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            obs = F.elu(conv(obs))
        return F.elu(self.hid(torch.flatten(obs, start_dim=1)))


class SimpleRecurrentAgent(nn.Module):
    """Looks at the screen, remembers, and says what to do and what it is worth."""

    def __init__(self, obs_shape: tuple[int, ...], n_actions: int) -> None:
        super().__init__()
        self.encoder = ConvEncoder(obs_shape[0], n_filters=32, n_features=128)
        self.rnn = nn.LSTMCell(128, 128)
        self.logits = nn.Linear(128, n_actions)
        self.state_value = nn.Linear(128, 1)
        with torch.no_grad():  # gives the lazy layer its size, before an optimizer asks
            self.encoder(torch.zeros(1, *obs_shape))

    @property
    def n_units(self) -> int:
        return self.rnn.hidden_size

    @staticmethod
    def _centred(obs: torch.Tensor) -> torch.Tensor:
        return 10 * obs - 3.6

    def forward(self, prev_state: Memory, obs_t: torch.Tensor) -> tuple[Memory, Outputs]:
        h, c = self.rnn(self.encoder(self._centred(obs_t)), prev_state)
        return (h, c), (self.logits(h), self.state_value(h).flatten())

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self.forward(tuple(prev_state), torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size: int) -> Memory:
        return torch.zeros(batch_size, self.n_units), torch.zeros(batch_size, self.n_units)

    def sample_actions(self, agent_outputs: Outputs) -> np.ndarray:
        logits, _ = agent_outputs
        return torch.distributions.Categorical(logits=logits).sample().numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %%
# What the notebook's next cell gives, minus the helper that I do not use.
value_loss_weight = 1.0
entropy_weight = 0.01
# %%
# Exercise: loss
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Rollout:
    """What was played, as tensors, [n_games, n_steps, ...]."""

    states: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    is_not_done: torch.Tensor
    memory: Memory
    gamma: float

    @classmethod
    def from_numpy(cls, states, actions, rewards, is_not_done, memory, gamma) -> "Rollout":
        def real(x):
            return torch.as_tensor(x, dtype=torch.float32)

        return cls(
            states=real(states),
            actions=torch.as_tensor(actions, dtype=torch.int64),
            rewards=real(rewards),
            is_not_done=real(is_not_done),
            memory=tuple(part.detach() for part in memory),
            gamma=gamma,
        )

    @property
    def length(self) -> int:
        """T, the number of the last column."""
        return self.rewards.shape[1] - 1

    def ticks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield from zip(self.states.unbind(1), self.is_not_done.unbind(1), strict=True)


@dataclass(frozen=True)
class Replay:
    """What the agent says about a rollout now."""

    rollout: Rollout
    logits: torch.Tensor
    values: torch.Tensor

    @classmethod
    def of(cls, rollout: Rollout, agent: RecurrentAgent) -> "Replay":
        memory = rollout.memory
        blank = agent.get_initial_state(len(rollout.rewards))
        logits, values = [], []
        for obs, alive in rollout.ticks():
            (h, c), (logits_t, values_t) = agent.forward(memory, obs)
            logits.append(logits_t)
            values.append(values_t)
            keep = alive.bool().unsqueeze(1)
            memory = torch.where(keep, h, blank[0]), torch.where(keep, c, blank[1])
        return cls(rollout, torch.stack(logits, dim=1), torch.stack(values, dim=1))

    @cached_property
    def log_policy(self) -> torch.Tensor:
        return self.logits.log_softmax(dim=-1)

    @cached_property
    def log_pi(self) -> torch.Tensor:
        """log π(a_t|s_t), without the last column."""
        chosen = self.rollout.actions.unsqueeze(-1)
        return self.log_policy.gather(-1, chosen).squeeze(-1)[:, :-1]

    @cached_property
    def returns(self) -> torch.Tensor:
        """G_0 ... G_{T-1}; constant."""
        ro = self.rollout
        g = ro.is_not_done[:, ro.length] * self.values[:, ro.length].detach()
        columns: list[torch.Tensor] = []
        for t in range(ro.length)[::-1]:
            g = ro.rewards[:, t] + ro.gamma * ro.is_not_done[:, t] * g
            columns.append(g)
        return torch.stack(columns[::-1], dim=1)

    @property
    def advantage(self) -> torch.Tensor:
        return (self.returns - self.values[:, :-1]).detach()


class Term(ABC):
    """One summand of the loss, to be minimised."""

    @abstractmethod
    def __call__(self, replay: Replay) -> torch.Tensor: ...

    def weight(self) -> float:
        return 1.0


class Policy(Term):
    def __call__(self, replay):
        return -(replay.log_pi * replay.advantage).mean()


class Value(Term):
    def __call__(self, replay):
        ro = replay.rollout
        future = replay.values[:, 1:].detach() * ro.is_not_done[:, :-1]
        target = ro.rewards[:, :-1] + ro.gamma * future
        return F.mse_loss(replay.values[:, :-1], target)

    def weight(self):
        return value_loss_weight


class Entropy(Term):
    def __call__(self, replay):
        """Minus the entropy: more of it is better."""
        p = replay.log_policy.exp()
        return (p * replay.log_policy).sum(dim=-1).mean()

    def weight(self):
        return entropy_weight


class Learner:
    def __init__(
        self,
        terms: list[Term],
        get_agent: Callable[[], RecurrentAgent],
        get_optimizer: Callable[[], torch.optim.Optimizer],
    ) -> None:
        self._terms = terms
        self._get_agent = get_agent
        self._get_optimizer = get_optimizer

    def loss(self, rollout: Rollout) -> torch.Tensor:
        replay = Replay.of(rollout, self._get_agent())
        return sum(term.weight() * term(replay) for term in self._terms)

    def update(self, rollout: Rollout) -> np.ndarray:
        optimizer = self._get_optimizer()
        optimizer.zero_grad(set_to_none=True)
        loss = self.loss(rollout)
        loss.backward()
        optimizer.step()
        return loss.detach().numpy()


learner = Learner([Policy(), Value(), Entropy()], lambda: agent, lambda: opt)


def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    """Takes one gradient step on a rollout and returns the loss, a NumPy number."""
    return learner.update(
        Rollout.from_numpy(states, actions, rewards, is_not_done, prev_memory_states, gamma)
    )
# %% keep: loss-check
# %%
# Exercise: optimizer
opt = torch.optim.Adam(params=agent.parameters(), lr=1e-4, betas=(0.9, 0.999))
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
