"""deploy.py v2 --native against moto (S3, IoT) and the stand-in for Greengrass V2."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from deployment import artifact
from fake_aws import ACCOUNT, REGION
from native_target import CLASSIC, LITE, MQTT, NAME, access, apply, merged, run
from v2_target import EXISTING, THING, deploy_existing, last

COMPONENT = f"arn:aws:greengrass:{REGION}:{ACCOUNT}:components:{NAME}:versions"
RESET = {"reset": [""]}


def key_of(path: str) -> str:
    return f"device-defender-connector/{artifact.load(Path(path)).sha256[:16]}/{Path(path).name}"


def next_release(path: str) -> None:
    with zipfile.ZipFile(path, "a") as content:
        content.writestr("connector/new.py", "pass\n")


def test_component_is_deployed_once_and_removed(fleet: Any, native_zip: str, capsys: Any) -> None:
    assert apply(fleet, native_zip) == 0
    recipe = fleet.greengrass_v2.components[f"{COMPONENT}:1.0.0"]["recipe"]
    assert recipe["Manifests"][0]["Artifacts"][0]["Uri"] == f"s3://artifacts/{key_of(native_zip)}"
    held = fleet.client("s3").get_object(Bucket="artifacts", Key=key_of(native_zip))["Body"].read()
    assert held == Path(native_zip).read_bytes()
    update = {"merge": json.dumps(CLASSIC), **RESET}
    assert last(fleet) == {
        "targetArn": THING,
        "deploymentName": f"gw-1 with {NAME}",
        "components": {NAME: {"componentVersion": "1.0.0", "configurationUpdate": update}},
    }
    assert fleet.client("lambda").list_functions()["Functions"] == []
    assert "token exchange role must allow s3:GetObject on arn:aws:s3:::artifacts/" in capsys.readouterr().out

    assert apply(fleet, native_zip) == 0
    assert fleet.calls.writes == []
    assert capsys.readouterr().out.startswith("Nothing to change.\n")

    assert run(fleet, "status") == 0
    assert f"Component {NAME} 1.0.0 for thing gw-1" in capsys.readouterr().out
    assert run(fleet, "remove", "--yes") == 0
    assert last(fleet)["components"] == {}
    assert run(fleet, "status") == 1
    assert run(fleet, "remove", "--yes") == 0
    assert fleet.calls.writes == []


def test_settings_are_in_the_deployment_and_need_no_version(fleet: Any, native_zip: str) -> None:
    apply(fleet, native_zip)
    assert apply(fleet, native_zip, "--SampleIntervalSeconds", "600", "--MetricsTopic", "site/{thing}") == 0
    assert list(fleet.greengrass_v2.components) == [f"{COMPONENT}:1.0.0"]
    on_the_core = fleet.greengrass_v2.configuration[THING][NAME]
    assert on_the_core["SampleIntervalSeconds"] == "600"
    resources = [policy["resources"] for policy in on_the_core["accessControl"][MQTT].values()]
    assert resources == [["site/gw-1"], ["site/gw-1/+"]]

    assert apply(fleet, native_zip, "--reset", "MetricsTopic") == 0
    assert merged(fleet) == {"SampleIntervalSeconds": "600", **CLASSIC}
    assert fleet.greengrass_v2.configuration[THING][NAME]["MetricsTopic"].startswith("$aws/things/")


def test_new_code_makes_a_version_beside_the_old_object(fleet: Any, native_zip: str) -> None:
    apply(fleet, native_zip, "--MaxListSize", "9")
    first = key_of(native_zip)
    next_release(native_zip)
    assert apply(fleet, native_zip) == 0
    keys = {item["Key"] for item in fleet.client("s3").list_objects_v2(Bucket="artifacts")["Contents"]}
    assert keys == {first, key_of(native_zip)}
    assert last(fleet)["components"][NAME]["componentVersion"] == "1.0.1"
    assert merged(fleet)["MaxListSize"] == "9"


def test_what_others_have_in_the_deployment_stays(fleet: Any, native_zip: str) -> None:
    deploy_existing(fleet)
    assert apply(fleet, native_zip) == 0
    kept = {key: EXISTING[key] for key in ("deploymentName", "deploymentPolicies", "iotJobConfiguration", "tags")}
    ours = {"componentVersion": "1.0.0", "configurationUpdate": {"merge": json.dumps(CLASSIC), **RESET}}
    assert last(fleet) == {"targetArn": THING, **kept, "components": {**EXISTING["components"], NAME: ours}}
    assert run(fleet, "remove", "--yes") == 0
    assert last(fleet) == {"targetArn": THING, **kept, "components": EXISTING["components"]}


def test_what_others_merge_into_the_component_stays(fleet: Any, native_zip: str) -> None:
    apply(fleet, native_zip)
    current = last(fleet)
    more = {"operations": ["aws.greengrass#PublishToTopic"], "resources": ["site/#"]}
    theirs = {"note": {"by": "site"}, "accessControl": {"aws.greengrass.ipc.pubsub": {"site:1": more}}}
    current["components"][NAME] |= {
        "runWith": {"posixUser": "defender"},
        "configurationUpdate": {"merge": json.dumps({**CLASSIC, **theirs})},
    }
    fleet.aws.client("greengrassv2").create_deployment(**current)

    assert apply(fleet, native_zip, "--MaxListSize", "500") == 0
    assert last(fleet)["components"][NAME]["runWith"] == {"posixUser": "defender"}
    update = merged(fleet)
    assert (update["note"], update["MaxListSize"]) == ({"by": "site"}, "500")
    assert update["accessControl"].keys() == {"aws.greengrass.ipc.pubsub", MQTT}
    assert update["accessControl"]["aws.greengrass.ipc.pubsub"] == {"site:1": more}

    assert apply(fleet, native_zip) == 0
    assert fleet.calls.writes == []


@pytest.mark.parametrize(
    ("target", "runtime", "flags", "expected"),
    [
        ("--thing=gw-1", "aws_nucleus_classic", [], "131072"),
        ("--thing=gw-1", "aws_nucleus_lite", [], None),
        ("--thing=gw-1", "aws_nucleus_classic", ["--max-payload-bytes", "9000"], "9000"),
        ("--thing-group=fleet", "aws_nucleus_classic", [], None),
        ("--thing-group=fleet", "aws_nucleus_classic", ["--max-payload-bytes", "131072"], "131072"),
    ],
)
def test_longest_message_follows_the_nucleus(
    fleet: Any, native_zip: str, target: str, runtime: str, flags: list[str], expected: str | None
) -> None:
    fleet.greengrass_v2.cores["gw-1"]["runtime"] = runtime
    fleet.greengrass_v2.in_group = ["gw-1"]
    assert apply(fleet, native_zip, *flags, target=target) == 0
    update = last(fleet)["components"][NAME]["configurationUpdate"].get("merge", "{}")
    assert json.loads(update).get("MaxPayloadBytes") == expected
    assert apply(fleet, native_zip, target=target) == 0
    assert fleet.calls.writes == []


def test_longest_message_of_nucleus_lite_is_kept(fleet: Any, native_zip: str, capsys: Any) -> None:
    apply(fleet, native_zip)
    fleet.greengrass_v2.cores["gw-1"]["runtime"] = "aws_nucleus_lite"  # the core was set up anew
    assert apply(fleet, native_zip) == 0
    assert merged(fleet) == LITE
    assert apply(fleet, native_zip, "--max-payload-bytes", "131072") == 2
    assert "thing gw-1 has nucleus lite, which closes the connection on more than 7,000" in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["aws_nucleus_classic", "aws_nucleus_lite"])
def test_value_that_nucleus_lite_does_not_take_is_a_note(
    fleet: Any, native_zip: str, capsys: Any, runtime: str
) -> None:
    fleet.greengrass_v2.cores["gw-1"]["runtime"] = runtime
    assert apply(fleet, native_zip, "--ExcludeInterfaces", ",".join(["eth*"] * 300)) == 0
    said = "ExcludeInterfaces has 1,501 bytes. Nucleus lite takes 1,024" in capsys.readouterr().out
    assert said == (runtime == "aws_nucleus_lite")


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("aarch64", "core gw-1 is aarch64, the zip is for x86_64: build another (./build_zip.sh --native --arch"),
        ("arm", "core gw-1 is arm, for which there is no native component: only for x86_64, aarch64"),
    ],
)
def test_core_with_another_processor_is_refused(
    fleet: Any, native_zip: str, capsys: Any, architecture: str, reason: str
) -> None:
    fleet.greengrass_v2.cores["gw-1"]["architecture"] = architecture
    assert apply(fleet, native_zip) == 1
    assert reason in capsys.readouterr().err
    assert fleet.calls.writes == []


def test_core_without_a_report_waits_for_its_deployment(fleet: Any, native_zip: str, capsys: Any) -> None:
    fleet.thing("new")
    assert apply(fleet, native_zip, target="--thing=new") == 0
    assert "Thing new is no Greengrass V2 core yet" in capsys.readouterr().out
    assert merged(fleet) == {"accessControl": access("$aws/things/new/defender/metrics/json")}


def test_policy_of_the_cores_is_kept_as_for_the_function(fleet: Any, native_zip: str) -> None:
    assert apply(fleet, native_zip, "--iot-policy", "report") == 0
    policy = json.loads(fleet.client("iot").get_policy(policyName="report")["policyDocument"])
    assert policy["Statement"][0]["Resource"][0].endswith("topic/$aws/things/gw-1/defender/metrics/json")


def test_list_shows_the_settings_of_the_deployment(fleet: Any, native_zip: str, capsys: Any) -> None:
    apply(fleet, native_zip, "--MaxListSize", "9")
    capsys.readouterr()
    assert fleet.deploy("v2", "list", "--native") == 0
    assert capsys.readouterr().out.startswith("thing gw-1: 1.0.0, ACTIVE; MaxListSize=9\n")


def test_status_names_the_settings_and_no_isolation(fleet: Any, native_zip: str, capsys: Any) -> None:
    apply(fleet, native_zip, "--MaxListSize", "9")
    capsys.readouterr()
    run(fleet, "status", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["MaxListSize"] == "9"
    assert "isolation" not in document["settings"]
    assert document["logs"].endswith(f"journalctl -u ggl.core.ggdeploymentd -u ggl.{NAME}")


def test_profiles_travel_in_the_zip_and_stay_at_an_upgrade(fleet: Any, native_zip: str, tmp_path: Path) -> None:
    limit = {"comparisonOperator": "less-than", "value": {"count": 9}, "consecutiveDatapointsToAlarm": 1}
    behavior = {"name": "Few", "metric": "aws:num-listening-tcp-ports", "criteria": limit}
    profile = tmp_path / "Mine.json"
    profile.write_text(json.dumps({"securityProfileName": "Mine", "behaviors": [behavior]}))
    assert apply(fleet, native_zip, "--security-profiles", str(profile)) == 0
    assert merged(fleet)["SecurityProfiles"] == "Mine"

    next_release(native_zip)
    assert apply(fleet, native_zip) == 0
    recipe = fleet.greengrass_v2.components[f"{COMPONENT}:1.0.1"]["recipe"]
    key = recipe["Manifests"][0]["Artifacts"][0]["Uri"].removeprefix("s3://artifacts/")
    data = fleet.client("s3").get_object(Bucket="artifacts", Key=key)["Body"].read()
    assert artifact.added_profiles(data) == {"Mine": profile.read_bytes()}


def test_zip_for_another_python_than_the_one_that_runs_is_noted(fleet: Any, native_zip: str, capsys: Any) -> None:
    apply(fleet, native_zip)
    other = Path(native_zip).rename(native_zip.replace("py312", "py311"))
    capsys.readouterr()
    assert apply(fleet, str(other)) == 0
    assert (
        "The cores run the connector for Python 3.12 now, and this zip is for Python 3.11." in capsys.readouterr().out
    )
