"""Alarms in the loop: judged at each reading, logged and published when they happen, kept over faults and restarts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.loop import START, THING, TOPIC, After, FakeClock, Loop, Never, moving
from support.proc import V4_NOBODY, tcp

from connector import state
from connector.errors import NoSubscriptionError, PublishError
from connector.outbox import MAX_MESSAGES

VIOLATIONS = f"device-defender/{THING}/violations"
PORTS = {
    "name": "Ports",
    "metric": "aws:listening-tcp-ports",
    "criteria": {"comparisonOperator": "in-port-set", "value": {"ports": [22]}},
}


def profile(path: Path, *behaviors: Dict[str, Any], name: str = "Mine") -> str:
    path.write_text(json.dumps({"securityProfileName": name, "behaviors": behaviors}))
    return str(path)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path, SecurityProfiles=profile(tmp_path / "mine.json", PORTS))


def open_ports(loop: Loop, *ports: int) -> None:
    rows = [(f"0.0.0.0:{port}", V4_NOBODY, "LISTEN") for port in ports]
    (loop.host.directory / "1" / "net" / "tcp").write_bytes(tcp(*rows))


def opened_from(loop: Loop, first: int, last: int, port: int = 4444) -> None:
    """Have a port open at the readings first to last, counted from 0."""
    count = [0]

    def before_reading() -> None:
        open_ports(loop, 22, *([port] if first <= count[0] <= last else []))
        count[0] += 1

    loop.before_reading = before_reading


def summaries(loop: Loop) -> List[str]:
    return [told.summary for told in loop.core.events]


def test_alarm_is_published_and_logged_at_the_reading_in_which_it_happens(loop: Loop) -> None:
    opened_from(loop, 2, 3)
    loop.run(1500)
    begin, end = loop.core.events
    assert (begin.summary, begin.moment - START) == ("in-alarm Ports", 600)
    assert (end.summary, end.moment - START) == ("alarm-cleared Ports", 1200)
    assert begin.event["metricValue"] == {"ports": [4444]}
    assert begin.event["thingName"] == THING
    assert begin.event["violationId"] == end.event["violationId"]
    assert loop.core.topics.count(VIOLATIONS) == 2
    assert loop.logged("alarm Mine/Ports") == [
        "WARNING alarm Mine/Ports: aws:listening-tcp-ports is 4444; normal is in-port-set 22",
        "INFO alarm Mine/Ports cleared: aws:listening-tcp-ports is normal again",
    ]


def test_ordinary_day_raises_nothing(loop: Loop) -> None:
    open_ports(loop, 22)
    moving(loop)
    loop.run(86_400)
    assert (loop.core.events, len(loop.core.taken)) == ([], 288)
    assert loop.logged("WARNING") == []


def test_all_ports_are_judged_not_the_sample(loop: Loop) -> None:
    loop.settings["MaxListSize"] = "1"
    open_ports(loop, 22, *range(30_000, 30_400), 4444)
    loop.run(10)
    assert loop.core.events[0].event["violatingElementCount"] == 401
    assert len(loop.core.events[0].event["metricValue"]["ports"]) == 50


def test_alarm_with_suppressed_alerts_is_logged_and_not_published(tmp_path: Path) -> None:
    loop = Loop(tmp_path, SecurityProfiles=profile(tmp_path / "mine.json", {**PORTS, "suppressAlerts": True}))
    opened_from(loop, 1, 1)
    loop.run(700)
    assert loop.core.events == []
    assert len(loop.logged("INFO alarm Mine/Ports", "suppressAlerts")) == 2


def test_traffic_is_that_since_the_last_reading_while_reports_fail(tmp_path: Path) -> None:
    """Reports that are not accepted carry the traffic of all the time before; a reading is judged by its own."""
    limit = {
        "name": "Bytes",
        "metric": "aws:all-bytes-out",
        "criteria": {"comparisonOperator": "less-than-equals", "value": {"count": 200_000}, "durationSeconds": 300},
    }
    loop = Loop(tmp_path, SecurityProfiles=profile(tmp_path / "mine.json", limit))
    loop.before_reading = lambda: loop.host.passed("eth0", 0, 1000, 0, 10)
    loop.core.refused[TOPIC] = OSError("refused")
    loop.run(86_400)
    assert loop.core.events == []


def test_reading_of_nothing_is_not_judged_as_there_is_no_report_of_it(loop: Loop) -> None:
    """For 50 h nothing can be read. The alarm becomes invalid after two days, which the next reading shows."""
    opened_from(loop, 0, 10_000)
    open_port, shown, hidden = loop.before_reading, loop.host.directory / "1", loop.host.directory / "hidden"
    count = [0]

    def before_reading() -> None:
        if count[0] == 1:
            shown.rename(hidden)
        elif count[0] == 601:
            hidden.rename(shown)
        if shown.exists():
            open_port()
        count[0] += 1

    loop.before_reading = before_reading
    loop.run(610 * 300)
    assert [(told.summary, (told.moment - START) / 300) for told in loop.core.events] == [
        ("in-alarm Ports", 0),
        ("alarm-invalidated Ports", 601),
        ("in-alarm Ports", 602),
    ]
    assert len(loop.core.taken) == 610 - 600


class TestSending:
    def test_alarm_is_published_while_reports_are_refused(self, loop: Loop) -> None:
        loop.core.refused[TOPIC] = OSError("refused")
        open_ports(loop, 4444)
        loop.run(10)
        assert [told.moment - START for told in loop.core.events] == [0]
        assert loop.core.taken == []

    def test_report_that_hangs_does_not_hold_up_an_alarm(self, tmp_path: Path) -> None:
        others = [{**PORTS, "name": f"Ports{number}"} for number in range(20)]
        loop = Loop(tmp_path, SecurityProfiles=profile(tmp_path / "mine.json", *others))
        open_ports(loop, 4444)
        loop.core.answers.extend([After(1.0), Never()])  # the first event, the report
        loop.core.usual = After(0.1)
        loop.run(100)
        assert summaries(loop) == [f"in-alarm Ports{number}" for number in range(20)]
        assert max(told.moment - START for told in loop.core.events) < 4

    def test_alarm_that_hangs_does_not_hold_up_reports(self, loop: Loop) -> None:
        open_ports(loop, 4444)
        loop.core.answers.append(Never())
        loop.run(400)
        assert loop.moments == [0.0, 300.0]
        (told,) = loop.core.events
        assert 30 < told.moment - START <= 35
        assert len(loop.logged(f"INFO publishing alarms: recovered after {int(told.moment - START)} s")) == 1

    def test_answer_after_the_time_out_counts_and_the_event_is_not_sent_again(self, loop: Loop) -> None:
        open_ports(loop, 4444)
        loop.core.answers.append(After(31.0))
        loop.run(400)
        assert summaries(loop) == ["in-alarm Ports"]

    def test_refused_alarm_is_tried_again_with_growing_delays_and_logged_once(self, loop: Loop) -> None:
        open_ports(loop, 4444)
        loop.core.refused[VIOLATIONS] = PublishError("the core did not accept the message: HTTP Error 503")
        loop.clock.at(START + 4000, loop.core.refused.clear)
        loop.run(5000)
        assert loop.moments == [300.0 * number for number in range(17)]
        assert summaries(loop) == ["in-alarm Ports"]
        assert 8 < loop.core.topics.count(VIOLATIONS) < 25
        assert len(loop.logged("WARNING publishing alarms", "503")) == 1
        assert len(loop.logged("INFO publishing alarms: recovered after")) == 1

    def test_missing_subscription_for_alarms_is_a_warning_of_its_own(self, loop: Loop) -> None:
        open_ports(loop, 4444)
        loop.core.refused[VIOLATIONS] = NoSubscriptionError("no subscription carries the message: add one")
        loop.run(1000)
        assert len(loop.core.taken) == 4
        assert len(loop.logged("WARNING", "publishing alarms: no subscription carries the message")) == 1

    def test_events_arrive_in_order_once_the_core_is_back(self, loop: Loop) -> None:
        count = [0]

        def before_reading() -> None:
            open_ports(loop, *([4444] if count[0] % 2 else [22]))
            count[0] += 1

        loop.before_reading = before_reading
        loop.core.refused[VIOLATIONS] = OSError("refused")
        loop.clock.at(START + 6000, loop.core.refused.clear)
        loop.run(7000)
        times = [told.event["violationEventTime"] for told in loop.core.events]
        assert times == sorted(times)
        assert len(times) == 23
        assert summaries(loop) == [f"{kind} Ports" for kind in ["in-alarm", "alarm-cleared"] * 11 + ["in-alarm"]]

    def test_latest_hundred_are_kept_and_the_loss_is_logged_once(self, loop: Loop) -> None:
        count = [0]

        def before_reading() -> None:
            open_ports(loop, *([4444] if count[0] % 2 else [22]))
            count[0] += 1

        loop.before_reading = before_reading
        loop.core.refused[VIOLATIONS] = OSError("refused")
        loop.clock.at(START + 300 * 150 + 10, loop.core.refused.clear)
        loop.run(300 * 152)
        times = [told.event["violationEventTime"] // 1000 - int(loop.clock.time()) for told in loop.core.events]
        assert len(times) == MAX_MESSAGES + 1  # and the one that came afterwards
        assert times == sorted(times)
        assert len(loop.logged("WARNING waiting alarms: more than 100")) == 1
        assert len(loop.logged("INFO waiting alarms: recovered")) == 1


class TestRestart:
    def test_standing_alarm_clears_after_a_restart_under_its_id(self, loop: Loop) -> None:
        loop.remember()
        open_ports(loop, 4444)
        loop.run(700)
        open_ports(loop, 22)
        loop.run(700)
        assert summaries(loop) == ["in-alarm Ports", "alarm-cleared Ports"]
        assert len({told.event["violationId"] for told in loop.core.events}) == 1

    def test_event_that_was_not_accepted_is_published_after_a_restart(self, loop: Loop) -> None:
        loop.remember()
        open_ports(loop, 4444)
        loop.core.refused[VIOLATIONS] = OSError("refused")
        loop.run(100)
        loop.core.refused.clear()
        open_ports(loop, 22)
        loop.run(500)
        assert summaries(loop) == ["in-alarm Ports", "alarm-cleared Ports"]
        assert loop.core.events[0].event["behavior"]["criteria"]["value"] == {"ports": [22]}

    def test_event_survives_a_kill_while_it_is_sent(self, loop: Loop) -> None:
        loop.remember()
        open_ports(loop, 4444)
        loop.core.usual = Never()
        loop.kill(5)
        loop.core.usual = None
        loop.run(100)
        assert summaries(loop) == ["in-alarm Ports"]

    def test_event_that_was_accepted_between_two_reports_is_not_sent_again(self, loop: Loop) -> None:
        loop.remember()
        open_ports(loop, 4444)
        loop.core.answers.append(OSError("refused"))
        loop.run(100)
        loop.run(500)
        assert summaries(loop) == ["in-alarm Ports"]

    def test_event_survives_a_reboot(self, loop: Loop) -> None:
        loop.remember()
        open_ports(loop, 4444)
        loop.core.refused[VIOLATIONS] = OSError("refused")
        loop.run(100)
        loop.core.refused.clear()
        loop.host.booted("b0071d00-0000-4000-8000-000000000002")
        loop.run(100)
        assert summaries(loop) == ["in-alarm Ports"]

    def test_event_of_a_profile_that_is_gone_is_still_published(self, loop: Loop, tmp_path: Path) -> None:
        loop.remember()
        open_ports(loop, 4444)
        loop.core.refused[VIOLATIONS] = OSError("refused")
        loop.run(100)
        loop.core.refused.clear()
        loop.settings["SecurityProfiles"] = profile(tmp_path / "other.json", {**PORTS, "name": "Other"}, name="Other")
        open_ports(loop, 22)
        loop.run(100)
        assert summaries(loop) == ["in-alarm Ports"]

    def test_file_without_alarms_is_loaded_and_one_with_them_needs_no_profile(self, loop: Loop) -> None:
        loop.remember()
        used = loop.settings.pop("SecurityProfiles")
        loop.run(100)
        path = loop.state / state.FILE
        assert "alarms" not in json.loads(path.read_text())
        loop.settings["SecurityProfiles"] = used
        open_ports(loop, 4444)
        loop.run(500)
        assert json.loads(path.read_text())["alarms"]["detector"]["behaviors"]
        del loop.settings["SecurityProfiles"]
        loop.run(500)
        assert loop.logged("StateDirectory") == []
        assert summaries(loop) == ["in-alarm Ports"]

    @pytest.mark.parametrize(
        "damaged",
        [
            [],
            {"events": 1, "criteria": 2, "detector": 3},
            {"events": [1, {}, {"behavior": {}}, {"behavior": 1, "securityProfileName": "x"}], "criteria": {}},
            {"events": [{"behavior": {"name": "n"}, "securityProfileName": "p"}], "criteria": {"p/n": 1}},
            {"events": [{"behavior": {"name": "n"}, "securityProfileName": "p"}]},
            {"detector": {"behaviors": {"Mine/Ports": []}, "time": "x"}},
        ],
        ids=str,
    )
    def test_damaged_state_of_alarms_costs_nothing_else(self, loop: Loop, damaged: Any) -> None:
        loop.remember().run(100)
        path = loop.state / state.FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), "alarms": damaged}))
        open_ports(loop, 4444)
        loop.run(500)
        assert summaries(loop) == ["in-alarm Ports"]
        assert loop.core.ids == sorted(set(loop.core.ids))
        assert loop.logged("WARNING", "StateDirectory") == []


def test_clock_that_is_set_right_after_the_boot_invalidates_no_alarm(tmp_path: Path) -> None:
    """A device without a battery believes that it is 1970 until NTP answers."""
    loop = Loop(tmp_path, FakeClock(wall=100.0), SecurityProfiles=profile(tmp_path / "mine.json", PORTS))
    open_ports(loop, 4444)
    loop.clock.at(START + 400, lambda: loop.clock.step(1_700_000_000))
    loop.run(1500)
    assert summaries(loop) == ["in-alarm Ports"]


def test_error_in_judging_costs_no_report(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("connector.detect.engine.Detector.judge", fails)
    loop.run(700)
    assert loop.moments == [0.0, 300.0, 600.0]
    assert len(loop.logged("WARNING judging: MemoryError()")) == 1


def test_connector_without_profiles_does_not_import_the_engine(tmp_path: Path) -> None:
    program = (
        "import sys, logging, random; from connector import agent, config, clock, transports\n"
        "parsed, _ = config.parse({'AWS_IOT_THING_NAME': 't'})\n"
        "agent.assemble(parsed, transports.Transport(), clock.Clock(), random.Random(), logging.getLogger())\n"
        "assert not [name for name in sys.modules if 'detect' in name or name.endswith(('alarms', 'outbox'))]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).resolve().parents[2], timeout=300)
