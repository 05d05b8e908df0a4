"""Build the zip that a Greengrass core runs: connector/, the wheels pinned in requirements.txt, bytecode.

It is for a Lambda function, or with --native for a native component (zip_kind.py has the differences).

Any machine builds for any device: the wheels are downloaded for the target, and no C compiler is needed. The bytecode
is written by an interpreter of the zip's Python version (bytecode.py); without one on this machine the zip has no
bytecode, and its name ends with -nobytecode. The same sources give the same bytes on every machine.

Run by build_zip.sh; the last line printed is a path and its sha256.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Iterator, NamedTuple

import bytecode
from zip_entries import Entry, content, stored, taken_over, zip_bytes
from zip_kind import COMPONENT, FUNCTION, NAME, Kind

sys.path.append(str(Path(__file__).resolve().parent.parent))  # for `connector`

from connector.usage import Parser

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
ARCHES = FUNCTION.arches
ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
# Old glibc to new: pip takes a --platform literally, so every tag that a wheel may have is listed.
MANYLINUX = ("1", "2010", "2014", "_2_5", "_2_12", "_2_17", "_2_28")
SUFFIXES = (".py",)
# Profiles that only the service can judge: ML Detect learns from a fleet.
CLOUD_PROFILES = ("MachineLearning.json", "MachineLearningHost.json")
# pip settings that change what is downloaded are removed. Those that say from where, such as an index, are kept.
PIP_SETTINGS = (
    *("PIP_ABI", "PIP_CONSTRAINT", "PIP_DRY_RUN", "PIP_IMPLEMENTATION", "PIP_NO_BINARY", "PIP_NO_DEPS"),
    *("PIP_ONLY_BINARY", "PIP_PLATFORM", "PIP_PREFIX", "PIP_PYTHON", "PIP_PYTHON_VERSION", "PIP_REQUIREMENT"),
    *("PIP_ROOT", "PIP_TARGET", "PIP_USER"),
)
# awsiotsdk's wheels name their licence, but don't have its text.
APACHE = b"License :: OSI Approved :: Apache Software License"
LICENCE = re.compile(r"[^/]+\.dist-info/(?:licenses/)?((?:LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)")


class BuildError(Exception):
    """The zip can't be built; the text says why and what to do."""

    exit_code = 1


class Pin(NamedTuple):
    """A requirement of one target.

    hashes: "sha256:..." of each wheel that is allowed for it
    """

    name: str
    version: str
    hashes: frozenset[str]


class Built(NamedTuple):
    """A zip in dist/.

    digest: its sha256
    interpreter: the one that wrote its bytecode; None if it has no bytecode
    """

    path: Path
    digest: str
    interpreter: bytecode.Interpreter | None


def read(path: Path) -> bytes:
    """Return the content of a file of the repository. Raises BuildError."""
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


def pins(python: str, arch: str, kind: Kind = FUNCTION) -> list[Pin]:
    """Return what the requirements files of a kind of zip ask for on a target.

    pip can't do it: it evaluates markers (PEP 508) for the Python it runs on, even with --python-version.
    """
    from packaging.requirements import Requirement  # only here: --help can do without the environment

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
    text = "\n".join(read(ROOT / name).decode() for name in kind.requirements)
    for line in text.replace("\\\n", " ").splitlines():
        text, *hashes = re.sub(r"(^|\s)#.*", "", line).split("--hash=")
        if text.strip():
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate(target)
            if applies and requirement.name not in kind.without:
                version = str(requirement.specifier)[len("==") :]
                chosen.append(Pin(requirement.name, version, frozenset(value.strip() for value in hashes)))
    return chosen


def wheels(python: str, arch: str, kind: Kind) -> list[tuple[Pin, bytes]]:
    """Return the target's wheels, with verified hashes, from build/wheels or else from the package index."""
    wanted = pins(python, arch, kind)
    cache = ROOT / "build" / "wheels" / f"py{python}-{arch}"
    found = cached(cache, wanted)
    if len(found) < len(wanted):
        download(python, arch, wanted, cache)
        found = cached(cache, wanted)
    if len(found) < len(wanted):
        raise BuildError(f"{cache} changed during the build; build again")
    return found


