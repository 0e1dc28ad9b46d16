"""PyTorch's variants: how each idea of `variants.py` looks in this solution."""

from assignments.kungfu.variants import Edits, make_variants

CELL = "hidden, cell = self.rnn(features, prev_state)"
LOGITS = "logits = self.logits(hidden)"
VALUE = "self.state_value(hidden)[:, 0]"
ASK = "memory, (logits_t, values_t) = agent(memory, obs_t)"
V_T = "V_t = state_values[:, t]"
TD_TARGET = "r_t + gamma * is_not_done[:, t] * V_next"
VALUE_LOSS = """value_loss += torch.mean(
            (r_t + gamma * is_not_done[:, t] * V_next - V_t) ** 2
        )"""
ADVANTAGE = "advantage = cumulative_returns - V_t"
DETACH_ADVANTAGE = "        advantage = advantage.detach()\n"
J_HAT = "J_hat += torch.mean(logpi_a_s_t * advantage)"
ENTROPY = """-torch.mean(
        torch.sum(probas * logprobas, dim=-1)
    )"""
CLEAR, BACKWARD, STEP = "opt.zero_grad()", "loss.backward()", "opt.step()"
RESET = """        memory = tuple(
            torch.where(goes_on, part, blank)
            for part, blank in zip(memory, blank_memory, strict=True)
        )
"""
LOOP = "in reversed(range(rollout_length))"
R_T = "r_t = rewards[:, t]"
BOOTSTRAP = "cumulative_returns = is_not_done[:, -1] * state_values[:, -1].detach()"
RETURN = "G_t = r_t + gamma * is_not_done[:, t] * cumulative_returns"
ADAM = "torch.optim.Adam(agent.parameters(), lr=3e-4)"
HEAD = "self.state_value = nn.Linear(128, 1)"


