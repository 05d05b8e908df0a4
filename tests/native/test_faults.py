"""The component on a nucleus where things go wrong: a test for each row of the table of faults, with sums to the byte.

The loop, the transport, the client of awsiotsdk and the nucleus' wire are real; the clock is not.
"""

import math
from pathlib import Path
from typing import Callable, Iterator

import pytest
from support.ipc_loop import INTERVAL, IpcLoop
from support.loop import STEP, THING, times
from support.nucleus import QUICK, WatchedNucleus
from support.proc import table

from connector.errors import PublishError

Make = Callable[..., IpcLoop]
TOPIC = f"$aws/things/{THING}/defender/metrics/json"


@pytest.fixture
def make_loop(tmp_path: Path) -> Iterator[Make]:
    """Return what makes a loop that is connected to a nucleus of its own."""
    nuclei = []

    def make(kind: str = "lite", **settings: str) -> IpcLoop:
        nucleus = WatchedNucleus(nucleus=kind, thing=THING, interval=1, times=QUICK._replace(keep_alive=3600))
        nuclei.append(nucleus)
        nucleus.start()
        return IpcLoop(tmp_path, nucleus, **settings).connected()

    yield make
    for nucleus in nuclei:
        nucleus.stop()


def reports(loop: IpcLoop, count: int) -> IpcLoop:
    """Run until so many reports were due, and a minute longer."""
    loop.run((count - 1) * INTERVAL + 60)
    return loop


