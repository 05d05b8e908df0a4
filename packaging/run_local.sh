#!/usr/bin/env bash
# Build the connector's zip, with --native that of the native component, and run it on this machine under an embedded local
# core or nucleus: ./packaging/run_local.sh --help
# PYTHON names the interpreter for all of it (3.7 or later with venv; default python3); --python another for the function.
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHON=${PYTHON:-python3}
export RUN_LOCAL_SCRIPT=run_local.sh

version_of() { # INTERPRETER HOW-IT-IS-NAMED
  command -v "$1" >/dev/null && "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' | grep -x '[0-9]*\.[0-9]*' ||
    { echo "run_local.sh: '$1' can't be run as a Python interpreter; name one, or its path, with $2." >&2; exit 2; }
}

version_of "$PYTHON" "PYTHON=python3.11" >/dev/null

native=()
for argument in "$@"; do
  case $argument in
    --native) native=(--native) ;;
    -h | --help | --version) exec "$PYTHON" "$root/packaging/run_local.py" "$argument" ;;
  esac
done

# Ends here if an option is wrong, before anything is built.
function_python=$("$PYTHON" "$root/packaging/run_local.py" --parse-only ZIP "$@")
function_python=${function_python:-$PYTHON}
function_version=$(version_of "$function_python" "--python python3.11")
# the zip has to fit the interpreter that the function runs on
built=$("$root/build_zip.sh" ${native[@]+"${native[@]}"} --python "$function_version" | tail -n 1)
python=$("$root/packaging/venv.sh" "$root/build/venv-%" "$root/packaging/requirements.txt")
exec "$python" "$root/packaging/run_local.py" "${built% *}" --python "$function_python" "$@"
