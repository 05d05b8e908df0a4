"""deploy.py --security-profiles: files are checked before AWS is asked, and the plan shows what a core leaves out."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import deploy
import pytest
from botocore.httpsession import URLLib3Session
from deployment import artifact
from deployment.aws import fetch
from v2_target import apply

from connector.profiles import MAX_PROFILE_BYTES

SEND = URLLib3Session.send  # the tests' own fixture replaces it
OPEN = {
    "name": "Open",
    "metric": "aws:listening-tcp-ports",
    "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22]}},
}
PERCENTILE = {
    "name": "Percentile",
    "metric": "aws:all-bytes-out",
    "criteria": {
        "comparisonOperator": "less-than-equals",
        "durationSeconds": 300,
        "statisticalThreshold": {"statistic": "p99"},
    },
}
LEARNED = {
    "name": "Learned",
    "metric": "aws:all-bytes-out",
    "criteria": {"mlDetectionConfig": {"confidenceLevel": "HIGH"}},
}
IN_THE_CLOUD = {
    "name": "Failures",
    "metric": "aws:num-authorization-failures",
    "criteria": {"comparisonOperator": "less-than", "value": {"count": 5}, "durationSeconds": 300},
}
FAULTY = {**OPEN, "name": "Faulty", "criteria": {"comparisonOperator": "less-than", "value": {"ports": [22]}}}
CUSTOM = {
    "name": "Cpu",
    "metric": "cpu_usage",
    "suppressAlerts": True,
    "criteria": {"comparisonOperator": "less-than", "value": {"number": 90}},
}


def document(*behaviors: Any, name: str = "Gateway") -> str:
    return json.dumps({"securityProfileName": name, "behaviors": behaviors})


def dry_run(path: str, *flags: str) -> int:
    return deploy.main(["v2", "plan", "--dry-run", "--thing", "gw-1", "--zip", path, *flags])


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    return tmp_path / "Gateway.json"


def test_plan_shows_what_a_core_leaves_out_and_why(make_zip: Any, gateway: Path, capsys: Any) -> None:
    gateway.write_text(document(OPEN, PERCENTILE, LEARNED, IN_THE_CLOUD, FAULTY, CUSTOM))
    assert dry_run(make_zip(), "--security-profiles", str(gateway)) == 0
    assert (
        f"Note: Profile Gateway ({gateway}): 2 of 6 behaviors are judged on the core. Left out: behaviors[4] Faulty: "
        "comparisonOperator is less-than; aws:listening-tcp-ports takes in-port-set, not-in-port-set; Percentile (one "
        "device can't know p99 of the fleet; detect.py suggest --resolve puts its number beside it); Learned (ML "
        "Detect learns from 14 days and 25,000 datapoints of the fleet, in the service only); Failures (AWS IoT "
        "measures aws:num-authorization-failures itself; no report carries it). Judged, but not sent (suppressAlerts): "
        "Cpu. It judges cpu_usage, which CustomMetrics does not have: these behaviors get no values.\n"
    ) in capsys.readouterr().out


def test_dry_run_shows_subscription_and_the_zip_to_upload(make_zip: Any, gateway: Path, capsys: Any) -> None:
    gateway.write_text(document(OPEN))
    path = make_zip()
    assert dry_run(path, "--security-profiles", str(gateway)) == 0
    output = capsys.readouterr().out
    assert "device-defender-violations: 'device-defender/+/violations: the connector -> cloud'" in output
    assert "SecurityProfiles: Gateway" in output
    assert f"{len(Path(path).read_bytes()):,} bytes" not in output


def test_same_files_make_the_same_zip_in_any_order(make_zip: Any, tmp_path: Path, capsys: Any) -> None:
    files = [str(tmp_path / f"{name}.json") for name in "AB"]
    for file in files:
        Path(file).write_text(document(OPEN, name=Path(file).stem))
    digests = []
    for order in (files, files[::-1]):
        assert dry_run(make_zip(), "--security-profiles", *order) == 0
        digests.append(capsys.readouterr().out.partition("SHA-256 ")[2][:64])
    assert digests[0] == digests[1]


def test_connector_reads_profiles_where_the_tool_puts_them(tmp_path: Path) -> None:
    path, root = tmp_path / "device-defender-connector-1.0.0-py312-any.zip", Path(deploy.__file__).parent.parent
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in (root / "connector").rglob("*.py"):
            archive.write(source, source.relative_to(root))
    data = document(OPEN, name="Site:1").encode()
    path.write_bytes(artifact.load(path).with_profiles({"Site:1": data}).data)
    script = "from connector import profiles; print(profiles.__file__); print(profiles.load(['Site:1']))"
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300
    )
    assert ran.stdout.startswith(str(path))
    assert "name='Site:1'" in ran.stdout
    assert "warnings=[], notes=[]" in ran.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"\xff", "not JSON: 'utf-8' codec can't decode"),
        (b"[]", "a security profile is a JSON object"),
        (b'{"securityProfileName": "a b"}', 'securityProfileName is 1 to 128 of a-zA-Z0-9:_-, not "a b"'),
        (document().encode(), "nothing of it can be judged on a core: no behaviors"),
        (document(FAULTY).encode(), "nothing of it can be judged on a core: behaviors[0] Faulty: comparisonOperator"),
        (document(LEARNED).encode(), "nothing of it can be judged on a core: Learned (ML Detect learns from"),
        (b" " * (MAX_PROFILE_BYTES + 1), "over 262,144 bytes, which the connector does not read"),
        (None, "No such file or directory"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:20],
)
def test_file_that_a_core_cannot_judge_is_refused(
    make_zip: Any, gateway: Path, capsys: Any, content: bytes | None, reason: str
) -> None:
    if content is not None:
        gateway.write_bytes(content)
    assert dry_run(make_zip(), "--security-profiles", str(gateway)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"deploy.py: --security-profiles {gateway}: {reason}")
    assert error.count("\n") == 1


def test_name_in_place_of_a_file_is_explained(make_zip: Any, capsys: Any) -> None:
    assert dry_run(make_zip(), "--security-profiles", "DenialOfService") == 2
    assert capsys.readouterr().err == (
        "deploy.py: --security-profiles DenialOfService: No such file or directory; a profile in the zip is named with "
        "--SecurityProfiles DenialOfService\n"
    )


def test_two_files_of_one_profile_are_refused(make_zip: Any, gateway: Path, tmp_path: Path, capsys: Any) -> None:
    other = tmp_path / "copy.json"
    for path in (gateway, other):
        path.write_text(document(OPEN))
    assert dry_run(make_zip(), "--security-profiles", str(gateway), "--security-profiles", str(other)) == 2
    assert f"{other}: {gateway} has the securityProfileName Gateway too" in capsys.readouterr().err


def test_name_that_the_zip_does_not_have_is_refused(core: Any, make_zip: Any, capsys: Any) -> None:
    path = Path(make_zip())
    assert apply(core, "--zip", str(path), "--SecurityProfiles", "Nothing") == 2
    assert core.calls.writes == []
    assert capsys.readouterr().err == (
        f"deploy.py: SecurityProfiles: {path.name} has no profile Nothing (it has none): pass its file with "
        "--security-profiles, or name other profiles with --SecurityProfiles\n"
    )


@pytest.mark.parametrize("isolation", ["GreengrassContainer", "NoContainer"])
def test_path_on_the_device_is_noted(make_zip: Any, capsys: Any, isolation: str) -> None:
    assert dry_run(make_zip(), "--SecurityProfiles", "/etc/p.json", "--isolation", isolation) == 0
    output = capsys.readouterr().out
    assert "Note: /etc/p.json must exist on the device and be readable by the user or group that runs the con" in output
    assert ("in its container too." in output) == (isolation == "GreengrassContainer")
    assert "device-defender/+/violations: the connector -> cloud" in output


def test_topic_too_long_with_the_things_name_is_refused(make_zip: Any, gateway: Path, capsys: Any) -> None:
    gateway.write_text(document(OPEN))
    topic = "x" * 248 + "/{thing}"
    assert dry_run(make_zip(), "--security-profiles", str(gateway), "--ViolationsTopic", topic) == 0
    argv = ["v2", "plan", "--dry-run", "--thing", "gateway-1", "--zip", make_zip(), "--ViolationsTopic", topic]
    assert deploy.main(argv) == 0
    assert deploy.main([*argv, "--security-profiles", str(gateway)]) == 2
    assert (
        "--ViolationsTopic: with the thing's name it has 258 characters; AWS IoT takes 256" in capsys.readouterr().err
    )


def test_settings_file_names_profiles_relative_to_itself(core: Any, make_zip: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "Gateway.json").write_text(document(OPEN))
    config = tmp_path / "site" / "connector.toml"
    config.write_text(
        f'thing = "gw-1"\nzip = "{make_zip()}"\nsecurity-profiles = ["Gateway.json"]\n'
        '[parameters]\nSecurityProfiles = ["/etc/p.json"]\n'
    )
    assert core.deploy("v2", "apply", "--config", str(config), "--yes") == 0
    assert core.deploy("v2", "status", "--config", str(config)) == 0
    assert "  SecurityProfiles=/etc/p.json,Gateway\n" in capsys.readouterr().out
    assert core.deploy("v2", "apply", "--config", str(config), "--yes") == 0
    assert core.calls.writes == []

    # The file is the whole intent: a profile that it only names is not taken over from what is deployed.
    config.write_text(f'thing = "gw-1"\nzip = "{make_zip()}"\n[parameters]\nSecurityProfiles = ["Gateway"]\n')
    assert core.deploy("v2", "apply", "--config", str(config), "--yes") == 2
    assert "has no profile Gateway (it has none): pass its file with --security-profiles" in capsys.readouterr().err
    config.write_text('security-profiles = "Gateway.json"\n')
    assert core.deploy("v2", "plan", "--config", str(config)) == 2
    assert f"--config {config}: security-profiles must be a list of files" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [OSError("HTTP 403"), b"no zip"], ids=["refused", "no zip"])
def test_deployed_profile_that_cannot_be_read_is_asked_for(
    core: Any, make_zip: Any, gateway: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    def fetch(url: str) -> bytes:
        if isinstance(answer, OSError):
            raise answer
        return bytes(answer)

    gateway.write_text(document(OPEN))
    assert apply(core, "--zip", make_zip(), "--security-profiles", str(gateway)) == 0
    monkeypatch.setattr(core.aws, "fetch", fetch)
    assert apply(core, "--zip", make_zip(version="1.1.0")) == 1
    error = capsys.readouterr().err
    assert "device-defender-connector:1, which may have profiles of yours, can't be read (" in error
    assert error.endswith("pass the files of Gateway with --security-profiles\n")
    assert apply(core, "--zip", make_zip(version="1.1.0"), "--security-profiles", str(gateway)) == 0


class _Code(http.server.BaseHTTPRequestHandler):
    """Answers /zip with a file, anything else as AWS does where a presigned URL has expired."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/zip" else 403)
        self.end_headers()
        self.wfile.write(b"file")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_code_is_fetched_and_an_error_does_not_name_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(URLLib3Session, "send", SEND)
    with http.server.HTTPServer(("127.0.0.1", 0), _Code) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert fetch(f"{address}/zip") == b"file"
        with pytest.raises(OSError, match="^HTTP 403$"):
            fetch(f"{address}/secret")
        server.shutdown()
        thread.join()
    with pytest.raises(OSError, match="^EndpointConnectionError$"):
        fetch(f"{address}/secret")
