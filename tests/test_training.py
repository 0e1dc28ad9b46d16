"""A small agent in a counting game: what a training run counts, saves and restores."""

import contextlib
import importlib
import math
import multiprocessing
import random
import sys
import time
from multiprocessing import forkserver
from types import ModuleType, SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import learners
import training
from tests.training_setup import CountingMemory
from training import LivePlot, TrainingDivergedError, TrainingRun, measure_rollout

FRAMEWORKS = [
    pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("tensorflow", "pytorch")
]
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


def setup_class(framework):
    return importlib.import_module(f"tests.training_{framework}").Setup


@pytest.fixture(params=FRAMEWORKS)
def make_setup(request):
    return setup_class(request.param)


@pytest.fixture
def setup(make_setup, tmp_path):
    return make_setup(tmp_path)


def said(capsys):
    """Returns what was printed, as one line."""
    return " ".join(capsys.readouterr().out.split())


# Counting.


def test_a_run_counts_rollouts_and_steps_and_goes_on_where_it_stopped(setup, capsys):
    setup.train(3)
    assert (setup.run.n_iterations, setup.run.n_env_steps) == (3, 3 * 2 * 2)
    setup.train(5)
    assert (setup.run.n_iterations, setup.run.n_env_steps) == (5, 5 * 2 * 2)
    assert setup.run.history["iteration"] == [1, 2, 3, 4, 5]
    output = said(capsys)
    assert "5 of 5 rollouts" in output
    assert "5 rollouts, 20 steps so far, no score yet (games ended in this kernel: 4)." in output
    assert "This was the limit of 5 rollouts." in output
    assert "All is saved in " in output
    setup.run.evaluated(1234)
    setup.train(6)
    assert "6 rollouts, 24 steps so far, latest games 1,234." in said(capsys)


def test_a_run_ends_when_its_time_is_up(setup, capsys):
    setup.train(10, max_minutes=0)
    assert setup.run.n_iterations == 0
    assert "This was the limit of 0 minutes." in said(capsys)


def test_a_loop_that_does_not_record_is_told_so(setup):
    with (
        pytest.raises(RuntimeError, match="call record once in every iteration"),
        setup.run.progress(2, 1) as iterations,
    ):
        for _ in iterations:
            pass


# Nothing is lost.


def test_an_interrupt_ends_the_loop_quietly_and_the_checkpoint_holds_everything(
    make_setup, setup, tmp_path, capsys
):
    def interrupt(iteration):
        if iteration == 2:
            setup.run.evaluated(7.5)
            raise KeyboardInterrupt

    setup.train(10, interrupt)
    assert "Interrupted. 2 rollouts, 8 steps so far, latest games 8." in said(capsys)
    random_number = np.random.random()

    resumed = make_setup(tmp_path)
    resumed.run.restore()
    assert resumed.state() == setup.state()
    assert resumed.run.n_iterations == 2
    assert np.random.random() == random_number


def test_an_error_in_the_loop_is_raised_and_what_was_learnt_is_saved(make_setup, setup, tmp_path):
    def fail(iteration):
        raise LookupError("a student's own")

    with pytest.raises(LookupError):
        setup.train(10, fail)
    resumed = make_setup(tmp_path)
    resumed.run.restore()
    assert resumed.state() == setup.state()


