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
GRADIENTS = "grads = tape.gradient(loss, agent.trainable_variables)"
RESET = """            memory = [
                tf.where(goes_on, part, blank)
                for part, blank in zip(memory, blank_memory, strict=True)
            ]
"""
LOOP = "in reversed(range(rollout_length))"
R_T = "r_t = rewards[:, t]"
BOOTSTRAP = "cumulative_returns = is_not_done[:, -1] * tf.stop_gradient(state_values[:, -1])"
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
        "the cell by another name": (
            ("self.lstm_cell = keras", "self.recurrent = keras"),
            (CELL, CELL.replace("self.lstm_cell(", "self.recurrent(")),
        ),
        "heads that start from zeros": (
            (
                "keras.layers.Dense(n_actions)",
                'keras.layers.Dense(n_actions, kernel_initializer="zeros")',
            ),
            (
                "self.state_value_head = keras.layers.Dense(1)",
                'self.state_value_head = keras.layers.Dense(1, kernel_initializer="zeros")',
            ),
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
        "gradients handed on part by part": (
            (
                GRADIENTS,
                "parts = agent.backbone, agent.lstm_cell, agent.logits_head, "
                "agent.state_value_head\n"
                "    grads = tape.gradient(loss, [part.trainable_variables for part in parts])\n"
                "    grads = sum(grads, [])",
            ),
        ),
        "the optimizer by another name": ((APPLY, APPLY.replace("optimizer", "opt")),),
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
        "gradients accumulated": (
            (ADAM, "keras.optimizers.Adam(3e-4, gradient_accumulation_steps=4)"),
        ),
        "a warm-up from zero": (
            (
                ADAM,
                "keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay("
                "0.0, 10_000, warmup_target=3e-4, warmup_steps=500))",
            ),
        ),
        "built for the agent": (
            ("optimizer = ", "optimizer = built = "),
            ("# YOUR CODE: one of keras.optimizers", "\nbuilt.build(agent.trainable_variables)"),
        ),
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
        "both heads on the backbone": (
            ("self.logits_head(hidden)", "self.logits_head(features)"),
            (VALUE_HEAD, "self.state_value_head(features)[:, 0]"),
        ),
        "heads read the cell state": (
            ("self.logits_head(hidden)", "self.logits_head(cell_state[1])"),
            (VALUE_HEAD, "self.state_value_head(cell_state[1])[:, 0]"),
        ),
        "one head reads the cell state": (
            (VALUE_HEAD, "self.state_value_head(cell_state[1])[:, 0]"),
        ),
        "the cell without its memory": (
            (CELL, CELL.replace("prev_state", "self.get_initial_state(tf.shape(obs_t)[0])")),
        ),
        "softmax over the games in sample_actions": (
            (
                "return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)",
                "logits = np.log(tf.nn.softmax(logits, axis=0))\n"
                "        return np.argmax(logits + np.random.gumbel(size=logits.shape), axis=-1)",
            ),
        ),
        "NumPy in forward": ((VALUE_HEAD, "self.state_value_head(hidden).numpy()[:, 0]"),),
        "layers in a plain container": (
            ("self.backbone = keras", 'self.layers = {}\n        self.layers["backbone"] = keras'),
            ("features = self.backbone(", 'features = self.layers["backbone"]('),
        ),
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
        "entropy with the wrong sign, averaged over the actions too": (
            (ENTROPY, "tf.reduce_mean(policy * log_policy)"),
        ),
        "entropy with the wrong sign, summed over the games": (
            (ENTROPY, "tf.reduce_sum(policy * log_policy) / (rollout_length + 1)"),
        ),
        "entropy of the chosen action only, with the wrong sign": (
            (ENTROPY, "tf.reduce_mean(log_policy_for_actions)"),
        ),
        "entropy of the first tick only": (
            (ENTROPY, "-tf.reduce_mean(tf.reduce_sum(policy * log_policy, axis=-1)[:, 0])"),
        ),
        "entropy divided by one tick too few": (
            (
                ENTROPY,
                "-tf.reduce_sum(policy * log_policy) / (rewards.shape[0] * rollout_length)",
            ),
        ),
        "entropy of a constant policy": (
            (
                ENTROPY,
                "-tf.reduce_mean(tf.reduce_sum(tf.stop_gradient(policy * log_policy), axis=-1))",
            ),
        ),
        "the last acted tick left out": ((LOOP, LOOP.replace("length)", "length - 1)")),),
        "rewards indexed backwards": ((R_T, "r_t = rewards[:, -t]"),),
        "rewards rescaled": ((R_T, "r_t = rewards[:, t] / 100"),),
        "rewards clipped": ((R_T, "r_t = tf.clip_by_value(rewards[:, t], -1, 1)"),),
        "absolute value loss": (
            (VALUE_LOSS, f"value_loss += tf.reduce_mean(tf.abs({TD_TARGET} - V_t))"),
        ),
        "Huber's value loss": (
            (VALUE_LOSS, f"value_loss += keras.losses.Huber()({TD_TARGET}, V_t)"),
        ),
        "value loss summed over the games and halved": (
            (VALUE_LOSS, VALUE_LOSS.replace("tf.reduce_mean", "0.5 * tf.reduce_sum")),
        ),
        "value loss without the mean over time": (("value_loss /= rollout_length", "pass"),),
        "value of the same tick in its target": (
            (TD_TARGET, TD_TARGET.replace("V_next", "tf.stop_gradient(V_t)")),
        ),
        "returns not discounted": ((RETURN, RETURN.replace("gamma * ", "")),),
        "returns without a bootstrap": (
            (BOOTSTRAP, "cumulative_returns = 0.0 * is_not_done[:, -1]"),
        ),
        "advantage normalized over the games": (
            (
                STOP_ADVANTAGE,
                f"{STOP_ADVANTAGE}            advantage -= tf.reduce_mean(advantage)\n"
                "            advantage /= tf.math.reduce_std(advantage) + 1e-8\n",
            ),
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
        "memory wiped a tick too early": (
            (RESET, ""),
            (
                ASK,
                f"memory = [part * is_not_done[:, t, None] for part in memory]\n            {ASK}",
            ),
        ),
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
        "some weights left out of the step": (
            (
                APPLY,
                "optimizer.apply_gradients(zip(grads[-4:], agent.trainable_variables[-4:]))",
            ),
        ),
        "a new optimizer in every call": (
            (APPLY, f"optimizer = keras.optimizers.Adam(1e-3)\n    {APPLY}"),
        ),
        "logits of other games and ticks": (
            (
                "log_policy_for_actions = select_log_policy_for_actions(log_policy, actions)",
                "swapped = tf.reshape(tf.transpose(log_policy, [1, 0, 2]), log_policy.shape)\n"
                "        log_policy_for_actions = select_log_policy_for_actions(swapped, actions)",
            ),
        ),
        "the loop forwards in time": ((LOOP, "in range(rollout_length)"),),
        "the two weights swapped": (
            (
                "value_loss_weight * value_loss - entropy_weight * entropy_reg",
                "entropy_weight * value_loss - value_loss_weight * entropy_reg",
            ),
        ),
        "ticks weighted by powers of γ": (
            (J_HAT, "J_hat += gamma**t * tf.reduce_mean(logpi_a_s_t * advantage)"),
        ),
        "the mean error squared": (
            (VALUE_LOSS, f"value_loss += tf.reduce_mean({TD_TARGET} - V_t) ** 2"),
        ),
        "the entropy in the value's bracket": (
            (
                "value_loss_weight * value_loss - entropy_weight * entropy_reg",
                "value_loss_weight * (value_loss - entropy_weight * entropy_reg)",
            ),
        ),
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
        "some weights left out of the optimizer": (
            ("optimizer = ", "optimizer = built = "),
            (
                "# YOUR CODE: one of keras.optimizers",
                "\nbuilt.build(agent.trainable_variables[-4:])",
            ),
        ),
    },
}

VARIANTS = make_variants(RIGHT, WRONG)
