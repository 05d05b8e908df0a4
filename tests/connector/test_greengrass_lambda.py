"""The Greengrass transport: policy, error sentences, topics of messages, and whom its requests go to."""

from __future__ import annotations

import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List, Optional, Tuple
from urllib.error import HTTPError, URLError

import pytest
from support.loop import TOPIC

from connector.errors import NoSubscriptionError, PublishError
from connector.transports import ipc_guard
from connector.transports.greengrass_lambda import GreengrassLambda

NO_SUBSCRIPTION = (
    "Failed to invoke function due to HTTP Error 400: Bad Request: No subscription exists for the source arn:x"
)


class Client:
    """Stands for `greengrasssdk.client("iot-data")`."""

    def __init__(self, error: Optional[BaseException] = None) -> None:
        self.error = error
        self.calls: List[Any] = []

    def publish(self, **arguments: Any) -> None:
        self.calls.append(arguments)
        if self.error is not None:
            raise self.error


def test_message_is_published_with_the_policy_that_reports_a_full_queue() -> None:
    client = Client()
    GreengrassLambda(client).send(TOPIC, b"{}")
    assert client.calls == [{"topic": TOPIC, "payload": b"{}", "queueFullPolicy": "AllOrException"}]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            ConnectionRefusedError(111, "Connection refused"),
            PublishError,
            "the core did not accept the message: [Errno 111] Connection refused",
        ),
        (Exception("HTTP Error 503: no"), PublishError, "the core did not accept the message: HTTP Error 503: no"),
        (
            Exception("HTTP Error 400: Bad Request: no topic"),
            PublishError,
            "the core did not accept the message: HTTP Error 400: Bad Request: no topic",
        ),
        (ValueError(), PublishError, "the core did not accept the message: ValueError"),
        # All that the public runtime passes on of a V2 core's answer.
        (Exception("HTTP Error 400: Bad Request"), NoSubscriptionError, "no subscription carries the message: add one"),
        (
            Exception("HTTP Error 503: no subscription service"),
            PublishError,
            "the core did not accept the message: HTTP Error 503",
        ),
        (
            Exception(NO_SUBSCRIPTION),
            NoSubscriptionError,
            "no subscription carries the message: add one with this function (V2: component:<its component>) as "
            "source, " + TOPIC + " as subject and IoT Core (V2: cloud) as target; the core answered: "
            "" + NO_SUBSCRIPTION,
        ),
    ],
)
def test_error_of_the_sdk_becomes_a_sentence_that_says_what_to_do(error: BaseException, kind: type, text: str) -> None:
    with pytest.raises(PublishError) as raised:
        GreengrassLambda(Client(error)).send(TOPIC, b"{}")
    assert type(raised.value) is kind
    assert str(raised.value).startswith(text)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("context", "topic"),
    [
        (SimpleNamespace(client_context=SimpleNamespace(custom={"subject": "a/b"})), "a/b"),
        (SimpleNamespace(client_context=SimpleNamespace(custom={"subject": 7})), None),
        (SimpleNamespace(client_context=SimpleNamespace(custom=None)), None),
        (SimpleNamespace(client_context=None), None),
        (None, None),
    ],
)
def test_topic_of_a_message_is_its_subject(context: Any, topic: Optional[str]) -> None:
    transport = GreengrassLambda(Client())
    messages: List[Tuple[Any, Optional[str]]] = []
    transport.on_message = lambda message, on: messages.append((message, on))
    transport.receive({"reportId": 7}, context)
    assert messages == [({"reportId": 7}, topic)]


# --- requests of the core's IPC client, which uses urllib.request


class Server(HTTPServer):
    """Answers every request as the test says; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.answer: Callable[[_Request], None] = lambda request: request.send_response(200)
        self.requests: List[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class _Request(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.command)
        self.server.answer(self)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[Tuple[Server, Server]]:
    both = Server(), Server()
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in both]
    for thread in threads:
        thread.start()
    yield both
    for server, thread in zip(both, threads):
        server.shutdown()
        thread.join(60)
        server.server_close()


@pytest.fixture
def _opener(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the process' opener after the test, and start without one."""
    monkeypatch.setattr(urllib.request, "_opener", None)


def redirect(to: str, code: int) -> Callable[[_Request], None]:
    def answer(request: _Request) -> None:
        request.send_response(code)
        request.send_header("Location", to)

    return answer


@pytest.mark.usefixtures("_opener")
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 304, 300])
def test_redirect_is_an_error_and_no_request_to_another_port(servers: Tuple[Server, Server], code: int) -> None:
    core, other = servers
    core.answer = redirect(other.url, code)
    ipc_guard.install()
    with pytest.raises(HTTPError), ipc_guard.guarded():
        urllib.request.urlopen(core.url, b"report")
    assert (core.requests, other.requests) == (["POST"], [])


@pytest.mark.usefixtures("_opener")
def test_proxy_of_the_environment_is_not_used(servers: Tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    core, proxy = servers
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    ipc_guard.install()
    with ipc_guard.guarded():
        urllib.request.urlopen(core.url, b"report").close()
    assert (core.requests, proxy.requests) == (["POST"], [])


@pytest.mark.usefixtures("_opener")
def test_call_without_an_answer_ends_with_an_error(servers: Tuple[Server, Server]) -> None:
    core, _ = servers
    answer = threading.Event()

    def hang(request: _Request) -> None:
        answer.wait(60)

    core.answer = hang
    ipc_guard.install(seconds=0.1)
    try:
        with pytest.raises(OSError, match="timed out"), ipc_guard.guarded():
            urllib.request.urlopen(core.url, b"report")
    finally:
        answer.set()


@pytest.mark.usefixtures("_opener")
def test_other_requests_of_the_process_are_left_alone(servers: Tuple[Server, Server]) -> None:
    """The runtime waits for work by the same function, for days, and on a thread of its own."""
    core, other = servers
    core.answer = redirect(other.url, 302)
    ipc_guard.install(seconds=0.0)
    with urllib.request.urlopen(core.url, timeout=60) as answer:
        assert answer.status == 200
    assert (core.requests, other.requests) == (["GET"], ["GET"])

    # HTTPS, too: this server answers without it, which is an error of TLS and not of an unknown scheme.
    for _ in range(2):
        with pytest.raises(URLError, match="(?i)ssl|tls"):
            urllib.request.urlopen(core.url.replace("http:", "https:"), timeout=60)

    before: List[Any] = []

    class Runtime(urllib.request.OpenerDirector):
        def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
            before.append(fullurl)

    urllib.request.install_opener(Runtime())
    ipc_guard.install()
    urllib.request.urlopen("http://localhost:1/")
    assert before == ["http://localhost:1/"]


@pytest.mark.usefixtures("_opener")
def test_certificates_are_not_loaded_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take 1 MB from Python 3.12 on, and the core is asked over HTTP."""
    monkeypatch.setattr(ssl.SSLContext, "set_default_verify_paths", pytest.fail)
    ipc_guard.install()
