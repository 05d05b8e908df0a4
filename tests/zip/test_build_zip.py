"""The zips: what is in them, that they are the same wherever they are built, they run, and how a build fails.

The builder runs as a script in copies of the repository, so nothing is written to dist/. The wheels come from
build/wheels, or once from the package index.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Callable, Tuple

import build_zip
import pytest
from bench.cgroup import MemoryGroup, Unavailable
from bench.measure import CORE_LIMIT
from local_core import LocalCore, Verdict

import packaging
from connector.config import CUSTOM_METRICS

ROOT = Path(__file__).resolve().parents[2]
NAME = "device-defender-connector-" + build_zip.connector_version()
RUNNING = "{}.{}".format(*sys.version_info)
MACHINE = platform.machine()
Target = Tuple[str, str]  # Python and machine
Zips = Callable[[Target], Path]

SDK = [
    "greengrasssdk/IoTDataPlane.py",
    "greengrasssdk/Lambda.py",
    "greengrasssdk/SecretsManager.py",
    "greengrasssdk/__init__.py",
    "greengrasssdk/client.py",
    "greengrasssdk/utils/__init__.py",
    "greengrasssdk/utils/testing.py",
    "licenses/greengrasssdk-1.6.1/LICENSE",
]
CBOR2_PYTHON = [
    "cbor2/__init__.py",
    "cbor2/_decoder.py",
    "cbor2/_encoder.py",
    "cbor2/_types.py",
    "cbor2/decoder.py",
    "cbor2/encoder.py",
    "cbor2/types.py",
]
CONTENT = {
    ("3.7", "any"): [
        *SDK,
        "cbor2/__init__.py",
        "cbor2/decoder.py",
        "cbor2/encoder.py",
        "cbor2/types.py",
        "licenses/cbor2-5.4.6/LICENSE.txt",
    ],
    ("3.8", "x86_64"): [
        *SDK,
        *CBOR2_PYTHON,
        "_cbor2.cpython-38-x86_64-linux-gnu.so",
        "licenses/cbor2-5.6.5/LICENSE.txt",
    ],
    ("3.12", "any"): [*SDK, *CBOR2_PYTHON, "licenses/cbor2-5.9.0/LICENSE.txt"],
    ("3.13", "aarch64"): [
        *SDK,
        "cbor2/__init__.py",
        "cbor2/_cbor2.cpython-313-aarch64-linux-gnu.so",
        "licenses/cbor2-6.2.1/LICENSE.txt",
    ],
}
CBOR2 = {"3.7": "5.4.6", "3.8": "5.6.5", "3.9": "5.9.0"}  # and 6.2.1 from 3.10 on
TARGETS = [(python, arch) for python in build_zip.PYTHONS for arch in build_zip.ARCHES]


def copy_repository(folder: Path, wheels: Path | None = ROOT / "build" / "wheels") -> Path:
    """Copy what the builder reads; the fetched wheels are shared, unless told otherwise."""
    shutil.copytree(str(ROOT / "connector"), str(folder / "connector"), ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "packaging").mkdir()
    for name in ("LICENSE", "requirements.txt", "packaging/build_zip.py"):
        shutil.copy(str(ROOT / name), str(folder / name))
    if wheels:
        wheels.mkdir(parents=True, exist_ok=True)
        (folder / "build").mkdir()
        (folder / "build" / "wheels").symlink_to(wheels)
    return folder


def run(
    folder: Path, *arguments: str, python: str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(folder / "packaging" / "build_zip.py"), *arguments],
        cwd=str(folder),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def built(folder: Path, target: Target, **options: str) -> Path:
    """Build for a target in a copy; check the last line printed, and return the zip it names."""
    done = run(folder, "--python", target[0], "--arch", target[1], **options)
    assert done.returncode == 0, done.stderr
    name, digest = done.stdout.splitlines()[-1].split(" ")
    assert name == f"dist/{NAME}-py{target[0].replace('.', '')}-{target[1]}.zip"
    assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return folder / name


@pytest.fixture(scope="session")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Zips:
    """Build a target's zip, each once a session."""
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    done: dict[Target, Path] = {}

    def zip_for(target: Target) -> Path:
        if target not in done:
            done[target] = built(folder, target)
        return done[target]

    return zip_for


