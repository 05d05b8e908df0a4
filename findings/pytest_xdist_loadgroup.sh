#!/usr/bin/env bash
# With pytest 9.2.0, `--dist loadgroup` of pytest-xdist 3.8.0 no longer keeps a group on one worker: the mark xdist_group
# is accepted, nothing is printed, and the tests of one group run on several workers at the same time. Tests that share a
# port or a costly fixture through the mark then clash, or make the fixture once a worker. With pytest 9.0.2 the same
# pytest-xdist groups them.
#
# What helps: a scheduler of one's own, through the hook pytest_xdist_make_scheduler. PYTHON names a Python from 3.10 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_group.py" <<'PYTHON'
import os
import pytest

pytestmark = pytest.mark.xdist_group("one")


@pytest.mark.parametrize("number", range(12))
def test_worker(number):
    with open(os.environ["WORKERS"], "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
PYTHON

workers() { # PYTEST_VERSION: print how many workers ran the tests of the one group
  "$python" -m venv "$folder/$1"
  "$folder/$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
  (cd "$folder" && WORKERS="$folder/workers-$1" "$folder/$1/bin/python" -m pytest -q -p no:cacheprovider -n 2 \
    --dist loadgroup test_group.py) >"$folder/output" || { cat "$folder/output"; exit 2; }
  sort -u "$folder/workers-$1" | wc -l
}

before=$(workers 9.0.2)
now=$(workers 9.2.0)
echo "workers that ran one group: $before with pytest 9.0.2, $now with pytest 9.2.0"
[ "$before" = 1 ] && [ "$now" = 2 ] || { echo "changed: 1 and 2 were seen"; exit 1; }
echo "as seen: pytest-xdist 3.8.0 does not group under pytest 9.2.0"
