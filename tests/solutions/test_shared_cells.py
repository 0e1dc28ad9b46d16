"""Both tracks tell one story: their cells are the same but where a reason is listed here."""

import re

import nbformat

from tests.notebooks import solution_path

MAY_DIFFER = {
    "title": "names the framework",
    "setup": "the framework's own files",
    "imports": "the framework's own modules",
    "make-env": "four frames or one, axis order, crop",
    "look-text": "four frames or one",
    "look": "four frames or one",
    "pomdp-text": "four frames or one",
    "agent-text": "the framework's layers",
    "agent-exercise": "framework code",
    "select": "framework code, another helper by contract",
    "loss-hints": "the framework's traps",
    "loss-exercise": "framework code",
    "optimizer-text": "the framework's optimizers",
    "optimizer-exercise": "framework code",
    "training-settings": "tuned for each agent",
    "training-pool": "framework code",
    "history": "optimizer or opt, by contract",
}


def read_cells(framework: str) -> dict[str, tuple[str, str, dict]]:
    """A solution's cells by id: type, source and metadata; pictures under their common name."""
    notebook = nbformat.read(solution_path(framework), as_version=4)
    picture = re.compile(rf"_{framework}(?=\.png\))")
    return {
        cell.id: (cell.cell_type, picture.sub("", cell.source), cell.metadata)
        for cell in notebook.cells
    }


def test_cells_differ_only_where_a_reason_is_listed():
    tensorflow, pytorch = read_cells("tensorflow"), read_cells("pytorch")
    names = tensorflow.keys() | pytorch.keys()
    differing = {name for name in names if tensorflow.get(name) != pytorch.get(name)}
    assert sorted(differing - MAY_DIFFER.keys()) == [], "make these the same, or list a reason"
    assert sorted(MAY_DIFFER.keys() - differing) == [], "these are the same: take them off the list"


def test_shared_cells_come_in_the_same_order():
    tensorflow, pytorch = read_cells("tensorflow"), read_cells("pytorch")
    both = tensorflow.keys() & pytorch.keys()
    order = [name for name in tensorflow if name in both]
    assert order == [name for name in pytorch if name in both]
