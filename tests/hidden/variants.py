"""What students hand in: right solutions written differently, and misconceptions.

A variant is the solution's exercise cell with some text replaced. Right ones must pass the check;
wrong ones must fail it with a line that names the idea.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Variant:
    """An edit of one exercise of the solution.

    Attributes:
        name: what is done differently.
        exercise: the name behind `# Exercise:`.
        edits: pairs of old and new text; each old text stands in the cell exactly once.
        message: a part of the line that must fail in the visible check; "" for a right variant.
        counts: right, though its numbers are not the solution's: the grader must know them.
        loses: the parts that must fail in grading, by name; these variants are the mutants.
        hint: what feedback says to a student whose numbers are this variant's.
    """

    name: str
    exercise: str
    edits: tuple[tuple[str, str], ...]
    message: str = ""
    counts: bool = False
    loses: tuple[str, ...] = ()
    hint: str = ""

    def apply(self, source: str) -> str:
        """Returns the edited source; raises ValueError where an edit does not fit."""
        for old, new in self.edits:
            if source.count(old) != 1:
                raise ValueError(
                    f"{self.name}: {old!r} stands {source.count(old)} times in the cell"
                )
            source = source.replace(old, new)
        return source


CELL = "hidden, cell_state = self.lstm_cell(features, prev_state)"
VALUE_HEAD = "self.state_value_head(hidden)[:, 0]"
ASK = "memory, (logits_t, values_t) = agent(memory, obs_t)"
TD_TARGET = "r_t + gamma * is_not_done[:, t] * V_next"
VALUE_LOSS = """value_loss += tf.reduce_mean(
                (r_t + gamma * is_not_done[:, t] * V_next - V_t) ** 2
            )"""
ADVANTAGE = "advantage = cumulative_returns - V_t"
STOP_ADVANTAGE = "            advantage = tf.stop_gradient(advantage)\n"
J_HAT = "J_hat += tf.reduce_mean(logpi_a_s_t * advantage)"
ENTROPY = """-tf.reduce_mean(
            tf.reduce_sum(policy * log_policy, axis=-1)
        )"""
APPLY = """optimizer.apply_gradients(
        zip(grads, agent.trainable_variables, strict=True)
    )"""
RESET = """            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]
"""
RETURN = "G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns"


def agent(name: str, *edits: tuple[str, str], **rest: Any) -> Variant:
    return Variant(name, "agent", edits, **rest)


def loss(name: str, *edits: tuple[str, str], **rest: Any) -> Variant:
    return Variant(name, "loss", edits, **rest)


def optimizer(name: str, code: str, **rest: Any) -> Variant:
    return Variant(name, "optimizer", (("keras.optimizers.Adam()", code),), **rest)


EVERYTHING = ("*",)  # nothing can be measured


RIGHT = [
    agent("the solution"),
    agent(
        "h and c unpacked",
        (CELL, "hidden, (h, c) = self.lstm_cell(features, prev_state)"),
        ("new_state = cell_state", "new_state = [h, c]"),
    ),
    agent(
        "output taken from the state",
        (CELL, "_, cell_state = self.lstm_cell(features, prev_state)"),
        ("new_state = cell_state", "new_state = cell_state\n        hidden = new_state[0]"),
    ),
    agent(
        "squeeze of the last axis", (VALUE_HEAD, "tf.squeeze(self.state_value_head(hidden), -1)")
    ),
    agent("reshape of the value", (VALUE_HEAD, "tf.reshape(self.state_value_head(hidden), (-1,))")),
    agent(
        "other sizes and a further layer",
        ("self.lstm_output_size = 256", "self.lstm_output_size = 64"),
        (
            'keras.layers.Dense(256, activation="relu"),',
            'keras.layers.Dense(100, activation="relu"), keras.layers.LayerNormalization(),',
        ),
    ),
    agent(
        "a layer of its own before the heads",
        (
            "self.state_value_head = keras.layers.Dense(1)",
            "self.state_value_head = keras.layers.Dense(1)\n"
            '        self.mixer = keras.layers.Dense(32, activation="elu")',
        ),
        ("self.logits_head(hidden)", "self.logits_head(self.mixer(hidden))"),
        (VALUE_HEAD, "self.state_value_head(self.mixer(hidden))[:, 0]"),
    ),
    agent(
        "functions before and after the cell",
        ("self.backbone(obs_t)", "tf.nn.relu(self.backbone(obs_t - 0.5))"),
        ("self.logits_head(hidden)", "self.logits_head(tf.tanh(hidden))"),
    ),
    agent(
        "a large memory",
        ("self.lstm_output_size = 256", "self.lstm_output_size = 1024"),
    ),
    loss("the solution"),
    loss(
        "the number of actions asked of the game",
        (
            "    rollout_length = rewards",
            "    assert env.action_space.n == 14\n    rollout_length = rewards",
        ),
    ),
    loss("forward called by its name", (ASK, ASK.replace("agent(", "agent.forward("))),
    loss(
        "outputs unpacked in two steps",
        (ASK, "memory, outputs = agent(memory, obs_t)\n            logits_t, values_t = outputs"),
    ),
    loss(
        "the agent asked twice",
        (
            ASK,
            "_, (logits_t, values_t) = agent(memory, obs_t)\n"
            "            memory, _ = agent(memory, obs_t)",
        ),
    ),
    loss(
        "means over the games taken once, at the end",
        (VALUE_LOSS, f"value_loss += ({TD_TARGET} - V_t) ** 2"),
        (J_HAT, "J_hat += logpi_a_s_t * advantage"),
        ("J_hat /= rollout_length", "J_hat = tf.reduce_mean(J_hat) / rollout_length"),
        (
            "value_loss /= rollout_length",
            "value_loss = tf.reduce_mean(value_loss) / rollout_length",
        ),
    ),
    loss(
        "a library's mean squared error",
        (VALUE_LOSS, f"value_loss += keras.losses.MeanSquaredError()({TD_TARGET}, V_t)"),
    ),
    loss(
        "the critic regressed on the n-step return",
        (VALUE_LOSS, "value_loss += tf.reduce_mean((cumulative_returns - V_t) ** 2)"),
        counts=True,
    ),
    loss(
        "a final observation's value counted as 0 at once",
        (TD_TARGET, "r_t + gamma * is_not_done[:, t] * is_not_done[:, t + 1] * V_next"),
        counts=True,
    ),
    loss(
        "the policy not taught by reset ticks",
        (J_HAT, "J_hat += tf.reduce_mean(is_not_done[:, t] * logpi_a_s_t * advantage)"),
        counts=True,
    ),
    loss(
        "entropy without the last column",
        (ENTROPY, "-tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1)[:, :-1])"),
        counts=True,
    ),
    loss(
        "the critic on returns, and entropy without the last column",
        (VALUE_LOSS, "value_loss += tf.reduce_mean((cumulative_returns - V_t) ** 2)"),
        (ENTROPY, "-tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1)[:, :-1])"),
        counts=True,
    ),
    loss(
        "apply instead of apply_gradients",
        (APPLY, "optimizer.apply(grads, agent.trainable_variables)"),
    ),
    loss(
        "gradients clipped",
        (APPLY, "grads, _ = tf.clip_by_global_norm(grads, 0.5)\n    " + APPLY),
    ),
    loss("compiled by the student", ("def train_on_rollout", "@tf.function\ndef train_on_rollout")),
    optimizer("the solution", "keras.optimizers.Adam()"),
    optimizer("a function as learning rate", "keras.optimizers.Adam(lambda: 1e-3)"),
    optimizer("another optimizer", "keras.optimizers.RMSprop(1e-4, global_clipnorm=0.5)"),
    optimizer(
        "a schedule",
        "keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(1e-2, 100), momentum=0.9)",
    ),
]

WRONG = [
    agent(
        "value left (n, 1)",
        (VALUE_HEAD, "self.state_value_head(hidden)"),
        message="state_value has shape (5, 1): drop the last axis",
        loses=("state_value",),
        hint="A value for each game is one number: with a last axis of length 1, differences of "
        "values become tables of everybody against everybody.",
    ),
    agent(
        "value squeezed without an axis",
        (VALUE_HEAD, "tf.squeeze(self.state_value_head(hidden))"),
        message="a bare squeeze drops the games' axis too",
        loses=("state_value",),
        hint="A squeeze that is not told which axis also drops the games' axis when there is one "
        "game.",
    ),
    agent(
        "softmax inside the logits head",
        ("keras.layers.Dense(n_actions)", 'keras.layers.Dense(n_actions, activation="softmax")'),
        message="they are probabilities already",
        loses=("logits",),
        hint="Logits are not probabilities: softmax comes later, and applied twice it leaves a "
        "policy that hardly prefers anything.",
    ),
    agent(
        "the old memory handed on",
        ("new_state = cell_state", "new_state = prev_state"),
        message="it is the old memory",
        loses=("new_state",),
        hint="What goes on to the next tick must be what the cell remembers now, not what it "
        "remembered before.",
    ),
    agent(
        "h and c swapped",
        ("new_state = cell_state", "new_state = cell_state[::-1]"),
        message="[h, c], in this order",
        loses=("new_state",),
        hint="The two parts of the memory have an order, [h, c].",
    ),
    agent(
        "the cell's output as the whole memory",
        ("new_state = cell_state", "new_state = hidden"),
        message="must be the two arrays [h, c]",
        hint="The cell's memory has two parts; its output is only one of them.",
        loses=(
            "logits",
            "state_value",
            "new_state",
            "games_apart",
            "agreement",
        ),
    ),
    agent(
        "heads on the backbone",
        ("self.logits_head(hidden)", "self.logits_head(features)"),
        message="not the backbone's",
        loses=("logits",),
        hint="What the actor says must depend on what the cell remembers.",
    ),
    agent(
        "NumPy in forward",
        (VALUE_HEAD, "self.state_value_head(hidden).numpy()[:, 0]"),
        message="every weight learns",
        hint="Gradients do not pass through NumPy: forward must stay in TensorFlow.",
        loses=(
            "gradients",
            "agreement",
        ),
    ),
    loss(
        "entropy with the wrong sign",
        (ENTROPY, ENTROPY[1:]),
        message="entropy: wrong sign",
        loses=(
            "entropy_value",
            "entropy_gradient",
        ),
        hint="The entropy's sign: it is positive, and subtracting it from the loss makes the "
        "policy less sure.",
    ),
    loss(
        "entropy averaged over the actions too",
        (ENTROPY, "-tf.reduce_mean(policy * log_policy)"),
        message="entropy: averaged over the actions too",
        loses=(
            "entropy_value",
            "entropy_gradient",
        ),
        hint="An entropy sums over the actions; only games and ticks are averaged.",
    ),
    loss(
        "entropy summed over batch and time",
        (ENTROPY, "-tf.reduce_sum(policy * log_policy)"),
        message="entropy: summed over games and ticks",
        loses=(
            "entropy_value",
            "entropy_gradient",
        ),
        hint="The entropy is a mean over games and ticks, so that its weight means the same for "
        "every batch.",
    ),
    loss(
        "entropy of the chosen action only",
        (ENTROPY, "-tf.reduce_mean(log_policy_for_actions)"),
        message="entropy: it depends on which action was played",
        loses=(
            "entropy_value",
            "entropy_gradient",
        ),
        hint="An entropy runs over all actions, not only over the one that was played.",
    ),
    loss(
        "entropy of the chosen action only, weighted",
        (ENTROPY, "-tf.reduce_mean(tf.exp(log_policy_for_actions) * log_policy_for_actions)"),
        message="entropy: it depends on which action was played",
        loses=(
            "entropy_value",
            "entropy_gradient",
        ),
        hint="An entropy runs over all actions, not only over the one that was played, probable or"
        " not.",
    ),
    loss(
        "advantage without stop-gradient",
        (STOP_ADVANTAGE, ""),
        message="the policy term moves the values",
        loses=("constant_advantage",),
        hint="The advantage must be a constant for the actor: otherwise the critic is trained to "
        "please it.",
    ),
    loss(
        "log-probability stopped instead of the advantage",
        (STOP_ADVANTAGE, ""),
        (J_HAT, "J_hat += tf.reduce_mean(tf.stop_gradient(logpi_a_s_t) * advantage)"),
        message="the log-probabilities are not in J_hat, or are stopped",
        loses=(
            "advantage",
            "policy_gradient",
            "constant_advantage",
            "policy_ends",
        ),
        hint="It is the advantage that must be constant; a constant log-probability teaches the "
        "actor nothing.",
    ),
    loss(
        "V(s') not stopped",
        (TD_TARGET, TD_TARGET.replace("V_next", "state_values[:, t + 1]")),
        message="V(s_{t+1}) is pulled as well: use V_next",
        loses=("semi_gradient",),
        hint="The target of the value is a constant: only V(s_t) is pulled.",
    ),
    loss(
        "V(s') not stopped where it was given",
        ("V_next = tf.stop_gradient(state_values[:, t + 1])", "V_next = state_values[:, t + 1]"),
        message="V(s_{t+1}) is pulled as well: use V_next",
        loses=("semi_gradient",),
        hint="The target of the value is a constant: only V(s_t) is pulled.",
    ),
    loss(
        "no mask in the TD target",
        (TD_TARGET, "r_t + gamma * V_next"),
        message="a finished game has no future",
        loses=("value_ends",),
        hint="A game that is over has no future value.",
    ),
    loss(
        "the mask taken from the next column only",
        (TD_TARGET, TD_TARGET.replace("[:, t]", "[:, t + 1]")),
        message="the mask comes one column late",
        loses=("value_ends",),
        hint="The mask of a column says whether *its* observation is the last of its game.",
    ),
    loss(
        "no mask in the returns",
        (RETURN, "G_t = r_t + gamma * cumulative_returns"),
        ("is_not_done[:, -1] * tf.stop_gradient", "tf.stop_gradient"),
        message="policy: episode ends: returns run on into the next game",
        loses=("policy_ends",),
        hint="A return must not run on into the next game.",
    ),
    loss(
        "memory not wiped",
        (RESET, ""),
        message="it is carried into the next game",
        loses=("memory_reset",),
        hint="A new game starts with a blank memory, in training as in play.",
    ),
    loss(
        "rewards averaged over the games",
        ("r_t = rewards[:, t]", "r_t = tf.reduce_mean(rewards[:, t])"),
        message="rewards are averaged over the games",
        hint="Each game has rewards of its own: averaging them leaves nobody to praise.",
        loses=(
            "value_loss",
            "advantage",
            "value_ends",
            "policy_ends",
        ),
    ),
    loss(
        "step inside the tape",
        (ASK, ASK.replace("agent(", "agent.step(")),
        message="agent.step answers in NumPy",
        loses=EVERYTHING,
        hint="agent.step answers in NumPy, and no gradient passes through that.",
    ),
    loss(
        "memory not handed on",
        (ASK, ASK.replace("memory, (", "_, (")),
        message="assign what comes back to memory",
        loses=(
            "memory_passed",
            "memory_gradient",
        ),
        hint="What the agent remembers must go into its next tick.",
    ),
    loss(
        "memory stopped at every tick",
        (
            ASK,
            ASK.replace("(memory, obs_t)", "([tf.stop_gradient(part) for part in memory], obs_t)"),
        ),
        message="within a rollout the memory must not be stopped",
        loses=("memory_gradient",),
        hint="Within a rollout gradients must flow through the memory: that is how it learns what "
        "to keep.",
    ),
    loss(
        "policy loss minimised the wrong way round",
        (ADVANTAGE, "advantage = V_t - cumulative_returns"),
        message="good actions are made rarer",
        loses=("policy_gradient",),
        hint="Actions that went better than expected must become likelier.",
    ),
    loss(
        "one-step advantage",
        (ADVANTAGE, f"advantage = {TD_TARGET} - V_t"),
        message="the advantage looks one step ahead only",
        loses=("advantage",),
        hint="A rollout looks further ahead than one step: use the return that was added up.",
    ),
    loss(
        "return without a baseline",
        (ADVANTAGE, "advantage = cumulative_returns"),
        message="the advantage lacks its baseline",
        loses=("advantage",),
        hint="An advantage says how much better than expected it went: the expectation is missing.",
    ),
    loss(
        "probability instead of its logarithm",
        (J_HAT, "J_hat += tf.reduce_mean(tf.exp(logpi_a_s_t) * advantage)"),
        message="the probability stands where its logarithm should",
        loses=("policy_gradient",),
        hint="The policy gradient has the logarithm of the probability in it.",
    ),
    loss(
        "policy summed over the games",
        (J_HAT, "J_hat += tf.reduce_sum(logpi_a_s_t * advantage)"),
        message="advantage: twice too large for 2 games",
        loses=("policy_gradient",),
        hint="Means over the games, not sums: otherwise the step grows with their number. This is "
        "the policy's term.",
    ),
    loss(
        "value loss summed over the games",
        (VALUE_LOSS, VALUE_LOSS.replace("reduce_mean", "reduce_sum")),
        message="value loss: twice too large for 2 games",
        loses=("value_loss",),
        hint="Means over the games, not sums: otherwise the step grows with their number. This is "
        "the value's term.",
    ),
    loss(
        "value loss halved",
        (VALUE_LOSS, VALUE_LOSS.replace("tf.reduce_mean", "0.5 * tf.reduce_mean")),
        message="the formula has no factor of 1/2",
        loses=("value_loss",),
        hint="The value loss has no factor of one half.",
    ),
    loss(
        "value not discounted",
        (TD_TARGET, "r_t + is_not_done[:, t] * V_next"),
        message="γ is missing",
        loses=("value_loss",),
        hint="The value of what comes next is discounted.",
    ),
    loss(
        "value without a future",
        (TD_TARGET, "r_t"),
        message="γ·V(s_{t+1}) is missing",
        loses=("value_loss",),
        hint="The target of the value is more than the next reward: what comes after it has a "
        "value too.",
    ),
    loss(
        "value stopped",
        (VALUE_LOSS, VALUE_LOSS.replace("V_t", "tf.stop_gradient(V_t)")),
        message="it has no gradient",
        hint="The value itself must not be a constant in its own loss.",
        loses=(
            "value_loss",
            "semi_gradient",
            "value_ends",
            "weights",
        ),
    ),
    loss(
        "nothing at all",
        (
            "    states = tf.cast(states, tf.float32)",
            "    return tf.zeros(()).numpy()\n    states = tf.cast(states, tf.float32)",
        ),
        message="no weight changes",
        loses=EVERYTHING,
        hint="Gradients that nobody applies change nothing.",
    ),
    loss(
        "the optimizer bypassed",
        (
            APPLY,
            "[v.assign_sub(g) for v, g in zip(agent.trainable_variables, grads)]\n"
            "    optimizer.iterations.assign_add(1)",
        ),
        message="value loss: ",
        loses=("value_loss", "policy_gradient", "entropy_gradient"),
        hint="Weights are the optimizer's to change: hand it the gradients.",
    ),
    loss(
        "no step taken",
        (APPLY, "pass"),
        message="no weight changes",
        hint="Gradients that nobody applies change nothing.",
        loses=(
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
    ),
    loss(
        "two steps taken",
        (APPLY, APPLY + "\n    " + APPLY),
        message="it takes 2 steps in one call",
        loses=("step",),
        hint="One rollout, one step.",
    ),
    loss(
        "weights left out of the loss",
        ("value_loss_weight * value_loss - entropy_weight *", "value_loss - 0.01 *"),
        message="value_loss_weight and entropy_weight change nothing",
        loses=("weights",),
        hint="The weights of the terms come from the settings.",
    ),
    loss(
        "the tape's shape lost",
        (VALUE_LOSS, f"value_loss += tf.reduce_mean(({TD_TARGET} - V_t) ** 2, axis=1)"),
        message="train_on_rollout runs: ",
        loses=EVERYTHING,
        hint="A shape does not fit: print the shapes, each should begin with the number of games.",
    ),
    optimizer(
        "the class itself",
        "keras.optimizers.Adam",
        message="Adam is the class: call it",
        loses=("descent",),
        hint="An optimizer is made by calling its class.",
    ),
    optimizer(
        "a name",
        '"adam"',
        message="it is 'adam'",
        loses=("descent",),
        hint="An optimizer is an object, not its name.",
    ),
    optimizer(
        "far too long steps",
        "keras.optimizers.SGD(1e9)",
        message="get ever further off",
        loses=("descent",),
        hint="Steps that long lead away from where they should.",
    ),
    optimizer(
        "uphill",
        "keras.optimizers.SGD(-0.1)",
        message="move uphill",
        loses=("descent",),
        hint="A learning rate is positive.",
    ),
    optimizer(
        "standing still",
        "keras.optimizers.SGD(0.0)",
        message="the learning rate is zero",
        loses=("descent",),
        hint="With a learning rate of zero nothing is learnt.",
    ),
]
