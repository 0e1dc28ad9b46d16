#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the container in which it grades.
set -euo pipefail
umask 022
cd "$(dirname "${BASH_SOURCE[0]}")"
chmod -R u+rwX,go+rX,go-w . # run_autograder closes what is secret

home=${GRADING_HOME:-/opt/grading} # the environment; students' code can read it, not change it
python=$home/venv/bin/python
export DEBIAN_FRONTEND=noninteractive

install() {
    apt-get install -qq --no-install-recommends "$@"
}

# Makes an environment from the newest Python that the system has. Ubuntu 22.04 has none: its 3.11
# is a release candidate.
environment_of_the_system() {
    local version
    for version in 3.13 3.12 3.11; do
        apt-cache show "python$version-venv" >/dev/null 2>&1 || continue
        install "python$version" "python$version-venv" || continue
        "python$version" -c 'import sys; sys.exit(sys.version_info.releaselevel != "final")' &&
            "python$version" -m venv "$home/venv" && return
    done
    return 1
}

environment_of_uv() {
    install python3-venv
    python3 -m venv "$home/uv"
    "$home/uv/bin/python" -m pip install --quiet --constraint constraints.txt uv
    UV_PYTHON_INSTALL_DIR=$home/python "$home/uv/bin/uv" venv --quiet --seed \
        --managed-python --python 3.13 "$home/venv"
}

apt-get update -qq
install bubblewrap util-linux
if ! environment_of_the_system; then
    environment_of_uv
fi
{% if index %}
export PIP_EXTRA_INDEX_URL={{ index | quote }}
{% endif %}
"$python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
{% for name in requirements %}
    --requirement {{ name | quote }}{{ "" if loop.last else " \\" }}
{% endfor %}

# Fail now rather than with the first submission.
"$python" -c {{ ("import " + modules | join(", ")) | quote }}
"$python" -m compileall -q .
# All submissions share the secret that a seed needs to repeat a grading.
XDG_STATE_HOME=$home/state "$python" -c \
    'from grading.draws import why_not_repeatable; raise SystemExit(why_not_repeatable() or None)'
chmod 700 "$home/state"
