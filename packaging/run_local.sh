#!/usr/bin/env bash
# Build the connector's zip and run it on this machine under an embedded local core: ./packaging/run_local.sh --help
# PYTHON names the interpreter for all of it (3.7 or later with venv; default python3); --python another for the function.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHON=${PYTHON:-python3}

function_python=$PYTHON
previous=
for argument in "$@"; do
  case $argument in
    -h | --help) exec "$PYTHON" "$root/packaging/run_local.py" --help ;;
    --python=*) function_python=${argument#--python=} ;;
  esac
  [ "$previous" = --python ] && function_python=$argument
  previous=$argument
done

version='import sys; print("%d.%d" % sys.version_info[:2])'
tools_version=$("$PYTHON" -c "$version")
function_version=$("$function_python" -c "$version")
# the zip has to fit the interpreter that the function runs on
built=$("$root/build_zip.sh" --python "$function_version" | tail -n 1)
python=$("$root/packaging/venv.sh" "$root/build/venv-$tools_version" "$root/packaging/requirements.txt")
exec "$python" "$root/packaging/run_local.py" "${built% *}" --python "$function_python" "$@"
