"""The benchmarks of training: each runs at its tiniest, and what they add up is right."""

import argparse
import contextlib
import json
import math
import os
import pickle
import re
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks import long_runs, measuring, peers
from benchmarks.learning import LearningCurve, seconds_to, steps_to
from benchmarks.long_runs import RunLog
from benchmarks.measuring import RateMeter, in_fresh_process, spread
from benchmarks.notebook_code import Progress, load_notebook, parse_change, read_settings
from benchmarks.report import number, publish, table
from benchmarks.training_ablation import ABLATIONS
from benchmarks.training_learning import figures_of, group, label
from benchmarks.training_profile import Stopwatch
from tests.frameworks import each_framework
from tests.notebooks import ROOT

SLEEPER = """
import os, threading, time
from benchmarks.measuring import in_fresh_process
threading.Thread(target=in_fresh_process, args=(time.sleep, 600), daemon=True).start()
import psutil
while len(children := psutil.Process().children()) < 2:
    time.sleep(0.1)
time.sleep(1)
print(children[-1].pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def in_this_process(monkeypatch):
    """What would run in fresh processes runs here, where the framework is loaded already.

    It is pickled all the same.
    """

    def run_here(*call):
        function, *arguments = pickle.loads(pickle.dumps(call))
        return function(*arguments)

    for module in (measuring, long_runs):
        monkeypatch.setattr(module, "in_fresh_process", run_here)


@pytest.fixture
def run_benchmark(in_this_process, monkeypatch, capsys):
    """Runs a benchmark and returns its report."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        import_module(f"benchmarks.{name}").main()
        return capsys.readouterr().out

    return run


def rows(report: str) -> list[list[str]]:
    """Returns the cells of all tables but their heads and rules."""
    cells = [line.strip("| ").split(" | ") for line in report.splitlines() if line[:1] == "|"]
    rules = [i for i, row in enumerate(cells) if set(row[0]) == {"-"}]
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def figures(report: str) -> dict[str, list[float]]:
    lines = re.findall(r"^(\w+): (\S+) (\S+) (\S+)$", report, re.MULTILINE)
    return {
        name: [math.inf if v == "never" else float(v) for v in values] for name, *values in lines
    }


# ----------------------------------------------------------------------------------- whole scripts


@pytest.mark.pytorch  # which Stable-Baselines3 is made of
@each_framework
def test_speed_prints_rates_and_their_quotients(framework, run_benchmark):
    tiny = ("--games", "2", "--ticks", "2", "--free-games", "2", "--free-ticks", "2")
    tiny += ("--track", framework)
    report = run_benchmark("training_speed", "--runs", "1", "--seconds", "0.1", *tiny)
    assert f"python -m benchmarks.training_speed --runs 1 --seconds 0.1 {' '.join(tiny)}" in report
    found = figures(report)
    rate = {name: values[0] for name, values in found.items()}
    ratios = {
        "same_work_ratio": ("ours", "original"),
        "sb3_a2c_ratio": ("ours", "sb3_a2c"),
        "same_work_ceiling": ("same_work_emulator", "original"),
    }
    if framework == "tensorflow":
        ratios["same_work_xla_ratio"] = ("ours_xla", "original")
        ratios["sb3_a2c_xla_ratio"] = ("ours_xla", "sb3_a2c")
    for ratio, (above, below) in {**ratios, "emulator_fraction": ("free", "emulator")}.items():
        quotient = rate[f"{above}_steps_per_second"] / rate[f"{below}_steps_per_second"]
        assert rate[ratio] == pytest.approx(quotient, rel=0.03)  # they are printed rounded
    same_work, free_choice = rows(report)[:4], rows(report)[4:]
    assert [row[0] for row in same_work] == ["1", "median", "least", "greatest"]
    assert [float(cell) for cell in same_work[0][-len(ratios) :]] == [rate[name] for name in ratios]
    assert float(free_choice[0][3]) == rate["emulator_fraction"]


@each_framework
def test_growth_has_a_row_for_every_size(framework, run_benchmark):
    tiny = ("--games", "1", "--ticks", "2", "--seconds", "0.1", "--track", framework)
    report = run_benchmark("training_growth", *tiny)
    (games, *of_games), (ticks, *of_ticks) = rows(report)
    assert (games, ticks) == ("1", "2")
    for speed, peak, first_update in (
        [float(value) for value in of] for of in (of_games, of_ticks)
    ):
        assert speed > 0
        assert 200 < peak < 10_000
        assert first_update > 0


