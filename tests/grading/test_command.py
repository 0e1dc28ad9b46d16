"""`python -m grading grade`, as teachers use it."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import psutil
import pytest

from checks import handing_in
from grading.__main__ import main
from grading.grade import Grader, GraderError
from grading.reference import Reference
from tests.frameworks import TRACKS, each_framework, find_variant
from tests.notebooks import ROOT, filled, solution_path, student_path

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTEST_ADDOPTS"}


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=900
    )


def grade(path: Path, *options: str | Path) -> tuple[subprocess.CompletedProcess, dict]:
    """Grades on the command line; also returns the JSON report."""
    out = path.parent / "out"
    finished = run("grading", "grade", path, "--reports", out, *options, cwd=ROOT)
    report = out / f"{path.stem}.json"
    assert report.exists(), finished.stdout + finished.stderr
    return finished, json.loads(report.read_text())


def points(report: dict) -> dict[str, float]:
    return {exercise["name"]: exercise["points"] for exercise in report["exercises"]}


def write_variant(
    path: Path, exercise: str = "", name: str = "", framework: str = "tensorflow"
) -> Path:
    """Writes a filled notebook that contains a variant."""
    notebook = filled(framework)
    if exercise:
        cell = next(c for c in notebook.cells if c.id == f"{exercise}-exercise")
        cell.source = find_variant(framework, exercise, name).apply(cell.source)
    nbformat.write(notebook, path)
    return path


@each_framework
def test_a_notebook_is_graded_by_its_framework(tmp_path, framework):
    solution = nbformat.read(solution_path(framework), as_version=4)
    cells = [cell for cell in solution.cells if cell.id.endswith("-exercise")]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "answers.ipynb")
    with Grader() as grader:
        for path in (solution_path(framework), student_path(framework), tmp_path / "answers.ipynb"):
            assert grader.assignments[grader.read(path).number] is TRACKS[framework]


@pytest.mark.pytorch
def test_the_unfilled_notebook_is_ungradable(tmp_path):
    path = tmp_path / "homework.ipynb"
    path.write_bytes(student_path("pytorch").read_bytes())
    finished, report = grade(path)
    assert report["assignment"] == "kungfu_a2c_pytorch"
    assert finished.returncode == 10
    assert report["status"] == "ungradable"
    assert {e["status"] for e in report["exercises"]} == {"ungradable"}
    assert "4 gaps are open" in report["exercises"][0]["reason"]


@each_framework
def test_nothing_is_measured_to_explain_what_was_not_begun(tmp_path, monkeypatch, framework):
    """The solution has dozens of mutants, and a class may hand in many empty notebooks."""
    measured, measure = set(), Reference.measure

    def watch(self, exercise, *arguments, **keywords):
        measured.add(exercise.name)
        return measure(self, exercise, *arguments, **keywords)

    monkeypatch.setattr(Reference, "measure", watch)
    with Grader(assignments=[TRACKS[framework]]) as grader:
        report = grader.grade(student_path(framework))
    assert ["gap" in exercise.reason for exercise in report.exercises[:3]] == [True] * 3
    assert measured <= {"optimizer"}  # its cell fails as a whole
    measured.clear()
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")]),
        tmp_path / "nothing.ipynb",
    )
    with Grader(assignments=[TRACKS[framework]]) as grader:
        report = grader.grade(tmp_path / "nothing.ipynb")
    assert ["does not define" in e.reason for e in report.exercises[:3]] == [True] * 3
    assert measured == set()


@pytest.mark.pytorch
def test_a_complete_agent_and_an_open_loss_earn_the_agents_points(tmp_path):
    notebook = filled("pytorch")
    student = nbformat.read(student_path("pytorch"), as_version=4)
    cell = next(cell for cell in notebook.cells if cell.id == "loss-exercise")
    cell.source = next(cell for cell in student.cells if cell.id == "loss-exercise").source
    nbformat.write(notebook, tmp_path / "half.ipynb")
    finished, report = grade(tmp_path / "half.ipynb")
    assert finished.returncode == 1
    assert points(report) == {"agent": 20, "loss": 0, "optimizer": 10, "play": 0}
    reasons = {exercise["name"]: exercise["reason"] for exercise in report["exercises"]}
    assert reasons["agent"] == ""
    assert "gaps are open" in reasons["loss"]
    assert reasons["play"] == (
        "no weights were handed in; looked for half.npz, kungfu_weights.npz, or a single .npz file "
        "beside the notebook"
    )


@pytest.mark.pytorch
def test_one_seed_gives_one_report_in_every_format(tmp_path):
    name = "entropy with the wrong sign"
    path = write_variant(tmp_path / "wrong.ipynb", "loss", name, "pytorch")
    finished, report = grade(path, "--seed=7")
    _, again = grade(path, "--seed=7")
    assert report == again
    assert report["seed"] == 7
    assert report["protection"].startswith("Submissions ran in bubblewrap")
    assert finished.returncode == 1
    assert points(report) == {"agent": 20, "loss": 42, "optimizer": 10, "play": 0}
    hint = find_variant("pytorch", "loss", name).hint
    out = tmp_path / "out"
    for text in (
        finished.stdout,
        (out / "wrong.html").read_text(),
        (out / "wrong.gradescope.json").read_text(),
        (out / "wrong.junit.xml").read_text(),
    ):
        assert hint in " ".join(text.split()).replace("&#39;", "'")
    cases = ElementTree.parse(out / "wrong.junit.xml").iter("testcase")
    failures = [case for case in cases if len(case)]
    assert [case.get("name") for case in failures] == [
        "loss: entropy_value",
        "loss: entropy_gradient",
        "play: play",
    ]


@pytest.mark.tensorflow
def test_values_that_the_loss_squeezes_cost_points_once(tmp_path):
    notebook = filled()
    for cell in notebook.cells:
        if cell.id == "agent-exercise":
            cell.source = cell.source.replace(
                "state_value_head(hidden)[:, 0]", "state_value_head(hidden)"
            )
        if cell.id == "loss-exercise":
            cell.source = cell.source.replace("append(values_t)", "append(values_t[:, 0])")
    nbformat.write(notebook, tmp_path / "columns.ipynb")
    _, report = grade(tmp_path / "columns.ipynb")
    assert points(report) == {"agent": 16, "loss": 50, "optimizer": 10, "play": 0}


OLD_AGENT = """
class SimpleRecurrentAgent:
    def __init__(self, obs_shape, n_actions):
        self.features = tf.keras.Sequential([
            L.Conv2D(32, (3, 3), strides=(2, 2), activation="elu"),
            L.Conv2D(32, (3, 3), strides=(2, 2), activation="elu"),
            L.Flatten(), L.Dense(64, activation="relu")])
        self.units = 32
        self.lstm = L.LSTMCell(self.units)
        self.actor, self.critic = L.Dense(n_actions), L.Dense(1)
        self.forward(self.get_initial_state(1), tf.zeros((1,) + tuple(obs_shape)))
    def forward(self, prev_state, obs_t):
        out, state = self.lstm(self.features(obs_t), prev_state)
        return state, (self.actor(out), self.critic(out)[:, 0])
    __call__ = forward
    def step(self, prev_state, obs_t):
        state, (logits, value) = self.forward(prev_state, tf.constant(obs_t))
        return [s.numpy() for s in state], (logits.numpy(), value.numpy())
    def get_initial_state(self, batch_size):
        return [tf.zeros([batch_size, self.units]), tf.zeros([batch_size, self.units])]
    def sample_actions(self, agent_outputs):
        return tf.random.categorical(agent_outputs[0], 1)[:, 0].numpy()
    @property
    def trainable_variables(self):
        parts = (self.features, self.lstm, self.actor, self.critic)
        return sum((part.trainable_variables for part in parts), [])