def sources() -> list[str]:
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / "connector").rglob("*.py")]
    return [name for name in names if not re.search("/(direct[^/]*|notify|mqtt[^/]*|tls)[.]py$", name)]


@pytest.mark.parametrize("target", CONTENT)
def test_content_is_the_connector_its_dependencies_and_their_licences_only(zips: Zips, target: Target) -> None:
    with zipfile.ZipFile(str(zips(target))) as archive:
        infos = archive.infolist()
        licence = archive.read(f"licenses/{NAME}/LICENSE")
    expected = [*sources(), f"licenses/{NAME}/LICENSE", *CONTENT[target]]
    assert [info.filename for info in infos] == sorted(expected)
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {(info.create_system, info.external_attr >> 16) for info in infos} == {(3, stat.S_IFREG | 0o644)}


@pytest.mark.parametrize("target", CONTENT)
def test_nothing_in_it_names_a_place_on_the_machine_that_built_it(zips: Zips, target: Target) -> None:
    path = zips(target)
    places = [str(path.parent.parent).encode(), str(ROOT).encode(), sys.prefix.encode()]
    with zipfile.ZipFile(str(path)) as archive:
        named = [name for name in archive.namelist() if any(place in archive.read(name) for place in places)]
    assert named == []


@pytest.mark.parametrize("target", CONTENT)
def test_readme_tells_its_size(zips: Zips, target: Target) -> None:
    """To some hundredths: a line more in the connector is no other size."""
    python, arch = target
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    columns = dict(
        zip(("x86_64", "aarch64", "any"), re.findall(rf"\| {re.escape(python)} \|(.*)\|", readme)[0].split("|"))
    )
    assert int(columns[arch].split()[0]) == pytest.approx(zips(target).stat().st_size / 1000, rel=0.03)


def test_any_has_no_compiled_code(zips: Zips) -> None:
    with zipfile.ZipFile(str(zips(("3.12", "any")))) as archive:
        compiled = [name for name in archive.namelist() if archive.read(name)[:4] == b"\x7fELF"]
    assert compiled == []


@pytest.mark.parametrize(("arch", "machine"), [("x86_64", 62), ("aarch64", 183)])
def test_compiled_code_is_the_target_machines(zips: Zips, arch: str, machine: int) -> None:
    target = next(target for target in CONTENT if target[1] == arch)
    with zipfile.ZipFile(str(zips(target))) as archive:
        compiled = [archive.read(name) for name in archive.namelist() if name.endswith(".so")]
    assert [int.from_bytes(data[18:20], "little") for data in compiled] == [machine]  # ELF's e_machine


def test_another_directory_gives_the_same_bytes(zips: Zips, tmp_path: Path) -> None:
    target = ("3.8", "x86_64")
    other = copy_repository(tmp_path)
    for path in (other / "connector").rglob("*.py"):
        os.utime(str(path), (1, 1))
        path.chmod(0o700)
    for stray in ("connector/.#report.py", "connector/report.py~", "connector/__pycache__/report.pyc"):
        (other / stray).parent.mkdir(exist_ok=True)
        (other / stray).write_text("left behind")
    again = built(other, target, TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="1")
    assert again.read_bytes() == zips(target).read_bytes()


def test_another_python_gives_the_same_bytes(zips: Zips, tmp_path: Path) -> None:
    python = other_python()
    if python is None:
        pytest.skip(f"no CPython from 3.7 to 3.13 other than {RUNNING} on PATH or in pyenv")
    # Only the packaging library comes along; pip isn't needed, as the wheels have been fetched.
    library = tmp_path / "library"
    library.mkdir()
    (library / "packaging").symlink_to(Path(packaging.__file__).parent)
    target = ("3.8", "x86_64")
    first = zips(target)
    again = built(copy_repository(tmp_path / "repository"), target, python=python, PYTHONPATH=str(library))
    assert again.read_bytes() == first.read_bytes()


