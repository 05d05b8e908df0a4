#!/usr/bin/env bash
# Measure one sample under a flood beside the agent SDK, psutil and the kernel's own cost.
#   tests/bench/run.sh [OPTION...]
#   --sizes N...            established sockets
#   --rounds N              samples of each tool at a size
#   --output FOLDER         for table and picture (tests/bench/results)
#   --baseline ZIP          another build, to measure side by side
#   --baseline-name TEXT    what the table calls it
#   --only-baseline         leave out psutil, the agent SDK and the targets
# This script makes an environment of its own and builds the zip. PYTHON names the interpreter (3.10 or later; default
# python3).
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/packaging/script_help.sh"
help_if_asked "$@"
refuse_unknown_options "$@"
export PYTHON=${PYTHON:-python3}
python=$("$root/packaging/venv.sh" "$root/build/bench-%" "$root/tests/bench/requirements.txt")
built=$("$root/build_zip.sh" | tail -n 1)
PYTHONPATH="$root:$root/packaging:$root/tests" exec "$python" "$root/tests/bench/run.py" --zip "${built% *}" "$@"
