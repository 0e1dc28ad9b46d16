"""Answers that students hand in: right solutions written differently, and misconceptions.

A variant is the solution's exercise cell with some text replaced. Right variants must pass the
visible check; wrong ones, the *mutants*, must fail it with a line that names the idea.

An idea is the same in every framework and is defined here once. The edits that turn a solution into
its variants are in `variants_tensorflow.py` and `variants_pytorch.py`.
"""

import dataclasses
from collections.abc import Iterator

from assignments.kungfu import loss
from grading import assignment

Edits = dict[str, dict[str, tuple[tuple[str, str], ...]]]  # by exercise and by name


@dataclasses.dataclass(frozen=True)
class Idea:
    """A misconception.

    Attributes:
        message: part of the line that must fail in the visible check.
        loses: the names of the parts that must fail in grading.
        hint: what the feedback tells a student whose numbers match this mistake.
    """

    message: str
    loses: tuple[str, ...]
    hint: str


@dataclasses.dataclass(frozen=True, eq=False)
class Variant(assignment.Variant):
    """An edit of one exercise of the solution; see `grading.assignment.Variant`.

    Attributes:
        idea: the misconception; None for a right variant.
    """

    idea: Idea | None = None


EVERYTHING = tuple(part.name for part in loss.PARTS)  # if nothing can be measured

# Right answers whose numbers differ from the solution's.
COUNT = {
    "the critic regressed on the n-step return",
    "a final observation's value counted as 0 at once",
    "the policy not taught by reset ticks",
    "entropy without the last column",
    "the critic on returns, and entropy without the last column",
}

# The parts that fail if no weight moves.
NOTHING_MOVES = ("value_loss", "semi_gradient", "advantage", "policy_gradient")
NOTHING_MOVES += ("constant_advantage", "entropy_gradient", "value_ends", "policy_ends")
NOTHING_MOVES += ("memory_gradient", "weights")

BROADCAST = (
    "Somewhere, shapes (n,) and (n, 1) were broadcast to (n, n), which pairs every game with every "
    "other. Print the shapes of the arrays that you add, subtract and multiply."
)

# These two give the value loss the same numbers.
MIXED = (
    "Each game must keep its own rewards: an average over the games does not tell which actions "
    "were good. Combining (n,) with (n, 1) averages them, too, without an error."
)

