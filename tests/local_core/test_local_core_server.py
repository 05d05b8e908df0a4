"""The local core's port, by plain HTTP requests: the table in the facts on a core's wire protocol, row by row."""

import base64
import http.client
import json
import socket
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest
from local_core.faults import Faults
from local_core.server import Api, HttpError, Invocations, Port, Publish

ARN = "arn:aws:lambda:us-east-1:123456789012:function:a-function:3"
ROUTER = "arn:aws:lambda:::function:GGRouter"
PATH = "/2016-11-01/functions/"
SECONDS = 60.0  # for what takes far less


class Answer(NamedTuple):
    status: int
    headers: Dict[str, str]
    body: bytes


class Core:
    """A port with nothing behind it but lists."""

    def __init__(self) -> None:
        self.published: List[Publish] = []
        self.initialized: List[str] = []
        self.restarted = threading.Event()
        self.invocations = Invocations()
        self.faults = Faults(lambda seconds: self.port.refuse(seconds), lambda: self.port.reopen())
        self.port = Port(
            Api("token", ARN, self.invocations, self.faults, self.publish, self.initialized.append, self.restart)
        )

    def publish(self, publish: Publish) -> None:
        if publish.subject == "nobody/listens":
            raise HttpError(400, "No subscription")
        self.published.append(publish)

    def restart(self) -> None:
        self.port.close()
        self.port.open()
        self.restarted.set()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port.number, timeout=SECONDS)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Make one request with the core's token; a header's underscores are hyphens."""
        named = {"Authorization": "token", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = self.connect()
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def request_publish(self, subject: str = "a/b", policy: Optional[str] = "", **custom: Any) -> Answer:
        fields = {"source": ARN, "subject": subject, "queueFullPolicy": policy, **custom}
        return self.request("POST", PATH + ROUTER, b"payload", X_Amz_Client_Context=context(fields))


def context(custom: Any) -> str:
    return base64.b64encode(json.dumps({"custom": custom}).encode()).decode()


@pytest.fixture
def core() -> Iterator[Core]:
    core = Core()
    core.port.open()
    yield core
    core.port.end()


def in_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """Start a call; return what waits for its result, or its exception."""
    outcome: List[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(SECONDS)
        return outcome[0]

    return result


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", PATH + ROUTER), ("GET", PATH + ARN + "/work"), ("PUT", PATH + ARN + "/initialized"), ("GET", "/")],
)
def test_request_without_the_token_is_refused(core: Core, method: str, path: str) -> None:
    assert core.request(method, path, Authorization="guess").status == 403
    assert (core.published, core.initialized) == ([], [])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/2016-11-02/functions/" + ARN + "/work"),
        ("GET", PATH + ROUTER),
        ("GET", PATH + ARN + "2/work"),
        ("POST", PATH + ARN + "/other"),
        ("POST", PATH + "arn:aws:lambda:::function:GGShadowService"),
        ("PUT", PATH + ARN),
    ],
)
def test_unknown_path_is_not_found(core: Core, method: str, path: str) -> None:
    assert core.request(method, path).status == 404


def test_publish_is_handed_over_with_all_fields(core: Core) -> None:
    answer = core.request_publish(policy="AllOrError")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["X-Amz-InvocationId"]
    assert core.published == [Publish(ARN, "a/b", "AllOrError", b"payload")]


def test_refused_publish_is_an_http_error_with_the_reason(core: Core) -> None:
    answer = core.request_publish("nobody/listens")
    assert (answer.status, answer.body) == (400, b"No subscription")


@pytest.mark.parametrize("header", ["", "%%%", "e30=", context([]), context({"source": ARN}), "bnVsbA=="])
def test_publish_without_source_and_subject_is_refused(core: Core, header: str) -> None:
    answer = core.request("POST", PATH + ROUTER, b"x", X_Amz_Client_Context=header)
    assert (answer.status, core.published) == (400, [])
    assert b"X-Amz-Client-Context" in answer.body


def test_body_without_a_valid_length_is_refused(core: Core) -> None:
    assert core.request("POST", PATH + ROUTER, b"", Content_Length="9" * 12).status == 413
    assert core.request("POST", PATH + ROUTER, b"", Content_Length="many").status == 413


def test_work_waits_for_the_function_and_the_result_for_the_caller(core: Core) -> None:
    waiting = in_thread(lambda: core.request("GET", PATH + ARN + "/work"))
    posted = core.request("POST", PATH + ARN, b"event", X_Amz_Client_Context=context({"subject": "a"}))
    work = waiting()
    assert (work.status, work.body) == (200, b"event")
    assert work.headers["X-Amz-InvocationId"] == posted.headers["X-Amz-InvocationId"]
    assert work.headers["X-Amz-Client-Context"] == context({"subject": "a"})

    invocation = posted.headers["X-Amz-InvocationId"]
    result = in_thread(lambda: core.request("GET", PATH + ARN, X_Amz_InvocationId=invocation))
    assert core.request("POST", PATH + ARN + "/work", b"result", X_Amz_InvocationId=invocation).status == 200
    assert (result().status, result().body) == (200, b"result")
    assert "X-Amz-Function-Error" not in result().headers
    assert core.request("GET", PATH + ARN, X_Amz_InvocationId=invocation).status == 404, "a result is given once"


def test_error_of_the_handler_reaches_the_caller(core: Core) -> None:
    invocation = core.request("POST", PATH + ARN, b"").headers["X-Amz-InvocationId"]
    assert core.request("GET", PATH + ARN + "/work").body == b""
    body = b'{"errorMessage": "no"}'
    headers = {"X_Amz_InvocationId": invocation, "X_Amz_Function_Error": "Handled"}
    core.request("POST", PATH + ARN + "/work", body, **headers)
    answer = core.request("GET", PATH + ARN, X_Amz_InvocationId=invocation)
    assert (answer.body, answer.headers["X-Amz-Function-Error"]) == (body, "Handled")


def test_result_of_an_event_is_not_kept(core: Core) -> None:
    posted = core.request("POST", PATH + ARN, b"", X_Amz_Invocation_Type="Event")
    invocation = posted.headers["X-Amz-InvocationId"]
    core.request("POST", PATH + ARN + "/work", b"result", X_Amz_InvocationId=invocation)
    assert core.request("GET", PATH + ARN, X_Amz_InvocationId=invocation).status == 404


def test_disconnected_client_gets_no_work(core: Core) -> None:
    gone = core.connect()
    gone.request("GET", PATH + ARN + "/work", headers={"Authorization": "token"})
    gone.close()
    core.invocations.put(b"event", "")
    assert core.request("GET", PATH + ARN + "/work").body == b"event"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"Success": true, "Response": ""}', ""),
        (b'{"Success": false, "Response": "ImportError"}', "ImportError"),
        (b'{"Success": false, "Response": ""}', "no reason given"),
    ],
)
def test_outcome_of_the_import_is_accepted(core: Core, body: bytes, error: str) -> None:
    assert core.request("PUT", PATH + ARN + "/initialized", body).status == 200
    assert core.initialized == [error]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff"])
def test_malformed_outcome_is_refused(core: Core, body: bytes) -> None:
    assert core.request("PUT", PATH + ARN + "/initialized", body).status == 400
    assert core.initialized == []


def test_closed_port_refuses_and_opens_with_the_same_number(core: Core) -> None:
    waiting = in_thread(lambda: core.request("GET", PATH + ARN + "/work"))
    number = core.port.number
    core.port.close()
    assert isinstance(waiting(), (ConnectionError, http.client.HTTPException))
    with pytest.raises(ConnectionRefusedError):
        core.request_publish()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", number))
    core.port.open()
    assert core.request_publish().status == 200


@pytest.mark.parametrize(
    ("fault", "policy", "outcome"),
    [
        ("status:503", "", (503, b"A fault that was asked for")),
        ("full", "AllOrError", (429, b"The queue is full")),
        ("full", "", (200, b"")),
        ("reset", "", ConnectionResetError),
        ("cut", "", http.client.BadStatusLine),
        ("restart", "", ConnectionError),
    ],
)
def test_fault_fails_one_publish_which_is_not_delivered(core: Core, fault: str, policy: str, outcome: Any) -> None:
    core.faults.add(fault)
    if isinstance(outcome, tuple):
        answer = core.request_publish(policy=policy)
        assert (answer.status, answer.body) == outcome
    else:
        with pytest.raises(outcome):
            core.request_publish(policy=policy)
    assert core.faults.wait(0)
    assert core.published == []
    assert fault != "restart" or core.restarted.wait(SECONDS)
    assert core.request_publish().status == 200
    assert len(core.published) == 1


def test_lost_publish_is_delivered_without_an_answer(core: Core) -> None:
    core.faults.add("lost")
    with pytest.raises(ConnectionResetError):
        core.request_publish()
    assert len(core.published) == 1


def test_faults_are_used_in_order_and_number(core: Core) -> None:
    core.faults.add("status:500", 2)
    core.faults.add("status:418")
    assert [core.request_publish().status for _ in range(4)] == [500, 500, 418, 200]


def test_hanging_publish_is_dropped_when_released(core: Core) -> None:
    core.faults.add("hang")
    hanging = in_thread(core.request_publish)
    assert core.faults.wait(SECONDS)
    assert core.request_publish().status == 200, "others are served meanwhile"
    core.faults.release()
    assert isinstance(hanging(), ConnectionResetError)
    assert len(core.published) == 1


def test_release_ends_a_hang_whose_wait_has_not_begun(core: Core) -> None:
    """Whoever has waited for the fault to be taken may release it before the publish comes to its wait."""
    core.faults.add("hang")
    fault, releases = core.faults.take()
    core.faults.release()
    assert fault == "hang"
    in_thread(lambda: core.faults.hang(releases, lambda: True))()


def test_slow_publish_is_delivered(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_core.server.SLOW_SECONDS", 0.01)
    core.faults.add("slow")
    assert core.request_publish().status == 200
    assert len(core.published) == 1


def test_refusing_port_keeps_its_connections_and_opens_when_released(core: Core) -> None:
    connection = core.connect()
    connection.request("GET", "/")
    connection.getresponse().read()  # so the core has taken the connection
    connection.request("GET", PATH + ARN + "/work", headers={"Authorization": "token"})
    core.faults.add("refuse", 3600)
    with pytest.raises(ConnectionRefusedError):
        core.request_publish()
    core.port.open()
    with pytest.raises(ConnectionRefusedError):
        core.request_publish()
    core.faults.release()
    assert core.request_publish().status == 200
    core.invocations.put(b"event", "")
    assert connection.getresponse().read() == b"event"
    connection.close()


def test_refusing_port_opens_after_its_time(core: Core) -> None:
    core.faults.add("refuse", 0)
    end = time.monotonic() + SECONDS
    while True:
        try:
            assert core.request_publish().status == 200
            return
        except ConnectionRefusedError:
            assert time.monotonic() < end, "the port stays closed"
            time.sleep(0.001)


@pytest.mark.parametrize("kind", ["status:200", "redirect:65536", "status", "explode", "", "mqtt-lost", "hang:2"])
def test_unknown_fault_is_refused(core: Core, kind: str) -> None:
    with pytest.raises(
        Exception,
        match=f"^('{kind}' is not {kind[:6]}|there is no fault '{kind}'; there are status, |'{kind}' has a number)",
    ):
        core.faults.add(kind)
