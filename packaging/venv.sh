#!/usr/bin/env bash
# Make a virtual environment, or reuse it as long as the Python and the requirements are the same.
#   packaging/venv.sh DIRECTORY REQUIREMENTS_FILE...
# PYTHON names the interpreter to make it with (3.7 or later; default python3). A % in the directory's name becomes its
# version, such as 3.11, so that each has an environment of its own. The environment's python is the only line on stdout;
# stderr says when one is made. Exit codes: 1 failed, 2 bad usage.
set -euo pipefail
unset CDPATH
# A command that Ctrl-C ends is no command that failed.
trap 'exit 130' INT

fail() { echo "venv.sh: $*" >&2; exit 1; }
misused() { echo "venv.sh: $*" >&2; exit 2; }

advice() { # OUTPUT: what to do where pip says in it that it found nothing to download
  [[ $1 != *"from versions: none"* ]] || printf '\n%s' "venv.sh: is there a way to PyPI from here? If not, name an index with\
 PIP_INDEX_URL, or a folder of wheels with PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER, and try again."
}

[ $# -ge 2 ] || misused "usage: packaging/venv.sh DIRECTORY REQUIREMENTS_FILE..."
python=${PYTHON:-python3}
version=$(command -v "$python" >/dev/null && "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' | grep -x '[0-9]*\.[0-9]*') ||
  misused "'$python' is no Python that can be run; name one, or its path, with PYTHON=python3.11."
name=$(basename "$1")
directory=$(dirname "$1")/${name//%/$version}
shift
for file in "$@"; do [ -f "$file" ] || misused "there is no file $file."; done
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)

# All that decides what is in the environment: which Python, where (scripts carry the path), and the files with those they
# take in by "-r".
wanted=$("$python" - "$directory" "$@" <<'END'
import os
import re
import sys

if sys.version_info < (3, 7):
    sys.exit("venv.sh: %s is Python %d.%d; 3.7 or later is needed (set PYTHON)." % ((sys.executable,) + sys.version_info[:2]))


def show(path):
    with open(path) as lines:
        text = lines.read()
    print("# " + os.path.realpath(path))
    print(text)
    for name in re.findall(r"^-[rc]\s*(\S+)", text, re.MULTILINE):
        show(os.path.join(os.path.dirname(path), name))


print(sys.version.split()[0], os.path.realpath(sys.executable), sys.argv[1])
for path in sys.argv[2:]:
    show(path)
END
) || exit 1

# One at a time: the lock is the directory itself, and goes with this process. The stamp is written last, so an
# environment whose making was interrupted is made anew.
exec 9<"$directory"
flock 9
stamp=$directory/stamp
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! "$directory/bin/python" -c '' 2>/dev/null; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python $version has no venv or ensurepip module. On Debian and Ubuntu: apt-get install python$version-venv"
  [ -e "$directory/pyvenv.cfg" ] || [ -z "$(ls -A "$directory")" ] ||
    fail "$directory holds something else than a virtual environment; name another."
  echo "venv.sh: making $directory (Python $version, ${*##*/}) ..." >&2
  files=()
  for file in "$@"; do files+=(-r "$file"); done
  output=$("$python" -m venv --clear "$directory" 2>&1) ||
    fail "$python -m venv failed: $output"
  # Settings that change what pip installs where would leave an environment that only looks complete. Those that say from
  # where it comes stay.
  unset PIP_{ABI,CONSTRAINT,DRY_RUN,IMPLEMENTATION,NO_BINARY,NO_DEPS,ONLY_BINARY,PLATFORM,PREFIX,PYTHON}
  unset PIP_{PYTHON_VERSION,REQUIREMENT,ROOT,TARGET,USER}
  output=$("$directory/bin/python" -m pip install --quiet --disable-pip-version-check "${files[@]}" 2>&1) ||
    fail "pip could not install $*: $output$(advice "$output")"
  output=$("$directory/bin/python" -m pip check --disable-pip-version-check 2>&1) ||
    fail "what pip installed for $* is incomplete: $output"
  echo "$wanted" >"$stamp"
fi
echo "$directory/bin/python"