def in_steps(loop: IpcLoop) -> "list[int]":
    """Return how many times STEP each accepted report has."""
    parts = [report["metrics"].get("network_stats", {"bytes_in": 0})["bytes_in"] for report in loop.accepted]
    assert all(part % STEP.bytes_in == 0 for part in parts), parts
    return [part // STEP.bytes_in for part in parts]


@pytest.mark.parametrize("kind", ["lite", "java"])
def test_without_faults_each_byte_is_counted_once(make_loop: Make, kind: str) -> None:
    loop = reports(make_loop(kind), 5).ended()
    assert len(loop.accepted) == 5
    assert loop.counted == loop.passed == times(4)


def test_lost_mqtt_connection_delays_and_loses_nothing(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(1, loop.begin("mqtt-lost", math.inf))
    loop.at_report(3, loop.nucleus.faults.release)
    reports(loop, 6).ended()
    assert loop.counted == loop.passed
    assert loop.logged("publishing", "the nucleus did not take the message: ServiceError")
    assert loop.logged("publishing", "recovered")


def test_a_start_without_a_connection_subscribes_before_the_first_report_that_is_taken(make_loop: Make) -> None:
    loop = make_loop()
    loop.nucleus.faults.begin("mqtt-lost", math.inf)
    loop.at_report(1, loop.nucleus.faults.release)
    reports(loop, 5).ended()
    assert in_steps(loop)[1:] == [1, 1, 1]
    assert loop.counted == loop.passed


def test_what_comes_out_of_the_java_spool_is_counted_once_in_the_end(make_loop: Make) -> None:
    loop = make_loop("java")
    loop.at_report(1, loop.begin("mqtt-lost", math.inf))
    loop.at_report(4, loop.nucleus.faults.release)
    reports(loop, 13).ended()
    # Those in the spool carry each other's traffic, and all arrive. What was counted twice is taken off later ones.
    assert in_steps(loop) == [0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 1, 1]
    assert loop.counted == loop.passed


def test_restarted_mqtt_daemon_is_noticed_and_subscribed_to_anew(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(2, loop.begin("mqtt-restart"))
    reports(loop, 7).ended()
    assert loop.logged("Device Defender has not answered report", "subscribing to the answers anew")
    assert len(loop.accepted) == 7
    # The one report whose answer could not come is in the next as well: at least once.
    assert in_steps(loop) == [0, 1, 1, 2, 1, 1, 1]
    assert (loop.counted, loop.passed) == (times(7), times(6))


def test_hanging_mqtt_daemon_brings_a_failed_report_later_which_counts_once(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(2, loop.begin("mqtt-hang", math.inf))
    loop.at_report(3, loop.nucleus.faults.release)
    reports(loop, 40).ended()
    # Each attempt arrives when the daemon goes on, with the traffic of those before it, which is taken off again.
    steps = in_steps(loop)
    assert steps[:4] == [0, 1, 1, 2]
    assert steps[-1] == 1
    assert loop.counted == loop.passed


def test_hanging_ipc_daemon_does_not_stop_the_loop(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(2, loop.begin("ipc-hang", math.inf))
    loop.at_report(3, loop.nucleus.faults.release)
    reports(loop, 16).ended()
    assert loop.logged("publishing", "the nucleus did not answer in 30 s")
    assert loop.logged("publishing", "recovered")
    assert in_steps(loop)[-1] == 1
    assert loop.counted == loop.passed


def test_restarted_ipc_daemon_ends_the_component_and_the_next_start_goes_on(make_loop: Make) -> None:
    loop = make_loop()

    def restart() -> None:
        loop.nucleus.faults.begin("ipc-restart")
        assert loop.ipc.lost.wait(60)
        loop.clock.stop()  # as the component does then

    loop.at_report(2, restart)
    reports(loop, 5)
    loop.ended()
    reports(loop.connected(), 4).ended()
    assert loop.counted == loop.passed


def test_refused_by_the_broker_is_in_the_next_report(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(2, loop.begin("broker-refuse", 1))
    reports(loop, 6).ended()
    assert len(loop.accepted) == 5
    assert loop.counted == loop.passed == times(5)


def test_lost_in_a_silent_broker_is_in_the_next_report(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(2, loop.begin("broker-silent", math.inf))
    loop.at_report(4, loop.nucleus.faults.release)
    reports(loop, 7).ended()
    assert loop.counted == loop.passed


def test_account_without_answers_is_content_with_ok(make_loop: Make) -> None:
    loop = make_loop()
    loop.nucleus.faults.begin("unanswered", 1000)
    reports(loop, 8).ended()
    assert len(loop.accepted) == 8
    assert loop.logged("delivery of reports", "no answer of Device Defender came for the first 3 reports")
    # The second report is in the third as well, as nobody knew whether it had arrived: at least once.
    assert in_steps(loop) == [0, 1, 2, 1, 1, 1, 1, 1]
    assert (loop.counted, loop.passed) == (times(8), times(7))


def test_service_error_is_tried_again(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(2, loop.begin("error", 3))
    reports(loop, 6).ended()
    assert loop.counted == loop.passed
    assert len(loop.accepted) >= 6


def test_large_message_that_the_nucleus_drops_harms_nothing(make_loop: Make) -> None:
    loop = make_loop()
    loop.at_report(1, lambda: loop.nucleus.send(TOPIC + "/accepted", bytes(5001)))
    reports(loop, 4).ended()
    assert loop.counted == loop.passed == times(3)


def test_200_connections_and_ports_are_sent_smaller_with_exact_totals(make_loop: Make) -> None:
    loop = make_loop(MaxListSize="500")
    net = loop.host.directory / "1" / "net"
    remotes = [f"198.51.100.{number}:443" for number in range(1, 201)]
    established = [("192.0.2.1:40000", remote, "ESTABLISHED") for remote in remotes]
    listening = [(f"0.0.0.0:{port}", "0.0.0.0:0", "LISTEN") for port in range(1, 201)]
    (net / "tcp").write_bytes(table("tcp", established + listening))
    reports(loop, 3).ended()
    assert len(loop.accepted) == 3
    for delivery in loop.nucleus.deliveries:
        assert 6000 < len(delivery.payload) <= 7000
        metrics = delivery.report["metrics"]
        assert metrics["tcp_connections"]["established_connections"]["total"] == 200
        assert metrics["listening_tcp_ports"]["total"] == 200
        assert 20 < len(metrics["listening_tcp_ports"]["ports"]) < 200
    assert loop.counted == loop.passed == times(2)
    assert not loop.ipc.lost.is_set()
    assert len(loop.logged("a report is ", "because the transport carries 7000 bytes")) == 1


def test_neither_a_wildcard_nor_a_long_message_reaches_the_nucleus(make_loop: Make) -> None:
    loop = make_loop()
    with pytest.raises(PublishError, match=r"has a wildcard"):
        loop.ipc.send("reports/+", b"{}")
    with pytest.raises(PublishError, match="7001 bytes are more than the nucleus carries"):
        loop.ipc.send(TOPIC, bytes(7001))
    loop.ended()
    assert loop.nucleus.deliveries == []
