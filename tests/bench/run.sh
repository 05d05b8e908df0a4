#!/usr/bin/env bash
# Measure one sample under a flood beside the agent SDK, psutil and the kernel's own cost: tests/bench/run.sh --help
# It makes an environment of its own and builds the zip. PYTHON names the interpreter (3.10 or later; default python3).
set -euo pipefail
unset CDPATH
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHON=${PYTHON:-python3}
command -v "$PYTHON" >/dev/null ||
  { echo "run.sh: there is no '$PYTHON'; name a Python from 3.10 on, or its path, with PYTHON=python3.11." >&2; exit 2; }
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  { echo "run.sh: $PYTHON is older than Python 3.10, which the plot needs; set PYTHON to a newer one." >&2; exit 1; }

python=$("$root/packaging/venv.sh" "$root/build/bench-%" "$root/tests/bench/requirements.txt")
built=$("$root/build_zip.sh" | tail -n 1)
PYTHONPATH="$root:$root/packaging:$root/tests" exec "$python" "$root/tests/bench/run.py" --zip "${built% *}" "$@"