@each_framework
def test_profile_sums_to_the_total(framework):
    # It replaces methods, and is a command that spawns a process: it runs as such.
    command = [sys.executable, "-m", "benchmarks.training_profile", "--sizes", "2x3"]
    command += ["--seconds", "0.3", "--track", framework]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert finished.returncode == 0, finished.stderr
    *parts, total = rows(finished.stdout)
    assert [part[0] for part in parts] == [
        "emulator",
        "preprocessing",
        "acting",
        "learning",
        "Python and the rest",
    ]
    assert all(float(milliseconds) > 0 for _, milliseconds, _ in parts)
    for column in (1, 2):
        whole = sum(float(part[column]) for part in parts)
        assert whole == pytest.approx(float(total[column]), abs=0.03 if column == 1 else 0.3)


@pytest.mark.tensorflow
def test_peers_report_what_was_not_reached_and_run_nothing_twice(
    run_benchmark, monkeypatch, tmp_path
):
    small = partial(read_settings, {"n_training_games": 2, "n_steps": 2})
    monkeypatch.setattr("benchmarks.training_peers.read_settings", small)
    file = tmp_path / "peers.jsonl"
    tiny = ("--contenders", "ours", "--minutes", "0.001", "--file", str(file))
    first = run_benchmark("training_peers", *tiny, "--seeds", "1")
    assert [row[:3] for row in rows(first)] == [["ours, A2C with an LSTM", "0", "not reached"]]
    second = run_benchmark("training_peers", *tiny, "--seeds", "2")
    assert "ours, seed 0: the run is known already" in second
    assert [row[:3] for row in rows(second)] == [
        ["ours, A2C with an LSTM", "0", "not reached"],
        ["ours, A2C with an LSTM", "1", "not reached"],
    ]
    assert figures(second)["ours_seconds_to_10000"] == [math.inf] * 3
    for run in map(json.loads, file.read_text().splitlines()):
        rate = run["steps"] / run["seconds"]
        assert run["steps_per_second"] == pytest.approx(rate, rel=0.05, abs=0.06)  # rounded


@pytest.mark.pytorch
def test_a_peer_trains_until_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(peers.MAKERS, "sb3_a2c", partial(peers.make_a2c, n_games=1, n_steps=3))
    steps = []

    def on_progress(progress: Progress) -> bool:
        steps.append(progress.steps)
        return len(steps) == 4

    peers.train_peer("sb3_a2c", read_settings(), 60.0, 0, on_progress)
    assert steps == [3, 6, 9, 12]


def test_peers_say_what_to_install(run_benchmark, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(peers, "find_spec", {"stable_baselines3": 1, "benchmarks": 1}.get)
    file = tmp_path / "peers.jsonl"
    with pytest.raises(SystemExit, match="2"):
        run_benchmark("training_peers", "--file", str(file))
    assert "pip install sb3-contrib" in capsys.readouterr().err
    assert not file.exists()


@each_framework
def test_learning_evaluates_the_best_agent_and_leaves_its_weights(
    framework, run_benchmark, tmp_path
):
    file = tmp_path / "learning.jsonl"
    report = run_benchmark(
        "training_learning",
        *("--minutes", "0.001", "--seeds", "1", "--evaluation-games", "1"),
        *("--set", "n_training_games=2", "--set", "n_steps=2", "--track", framework),
        *("--file", str(file), "--weights", str(tmp_path)),
    )
    (row,) = rows(report)
    assert row[:3] == ["n_training_games=2, n_steps=2 (0.001 min)", "1", "never (never … never)"]
    (run,) = map(json.loads, file.read_text().splitlines())
    assert run["settings"] == read_settings({"n_training_games": 2, "n_steps": 2}, framework)
    (points,) = run["evaluation"]
    assert row[6] == f"{number(points)} ({number(points)} … {number(points)})"
    with np.load(run["weights"]) as weights:
        first_layer = {"tensorflow": (3, 3, 4, 32), "pytorch": (32, 1, 3, 3)}[framework]
        assert weights["arr_0"].shape == first_layer

    again = run_benchmark(
        "training_learning", "--report", "--file", str(file), "--track", framework
    )
    assert rows(again) == [row]


@pytest.mark.tensorflow
def test_the_ablation_runs_what_is_missing(run_benchmark, tmp_path):
    file = tmp_path / "ablation.jsonl"
    options = ("--minutes", "0.001", "--seeds", "1", "--evaluation-games", "1")
    run = {
        "minutes": 0.001,
        "seed": 0,
        "seconds_to": {"10000": 60.0, "25000": None},
        "curve": [(60.0, 9_000, 10_100)],
        "evaluation": [8_000.0],
        "steps_per_second": 150.0,
        "date": "2026-01-01 00:00 UTC",
        "machine": "a machine",
    }
    known = [{**run, "settings": read_settings(**ablation)} for ablation in ABLATIONS]
    (left_out,) = (each for each in known if "edits" in each["settings"])
    known.remove(left_out)
    file.write_text("".join(json.dumps(each) + "\n" for each in known))
    options += ("--file", str(file), "--weights", str(tmp_path))
    report = run_benchmark("training_ablation", *options)
    *before, new = map(json.loads, file.read_text().splitlines())
    assert (len(before), new["settings"]) == (len(known), left_out["settings"])
    assert report.count("the run is known already") == len(known)
    assert rows(report)[0][:4] == [
        "as in the notebook (0.001 min)",
        "1",
        "60 (60 … 60)",
        "9000 (9000 … 9000)",
    ]
    assert "Rescaling(10, offset=-3.6) → Rescaling(1) (0.001 min)" in [
        row[0] for row in rows(report)
    ]


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("training_speed", ("--runs", "0"), "must be an integer of at least 1, got '0'"),
        ("training_speed", ("--seconds", "-1"), "must be a number of at least 0, got '-1'"),
        ("training_growth", ("--ticks", "1"), "must be an integer of at least 2, got '1'"),
        ("training_profile", ("--sizes", "5"), "must be GAMESxTICKS, such as 5x10"),
        ("training_peers", ("--contenders", "me"), "invalid choice: 'me'"),
        ("training_learning", ("--set", "speed=3"), "there is no setting 'speed'; there are gamma"),
        ("training_learning", ("--set", "gamma"), "name=value, such as entropy_weight=0.01"),
        ("training_learning", ("--set", "gamma='a'"), "gamma must be a number or None, got 'a'"),
        ("training_learning", ("--report", "--file", os.devnull), "there are no runs in"),
    ],
)
def test_bad_arguments_are_named(name, arguments, message, run_benchmark, capsys):
    with pytest.raises(SystemExit, match="2"):
        run_benchmark(name, *arguments)
    assert message in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- pieces