def other_python() -> str | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")), "versions")
    for version in reversed(build_zip.PYTHONS):
        if version != RUNNING:
            found = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
            for python in filter(None, found):
                asked = subprocess.run([str(python), "-c", ""], stderr=subprocess.DEVNULL, check=False)
                if asked.returncode == 0:
                    return str(python)
    return None


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import cbor2, connector, greengrasssdk
document = {"hed": {"rid": 1, "v": "1.0"}, "met": {"cpu": [{"number": 1.5}], "none": None}}
json.dump(
    {
        "from the zip": [
            module.__file__.startswith(sys.argv[1]) for module in (cbor2, connector, greengrasssdk)
        ],
        "round trip": cbor2.loads(cbor2.dumps(document)) == document,
        "compiled": sorted({"_cbor2", "cbor2._cbor2"} & set(sys.modules)),
        "version": connector.__version__,
    },
    sys.stdout,
)
"""


@pytest.mark.parametrize("arch", [MACHINE, "any"])
def test_it_imports_with_nothing_but_the_standard_library_beside_it(zips: Zips, tmp_path: Path, arch: str) -> None:
    if arch not in build_zip.ARCHES or RUNNING not in build_zip.PYTHONS:
        pytest.skip(f"there is no zip for Python {RUNNING} on {arch}")
    with zipfile.ZipFile(str(zips((RUNNING, arch)))) as archive:
        archive.extractall(str(tmp_path))
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cbor2 = "_cbor2" if RUNNING in CBOR2 else "cbor2._cbor2"
    assert json.loads(done.stdout) == {
        "from the zip": [True] * 3,
        "round trip": True,
        "compiled": [] if arch == "any" else [cbor2],
        "version": build_zip.connector_version(),
    }


@pytest.mark.parametrize("encoding", ["json", "cbor"])
def test_on_a_device_the_zip_alone_prints_reports(zips: Zips, tmp_path: Path, encoding: str) -> None:
    if RUNNING not in build_zip.PYTHONS:
        pytest.skip(f"there is no zip for Python {RUNNING}")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "connector", "--format", encoding],
        cwd=str(tmp_path),
        env={"PYTHONPATH": str(zips((RUNNING, "any")))},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b'{"header":' if encoding == "json" else b"\xa2\x66header")


def test_zip_any_sends_cbor_within_a_cores_memory(zips: Zips, tmp_path: Path) -> None:
    """Where all is compiled from source at each start, cbor2 too."""
    if RUNNING not in build_zip.PYTHONS:
        pytest.skip(f"there is no zip for Python {RUNNING}")
    environment = {"CustomMetrics": ",".join(CUSTOM_METRICS), "ReportFormat": "cbor"}
    try:
        with MemoryGroup(CORE_LIMIT) as group:
            core = LocalCore(zips((RUNNING, "any")), interval=1, environment=environment)
            inside = group.wrap(core.interpreter.path, tmp_path / "python")
            core.interpreter = core.interpreter._replace(path=inside)
            with core:
                verdicts = [core.wait_for_delivery().verdict for _ in range(3)]
                assert core.stop() == 0
            assert (verdicts, group.kills) == ([Verdict(accepted=True)] * 3, 0)
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_every_target_gets_the_versions_meant_for_it() -> None:
    chosen = {target: {pin.name: pin.version for pin in build_zip.pins(*target)} for target in TARGETS}
    expected = {}
    for python, arch in TARGETS:
        expected[python, arch] = {
            "greengrasssdk": "1.6.1",
            "cbor2": CBOR2.get(python, "5.9.0" if arch == "any" else "6.2.1"),
        }
    assert chosen == expected


def test_every_pin_has_a_hash_for_each_wheel_its_targets_take() -> None:
    hashes = {pin[:2]: pin.hashes for target in TARGETS for pin in build_zip.pins(*target)}
    assert {pin: len(values) for pin, values in hashes.items()} == {
        ("greengrasssdk", "1.6.1"): 1,  # for all
        ("cbor2", "5.4.6"): 3,  # x86_64, aarch64 and any
        ("cbor2", "5.6.5"): 3,
        ("cbor2", "5.9.0"): 3,
        ("cbor2", "6.2.1"): 8,  # x86_64 and aarch64 for each of 3.10 to 3.13
    }


@pytest.mark.slow
def test_all_builds_every_pair_and_lists_the_sums(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    done = run(folder, "--all")
    assert done.returncode == 0, done.stderr
    names = [f"{NAME}-py{python.replace('.', '')}-{arch}.zip" for python, arch in TARGETS]
    sums = {name: hashlib.sha256((folder / "dist" / name).read_bytes()).hexdigest() for name in names}
    listing = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    assert (folder / "dist" / "SHA256SUMS").read_text() == listing
    last = f"dist/SHA256SUMS {hashlib.sha256(listing.encode()).hexdigest()}"
    assert done.stdout.splitlines() == [*(f"dist/{name} {digest}" for name, digest in sums.items()), last]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--python", "3.6"], "argument --python: invalid choice: '3.6'"),
        (["--arch", "armv7l"], "argument --arch: invalid choice: 'armv7l'"),
        (["--all", "--arch", "any"], "--all builds every pair; leave out --python and --arch"),
    ],
)
def test_bad_usage_ends_with_2_and_the_reason(arguments: list[str], reason: str) -> None:
    done = run(ROOT, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


def fails(folder: Path, **variables: str) -> str:
    """Run a build that must fail without writing anything; return what it says."""
    done = run(folder, "--python", "3.8", "--arch", "any", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert not (folder / "dist").exists()
    return done.stderr


def test_a_wheel_that_is_not_the_pinned_one_is_refused(zips: Zips, tmp_path: Path) -> None:
    zips(("3.8", "any"))
    folder = copy_repository(tmp_path / "repository", wheels=None)
    cache = folder / "build" / "wheels" / "py3.8-any"
    shutil.copytree(str(ROOT / "build" / "wheels" / "py3.8-any"), str(cache))
    for wheel in cache.glob("cbor2-*.whl"):
        wheel.write_bytes(wheel.read_bytes() + b"\0")
    # The index offers what the cache holds.
    said = fails(folder, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(cache))
    assert "a wheel is not the one pinned in requirements.txt; find out why before you trust it" in said


def test_without_an_index_it_says_so(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path, wheels=None)
    said = fails(folder, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert "no wheels for Python 3.8 on any: no package index could be reached; connect" in said


def test_settings_of_pip_that_change_what_is_fetched_do_not_count(zips: Zips, tmp_path: Path) -> None:
    first = zips(("3.8", "any"))
    folder = copy_repository(tmp_path, wheels=None)
    wheels = str(ROOT / "build" / "wheels" / "py3.8-any")
    again = built(folder, ("3.8", "any"), PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels, PIP_REQUIREMENT="/missing.txt")
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("place", ["dist", "build/wheels/py3.8-any"])
def test_a_place_that_cant_be_written_is_named(zips: Zips, tmp_path: Path, place: str) -> None:
    zips(("3.8", "any"))
    folder = copy_repository(tmp_path, wheels=None if "wheels" in place else ROOT / "build" / "wheels")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text("a file")  # that, other than missing permissions, stops root as well
    done = run(folder, "--python", "3.8", "--arch", "any")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"build_zip.sh: can't write in {folder / place}: File exists\n"


def test_an_incomplete_repository_is_named(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path, wheels=None)
    (folder / "LICENSE").unlink()
    assert f"build_zip.sh: can't read {folder / 'LICENSE'}: No such file or directory" in fails(folder)
