#!/usr/bin/env bash
# Search every parser and the handler for input that breaks them, each for SECONDS: tests/fuzz/run.sh [SECONDS [TARGET...]]
# The default is 60 s for each target of targets.py. What is found stays in build/fuzz/; exit code 1 says that there is
# something, 2 that the fuzzer could not run. PYTHON names the interpreter (3.11 to 3.13, which the fuzzer has wheels
# for); without it the first of them on PATH or in pyenv is taken.
set -euo pipefail
unset CDPATH
. "$(dirname "${BASH_SOURCE[0]}")/../../packaging/script_help.sh"
help_if_asked "$@" # before the change of folder, as it reads this script
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() { echo "run.sh: $*" >&2; exit 2; }

works() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
  local version path
  for version in 3.11 3.12 3.13; do
    for path in "$(command -v "python$version")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
      if [ -n "$path" ] && works "$path"; then echo "$path"; return; fi
    done
  done
  return 1
}

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]{0,5}$ ]] || fail "usage: tests/fuzz/run.sh [SECONDS [TARGET...]], whole seconds for each target"
shift $(($# > 0))

if [ -n "${PYTHON:-}" ]; then
  works "$PYTHON" || fail "$PYTHON is no CPython 3.11 to 3.13 with venv; the fuzzer, atheris, has wheels for no other."
else
  PYTHON=$(find_python) || fail "found no CPython 3.11 to 3.13 with venv, on PATH or in pyenv; set PYTHON to one."
fi
export PYTHON
python=$(packaging/venv.sh build/fuzz-% tests/fuzz/requirements.txt) || exit 2
# Apart, as tests/run.sh does.
"$python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt || exit 2

mapfile -t known < <("$python" -B -c 'import sys; sys.path.insert(0, "tests"); from fuzz.targets import TARGETS; print(*TARGETS, sep="\n")')
targets=("$@")
[ $# -gt 0 ] || targets=("${known[@]}")
for target in "${targets[@]}"; do
  [[ " ${known[*]} " = *" $target "* ]] || fail "there is no target '$target'; there are: ${known[*]}"
done

# In memory where there is such a place: some targets write a file for each input. Removed here, as the fuzzer ends
# without a chance to tidy up.
if [ -w /dev/shm ]; then TMPDIR=$(mktemp -d -p /dev/shm fuzz.XXXXXX); else TMPDIR=$(mktemp -d); fi
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
found=()
for target in "${targets[@]}"; do
  work=build/fuzz/$target
  mkdir -p "$work/corpus" "$work/found"
  begun=$(mktemp "$work/begun.XXXXXX")
  echo "=== $target, $seconds s"
  status=0
  # An input may take a minute, far more than any needs, as a machine may stall. Ten minutes more than it asks for end a
  # fuzzer that hangs itself.
  timeout --kill-after=5 $((seconds + 600)) "$python" -B tests/fuzz/search.py "$target" \
    -max_total_time="$seconds" -max_len=4096 -timeout=60 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$work/found/" "$work/corpus" "tests/fuzz/corpus/$target" >"$work/log" 2>&1 || status=$?
  new=$(find "$work/found" -type f -newer "$begun")
  rm -f "$begun"
  grep -E '^stat::(number_of_executed_units|peak_rss_mb)' "$work/log" || true
  if [ $status -ne 0 ]; then
    grep -vE '^(#|\s*NEW_FUNC|INFO:)' "$work/log" | tail -n 40
    echo "$target: exit code $status; the whole log: $work/log"
    found+=("$target")
    for file in $new; do
      echo "found: $file; keep it as a test: cp $file tests/fuzz/corpus/$target/<what-it-is>"
    done
  fi
done

if [ ${#found[@]} -gt 0 ]; then
  echo "DEFECTS in: ${found[*]}"
  exit 1
fi
echo "nothing found in ${#targets[@]} targets"
