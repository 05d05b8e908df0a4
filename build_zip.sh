#!/usr/bin/env bash
# Build the zip that a Greengrass core runs, into dist/: ./build_zip.sh --help
# PYTHON names the interpreter to build with (3.7 or later; default python3).
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for argument in "$@"; do # without the environment, which the build needs
  case $argument in -h | --help) exec "${PYTHON:-python3}" "$root/packaging/build_zip.py" --help ;; esac
done
python=$("$root/packaging/venv.sh" "$root/build/venv-%" "$root/packaging/requirements.txt")
exec "$python" "$root/packaging/build_zip.py" "$@"