IDEAS: dict[str, dict[str, Idea]] = {
    "agent": {
        "value left (n, 1)": Idea(
            "state_value has shape (5, 1): drop the last axis",
            ("state_value",),
            "The value of each game is one number. With a last axis of length 1, differences of "
            "values become tables that pair every game with every other.",
        ),
        "value squeezed without an axis": Idea(
            "a bare squeeze drops the games' axis too",
            ("state_value",),
            "A squeeze without an axis also drops the games' axis when there is only one game.",
        ),
        "softmax inside the logits head": Idea(
            "they are probabilities already",
            ("logits",),
            "Logits are not probabilities: the softmax comes later. Applied twice, it makes all "
            "actions almost equally likely.",
        ),
        "the old memory handed on": Idea(
            "it is the old memory",
            ("new_state",),
            "The next tick needs what the cell remembers now, not what it remembered before.",
        ),
        "h and c swapped": Idea(
            "[h, c], in this order",
            ("new_state",),
            "The two parts of the memory have an order: [h, c].",
        ),
        "the cell's output as the whole memory": Idea(
            "must be the two arrays [h, c]",
            (
                "logits",
                "state_value",
                "new_state",
                "games_apart",
                "agreement",
            ),
            "The cell's memory has two parts; its output is only one of them.",
        ),
        "heads on the backbone": Idea(
            "not what goes into the cell",
            ("logits",),
            "The actor's logits must depend on what the cell remembers.",
        ),
        "forward under no_grad": Idea(
            "every weight learns: no gradient reaches conv0.weight",
            ("gradients",),
            "Nothing computed under no_grad has gradients: no_grad is for playing, not for "
            "learning.",
        ),
        "outputs detached": Idea(
            "every weight learns: no gradient reaches ",
            ("gradients",),
            "A detached tensor passes no gradient back: nothing is learnt through it.",
        ),
        "softmax over the games inside the logits head": Idea(
            "each column sums to 1, over the games",
            ("logits", "games_apart"),
            "A softmax runs over the actions of one game, never over the games; and logits need no "
            "softmax.",
        ),
        "NumPy in forward": Idea(
            "every weight learns",
            (
                "gradients",
                "agreement",
            ),
            "Gradients do not pass through NumPy: forward must stay in TensorFlow.",
        ),
    },
    "loss": {
        "entropy with the wrong sign": Idea(
            "entropy: wrong sign",
            (
                "entropy_value",
                "entropy_gradient",
            ),
            "Check the entropy's sign: entropy is positive, and subtracting it from the loss makes "
            "the policy less certain.",
        ),
        "entropy averaged over the actions too": Idea(
            "entropy: averaged over the actions too",
            (
                "entropy_value",
                "entropy_gradient",
            ),
            "Entropy is a sum over the actions; average it over games and ticks only.",
        ),
        "entropy summed over batch and time": Idea(
            "entropy: summed over games and ticks",
            (
                "entropy_value",
                "entropy_gradient",
            ),
            "Average the entropy over games and ticks, so that its weight means the same for every "
            "batch.",
        ),
        "entropy of the chosen action only": Idea(
            "entropy: it depends on which action was played",
            (
                "entropy_value",
                "entropy_gradient",
            ),
            "Entropy is a sum over all actions, not only the one that was played.",
        ),
        "entropy of the chosen action only, weighted": Idea(
            "entropy: it depends on which action was played",
            (
                "entropy_value",
                "entropy_gradient",
            ),
            "Entropy is a sum over all actions, not only the one that was played, even if that one "
            "is weighted by its probability.",
        ),
        "advantage without stop-gradient": Idea(
            "the policy term moves the values",
            ("constant_advantage",),
            "The actor must treat the advantage as a constant: otherwise its loss trains the "
            "critic, too.",
        ),
        "log-probability stopped instead of the advantage": Idea(
            "the log-probabilities are not in J_hat, or are stopped",
            (
                "advantage",
                "policy_gradient",
                "constant_advantage",
                "policy_ends",
            ),
            "The advantage must be a constant, not the log-probability: a constant log-probability "
            "teaches the actor nothing.",
        ),
        "V(s') not stopped": Idea(
            "V(s_{t+1}) is pulled as well: use V_next",
            ("semi_gradient",),
            "The target of the value is a constant: the loss must move V(s_t) only.",
        ),
        "V(s') not stopped where it was given": Idea(
            "V(s_{t+1}) is pulled as well: use V_next",
            ("semi_gradient",),
            "The target of the value is a constant: the loss must move V(s_t) only.",
        ),
        "no mask in the TD target": Idea(
            "a finished game has no future",
            ("value_ends",),
            "A game that is over has no future value.",
        ),
        "the mask taken from the next column only": Idea(
            "the mask comes one column late",
            ("value_ends",),
            "The mask of a column says whether the observation in that same column is the last of "
            "its game.",
        ),
        "no mask in the returns": Idea(
            "policy: episode ends: returns run on into the next game",
            ("policy_ends",),
            "A return must not continue into the next game.",
        ),
        "memory not wiped": Idea(
            "it is carried into the next game",
            ("memory_reset",),
            "A new game starts with a blank memory, in training as in play.",
        ),
        "rewards averaged over the games": Idea(
            "rewards are averaged over the games",
            (
                "value_loss",
                "advantage",
                "value_ends",
                "policy_ends",
            ),
            MIXED,
        ),
        "step instead of a call": Idea(
            "agent.step is for playing",
            EVERYTHING,
            "agent.step is for playing: no gradient passes through its results.",
        ),
        "memory not handed on": Idea(
            "assign what comes back to memory",
            (
                "memory_passed",
                "memory_gradient",
            ),
            "The agent's new memory must go into its next tick.",
        ),
        "memory stopped at every tick": Idea(
            "within a rollout the memory must not be stopped",
            ("memory_gradient",),
            "Within a rollout, gradients must flow through the memory: this is how the agent "
            "learns what to remember.",
        ),
        "gradients never cleared": Idea(
            "they add up from call to call",
            ("step",),
            "Gradients add up until they are cleared: learn from each rollout only once.",
        ),
        "gradients cleared before the step": Idea(
            "were cleared before the step",
            NOTHING_MOVES,
            "Cleared gradients move no weights: clear them before you compute new ones, or after "
            "the step.",
        ),
        "the step before the gradients": Idea(
            "it comes before the gradients",
            (*NOTHING_MOVES, "step"),
            "A step uses the gradients that were computed before it, so compute them first.",
        ),
        "the pass under no_grad": Idea(
            "no gradient leads from the loss to the agent",
            EVERYTHING,
            "Under no_grad, nothing is recorded for the backward pass: training needs the agent's "
            "gradients.",
        ),
        "softmax over the ticks": Idea(
            "softmax runs over the ticks",
            ("advantage", "policy_gradient", "entropy_value", "entropy_gradient", "policy_ends"),
            "A softmax must run over the actions: the probabilities of one tick sum to 1.",
        ),
        "the advantage worked out in place": Idea(
            "the advantage overwrites the returns",
            ("advantage",),
            "In-place operations, such as -= or functions whose names end in _, overwrite values "
            "that the next tick still needs.",
        ),
        "a column of values": Idea(
            "(n,) and (n, 1) became (n, n)",
            ("value_loss", "advantage", "value_ends", "policy_ends"),
            BROADCAST,
        ),
        "a column of advantages": Idea(
            "every game gets the mean of all advantages",
            ("advantage", "policy_ends"),
            BROADCAST,
        ),
        "values left (n, 1) in the loss": Idea(
            "did (n,) and (n, 1) become (n, n)?",
            ("value_loss", "advantage", "value_ends", "policy_ends"),
            MIXED,
        ),
        "policy loss minimised the wrong way round": Idea(
            "good actions are made rarer",
            ("policy_gradient",),
            "Actions that went better than expected must become likelier.",
        ),
        "one-step advantage": Idea(
            "the advantage looks one step ahead only",
            ("advantage",),
            "A rollout looks further ahead than one step: use the return that was accumulated.",
        ),
        "return without a baseline": Idea(
            "the advantage lacks its baseline",
            ("advantage",),
            "An advantage says how much better than expected an action was: subtract what was "
            "expected.",
        ),
        "every action praised alike": Idea(
            "each played action should be pushed by its own advantage",
            ("advantage",),
            "The same praise for every action teaches nothing: an advantage says how much better "
            "than expected an action was.",
        ),
        "probability instead of its logarithm": Idea(
            "the probability stands where its logarithm should",
            ("policy_gradient",),
            "The policy gradient uses the logarithm of the probability.",
        ),
        "policy summed over the games": Idea(
            "advantage: twice too large for 2 games",
            ("policy_gradient",),
            "Average the policy's term over the games instead of summing it: otherwise the step "
            "grows with the number of games.",
        ),
        "value loss summed over the games": Idea(
            "value loss: twice too large for 2 games",
            ("value_loss",),
            "Average the value's term over the games instead of summing it: otherwise the step "
            "grows with the number of games.",
        ),
        "value loss halved": Idea(
            "the formula has no factor of 1/2",
            ("value_loss",),
            "The value loss has no factor of one half.",
        ),
        "value not discounted": Idea(
            "γ is missing",
            ("value_loss",),
            "The value of the next state must be discounted.",
        ),
        "value without a future": Idea(
            "γ·V(s_{t+1}) is missing",
            ("value_loss",),
            "The target of the value is more than the next reward: the next state has a value, "
            "too.",
        ),
        "value stopped": Idea(
            "it has no gradient",
            (
                "value_loss",
                "semi_gradient",
                "value_ends",
                "weights",
            ),
            "In its own loss, the value must not be a constant.",
        ),
        "nothing at all": Idea(
            "no weight changes",
            EVERYTHING,
            "Gradients change nothing until they are applied.",
        ),
        "the optimizer bypassed": Idea(
            "value loss: ",
            ("value_loss", "policy_gradient", "entropy_gradient"),
            "Let the optimizer change the weights: give it the gradients.",
        ),
        "no step taken": Idea(
            "no weight changes",
            (
                "value_loss",
                "semi_gradient",
                "advantage",
                "policy_gradient",
                "constant_advantage",
                "entropy_gradient",
                "value_ends",
                "policy_ends",
                "memory_gradient",
                "weights",
                "step",
            ),
            "Gradients change nothing until they are applied.",
        ),
        "two steps taken": Idea(
            "it takes 2 steps in one call",
            ("step",),
            "Take one step for each rollout.",
        ),
        "weights left out of the loss": Idea(
            "value_loss_weight and entropy_weight change nothing",
            ("weights",),
            "The weights of the loss terms must come from the settings.",
        ),
        "a mean over an axis that is not there": Idea(
            "train_on_rollout runs: ",
            EVERYTHING,
            "A shape does not fit. Print the shapes: each should begin with the number of games.",
        ),
    },
    "optimizer": {
        "the class itself": Idea(
            "Adam is the class: call it",
            ("descent",),
            "To make an optimizer, call its class.",
        ),
        "a name": Idea(
            "it is 'adam'",
            ("descent",),
            "An optimizer is an object, not its name.",
        ),
        "far too long steps": Idea(
            "get ever further off",
            ("descent",),
            "Steps this long overshoot and lead away from the minimum.",
        ),
        "uphill": Idea(
            "move uphill",
            ("descent",),
            "An optimizer must walk downhill, so that the loss decreases.",
        ),
        "standing still": Idea(
            "the learning rate is zero",
            ("descent",),
            "With a learning rate of zero, nothing is learnt.",
        ),
    },
}


def make_variants(right: Edits, wrong: Edits) -> tuple[Variant, ...]:
    """Returns all variants of a solution, right ones first."""
    return (*_make(right), *_make(wrong, IDEAS))


def _make(edits: Edits, ideas: dict[str, dict[str, Idea]] | None = None) -> Iterator[Variant]:
    for exercise, by_name in edits.items():
        for name, pairs in by_name.items():
            if ideas and name not in ideas[exercise]:
                raise ValueError(f"IDEAS[{exercise!r}] lacks {name!r}: is one of them misspelt?")
            idea = ideas[exercise][name] if ideas else None
            loses, hint = (frozenset(idea.loses), idea.hint) if idea else (frozenset(), "")
            yield Variant(name, exercise, pairs, name in COUNT, loses, hint, idea)
