"""What students hand in: right solutions written differently, and misconceptions.

A variant is the solution's exercise cell with some text replaced. Right ones must pass the check;
wrong ones must fail it with a line that names the idea.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Variant:
    """An edit of one exercise of the solution.

    Attributes:
        name: what is done differently.
        exercise: the name behind `# Exercise:`.
        edits: pairs of old and new text; each old text stands in the cell exactly once.
        message: a part of the line that must fail; "" for a right variant.
    """

    name: str
    exercise: str
    edits: tuple[tuple[str, str], ...]
    message: str = ""

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


def agent(name: str, *edits: tuple[str, str], message: str = "") -> Variant:
    return Variant(name, "agent", edits, message)


def loss(name: str, *edits: tuple[str, str], message: str = "") -> Variant:
    return Variant(name, "loss", edits, message)


def optimizer(name: str, code: str, message: str = "") -> Variant:
    return Variant(name, "optimizer", (("keras.optimizers.Adam()", code),), message)


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
    loss("the solution"),
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
    ),
    loss(
        "a final observation's value counted as 0 at once",
        (TD_TARGET, "r_t + gamma * is_not_done[:, t] * is_not_done[:, t + 1] * V_next"),
    ),
    loss(
        "the policy not taught by reset ticks",
        (J_HAT, "J_hat += tf.reduce_mean(is_not_done[:, t] * logpi_a_s_t * advantage)"),
    ),
    loss(
        "entropy without the last column",
        (ENTROPY, "-tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1)[:, :-1])"),
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
    ),
    agent(
        "value squeezed without an axis",
        (VALUE_HEAD, "tf.squeeze(self.state_value_head(hidden))"),
        message="a bare squeeze drops the games' axis too",
    ),
    agent(
        "softmax inside the logits head",
        ("keras.layers.Dense(n_actions)", 'keras.layers.Dense(n_actions, activation="softmax")'),
        message="they are probabilities already",
    ),
    agent(
        "the old memory handed on",
        ("new_state = cell_state", "new_state = prev_state"),
        message="it is the old memory",
    ),
    agent(
        "h and c swapped",
        ("new_state = cell_state", "new_state = cell_state[::-1]"),
        message="[h, c], in this order",
    ),
    agent(
        "the cell's output as the whole memory",
        ("new_state = cell_state", "new_state = hidden"),
        message="must be the two arrays [h, c]",
    ),
    agent(
        "heads on the backbone",
        ("self.logits_head(hidden)", "self.logits_head(features)"),
        message="not the backbone's",
    ),
    agent(
        "NumPy in forward",
        (VALUE_HEAD, "self.state_value_head(hidden).numpy()[:, 0]"),
        message="every weight learns",
    ),
    loss(
        "entropy with the wrong sign",
        (ENTROPY, ENTROPY[1:]),
        message="entropy: wrong sign",
    ),
    loss(
        "entropy averaged over the actions too",
        (ENTROPY, "-tf.reduce_mean(policy * log_policy)"),
        message="entropy: averaged over the actions too",
    ),
    loss(
        "entropy summed over batch and time",
        (ENTROPY, "-tf.reduce_sum(policy * log_policy)"),
        message="entropy: summed over games and ticks",
    ),
    loss(
        "entropy of the chosen action only",
        (ENTROPY, "-tf.reduce_mean(log_policy_for_actions)"),
        message="entropy: it depends on which action was played",
    ),
    loss(
        "entropy of the chosen action only, weighted",
        (ENTROPY, "-tf.reduce_mean(tf.exp(log_policy_for_actions) * log_policy_for_actions)"),
        message="entropy: it depends on which action was played",
    ),
    loss(
        "advantage without stop-gradient",
        (STOP_ADVANTAGE, ""),
        message="the policy term moves the values",
    ),
    loss(
        "log-probability stopped instead of the advantage",
        (STOP_ADVANTAGE, ""),
        (J_HAT, "J_hat += tf.reduce_mean(tf.stop_gradient(logpi_a_s_t) * advantage)"),
        message="the log-probabilities are not in J_hat, or are stopped",
    ),
    loss(
        "V(s') not stopped",
        (TD_TARGET, TD_TARGET.replace("V_next", "state_values[:, t + 1]")),
        message="V(s_{t+1}) is pulled as well: use V_next",
    ),
    loss(
        "V(s') not stopped where it was given",
        ("V_next = tf.stop_gradient(state_values[:, t + 1])", "V_next = state_values[:, t + 1]"),
        message="V(s_{t+1}) is pulled as well: use V_next",
    ),
    loss(
        "no mask in the TD target",
        (TD_TARGET, "r_t + gamma * V_next"),
        message="a finished game has no future",
    ),
    loss(
        "the mask taken from the next column only",
        (TD_TARGET, TD_TARGET.replace("[:, t]", "[:, t + 1]")),
        message="the mask comes one column late",
    ),
    loss(
        "no mask in the returns",
        (RETURN, "G_t = r_t + gamma * cumulative_returns"),
        ("is_not_done[:, -1] * tf.stop_gradient", "tf.stop_gradient"),
        message="policy: episode ends: returns run on into the next game",
    ),
    loss("memory not wiped", (RESET, ""), message="it is carried into the next game"),
    loss(
        "rewards averaged over the games",
        ("r_t = rewards[:, t]", "r_t = tf.reduce_mean(rewards[:, t])"),
        message="rewards are averaged over the games",
    ),
    loss(
        "step inside the tape",
        (ASK, ASK.replace("agent(", "agent.step(")),
        message="agent.step answers in NumPy",
    ),
    loss(
        "memory not handed on",
        (ASK, ASK.replace("memory, (", "_, (")),
        message="assign what comes back to memory",
    ),
    loss(
        "memory stopped at every tick",
        (
            ASK,
            ASK.replace("(memory, obs_t)", "([tf.stop_gradient(part) for part in memory], obs_t)"),
        ),
        message="within a rollout the memory must not be stopped",
    ),
    loss(
        "policy loss minimised the wrong way round",
        (ADVANTAGE, "advantage = V_t - cumulative_returns"),
        message="good actions are made rarer",
    ),
    loss(
        "one-step advantage",
        (ADVANTAGE, f"advantage = {TD_TARGET} - V_t"),
        message="the advantage looks one step ahead only",
    ),
    loss(
        "return without a baseline",
        (ADVANTAGE, "advantage = cumulative_returns"),
        message="the advantage lacks its baseline",
    ),
    loss(
        "probability instead of its logarithm",
        (J_HAT, "J_hat += tf.reduce_mean(tf.exp(logpi_a_s_t) * advantage)"),
        message="the probability stands where its logarithm should",
    ),
    loss(
        "policy summed over the games",
        (J_HAT, "J_hat += tf.reduce_sum(logpi_a_s_t * advantage)"),
        message="advantage: twice too large for 2 games",
    ),
    loss(
        "value loss summed over the games",
        (VALUE_LOSS, VALUE_LOSS.replace("reduce_mean", "reduce_sum")),
        message="value loss: twice too large for 2 games",
    ),
    loss(
        "value loss halved",
        (VALUE_LOSS, VALUE_LOSS.replace("tf.reduce_mean", "0.5 * tf.reduce_mean")),
        message="the formula has no factor of 1/2",
    ),
    loss(
        "value not discounted",
        (TD_TARGET, "r_t + is_not_done[:, t] * V_next"),
        message="γ is missing",
    ),
    loss(
        "value without a future",
        (TD_TARGET, "r_t"),
        message="γ·V(s_{t+1}) is missing",
    ),
    loss(
        "value stopped",
        (VALUE_LOSS, VALUE_LOSS.replace("V_t", "tf.stop_gradient(V_t)")),
        message="it has no gradient",
    ),
    loss("no step taken", (APPLY, "pass"), message="no weight changes"),
    loss(
        "two steps taken", (APPLY, APPLY + "\n    " + APPLY), message="it takes 2 steps in one call"
    ),
    loss(
        "weights left out of the loss",
        ("value_loss_weight * value_loss - entropy_weight *", "value_loss - 0.01 *"),
        message="value_loss_weight and entropy_weight change nothing",
    ),
    loss(
        "the tape's shape lost",
        (VALUE_LOSS, f"value_loss += tf.reduce_mean(({TD_TARGET} - V_t) ** 2, axis=1)"),
        message="train_on_rollout runs: ",
    ),
    optimizer("the class itself", "keras.optimizers.Adam", message="Adam is the class: call it"),
    optimizer("a name", '"adam"', message="it is 'adam'"),
    optimizer("uphill", "keras.optimizers.SGD(-0.1)", message="move uphill"),
    optimizer("standing still", "keras.optimizers.SGD(0.0)", message="the learning rate is zero"),
]
