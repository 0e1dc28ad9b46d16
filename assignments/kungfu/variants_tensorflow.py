"""TensorFlow's variants: how each idea of `variants.py` looks in this solution."""

from assignments.kungfu.variants import Edits, make_variants

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
ADAM = "keras.optimizers.Adam()"


RIGHT: Edits = {
    "agent": {
        "the solution": (),
        "h and c unpacked": (
            (CELL, "hidden, (h, c) = self.lstm_cell(features, prev_state)"),
            ("new_state = cell_state", "new_state = [h, c]"),
        ),
        "output taken from the state": (
            (CELL, "_, cell_state = self.lstm_cell(features, prev_state)"),
            ("new_state = cell_state", "new_state = cell_state\n        hidden = new_state[0]"),
        ),
        "squeeze of the last axis": (
            (VALUE_HEAD, "tf.squeeze(self.state_value_head(hidden), -1)"),
        ),
        "reshape of the value": ((VALUE_HEAD, "tf.reshape(self.state_value_head(hidden), (-1,))"),),
        "other sizes and a further layer": (
            ("self.lstm_output_size = 256", "self.lstm_output_size = 64"),
            (
                'keras.layers.Dense(256, activation="relu", kernel_initializer=he),',
                'keras.layers.Dense(100, activation="relu"), keras.layers.LayerNormalization(),',
            ),
        ),
        "a layer of its own before the heads": (
            (
                "self.state_value_head = keras.layers.Dense(1)",
                "self.state_value_head = keras.layers.Dense(1)\n"
                '        self.mixer = keras.layers.Dense(32, activation="elu")',
            ),
            ("self.logits_head(hidden)", "self.logits_head(self.mixer(hidden))"),
            (VALUE_HEAD, "self.state_value_head(self.mixer(hidden))[:, 0]"),
        ),
        "functions before and after the cell": (
            ("self.backbone(obs_t)", "tf.nn.relu(self.backbone(obs_t - 0.5))"),
            ("self.logits_head(hidden)", "self.logits_head(tf.tanh(hidden))"),
        ),
        "a large memory": (("self.lstm_output_size = 256", "self.lstm_output_size = 1024"),),
    },
    "loss": {
        "the solution": (),
        "the number of actions asked of the game": (
            (
                "    rollout_length = rewards",
                "    assert env.action_space.n == 14\n    rollout_length = rewards",
            ),
        ),
        "forward called by its name": ((ASK, ASK.replace("agent(", "agent.forward(")),),
        "outputs unpacked in two steps": (
            (
                ASK,
                "memory, outputs = agent(memory, obs_t)\n            logits_t, values_t = outputs",
            ),
        ),
        "the agent asked twice": (
            (
                ASK,
                "_, (logits_t, values_t) = agent(memory, obs_t)\n"
                "            memory, _ = agent(memory, obs_t)",
            ),
        ),
        "means over the games taken once, at the end": (
            (VALUE_LOSS, f"value_loss += ({TD_TARGET} - V_t) ** 2"),
            (J_HAT, "J_hat += logpi_a_s_t * advantage"),
            ("J_hat /= rollout_length", "J_hat = tf.reduce_mean(J_hat) / rollout_length"),
            (
                "value_loss /= rollout_length",
                "value_loss = tf.reduce_mean(value_loss) / rollout_length",
            ),
        ),
        "a library's mean squared error": (
            (VALUE_LOSS, f"value_loss += keras.losses.MeanSquaredError()({TD_TARGET}, V_t)"),
        ),
        "the critic regressed on the n-step return": (
            (VALUE_LOSS, "value_loss += tf.reduce_mean((cumulative_returns - V_t) ** 2)"),
        ),
        "a final observation's value counted as 0 at once": (
            (TD_TARGET, "r_t + gamma * is_not_done[:, t] * is_not_done[:, t + 1] * V_next"),
        ),
        "the policy not taught by reset ticks": (
            (J_HAT, "J_hat += tf.reduce_mean(is_not_done[:, t] * logpi_a_s_t * advantage)"),
        ),
        "entropy without the last column": (
            (ENTROPY, "-tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1)[:, :-1])"),
        ),
        "the critic on returns, and entropy without the last column": (
            (VALUE_LOSS, "value_loss += tf.reduce_mean((cumulative_returns - V_t) ** 2)"),
            (ENTROPY, "-tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1)[:, :-1])"),
        ),
        "apply instead of apply_gradients": (
            (APPLY, "optimizer.apply(grads, agent.trainable_variables)"),
        ),
        "gradients clipped": (
            (APPLY, "grads, _ = tf.clip_by_global_norm(grads, 0.5)\n    " + APPLY),
        ),
        "compiled by the student": (
            ("def train_on_rollout", "@tf.function\ndef train_on_rollout"),
        ),
    },
    "optimizer": {
        "the solution": ((ADAM, "keras.optimizers.Adam()"),),
        "a function as learning rate": ((ADAM, "keras.optimizers.Adam(lambda: 1e-3)"),),
        "another optimizer": ((ADAM, "keras.optimizers.RMSprop(1e-4, global_clipnorm=0.5)"),),
        "a schedule": (
            (
                ADAM,
                "keras.optimizers.SGD("
                "keras.optimizers.schedules.CosineDecay(1e-2, 100), momentum=0.9)",
            ),
        ),
    },
}
WRONG: Edits = {
    "agent": {
        "value left (n, 1)": ((VALUE_HEAD, "self.state_value_head(hidden)"),),
        "value squeezed without an axis": (
            (VALUE_HEAD, "tf.squeeze(self.state_value_head(hidden))"),
        ),
        "softmax inside the logits head": (
            (
                "keras.layers.Dense(n_actions)",
                'keras.layers.Dense(n_actions, activation="softmax")',
            ),
        ),
        "the old memory handed on": (("new_state = cell_state", "new_state = prev_state"),),
        "h and c swapped": (("new_state = cell_state", "new_state = cell_state[::-1]"),),
        "the cell's output as the whole memory": (
            ("new_state = cell_state", "new_state = hidden"),
        ),
        "heads on the backbone": (("self.logits_head(hidden)", "self.logits_head(features)"),),
        "NumPy in forward": ((VALUE_HEAD, "self.state_value_head(hidden).numpy()[:, 0]"),),
    },
    "loss": {
        "entropy with the wrong sign": ((ENTROPY, ENTROPY[1:]),),
        "entropy averaged over the actions too": (
            (ENTROPY, "-tf.reduce_mean(policy * log_policy)"),
        ),
        "entropy summed over batch and time": ((ENTROPY, "-tf.reduce_sum(policy * log_policy)"),),
        "entropy of the chosen action only": (
            (ENTROPY, "-tf.reduce_mean(log_policy_for_actions)"),
        ),
        "entropy of the chosen action only, weighted": (
            (ENTROPY, "-tf.reduce_mean(tf.exp(log_policy_for_actions) * log_policy_for_actions)"),
        ),
        "advantage without stop-gradient": ((STOP_ADVANTAGE, ""),),
        "log-probability stopped instead of the advantage": (
            (STOP_ADVANTAGE, ""),
            (J_HAT, "J_hat += tf.reduce_mean(tf.stop_gradient(logpi_a_s_t) * advantage)"),
        ),
        "V(s') not stopped": ((TD_TARGET, TD_TARGET.replace("V_next", "state_values[:, t + 1]")),),
        "V(s') not stopped where it was given": (
            (
                "V_next = tf.stop_gradient(state_values[:, t + 1])",
                "V_next = state_values[:, t + 1]",
            ),
        ),
        "no mask in the TD target": ((TD_TARGET, "r_t + gamma * V_next"),),
        "the mask taken from the next column only": (
            (TD_TARGET, TD_TARGET.replace("[:, t]", "[:, t + 1]")),
        ),
        "no mask in the returns": (
            (RETURN, "G_t = r_t + gamma * cumulative_returns"),
            ("is_not_done[:, -1] * tf.stop_gradient", "tf.stop_gradient"),
        ),
        "memory not wiped": ((RESET, ""),),
        "rewards averaged over the games": (
            ("r_t = rewards[:, t]", "r_t = tf.reduce_mean(rewards[:, t])"),
        ),
        "step instead of a call": ((ASK, ASK.replace("agent(", "agent.step(")),),
        "memory not handed on": ((ASK, ASK.replace("memory, (", "_, (")),),
        "memory stopped at every tick": (
            (
                ASK,
                ASK.replace(
                    "(memory, obs_t)", "([tf.stop_gradient(part) for part in memory], obs_t)"
                ),
            ),
        ),
        "policy loss minimised the wrong way round": (
            (ADVANTAGE, "advantage = V_t - cumulative_returns"),
        ),
        "one-step advantage": ((ADVANTAGE, f"advantage = {TD_TARGET} - V_t"),),
        "return without a baseline": ((ADVANTAGE, "advantage = cumulative_returns"),),
        "every action praised alike": ((ADVANTAGE, "advantage = tf.ones_like(V_t)"),),
        "probability instead of its logarithm": (
            (J_HAT, "J_hat += tf.reduce_mean(tf.exp(logpi_a_s_t) * advantage)"),
        ),
        "policy summed over the games": (
            (J_HAT, "J_hat += tf.reduce_sum(logpi_a_s_t * advantage)"),
        ),
        "value loss summed over the games": (
            (VALUE_LOSS, VALUE_LOSS.replace("reduce_mean", "reduce_sum")),
        ),
        "value loss halved": (
            (VALUE_LOSS, VALUE_LOSS.replace("tf.reduce_mean", "0.5 * tf.reduce_mean")),
        ),
        "value not discounted": ((TD_TARGET, "r_t + is_not_done[:, t] * V_next"),),
        "value without a future": ((TD_TARGET, "r_t"),),
        "value stopped": ((VALUE_LOSS, VALUE_LOSS.replace("V_t", "tf.stop_gradient(V_t)")),),
        "nothing at all": (
            (
                "    states = tf.cast(states, tf.float32)",
                "    return tf.zeros(()).numpy()\n    states = tf.cast(states, tf.float32)",
            ),
        ),
        "the optimizer bypassed": (
            (
                APPLY,
                "[v.assign_sub(g) for v, g in zip(agent.trainable_variables, grads)]\n"
                "    optimizer.iterations.assign_add(1)",
            ),
        ),
        "no step taken": ((APPLY, "pass"),),
        "two steps taken": ((APPLY, APPLY + "\n    " + APPLY),),
        "weights left out of the loss": (
            ("value_loss_weight * value_loss - entropy_weight *", "value_loss - 0.01 *"),
        ),
        "a mean over an axis that is not there": (
            (VALUE_LOSS, f"value_loss += tf.reduce_mean(({TD_TARGET} - V_t) ** 2, axis=1)"),
        ),
    },
    "optimizer": {
        "the class itself": ((ADAM, "keras.optimizers.Adam"),),
        "a name": ((ADAM, '"adam"'),),
        "far too long steps": ((ADAM, "keras.optimizers.SGD(1e9)"),),
        "uphill": ((ADAM, "keras.optimizers.SGD(-0.1)"),),
        "standing still": ((ADAM, "keras.optimizers.SGD(0.0)"),),
    },
}

VARIANTS = make_variants(RIGHT, WRONG)
