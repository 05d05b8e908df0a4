"""What is in the zips, and that each runs where it is meant to."""

from __future__ import annotations

import json
import platform
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import build_zip
import bytecode
import pytest
from bench.cgroup import MemoryGroup, Unavailable
from bench.measure import CORE_LIMIT
from local_core import LocalCore, Verdict
from support.builder import NAME, ROOT, RUNNING, TARGETS, Target, Zips, has_interpreter
from support.threads import LONG

from connector.config import CUSTOM_METRICS

MACHINE = platform.machine()

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
PSUTIL = [
    "psutil/__init__.py",
    "psutil/_common.py",
    "psutil/_ntuples.py",
    "psutil/_pslinux.py",
    "psutil/_psposix.py",
    "psutil/_psutil_linux.abi3.so",
    "licenses/psutil-7.2.2/LICENSE",
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
        *PSUTIL,
    ],
    ("3.12", "any"): [*SDK, *CBOR2_PYTHON, "licenses/cbor2-5.9.0/LICENSE.txt"],
    ("3.13", "aarch64"): [
        *SDK,
        "cbor2/__init__.py",
        "cbor2/_cbor2.cpython-313-aarch64-linux-gnu.so",
        "licenses/cbor2-6.3.0/LICENSE.txt",
        *PSUTIL,
    ],
}
CBOR2 = {"3.7": "5.4.6", "3.8": "5.6.5", "3.9": "5.9.0"}  # and 6.3.0 from 3.10 on


# Modules of `python -m connector run` and of the native component.
NOT_IN_IT = "/(direct[^/]*|notify|mqtt[^/]*|tls|component[^/]*|deliveries|shorten|greengrass_ipc[^/]*)[.]py$"


def profiles() -> list[str]:
    """Return the security profiles in the zip: those that the connector can judge, so not those of ML Detect."""
    found = (ROOT / "packaging" / "security_profiles").glob("*.json")
    return [f"connector/security_profiles/{path.name}" for path in found if not path.name.startswith("MachineLearning")]


def sources() -> list[str]:
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / "connector").rglob("*.py")]
    return [name for name in names if not re.search(NOT_IN_IT, name)]


def bytecode_of(names: list[str], python: str) -> list[str]:
    """Return the names of the bytecode that belongs to the sources among some names.

    Beside the source it is for imports from the zip itself, which a package with compiled modules does not allow.
    """
    if not has_interpreter(python):
        return []
    compiled = {name.split("/")[0] for name in names if name.endswith(".so")}
    names = [name for name in names if name.endswith(".py")]
    beside = [name + "c" for name in names if python != "3.7" and name.split("/")[0] not in compiled]
    return [*beside, *(bytecode.cached_name(name, python) for name in names)]


@pytest.mark.parametrize("target", CONTENT)
def test_zip_has_the_connector_its_dependencies_bytecode_and_licences_only(zips: Zips, target: Target) -> None:
    with zipfile.ZipFile(str(zips(target))) as archive:
        infos = archive.infolist()
        licence = archive.read(f"licenses/{NAME}/LICENSE")
    expected = [*sources(), *profiles(), f"licenses/{NAME}/LICENSE", *CONTENT[target]]
    assert [info.filename for info in infos] == sorted(expected + bytecode_of(expected, target[0]))
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {(info.create_system, info.external_attr >> 16) for info in infos} == {(3, stat.S_IFREG | 0o644)}


@pytest.mark.parametrize("target", CONTENT)
def test_zip_contains_no_path_of_the_machine_that_built_it(zips: Zips, target: Target) -> None:
    path = zips(target)
    places = [str(path.parent.parent).encode(), str(ROOT).encode(), sys.prefix.encode()]
    with zipfile.ZipFile(str(path)) as archive:
        named = [name for name in archive.namelist() if any(place in archive.read(name) for place in places)]
    assert named == []


@pytest.mark.parametrize("target", CONTENT)
def test_readme_states_the_size_of_the_zip(zips: Zips, target: Target) -> None:
    """Within 2 %, so that the table needs no change with every line of the connector."""
    python, arch = target
    if not has_interpreter(python):
        pytest.skip(f"the table has the size with bytecode, and there is no Python {python} here to write it")
    readme = (ROOT / "packaging" / "README.md").read_text(encoding="utf-8")
    columns = dict(
        zip(("x86_64", "aarch64", "any"), re.findall(rf"\| {re.escape(python)} \|(.*)\|", readme)[0].split("|"))
    )
    assert int(columns[arch].split()[0].replace(",", "")) == pytest.approx(zips(target).stat().st_size / 1024, rel=0.02)


def test_zip_any_has_no_compiled_module(zips: Zips) -> None:
    with zipfile.ZipFile(str(zips(("3.12", "any")))) as archive:
        compiled = [name for name in archive.namelist() if archive.read(name)[:4] == b"\x7fELF"]
    assert compiled == []


@pytest.mark.parametrize(("arch", "machine"), [("x86_64", 62), ("aarch64", 183)])
def test_compiled_modules_are_for_the_target_machine(zips: Zips, arch: str, machine: int) -> None:
    target = next(target for target in CONTENT if target[1] == arch)
    with zipfile.ZipFile(str(zips(target))) as archive:
        compiled = [archive.read(name) for name in archive.namelist() if name.endswith(".so")]
    assert [int.from_bytes(data[18:20], "little") for data in compiled] == [machine] * 2  # ELF's e_machine


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
def test_unpacked_zip_needs_only_the_standard_library(zips: Zips, tmp_path: Path, arch: str) -> None:
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
def test_zip_on_the_path_prints_reports(zips: Zips, tmp_path: Path, encoding: str) -> None:
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


@pytest.mark.parametrize("arch", [MACHINE, "any"])
def test_function_with_everything_on_stays_within_the_memory_of_a_core(zips: Zips, tmp_path: Path, arch: str) -> None:
    if arch not in build_zip.ARCHES or RUNNING not in build_zip.PYTHONS:
        pytest.skip(f"there is no zip for Python {RUNNING} on {arch}")
    environment = {"CustomMetrics": ",".join(CUSTOM_METRICS), "ReportFormat": "cbor"}
    try:
        with MemoryGroup(CORE_LIMIT) as group:
            core = LocalCore(zips((RUNNING, arch)), interval=1, environment=environment)
            inside = group.wrap(core.interpreter.path, tmp_path / "python")
            core.interpreter = core.interpreter._replace(path=inside)
            with core:
                verdicts = [core.wait_for_delivery(LONG).verdict for _ in range(3)]
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
            "cbor2": CBOR2.get(python, "5.9.0" if arch == "any" else "6.3.0"),
        }
        if arch != "any":
            expected[python, arch]["psutil"] = "7.2.2"
    assert chosen == expected


def test_every_pin_has_a_hash_for_each_wheel_of_its_targets() -> None:
    hashes = {pin[:2]: pin.hashes for target in TARGETS for pin in build_zip.pins(*target)}
    assert {pin: len(values) for pin, values in hashes.items()} == {
        ("greengrasssdk", "1.6.1"): 1,  # for all
        ("cbor2", "5.4.6"): 3,  # x86_64, aarch64 and any
        ("cbor2", "5.6.5"): 3,
        ("cbor2", "5.9.0"): 3,
        ("psutil", "7.2.2"): 2,  # x86_64 and aarch64
        ("cbor2", "6.3.0"): 8,  # x86_64 and aarch64 for each of 3.10 to 3.13
    }
