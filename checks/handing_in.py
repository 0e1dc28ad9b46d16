"""Hands in: `hand_in.zip` with the notebook and its weights, and what they are worth.

The notebook's last cell calls `hand_in(globals())`; the command is

    python -m checks hand-in NOTEBOOK

Both write the zip first, so that whatever happens later there is one. Then they say what to put
right, and what the exercises and 20 games with these weights earn.
"""

import contextlib
import io
import json
import math
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from checks import preflight, weights
from checks.agent import check_agent
from checks.frameworks import find_adapter
from checks.loss import check_loss
from checks.notebook import PlainError, describe_error
from checks.optimizer import check_optimizer
from checks.playing import play
from checks.points import N_GAMES, PLAYING, POINTS, points_for_playing
from checks.sheet import AS_TEXT, RECORD, CheckFailed
from checks.whole import (
    EXERCISES,
    NOTHING_CHECKED,
    Run,
    failure_of_setup,
    missing_checks,
    print_exercises,
    print_others,
    read_record,
    run_cells,
)

ZIP = "hand_in.zip"
USAGE = "usage: python -m checks hand-in NOTEBOOK"
PLAYING_SECONDS = 1200  # as in grading; good agents live long
UNSAVED = (
    "not known, since its cell in the saved notebook is not what ran last: save the notebook "
    "(Ctrl+S), run that cell if it has changed, then this one again"
)
CHECKS = {"agent": check_agent, "loss": check_loss, "optimizer": check_optimizer}


class NothingToHandIn(PlainError):  # noqa: N818 - reads as a verdict, not as an accident
    """There is no notebook, or none with an exercise in it."""


@dataclass(frozen=True)
class Notebook:
    """A notebook that is handed in.

    Attributes:
        name: of its file.
        data: the file.
        cells: its code cells.
        folder: where the zip goes.
    """

    name: str
    data: bytes
    cells: list[preflight.Cell]
    folder: Path

    @classmethod
    def read(cls, path: Path) -> "Notebook":
        """Reads a file.

        Raises:
            NothingToHandIn: it is not a notebook, or there is no exercise in it.
        """
        try:
            data = path.read_bytes()
            cells = preflight.read_cells(data)
        except FileNotFoundError:
            raise NothingToHandIn(f"There is no {path}.") from None
        except (OSError, ValueError, RecursionError) as error:
            raise NothingToHandIn(f"{path} is not a notebook that can be read: {error}") from None
        return cls._checked(path.name, data, cells, path.parent)

    @classmethod
    def _checked(
        cls, name: str, data: bytes, cells: list[preflight.Cell], folder: Path
    ) -> "Notebook":
        if not preflight.has_answers(cells):
            names = ", ".join(name for name, _ in preflight.DEFINES.values())
            raise NothingToHandIn(f"No cell of {name} defines any of {names}: is it the right one?")
        return cls(name, data, cells, folder)

    @classmethod
    def from_colab(cls, content: dict) -> "Notebook":
        """Takes what Colab says of the notebook that is open."""
        name = str(content.get("metadata", {}).get("colab", {}).get("name") or "homework.ipynb")
        name = Path(name).name.removesuffix(".ipynb") + ".ipynb"
        data = json.dumps(content, ensure_ascii=False).encode()
        return cls._checked(name, data, preflight.read_cells(data), Path.cwd())

    @property
    def sources(self) -> list[str]:
        return [cell.source for cell in self.cells]

    @property
    def problems(self) -> list[str]:
        return preflight.find_problems(self.cells, len(self.data))


# ------------------------------------------------------------------------------------ in a notebook


def hand_in(namespace: dict[str, Any]) -> None:
    """Writes the agent's weights and `hand_in.zip`, and says what they are worth.

    Args:
        namespace: the notebook's `globals()`, with the `agent` whose weights go in.

    Raises:
        NothingToHandIn: it is not clear which notebook this is. An earlier zip stays.
    """
    if os.environ.get(RECORD):
        print("Nothing is packed: this notebook is only being checked.")
        return
    path = Path(weights.FILE)
    problem = _why_not_this_agent(namespace)
    if not problem:
        save_weights(namespace)
    elif not path.exists():
        path = None
        problem += " So no weights go in."
    else:
        problem += f" So the {path} that was there goes in instead."
    problems = [problem] if problem else []
    ran = _ran_here()
    notebook = _find_notebook(namespace, ran)
    target = pack(notebook, path)
    problems += notebook.problems
    unknown = _find_unknown(notebook, ran)
    if UNSAVED in unknown.values():
        problems.append(f"{notebook.name} is not what ran here: save it, then run this cell again.")
    try:
        games = f", then {N_GAMES} games with these weights: a minute or two" if path else ""
        print(f"Running the checks{games} …")
        run = _check_here(namespace, unknown)
        playing = play(namespace, path) if path else None
        _print_points(notebook.sources, replace(run, playing=playing), bool(unknown))
    except KeyboardInterrupt:
        print("Interrupted, so the points are not known.")
    _print_end(target, problems)
    if "google.colab" in sys.modules:
        print(f"To download it: the folder on the left, then ⋮ beside {ZIP}.")