def test_a_checkpoint_is_written_while_training_goes_on(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    written = []
    setup.train(2, lambda iteration: written.append((tmp_path / "kungfu.npz").exists()))
    assert written == [True, True]


def test_resumed_training_learns_on_as_if_it_had_never_stopped(make_setup, tmp_path):
    whole, parts = make_setup(tmp_path / "whole"), make_setup(tmp_path / "parts")
    parts.agent.set_weights(*whole.agent.weights())
    whole.train(4)
    parts.train(2)
    resumed = make_setup(tmp_path / "parts")
    resumed.run.restore()
    resumed.pool = parts.pool  # the emulator's own state is in no checkpoint
    resumed.train(4)
    assert np.allclose(resumed.agent.weights()[0], whole.agent.weights()[0], rtol=1e-6)


def test_a_changed_learning_rate_outlives_the_restored_optimizer(make_setup, setup, tmp_path):
    setup.train(1)
    resumed = make_setup(tmp_path, learning_rate=0.025)
    resumed.run.restore()
    assert resumed.learning_rate() == pytest.approx(0.025)


def test_another_agents_checkpoint_is_refused_and_changes_nothing(make_setup, setup, tmp_path):
    setup.train(1)
    other = make_setup(tmp_path, units=4)
    before = other.state()
    with pytest.raises(ValueError, match=r"must have the shape \(.*4.*\), found \(.*3.*\)"):
        other.run.restore()
    assert other.state() == before


def test_a_new_run_puts_the_files_of_an_earlier_one_aside(make_setup, setup, tmp_path, capsys):
    setup.train(1)
    setup.run.evaluated(1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    new = make_setup(tmp_path)
    new.train(1)
    new.run.evaluated(2)
    aside = {path.read_bytes() for path in tmp_path.glob("*-until-*.npz")}
    assert aside == set(before.values())
    assert said(capsys).count("There was a checkpoint of an earlier run.") == 2
    assert {path.name for path in tmp_path.iterdir()} >= set(before)


def test_a_write_that_fails_leaves_the_old_checkpoint_whole(setup, tmp_path, monkeypatch):
    setup.train(1)
    before = (tmp_path / "kungfu.npz").read_bytes()

    def fail(file, **arrays):
        file.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        setup.run.save()
    assert (tmp_path / "kungfu.npz").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_training_goes_on_while_its_folder_is_out_of_reach(
    make_setup, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    setup = make_setup(tmp_path / "drive")
    setup.train(1)
    setup.run.evaluated(10)

    def lose_and_find_the_drive(iteration):
        if iteration == 2:
            (tmp_path / "drive").rename(tmp_path / "elsewhere")
            setup.run.evaluated(20)
        if iteration == 4:
            assert not (tmp_path / "drive").exists()
            (tmp_path / "elsewhere").rename(tmp_path / "drive")

    setup.train(5, lose_and_find_the_drive)
    best = setup.agent.weights()
    output = said(capsys)
    assert "kungfu-best.npz could not be written" in output
    assert "drive is no longer where it was" in output
    assert output.count("is written again.") == 2
    resumed = make_setup(tmp_path / "drive")
    resumed.run.restore()
    assert resumed.state() == setup.state()
    for run in (setup.run, resumed.run):
        run.restore_best()
    assert setup.agent.weights() == resumed.agent.weights() != best


def test_what_is_out_of_reach_at_the_end_is_told_and_can_be_saved(setup, tmp_path, capsys):
    setup.train(1)
    (tmp_path / "kungfu.npz").unlink()
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    setup.train(2)
    _, is_told, rest = said(capsys).partition("could not be written")
    assert is_told
    assert "All is saved" not in rest
    with pytest.raises(OSError, match="no longer where it was"):
        setup.run.save()
    tmp_path.with_name("elsewhere").rename(tmp_path)
    setup.run.save()
    assert (tmp_path / "kungfu.npz").exists()


@each_framework
def test_another_optimizers_checkpoint_is_refused_and_changes_nothing(framework, tmp_path):
    make = setup_class(framework)
    for i, (first, second) in enumerate(OPTIMIZERS[framework]):
        folder = tmp_path / str(i)
        make(folder, optimizer=first).train(2)
        other = make(folder, optimizer=second)
        before = other.state()
        with pytest.raises(ValueError, match="the checkpoint belongs to"):
            other.run.restore()
        assert other.state() == before
        other.train(1)


# An optimizer that has trained, and one that must not take over its state: of another kind, or of
# the same kind with more to remember.
OPTIMIZERS = {
    "tensorflow": [
        ("Adam", "RMSprop"),
        ("Adam", "Adamax"),
        (("SGD", {}), ("SGD", {"momentum": 0.9})),
        (("Adam", {"amsgrad": True}), "Adam"),
    ],
    "pytorch": [
        ("Adam", "RMSprop"),
        ("Adam", "Adamax"),
        ("RMSprop", ("RMSprop", {"momentum": 0.9})),
        (("Adam", {"amsgrad": True}), "Adam"),
    ],
}


INTERVAL = 3


def train_until_killed(framework, folder, told):
    """Continues from the checkpoint in its own process, and reports every rollout."""
    clock = [0.0]  # a rollout takes a second, so an interval is a number of rollouts
    training.SECONDS_BETWEEN_CHECKPOINTS = INTERVAL
    training.time = SimpleNamespace(monotonic=lambda: clock[0], strftime=time.strftime)
    setup = setup_class(framework)(folder, units=200_000)
    with contextlib.suppress(FileNotFoundError):
        setup.run.restore()

    def tell(iteration):
        told.send(iteration)
        clock[0] = iteration

    setup.train(10**9, tell, max_minutes=math.inf)


@pytest.mark.posix
@each_framework
def test_killed_at_any_moment_training_loses_one_interval_and_no_checkpoint(framework, tmp_path):
    # A server that runs already would load the framework anew in each process.
    forkserver._forkserver._stop()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"tests.training_{framework}"])
    saved = 0
    for _ in range(10):
        told, tell = context.Pipe(duplex=False)
        process = context.Process(target=train_until_killed, args=(framework, tmp_path, tell))
        process.start()
        tell.close()
        assert told.recv() == saved + 1
        for _ in range(INTERVAL + 1):
            last = told.recv()
        time.sleep(random.uniform(0, 0.2))
        process.kill()
        with contextlib.suppress(EOFError):
            while True:
                last = told.recv()
        process.join()
        with np.load(tmp_path / "kungfu.npz") as checkpoint:
            arrays = {name: checkpoint[name] for name in checkpoint}  # this checks every byte
        assert saved < arrays["n_iterations"]
        assert last - INTERVAL - 1 <= arrays["n_iterations"] <= last + 1
        saved = int(arrays["n_iterations"])


def test_the_best_agent_is_kept_apart_and_brought_back(setup, capsys):
    setup.run.restore_best()
    assert "No best agent was kept" in said(capsys)
    setup.train(1)
    setup.run.evaluated(100)
    best = setup.agent.weights()
    setup.train(2)
    setup.run.evaluated(50)
    assert setup.agent.weights() != best
    setup.run.restore_best()
    assert setup.agent.weights() == best
    assert setup.run.rewards_history == [100, 50]


@pytest.mark.parametrize(("latest", "best"), [(30, 20), (20, 30)])
def test_the_better_agent_goes_on_whatever_was_scored(
    make_setup, setup, tmp_path, capsys, latest, best
):
    """After passing, who trains on or resumes has an agent that no score knows."""
    setup.train(1)
    setup.run.evaluated(100)  # a lucky score
    kept = setup.agent.weights()
    setup.train(3)
    resumed = make_setup(tmp_path)
    resumed.run.restore()
    resumed.train(4)
    trained = resumed.agent.weights()
    resumed.run.restore_better(lambda: [best if resumed.agent.weights() == kept else latest] * 2)
    assert resumed.agent.weights() == (trained if latest > best else kept)
    assert f"{latest} and {best} points" in said(capsys)
    assert resumed.run.best_score == (latest if latest > best else 100)
    # What stays is what later cells, and the next restart, find as the best.
    resumed.run.restore_best()
    assert resumed.agent.weights() == (trained if latest > best else kept)
    resumed.run.restore_better(lambda: pytest.fail("there is nothing to compare"))


def test_a_checkpoint_on_disk_is_offered_and_no_blank_agent_plays_instead(
    make_setup, setup, tmp_path, capsys
):
    assert "There is a checkpoint" not in said(capsys)
    setup.train(1)
    setup.run.evaluated(100)
    capsys.readouterr()
    restarted = make_setup(tmp_path)
    assert "run: run.restore()" in said(capsys)
    with pytest.raises(RuntimeError, match=r"learnt nothing yet, .*: run\.restore\(\)"):
        restarted.run.restore_better(lambda: [1])
    restarted.run.restore()
    restarted.run.restore_better(lambda: [1])


def end_games(setup, *returns, length=2):
    setup.pool.episode_returns.extend(returns)
    setup.pool.episode_lengths.extend([length] * len(returns))


def assert_mean(weights, of):
    for mean, *parts in zip(weights, *of, strict=True):
        np.testing.assert_allclose(mean, np.mean(parts, axis=0), rtol=1e-6)


@pytest.mark.parametrize(("length", "first"), [(0, 2), (1, 1), (2, 0), (100, 0)])
def test_what_is_kept_is_the_mean_of_the_agents_that_played_the_games(setup, length, first):
    weights = []
    for n_iterations in (1, 2):
        setup.train(n_iterations)  # two ticks each
        assert math.isnan(setup.run.evaluate_recent(9))
        weights.append(setup.agent.weights())
    setup.train(3)
    weights.append(setup.agent.weights())
    end_games(setup, *[100.0] * 9, length=length)
    assert setup.run.evaluate_recent(9) == 100
    assert setup.agent.weights() == weights[2]
    setup.run.restore_best()
    assert_mean(setup.agent.weights(), weights[first:])


def test_an_agent_that_has_unlearnt_much_goes_back_to_its_best(setup, capsys):
    setup.pool.episode_returns.clear()
    setup.train(1)
    end_games(setup, 100.0, 100.0)
    assert math.isnan(setup.run.evaluate_recent(3, 0.5))
    end_games(setup, 100.0)
    assert setup.run.evaluate_recent(3, 0.5) == 100
    best = setup.agent.weights()
    setup.train(2)
    end_games(setup, 40.0, 50.0, 60.0)
    assert setup.run.evaluate_recent(3, 0.5) == 50
    end_games(setup, 30.0, 40.0, 50.0)
    assert setup.run.evaluate_recent(3, 0) == 40
    assert setup.agent.weights() != best

    assert setup.run.evaluate_recent(3, 0.5) == 40
    assert setup.agent.weights() == best
    assert "it scored 100" in said(capsys)
    assert math.isnan(setup.run.evaluate_recent(3, 0.5))  # a different agent played those games
    end_games(setup, 10.0, 10.0)
    assert math.isnan(setup.run.evaluate_recent(3, 0.5))  # and had begun these two
    end_games(setup, 70.0, 80.0)
    assert math.isnan(setup.run.evaluate_recent(3, 0.5))
    end_games(setup, 90.0)
    assert setup.run.evaluate_recent(3, 0.5) == 80
    assert setup.run.best_score == 100


def test_an_agent_that_was_left_behind_is_never_kept(setup):
    setup.train(1)
    end_games(setup, *[100.0] * 9)
    setup.run.evaluate_recent(9)
    best = setup.agent.weights()
    setup.train(2)
    assert setup.agent.weights() != best
    setup.run.evaluate_recent(9)
    end_games(setup, *[10.0] * 9)
    setup.run.evaluate_recent(9, 0.5)
    assert setup.agent.weights() == best
    assert math.isnan(setup.run.evaluate_recent(9, 0.5))
    setup.train(3)
    end_games(setup, 10.0, 10.0)
    end_games(setup, *[200.0] * 9, length=3)  # long enough to reach back to the agent left behind
    now = setup.agent.weights()
    assert setup.run.evaluate_recent(9) == 200
    setup.run.restore_best()
    assert_mean(setup.agent.weights(), [best, now])


@pytest.mark.parametrize("restore", ["restore", "restore_best"])
def test_what_an_agent_was_before_it_was_restored_is_never_kept(setup, restore):
    setup.train(1)
    setup.run.evaluated(100)
    restored = setup.agent.weights()
    step = setup.run.compiled(setup.train_on_rollout)
    memory = list(setup.pool.prev_memory_states)
    step(*setup.pool.interact(3), memory, 0.99)  # as if it had diverged: it is in no checkpoint
    assert setup.agent.weights() != restored
    setup.run.evaluate_recent(9)
    end_games(setup, *[150.0] * 9, length=100)
    getattr(setup.run, restore)()
    assert math.isnan(setup.run.evaluate_recent(9))  # this agent did not play those games
    end_games(setup, *[200.0] * 11, length=100)
    assert setup.run.evaluate_recent(9) == 200
    setup.run.restore_best()
    assert setup.agent.weights() == restored


# Blowing up.


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1e13])
def test_a_loss_that_is_no_number_stops_training_and_keeps_the_checkpoint(setup, tmp_path, loss):
    setup.train(2)
    before = (tmp_path / "kungfu.npz").read_bytes()
    rollout = setup.pool.interact(3)
    with (
        pytest.raises(TrainingDivergedError) as error,
        setup.run.progress(3, 1) as iterations,
    ):
        for _ in iterations:
            setup.run.record(loss, rollout)
    assert f"The loss of rollout 3 is {loss:g}.\nThe losses before it: " in str(error.value)
    assert "Rewards: from 0 to 1\nObservations: from 0 to 4" in str(error.value)
    assert "restore()" in str(error.value)
    assert (tmp_path / "kungfu.npz").read_bytes() == before
    assert setup.run.n_iterations == 2


