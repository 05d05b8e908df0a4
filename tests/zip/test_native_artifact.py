"""The artifact of the native component: what is in it, that its bytes are reproducible, and that it runs unpacked."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import build_zip
import bytecode
import pytest
from support.builder import NAME, ROOT, RUNNING, Target, Zips, built, copy_repository, has_interpreter, run
from zip_kind import COMPONENT, FUNCTION

MACHINE = platform.machine()
TARGETS = [(python, arch) for python in build_zip.PYTHONS for arch in COMPONENT.arches]
NATIVE: Target = (RUNNING, MACHINE)
here = pytest.mark.skipif(NATIVE not in TARGETS, reason=f"there is no native zip for Python {RUNNING} on {MACHINE}")


def connector_modules(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("connector/") and name.endswith(".py")}


@here
def test_artifact_has_the_connector_and_everything_it_needs(zips: Zips) -> None:
    with zipfile.ZipFile(str(zips(NATIVE, native=True))) as archive:
        names = archive.namelist()
        licences = {name.split("/")[1]: archive.read(name) for name in names if name.startswith("licenses/")}
    tops = {name.split("/")[0] for name in names}
    compiled = {name for name in tops if name.startswith(("_awscrt", "_cbor2"))}
    assert tops - compiled == {"awscrt", "awsiot", "cbor2", "connector", "licenses", "psutil"}
    assert [name for name in compiled if name.startswith("_awscrt.")]
    assert "awsiot/greengrasscoreipc/clientv2.py" in names
    pinned = {f"{pin.name}-{pin.version}" for pin in build_zip.pins(*NATIVE, COMPONENT)}
    assert licences.keys() == {NAME, *pinned}
    (sdk,) = (release for release in pinned if release.startswith("awsiotsdk"))
    assert licences[sdk] == (ROOT / "LICENSE").read_bytes()  # the wheel has none


@here
def test_artifact_has_nothing_of_the_lambda_function(zips: Zips) -> None:
    with zipfile.ZipFile(str(zips(NATIVE, native=True))) as archive:
        names = archive.namelist()
    assert not {"connector/handler.py", "connector/transports/greengrass_lambda.py"} & set(names)
    assert not [name for name in names if name.startswith(("greengrasssdk/", "awsiot/iotjobs", "connector/direct"))]


def test_lambda_zip_has_nothing_of_the_component(zips: Zips) -> None:
    with zipfile.ZipFile(str(zips(("3.8", "x86_64")))) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith(("awsiot", "awscrt", "_awscrt", "connector/component"))]
    assert "connector/transports/greengrass_ipc.py" not in names


@here
def test_every_source_has_bytecode_where_an_unpacked_artifact_needs_it(zips: Zips) -> None:
    if not has_interpreter(RUNNING):
        pytest.skip(f"there is no Python {RUNNING} here to write bytecode")
    with zipfile.ZipFile(str(zips(NATIVE, native=True))) as archive:
        names = set(archive.namelist())
    sources = {name for name in names if name.endswith(".py")}
    assert {name for name in names if name.endswith(".pyc")} == {
        bytecode.cached_name(name, RUNNING) for name in sources
    }


@here
def test_build_elsewhere_gives_the_same_bytes(zips: Zips, tmp_path: Path) -> None:
    again = built(copy_repository(tmp_path), NATIVE, native=True, TZ="Pacific/Auckland", LC_ALL="C", PYTHONHASHSEED="1")
    assert again.read_bytes() == zips(NATIVE, native=True).read_bytes()


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import awscrt, awsiot.greengrasscoreipc.clientv2, cbor2, connector.__main__, psutil
modules = (awscrt, awsiot, cbor2, connector, psutil)
print(all(module.__file__.startswith(sys.argv[1]) for module in modules), sys.modules["_awscrt"].__file__)
"""


@here
def test_unpacked_artifact_needs_only_the_standard_library(zips: Zips, tmp_path: Path) -> None:
    with zipfile.ZipFile(str(zips(NATIVE, native=True))) as archive:
        archive.extractall(str(tmp_path))
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    from_artifact, library = done.stdout.split()
    assert (from_artifact, os.path.dirname(library)) == ("True", str(tmp_path))

    # As the recipe starts it; without a nucleus there is nothing to connect to.
    component = [sys.executable, "-S", "-u", "-m", "connector", "component"]
    variables = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(component, env=variables, cwd="/", capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT" in done.stderr + done.stdout


def test_every_target_has_a_pair_of_sdk_and_runtime() -> None:
    older = {"3.7": ("1.22.0", "0.21.1"), "3.8": ("1.29.0", "0.32.1")}
    for python, arch in TARGETS:
        chosen = {pin.name: pin.version for pin in build_zip.pins(python, arch, COMPONENT)}
        assert (chosen.pop("awsiotsdk"), chosen.pop("awscrt")) == older.get(python, ("1.31.0", "0.36.1"))
        function = {pin.name: pin.version for pin in build_zip.pins(python, arch, FUNCTION)}
        del function["greengrasssdk"]
        assert chosen == function


def test_every_pin_has_a_hash_for_each_wheel_of_its_targets() -> None:
    hashes = {pin[:2]: pin.hashes for target in TARGETS for pin in build_zip.pins(*target, COMPONENT)}
    assert {pin: len(values) for pin, values in hashes.items() if pin[0].startswith("aws")} == {
        ("awsiotsdk", "1.22.0"): 1,
        ("awsiotsdk", "1.29.0"): 1,
        ("awsiotsdk", "1.31.0"): 1,
        ("awscrt", "0.21.1"): 2,  # x86_64 and aarch64
        ("awscrt", "0.32.1"): 2,
        ("awscrt", "0.36.1"): 8,  # for 3.9, 3.10, 3.11 with 3.12, and 3.13
    }


@pytest.mark.parametrize("arch", ["armv7l", "any"])
def test_machine_without_a_wheel_is_refused_with_the_way_that_is_left(arch: str) -> None:
    done = run(ROOT, "--native", "--python", "3.11", "--arch", arch)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no native component for {arch}, only for x86_64 and aarch64" in done.stderr
    assert "`python -m connector run`" in done.stderr


@here
def test_sources_of_both_kinds_are_the_connectors_own(zips: Zips) -> None:
    """Each module of connector/ is in a zip, but for those of `python -m connector run`."""
    found = set()
    for path in (zips(NATIVE, native=True), zips(("3.8", "x86_64"))):
        with zipfile.ZipFile(str(path)) as archive:
            found |= connector_modules(archive.namelist())
    every = {path.relative_to(ROOT).as_posix() for path in (ROOT / "connector").rglob("*.py")}
    direct = {name for name in every - found if name.split("/")[-1].startswith(("direct", "notify", "mqtt", "tls"))}
    assert every - found == direct