agent = SimpleRecurrentAgent(obs_shape, n_actions)
"""
OLD_LOSS = """
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    states = tf.constant(states)
    rollout_length = rewards.shape[1] - 1
    memory = [tf.stop_gradient(m) for m in prev_memory_states]
    with tf.GradientTape() as tape:
        logits, values = [], []
        for t in range(rewards.shape[1]):
            memory, (l, v) = agent(memory, states[:, t])
            logits.append(l); values.append(v)
        logits, values = tf.stack(logits, 1), tf.stack(values, 1)
        p, lp = tf.nn.softmax(logits), tf.nn.log_softmax(logits)
        lp_a = tf.reduce_sum(lp * tf.one_hot(actions, n_actions), -1)
        J_hat = value_loss = 0.
        G = tf.stop_gradient(values[:, -1])
        for t in reversed(range(rollout_length)):
            G = rewards[:, t] + gamma * G
            target = rewards[:, t] + gamma * is_not_done[:, t] * tf.stop_gradient(values[:, t + 1])
            value_loss += tf.reduce_mean((target - values[:, t]) ** 2)
            J_hat += tf.reduce_mean(lp_a[:, t] * tf.stop_gradient(G - values[:, t]))
        H = -tf.reduce_mean(tf.reduce_sum(p * lp, -1))
        loss = -J_hat / rollout_length + value_loss / rollout_length - 0.01 * H
    grads = tape.gradient(loss, agent.trainable_variables)
    optimizer.apply_gradients(zip(grads, agent.trainable_variables))
    return loss.numpy()
