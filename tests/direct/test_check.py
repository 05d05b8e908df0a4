"""`run --check` says in words what is wrong, for every fault on the way to the broker, and sends no report."""

from __future__ import annotations

import resource
import shutil
import socket
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from direct.conftest import Certificates
from support.broker import MAX_WAIT_SECONDS, Broker
from support.direct import DEVICE, TOPIC, Observer
from support.http_proxy import HttpProxy
from support.pki import Authority, Pair
from support.ports import free_port
from support.user import ordinary_user, public_directory

from connector import direct, publisher
from connector.transports import mqtt_connection

PROG = "device-defender-connector run"


class Check:
    """Runs --check; what it printed is in `out` and `error`."""

    def __init__(self, certificates: Certificates, capsys: pytest.CaptureFixture[str]) -> None:
        self._certificates = certificates
        self._capsys = capsys
        self.out = self.error = ""

    def __call__(self, port: int, device: Any = None, **more: str) -> int:
        device = device or self._certificates.device
        options = {
            "endpoint": "localhost",
            "thing-name": DEVICE,
            "port": str(port),
            "cert": str(device.cert),
            "key": str(device.key),
            "ca-file": str(self._certificates.authority.file),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        code = direct.main([*arguments, "--check"], {}, PROG)
        self.out, self.error = self._capsys.readouterr()
        return code


@pytest.fixture
def check(certificates: Certificates, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(certificates, capsys)


def failed(check: Check, *words: str) -> None:
    """Check that the last run printed one line, with these words."""
    assert check.error.startswith(f"{PROG}: ")
    assert check.error.count("\n") == 1
    for word in words:
        assert word in check.error
    assert check.out == ""


def test_right_settings_are_confirmed_and_no_report_is_sent(check: Check, broker: Broker, observer: Observer) -> None:
    assert check(broker.port) == 0
    assert check.out == f"localhost:{broker.port} accepted an empty document on {TOPIC}: reports can be sent\n"
    assert check.error == ""
    observer.wait_for(1)
    assert observer.messages == [(TOPIC, b"{}")]


def test_unknown_name(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any) -> None:  # as a resolver answers; one without a network may take minutes
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert check(1, endpoint="nowhere.invalid") == 1
    failed(check, "not connected to nowhere.invalid:1: the name can't be resolved: Name or service not known")


def test_closed_port(check: Check) -> None:
    assert check(free_port()) == 1
    failed(check, "Connection refused")


def test_port_where_nothing_speaks_tls(check: Check) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        listener.settimeout(MAX_WAIT_SECONDS)

        def answer() -> None:
            connection = listener.accept()[0]
            connection.sendall(b"SSH-2.0-something\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        assert check(port) == 1
    failed(check, "TLS failed: WRONG_VERSION_NUMBER")


def test_wrong_authority(check: Check, broker: Broker, tmp_path: Path) -> None:
    assert check(broker.port, ca_file=str(Authority(tmp_path, "other").file)) == 1
    failed(check, "the broker's certificate was not accepted: ", "is its CA in --ca-file")


def test_authority_of_the_system_is_the_default(check: Check, broker: Broker) -> None:
    assert check(broker.port, ca_file="") == 1
    failed(check, "the broker's certificate was not accepted: ", "ca-certificates")


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"hosts": ["elsewhere.example"]}, "ostname mismatch"),
        ({"hosts": ["localhost"], "expired": True}, "certificate has expired"),
    ],
)
def test_wrong_certificate_of_the_broker(
    check: Check, make_broker: Callable[..., Broker], certificates: Certificates, server: Any, words: str
) -> None:
    pair = certificates.authority.issue("wrong-broker", **server)
    assert check(make_broker(server=pair).port) == 1
    failed(check, "the broker's certificate was not accepted: ", words)


def test_expired_certificate_of_the_device(check: Check, broker: Broker, certificates: Certificates) -> None:
    assert check(broker.port, certificates.authority.issue("late", expired=True)) == 1
    failed(check, "the broker did not accept this device's certificate: certificate expired")


def test_certificate_of_an_authority_that_the_broker_does_not_know(
    check: Check, broker: Broker, tmp_path: Path
) -> None:
    assert check(broker.port, Authority(tmp_path, "other").issue(DEVICE)) == 1
    failed(check, "the broker did not accept this device's certificate: unknown ca")


def test_key_of_another_certificate(check: Check, broker: Broker, certificates: Certificates) -> None:
    device = certificates.device._replace(key=certificates.observer.key)
    assert check(broker.port, device) == 1
    failed(check, f"the key {device.key} does not belong to the certificate {device.cert}")


def test_encrypted_key(check: Check, broker: Broker, certificates: Certificates) -> None:
    device = certificates.authority.issue("locked", password=b"secret")
    assert check(broker.port, device) == 1
    failed(check, f"the key {device.key} is encrypted")


