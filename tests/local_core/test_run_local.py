"""packaging/run_local.py: what it prints, how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Optional

import pytest
from run_local_options import parse
from support.functions import REPORTER

ROOT = Path(__file__).resolve().parents[2]
RUN_LOCAL = ROOT / "packaging" / "run_local.py"


def command(*arguments: object) -> List[str]:
    return [sys.executable, str(RUN_LOCAL), *map(str, arguments), "--handler", "function.handler"]


def run_command(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)


def failure(*arguments: object, **environ: str) -> str:
    """Return what a run that ends with 1 writes to standard error."""
    done = subprocess.run(
        command(*arguments), env={**os.environ, **environ}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stdout
    return done.stderr


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_in(output: str) -> int:
    return int(output.partition("function | pid ")[2].split()[0])


def test_once_shows_an_accepted_report_and_ends_with_0(make_zip: Callable[..., Path]) -> None:
    path = make_zip({"function.py": REPORTER})
    done = run_command(path, "--once", "--thing", "some-thing")
    assert done.returncode == 0, done.stdout
    assert f"{path} on Python {'.'.join(map(str, sys.version_info[:3]))} (" in done.stdout
    assert "$aws/things/some-thing/defender/metrics/json, " in done.stdout
    assert 'bytes: ACCEPTED\n{\n  "header": {\n    "report_id": ' in done.stdout
    assert not is_alive(pid_in(done.stdout))


def test_once_with_a_rejected_report_ends_with_1(make_zip: Callable[..., Path]) -> None:
    done = run_command(make_zip({"function.py": REPORTER}), "--once", "--env", "VERSION=2")
    assert done.returncode == 1
    assert "bytes: REJECTED, InvalidPayload: Malformed metrics report: header.version: '2' is not one of" in done.stdout


def test_function_that_ends_gives_1_and_the_reason(make_zip: Callable[..., Path]) -> None:
    done = run_command(make_zip({"function.py": "raise ValueError('no')"}), "--once")
    assert done.returncode == 1
    assert "function | ValueError: no\n" in done.stdout
    assert failure(make_zip({"function.py": "raise ValueError('no')"}), "--once") == (
        "run_local.py: the function failed to initialize: ValueError: no; the function's log lines say more\n"
    )


def test_once_on_another_topic_needs_no_verdict(make_zip: Callable[..., Path]) -> None:
    source = REPORTER.replace('"$aws/things/%s/defender/metrics/json" %', '"my/" +')
    path = make_zip({"function.py": source})
    done = run_command(path, "--once", "--thing", "some-thing", "--set", "MetricsTopic=my/{thing}")
    assert done.returncode == 0, done.stdout
    assert "my/some-thing, " in done.stdout
    assert 'bytes: no report topic, so no verdict\n{\n  "header": {\n' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "encoding"),
    [
        ([], "json"),
        (["--set", "ReportFormat=cbor"], "binary"),
        (["--set", "ReportFormat=cbor", "--encoding-type", "json"], "json"),
    ],
)
def test_encoding_of_events_fits_the_report_format(
    make_zip: Callable[..., Path], arguments: List[str], encoding: str
) -> None:
    source = REPORTER + "print('encoding', os.environ['ENCODING_TYPE'])\n"
    assert (
        f"function | encoding {encoding}\n"
        in run_command(make_zip({"function.py": source}), "--once", *arguments).stdout
    )


# Prints its process id, and then a line now and then.
CHATTER = """
import os, threading, time
def run():
    while True:
        time.sleep(0.02)
        print("still here")
print("pid", os.getpid())
threading.Thread(target=run, daemon=True).start()
def handler(event, context):
    pass
