"""A small Keras agent and its training step."""

import keras
import numpy as np
import tensorflow as tf

from tests import training_setup


class KerasAgent(training_setup.CountingMemory):
    """Two logits and a value, linear in the observation."""

    def __init__(self, units):
        self.layer = keras.layers.Dense(units)
        self.layer(tf.zeros((1, 1)))

    @property
    def trainable_variables(self):
        return self.layer.trainable_variables

    def outputs(self, observations):
        return self.layer(observations).numpy()

    def weights(self):
        return [array.tolist() for array in self.layer.get_weights()]

    def set_weights(self, kernel, bias):
        self.layer.set_weights([np.array(kernel, np.float32), np.array(bias, np.float32)])


class Setup(training_setup.Setup):
    """What a TensorFlow notebook has when training begins."""

    def __init__(self, folder, units=3, learning_rate=0.1, optimizer="Adam", **options):
        agent = KerasAgent(units)
        make = self.maker(keras.optimizers, optimizer)
        super().__init__(agent, make(learning_rate), folder, **options)

    def train_on_rollout(self, states, actions, rewards, is_not_done, memory, gamma=0.99):
        self.n_calls += 1
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.agent.layer(states)[..., 2] - rewards) ** 2)
        variables = self.agent.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss.numpy() if tf.executing_eagerly() else loss

    def optimizer_state(self):
        return [variable.numpy().tolist() for variable in self.optimizer.variables]

    def learning_rate(self):
        return float(self.optimizer.learning_rate)
