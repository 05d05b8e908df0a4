"""Settings of `python -m connector run`: flags before environment variables before the file; what is wrong in words."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Sequence

import pytest

from connector import direct, direct_settings
from connector.errors import ConfigError

FLAGS = ("--endpoint=broker.example", "--cert=a.crt", "--key=a.key", "--thing-name=gateway-1")


def read(
    *arguments: str, environ: Mapping[str, str] = {}, needed: Sequence[str] = FLAGS, dry_run: bool = False
) -> direct_settings.Settings:
    options = direct._parser("run").parse_args([*needed, *arguments])
    return direct_settings.read(options, environ, dry_run)


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "connector.ini"
    path.write_text("[connector]\n" + text)
    return str(path)


def test_defaults() -> None:
    settings = read()
    assert settings.connection["port"] == "8883"
    assert settings.connection["client-id"] == "gateway-1-device-defender"
    assert settings.default_client_id
    assert settings.proxy is None
    assert settings.parameters == {"ProcDestinationPath": "/proc", "AWS_IOT_THING_NAME": "gateway-1"}


def test_flag_wins_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    file = write(tmp_path, "SampleIntervalSeconds = 400\nMaxListSize = 40\nMetricNames = short\nthing-name = of-file\n")
    settings = read(
        f"--config={file}",
        "--SampleIntervalSeconds=600",
        environ={"SampleIntervalSeconds": "500", "MaxListSize": "41", "AWS_IOT_THING_NAME": "of-environment"},
        needed=FLAGS[:3],
    )
    assert settings.parameters["SampleIntervalSeconds"] == "600"
    assert settings.parameters["MaxListSize"] == "41"
    assert settings.parameters["MetricNames"] == "short"
    assert settings.parameters["AWS_IOT_THING_NAME"] == "of-environment"


def test_file_may_hold_everything(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "endpoint = broker.example\ncert = a.crt\nkey = a.key\nthing-name = g\nport = 443\nclient-id = other\n"
        "proxy = http://proxy.example:3128\nca-file = ca.pem\nmax-list-size = 7\nMetricsTopic = {thing}/100%\n",
    )
    settings = read(f"--config={file}", needed=())
    assert settings.connection["ca-file"] == "ca.pem"
    assert settings.connection["client-id"] == "other"
    assert not settings.default_client_id
    assert settings.proxy == ("proxy.example", 3128)
    assert settings.parameters["MaxListSize"] == "7"
    assert settings.parameters["MetricsTopic"] == "{thing}/100%"


def test_alias_in_the_environment_counts_and_the_name_wins() -> None:
    environ = {"SAMPLE_INTERVAL_SECONDS": "400"}
    assert read(environ=environ).parameters["SampleIntervalSeconds"] == "400"
    both = {**environ, "SampleIntervalSeconds": "500"}
    assert read(environ=both).parameters["SampleIntervalSeconds"] == "500"


def test_an_invalid_proc_in_the_environment_is_replaced_by_the_devices_own() -> None:
    for name in ("ProcDestinationPath", "PROCFS_PATH"):
        settings = read(environ={name: "proc"})
        assert settings.parameters["ProcDestinationPath"] == "/proc"
        (warning,) = settings.warnings
        assert warning.startswith("ProcDestinationPath is 'proc', which is not valid"), warning
        assert warning.endswith("'/proc' is used instead")
    assert read(environ={"ProcDestinationPath": "/host_proc"}).warnings == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SampleIntervalSeconds = 10\n", "SampleIntervalSeconds: '10' is not valid: whole seconds, 300 or more"),
        ("SampleInterval = 400\n", "SampleInterval: no parameter has this name; the closest is SampleIntervalSeconds"),
        ("endpoint\n", "is not an INI file: "),
        ("port = 1\nport = 2\n", "is not an INI file: "),
    ],
)
def test_wrong_line_of_a_file_is_named_with_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(f"--config={file}")
    assert str(caught.value).startswith(file)
    assert words in str(caught.value)


def test_file_without_the_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.ini"
    path.write_text("[other]\nport = 1\n")
    with pytest.raises(ConfigError, match=r"other.ini has no section \[connector\]"):
        read(f"--config={path}")


def test_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match="/nowhere.ini can't be read: No such file or directory"):
        read("--config=/nowhere.ini")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (FLAGS[:1], "--cert, --key, --thing-name .or AWS_IOT_THING_NAME. are missing"),
        (FLAGS[:3], "--thing-name .or AWS_IOT_THING_NAME. is missing"),
        ((*FLAGS, "--thing-name=a/b"), "thing-name 'a/b' is not 1 to 128 of a-zA-Z0-9:_-"),
        ((*FLAGS, "--endpoint=https://broker.example"), "endpoint 'https://broker.example' is not a host name"),
        ((*FLAGS, "--port=0"), "port '0' is not a number from 1 to 65535"),
        ((*FLAGS, "--port=65536"), "port '65536' is not a number from 1 to 65535"),
        ((*FLAGS, f"--client-id={'x' * 129}"), "client-id is longer than 128 bytes"),
        ((*FLAGS, "--proxy=socks://host:1"), "proxy is not http://host:port"),
        ((*FLAGS, "--proxy=http://host:65536"), "proxy is not http://host:port"),
    ],
)
def test_wrong_setting_is_named(arguments: Sequence[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(needed=arguments)


def test_password_of_a_proxy_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError) as caught:
        read("--proxy=http://user:secret@host:3128")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "proxy"), [("host:3128", ("host", 3128)), ("http://[::1]:3128/", ("::1", 3128)), ("", None)]
)
def test_proxy(url: str, proxy: object) -> None:
    assert read(f"--proxy={url}").proxy == proxy


def test_default_client_id_of_the_longest_thing_name_fits() -> None:
    client_id = read(f"--thing-name={'x' * 128}").connection["client-id"]
    assert len(client_id) == 128
    assert client_id.endswith("-device-defender")


def test_dry_run_needs_no_connection() -> None:
    assert read(needed=(), dry_run=True).parameters["AWS_IOT_THING_NAME"] == "dry-run"


@pytest.mark.parametrize("thing", ["a b", "a/b", "x" * 129, "\u00e9"])
def test_dry_run_refuses_a_thing_name_that_aws_iot_refuses(thing: str) -> None:
    for arguments, environ in (([f"--thing-name={thing}"], {}), ([], {"AWS_IOT_THING_NAME": thing})):
        with pytest.raises(ConfigError, match="^thing-name '.*' is not 1 to 128 of a-zA-Z0-9:_-$"):
            read(*arguments, environ=environ, needed=(), dry_run=True)
