#!/usr/bin/env bash
# Measure `detect.py try` on recordings of a device-year and of fleets: tests/bench/recordings.sh --help
# With --baseline CHECKOUT another build is measured side by side. It makes an environment of its own. PYTHON names the
# interpreter (3.10 or later; default python3).
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where bytecode is not kept, each run compiles all packages anew, which is not what is measured here.
unset PYTHONDONTWRITEBYTECODE
export PYTHON=${PYTHON:-python3}
python=$("$root/packaging/venv.sh" "$root/build/bench-recordings-%" "$root/tests/bench/requirements-recordings.txt")
exec "$python" "$root/tests/bench/recordings.py" "$@"
