#!/usr/bin/env bash
# mypy 2.4.1 accepts this file in some runs and rejects it in others, with the same options, without a cache and with
# PYTHONHASHSEED fixed. The loop goes over the fields of a NamedTuple that are lists of different types, one of them
# list[Any], and zip() joins these types: sometimes to list[Any], sometimes to object. With the address space not
# randomised (setarch -R) every run says the same, so the order comes from addresses of objects, not from hashes of texts.
# A cached verdict stays, so a check passes here for days and fails in a fresh clone.
#
# What helps: name the fields in place of looping over them. PYTHON names a Python from 3.10 on.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mypy==2.4.1
cat >"$folder/columns.py" <<'PYTHON'
from typing import Any, NamedTuple


class Column(NamedTuple):
    names: list[str]
    values: list[Any]
    lengths: list[int | None]


def gather(column: Column, added: Column) -> None:
    kept: tuple[list[Any], ...] = column
    for all_rows, more in zip(kept, added):
        all_rows.extend(more)
PYTHON

verdicts() { # RUNS COMMAND...: print how many of the runs accepted the file, and how many rejected it
  local runs=$1 accepted=0 rejected=0 status
  shift
  for _ in $(seq "$runs"); do
    status=0
    PYTHONHASHSEED=0 "$@" "$folder/venv/bin/mypy" --strict --no-incremental --cache-dir=/dev/null --python-version 3.10 \
      "$folder/columns.py" >"$folder/output" || status=$?
    case $status in
      0) accepted=$((accepted + 1)) ;;
      1) rejected=$((rejected + 1)); grep 'error: .*"object"' "$folder/output" >"$folder/error" ;;
      *) cat "$folder/output"; exit 2 ;;
    esac
  done
  echo "$accepted $rejected"
}

read -r accepted rejected < <(verdicts 40 env)
echo "40 runs: $accepted accepted the file, $rejected rejected it"
[ "$accepted" -gt 0 ] && [ "$rejected" -gt 0 ] || { echo "changed: both were seen"; exit 1; }
sed 's/^[^:]*://' "$folder/error"
if setarch -R true 2>/dev/null; then
  read -r accepted rejected < <(verdicts 12 setarch -R)
  echo "12 runs without randomised addresses: $accepted accepted, $rejected rejected"
  [ "$accepted" = 12 ] || [ "$rejected" = 12 ] || { echo "changed: the same verdict in all was seen"; exit 1; }
else
  echo "addresses can't be fixed here (setarch -R), so that part was not run"
fi
echo "as seen: the verdict of mypy 2.4.1 varies from run to run"