@pytest.mark.parametrize("which", ["cert", "key", "ca_file"])
def test_missing_file(check: Check, broker: Broker, certificates: Certificates, which: str) -> None:
    more = {"ca_file": "/nowhere.pem"} if which == "ca_file" else {}
    device = certificates.device if more else certificates.device._replace(**{which: Path("/nowhere.pem")})
    assert check(broker.port, device, **more) == 1
    failed(check, "/nowhere.pem can't be read: No such file or directory")


@pytest.mark.parametrize("which", ["cert", "key", "ca_file"])
def test_file_that_is_not_pem(
    check: Check, broker: Broker, certificates: Certificates, which: str, tmp_path: Path
) -> None:
    path = tmp_path / "text"
    path.write_text("hello\n")
    path.chmod(0o600)
    more = {"ca_file": str(path)} if which == "ca_file" else {}
    device = certificates.device if more else certificates.device._replace(**{which: path})
    assert check(broker.port, device, **more) == 1
    failed(check, str(path), "in PEM")


def test_key_that_may_not_be_read(check: Check, broker: Broker, certificates: Certificates) -> None:
    with public_directory() as directory:
        for path in (certificates.device.cert, certificates.authority.file):
            shutil.copy(str(path), str(directory / path.name))
            (directory / path.name).chmod(0o644)
        key = directory / "private.key"
        key.write_bytes(certificates.device.key.read_bytes())
        key.chmod(0o000)
        device = Pair(directory / certificates.device.cert.name, key)
        with ordinary_user():
            assert check(broker.port, device, ca_file=str(directory / certificates.authority.file.name)) == 1
        failed(check, f"{key} can't be read: Permission denied")


def test_key_that_others_may_read_is_a_warning(
    check: Check, broker: Broker, certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "private.key"
    key.write_bytes(certificates.device.key.read_bytes())
    key.chmod(0o640)
    assert check(broker.port, certificates.device._replace(key=key)) == 0
    assert f"the key {key} can be read by others than its owner: chmod 600 {key}" in caplog.messages


def test_refused_connect(check: Check, make_broker: Callable[..., Broker]) -> None:
    broker = make_broker(more="clientid_prefixes other-\n")
    assert check(broker.port) == 1
    failed(check, "refused CONNECT: ", "iot:Connect for the client ID device-device-defender")


def test_denied_publish(check: Check, make_broker: Callable[..., Broker]) -> None:
    broker = make_broker(acl=f"user {DEVICE}\ntopic read {TOPIC}/accepted")
    assert check(broker.port) == 1
    failed(check, f"refused the message on {TOPIC}: Not authorized", "iot:Publish on this topic")


def test_broker_that_answers_nothing(check: Check, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "MAX_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("connector.transports.tls.MAX_STEP_SECONDS", 0.3)
    broker.freeze()
    assert check(broker.port) == 1
    failed(check, "no answer in ")


def test_no_answer_to_the_document(check: Check, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(mqtt_connection.Connection, "_on_publish", lambda *_: None)
    assert check(broker.port) == 1
    failed(check, f"localhost:{broker.port} did not answer in 0 s")


@pytest.fixture
def proxies() -> Iterator[List[HttpProxy]]:
    made: List[HttpProxy] = []
    yield made
    for proxy in made:
        proxy.close()


def test_connection_through_an_http_proxy(check: Check, broker: Broker, proxies: List[HttpProxy]) -> None:
    proxies.append(HttpProxy(broker.port))
    assert check(broker.port, proxy=f"http://127.0.0.1:{proxies[0].port}") == 0
    assert proxies[0].requests == [f"CONNECT localhost:{broker.port} HTTP/1.1\r\nHost: localhost:{broker.port}\r\n\r\n"]


def test_proxy_that_refuses(check: Check, broker: Broker, proxies: List[HttpProxy]) -> None:
    proxies.append(HttpProxy(broker.port, "407 Proxy Authentication Required"))
    assert check(broker.port, proxy=f"127.0.0.1:{proxies[0].port}") == 1
    failed(
        check, f"the proxy refused to connect to localhost:{broker.port}: HTTP/1.1 407 Proxy Authentication Required"
    )


def test_proxy_that_is_not_there(check: Check, broker: Broker) -> None:
    port = free_port()
    assert check(broker.port, proxy=f"127.0.0.1:{port}") == 1
    failed(check, f"the proxy 127.0.0.1:{port} can't be reached: Connection refused")


def test_no_secret_is_printed(check: Check, broker: Broker, certificates: Certificates, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    assert check(broker.port) == 0
    secret = certificates.device.key.read_text().splitlines()[1]
    assert secret not in check.out + check.error + caplog.text


def test_core_files_are_off(check: Check) -> None:
    assert check(free_port()) == 1
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
