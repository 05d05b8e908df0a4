#!/usr/bin/env bash
# psutil 7.2.2 on Linux: PROCFS_PATH, the documented way to read another /proc (a host's, mounted in a container), is
# followed by half of it. The fields of cpu_times() are fixed at import by the columns of the process' own /proc/stat; if
# the other /proc/stat has fewer (guest_nice came with Linux 2.6.33, and recorded or emulated tables may lack it),
# cpu_times() and cpu_percent() end with a TypeError about arguments. getloadavg() does not read the path at all: it returns
# the numbers of the process' own view without a sign.
#
# Seen: TypeError: ... missing 2 required positional arguments: 'guest' and 'guest_nice'; and a load that is not the 9999.00 of
# PROCFS_PATH/loadavg.
# What helps: read loadavg oneself; catch TypeError, and parse the row. PYTHON names a Python from 3.7 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check psutil==7.2.2
mkdir "$folder/proc"
printf 'cpu  10 20 30 40 50 60 70 80\ncpu0 10 20 30 40 50 60 70 80\nbtime 1700000000\n' >"$folder/proc/stat"
printf '9999.00 8.00 7.00 1/2 3\n' >"$folder/proc/loadavg"
"$folder/env/bin/python" - "$folder/proc" <<'PYTHON'
import os
import sys

import psutil

psutil.PROCFS_PATH = sys.argv[1]
assert psutil.boot_time() == 1700000000  # the path is followed here
try:
    psutil.cpu_times()
except TypeError as error:
    print("cpu_times():", error)
    assert "missing" in str(error), "the behaviour has changed"
else:
    raise AssertionError("the behaviour has changed")
load = psutil.getloadavg()
print("getloadavg():", load, "with 9999.00 in PROCFS_PATH/loadavg")
assert load[0] < 9999, "the behaviour has changed"
PYTHON
