#!/usr/bin/env bash
# Measure the native component beside a bare client of awsiotsdk and beside the Lambda function.
#   tests/bench/native.sh [--output FOLDER]     for the table (tests/bench/results)
# It makes an environment of its own and builds both zips. PYTHON names the interpreter (3.10 or later; default python3).
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/packaging/script_help.sh"
help_if_asked "$@"
refuse_unknown_options "$@"
export PYTHON=${PYTHON:-python3}
python=$("$root/packaging/venv.sh" "$root/build/bench-native-%" "$root/tests/bench/requirements-native.txt")
function=$("$root/build_zip.sh" | tail -n 1)
component=$("$root/build_zip.sh" --native | tail -n 1)
PYTHONPATH="$root:$root/packaging:$root/tests" exec "$python" -m bench.native "${component% *}" "${function% *}" "$@"