def test_settings_are_the_notebooks_and_can_be_changed():
    settings = read_settings()
    assert settings["gamma"] == 0.99
    assert "max_minutes" not in settings
    assert read_settings(dict([parse_change("gamma=0.5")])) == {**settings, "gamma": 0.5}
    assert parse_change("name = None") == ("name", None)


def test_edits_stand_in_the_place_of_the_notebooks_code():
    edits = {"Conv2D(32, 3": "Conv2D(8, 5", "Adam()": "Adam(epsilon=1e-5)"}
    code = load_notebook(read_settings(edits=edits), seed=0)
    assert code["agent"].backbone.weights[0].shape == (5, 5, 4, 8)
    assert code["optimizer"].epsilon == 1e-5
    with pytest.raises(ValueError, match="in the code that trains there is no 'Conv3D'"):
        read_settings(edits={"Conv3D": "Conv2D"})


def test_a_fresh_process_is_another_one():
    assert in_fresh_process(os.getpid) != os.getpid()


def test_a_killed_benchmark_leaves_nobody_behind():
    benchmark = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    child = psutil.Process(int(benchmark.stdout.readline()))
    benchmark.kill()
    try:
        # The pipe closes when the last one that holds it has ended.
        benchmark.communicate(timeout=120)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def test_rates_leave_out_the_warm_up(monkeypatch: pytest.MonkeyPatch):
    clock = iter([100.0, 101.0, 102.0, 104.0, 107.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    meter = RateMeter(seconds=5)
    assert [meter.is_over(steps) for steps in (10, 20, 30, 40, 50)] == [False] * 4 + [True]
    assert meter.rate == 20 / 5


def test_the_innermost_part_has_the_time(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 1.0, 3.0, 7.0, 8.0, 16.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    stopwatch = Stopwatch()
    with stopwatch.at("preprocessing"), stopwatch.at("emulator"):
        pass
    stopwatch.stop()
    assert stopwatch.seconds == {
        "emulator": 4,
        "preprocessing": 2 + 1,
        "acting": 0,
        "learning": 0,
        "Python and the rest": 1 + 8,
    }


def test_a_curve_finds_the_first_twenty_games_above_a_score():
    curve = LearningCurve("ours")
    returns = [9_000.0] * 20
    assert not curve.follow(Progress(10.0, 100, returns))
    # Four games end in one rollout: after two of them the mean is 10,100, after all four 9,200.
    returns = [*returns, 20_000.0, 20_000.0, 0.0, 0.0]
    assert curve.follow(Progress(12.0, 120, returns))
    assert curve.follow(Progress(13.0, 130, returns))
    result = curve.result()
    assert result["seconds_to"] == {"10000": 12.0, "25000": None}
    assert result["best_training_mean"] == 10_100
    assert result["curve"] == [(10.0, 100, 9_000), (12.0, 120, 9_200)]
    assert steps_to([result], 10_000) == (120, 120, 120)
    assert steps_to([result], 25_000) == (math.inf, math.inf, math.inf)
    assert result["steps_per_second"] == 10
    json.dumps(result)


def test_nineteen_games_are_no_mean():
    curve = LearningCurve("ours")
    assert not curve.follow(Progress(10.0, 100, [50_000.0] * 19))
    assert curve.result()["best_training_mean"] is None


def test_never_is_later_than_any_time():
    runs = [{"seconds_to": {"10000": seconds}} for seconds in (70.0, None, 90.0)]
    assert seconds_to(runs, 10_000) == (90, 70, math.inf)
    assert [number(value) for value in seconds_to(runs, 10_000)] == ["90", "70", "never"]


def test_figures_are_those_of_runs_that_were_given_time():
    def run(seed: int, minutes: float, seconds: float | None, mean: float) -> dict:
        return {
            "seed": seed,
            "minutes": minutes,
            "seconds_to": {"10000": seconds, "25000": None},
            "evaluation": [mean, mean],
        }

    own = [run(0, 60, 200, 4e4), run(1, 30, 300, 2e4), run(2, 15, None, 1e4), run(3, 5, 9, 1)]
    figures = figures_of([*own, run(0, 15, 210, 3e4)])
    assert figures == {
        "seconds_to_10000_median": (300, 200, math.inf),
        "seconds_to_25000_median": (math.inf, math.inf, math.inf),
        "best_mean": (2e4, 1e4, 4e4),
    }


def seven_steps(title: str, name: str, seed: int) -> dict:
    return {"steps": 7}


@pytest.mark.usefixtures("in_this_process")
def test_the_log_resumes_and_refuses_what_it_did_not_write(tmp_path: Path):
    file = tmp_path / "results" / "runs.jsonl"
    log = RunLog(file, ("name", "seed"))
    log.append({"name": "ours", "seed": 0, "steps": 5})
    (file.parent / "runs.part").write_text('{"name": "ours", "se')  # what an interruption leaves
    resumed = RunLog(file, ("name", "seed"))
    for seed in (0, 1):
        resumed.run_once(f"seed {seed}", seven_steps, {"name": "ours", "seed": seed})
    assert [run["steps"] for run in RunLog(file, ("name", "seed")).runs] == [5, 7]
    assert "date" in resumed.runs[1]
    log.append({"name": "ours", "seed": 2, "steps": 9})  # it has not seen the one before
    assert [run["steps"] for run in RunLog(file, ("name", "seed")).runs] == [5, 7, 9]

    file.write_text(file.read_text() + '{"name": "ours"}\n')
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 4, is no finished run .* name, seed"):
        RunLog(file, ("name", "seed"))


def test_groups_are_named_by_what_differs_from_the_notebook():
    notebook = {"gamma": 0.99, "n_steps": 10}
    assert label(notebook, notebook) == "as in the notebook"
    assert label({"gamma": 0.9, "n_steps": 10, "old": 1}, notebook) == "gamma=0.9, old=1"
    edited = {**notebook, "edits": {"strides=2": "strides=3"}}
    assert label(edited, notebook) == "strides=2 → strides=3"
    changed = {"settings": {**notebook, "n_steps": 5}, "minutes": 5.0}
    own = {"settings": notebook, "minutes": 60.0}
    assert group([changed, own, changed], notebook) == {
        "as in the notebook (60 min)": [own],
        "n_steps=5 (5 min)": [changed, changed],
    }


def test_a_report_is_written_only_when_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("benchmarks.report.RESULTS", tmp_path)
    run = dict.fromkeys(("command", "date", "machine", "load", "versions"), "said")
    arguments = argparse.Namespace(name="how_long", track="tensorflow", run=run, write=False)
    sections = [table(["a", "b"], [["1", "2"]])]
    found = {"seconds": spread([3.0, 1.0, math.inf])}
    publish(arguments, sections, found)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out.endswith(
        "| a | b |\n| --- | ---: |\n| 1 | 2 |\n\nseconds: 3 1 never\n"
    )
    arguments.write = True
    publish(arguments, sections, found, draw=lambda figure: figure.subplots())
    assert {path.name for path in tmp_path.iterdir()} == {
        "how_long.json",
        "how_long.md",
        "how_long.png",
    }
    assert "![How long](how_long.png)" in (tmp_path / "how_long.md").read_text()
    written = json.loads((tmp_path / "how_long.json").read_text())
    assert written["figures"] == {"seconds": [3.0, 1.0, None]}
