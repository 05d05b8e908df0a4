#!/usr/bin/env bash
# Run the whole test suite in an environment of its own, on all processors; arguments go to pytest, for example
#   ./tests/run.sh tests/connector/test_config.py -k default
# PYTHON names the interpreter (3.7 or later with venv; default python3). The tests of deploy.py, detect.py and the documents
# need Python 3.10 or later and more downloads the first time; TOOLS=no leaves them out.
set -euo pipefail
unset CDPATH
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/script_help.sh"
help_if_asked "$@" # before the change of folder, as it reads this script
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHON=${PYTHON:-python3}
# Hundreds of processes import the same modules: without stored bytecode each would compile them again.
unset PYTHONDONTWRITEBYTECODE

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
# Separately, because the SDK asks for an old cbor2 that only its stream manager needs.
installed=$(dirname "$python")/../requirements.txt
if ! cmp -s requirements.txt "$installed"; then
  "$python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r requirements.txt
  cp requirements.txt "$installed"
fi

# Temporary files in memory where there is 1 GB of it that programs can be run from: a device's state file is synced to the
# disk at each report, and on a disk the test of 30 days waits 6 to 20 s for that.
memory=/dev/shm
temporary=
if [ -z "${TMPDIR:-}" ] && [ "$(df --output=avail "$memory" 2>/dev/null | tail -n 1)" -gt 1000000 ] 2>/dev/null; then
  if temporary=$(mktemp -d -p "$memory" tests.XXXXXX); then
    trap 'rm -rf "$temporary"' EXIT
    chmod 755 "$temporary" # some tests run programs as another user
    printf '#!/bin/sh\n' >"$temporary/program" && chmod +x "$temporary/program"
    if "$temporary/program" 2>/dev/null; then export TMPDIR=$temporary; fi
  fi
fi

# Many tests wait, for a second to pass or a process to end, so there are two processes for each processor.
workers=$(($(nproc) * 2))
"$python" -m pytest -n $((workers < 9 ? workers : 9)) ${options[@]+"${options[@]}"} "$@"
