#!/usr/bin/env bash
# Make a virtual environment, or reuse it as long as the Python and the requirements are the same.
#   packaging/venv.sh DIRECTORY REQUIREMENTS_FILE...
# PYTHON names the interpreter to make it with (3.7 or later; default python3). A % in the directory's name is replaced by
# the interpreter's version, such as 3.11, so that each version has its own environment. The only line on stdout is the path
# of the environment's python; stderr says when an environment is made. Exit codes: 1 failed, 2 bad usage.
#
# A requirements file whose comments say "Python 3.X or later" is refused for an older Python. A line pip==VERSION in a file
# is installed first, so that this pip installs the rest: pip 26 resolves a hundred packages in a third of the time of pip 23.
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
. "$(dirname "${BASH_SOURCE[0]}")/script_help.sh"
help_if_asked "$@"
refuse_unknown_options "$@"

fail() { echo "venv.sh: $*" >&2; exit 1; }
misused() { echo "venv.sh: $*" >&2; exit 2; }

advice() { # OUTPUT: print what to do if pip found no package index
  [[ $1 != *"from versions: none"* ]] || printf '\n%s' "venv.sh: is there a way to PyPI from here? If not, name an index with\
 PIP_INDEX_URL, or a folder of wheels with PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER, and try again."
}

[ $# -ge 2 ] || misused "usage: packaging/venv.sh DIRECTORY REQUIREMENTS_FILE..."
python=${PYTHON:-python3}
version=$(command -v "$python" >/dev/null && "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' | grep -x '[0-9]*\.[0-9]*') ||
  misused "'$python' can't be run as a Python interpreter; name one, or its path, with PYTHON=python3.11."
name=$(basename "$1")
directory=$(dirname "$1")/${name//%/$version}
shift
for file in "$@"; do [ -f "$file" ] || misused "there is no file $file."; done

# Everything that decides what the environment contains: the Python, the path (scripts contain it), and the requirements
# files with those that they include by "-r". Its text is kept as the environment's stamp.
wanted=$("$python" - "$directory" "$@" <<'END'
import os
import re
import sys


def need(version, what):
    if sys.version_info < version:
        text = "venv.sh: %s needs Python %d.%d or later; %s is Python %d.%d. Set PYTHON to a newer one.\n"
        sys.stderr.write(text % ((what,) + version + (sys.executable,) + sys.version_info[:2]))
        sys.exit(2)


def show(path):
    with open(path) as lines:
        text = lines.read()
    for minor in re.findall(r"^#.*\bPython 3\.(\d+) or later", text, re.MULTILINE):
        need((3, int(minor)), os.path.basename(path))
    print("# " + os.path.realpath(path))
    print(text)
    for name in re.findall(r"^-[rc]\s*(\S+)", text, re.MULTILINE):
        show(os.path.join(os.path.dirname(path), name))


need((3, 7), "this repository")
print(sys.version.split()[0], os.path.realpath(sys.executable), os.path.realpath(sys.argv[1]))
for path in sys.argv[2:]:
    show(path)
END
) || exit
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)

# One process at a time: the lock is on the directory itself, and ends with this process. The stamp is written last, so an
# environment that was interrupted while it was made is made again.
exec 9<"$directory"
flock 9
stamp=$directory/stamp
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || ! "$directory/bin/python" -c '' 2>/dev/null; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python $version has no venv or ensurepip module. On Debian and Ubuntu: apt-get install python$version-venv"
  [ -e "$directory/pyvenv.cfg" ] || [ -z "$(ls -A "$directory")" ] ||
    fail "$directory contains something else than a virtual environment; name another directory."
  echo "venv.sh: making $directory (Python $version, ${*##*/}) ..." >&2
  files=()
  for file in "$@"; do files+=(-r "$file"); done
  output=$("$python" -m venv --clear "$directory" 2>&1) ||
    fail "$python -m venv failed: $output"
  # pip settings that change what is installed, or where, would give an incomplete environment. The settings that say
  # where packages come from are kept.
  unset PIP_{ABI,CONSTRAINT,DRY_RUN,IMPLEMENTATION,NO_BINARY,NO_DEPS,ONLY_BINARY,PLATFORM,PREFIX,PYTHON}
  unset PIP_{PYTHON_VERSION,REQUIREMENT,ROOT,TARGET,USER}
  # Without bytecode: Python compiles what is imported at its first use, a small part of what is installed.
  install=("$directory/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile)
  pip=$(grep -m 1 -o '^pip==[^ ;]*' <<<"$wanted") || true
  if [ -n "$pip" ]; then
    output=$("${install[@]}" "$pip" 2>&1) || fail "pip could not install $pip: $output$(advice "$output")"
  fi
  output=$("${install[@]}" "${files[@]}" 2>&1) ||
    fail "pip could not install $*: $output$(advice "$output")"
  output=$("$directory/bin/python" -m pip check --disable-pip-version-check 2>&1) ||
    fail "what pip installed for $* is incomplete: $output"
  echo "$wanted" >"$stamp"
fi
echo "$directory/bin/python"
