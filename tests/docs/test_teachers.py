"""Does what `docs/teachers.md` says from a changed exercise to grades in Canvas, block by block."""

import re
from pathlib import Path

import pytest

from tests.docs import test_new_assignment as page

TEACHERS = page.ROOT / "docs" / "teachers.md"
HEADING = "### From a changed exercise to grades in Canvas\n"


def walk() -> list[re.Match[str]]:
    """Returns the blocks of the section."""
    section = TEACHERS.read_text().partition(HEADING)[2].partition("\n## ")[0]
    return list(page._BLOCK.finditer(section))


@pytest.mark.pytorch
@pytest.mark.tensorflow
def test_the_walk_ends_in_canvas(tmp_path):
    page.copy_project(tmp_path)
    weights = Path("solutions/kungfu_a2c_pytorch.npz")
    (tmp_path / weights).write_bytes((page.ROOT / weights).read_bytes())
    blocks = walk()
    assert [block["kind"] for block in blocks] == ["python", *["console"] * 7]
    for block in blocks:
        page.do_block(tmp_path, block)
    assert "A fine drawing." in (tmp_path / "build/class/feedback/conti.html").read_text()
