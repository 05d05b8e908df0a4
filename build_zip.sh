#!/usr/bin/env bash
# Build the zip a Greengrass core runs, into dist/: ./build_zip.sh --help
# PYTHON names the interpreter to build with (3.7 or later; default python3).
set -euo pipefail
unset CDPATH
# A command that Ctrl-C ends is no command that failed.
trap 'exit 130' INT
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
version=$(command -v "$python" >/dev/null && "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' | grep -x '3\.[0-9]*') ||
  { echo "build_zip.sh: '$python' is no Python that can be run; name one, or its path, with PYTHON=python3.11." >&2; exit 2; }
python=$("$root/packaging/venv.sh" "$root/build/venv-$version" "$root/packaging/requirements.txt")
exec "$python" "$root/packaging/build_zip.py" "$@"