def cached(cache: Path, wanted: list[Pin]) -> list[tuple[Pin, bytes]]:
    """Return the wanted wheels that a folder has, by their hashes."""
    by_hash = {}
    for path in cache.glob("*.whl"):
        data = read(path)
        by_hash["sha256:" + hashlib.sha256(data).hexdigest()] = data
    return [(pin, by_hash[found]) for pin in wanted for found in sorted(pin.hashes & by_hash.keys())[:1]]


def download(python: str, arch: str, wanted: list[Pin], cache: Path) -> None:
    """Download the wanted wheels into a folder. Raises BuildError, with pip's output and what to do."""
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
    """Yield a temporary folder inside a folder (created if missing), from which complete files are moved into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=str(folder)) as temporary:
            yield Path(temporary)
    except OSError as error:
        raise BuildError(f"can't write in {folder}: {error.strerror}") from error


def advice(output: str) -> str:
    """Return what to do after an error of pip."""
    if "DO NOT MATCH THE HASHES" in output:
        return "a wheel is not the one pinned in requirements.txt; find out why before you trust it"
    if "from versions: none" in output:
        return "no package index could be reached; connect, or copy build/wheels from another machine"
    return "see pip's message above"


def collect(python: str, arch: str, version: str, kind: Kind) -> dict[str, Entry]:
    """Return every file of the zip by its path in it.

    zlib's output differs between its versions and forks, so deflating here would not give the same bytes everywhere.
    Our own files are stored; the wheels' files stay as their wheel compressed them.
    """
    entries = {f"licenses/{NAME}-{version}/LICENSE": stored(read(ROOT / "LICENSE"))}
    for path in (ROOT / "connector").rglob("*"):
        # Editors leave hidden files such as .#name.py beside the source.
        name = path.relative_to(ROOT).as_posix()
        left_out = path.name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in kind.left_out)
        if path.suffix in SUFFIXES and path.is_file() and not left_out:
            entries[name] = stored(read(path))
    for path in (ROOT / "packaging" / "security_profiles").glob("*.json"):
        if path.name not in CLOUD_PROFILES:
            entries[f"connector/security_profiles/{path.name}"] = stored(read(path))
    for pin, wheel in wheels(python, arch, kind):
        release = f"{pin.name}-{pin.version}"
        archive = zipfile.ZipFile(io.BytesIO(wheel))
        for info in archive.infolist():
            licence = LICENCE.fullmatch(info.filename)
            if licence:
                entries[f"licenses/{release}/{licence.group(1)}"] = taken_over(wheel, info)
            elif not (
                info.filename.endswith("/")
                or info.filename.startswith(f"{release}.dist-info/")
                or any(fnmatchcase(info.filename, pattern) for pattern in kind.left_out)
            ):
                entries[info.filename] = taken_over(wheel, info)
        if not any(name.startswith(f"licenses/{release}/") for name in entries):
            if APACHE in archive.read(f"{release}.dist-info/METADATA"):
                entries[f"licenses/{release}/LICENSE"] = stored(read(ROOT / "LICENSE"))  # the same licence's text
                continue
            raise BuildError(f"the wheel of {release} has no licence file to put into the zip")
    return entries


def bytecode_entries(
    entries: dict[str, Entry], python: str, interpreter: bytecode.Interpreter, on_path: bool
) -> dict[str, Entry]:
    """Return the bytecode of every source among the entries: for an unpacked zip, and for a zip on sys.path.

    Python looks in __pycache__ where the zip is unpacked, and beside the source where it imports from the zip itself.
    3.7 ignores hash-based pycs in a zip (zipimport.c), so its zip has the first kind only. So has a package with
    compiled modules: Python can't import those from a zip.
    """
    compiled_packages = {name.split("/")[0] for name in entries if name.endswith(".so")}
    sources = {name: content(entry) for name, entry in entries.items() if name.endswith(".py")}
    try:
        compiled = bytecode.compile_sources(interpreter, sources)
    except bytecode.CompileError as error:
        raise BuildError(str(error)) from error
    found = {}
    for name, data in compiled.items():
        found[bytecode.cached_name(name, python)] = stored(data)
        if on_path and python != "3.7" and name.split("/")[0] not in compiled_packages:
            found[name + "c"] = stored(data)
    return found


def write(name: str, data: bytes) -> tuple[Path, str]:
    """Write a file in dist/ atomically; return its path and sha256."""
    path = ROOT / "dist" / name
    with written_in(path.parent) as folder:
        (folder / name).write_bytes(data)
        os.replace(str(folder / name), str(path))
    return path, hashlib.sha256(data).hexdigest()


def build(python: str, arch: str, kind: Kind = FUNCTION) -> Built:
    """Build the zip for a Python (one of PYTHONS) and machine (one of the kind's), and write it into dist/.

    Raises BuildError.
    """
    version = connector_version()
    entries = collect(python, arch, version, kind)
    interpreter = bytecode.find_interpreter(python)
    if interpreter:
        entries.update(bytecode_entries(entries, python, interpreter, kind.on_path))
    data = zip_bytes(entries)
    damaged = zipfile.ZipFile(io.BytesIO(data)).testzip()
    if damaged:
        raise BuildError(
            f"{damaged} in the zip differs from the file in its wheel; delete build/wheels and build again"
        )
    suffix = "" if interpreter else "-nobytecode"
    path, digest = write(f"{kind.prefix}-{version}-py{python.replace('.', '')}-{arch}{suffix}.zip", data)
    return Built(path, digest, interpreter)


def this_machine(kind: Kind = FUNCTION) -> str:
    """Return this interpreter's machine; "any" if there are no wheels for it, or the interpreter is 32-bit.

    Where a kind of zip always has compiled modules, the machine itself.
    """
    machine = platform.machine().lower()
    machine = ALIASES.get(machine, machine)
    return machine if "any" not in kind.arches or (machine in ARCHES and sys.maxsize > 2**32) else "any"


def show(path: Path, digest: str) -> None:
    """Print a file's path, relative to the working directory, and its sha256."""
    print(os.path.relpath(str(path)), digest, flush=True)


def show_built(python: str, built: Built) -> None:
    """Print a zip's path and sha256; on standard error what follows if it has no bytecode."""
    if not built.interpreter:
        print(
            f"build_zip.sh: {built.path.name} has no bytecode, as there is no CPython {python} on PATH or in pyenv: "
            "the connector takes longer to start and more memory. Install that Python and build again.",
            file=sys.stderr,
        )
    show(built.path, built.digest)


def build_all(kind: Kind) -> None:
    """Build every pair and the list of sums, and list the zips without bytecode."""
    sums, without = "", []
    for python in PYTHONS:
        for arch in kind.arches:
            built = build(python, arch, kind)
            show(built.path, built.digest)
            sums += f"{built.digest}  {built.path.name}\n"
        if not built.interpreter:
            without.append(python)
    if without:
        print(
            f"build_zip.sh: no bytecode in the zips for Python {', '.join(without)}: there is no such CPython on PATH "
            "or in pyenv",
            file=sys.stderr,
        )
    show(*write("SHA256SUMS" + kind.prefix[len(NAME) :], sums.encode()))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = Parser(
        prog="build_zip.sh",
        description=f"Build dist/{NAME}-<version>-py<XY>-<arch>.zip for a Greengrass core.\nIt has bytecode if "
        "there is a CPython of that version on PATH or in pyenv; else its\nname ends with -nobytecode.zip.",
        epilog="The last line printed is the zip's path and SHA-256. Later builds take the wheels from build/wheels.",
    )
    parser.add_argument("--python", choices=PYTHONS, help="Python of the device (default: this one)")
    parser.add_argument(
        "--arch",
        metavar="{" + ",".join(ARCHES) + "}",
        help='its machine; "any" has no compiled modules (default: this one)',
    )
    parser.add_argument("--all", action="store_true", help="every Python and machine, and a file SHA256SUMS")
    parser.add_argument(
        "--native",
        action="store_true",
        help=f"the native component, {COMPONENT.prefix}-<version>-py<XY>-<arch>.zip, for "
        f"{' and '.join(COMPONENT.arches)}",
    )
    options = parser.parse_args(argv)
    kind = COMPONENT if options.native else FUNCTION
    if options.all and (options.python or options.arch):
        parser.error("--all builds every pair; leave out --python and --arch")
    python = options.python or "{}.{}".format(*sys.version_info)
    if not options.all and python not in PYTHONS:
        parser.error(f"no core runs functions on Python {python}; choose one with --python")
    arch = options.arch or this_machine(kind)
    if not options.all and kind.refusal(arch):
        parser.error(f"argument --arch: {kind.refusal(arch)}")
    try:
        if options.all:
            build_all(kind)
        else:
            show_built(python, build(python, arch, kind))
    except BuildError as error:
        print(f"build_zip.sh: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