def test_weights_that_are_no_numbers_are_never_saved(setup, tmp_path):
    setup.train(1)
    before = (tmp_path / "kungfu.npz").read_bytes()
    setup.agent.set_weights([[math.nan, 0.0, 0.0]], [0.0, 0.0, 0.0])
    with pytest.raises(TrainingDivergedError, match="weights are no longer finite"):
        setup.run.save()
    assert (tmp_path / "kungfu.npz").read_bytes() == before


# The compiled step.


@pytest.mark.tensorflow
def test_a_compiled_step_is_traced_once_and_does_what_the_plain_one_does(tmp_path):
    make_setup = setup_class("tensorflow")
    compiled, plain = make_setup(tmp_path / "1"), make_setup(tmp_path / "2")
    plain.agent.set_weights(*compiled.agent.weights())
    step = compiled.run.compiled(compiled.train_on_rollout)
    for _ in range(4):
        rollout = compiled.pool.interact(3)
        memory = compiled.pool.prev_memory_states
        assert float(step(*rollout, memory)) == pytest.approx(
            plain.train_on_rollout(*rollout, memory)
        )
    assert compiled.n_calls == 1
    assert np.allclose(compiled.agent.weights()[0], plain.agent.weights()[0], rtol=1e-5)


@pytest.mark.parametrize("xla", [False, True])
def test_the_gradients_norm_is_measured(setup, xla):
    setup.agent.set_weights([[0.0, 0.0, 0.0]], [0.0, 0.0, 3.0])
    ones = np.ones((2, 2), np.float32)
    states = np.full((2, 2, 1), 2, np.float32)
    setup.run.compiled(setup.train_on_rollout, xla=xla)(states, ones, ones, ones, [])
    setup.run.measure(setup.pool.interact(3), setup.pool.prev_memory_states, 0.99)
    # The loss is (3 - 1)²; its gradient is 4 for the bias and 2 · 4 for the kernel.
    assert setup.run.history["gradient_norm"] == [pytest.approx(math.hypot(4, 8))]