def _why_not_this_agent(namespace: Mapping[str, Any]) -> str:
    """Says why the kernel's agent is not the one to hand in, "" if it is."""
    if "agent" not in namespace:
        return "No agent is defined in this kernel."
    return getattr(namespace.get("run"), "unrestored", "")


def save_weights(namespace: dict[str, Any]) -> None:
    """Writes the weights of the notebook's agent; other weights that lie there are moved aside.

    Raises:
        CheckFailed: the notebook has imported neither framework, or both.
    """
    path = Path(weights.FILE)
    data = weights.pack_weights(find_adapter(namespace), namespace["agent"])
    if path.exists() and path.read_bytes() != data:
        aside = path.with_name(f"earlier_weights-{time.strftime('%Y-%m-%d-%H%M%S')}.npz")
        path.replace(aside)
        print(f"The weights that were in {path} are now in {aside}.")
    _write_whole(path, data)


def _ran_here() -> list[str]:
    """Returns the sources of the cells that this kernel has run."""
    from IPython import get_ipython

    shell = get_ipython()
    return [*shell.history_manager.input_hist_raw] if shell else []


def _find_notebook(namespace: dict[str, Any], ran: Sequence[str]) -> Notebook:
    """Finds the notebook whose kernel this is."""
    if content := _ask_colab():
        return Notebook.from_colab(content)
    # VS Code sets the first of these, Jupyter the second; after a renaming they lead nowhere.
    named = [namespace.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")]
    for name in map(str, filter(None, named)):
        for path in (Path(name), Path(Path(name).name)):
            if path.suffix == ".ipynb" and path.is_file():
                return Notebook.read(path.absolute())
    found = []
    for path in sorted(Path.cwd().glob("*.ipynb")):
        with contextlib.suppress(NothingToHandIn):
            found.append(Notebook.read(path))
    ours = [notebook for notebook in found if not preflight.find_unsaved(notebook.cells, ran)]
    for notebooks in (ours, found):
        if len(notebooks) == 1:
            return notebooks[0]
    if "google.colab" in sys.modules:
        raise NothingToHandIn(
            "Colab does not give out this notebook. Hand in two files instead: the notebook "
            f"(File > Download) and {weights.FILE} (the folder on the left, then ⋮ beside it)."
        )
    names = ", ".join(notebook.name for notebook in found) or "none"
    there = f"\nThe weights are in {weights.FILE}." if Path(weights.FILE).exists() else ""
    raise NothingToHandIn(
        f"Which notebook is this? Found in {Path.cwd()}: {names}. Save it, then run in a terminal, "
        f"in the folder of the helper files: {USAGE.removeprefix('usage: ')}{there}"
    )


def _ask_colab() -> dict | None:
    """Returns the notebook that is open in Colab; None elsewhere, or if there is no answer."""
    if "google.colab" not in sys.modules:
        return None
    try:  # by a way that is not documented
        from google.colab import _message

        return _message.blocking_request("get_ipynb", timeout_sec=60)["ipynb"]
    except Exception:
        return None


def _find_unknown(notebook: Notebook, ran: Sequence[str]) -> dict[str, str]:
    """Returns the exercises of which this kernel has another answer than the file, and why."""
    unfinished = (
        "not known while gaps are open. What is right so far counts all the same; in a terminal "
        f"you see it by: python -m checks {notebook.name}"
    )
    with_gaps = [name for name in EXERCISES if preflight.count_gaps(notebook.cells, name)]
    unsaved = preflight.find_unsaved(notebook.cells, ran)
    # Who has filled the gaps and not saved it sees none, but who has opened them again does.
    reopened = {
        name
        for name in with_gaps
        if preflight.count_gaps([preflight.Cell(source, None) for source in ran], name)
    }
    return dict.fromkeys(with_gaps, unfinished) | dict.fromkeys({*unsaved} - reopened, UNSAVED)


def _check_here(namespace: dict[str, Any], unknown: Mapping[str, str]) -> Run:
    """Runs the checks in this kernel, without showing them.

    Args:
        namespace: the notebook's `globals()`.
        unknown: the exercises that cannot be checked here, and why.
    """
    from IPython.utils.capture import capture_output

    failures = dict(unknown)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.jsonl"
        variables = {RECORD: str(record), AS_TEXT: "1"}
        with mock.patch.dict(os.environ, variables), capture_output():
            for exercise, check in CHECKS.items():
                if exercise in unknown:
                    continue
                try:
                    check(namespace)
                except CheckFailed as error:
                    failures[exercise] = str(error)
                except Exception as error:
                    failures[exercise] = describe_error(error)
        parts, _ = read_record(record)
    for exercise in EXERCISES.keys() - parts.keys():
        parts[exercise] = dict.fromkeys(POINTS[exercise], failures[exercise])
    return Run([], parts)


# ------------------------------------------------------------------------------ what it is worth


def _print_points(sources: Sequence[str], run: Run, is_partial: bool = False) -> bool:
    """Prints the points of exercises and games; returns whether nothing of them went wrong.

    Args:
        sources: the code cells.
        run: what running them showed.
        is_partial: whether some exercises are not known.
    """
    total = print_exercises(sources, run)
    most, earned = POINTS[PLAYING][PLAYING], 0.0
    playing = run.playing or {"scores": [], "problem": "there are no weights to play with"}
    words, scores = playing["problem"], playing["scores"]
    if scores:
        mean, error = np.mean(scores), np.std(scores, ddof=1) / math.sqrt(len(scores))
        earned = points_for_playing(float(mean))
        words = (
            f"the mean of {len(scores)} games is {mean:,.0f} ± {error:,.0f} (standard error); "
            "your teacher's grader plays others"
        )
    print(f"{PLAYING:<12}{earned:>4.3g} / {most}\n{'':10}{words}")
    least = " at least" if is_partial else ""
    print(f"{'total':<12}{total + earned:>4.3g} / {sum(EXERCISES.values()) + most}{least}")
    return total == sum(EXERCISES.values()) and bool(scores)


def _print_end(target: Path, problems: Sequence[str]) -> None:
    print(*(f"  ! {problem}" for problem in problems), sep="\n", end="\n" if problems else "")
    with zipfile.ZipFile(target) as packed:
        names = " and ".join(packed.namelist())
    size = target.stat().st_size / 1000
    print(f"{_shown(target)} ({size:,.0f} kB) holds {names}. Hand in this one file.")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# ---------------------------------------------------------------------------------------------- zip


def pack(notebook: Notebook, weights_file: Path | None) -> Path:
    """Writes the zip completely or not at all; returns its path.

    The same notebook and weights make the same zip.

    Raises:
        NothingToHandIn: it cannot be written.
    """
    members = {notebook.name: notebook.data}
    if weights_file:
        members[weights.FILE] = weights_file.read_bytes()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            packed.writestr(entry, data)
    target = notebook.folder / ZIP
    try:
        _write_whole(target, file.getvalue())
    except OSError as error:
        raise NothingToHandIn(
            f"{target} cannot be written: {error.strerror}. If another program has it open, close "
            "it there."
        ) from None
    return target


def _write_whole(path: Path, data: bytes) -> None:
    """Writes a file; an earlier one stays until the new one is complete."""
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------ command


def main(arguments: Sequence[str]) -> int:
    """Hands in a notebook with the weights that lie beside it.

    The notebook runs as by `python -m checks NOTEBOOK`, then its agent plays.

    Returns:
        0 if the zip is written and there is nothing to put right; 1 if it is written, and there is,
        or points are missing in the exercises; 2 if it is not written.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        notebook = Notebook.read(path)
        found = _find_weights(path)
        target = pack(notebook, found)
    except (NothingToHandIn, OSError) as error:
        print(f"{error}\nNothing is written.", file=sys.stderr)
        return 2
    problems = notebook.problems
    if not found:
        problems.append(
            f"There is no {weights.FILE} beside the notebook, so nothing is earned by playing: "
            "run the notebook's last cell after training, which writes that file."
        )
    games = f", then {N_GAMES} games: some minutes" if found else ""
    print(f"Running the {len(notebook.cells)} code cells of {path}, but for the slow ones{games} …")
    run = _run(notebook, found)
    if run and (failure := failure_of_setup(notebook.sources, run.failures)):
        problems.append(NOTHING_CHECKED.format(failure))
        run = None
    is_fine = run is not None and _print_points(notebook.sources, run)
    if run is None:
        problems.append("The notebook's points are not known.")
    elif print_others(notebook.sources, run.failures):
        problems.append("Cells that belong to no exercise fail, see above.")
    _print_end(target, problems)
    return 0 if is_fine and not problems else 1


def _find_weights(path: Path) -> Path | None:
    """Returns the weights of a notebook: beside it, or where its kernel left them."""
    beside = [path.with_suffix(".npz"), path.with_name(weights.FILE), Path(weights.FILE)]
    return next((file.absolute() for file in beside if file.is_file()), None)


def _run(notebook: Notebook, found: Path | None) -> Run | None:
    """Runs a notebook, then the games; None if pytest broke."""
    cells = [*notebook.sources, *missing_checks(notebook.sources)]
    if found is None:
        return run_cells(cells)
    last = f"from checks.playing import record_play\nrecord_play(globals(), {str(found)!r})"
    run = run_cells([*cells, last], PLAYING_SECONDS)
    if run is None or run.playing:
        return run and replace(run, failures=run.failures[:-1])
    failed = {"scores": [], "problem": f"the games did not end: {run.failures[-1]}"}
    return replace(run, failures=run.failures[:-1], playing=failed)
