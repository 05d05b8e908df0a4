"""deploy.py v2 local: the folders with which a core takes the native component without AWS."""

from __future__ import annotations

import os
import shlex
import stat
import zipfile
from pathlib import Path
from typing import Any

import deploy
import pytest
import yaml
from deployment import recipe
from deployment.settings import READ_BY_FUNCTION

NAME = "device-defender-connector-native"


def write(zip_: str, folder: Path, *flags: str) -> int:
    return deploy.main(["v2", "local", "--zip", zip_, "--output", str(folder), *flags])


def read(folder: Path, name: str = NAME) -> Any:
    return yaml.safe_load((folder / "recipes" / f"{name}-1.0.0.yaml").read_text(encoding="utf-8"))


def test_folders_have_the_layout_that_ggl_cli_takes(native_zip: str, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "folders"
    assert write(native_zip, folder) == 0
    held = folder / "artifacts" / NAME / "1.0.0"
    with zipfile.ZipFile(native_zip) as archive:
        expected = {name: archive.read(name) for name in archive.namelist()}
    found = {path.relative_to(held).as_posix(): path.read_bytes() for path in held.rglob("*") if path.is_file()}
    assert found == expected  # nucleus lite unpacks no zip that is not from the cloud
    assert [path.name for path in (folder / "recipes").iterdir()] == [f"{NAME}-1.0.0.yaml"]

    line = next(line for line in capsys.readouterr().out.splitlines() if "ggl-cli" in line)
    assert shlex.split(line.partition(":")[2]) == [
        *("ggl-cli", "deploy", "--recipe-dir", str(folder / "recipes"), "--artifacts-dir", str(folder / "artifacts")),
        *("--add-component", f"{NAME}=1.0.0"),
    ]


def test_recipe_starts_the_unpacked_files_with_the_settings(native_zip: str, tmp_path: Path) -> None:
    flags = ["--MaxListSize", "9", "--max-payload-bytes", "9000", "--component", "com.example.Defender"]
    assert write(native_zip, tmp_path / "folders", *flags) == 0
    document = read(tmp_path / "folders", "com.example.Defender")
    recipe.check(document)
    (manifest,) = document["Manifests"]
    assert 'env "PYTHONPATH={artifacts:path}" python3.12 ' in manifest["Lifecycle"]["run"]["Script"]
    assert "Artifacts" not in manifest
    configuration = document["ComponentConfiguration"]["DefaultConfiguration"]
    assert (configuration["MaxListSize"], configuration["MaxPayloadBytes"]) == ("9", "9000")
    assert all(isinstance(value, str) for name, value in configuration.items() if name != "accessControl")


def test_recipe_has_every_parameter_as_a_core_keeps_what_an_earlier_one_set(native_zip: str, tmp_path: Path) -> None:
    assert write(native_zip, tmp_path / "folders") == 0
    configuration = read(tmp_path / "folders")["ComponentConfiguration"]["DefaultConfiguration"]
    # But an empty StateDirectory would turn off the work folder.
    expected = {parameter.name for parameter in READ_BY_FUNCTION if parameter.name != "StateDirectory"}
    assert configuration.keys() == expected | {"MaxPayloadBytes", "accessControl"}
    assert (configuration["CustomMetrics"], configuration["SecurityProfiles"]) == ("", "")
    assert configuration["MaxPayloadBytes"] == "7000"


def test_component_may_use_the_topics_of_the_thing_that_is_named(native_zip: str, tmp_path: Path, capsys: Any) -> None:
    assert write(native_zip, tmp_path / "any") == 0
    assert "The Java nucleus lets the component report only if it has interpolate" in capsys.readouterr().out
    assert write(native_zip, tmp_path / "one", "--thing", "gw-1") == 0
    assert "interpolateComponentConfiguration" not in capsys.readouterr().out
    resources = [
        next(iter(read(tmp_path / folder)["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"].values()))
        for folder in ("any", "one")
    ]
    assert [policies[f"{NAME}:mqttproxy:publish"]["resources"] for policies in resources] == [
        ["$aws/things/{iot:thingName}/defender/metrics/json"],
        ["$aws/things/gw-1/defender/metrics/json"],
    ]
    assert write(native_zip, tmp_path / "two", "--thing", "a b") == 2


def test_value_that_nucleus_lite_does_not_take_is_said(native_zip: str, tmp_path: Path, capsys: Any) -> None:
    fits = ",".join(["eth*"] * 204)  # 1,021 bytes as JSON
    assert write(native_zip, tmp_path / "one", "--ExcludeInterfaces", fits) == 0
    assert "Note: ExcludeInterfaces" not in capsys.readouterr().out
    assert write(native_zip, tmp_path / "other", "--ExcludeInterfaces", fits + ",wg*") == 0
    said = capsys.readouterr().out
    assert "Note: ExcludeInterfaces has 1,025 bytes. Nucleus lite takes 1,024: a deployment with it fails" in said


def test_how_to_change_settings_later_and_where_the_log_is_are_said(
    native_zip: str, tmp_path: Path, capsys: Any
) -> None:
    assert write(native_zip, tmp_path / "folders") == 0
    said = capsys.readouterr().out
    assert "leave --artifacts-dir out" in said
    assert f"journalctl -u ggl.{NAME}" in said


def test_every_user_may_read_the_folders_whatever_the_umask(native_zip: str, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert write(native_zip, tmp_path / "folders") == 0
    finally:
        os.umask(before)
    found = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "folders").rglob("*")}
    assert found == {0o755, 0o644}


@pytest.mark.parametrize("is_file", [True, False])
def test_folder_that_is_in_use_is_refused(native_zip: str, tmp_path: Path, capsys: Any, is_file: bool) -> None:
    folder = tmp_path / "folders"
    if is_file:
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "mine").write_text("mine")
    assert write(native_zip, folder) == 2
    assert f"--output {folder}: " in capsys.readouterr().err


def test_zip_of_the_function_is_refused(make_zip: Any, tmp_path: Path, capsys: Any) -> None:
    assert write(make_zip(), tmp_path / "folders") == 2
    assert "./build_zip.sh --native makes the component's" in capsys.readouterr().err
    assert not (tmp_path / "folders").exists()
