"""Build the zip a Greengrass core runs as a function: connector/ and the wheels pinned in requirements.txt.

Any machine builds for any device: the wheels are fetched for the target and nothing is compiled. The same
sources give the same bytes everywhere. Run by build_zip.sh; the last line printed is a path and its sha256.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import platform
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Iterator, NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NAME = "device-defender-connector"
PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
ARCHES = ("x86_64", "aarch64", "any")
ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
# Old glibc to new: pip takes a platform given by hand literally, so each tag a wheel may carry is named.
MANYLINUX = ("1", "2010", "2014", "_2_5", "_2_12", "_2_17", "_2_28")
SUFFIXES = (".py",)
# What the connector never imports stays out: a device need not carry, or pay for, code it has no use for.
LEFT_OUT = (
    # `python -m connector run`, which a core has no use for.
    "connector/direct*.py",
    "connector/notify.py",
    "connector/transports/mqtt*.py",
    "connector/transports/tls.py",
    "*.pyi",
    "*/py.typed",
    "cbor2/tool.py",
    "greengrasssdk/stream_manager/*",
)
# Settings of pip that change what is fetched. Those that say from where are the builder's own affair, as an index is.
PIP_SETTINGS = (
    *("PIP_ABI", "PIP_CONSTRAINT", "PIP_DRY_RUN", "PIP_IMPLEMENTATION", "PIP_NO_BINARY", "PIP_NO_DEPS"),
    *("PIP_ONLY_BINARY", "PIP_PLATFORM", "PIP_PREFIX", "PIP_PYTHON", "PIP_PYTHON_VERSION", "PIP_REQUIREMENT"),
    *("PIP_ROOT", "PIP_TARGET", "PIP_USER"),
)
LICENCE = re.compile(r"[^/]+\.dist-info/(?:licenses/)?((?:LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)")


class BuildError(Exception):
    """The zip can't be built; the text says why and what to do."""


class Pin(NamedTuple):
    """A requirement of one target, with the hashes ("sha256:...") of the wheels allowed for it."""

    name: str
    version: str
    hashes: frozenset[str]


class Entry(NamedTuple):
    """A file as a zip holds it: method (0 stored, 8 deflated), CRC-32 and size of the content, bytes held."""

    method: int
    crc: int
    size: int
    data: bytes


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BuildError(f"can't read {path}: {error.strerror}; is the repository complete?") from error


def connector_version() -> str:
    """Return `__version__` of connector/__init__.py, read without importing it."""
    path = ROOT / "connector" / "__init__.py"
    found = re.search(r'^__version__ = "([^"]+)"$', read(path).decode(), re.MULTILINE)
    if not found:
        raise BuildError(f'{path} has no line __version__ = "..."')
    return found.group(1)


