#!/usr/bin/env bash
# Run the whole test suite in an environment of its own; arguments go to pytest: ./tests/run.sh -k reporter
# PYTHON names the interpreter (3.7 or later with venv; default python3). The tests of deploy.py and detect.py need 3.10
# or later, and some minutes of downloads the first time; TOOLS=no leaves them out.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHON=${PYTHON:-python3}

environment=build/tests-%
files=(tests/requirements.txt)
options=()
if [ "${TOOLS:-yes}" = yes ] && "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  environment=$environment-tools
  files+=(tests/requirements-tools.txt)
else
  options+=(--ignore=tests/deployment --ignore=tests/detection --ignore=tests/documents)
fi
python=$(packaging/venv.sh "$environment" "${files[@]}")
# Apart, as the SDK asks for an old cbor2 that only its stream manager needs.
"$python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
exec "$python" -m pytest ${options[@]+"${options[@]}"} "$@"