"""


def test_closed_output_ends_it(make_zip: Callable[..., Path]) -> None:
    process = subprocess.Popen(
        command(make_zip({"function.py": CHATTER})), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output = ""
    while "function | still here" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.stdout.close()
    with process.stderr:
        try:
            assert (process.wait(120), process.stderr.read()) == (0, "")
        finally:
            process.kill()
    assert not is_alive(pid_in(output))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_signal_ends_it_and_the_function_without_output(make_zip: Callable[..., Path], number: int, code: int) -> None:
    process = subprocess.Popen(
        command(make_zip({"function.py": REPORTER})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As in a terminal: a suite that runs in the background of a script was started with SIGINT ignored, and one
        # under nohup with SIGHUP.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert process.stdout is not None
    output = ""
    while "function | verdict ACCEPTED" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    assert (process.returncode, rest) == (code, "")
    assert not is_alive(pid_in(output))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--set", "MetricNames"], "'MetricNames' is not NAME=VALUE"),
        (["--interval", "0"], "'0' is not a whole number of seconds from 1"),
        (["--mqtt", "localhost"], "'localhost' is not HOST:PORT, such as localhost:1883"),
        (["--mqtt", "localhost:99999"], "'localhost:99999' is not HOST:PORT, such as localhost:1883"),
        (["--generation", "3"], "invalid choice: "),
    ],
)
def test_bad_usage_ends_with_2(arguments: List[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["a.zip", *arguments], None)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_wrong_files_are_named_without_a_traceback(tmp_path: Path) -> None:
    missing = tmp_path / "missing.zip"
    faults = ("--fault", "status:500:2", "--fault", "redirect:8080:2", "--fault", "lost", "--fault", "refuse")
    assert failure(missing, *faults) == f"run_local.py: there is no file {missing}\n"
    rules = tmp_path / "rules.json"
    assert failure(missing, "--subscriptions", rules) == f"run_local.py: {rules}: No such file or directory\n"
    rules.write_text("{}")
    assert failure(missing, "--subscriptions", rules) == (
        f'run_local.py: {rules}: expected {{"subscriptions": {{"<id>": {{"id", "source", "subject", "target"}}}}}}\n'
    )
    rules.write_text("root:x:0:0:root:/root:/bin/bash")
    assert failure(missing, "--subscriptions", rules, RUN_LOCAL_SCRIPT="run_local.sh") == (
        f"run_local.sh: {rules}: Expecting value: line 1 column 1 (char 0)\n"
    )


def test_help_needs_no_package() -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(RUN_LOCAL), "--help"], stdout=subprocess.PIPE, timeout=120, text=True
    )
    assert done.returncode == 0
    assert "examples:" in done.stdout


def test_usage_names_the_script_that_was_called() -> None:
    done = subprocess.run(
        [sys.executable, str(RUN_LOCAL), "--help"],
        env={**os.environ, "RUN_LOCAL_SCRIPT": "run_local.sh"},
        stdout=subprocess.PIPE,
        timeout=120,
        text=True,
    )
    assert done.stdout.startswith("usage: run_local.sh [-h] [--once]")
    assert "\n  run_local.sh --once  " in done.stdout
    assert "ZIP" not in done.stdout
    assert "run_local.py" not in done.stdout


PROFILES = ROOT / "packaging" / "security_profiles"


def test_alarms_of_a_profile_are_shown_beside_the_verdicts(make_zip: Callable[..., Path]) -> None:
    listening = '{"ports": [{"port": 2323}], "total": 1}'
    source = REPORTER.replace(
        'REPORT["metrics"] = ', f'REPORT["metrics"] = {{"listening_tcp_ports": {listening}}}\nOTHERS = '
    )
    profiles = [f"--profile={PROFILES / name}.json" for name in ("RemoteManagementPorts", "DenialOfService")]
    done = run_command(make_zip({"function.py": source}), "--once", *profiles)
    assert done.returncode == 0, done.stdout
    assert "not judged: DenialOfService/MessageFlood: AWS IoT measures aws:num-messages-sent itself" in done.stdout
    assert "Detect: alarm RemoteManagementPorts/TcpManagementPorts: aws:listening-tcp-ports is 2323;" in done.stdout
    assert done.stdout.count("Detect: ") == 1


def test_alarm_that_the_function_publishes_is_shown_as_a_sentence(make_zip: Callable[..., Path]) -> None:
    event = {
        "violationEventTime": 1,
        "thingName": "local-core",
        "behavior": {
            "name": "B",
            "metric": "m",
            "criteria": {"comparisonOperator": "less-than", "value": {"count": 1}},
        },
        "violationEventType": "in-alarm",
        "securityProfileName": "P",
        "metricValue": {"count": 2},
    }
    source = REPORTER.replace(
        "    greengrasssdk.client",
        f'    greengrasssdk.client("iot-data").publish(topic="device-defender/local-core/violations",'
        f" payload=json.dumps({event}))\n    greengrasssdk.client",
    )
    done = run_command(make_zip({"function.py": source}), "--once")
    assert done.returncode == 0, done.stdout
    assert "device-defender/local-core/violations: alarm P/B: m is 2; normal is less-than 1\n" in done.stdout
    assert "bytes: ACCEPTED" in done.stdout  # an alarm is not the report that --once waits for


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "No such file or directory"),
        ("no", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "a security profile is a JSON object"),
        ('{"securityProfileName": "P", "behaviors": [{"name": "B"}]}', "behaviors[0] B: no metric"),
    ],
)
def test_profile_that_cannot_be_used_is_one_line(
    make_zip: Callable[..., Path], tmp_path: Path, content: Optional[str], fault: str
) -> None:
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_text(content)
    assert failure(make_zip({"function.py": REPORTER}), "--once", "--profile", path) == (
        f"run_local.py: {path}: {fault}\n"
    )