def pins(python: str, arch: str) -> list[Pin]:
    """Return what requirements.txt asks for on a target.

    Done here because pip evaluates markers (PEP 508) for the Python it runs on, even with --python-version.
    """
    target = {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "platform_machine": arch,
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    chosen = []
    for line in read(ROOT / "requirements.txt").decode().replace("\\\n", " ").splitlines():
        text, *hashes = re.sub(r"(^|\s)#.*", "", line).split("--hash=")
        if text.strip():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(target):
                version = str(requirement.specifier)[len("==") :]
                chosen.append(Pin(requirement.name, version, frozenset(value.strip() for value in hashes)))
    return chosen


def wheels(python: str, arch: str) -> list[tuple[Pin, bytes]]:
    """Return the target's wheels, their hashes verified, from build/wheels or else from the package index."""
    wanted = pins(python, arch)
    cache = ROOT / "build" / "wheels" / f"py{python}-{arch}"
    found = cached(cache, wanted)
    if len(found) < len(wanted):
        download(python, arch, wanted, cache)
        found = cached(cache, wanted)
    if len(found) < len(wanted):
        raise BuildError(f"{cache} changed during the build; build again")
    return found


def cached(cache: Path, wanted: list[Pin]) -> list[tuple[Pin, bytes]]:
    by_hash = {}
    for path in cache.glob("*.whl"):
        data = read(path)
        by_hash["sha256:" + hashlib.sha256(data).hexdigest()] = data
    return [(pin, by_hash[found]) for pin in wanted for found in sorted(pin.hashes & by_hash.keys())[:1]]


def download(python: str, arch: str, wanted: list[Pin], cache: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", f"--python-version={python}"]
    if arch == "any":
        command += ["--implementation=py", "--abi=none", "--platform=any"]
    else:
        command += ["--implementation=cp"] + [f"--platform=manylinux{tag}_{arch}" for tag in MANYLINUX]
    environment = {name: value for name, value in os.environ.items() if name not in PIP_SETTINGS}
    with written_in(cache) as folder:
        listing = folder / "requirements.txt"
        lines = [" --hash=".join([f"{pin.name}=={pin.version}", *sorted(pin.hashes)]) for pin in wanted]
        listing.write_text("\n".join(lines))
        command += [f"--dest={folder}", f"--requirement={listing}"]
        pip = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False)
        if pip.returncode:
            output = pip.stdout.decode(errors="replace").strip()
            raise BuildError(f"{output}\n\nno wheels for Python {python} on {arch}: {advice(output)}")
        for wheel in folder.glob("*.whl"):
            os.replace(str(wheel), str(cache / wheel.name))


@contextlib.contextmanager
def written_in(folder: Path) -> Iterator[Path]:
    """Make a folder if need be, and in it one for the time being, from which what is complete is moved out."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=str(folder)) as temporary:
            yield Path(temporary)
    except OSError as error:
        raise BuildError(f"can't write in {folder}: {error.strerror}") from error


def advice(output: str) -> str:
    if "DO NOT MATCH THE HASHES" in output:
        return "a wheel is not the one pinned in requirements.txt; find out why before you trust it"
    if "from versions: none" in output:
        return "no package index could be reached; connect, or copy build/wheels from another machine"
    return "see pip's message above"


def collect(python: str, arch: str, version: str) -> dict[str, Entry]:
    """Return every file of the zip by its path in it.

    zlib's output differs between its versions and forks, so deflating here would break the promise of equal
    bytes. Our own files are stored; the wheels' files, most of the size, stay as their wheel compressed them.
    """
    entries = {f"licenses/{NAME}-{version}/LICENSE": stored(read(ROOT / "LICENSE"))}
    for path in (ROOT / "connector").rglob("*"):
        # Editors leave hidden files such as .#name.py beside the source.
        name = path.relative_to(ROOT).as_posix()
        left_out = path.name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)
        if path.suffix in SUFFIXES and path.is_file() and not left_out:
            entries[name] = stored(read(path))
    for pin, wheel in wheels(python, arch):
        release = f"{pin.name}-{pin.version}"
        for info in zipfile.ZipFile(io.BytesIO(wheel)).infolist():
            licence = LICENCE.fullmatch(info.filename)
            if licence:
                entries[f"licenses/{release}/{licence.group(1)}"] = taken_over(wheel, info)
            elif not (
                info.filename.endswith("/")
                or info.filename.startswith(f"{release}.dist-info/")
                or any(fnmatchcase(info.filename, pattern) for pattern in LEFT_OUT)
            ):
                entries[info.filename] = taken_over(wheel, info)
        if not any(name.startswith(f"licenses/{release}/") for name in entries):
            raise BuildError(f"the wheel of {release} has no licence file that could travel in the zip")
    return entries


def stored(data: bytes) -> Entry:
    return Entry(zipfile.ZIP_STORED, zlib.crc32(data), len(data), data)


def taken_over(wheel: bytes, info: zipfile.ZipInfo) -> Entry:
    name_length, extra_length = struct.unpack_from("<HH", wheel, info.header_offset + 26)
    start = info.header_offset + 30 + name_length + extra_length
    return Entry(info.compress_type, info.CRC, info.file_size, wheel[start : start + info.compress_size])


def zip_bytes(entries: dict[str, Entry]) -> bytes:
    """Return a zip with sorted names, mode 0644 and the date 1980-01-01 (PKWARE's APPNOTE.TXT, 4.3 and 4.4).

    Written here because zipfile has no way to add a file that is already compressed.
    """
    files, directory = bytearray(), bytearray()
    for name, (method, crc, size, data) in sorted(entries.items()):
        path = name.encode("ascii")
        common = struct.pack("<5H3I2H", 20, 0, method, 0, 0x21, crc, len(data), size, len(path), 0)
        # Made by version 2.0 on Unix (3): the upper half of the attributes is the file's mode.
        directory += b"PK\1\2" + struct.pack("<BB", 20, 3) + common
        directory += struct.pack("<3H2I", 0, 0, 0, 0o100644 << 16, len(files)) + path
        files += b"PK\3\4" + common + path + data
    sizes = (0, 0, len(entries), len(entries), len(directory), len(files), 0)
    return bytes(files + directory + b"PK\5\6" + struct.pack("<4H2IH", *sizes))


def write(name: str, data: bytes) -> tuple[Path, str]:
    """Write a file of dist/, whole or not at all; return its path and sha256."""
    path = ROOT / "dist" / name
    with written_in(path.parent) as folder:
        (folder / name).write_bytes(data)
        os.replace(str(folder / name), str(path))
    return path, hashlib.sha256(data).hexdigest()


def build(python: str, arch: str) -> tuple[Path, str]:
    """Build the zip for a Python (one of PYTHONS) and machine (of ARCHES); return its path and sha256."""
    version = connector_version()
    data = zip_bytes(collect(python, arch, version))
    damaged = zipfile.ZipFile(io.BytesIO(data)).testzip()
    if damaged:
        raise BuildError(f"{damaged} does not unpack to what its wheel promises")
    return write(f"{NAME}-{version}-py{python.replace('.', '')}-{arch}.zip", data)


def this_machine() -> str:
    """Return this interpreter's machine; "any" where that has no wheels, or the interpreter is 32-bit."""
    machine = platform.machine().lower()
    machine = ALIASES.get(machine, machine)
    return machine if machine in ARCHES and sys.maxsize > 2**32 else "any"


def show(path: Path, digest: str) -> None:
    print(os.path.relpath(str(path)), digest, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="build_zip.sh",
        description=f"Build dist/{NAME}-<version>-py<XY>-<arch>.zip for a Greengrass core.",
        epilog="The last line printed is path and sha256. Later builds take the wheels from build/wheels.",
    )
    parser.add_argument("--python", choices=PYTHONS, help="Python of the device (default: this one)")
    parser.add_argument("--arch", choices=ARCHES, help='its machine; "any" has no binary (default: this one)')
    parser.add_argument("--all", action="store_true", help="every Python and machine, and a SHA256SUMS")
    options = parser.parse_args()
    if options.all and (options.python or options.arch):
        parser.error("--all builds every pair; leave out --python and --arch")
    python = options.python or "{}.{}".format(*sys.version_info)
    if not options.all and python not in PYTHONS:
        parser.error(f"no core runs functions on Python {python}; choose one with --python")
    try:
        if options.all:
            sums = ""
            for python in PYTHONS:
                for arch in ARCHES:
                    path, digest = build(python, arch)
                    show(path, digest)
                    sums += f"{digest}  {path.name}\n"
            show(*write("SHA256SUMS", sums.encode()))
        else:
            show(*build(python, options.arch or this_machine()))
    except BuildError as error:
        print(f"build_zip.sh: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
