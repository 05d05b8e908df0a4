#!/usr/bin/env bash
# Measure `detect.py try` on recordings of a device-year and of fleets.
#   tests/bench/recordings.sh [OPTION...]
#   --baseline CHECKOUT     another build, to measure side by side
#   --name TEXT             what the table calls it
#   --days N                of the one device (365)
#   --devices N...          of fleets, ascending (10 1000)
#   --repeat N              runs of a device's recording; the fastest counts (3)
#   --folder FOLDER         for the recordings, 10 GB (the temporary folder)
#   --recordings FOLDER     keep the recordings here, and use those that are there
#   --output FOLDER         for the table (tests/bench/results)
# It makes an environment of its own. PYTHON names the interpreter (3.10 or later; default python3).
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/packaging/script_help.sh"
help_if_asked "$@"
refuse_unknown_options "$@"
# Where bytecode is not kept, each run compiles all packages anew, which is not what is measured here.
unset PYTHONDONTWRITEBYTECODE
export PYTHON=${PYTHON:-python3}
python=$("$root/packaging/venv.sh" "$root/build/bench-recordings-%" "$root/tests/bench/requirements-recordings.txt")
exec "$python" "$root/tests/bench/recordings.py" "$@"
