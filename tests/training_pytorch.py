"""A small PyTorch agent and its training step."""

import torch

from tests import training_setup


class TorchAgent(torch.nn.Module, training_setup.CountingMemory):
    """Two logits and a value, linear in the observation."""

    def __init__(self, units):
        super().__init__()
        self.layer = torch.nn.Linear(1, units)

    def outputs(self, observations):
        with torch.no_grad():
            return self.layer(torch.as_tensor(observations)).numpy()

    def weights(self):
        return [self.layer.weight.T.tolist(), self.layer.bias.tolist()]

    def set_weights(self, kernel, bias):
        with torch.no_grad():
            self.layer.weight[:] = torch.tensor(kernel).T
            self.layer.bias[:] = torch.tensor(bias)


class Setup(training_setup.Setup):
    """What a PyTorch notebook has when training begins."""

    def __init__(self, folder, units=3, learning_rate=0.1, optimizer="Adam", **options):
        agent = TorchAgent(units)
        make = self.maker(torch.optim, optimizer)
        super().__init__(agent, make(agent.parameters(), learning_rate), folder, **options)

    def train_on_rollout(self, states, actions, rewards, is_not_done, memory, gamma=0.99):
        self.n_calls += 1
        values = self.agent.layer(torch.as_tensor(states))[..., 2]
        loss = torch.mean((values - torch.as_tensor(rewards)) ** 2)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach().numpy()

    def optimizer_state(self):
        states = self.optimizer.state_dict()["state"].values()
        return [[(name, part.tolist()) for name, part in state.items()] for state in states]

    def learning_rate(self):
        return self.optimizer.param_groups[0]["lr"]
