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

# The parts that fail if no gradient is computed.
NO_GRADIENT = ("value_loss", "semi_gradient", "advantage", "policy_gradient")
NO_GRADIENT += ("constant_advantage", "entropy_gradient", "value_ends", "policy_ends")
NO_GRADIENT += ("memory_gradient", "step")

BROADCAST = (
    "Somewhere, shapes (n,) and (n, 1) were broadcast to (n, n), which pairs every game with every "
    "other. Print the shapes of the arrays that you add, subtract and multiply."
)

# These two give the value loss the same numbers.
MIXED = (
    "Each game must keep its own rewards: an average over the games does not tell which actions "
    "were good. Combining (n,) with (n, 1) averages them, too, without an error."
)

CELL_STATE = (
    "An LSTM cell gives back its output h and its state c. The state is the cell's own, and grows "
    "without bounds; the heads should read the output."
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
            ("new_state",),
            "The cell's memory has two parts; its output is only one of them.",
        ),
        "heads on the backbone": Idea(
            "not what goes into the cell",
            ("logits",),
            "What the agent does and expects must depend on what the cell remembers: a head that "
            "reads the network before the cell knows no memory.",
        ),
        "both heads on the backbone": Idea(
            "not what goes into the cell",
            ("logits", "state_value", "heads"),
            "What the agent does and expects must depend on what the cell remembers: a head that "
            "reads the network before the cell knows no memory.",
        ),
        "heads read the cell state": Idea(
            "follow the cell state c",
            ("heads",),
            CELL_STATE,
        ),
        "one head reads the cell state": Idea(
            "state_value follows the cell state c",
            ("heads",),
            CELL_STATE,
        ),
        "the cell without its memory": Idea(
            "the old memory makes no difference",
            ("new_state",),
            "The cell combines what the agent sees with what it remembers: it needs both.",
        ),
        "played with a copy of the first weights": Idea(
            "keeps playing with old weights",
            ("agreement",),
            "A copy of the network learns nothing: the agent that plays must have the weights of "
            "the one that is trained.",
        ),
        "softmax over the games in sample_actions": Idea(
            "the softmax must run over each game's own actions",
            ("agreement",),
            "Each game draws from its own actions: a softmax over the games mixes them, and the "
            "agent plays something other than what it has learnt.",
        ),
        "forward under no_grad": Idea(
            "no gradient flows back through logits and state_value and new_state",
            ("gradients",),
            "Nothing computed under no_grad has gradients: no_grad is for playing, not for "
            "learning.",
        ),
        "outputs detached": Idea(
            "no gradient flows back through logits: something was detached",
            ("gradients",),
            "A detached tensor passes no gradient back: nothing is learnt through it.",
        ),
        "layers in a plain container": Idea(
            "so no optimizer moves",
            ("gradients",),
            "An agent finds the weights of layers that are its attributes, not of those in a plain "
            "list or dictionary: whoever trains the agent never sees them.",
        ),
        "softmax over the games inside the logits head": Idea(
            "each column sums to 1, over the games",
            ("logits",),
            "A softmax runs over the actions of one game, never over the games; and logits need no "
            "softmax.",
        ),
        "NumPy in forward": Idea(
            "no gradient flows back through state_value: something was detached, turned into NumPy",
            ("gradients",),
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
        "entropy with the wrong sign, averaged over the actions too": Idea(
            "entropy: wrong sign; and averaged over the actions too",
            ("entropy_value", "entropy_gradient"),
            "Check the entropy's sign, and what is averaged: entropy is positive, and a sum over "
            "the actions.",
        ),
        "entropy with the wrong sign, summed over the games": Idea(
            "entropy: wrong sign; and summed over the games",
            ("entropy_value", "entropy_gradient"),
            "Check the entropy's sign, and average it over the games, too.",
        ),
        "entropy of the chosen action only, with the wrong sign": Idea(
            "entropy: it depends on which action was played; and wrong sign",
            ("entropy_value", "entropy_gradient"),
            "Entropy is a sum over all actions, not only the one that was played; and it is "
            "positive.",
        ),
        "entropy of the first tick only": Idea(
            "entropy: only the first tick counts",
            ("entropy_value", "entropy_gradient"),
            "Entropy is averaged over all ticks of the rollout, not taken from one of them.",
        ),
        "entropy divided by one tick too few": Idea(
            "entropy: summed over rollout_length + 1 ticks, but divided by rollout_length",
            ("entropy_value", "entropy_gradient"),
            "A mean is a sum divided by the number of its terms: count the ticks again.",
        ),
        "entropy of a constant policy": Idea(
            "entropy: its gradient: it has no gradient",
            ("entropy_gradient",),
            "An entropy can only be changed through the policy: do not make the policy a constant.",
        ),
        "the last acted tick left out": Idea(
            "value loss: the last acted tick is left out",
            ("value_loss", "advantage"),
            "Every tick that was acted on counts: does the loop reach the last one?",
        ),
        "rewards indexed backwards": Idea(
            "value loss: rewards are in reversed order, rotated by one",
            ("value_loss", "advantage"),
            "The loop goes backwards in time, the arrays do not: each tick has its own column.",
        ),
        "rewards rescaled": Idea(
            "value loss: rewards are rescaled in the function",
            ("value_loss", "advantage"),
            "The rewards come in as they are meant: the loss must not rescale them.",
        ),
        "rewards clipped": Idea(
            "value loss: large rewards or errors are cut off",
            ("value_loss",),
            "Clipped rewards are other rewards: the formula takes them as they come.",
        ),
        "absolute value loss": Idea(
            "value loss: it is the absolute difference, not its square",
            ("value_loss",),
            "The value loss is a square: large errors must weigh more than small ones.",
        ),
        "Huber's value loss": Idea(
            "value loss: it is a Huber loss",
            ("value_loss",),
            "The value loss is a plain square, not a Huber loss.",
        ),
        "value loss summed over the games and halved": Idea(
            "value loss: summed over the games; and half as large as it should be",
            ("value_loss",),
            "Average the value's term over the games instead of summing it; and the formula has no "
            "factor of one half.",
        ),
        "value loss without the mean over time": Idea(
            "value loss: the mean over time is missing",
            ("value_loss",),
            "The value loss is a mean over the ticks: otherwise longer rollouts take longer steps.",
        ),
        "value of the same tick in its target": Idea(
            "value loss: its target holds V of its own tick",
            ("value_loss",),
            "The future begins with the next state.",
        ),
        "returns not discounted": Idea(
            "the return in the advantage is not discounted",
            ("advantage",),
            "Rewards further ahead count less: returns are discounted at every tick.",
        ),
        "returns without a bootstrap": Idea(
            "the return begins with 0",
            ("advantage",),
            "A rollout ends before the game does: what comes after is worth what the critic says.",
        ),
        "advantage normalized over the games": Idea(
            "advantages are normalized over the games",
            ("advantage",),
            "What a batch of advantages has in common is information, too: if all went better than "
            "expected, all of it should be done more often.",
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
        "memory wiped a tick too early": Idea(
            "it is wiped one tick too early",
            ("memory_reset",),
            "is_not_done is 0 in the last tick of a game, which the agent still sees with the "
            "memory of that game; the new game begins in the next tick.",
        ),
        "rewards averaged over the games": Idea(
            "rewards are averaged over the games",
            ("value_loss", "advantage"),
            MIXED,
        ),
        "step instead of a call": Idea(
            "agent.step is for playing",
            ("memory_passed", "memory_gradient"),
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
            "gradients were cleared before it",
            ("step",),
            "Cleared gradients move no weights: clear them before you compute new ones, or after "
            "the step.",
        ),
        "the step before the gradients": Idea(
            "it comes before the gradients",
            ("step",),
            "A step uses the gradients that were computed before it, so compute them first.",
        ),
        "the pass under no_grad": Idea(
            "no gradient leads from the loss to the agent",
            NO_GRADIENT,
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
            ("value_loss", "advantage"),
            BROADCAST,
        ),
        "a column of advantages": Idea(
            "every game gets the mean of all advantages",
            ("advantage",),
            BROADCAST,
        ),
        "values left (n, 1) in the loss": Idea(
            "did (n,) and (n, 1) become (n, n)?",
            ("value_loss", "advantage"),
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
            "every action is praised alike",
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
            "policy: J_hat: summed over the games",
            ("policy_gradient",),
            "Average the policy's term over the games instead of summing it: otherwise the step "
            "grows with the number of games.",
        ),
        "value loss summed over the games": Idea(
            "value loss: summed over the games",
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
            ),
            "In its own loss, the value must not be a constant.",
        ),
        "logits of other games and ticks": Idea(
            "logits meet the actions of other games and ticks",
            ("policy_gradient",),
            "A reshape keeps the order of the numbers, it does not swap axes: stack along axis 1, "
            "or transpose.",
        ),
        "the loop forwards in time": Idea(
            "the returns are added up forwards in time",
            ("advantage",),
            "A return is made of what comes later: the loop must begin at the end of the rollout.",
        ),
        "the two weights swapped": Idea(
            "value_loss_weight multiplies the entropy",
            ("weights",),
            "Each term has its own weight: which one belongs to the value loss?",
        ),
        "ticks weighted by powers of γ": Idea(
            "each tick is weighted by γ to the power of t",
            ("policy_gradient",),
            "Each return discounts from its own tick on; the ticks themselves count alike.",
        ),
        "the mean error squared": Idea(
            "the mean of the errors is squared",
            ("value_loss",),
            "Square each game's own error, then take the mean: errors of different signs must not "
            "cancel.",
        ),
        "the entropy in the value's bracket": Idea(
            "value_loss_weight multiplies the entropy, too",
            ("weights",),
            "Each term has its own weight: mind where the bracket closes.",
        ),
        "nothing at all": Idea(
            "no weight changes",
            EVERYTHING,
            "Gradients change nothing until they are applied.",
        ),
        "the optimizer bypassed": Idea(
            "weights change, but not by the optimizer",
            ("step",),
            "Let the optimizer change the weights: give it the gradients.",
        ),
        "no step taken": Idea(
            "no weight changes, for the optimizer takes no step",
            ("step",),
            "Gradients change nothing until they are applied.",
        ),
        "no gradients computed": Idea(
            "no gradient is computed",
            ("step",),
            "A step needs gradients: compute them from the loss first.",
        ),
        "some weights left out of the step": Idea(
            "some weights never learn: the step changes ",
            ("step",),
            "Every weight of the agent has its gradient: leave none of them out of the step.",
        ),
        "a new optimizer in every call": Idea(
            "a new optimizer is made in every call",
            ("step",),
            "An optimizer keeps averages from step to step. Made anew in every call, it starts "
            "without them each time: use the one that was made before.",
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
            "value_loss can be computed: ",
            ("value_loss", "semi_gradient", "value_ends"),
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
        "some weights left out of the optimizer": Idea(
            "some weights never learn: it does not move ",
            ("descent",),
            "An optimizer moves only the weights that it was given: give it all of the agent's.",
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
