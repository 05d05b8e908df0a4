"""The component's life without a nucleus: when it connects, reads its configuration, and gives up."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional
from unittest import mock

import pytest
from support.loop import START, FakeClock, Records

from connector import agent, component, transports
from connector.component import MAX_CONNECT_SECONDS, Component
from connector.component_starts import MOST_SECONDS
from connector.errors import ConfigError, ConnectorError
from connector.memory import Memory


class Connection:
    """A nucleus that answers what the test says. configuration, parameters: a value, or None for no answer."""

    def __init__(self, configuration: Optional[Dict[str, Any]], parameters: Optional[Dict[str, Any]] = None) -> None:
        self.whole, self.single = configuration, parameters
        self.closed = False
        self.changed: Callable[[], None] = lambda: None

    def watch_configuration(self, on_change: Callable[[], None]) -> None:
        self.changed = on_change

    def configuration(self) -> Dict[str, Any]:
        if self.whole is None:
            raise ConnectorError("the configuration can't be read: no answer in time")
        return self.whole

    def parameter(self, name: str) -> Any:
        if self.single is None:
            raise ConnectorError("the configuration can't be read: no answer in time")
        return self.single.get(name)

    def close(self) -> None:
        self.closed = True


class Rig:
    """A component on a fake clock. connections: what each attempt to connect gives, the last one again and again.

    after: seconds from START until its process starts.
    """

    def __init__(self, directory: Path, *connections: Any, after: float = 0.0, **environ: Any) -> None:
        self.clock = FakeClock(START + after)
        self.records = Records()
        self.attempts: List[float] = []
        self.settings: List[Any] = []
        self.connections = list(connections)
        self.transport: Any = None  # without, the component ends where it would begin to report
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.component = Component(environ, str(directory), "", self.connect, self.make_transport, self.clock)

    def connect(self, on_lost: Callable[[str], None]) -> Any:
        self.attempts.append(self.clock.monotonic() - START)
        found = self.connections.pop(0) if len(self.connections) > 1 else self.connections[0]
        if isinstance(found, Exception):
            raise found
        self.on_lost = on_lost
        return found

    def make_transport(self, connection: Any, settings: Any) -> Any:
        self.settings.append(settings)
        if self.transport is None:
            raise ConfigError("as far as this test goes")
        return self.transport


@pytest.fixture
def make_rig(tmp_path: Path) -> Any:
    logger = logging.getLogger("connector")
    logger.setLevel(logging.INFO)

    def make(*connections: Any, **environ: Any) -> Rig:
        rig = Rig(tmp_path, *connections, **environ)
        logger.addHandler(rig.records)
        return rig

    return make


def settings_of(rig: Rig) -> Any:
    """Run the component until it would report; return its settings."""
    with pytest.raises(ConfigError, match="as far as"):
        rig.component.run()
    return rig.settings[0]


def test_a_nucleus_that_is_not_up_yet_is_waited_for(make_rig: Any) -> None:
    refused = ConnectorError("no connection to the socket: refused")
    rig = make_rig(refused, refused, refused, Connection({"MaxListSize": 7}))
    assert settings_of(rig).parameters["MaxListSize"] == "7"
    assert rig.attempts == [0, 1, 3, 7]


def test_a_nucleus_that_never_answers_ends_it_with_an_error_not_too_often(make_rig: Any, tmp_path: Path) -> None:
    rig = make_rig(ConnectorError("no connection to the socket: refused"))
    assert rig.component.run() == 1
    assert MAX_CONNECT_SECONDS < rig.attempts[-1] < 3 * MAX_CONNECT_SECONDS
    ends = [rig.clock.monotonic() - START]
    for _ in range(2):
        again = Rig(tmp_path, ConnectorError("no connection to the socket: refused"), after=ends[-1] + 1)
        assert again.component.run() == 1
        ends.append(again.clock.monotonic() - START)
    assert ends[1] < 2 * ends[0] + 10
    assert ends[2] - ends[1] >= MOST_SECONDS


def test_a_process_that_no_nucleus_has_started_ends_at_once(make_rig: Any) -> None:
    rig = make_rig(ConfigError("SVCUID not set"))
    with pytest.raises(ConfigError):
        rig.component.run()
    assert rig.attempts == [0]


def test_a_configuration_that_is_too_long_for_one_answer_is_read_one_by_one(make_rig: Any) -> None:
    settings = settings_of(make_rig(Connection(None, {"MetricNames": "short", "MaxPayloadBytes": 9000})))
    assert settings.parameters["MetricNames"] == "short"
    assert settings.max_payload_bytes == 9000


def test_without_any_answer_the_environment_has_to_do(make_rig: Any) -> None:
    rig = make_rig(Connection(None), MetricNames="short")
    assert settings_of(rig).parameters["MetricNames"] == "short"
    (line,) = [line for line in rig.records.lines if "the environment's parameters are used" in line]
    assert line.startswith("WARNING ")
    assert rig.component._unread


class Transport:
    """Of which nothing is sent through. closed_on: as of the real one."""

    closed_on = 0


class Loop:
    """What agent.start returns, and of which nothing runs."""

    def __init__(self) -> None:
        self.loop = self.clock = self.reporter = self
        self.awaits_answer = False
        self.memory = Memory()

    def stop(self) -> None:
        pass

    def join(self) -> None:
        pass


def test_a_configuration_that_can_not_be_read_any_more_leaves_the_settings_as_they_are(
    make_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.agent.start", lambda *arguments, **more: Loop())
    nucleus = Connection({"MetricNames": "short"})
    rig = make_rig(nucleus)
    rig.transport = Transport()

    def fail() -> None:
        nucleus.whole = None
        nucleus.changed()

    def answer_again() -> None:
        nucleus.whole = {"MetricNames": "short", "MaxListSize": 7}

    rig.clock.at(START + 1000, fail)
    rig.clock.at(START + 3000, answer_again)
    rig.clock.at(START + 5000, rig.clock.stop)
    assert rig.component.run() == 0
    used = [each.parameters for each in rig.settings]
    assert [(each["MetricNames"], each.get("MaxListSize")) for each in used] == [("short", None), ("short", "7")]
    warnings = [line for line in rig.records.lines if line.startswith("WARNING ")]
    assert len(warnings) == 1
    assert warnings[0].endswith("what was read last is used, and it is asked for again every 5 min")
    assert len([line for line in rig.records.lines if line.startswith("INFO configuration: recovered after ")]) == 1


def test_a_message_that_was_too_long_for_the_nucleus_is_the_last_of_its_length(
    make_rig: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A report that is made anew, as long as the one before, would end each start of a device for ever."""
    monkeypatch.setattr("connector.agent.start", lambda *arguments, **more: Loop())
    nucleus = Connection({"MaxPayloadBytes": 131072})
    rig = make_rig(nucleus, AWS_IOT_THING_NAME="gateway-7", ProcDestinationPath="/nowhere")
    rig.transport = Transport()

    def close() -> None:
        rig.transport.closed_on = 9000
        rig.on_lost("closed")

    rig.clock.at(START + 50, close)
    assert rig.component.run() == 1
    assert rig.settings[0].max_payload_bytes == 131072
    assert [line for line in rig.records.lines if "closed, on a message of 9000 bytes, which only the Java" in line]
    again = Rig(tmp_path, nucleus, after=100, AWS_IOT_THING_NAME="gateway-7", ProcDestinationPath="/nowhere")
    assert settings_of(again).max_payload_bytes == 7000


