#!/usr/bin/env bash
# Prove that the aarch64 zip runs: packaging/prove_aarch64.sh
# An arm64 Python under emulation (qemu-user) loads its compiled modules, prints a report of this machine, and runs the zip
# under the local core until a report is accepted.
#
# Needs Debian's apt-get and dpkg-deb and the network, but not root: packages are unpacked in build/aarch64 (delete it to
# download them again), nothing is installed and no architecture is added to this machine. It takes minutes, so it is not
# part of the tests. The zip is for the Python that Debian has; PYTHON is the one to build with.
set -euo pipefail
unset CDPATH
# Ctrl-C ends with 130 and without a message about the command that it interrupted.
trap 'exit 130' INT
. "$(dirname "${BASH_SOURCE[0]}")/script_help.sh"
help_if_asked "$@"
[ $# -eq 0 ] || { echo "prove_aarch64.sh: it takes no arguments; --help says what it does" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/build/aarch64
debian=$folder/root
wrapper=$debian/usr/bin/emulated-python

fetch() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "prove_aarch64.sh: no apt-get and dpkg-deb here; run it on Debian or in its container" >&2
        exit 1
    fi
    echo "== fetch an emulator and an arm64 Python from Debian"
    rm -rf "$folder"
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$debian"
    touch "$folder/apt/status"
    # Its own apt configuration: this machine's sources, but no installed packages and no hooks.
    cat >"$folder/apt/apt.conf" <<END
#clear APT::Update;
#clear APT::Architectures;
#clear DPkg;
APT::Architectures { "$(dpkg --print-architecture)"; "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::State "$folder/apt";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt";
END
    local apt=(-q -q -c "$folder/apt/apt.conf")
    apt-get "${apt[@]}" update
    version=$(apt-cache "${apt[@]}" show --no-all-versions python3:arm64 |
        sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p')
    apt-get "${apt[@]}" install --yes --download-only qemu-user-static "python$version:arm64"
    for package in "$folder"/apt/archives/*.deb; do
        dpkg-deb --extract "$package" "$debian"
    done
    find "$debian/usr/bin" -name 'qemu-*' ! -name qemu-aarch64-static -delete
    rm -rf "$folder/apt"
    # -0 makes this script sys.executable, so that Python processes started from there are emulated too.
    cat >"$wrapper" <<END
#!/bin/sh
exec "$debian/usr/bin/qemu-aarch64-static" -0 "$wrapper" -L "$debian" "$debian/usr/bin/python$version" "\$@"
END
    chmod +x "$wrapper"
}

cd "$root"
[ -x "$wrapper" ] || fetch
version=$("$wrapper" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

echo "== build for Python $version on aarch64"
built=$(./build_zip.sh --python "$version" --arch aarch64 | tail -n 1)
zip=$(realpath "${built% *}")
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
"${PYTHON:-python3}" -m zipfile -e "$zip" "$unpacked"
echo "$built"

echo "== load its compiled modules"
cd "$unpacked"
"$wrapper" - <<'END'
import platform
import sys

import cbor2
import psutil

assert platform.machine() == "aarch64"
print("machine", platform.machine(), "Python", platform.python_version())
document = {"metrics": [1, -1, 2.5, "text", None, True]}
assert cbor2.loads(cbor2.dumps(document)) == document
assert psutil.virtual_memory().total > 0
for module in (sys.modules.get("cbor2._cbor2") or sys.modules["_cbor2"], sys.modules["psutil._psutil_linux"]):
    print("loaded ", module.__file__)
    with open(module.__file__, "rb") as file:
        assert file.read(20)[18:] == b"\xb7\x00", "not an ELF file for aarch64"
END

echo "== print a report of this machine"
"$wrapper" -m connector -n 1 --custom-metrics cpu_usage,memory_usage,process_count,uptime_seconds
"$wrapper" -m connector -n 1 --format cbor >"$unpacked/report.cbor"
echo "and in CBOR: $(wc -c <"$unpacked/report.cbor") bytes"

echo "== run it under the local core"
cd "$root"
python=$(packaging/venv.sh build/venv-% packaging/requirements.txt)
"$python" packaging/run_local.py --once --python "$wrapper" "$zip"
echo "== the aarch64 zip runs"
