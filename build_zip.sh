#!/usr/bin/env bash
# Build the zip a Greengrass core runs, into dist/: ./build_zip.sh --help
# PYTHON names the interpreter to build with (3.7 or later; default python3).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python=$("$root/packaging/venv.sh" "$root/build/venv-$version" "$root/packaging/requirements.txt")
exec "$python" "$root/packaging/build_zip.py" "$@"
