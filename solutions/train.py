"""Runs a solution notebook from top to bottom, training included, without a browser.

    python solutions/train.py
    python solutions/train.py --minutes 60
    python solutions/train.py --minutes 0.1 --frames 400    # tries it all out, with short games

Training ends as in the notebook, when the agent passes the homework, or after `--minutes`, passed
or not. Whatever the notebook prints appears on the terminal as it runs. All results go to a new
folder in `runs/`: the executed notebook, the same as one HTML page with its plots and a video that
plays anywhere, all videos, the checkpoint, and the zip to hand in.
"""

import argparse
import copy
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

ROOT = Path(__file__).parent.parent


class TalkingClient(NotebookClient):
    """Runs a notebook and shows on the terminal what its cells print, while they run."""

    def process_message(self, message: dict[str, Any], cell: Any, cell_index: int) -> Any:
        content = message["content"]
        if message["msg_type"] == "stream":
            print(content["text"], end="", flush=True)
        elif "<progress" in content.get("data", {}).get("text/html", ""):
            print("\r" + content["data"]["text/plain"], end="", flush=True)
        return super().process_message(message, cell, cell_index)


def insert_cell(notebook: Any, after: str, source: str) -> None:
    """Puts a code cell right after one of the notebook's own."""
    position = [cell.get("id") for cell in notebook.cells].index(after) + 1
    notebook.cells.insert(position, nbformat.v4.new_code_cell(source, id=f"{after}-here"))


def make_page(notebook: Any) -> str:
    """Returns the notebook as an HTML page with its figures embedded, so it needs no other file."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:  # nbconvert embeds only files inside a folder
        cell.source = cell.source.replace("../notebooks/", "notebooks/")
    below = {"metadata": {"path": str(ROOT)}}
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook, resources=below)
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--track", default="tensorflow", choices=["tensorflow", "pytorch"])
    parser.add_argument("--minutes", type=float, help="minutes to train (default: until it passes)")
    parser.add_argument("--frames", type=int, help="frames that a game lasts at most")
    parser.add_argument("--folder", type=Path, help="where to put all results; must not exist yet")
    arguments = parser.parse_args()
    started = time.strftime("%Y-%m-%d-%H%M%S")
    folder = arguments.folder or ROOT / "runs" / f"{arguments.track}-{started}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        parser.error(f"{folder} already exists, and what is in it would be lost")

    notebook = nbformat.read(ROOT / "solutions" / f"kungfu_a2c_{arguments.track}.ipynb", 4)
    if arguments.minutes is not None:
        settings = f"max_minutes = {arguments.minutes}\nstop_when_passed = False"
        insert_cell(notebook, "training-settings", settings)
    if arguments.frames is not None:
        options = 'gym.spec("ALE/KungFuMaster-v5").kwargs'
        limit = f'{options}["max_num_frames_per_episode"] = {arguments.frames}'
        insert_cell(notebook, "imports", limit)

    nbformat.write(notebook, folder / "notebook.ipynb")  # what its last cell packs
    client = TalkingClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    problem = ""
    try:
        client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    except CellExecutionError as error:
        problem = str(error)
    nbformat.write(notebook, folder / "notebook.ipynb")
    (folder / "notebook.html").write_text(make_page(notebook), encoding="utf-8")
    if problem:
        print(f"\nThe notebook stopped with an error:\n{problem}", file=sys.stderr)
        return 1
    print(f"\nResults in {folder}:")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"  {path.relative_to(folder)}  {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