def test_gradients_are_clipped_after_their_norm_is_measured(make_setup, tmp_path):
    setup = make_setup(tmp_path, optimizer="SGD", learning_rate=1.0, max_gradient_norm=0.5)
    setup.agent.set_weights([[0.0, 0.0, 0.0]], [0.0, 0.0, 3.0])
    ones = np.ones((2, 2), np.float32)
    states = np.full((2, 2, 1), 2, np.float32)
    setup.run.compiled(setup.train_on_rollout)(states, ones, ones, ones, [])
    setup.run.measure(setup.pool.interact(3), setup.pool.prev_memory_states, 0.99)
    assert setup.run.history["gradient_norm"] == [pytest.approx(math.hypot(4, 8))]
    (kernel,), bias = setup.agent.weights()
    assert kernel == pytest.approx([0, 0, -0.5 * 8 / math.hypot(4, 8)])
    assert bias == pytest.approx([0, 0, 3 - 0.5 * 4 / math.hypot(4, 8)])


@pytest.mark.tensorflow
def test_a_step_that_its_author_has_compiled_trains_the_agent_of_now(tmp_path):
    import tensorflow as tf

    setup = setup_class("tensorflow")(tmp_path / "old")
    held = {"agent": setup.agent, "optimizer": setup.optimizer}

    @tf.function
    def train_on_rollout(states, actions, rewards, is_not_done, memory, gamma):
        agent, optimizer = held["agent"], held["optimizer"]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((agent.layer(states)[..., 2] - rewards) ** 2)
        grads = tape.gradient(loss, agent.trainable_variables)
        optimizer.apply_gradients(zip(grads, agent.trainable_variables, strict=True))
        return loss

    setup.train_on_rollout = train_on_rollout
    setup.train(1)
    new = setup_class("tensorflow")(tmp_path / "new")  # the cells above the loss have run again
    held |= {"agent": new.agent, "optimizer": new.optimizer}
    new.train_on_rollout = train_on_rollout
    before = new.agent.weights()
    new.train(1)
    assert new.agent.weights() != before