"""


@pytest.mark.tensorflow
def test_what_another_template_leaves_out_costs_nothing(tmp_path):
    cells = [
        "import gym, os\nimport tensorflow as tf\nL = tf.keras.layers\n!Xvfb :1 &",
        "env = gym.make('KungFuMasterDeterministic-v0')\nn_actions = env.action_space.n",
        OLD_AGENT,
        "optimizer = tf.keras.optimizers.Adam(1e-4)\nenv.reset()",
        OLD_LOSS,
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    for cell in notebook.cells:
        cell.pop("id")
    notebook.nbformat_minor = 2
    nbformat.write(notebook, tmp_path / "old.ipynb")
    _, report = grade(tmp_path / "old.ipynb", "--template", "original")
    assert points(report) == {"agent": 20, "loss": 50, "optimizer": 10, "play": 0}
    loss = report["exercises"][1]
    excused = {c["name"]: c["message"] for c in loss["checks"] if c["maximum"] == 0}
    assert set(excused) == {"policy_ends", "memory_reset", "weights"}
    assert all("it costs nothing" in message for message in excused.values())


@pytest.mark.tensorflow
def test_the_safe_command_ignores_other_files(tmp_path):
    path = write_variant(tmp_path / "homework.ipynb", "loss", "no step taken")
    for name in ("conftest.py", "numpy.py", "json.py", "sitecustomize.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p checks\n")
    before = path.read_bytes()
    _, report = grade(path)
    assert points(report)["agent"] == 20
    assert not (tmp_path / "ran").exists()
    assert path.read_bytes() == before


@each_framework
def test_the_solution_has_full_marks(tmp_path, framework):
    """It is handed in as students do, and called something else afterwards."""
    solution = solution_path(framework)
    shutil.copy(solution, tmp_path)
    notebook = handing_in.Notebook.read(tmp_path / solution.name)
    packed = handing_in.pack(notebook, solution.with_suffix(".npz"))
    (tmp_path / "upload").mkdir()
    packed = packed.rename(tmp_path / "upload" / "Homework (1).zip")
    _, report = grade(packed)
    assert report["submission"] == packed.name
    assert {path.name for path in packed.parent.iterdir()} == {packed.name, "out"}
    *written, play = report["exercises"]
    assert [exercise["points"] for exercise in written] == [20, 50, 10]
    assert {check["message"] for exercise in written for check in exercise["checks"]} == {""}
    # No agent plays so unless its network is the trained one, even in its constants.
    assert play["points"] == 20
    assert "is at least 2" in play["checks"][0]["message"]
    assert play["remarks"] == []  # it looks, and its network chooses
    page = (packed.parent / "out" / "Homework (1).html").read_text()
    assert "data:video/mp4;base64," in page


@pytest.mark.tensorflow
def test_without_bubblewrap_grading_needs_an_option(tmp_path):
    path = write_variant(tmp_path / "homework.ipynb")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("prlimit", "setpriv"):
        (tools / name).symlink_to(shutil.which(name))
    environment = {**ENVIRONMENT, "PATH": str(tools)}
    command = [sys.executable, "-m", "pytest", "--nbval", str(path)]
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    refused = subprocess.run(command, **options)
    assert refused.returncode == 4
    assert "there is no sandbox for student code" in refused.stderr
    told = subprocess.run([*command, "--no-sandbox"], **options)
    assert told.returncode == 1  # no weights were handed in
    assert "agent         20 / 20     passed" in told.stdout


def test_a_framework_that_is_not_installed_is_the_graders_failure():
    track = dataclasses.replace(TRACKS["pytorch"], requires=("no_such_framework",))
    with (
        Grader(assignments=[track]) as grader,
        pytest.raises(GraderError, match="needs no_such_framework, which is not installed"),
    ):
        grader.grade(solution_path("pytorch"))


def test_which_names_the_solution_of_a_notebook(tmp_path):
    (tmp_path / "no notebook.ipynb").touch()
    for path, name in (
        (student_path("pytorch"), "kungfu_a2c_pytorch"),
        (solution_path("tensorflow"), "kungfu_a2c_tensorflow"),
        (tmp_path / "no notebook.ipynb", "kungfu_a2c_"),
    ):
        finished = run("grading", "which", path, cwd=tmp_path)
        assert finished.stdout.startswith(name), finished.stderr


def test_files_that_are_not_submissions_never_run(tmp_path):
    canary = tmp_path / "ran"
    run_it = f"open({str(canary)!r}, 'w').close()"
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(run_it)])
    nbformat.write(other, tmp_path / "other.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "folder.ipynb" / "test_it.py").write_text(f"def test_it():\n    {run_it}\n")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "folder.ipynb")
    reasons = {
        "other.ipynb": "the notebook does not define SimpleRecurrentAgent",
        "folder.ipynb": "this file cannot be read: Is a directory",
        "link.ipynb": "this file is a symbolic link, which is not followed",
    }
    for name, reason in reasons.items():
        finished, report = grade(tmp_path / name)
        assert finished.returncode == 10
        assert report["exercises"][0]["reason"] == reason
    assert not canary.exists()


FORMS = {".json", ".html", ".gradescope.json", ".junit.xml"}


def test_each_notebook_has_its_own_reports(tmp_path):
    for name in ("class/ana/hw.ipynb", "class/ben/hw.ipynb", "class/.old/hw.ipynb", "one.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(student_path().read_bytes())
    finished = run("grading", "grade", "class", "one.ipynb", "--reports", "out", cwd=tmp_path)
    assert finished.returncode == 10, finished.stderr
    assert finished.stdout.count("4 gaps are open") == 3
    written = {str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/**/*.*")}
    assert written == {f"{name}{form}" for name in ("ana/hw", "ben/hw", "one") for form in FORMS}


@pytest.mark.pytorch
def test_a_grading_that_is_terminated_leaves_nothing_behind(tmp_path):
    notebook = tmp_path / "hw.ipynb"
    shutil.copy(solution_path("pytorch"), notebook)
    (scratch := tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "grading", "grade", notebook]
    environment = {**ENVIRONMENT, "TMPDIR": str(scratch)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as grading:
        deadline = time.monotonic() + 120
        while not (folders := [*scratch.glob("inside-*")]) or len(workers_of(folders[0])) < 2:
            assert grading.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        grading.terminate()
        grading.communicate(timeout=60)
    assert grading.returncode == 128 + signal.SIGTERM
    assert [*scratch.iterdir()] == []
    assert workers_of(folders[0]) == []


def workers_of(folder: Path) -> list[psutil.Process]:
    """Returns the processes that were started with a folder of modules."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if str(folder) in process.cmdline() else []
    return found


