#!/usr/bin/env bash
# Measure this connector's `run` beside AWS's agent 2.0.0, both connected to one mosquitto.
#   tests/bench/direct.sh [--output FOLDER]     for the table (tests/bench/results)
# It makes an environment of its own. PYTHON names the interpreter (3.10 or later; default python3).
set -euo pipefail
unset CDPATH
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/packaging/script_help.sh"
help_if_asked "$@"
refuse_unknown_options "$@"
export PYTHON=${PYTHON:-python3}
python=$("$root/packaging/venv.sh" "$root/build/bench-direct-%" "$root/tests/bench/requirements-direct.txt")
# As pip installs it: with compiled modules.
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$root"
PYTHONPATH="$root/tests" exec "$python" -m bench.direct "$@"