def test_a_stop_while_it_waits_for_the_nucleus_ends_it_without_an_error(make_rig: Any) -> None:
    rig = make_rig(ConnectorError("no connection to the socket: refused"))
    rig.clock.at(START + 5, rig.clock.stop)
    assert rig.component.run() == 0


def interrupt(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_stops_the_loop_so_that_it_saves_its_state(make_rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection({})
    rig = make_rig(connection)
    running = mock.Mock()
    monkeypatch.setattr(rig.component, "_make_transport", mock.Mock())
    monkeypatch.setattr(agent, "start", lambda *arguments, **keywords: running)
    rig.clock.at(START + 5, interrupt)
    with pytest.raises(KeyboardInterrupt):
        rig.component.run()
    running.clock.stop.assert_called_once_with()
    running.loop.join.assert_called_once_with()
    assert connection.closed


def test_ctrl_c_ends_the_command_with_130_and_no_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("awsiot")
    monkeypatch.setattr(Component, "run", interrupt)
    assert component.main([], {}, "connector component") == 130
    assert capsys.readouterr() == ("", "")


def test_without_awsiotsdk_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "awsiot", None)
    for name in ("greengrass_ipc", "greengrass_ipc_connection"):
        monkeypatch.delitem(sys.modules, f"connector.transports.{name}", raising=False)
        monkeypatch.delattr(transports, name, raising=False)
    assert component.main([], {}, "connector component") == 2
    assert "in the connector's repository, pip install '.[ipc]'" in capsys.readouterr().err


def test_by_hand_the_command_says_that_a_nucleus_starts_it(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("awsiot")
    assert component.main([], {"AWS_IOT_THING_NAME": "gateway-7"}, "connector component") == 2
    assert "a Greengrass nucleus sets them for each component that it runs" in capsys.readouterr().err