@pytest.mark.parametrize("name", ["--no-sandbox", "--seed=x.ipynb", "-h"])
def test_a_file_is_never_an_option(tmp_path, name):
    (tmp_path / name).write_bytes(student_path().read_bytes())
    finished = run("grading", "grade", name, cwd=tmp_path)
    assert finished.returncode == 10, finished.stderr
    assert finished.stdout.startswith("Submissions ran in bubblewrap")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["missing.ipynb"], "there is no file missing.ipynb"),
        (["empty"], "there is no notebook in the folder empty"),
        (["hw.ipynb", "hw.ipynb", "--attachment", "hw.ipynb"], "existing file, got 2 notebooks"),
        (["hw.ipynb", "--attachment", "hw.npz"], "existing file, got a missing file"),
        (["hw.ipynb", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
    ],
)
def test_a_command_that_cannot_start_says_why(tmp_path, arguments, error):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hw.ipynb").write_bytes(student_path().read_bytes())
    finished = run("grading", "grade", *arguments, cwd=tmp_path)
    assert finished.returncode == 2
    assert error in finished.stderr


def test_no_report_overwrites_another(tmp_path, capsys):
    for student in ("ada", "ben"):
        (tmp_path / student).mkdir()
        (tmp_path / student / "homework.ipynb").write_text("")
    files = [str(tmp_path / student / "homework.ipynb") for student in ("ada", "ben")]
    assert main(["grade", *files, "--reports", str(tmp_path / "reports")]) == 2
    said = capsys.readouterr().err
    assert "two submissions would have the same reports, homework.gradescope.json, " in said
    assert not (tmp_path / "reports").exists()


