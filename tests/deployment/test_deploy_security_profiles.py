"""deploy.py --security-profiles: profiles reach the cores with subscription and policy line, and stay at an upgrade."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import deploy
import pytest
import v1_group
from fake_aws import ACCOUNT, LAMBDA, REGION
from moto.awslambda_simple.models import lambda_simple_backends
from v2_target import COMPONENT, NAME, ROUTER, THEIRS, apply, deploy_existing, last, our_subscriptions

SHIPPED = Path(deploy.__file__).parent / "security_profiles"
VIOLATIONS = {
    "id": "device-defender-violations",
    "source": f"component:{NAME}",
    "subject": "device-defender/+/violations",
    "target": "cloud",
}
PORTS = {"comparisonOperator": "in-port-set", "value": {"ports": [22]}}
OPEN = {"name": "Open", "metric": "aws:listening-tcp-ports", "criteria": PORTS}
POLICY_TOPICS = ["$aws/things/gw-1/defender/metrics/json", "device-defender/gw-1/violations"]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Return a function that writes a profile and returns the path."""

    def make(*behaviors: Any, name: str = "Gateway") -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"securityProfileName": name, "behaviors": behaviors or [OPEN]}), "utf-8")
        return str(path)

    return make


def shipping(path: str, name: str, content: bytes) -> str:
    """Add a profile to a zip, as build_zip.sh does."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"connector/security_profiles/{name}.json", content)
    return path


def code(arn: str) -> dict[str, bytes]:
    """Return the files of a function version's zip."""
    with zipfile.ZipFile(io.BytesIO(lambda_simple_backends[ACCOUNT][REGION].get_function(arn).code_bytes)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def function(account: Any) -> dict[str, Any]:
    """Return the component of the last deployment, as it was made."""
    version = last(account)["components"][NAME]["componentVersion"]
    made: dict[str, Any] = account.greengrass_v2.components[f"{COMPONENT}:{version}"]["lambdaFunction"]
    return made


def environment(account: Any) -> dict[str, str]:
    variables: dict[str, str] = function(account)["componentLambdaParameters"]["environmentVariables"]
    return variables


def profile(account: Any, name: str = "Gateway") -> bytes | None:
    return code(function(account)["lambdaArn"]).get(f"connector/security_profiles/{name}.json")


def update(account: Any) -> dict[str, Any]:
    """Return the router's configuration in the last deployment, its JSON read."""
    found = last(account)["components"][ROUTER]["configurationUpdate"]
    return {**found, "merge": json.loads(found.get("merge", "{}"))}


def test_profile_reaches_the_core_with_its_subscription(core: Any, make_zip: Any, write: Any, capsys: Any) -> None:
    deploy_existing(core)
    path, original = make_zip(), Path(make_zip()).read_bytes()
    flags = ["--zip", path, "--security-profiles", write()]
    assert apply(core, *flags) == 0
    assert environment(core)["SecurityProfiles"] == "Gateway"
    assert profile(core) == Path(write()).read_bytes()
    assert code(function(core)["lambdaArn"])["connector/handler.py"] == b"pass\n"
    assert Path(path).read_bytes() == original
    assert update(core)["merge"] == {
        "subscriptions": {**THEIRS, **our_subscriptions(), "device-defender-violations": VIOLATIONS}
    }
    output = capsys.readouterr().out
    assert f"Note: Profile Gateway ({write()}): 1 of 1 behaviors are judged on the core.\n" in output
    assert re.search(
        r"^ *\+ +device-defender-violations:\n( *\+ .*\n)+ *\+ +subject: device-defender/\+/viol", output, re.M
    )
    assert "Note: Alarms go to device-defender/{thing}/violations. Until something there tells a person, only" in output
    assert "its /accepted and /rejected, and iot:Publish on device-defender/{thing}/violations; --iot-policy" in output

    assert apply(core, *flags) == 0
    assert core.calls.writes == []


def test_profiles_stay_at_an_upgrade(core: Any, make_zip: Any, write: Any, capsys: Any) -> None:
    assert apply(core, "--zip", make_zip(), "--security-profiles", write()) == 0
    capsys.readouterr()
    new = make_zip(version="1.1.0", code="# new\n")
    assert apply(core, "--zip", new, "--LogLevel", "DEBUG") == 0
    output = capsys.readouterr().out
    assert "kept         SecurityProfiles=Gateway\n" in output
    assert "Profile Gateway (as deployed): 1 of 1 behaviors are judged on the core." in output
    assert code(function(core)["lambdaArn"])["connector/handler.py"] == b"# new\n"
    assert profile(core) == Path(write()).read_bytes()
    assert update(core)["merge"]["subscriptions"]["device-defender-violations"] == VIOLATIONS
    assert apply(core, "--zip", new) == 0
    assert core.calls.writes == []


def test_changed_profile_replaces_the_deployed_one(core: Any, make_zip: Any, write: Any, capsys: Any) -> None:
    assert apply(core, "--zip", make_zip(), "--security-profiles", write(), write(name="Other")) == 0
    capsys.readouterr()
    changed = write({**OPEN, "name": "Changed"})
    assert apply(core, "--zip", make_zip(), "--security-profiles", changed) == 0
    assert profile(core) == Path(changed).read_bytes()
    assert profile(core, "Other") is None
    assert "changed      SecurityProfiles=Gateway,Other -> Gateway\n" in capsys.readouterr().out


def test_shipped_profile_is_named_or_given(core: Any, make_zip: Any, capsys: Any) -> None:
    shipped = SHIPPED / "RemoteManagementPorts.json"
    path = shipping(make_zip(), "RemoteManagementPorts", shipped.read_bytes())
    assert apply(core, "--zip", path, "--SecurityProfiles", "RemoteManagementPorts") == 0
    assert "Profile RemoteManagementPorts (in the zip): 2 of 2 behaviors are judged" in capsys.readouterr().out
    assert update(core)["merge"]["subscriptions"]["device-defender-violations"] == VIOLATIONS
    assert apply(core, "--zip", path, "--security-profiles", str(shipped)) == 0
    assert core.calls.writes == []


def test_own_profile_with_a_shipped_name_stays_at_an_upgrade(core: Any, make_zip: Any, write: Any) -> None:
    shipped = (SHIPPED / "DenialOfService.json").read_bytes()
    own = write(name="DenialOfService")
    assert apply(core, "--zip", shipping(make_zip(), "DenialOfService", shipped), "--security-profiles", own) == 0
    assert profile(core, "DenialOfService") == Path(own).read_bytes()
    new = shipping(make_zip(version="1.1.0", code="# new\n"), "DenialOfService", shipped)
    assert apply(core, "--zip", new) == 0
    assert profile(core, "DenialOfService") == Path(own).read_bytes()
    assert apply(core, "--zip", new, "--reset=SecurityProfiles", "--SecurityProfiles=DenialOfService") == 0
    assert profile(core, "DenialOfService") == shipped


def test_names_and_files_together(core: Any, make_zip: Any, write: Any) -> None:
    path = shipping(make_zip(), "DenialOfService", (SHIPPED / "DenialOfService.json").read_bytes())
    flags = ["--SecurityProfiles", "DenialOfService,/etc/p.json", "--security-profiles", write(), write(name="B")]
    assert apply(core, "--zip", path, *flags) == 0
    assert environment(core)["SecurityProfiles"] == "DenialOfService,/etc/p.json,Gateway,B"


def test_reset_takes_profile_and_subscription_out(core: Any, make_zip: Any, write: Any, capsys: Any) -> None:
    deploy_existing(core)
    assert apply(core, "--zip", make_zip(), "--security-profiles", write()) == 0
    capsys.readouterr()
    assert apply(core, "--zip", make_zip(), "--reset", "SecurityProfiles") == 0
    assert "reset        SecurityProfiles=Gateway -> (empty)\n" in capsys.readouterr().out
    assert "SecurityProfiles" not in environment(core)
    assert profile(core) is None
    # What was merged once stays on a core until it is reset, also if the core was off during this deployment.
    expected = {
        "merge": {"subscriptions": {**THEIRS, **our_subscriptions()}},
        "reset": ["/subscriptions/old", "/subscriptions/device-defender-violations"],
    }
    assert update(core) == expected
    assert apply(core, "--zip", make_zip()) == 0
    assert core.calls.writes == []
    assert apply(core, "--zip", make_zip(), "--LogLevel=DEBUG") == 0
    assert update(core) == expected
    assert apply(core, "--zip", make_zip(), "--security-profiles", write()) == 0
    assert update(core)["reset"] == ["/subscriptions/old"]


def test_remove_takes_the_subscription_out(core: Any, make_zip: Any, write: Any) -> None:
    deploy_existing(core)
    assert apply(core, "--zip", make_zip(), "--security-profiles", write()) == 0
    assert core.deploy("v2", "remove", "--thing=gw-1", "--yes") == 0
    assert update(core)["merge"] == {"subscriptions": THEIRS}
    assert "/subscriptions/device-defender-violations" in update(core)["reset"]


def policy_resources(account: Any) -> list[list[str]]:
    """Return the topics of the policy's statements."""
    document = json.loads(account.client("iot").get_policy(policyName="report")["policyDocument"])
    return [[arn.split(":", 5)[5].partition("/")[2] for arn in one["Resource"]] for one in document["Statement"]]


def test_policy_line_comes_and_goes_with_the_profile(core: Any, make_zip: Any, write: Any) -> None:
    flags = ["--zip", make_zip(), "--iot-policy", "report"]
    answers = [f"{POLICY_TOPICS[0]}/accepted", f"{POLICY_TOPICS[0]}/rejected"]
    assert apply(core, *flags, "--security-profiles", write()) == 0
    assert policy_resources(core) == [POLICY_TOPICS, answers, answers]
    assert apply(core, *flags) == 0
    assert core.calls.writes == []
    assert apply(core, *flags, "--reset=SecurityProfiles", "--no-wait") == 0
    assert policy_resources(core) == [POLICY_TOPICS, answers, answers]
    assert apply(core, *flags) == 0
    assert policy_resources(core) == [POLICY_TOPICS[:1], answers, answers]

    assert apply(core, *flags, "--security-profiles", write()) == 0
    core.thing("gw-2")
    assert apply(core, *flags, "--security-profiles", write(), target="--thing=gw-2") == 0
    assert core.deploy("v2", "remove", "--thing=gw-1", "--iot-policy=report", "--yes") == 0
    assert policy_resources(core)[0] == [topic.replace("gw-1", "gw-2") for topic in POLICY_TOPICS]
    assert core.deploy("v2", "remove", "--thing=gw-2", "--iot-policy=report", "--yes") == 0
    assert core.client("iot").list_policies()["policies"] == []


def test_basic_ingest_topic_is_subscribed_and_allowed(core: Any, make_zip: Any, write: Any) -> None:
    topic = "$aws/rules/Alarms/site/{thing}"
    flags = ["--security-profiles", write(), "--ViolationsTopic", topic, "--iot-policy", "report"]
    assert apply(core, "--zip", make_zip(), *flags) == 0
    subscription = update(core)["merge"]["subscriptions"]["device-defender-violations"]
    assert subscription == {**VIOLATIONS, "subject": "$aws/rules/Alarms/site/+"}
    assert policy_resources(core)[0] == [POLICY_TOPICS[0], "$aws/rules/Alarms/site/gw-1"]


def test_v1_group_gets_and_loses_the_subscription(
    account: Any, make_zip: Any, write: Any, full_group: Any, capsys: Any
) -> None:
    assert v1_group.apply(account, "--zip", make_zip("38"), "--security-profiles", write()) == 0
    theirs = v1_group.THEIR_SUBSCRIPTIONS
    ours = {key.capitalize(): value for key, value in {**VIOLATIONS, "source": f"{LAMBDA}:1"}.items()}
    assert v1_group.content(account)["Subscriptions"] == [*theirs, *v1_group.our_subscriptions(), ours]
    assert "+   Subject: device-defender/+/violations\n" in capsys.readouterr().out

    assert v1_group.apply(account, "--zip", make_zip("38", code="# new\n")) == 0
    [entry] = [one for one in v1_group.content(account)["Functions"] if one["Id"] == NAME]
    assert code(entry["FunctionArn"])["connector/security_profiles/Gateway.json"] == Path(write()).read_bytes()
    assert v1_group.apply(account, "--zip", make_zip("38"), "--reset", "SecurityProfiles") == 0
    assert v1_group.content(account)["Subscriptions"] == [*theirs, *v1_group.our_subscriptions(3)]