def test_training_that_moves_nothing_is_stopped(make_setup, setup, tmp_path, monkeypatch):
    monkeypatch.setattr(learners, "MAX_STEPS_WITHOUT_MOVING", 4)
    other = make_setup(tmp_path / "other")
    setup.train_on_rollout = other.train_on_rollout  # of an agent that was replaced
    with pytest.raises(RuntimeError, match="4 steps have changed no weight of this agent"):
        setup.train(10)
    assert setup.run.n_iterations == 3


@pytest.mark.tensorflow
def test_what_cannot_be_compiled_trains_all_the_same_and_says_so(tmp_path, capsys):
    setup = setup_class("tensorflow")(tmp_path)
    step = setup.run.compiled(lambda *arguments: float((setup.agent.layer.bias + 1)[0].numpy()))
    assert step(np.zeros(1)) == 1.0
    assert step(np.zeros(1)) == 1.0
    assert said(capsys) == (
        "Training runs uncompiled, which is slower: AttributeError: there is no .numpy() while "
        "TensorFlow compiles: use its own operations"
    )


def test_an_optimizer_of_nobody_is_an_error(tmp_path):
    with pytest.raises(TypeError, match=r"keras.optimizers or torch.optim, got <object"):
        TrainingRun(CountingMemory(), object(), None, tmp_path)