def test_no_report_takes_the_name_of_another_kind(tmp_path, capsys):
    for name in ("ada", "ada.gradescope"):
        (tmp_path / f"{name}.ipynb").write_text("")
    assert main(["grade", str(tmp_path), "--reports", str(tmp_path / "reports")]) == 2
    assert "the same reports, ada.gradescope.json: give" in capsys.readouterr().err


def test_names_in_errors_are_cleaned(tmp_path, capsys):
    assert main(["grade", str(tmp_path / "\x1b]0;title\x07.ipynb")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_reports_that_cannot_be_written_cost_nobody_else_theirs(tmp_path, capsys):
    submissions, reports = tmp_path / "submissions", tmp_path / "reports"
    for name in ("a" * 249, "sub", "zoe"):
        (tmp_path / "submissions").mkdir(exist_ok=True)
        (submissions / f"{name}.ipynb").write_text("")
    (reports / "sub.json").mkdir(parents=True)
    assert main(["grade", str(submissions), "--reports", str(reports)]) == 20
    assert capsys.readouterr().err.count("the grader failed: ") == 2
    assert (reports / "zoe.json").is_file()


def test_reports_lie_in_their_folder_whatever_the_submission_is_called(tmp_path):
    (tmp_path / "..ipynb").write_text("")
    reports = tmp_path / "reports"
    main(["grade", str(tmp_path / "..ipynb"), "--reports", str(reports)])
    assert sorted(tmp_path.iterdir()) == [tmp_path / "..ipynb", reports]
    assert (reports / "submission.json").is_file()


def test_a_grader_that_fails_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Grader, "protection", property(lambda self: 1 / 0))
    paths = [str(student_path()), str(student_path("pytorch"))]
    assert main(["grade", *paths]) == 20
    assert capsys.readouterr().err.count("the grader failed: ZeroDivisionError") == 2
