"""SecurityProfiles: profiles of the zip and files of the device, and what is wrong with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict

import pytest
from support.loop import Loop

from connector import profiles

ROOT = Path(__file__).resolve().parents[2]
PORTS = {
    "name": "Ports",
    "metric": "aws:listening-tcp-ports",
    "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22]}},
}
LEARNED = {
    "name": "Learned",
    "metric": "aws:all-bytes-out",
    "criteria": {"mlDetectionConfig": {"confidenceLevel": "HIGH"}},
}


def written(path: Path, *behaviors: Dict[str, Any], name: str = "Mine") -> str:
    path.write_text(json.dumps({"securityProfileName": name, "behaviors": behaviors}))
    return str(path)


def test_name_is_a_shipped_profile_and_a_path_a_file(tmp_path: Path) -> None:
    found = profiles.load(["RemoteManagementPorts", written(tmp_path / "mine.json", PORTS)])
    assert [profile.name for profile in found.usable] == ["RemoteManagementPorts", "Mine"]
    assert (found.warnings, found.notes) == ([], [])


def test_percentiles_and_what_the_cloud_measures_are_not_judged_and_named() -> None:
    found = profiles.load(["DenialOfService"])
    assert found.warnings == []
    (note,) = found.notes
    assert note.startswith("of DenialOfService not judged on a device: PacketsInUnusual (one device can't know p99.9")
    assert "MessageFlood (AWS IoT measures aws:num-messages-sent itself" in note


def test_each_profile_that_cannot_be_used_is_one_warning_and_costs_itself(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.json", PORTS)
    (tmp_path / "text.json").write_text("no JSON")
    (tmp_path / "deep.json").write_text("[" * 100 + "]" * 100)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "large.json").write_text(" " * (profiles.MAX_PROFILE_BYTES + 1))
    os.mkfifo(str(tmp_path / "pipe.json"))
    again = written(tmp_path / "again.json", PORTS)
    learned = written(tmp_path / "learned.json", LEARNED, name="Learned")
    faulty = written(tmp_path / "faulty.json", {"name": "x"}, name="Faulty")
    part = written(tmp_path / "part.json", PORTS, *[{"name": f"x{number}"} for number in range(5)], name="Part")
    unusable = [str(tmp_path / f"{name}.json") for name in ("text", "deep", "bytes", "large", "pipe", "missing")]
    found = profiles.load(["Missing", mine, *unusable, str(tmp_path), again, learned, faulty, part])
    assert [profile.name for profile in found.usable] == ["Mine", "Part"]
    assert [warning.replace(str(tmp_path), "")[:70] for warning in found.warnings] == [
        "Missing is not used: no profile of this name comes with the connector;",
        "/text.json is not used: it is not JSON: Expecting value: line 1 column",
        "/deep.json is not used: a security profile is a JSON object",
        "/bytes.json is not used: it is not JSON: 'utf-8' codec can't decode by",
        "/large.json is not used: it is over 262144 bytes long",
        "/pipe.json is not used: it is not a regular file",
        "/missing.json is not used: it can't be read: No such file or directory",
        " is not used: it can't be read: Is a directory",
        "/again.json is not used: another profile has the securityProfileName M",
        "/learned.json is not used: none of its behaviors can be judged on a de",
        "/faulty.json is used in part: behaviors[0] x: no metric",
        "/part.json is used in part: behaviors[1] x0: no metric; behaviors[2] x",
    ]
    assert found.warnings[-1].endswith("x2: no metric; and 2 more")


def test_profile_that_cannot_be_used_is_logged_and_reports_go_on(tmp_path: Path) -> None:
    loop = Loop(tmp_path, SecurityProfiles="Missing,RemoteManagementPorts").run(400)
    assert len(loop.core.taken) == 2
    assert len(loop.logged("WARNING SecurityProfiles: Missing is not used")) == 1
    assert len(loop.logged("INFO alarms of RemoteManagementPorts go to device-defender/gateway-7/violations")) == 1
    nothing = Loop(tmp_path / "other", SecurityProfiles="Missing").run(400)
    assert len(nothing.core.taken) == 2
    assert nothing.logged("alarms of") == []


@pytest.mark.parametrize("compressed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_profile_is_read_from_a_zip_on_the_path(tmp_path: Path, compressed: int) -> None:
    archive = tmp_path / "function.zip"
    with zipfile.ZipFile(str(archive), "w", compressed) as file:
        for path in (ROOT / "connector").rglob("*.py"):
            file.write(str(path), str(path.relative_to(ROOT)))
        file.write(written(tmp_path / "Mine.json", PORTS), "connector/security_profiles/Mine.json")
    program = "from connector import profiles; print(profiles.load(['Mine', 'DenialOfService']))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(archive)}, cwd="/", capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"Profile(name='Mine'" in done.stdout
    assert b"DenialOfService is not used: no profile of this name comes with the connector" in done.stdout