RIGHT: Edits = {
    "agent": {
        "the solution": (),
        "h and c in one name": (
            (CELL, "state = self.rnn(features, prev_state)\n        hidden = state[0]"),
            ("new_state = hidden, cell", "new_state = state"),
        ),
        "the memory as a list": (("new_state = hidden, cell", "new_state = [hidden, cell]"),),
        "squeeze of the last axis": ((VALUE, "self.state_value(hidden).squeeze(-1)"),),
        "reshape of the value": ((VALUE, "self.state_value(hidden).view(-1)"),),
        "other sizes and a further layer": (
            ("self.hid = nn.Linear(512, 128)", "self.hid = nn.Sequential(nn.Linear(512, 60))"),
            ("nn.LSTMCell(128, 128)", "nn.LSTMCell(60, 40)"),
            ("nn.Linear(128, n_actions)", "nn.Linear(40, n_actions)"),
            (HEAD, "self.state_value = nn.Linear(40, 1)"),
        ),
        "a layer of its own before the heads": (
            (HEAD, f"{HEAD}\n        self.mixer = nn.Linear(128, 128)"),
            (LOGITS, "logits = self.logits(F.elu(self.mixer(hidden)))"),
            (VALUE, "self.state_value(F.elu(self.mixer(hidden)))[:, 0]"),
        ),
        "the cell's forward called by its name": (
            (CELL, CELL.replace("self.rnn(", "self.rnn.forward(")),
        ),
        "heads that start from zeros": (
            (
                HEAD,
                f"{HEAD}\n        for head in (self.logits, self.state_value):\n"
                "            nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)",
            ),
        ),
        "functions before and after the cell": (
            ("self.conv0(obs_t)", "self.conv0(obs_t - 0.5)"),
            (LOGITS, "logits = self.logits(torch.tanh(hidden))"),
        ),
        "a large memory": (
            ("nn.LSTMCell(128, 128)", "nn.LSTMCell(128, 1024)"),
            ("nn.Linear(128, n_actions)", "nn.Linear(1024, n_actions)"),
            (HEAD, "self.state_value = nn.Linear(1024, 1)"),
        ),
        "the cell by another name": (
            ("self.rnn = nn.LSTMCell", "self.lstm = nn.LSTMCell"),
            (CELL, "hidden, cell = self.lstm(features, prev_state)"),
            ("self.rnn.hidden_size", "self.lstm.hidden_size"),
        ),
        "layers in one sequence": (
            (
                HEAD,
                f"{HEAD}\n        self.body = nn.Sequential(self.conv0, nn.ELU(), self.conv1, "
                "nn.ELU(), self.conv2, nn.ELU(), nn.Flatten(), self.hid, nn.ReLU())",
            ),
            (CELL, "hidden, cell = self.rnn(self.body(obs_t), prev_state)"),
        ),
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
            (ASK, "memory, outputs = agent(memory, obs_t)\n        logits_t, values_t = outputs"),
        ),
        "the agent asked twice": (
            (
                ASK,
                "_, (logits_t, values_t) = agent(memory, obs_t)\n"
                "        memory, _ = agent(memory, obs_t)",
            ),
        ),
        "means over the games taken once, at the end": (
            (VALUE_LOSS, f"value_loss = value_loss + ({TD_TARGET} - V_t) ** 2"),
            (J_HAT, "J_hat = J_hat + logpi_a_s_t * advantage"),
            ("J_hat /= rollout_length", "J_hat = J_hat.mean() / rollout_length"),
            ("value_loss /= rollout_length", "value_loss = value_loss.mean() / rollout_length"),
        ),
        "a library's mean squared error": (
            (VALUE_LOSS, f"value_loss += F.mse_loss(V_t, {TD_TARGET})"),
        ),
        "the critic regressed on the n-step return": (
            (VALUE_LOSS, "value_loss += torch.mean((cumulative_returns - V_t) ** 2)"),
        ),
        "a final observation's value counted as 0 at once": (
            (TD_TARGET, "r_t + gamma * is_not_done[:, t] * is_not_done[:, t + 1] * V_next"),
        ),
        "the policy not taught by reset ticks": (
            (J_HAT, "J_hat += torch.mean(is_not_done[:, t] * logpi_a_s_t * advantage)"),
        ),
        "entropy without the last column": (
            (ENTROPY, "-torch.mean(torch.sum(probas * logprobas, dim=-1)[:, :-1])"),
        ),
        "the critic on returns, and entropy without the last column": (
            (VALUE_LOSS, "value_loss += torch.mean((cumulative_returns - V_t) ** 2)"),
            (ENTROPY, "-torch.mean(torch.sum(probas * logprobas, dim=-1)[:, :-1])"),
        ),
        "gradients cleared after the step": ((CLEAR, "pass"), (STEP, f"{STEP}\n    {CLEAR}")),
        "gradients cleared by the agent": ((CLEAR, "agent.zero_grad()"),),
        "gradients asked for": (
            (
                BACKWARD,
                "for part, grad in zip(agent.parameters(), torch.autograd.grad(loss, "
                "[*agent.parameters()])):\n        part.grad = grad",
            ),
        ),
        "the optimizer by another name": (
            (CLEAR, CLEAR.replace("opt", "optimizer")),
            (STEP, STEP.replace("opt", "optimizer")),
        ),
        "gradients clipped": (
            (STEP, f"nn.utils.clip_grad_norm_(agent.parameters(), 0.5)\n    {STEP}"),
        ),
        "work in place that harms nobody": (
            (
                VALUE_LOSS,
                f"td_error = {TD_TARGET}\n        td_error -= V_t\n"
                "        value_loss += torch.mean(td_error.square())",
            ),
        ),
    },
    "optimizer": {
        "the solution": (),
        "the one that was given": ((ADAM, ADAM.replace("3e-4", "1e-5")),),
        "another optimizer": ((ADAM, "torch.optim.RMSprop(agent.parameters(), lr=1e-4)"),),
        "with momentum": ((ADAM, "torch.optim.SGD(agent.parameters(), lr=0.01, momentum=0.9)"),),
        "weights in groups": ((ADAM, "torch.optim.AdamW([{'params': agent.parameters()}])"),),
        "a rate for each layer": (
            (
                ADAM,
                "torch.optim.Adam([{'params': part.parameters(), 'lr': 1e-3 / (i + 1)} "
                "for i, part in enumerate(agent.children())])",
            ),
        ),
        "the optimizer by another name": (("opt = ", "optimizer = "),),
        "a warm-up from zero": (
            (
                ADAM,
                f"{ADAM}\nwarm_up = torch.optim.lr_scheduler.LambdaLR(opt, "
                "lambda i: min(1.0, i / 500))",
            ),
        ),
    },
}
WRONG: Edits = {
    "agent": {
        "value left (n, 1)": ((VALUE, "self.state_value(hidden)"),),
        "value squeezed without an axis": ((VALUE, "self.state_value(hidden).squeeze()"),),
        "softmax inside the logits head": (
            (LOGITS, "logits = F.softmax(self.logits(hidden), dim=-1)"),
        ),
        "softmax over the games inside the logits head": (
            (LOGITS, "logits = F.softmax(self.logits(hidden), dim=0)"),
        ),
        "the old memory handed on": (("new_state = hidden, cell", "new_state = prev_state"),),
        "h and c swapped": (("new_state = hidden, cell", "new_state = cell, hidden"),),
        "the cell's output as the whole memory": (
            ("new_state = hidden, cell", "new_state = hidden"),
        ),
        "heads on the backbone": ((LOGITS, "logits = self.logits(features)"),),
        "both heads on the backbone": (
            (LOGITS, "logits = self.logits(features)"),
            (VALUE, "self.state_value(features)[:, 0]"),
        ),
        "heads read the cell state": (
            (LOGITS, "logits = self.logits(cell)"),
            (VALUE, "self.state_value(cell)[:, 0]"),
        ),
        "one head reads the cell state": ((VALUE, "self.state_value(cell)[:, 0]"),),
        "the cell without its memory": (
            (CELL, "hidden, cell = self.rnn(features, self.get_initial_state(len(obs_t)))"),
        ),
        "played with a copy of the first weights": (
            (
                "        self.state_value = nn.Linear(128, 1)\n",
                "        self.state_value = nn.Linear(128, 1)\n"
                "        import copy\n\n        self.players = [copy.deepcopy(self)]\n",
            ),
            ("return self.forward(tuple", "return self.players[0](tuple"),
        ),
        "softmax over the games in sample_actions": (
            ("F.softmax(logits, dim=-1)", "F.softmax(logits, dim=0)"),
        ),
        "forward under no_grad": (("    def forward", "    @torch.no_grad()\n    def forward"),),
        "outputs detached": ((LOGITS, "logits = self.logits(hidden).detach()"),),
        "layers in a plain container": (
            ("self.conv1 = nn.Conv2d", "self.convs = [nn.Conv2d(32, 32, 3, 2)]\n        nn.Conv2d"),
            ("self.conv1(maps)", "self.convs[0](maps)"),
        ),
    },
    "loss": {
        "entropy with the wrong sign": ((ENTROPY, ENTROPY[1:]),),
        "entropy averaged over the actions too": ((ENTROPY, "-torch.mean(probas * logprobas)"),),
        "entropy summed over batch and time": ((ENTROPY, "-torch.sum(probas * logprobas)"),),
        "entropy of the chosen action only": ((ENTROPY, "-torch.mean(logprobas_for_actions)"),),
        "entropy of the chosen action only, weighted": (
            (ENTROPY, "-torch.mean(torch.exp(logprobas_for_actions) * logprobas_for_actions)"),
        ),
        "entropy with the wrong sign, averaged over the actions too": (
            (ENTROPY, "torch.mean(probas * logprobas)"),
        ),
        "entropy with the wrong sign, summed over the games": (
            (ENTROPY, "torch.sum(probas * logprobas) / (rollout_length + 1)"),
        ),
        "entropy of the chosen action only, with the wrong sign": (
            (ENTROPY, "torch.mean(logprobas_for_actions)"),
        ),
        "entropy of the first tick only": (
            (ENTROPY, "-torch.mean(torch.sum(probas * logprobas, dim=-1)[:, 0])"),
        ),
        "entropy divided by one tick too few": (
            (
                ENTROPY,
                "-torch.sum(torch.mean(torch.sum(probas * logprobas, dim=-1), dim=0))"
                " / rollout_length",
            ),
        ),
        "entropy of a constant policy": (
            (ENTROPY, "-torch.mean(torch.sum((probas * logprobas).detach(), dim=-1))"),
        ),
        "the last acted tick left out": ((LOOP, LOOP.replace("length)", "length - 1)")),),
        "rewards indexed backwards": ((R_T, "r_t = rewards[:, -t]"),),
        "rewards rescaled": ((R_T, "r_t = rewards[:, t] / 100"),),
        "rewards clipped": ((R_T, "r_t = torch.clip(rewards[:, t], -1, 1)"),),
        "absolute value loss": (
            (VALUE_LOSS, f"value_loss += torch.mean(torch.abs({TD_TARGET} - V_t))"),
        ),
        "Huber's value loss": ((VALUE_LOSS, f"value_loss += F.smooth_l1_loss({TD_TARGET}, V_t)"),),
        "value loss summed over the games and halved": (
            (VALUE_LOSS, VALUE_LOSS.replace("torch.mean", "0.5 * torch.sum")),
        ),
        "value loss without the mean over time": (("value_loss /= rollout_length", "pass"),),
        "value of the same tick in its target": (
            (TD_TARGET, TD_TARGET.replace("V_next", "V_t.detach()")),
        ),
        "returns not discounted": ((RETURN, RETURN.replace("gamma * ", "")),),
        "returns without a bootstrap": (
            (BOOTSTRAP, "cumulative_returns = 0.0 * is_not_done[:, -1]"),
        ),
        "advantage normalized over the games": (
            (
                DETACH_ADVANTAGE,
                f"{DETACH_ADVANTAGE}        advantage -= advantage.mean()\n"
                "        advantage = advantage / (advantage.std() + 1e-8)\n",
            ),
        ),
        "advantage without stop-gradient": ((DETACH_ADVANTAGE, ""),),
        "log-probability stopped instead of the advantage": (
            (DETACH_ADVANTAGE, ""),
            (J_HAT, "J_hat += torch.mean(logpi_a_s_t.detach() * advantage)"),
        ),
        "V(s') not stopped": ((TD_TARGET, TD_TARGET.replace("V_next", "state_values[:, t + 1]")),),
        "V(s') not stopped where it was given": (
            ("V_next = state_values[:, t + 1].detach()", "V_next = state_values[:, t + 1]"),
        ),
        "no mask in the TD target": ((TD_TARGET, "r_t + gamma * V_next"),),
        "the mask taken from the next column only": (
            (TD_TARGET, TD_TARGET.replace("[:, t]", "[:, t + 1]")),
        ),
        "no mask in the returns": (
            (RETURN, "G_t = r_t + gamma * cumulative_returns"),
            ("is_not_done[:, -1] * state_values", "state_values"),
        ),
        "memory not wiped": ((RESET, ""),),
        "memory wiped a tick too early": (
            (RESET, ""),
            (
                ASK,
                f"memory = tuple(part * is_not_done[:, t, None] for part in memory)\n        {ASK}",
            ),
        ),
        "rewards averaged over the games": (("r_t = rewards[:, t]", "r_t = rewards[:, t].mean()"),),
        "step instead of a call": ((ASK, ASK.replace("agent(", "agent.step(")),),
        "the pass under no_grad": ((ASK, f"with torch.no_grad():\n            {ASK}"),),
        "memory not handed on": ((ASK, ASK.replace("memory, (", "_, (")),),
        "memory stopped at every tick": (
            (ASK, ASK.replace("(memory, obs_t)", "([part.detach() for part in memory], obs_t)")),
        ),
        "gradients never cleared": ((CLEAR, "pass"),),
        "gradients cleared before the step": (
            (CLEAR, "pass"),
            (BACKWARD, f"{BACKWARD}\n    {CLEAR}"),
        ),
        "the step before the gradients": (
            (CLEAR, "opt.step(), opt.zero_grad()"),
            (f"  # YOUR CODE (lines)\n    {STEP}", ""),
        ),
        "softmax over the ticks": (
            ("F.softmax(logits, dim=-1)", "F.softmax(logits, dim=1)"),
            ("F.log_softmax(logits, dim=-1)", "F.log_softmax(logits, dim=1)"),
        ),
        "the advantage worked out in place": (
            (ADVANTAGE, "advantage = cumulative_returns.sub_(V_t.detach())"),
        ),
        "a column of values": ((V_T, "V_t = state_values[:, t, None]"),),
        "a column of advantages": ((ADVANTAGE, "advantage = (cumulative_returns - V_t)[:, None]"),),
        "values left (n, 1) in the loss": (
            (V_T, "V_t = state_values[:, t, None]"),
            ("V_next = state_values[:, t + 1]", "V_next = state_values[:, t + 1, None]"),
            ("state_values[:, -1].detach()", "state_values[:, -1, None].detach()"),
        ),
        "policy loss minimised the wrong way round": (
            (ADVANTAGE, "advantage = V_t - cumulative_returns"),
        ),
        "one-step advantage": ((ADVANTAGE, f"advantage = {TD_TARGET} - V_t"),),
        "return without a baseline": ((ADVANTAGE, "advantage = cumulative_returns"),),
        "every action praised alike": ((ADVANTAGE, "advantage = torch.ones_like(V_t)"),),
        "probability instead of its logarithm": (
            (J_HAT, "J_hat += torch.mean(torch.exp(logpi_a_s_t) * advantage)"),
        ),
        "policy summed over the games": ((J_HAT, "J_hat += torch.sum(logpi_a_s_t * advantage)"),),
        "value loss summed over the games": (
            (VALUE_LOSS, VALUE_LOSS.replace("torch.mean", "torch.sum")),
        ),
        "value loss halved": ((VALUE_LOSS, VALUE_LOSS.replace("torch.mean", "0.5 * torch.mean")),),
        "value not discounted": ((TD_TARGET, "r_t + is_not_done[:, t] * V_next"),),
        "value without a future": ((TD_TARGET, "r_t"),),
        "value stopped": ((VALUE_LOSS, VALUE_LOSS.replace("V_t", "V_t.detach()")),),
        "nothing at all": (
            (
                "    states = torch.as_tensor(states",
                "    return np.float32(0)\n    states = torch.as_tensor(states",
            ),
        ),
        "the optimizer bypassed": (
            (
                STEP,
                "with torch.no_grad():\n        for part in agent.parameters():\n"
                "            part -= part.grad\n    opt.zero_grad()\n    opt.step()",
            ),
        ),
        "no step taken": ((STEP, "pass"),),
        "two steps taken": ((STEP, f"{STEP}\n    {STEP}"),),
        "no gradients computed": ((BACKWARD, "pass"),),
        "some weights left out of the step": (
            (
                BACKWARD,
                f"{BACKWARD}\n    for part in [*agent.parameters()][:-4]:\n"
                "        part.grad = None",
            ),
        ),
        "a new optimizer in every call": (
            (CLEAR, f"opt = torch.optim.Adam(agent.parameters())\n    {CLEAR}"),
        ),
        "logits of other games and ticks": (
            (
                "logprobas_for_actions = torch.sum(logprobas * actions_one_hot, dim=-1)",
                "swapped = logprobas.transpose(0, 1).reshape(logprobas.shape)\n"
                "    logprobas_for_actions = torch.sum(swapped * actions_one_hot, dim=-1)",
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
            (J_HAT, "J_hat += gamma**t * torch.mean(logpi_a_s_t * advantage)"),
        ),
        "the mean error squared": (
            (VALUE_LOSS, f"value_loss += torch.mean({TD_TARGET} - V_t) ** 2"),
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
            (VALUE_LOSS, f"value_loss += torch.mean(({TD_TARGET} - V_t) ** 2, dim=1)"),
        ),
    },
    "optimizer": {
        "the class itself": ((ADAM, "torch.optim.Adam"),),
        "a name": ((ADAM, '"adam"'),),
        "far too long steps": ((ADAM, "torch.optim.SGD(agent.parameters(), lr=1e9)"),),
        "uphill": ((ADAM, "torch.optim.SGD(agent.parameters(), lr=0.1, maximize=True)"),),
        "standing still": ((ADAM, "torch.optim.SGD(agent.parameters(), lr=0.0)"),),
        "some weights left out of the optimizer": (
            (ADAM, "torch.optim.Adam(agent.logits.parameters())"),
        ),
    },
}

VARIANTS = make_variants(RIGHT, WRONG)
