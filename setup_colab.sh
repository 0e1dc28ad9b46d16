#!/usr/bin/env bash
# Makes a Colab runtime ready for the notebook: installs what it lacks, changes nothing that it
# has, verifies the rest and says what it found. Run it as often as you like.
#
#   bash setup_colab.sh                             # for python3 and the TensorFlow notebook
#   bash setup_colab.sh requirements-pytorch.txt    # for the PyTorch notebook
#   PYTHON=/path/to/python bash setup_colab.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-python3}
requirements=${1:-requirements.txt}

fail() {
    echo "setup_colab.sh: $*" >&2
    exit 1
}

# inspect missing: prints the lines of the requirements that nothing importable answers.
# inspect verify: prints the versions found; exits 1 with a sentence for each thing that is wrong.
inspect() {
    "$python" -W ignore - "$1" "$requirements" <<'EOF'
import importlib
import importlib.util
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

# Each line's requirement, its distribution's name, and its module's name if that differs.
LINE = re.compile(r"^(([\w.-]+)[^#\n]*?) *(?:# import (\w+))?$", re.MULTILINE)
NEEDED = [
    (requirement, distribution, module or distribution)
    for requirement, distribution, module in LINE.findall(Path(sys.argv[2]).read_text())
]


def is_missing(module):
    spec = importlib.util.find_spec(module)
    return spec is None or spec.origin is None  # a folder without code is what a failed install leaves


def version_of(distribution, module):
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        # OpenCV and TensorFlow come under several names, each with the same module inside.
        names = metadata.packages_distributions().get(module, [distribution])
        return metadata.version(names[0])


def problems():
    from packaging.requirements import Requirement

    for line, distribution, module in NEEDED:
        try:
            version = version_of(distribution, module)
            if module not in ("tensorflow", "torch"):  # slow, and the notebook imports it next
                importlib.import_module(module)
        except Exception as error:
            yield f"{distribution} is broken ({type(error).__name__}: {error})."
            continue
        if not Requirement(line).specifier.contains(version, prereleases=True):
            yield f"{distribution} is {version}, but the notebook needs {line}."
    try:
        import ale_py
        import gymnasium

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        gymnasium.register_envs(ale_py)
        gymnasium.make("ALE/KungFuMaster-v5").close()
    except Exception as error:
        yield f"The game KungFuMaster does not start ({type(error).__name__}: {error})."


def versions():
    yield f"python {platform.python_version()}"
    for _, distribution, module in NEEDED:
        yield f"{distribution} {version_of(distribution, module)}"
        if distribution == "tensorflow":
            yield f"keras {metadata.version('keras')}"


if sys.argv[1] == "missing":
    print("\n".join(line for line, _, module in NEEDED if is_missing(module)))
elif found := list(problems()):
    sys.exit("\n".join(f"setup_colab.sh: {problem}" for problem in found))
else:
    print("Ready:", ", ".join(versions()))
EOF
}

command -v "$python" >/dev/null || fail "there is no Python called '$python': set PYTHON to its path."
[[ -f $requirements ]] || fail "$requirements must lie beside this script: download it again."

listing=$(inspect missing)
if [[ -n $listing ]]; then
    mapfile -t missing <<<"$listing"
    echo "Installing ${missing[*]}"
    installed=$(mktemp)
    trap 'rm -f "$installed"' EXIT
    pip=("$python" -m pip --disable-pip-version-check)
    "${pip[@]}" list --format=freeze >"$installed" &&
        "${pip[@]}" install --quiet --no-input --root-user-action=ignore \
            --constraint "$installed" "${missing[@]}" ||
        fail "pip could not install ${missing[*]} (its reason is above)." \
            "Check the connection and run this again. In Colab a fresh runtime helps as well:" \
            "Runtime > Disconnect and delete runtime."
fi

inspect verify ||
    fail "In Colab choose Runtime > Disconnect and delete runtime, then run this again." \
        "If that does not help, open the newest notebook, or pick an earlier runtime version in" \
        "Runtime > Change runtime type. Anywhere else: $python -m pip install -r $requirements"
