"""Each framework can do without the other: files, requirements, tests."""

import re
import subprocess
import sys

import pytest

from tests.frameworks import each_framework
from tests.notebooks import ROOT

OTHERS = {"tensorflow": {"torch"}, "pytorch": {"tensorflow", "keras"}}


@each_framework
def test_checks_load_one_framework_and_not_the_other(framework):
    code = f"import sys, checks; checks.use_framework({framework!r}); print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not OTHERS[framework] & {*loaded.stdout.split()}


def test_students_need_the_same_but_for_the_framework():
    def lines(name: str) -> set[str]:
        return {*re.findall(r"^\w.*", (ROOT / name).read_text(), re.MULTILINE)}

    both = lines("requirements.txt"), lines("requirements-pytorch.txt")
    names = {re.match(r"[\w-]+", line)[0] for line in both[0] ^ both[1]}
    assert names == {"tensorflow", "torch"}


@pytest.mark.parametrize("absent", ["tensorflow", "torch"])
def test_tests_of_a_framework_that_is_not_installed_are_deselected(tmp_path, absent):
    conftest = (ROOT / "tests" / "conftest.py").read_text().replace(f'"{absent}"}}', '"absent"}')
    conftest = conftest.replace(f'"{absent}",', '"absent",')
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.tensorflow\ndef test_tensorflow(): pass\n\n"
        "@pytest.mark.pytorch\ndef test_pytorch(): pass\n\n"
        "@pytest.mark.tensorflow\n@pytest.mark.pytorch\ndef test_both(): pass\n\n"
        "def test_neither(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:grading", "-p", "no:nbval"]
    finished = subprocess.run(
        [*command, "--rootdir=.", "-W", "ignore"], cwd=tmp_path, capture_output=True, text=True
    )
    name = {"tensorflow": "tensorflow", "torch": "pytorch"}[absent]
    (other,) = {"tensorflow", "pytorch"} - {name}
    assert f"not installed, so its tests are deselected: {name}" in finished.stdout
    assert "2 passed, 2 deselected" in finished.stdout
    assert f"test_{other} PASSED" in finished.stdout