# What the plots show.


class Scripted:
    """Returns two equal logits, and 10, 20, 30... since a reset as the value."""

    def get_initial_state(self, batch_size):
        return [np.zeros((batch_size, 1), np.float32)]

    def step(self, memory, observations):
        count = memory[0] + 10
        return [count], (np.zeros((len(observations), 2)), count[:, 0])


def test_tensorboards_log_gets_what_the_plots_show(make_setup, tmp_path, monkeypatch):
    logged = []

    class Writer:
        def __init__(self, folder):
            logged.append(folder)

        def add_scalar(self, name, number, step):
            logged.append((name, number, step))

    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "tensorboard.summary", SimpleNamespace(Writer=Writer))
    setup = make_setup(tmp_path, tensorboard_folder=tmp_path / "logs")
    setup.train(2, lambda iteration: setup.run.evaluated(10.0 * iteration))
    history = setup.run.history
    plotted = ("entropy", "value_loss", "gradient_norm")
    first, second = ([(name, history[name][i], i + 1) for name in plotted] for i in (0, 1))
    scores = [("score", 10.0, 1)], [("score", 20.0, 2)]
    assert logged == [str(tmp_path / "logs"), *first, *scores[0], *second, *scores[1]]


def test_tensorboards_log_says_what_it_needs(make_setup, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        make_setup(tmp_path, tensorboard_folder=tmp_path / "logs")


def test_measure_rollout_follows_the_worked_example():
    observations = np.zeros((1, 5, 1), np.float32)
    rewards = np.array([[1, 2, 4, 0, 0]], np.float32)
    is_not_done = np.array([[1, 1, 1, 0, 1]], np.float32)
    memory = [np.zeros((1, 1), np.float32)]
    entropy, value_loss = measure_rollout(
        Scripted(), (observations, None, rewards, is_not_done), memory, gamma=0.5
    )
    assert entropy == pytest.approx(math.log(2))
    # Values 10, 20, 30, 40, then 10 in the new game; targets 11, 17, 24, 0.
    assert value_loss == pytest.approx((1 + 3**2 + 6**2 + 40**2) / 4)


def test_a_live_plot_is_drawn_in_its_place_and_seldom(monkeypatch):
    clock = [0.0]
    shown, updated, drawn = [], [], []

    class Handle:
        def update(self, figure):
            updated.append(figure)

    def draw():
        drawn.append(clock[0])
        clock[0] += 0.3
        return plt.figure()

    monkeypatch.setattr(training.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(
        training, "display", lambda figure, display_id: shown.append(figure) or Handle()
    )
    plot = LivePlot(draw)
    for second in range(100):
        clock[0] = max(clock[0], float(second))
        plot.update()
    assert (len(shown), len(updated), len(drawn)) == (1, 4, 5)
    assert 0.3 * len(drawn) < 0.02 * clock[0]
    plot.update(at_once=True)
    assert len(drawn) == 6
    assert not plt.get_fignums()
