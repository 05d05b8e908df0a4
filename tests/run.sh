#!/usr/bin/env bash
# Run the whole test suite in an environment of its own; arguments go to pytest: ./tests/run.sh -k reporter
# PYTHON names the interpreter (3.7 or later with venv; default python3). From 3.10 on, the tests of deploy.py and
# detect.py run too.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export PYTHON=${PYTHON:-python3}

version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
files=(tests/requirements.txt)
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' && files+=(tests/requirements-fleet.txt)
python=$(packaging/venv.sh "build/tests-$version" "${files[@]}")
# Apart, as the SDK asks for an old cbor2 that only its stream manager needs.
"$python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
exec "$python" -m pytest "$@"
