#!/usr/bin/env bash
# paho-mqtt 2.1.0, the last release for Python 3.7, can't be imported there when it is installed alone: it imports
# typing_extensions on Pythons before 3.8, and its metadata does not ask for it (Requires-Python: >=3.7, no Requires-Dist
# without an extra). pip installs it without a warning, and `pip check` finds nothing wrong.
#
# Seen with paho-mqtt 2.1.0 on CPython 3.7.16:
#   from typing_extensions import TypedDict, Unpack   (or another name of it)
#   ModuleNotFoundError: No module named 'typing_extensions'
# What helps: ask for typing-extensions too. PYTHON names a Python 3.7 (default: python3.7, or pyenv's).
set -euo pipefail
for python in "${PYTHON:-python3.7}" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.7.*/bin/python none; do
  "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 7))' 2>/dev/null && break
done
[ "$python" != none ] || { echo "this needs a Python 3.7: name one with PYTHON" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/alone"
"$folder/alone/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.1.0
"$folder/alone/bin/pip" check --disable-pip-version-check
if output=$("$folder/alone/bin/python" -c 'import paho.mqtt.client' 2>&1); then
  echo "changed: paho-mqtt 2.1.0 can be imported alone on $("$python" --version)"
  exit 1
fi
echo "${output##*$'\n'}"
[[ $output == *"No module named 'typing_extensions'"* ]] || { echo "changed: another error than the one seen"; exit 1; }

"$folder/alone/bin/pip" install --quiet --disable-pip-version-check typing-extensions==4.7.1
"$folder/alone/bin/python" -c 'import paho.mqtt.client'
echo "as seen: paho-mqtt 2.1.0 needs typing-extensions on $("$python" --version), and does not ask for it"
