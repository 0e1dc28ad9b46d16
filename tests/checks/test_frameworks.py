"""Each framework can do without the other: files, requirements, tests."""

import re
import subprocess
import sys
from types import ModuleType

import pytest

from checks import CheckFailed
from checks.frameworks import find_adapter
from tests.frameworks import each_framework
from tests.notebooks import ROOT

OTHERS = {"tensorflow": {"torch"}, "pytorch": {"tensorflow", "keras"}}


def loaded_by(statement: str) -> set[str]:
    """Returns the modules that a fresh Python has loaded after a statement."""
    command = [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {*finished.stdout.split()}


def test_checks_load_no_framework_by_themselves():
    assert not {"tensorflow", "keras", "torch"} & loaded_by("import checks, checks.whole")


@each_framework
def test_an_adapter_loads_its_framework_and_not_the_other(framework):
    assert not OTHERS[framework] & loaded_by(f"import checks.{framework}")


@pytest.fixture
def adapters(monkeypatch):
    """Stand-ins for both adapters, as if they had been loaded."""
    made = {name: ModuleType(f"checks.{name}") for name in OTHERS}
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, f"checks.{name}", module)
    return made


def imported_from(package: str) -> type:
    return type("Layer", (), {"__module__": package})


@pytest.mark.parametrize(
    ("framework", "value"),
    [
        ("tensorflow", ModuleType("tensorflow")),
        ("tensorflow", ModuleType("keras.layers")),
        ("tensorflow", imported_from("keras.src.layers.core.dense")),
        ("pytorch", ModuleType("torch")),
        ("pytorch", ModuleType("torch.nn.functional")),
        ("pytorch", imported_from("torch.optim.adam")),
        ("pytorch", imported_from("torch.optim.adam")()),
    ],
)
def test_a_notebook_is_told_by_what_it_imports(adapters, framework, value):
    namespace = {
        "__name__": "__main__",
        "os": sys,
        "torchlight": ModuleType("torchlight"),
        "x": value,
    }
    assert find_adapter(namespace) is adapters[framework]


BOTH = {"tf": ModuleType("tensorflow"), "torch": ModuleType("torch")}


@each_framework
def test_of_two_frameworks_the_set_up_cells_one_counts(adapters, monkeypatch, framework):
    (other,) = OTHERS.keys() - {framework}
    monkeypatch.delitem(sys.modules, f"checks.{other}")
    assert find_adapter(BOTH) is adapters[framework]


@pytest.mark.parametrize("namespace", [{"np": ModuleType("numpy")}, BOTH])
def test_a_notebook_that_tells_no_framework_is_told_so(adapters, namespace):
    with pytest.raises(
        CheckFailed, match="neither TensorFlow nor PyTorch, or both: run its set-up"
    ):
        find_adapter(namespace)


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
