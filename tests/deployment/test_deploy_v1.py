"""deploy.py v1 against moto: Greengrass V1, Lambda, IAM, S3 and IoT."""

from __future__ import annotations

from typing import Any

import pytest
from fake_aws import ACCOUNT, LAMBDA, REGION, answer, refusal

OTHER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Thermostat:7"
PARAMETERS = {
    "SampleIntervalSeconds": "300",
    "ProcDestinationPath": "/host_proc",
    "MetricNames": "long",
    "ReportFormat": "json",
    "MaxListSize": "50",
    "ExcludeInterfaces": "lo,veth*,docker*,br-*,virbr*,cni*,flannel*,cali*,tap*,ifb*,dummy*,bond*",
    "MetricsTopic": "$aws/things/{thing}/defender/metrics/{format}",
    "LogLevel": "INFO",
}


def our_function(version: int = 1) -> dict[str, Any]:
    return {
        "Id": "device-defender-connector",
        "FunctionArn": f"{LAMBDA}:{version}",
        "FunctionConfiguration": {
            "EncodingType": "binary",
            "Environment": {
                "Execution": {"IsolationMode": "GreengrassContainer"},
                "Variables": PARAMETERS,
                "ResourceAccessPolicies": [{"ResourceId": "device-defender-proc", "Permission": "ro"}],
            },
            "MemorySize": 32768,
            "Pinned": True,
            "Timeout": 30,
            "FunctionRuntimeOverride": "python3.8",
        },
    }


def volume(source: str, destination: str) -> dict[str, Any]:
    owner = {"AutoAddGroupOwner": True}
    data = {"SourcePath": source, "DestinationPath": destination, "GroupOwnerSetting": owner}
    return {"LocalVolumeResourceData": data}


OUR_RESOURCE = {
    "Id": "device-defender-proc",
    "Name": "device-defender-connector-proc",
    "ResourceDataContainer": volume("/proc", "/host_proc"),
}


def our_subscriptions(version: int = 1, encoding: str = "json") -> list[dict[str, str]]:
    function, answers = f"{LAMBDA}:{version}", f"$aws/things/gw-1/defender/metrics/{encoding}"
    report = f"$aws/things/+/defender/metrics/{encoding}"
    return [
        {"Id": "device-defender-report", "Source": function, "Subject": report, "Target": "cloud"},
        {"Id": "device-defender-accepted", "Source": "cloud", "Subject": f"{answers}/accepted", "Target": function},
        {"Id": "device-defender-rejected", "Source": "cloud", "Subject": f"{answers}/rejected", "Target": function},
    ]


THEIR_FUNCTIONS = [{"Id": "thermostat", "FunctionArn": OTHER, "FunctionConfiguration": {"Pinned": False, "Timeout": 3}}]
THEIR_RESOURCES = [{"Id": "data", "Name": "data", "ResourceDataContainer": volume("/data", "/data")}]
THEIR_SUBSCRIPTIONS = [{"Id": "1", "Source": OTHER, "Subject": "temperature", "Target": "cloud"}]
DEFAULTS = {"Execution": {"IsolationMode": "GreengrassContainer"}}


def content(account: Any) -> dict[str, Any]:
    """Return what the group's newest version holds."""
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    version = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    held: dict[str, Any] = {}
    for key, arn in version.items():
        kind = key.removesuffix("DefinitionVersionArn")
        ids = {f"{kind}DefinitionId": arn.split("/")[-3], f"{kind}DefinitionVersionId": arn.split("/")[-1]}
        held |= getattr(greengrass, f"get_{kind.lower()}_definition_version")(**ids)["Definition"]
    return held


@pytest.fixture
def full_group(account: Any) -> dict[str, Any]:
    """A group that other people fill: a core, a device, functions with a default, resources, subscriptions."""
    greengrass, iot = account.client("greengrass"), f"arn:aws:iot:{REGION}:{ACCOUNT}"
    core = {"Id": "core", "ThingArn": f"{iot}:thing/gw-1", "CertificateArn": account.thing("gw-1"), "SyncShadow": True}
    device = {"Id": "d", "ThingArn": f"{iot}:thing/lamp", "CertificateArn": f"{iot}:cert/1", "SyncShadow": False}
    held: dict[str, dict[str, Any]] = {
        "Core": {"Cores": [core]},
        "Device": {"Devices": [device]},
        "Function": {"DefaultConfig": DEFAULTS, "Functions": THEIR_FUNCTIONS},
        "Resource": {"Resources": THEIR_RESOURCES},
        "Subscription": {"Subscriptions": THEIR_SUBSCRIPTIONS},
    }
    arns = {}
    for kind, definition in held.items():
        create = getattr(greengrass, f"create_{kind.lower()}_definition")
        arns[f"{kind}DefinitionVersionArn"] = create(Name=kind, InitialVersion=definition)["LatestVersionArn"]
    greengrass.create_group(Name="gateways", InitialVersion=arns)
    # moto hands the functions' DefaultConfig back to nobody; the test of the pages looks after it.
    return {f"{kind}s": definition[f"{kind}s"] for kind, definition in held.items()}


def apply(account: Any, *flags: str) -> int:
    code: int = account.deploy("v1", "apply", "--group", "gateways", "--yes", *flags)
    return code


def test_from_nothing_to_a_deployed_group_twice_and_away_again(account: Any, make_zip: Any, capsys: Any) -> None:
    certificate = account.thing("gw-1")
    account.client("s3").create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    flags = ["--zip", make_zip("38"), "--new-core", "gw-1", "--bucket", "artifacts", "--iot-policy", "report"]

    assert apply(account, *flags) == 0
    assert content(account) == {
        "Cores": [
            {
                "Id": "gw-1",
                "ThingArn": f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/gw-1",
                "CertificateArn": certificate,
                "SyncShadow": False,
            }
        ],
        "Functions": [our_function()],
        "Resources": [OUR_RESOURCE],
        "Subscriptions": our_subscriptions(),
    }
    function = account.client("lambda").get_function_configuration(FunctionName=f"{LAMBDA}:1")
    assert (function["Runtime"], function["Handler"]) == ("python3.13", "connector.handler.function_handler")
    assert function["Role"] == f"arn:aws:iam::{ACCOUNT}:role/device-defender-connector-role"
    policies = account.client("iam").list_attached_role_policies(RoleName="device-defender-connector-role")
    assert policies["AttachedPolicies"] == []
    key = "device-defender-connector/device-defender-connector-1.0.0-py38-any.zip"
    assert [o["Key"] for o in account.client("s3").list_objects_v2(Bucket="artifacts")["Contents"]] == [key]
    attached = account.client("iot").list_attached_policies(target=certificate)["policies"]
    assert [policy["policyName"] for policy in attached] == ["report"]
    assert account.calls.writes[-1] == "greengrass:CreateDeployment"
    assert "  InProgress\n  Success\n" in capsys.readouterr().out

    assert apply(account, *flags) == 0
    assert account.calls.writes == []
    assert capsys.readouterr().out.startswith("Nothing to change.\n")

    assert account.deploy("v1", "status", "--group", "gateways") == 0
    assert account.deploy("v1", "remove", "--group", "gateways", "--iot-policy", "report", "--yes") == 0
    assert "group gateways with its core" in capsys.readouterr().out.partition("This stays in the account")[2]
    assert list(content(account)) == ["Cores"]
    assert account.client("iot").list_policies()["policies"] == []
    assert account.deploy("v1", "status", "--group", "gateways") == 1
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []


def test_a_group_keeps_all_that_others_put_in(account: Any, make_zip: Any, full_group: Any) -> None:
    assert apply(account, "--zip", make_zip("38")) == 0
    assert content(account) == {
        **full_group,
        "Functions": [*THEIR_FUNCTIONS, our_function()],
        "Resources": [*THEIR_RESOURCES, OUR_RESOURCE],
        "Subscriptions": [*THEIR_SUBSCRIPTIONS, *our_subscriptions()],
    }

    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account) == full_group


def test_a_new_zip_replaces_the_function_in_place(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    capsys.readouterr()

    assert apply(account, "--zip", make_zip("38", version="1.1.0", code="# new\n")) == 0
    assert content(account)["Functions"] == [*THEIR_FUNCTIONS, our_function(version=2)]
    assert content(account)["Subscriptions"] == [*THEIR_SUBSCRIPTIONS, *our_subscriptions(version=2)]
    # The resources did not change, so their definition got no new version.
    assert [call for call in account.calls.writes if "Definition" in call] == [
        "greengrass:CreateFunctionDefinitionVersion",
        "greengrass:CreateSubscriptionDefinitionVersion",
    ]


def test_plan_shows_the_difference_and_writes_nothing(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    apply(account, "--zip", make_zip("38"))
    capsys.readouterr()

    plan = ["v1", "plan", "--group", "gateways", "--zip", make_zip("38")]
    assert account.deploy(*plan, "--SampleIntervalSeconds", "600", "--CustomMetrics", "cpu_usage") == 0
    assert account.calls.writes == []
    marked = ("~", "+", "    + ", "    - ")
    changes = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith(marked)]
    version = account.client("greengrass").list_groups()["Groups"][0]["LatestVersion"]
    assert changes == [
        "~ change functions of group gateways",
        "+         CustomMetrics: cpu_usage",
        "-         SampleIntervalSeconds: '300'",
        "+         SampleIntervalSeconds: '600'",
        "~ change deployment of group gateways to its core",
        f"- GroupVersion: {version}",
        "+ GroupVersion: (new version)",
    ]


def test_without_a_container_there_is_neither_volume_nor_limit(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))

    assert apply(account, "--zip", make_zip("38"), "--isolation", "NoContainer") == 0
    configuration = content(account)["Functions"][1]["FunctionConfiguration"]
    assert configuration == {
        "EncodingType": "binary",
        "Environment": {
            "Execution": {"IsolationMode": "NoContainer"},
            "Variables": {**PARAMETERS, "ProcDestinationPath": "/proc"},
        },
        "Pinned": True,
        "Timeout": 30,
        "FunctionRuntimeOverride": "python3.8",
    }
    assert content(account)["Resources"] == THEIR_RESOURCES


def test_cbor_state_and_memory(account: Any, make_zip: Any, full_group: Any) -> None:
    state = ["--StateDirectory", "/var/lib/connector", "--ReportFormat", "cbor", "--memory", "16"]
    assert apply(account, "--zip", make_zip("37"), *state) == 0
    held = content(account)
    configuration = held["Functions"][1]["FunctionConfiguration"]
    assert (configuration["EncodingType"], configuration["MemorySize"]) == ("binary", 16384)
    assert configuration["FunctionRuntimeOverride"] == "python3.7"
    assert configuration["Environment"]["ResourceAccessPolicies"] == [
        {"ResourceId": "device-defender-proc", "Permission": "ro"},
        {"ResourceId": "device-defender-state", "Permission": "rw"},
    ]
    assert held["Resources"][2] == {
        "Id": "device-defender-state",
        "Name": "device-defender-connector-state",
        "ResourceDataContainer": volume("/var/lib/connector", "/var/lib/connector"),
    }
    assert held["Subscriptions"] == [*THEIR_SUBSCRIPTIONS, *our_subscriptions(encoding="cbor")]


def add(account: Any, kind: str, entries: list[dict[str, Any]]) -> None:
    """Put entries into the group's newest version, as another person would."""
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    version = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    id_ = version[f"{kind}DefinitionVersionArn"].split("/")[-3]
    create = getattr(greengrass, f"create_{kind.lower()}_definition_version")
    made = create(**{f"{kind}DefinitionId": id_, f"{kind}s": [*content(account)[f"{kind}s"], *entries]})
    greengrass.create_group_version(GroupId=group["Id"], **{**version, f"{kind}DefinitionVersionArn": made["Arn"]})


def test_an_existing_proc_resource_of_the_group_is_used_as_it_is(account: Any, make_zip: Any, full_group: Any) -> None:
    theirs = {"Id": "my-proc", "Name": "Core Proc", "ResourceDataContainer": volume("/proc", "/host_proc")}
    add(account, "Resource", [theirs])

    assert apply(account, "--zip", make_zip("38"), "--ProcDestinationPath-ResourceId", "my-proc") == 0
    held = content(account)
    assert held["Resources"] == [*THEIR_RESOURCES, theirs]
    policies = held["Functions"][1]["FunctionConfiguration"]["Environment"]["ResourceAccessPolicies"]
    assert policies == [{"ResourceId": "my-proc", "Permission": "ro"}]

    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account)["Resources"] == [*THEIR_RESOURCES, theirs]


def test_anothers_resource_of_that_id_is_not_overwritten(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    flags = ["--zip", make_zip("38"), "--ProcDestinationPath-ResourceId", "data"]
    assert apply(account, *flags) == 1
    assert "resource data of group gateways belongs to somebody else" in capsys.readouterr().err
    assert account.calls.writes == []


def test_a_clash_on_the_state_directorys_resource_says_what_helps(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    theirs = {"Id": "device-defender-state", "Name": "theirs", "ResourceDataContainer": volume("/x", "/x")}
    add(account, "Resource", [theirs])
    assert apply(account, "--zip", make_zip("38"), "--StateDirectory", "/var/lib/connector") == 1
    error = capsys.readouterr().err
    assert "resource device-defender-state of group gateways belongs to somebody else" in error
    assert "give theirs another id, or leave --StateDirectory out" in error
    assert "ProcDestinationPath-ResourceId" not in error


def test_another_core_than_the_groups_is_refused(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    account.thing("gw-2")
    assert apply(account, "--zip", make_zip("38"), "--new-core", "gw-2") == 2
    assert "--new-core gw-2: group gateways exists, with core gw-1" in capsys.readouterr().err
    assert account.calls.writes == []


def test_our_resource_stays_while_another_function_uses_it(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    policies = {"ResourceAccessPolicies": [{"ResourceId": "device-defender-proc", "Permission": "ro"}]}
    user = {"Id": "top", "FunctionArn": OTHER, "FunctionConfiguration": {"Environment": policies}}
    add(account, "Function", [user])

    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account)["Functions"] == [*THEIR_FUNCTIONS, user]
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE]


def test_our_resource_stays_while_a_connector_uses_it(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    # moto keeps no connectors in a group version, so these calls are answered here.
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    held = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    held["ConnectorDefinitionVersionArn"] = "arn:aws:greengrass:::/greengrass/definition/connectors/c1/versions/v1"
    connector = {
        "Id": "dd",
        "ConnectorArn": f"arn:aws:greengrass:{REGION}::/connectors/DeviceDefender/versions/3",
        "Parameters": {"ProcDestinationPath-ResourceId": "device-defender-proc"},
    }
    account.calls.stubs = {
        "greengrass:GetGroupVersion": lambda model, _: answer(model, {"Definition": held}),
        "greengrass:GetConnectorDefinitionVersion": lambda model, _: answer(
            model, {"Definition": {"Connectors": [connector]}}
        ),
    }
    assert account.deploy("v1", "remove", "--group", "gateways", "--no-wait", "--yes") == 0
    made = account.calls.params("greengrass:CreateGroupVersion")
    assert made["ResourceDefinitionVersionArn"] == held["ResourceDefinitionVersionArn"]


def test_a_group_set_up_by_hand_gets_nothing_twice(account: Any, make_zip: Any, full_group: Any) -> None:
    # The console gives ids of its own, and the function may be of an older version.
    by_hand = [{**entry, "Id": f"0b7f-{number}"} for number, entry in enumerate(our_subscriptions(version=9))]
    add(account, "Function", [{**our_function(version=9), "Id": "8f3e"}])
    add(account, "Subscription", by_hand)
    assert apply(account, "--zip", make_zip("38")) == 0
    held = content(account)
    assert held["Functions"] == [*THEIR_FUNCTIONS, our_function()]
    assert held["Subscriptions"] == [*THEIR_SUBSCRIPTIONS, *our_subscriptions()]


def test_others_subscriptions_with_our_function_follow_it(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    theirs = {"Id": "look", "Source": f"{LAMBDA}:1", "Subject": "#", "Target": OTHER}
    add(account, "Subscription", [theirs])

    apply(account, "--zip", make_zip("38", version="1.1.0", code="# new\n"))
    assert content(account)["Subscriptions"][-1] == {**theirs, "Source": f"{LAMBDA}:2"}

    account.deploy("v1", "remove", "--group", "gateways", "--yes")
    assert content(account)["Subscriptions"] == THEIR_SUBSCRIPTIONS


def test_connectors_and_loggers_stay_and_awss_own_connector_is_named(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    # moto keeps neither connectors nor loggers in a group version, so these calls are answered here.
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    held = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    arn = f"arn:aws:greengrass:{REGION}:{ACCOUNT}:/greengrass/definition"
    more = {
        "ConnectorDefinitionVersionArn": f"{arn}/connectors/c1/versions/v1",
        "LoggerDefinitionVersionArn": f"{arn}/loggers/l1/versions/v1",
    }
    connector = {"Id": "dd", "ConnectorArn": f"arn:aws:greengrass:{REGION}::/connectors/DeviceDefender/versions/3"}
    account.calls.stubs = {
        "greengrass:GetGroupVersion": lambda model, _: answer(model, {"Definition": {**held, **more}}),
        "greengrass:GetConnectorDefinitionVersion": lambda model, params: answer(
            model, {"Definition": {"Connectors": [connector]}} if params["ConnectorDefinitionId"] == "c1" else {}
        ),
    }
    assert apply(account, "--zip", make_zip("38"), "--no-wait") == 0
    made = account.calls.params("greengrass:CreateGroupVersion")
    assert {key: made[key] for key in more} == more
    assert made["DeviceDefinitionVersionArn"] == held["DeviceDefinitionVersionArn"]
    assert "also holds AWS's own Device Defender connector" in capsys.readouterr().out


def test_a_long_definition_is_read_to_its_last_page(account: Any, make_zip: Any, full_group: Any) -> None:
    late = {"Id": "late", "FunctionArn": OTHER.replace("Thermostat", "Late")}
    pages: dict[Any, dict[str, Any]] = {
        None: {"Definition": {"DefaultConfig": DEFAULTS, "Functions": THEIR_FUNCTIONS}, "NextToken": "2"},
        "2": {"Definition": {"Functions": [late]}},
    }
    account.calls.stubs["greengrass:GetFunctionDefinitionVersion"] = lambda model, params: answer(
        model, pages[params.get("NextToken")]
    )
    assert apply(account, "--zip", make_zip("38"), "--no-wait") == 0
    made = account.calls.params("greengrass:CreateFunctionDefinitionVersion")
    assert made["Functions"] == [*THEIR_FUNCTIONS, late, our_function()]
    assert made["DefaultConfig"] == DEFAULTS


def test_a_failed_deployment_says_the_cores_reason_and_is_repeated(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    failure = {"DeploymentStatus": "Failure", "ErrorMessage": "The core is in an unknown state."}
    account.calls.stubs["greengrass:GetDeploymentStatus"] = lambda model, _: answer(model, failure)
    assert apply(account, "--zip", make_zip("38")) == 1
    assert "Failure: The core is in an unknown state." in capsys.readouterr().err
    assert account.deploy("v1", "status", "--group", "gateways") == 1

    account.calls.stubs.clear()
    account.v1_result = "Failure"
    account.aws.sleep(0)
    account.v1_result = "Success"
    assert apply(account, "--zip", make_zip("38")) == 0
    assert account.calls.writes == ["greengrass:CreateDeployment"]


@pytest.mark.parametrize("call", ["CreateGroupVersion", "CreateDeployment"])
def test_a_removal_that_did_not_reach_the_core_is_finished(
    account: Any, make_zip: Any, full_group: Any, call: str
) -> None:
    apply(account, "--zip", make_zip("38"))
    later = lambda model, _: refusal(model, "InternalServerErrorException", "later", 500)  # noqa: E731
    account.calls.stubs[f"greengrass:{call}"] = later
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 1

    account.calls.stubs.clear()
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes[-1] == "greengrass:CreateDeployment"
    assert content(account) == full_group
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []


def test_a_removal_that_failed_on_the_core_is_repeated(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    account.v1_result = "Failure"
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 1
    account.v1_result = "Success"
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == ["greengrass:CreateDeployment"]


def test_what_others_have_not_deployed_yet_is_not_deployed_by_remove(
    account: Any, make_zip: Any, full_group: Any
) -> None:
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []
    apply(account, "--zip", make_zip("38"))
    account.deploy("v1", "remove", "--group", "gateways", "--yes")
    add(account, "Resource", [{"Id": "more", "Name": "more", "ResourceDataContainer": volume("/m", "/m")}])
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []


def test_after_a_reset_the_group_is_deployed_again(account: Any, make_zip: Any, full_group: Any) -> None:
    apply(account, "--zip", make_zip("38"))
    group = account.client("greengrass").list_groups()["Groups"][0]
    last = {"CreatedAt": "9999", "DeploymentId": "r", "GroupArn": group["LatestVersionArn"]}
    reset = {"Deployments": [{**last, "DeploymentType": "ForceResetDeployment"}]}
    account.calls.stubs["greengrass:ListDeployments"] = lambda model, _: answer(model, reset)
    assert apply(account, "--zip", make_zip("38"), "--no-wait") == 0
    assert account.calls.writes == ["greengrass:CreateDeployment"]


def test_a_core_that_stays_away_ends_the_wait(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    account.v1_result = "InProgress"
    assert apply(account, "--zip", make_zip("38"), "--timeout", "60") == 1
    assert account.slept == 60
    assert "not finished in time, last state: InProgress" in capsys.readouterr().err


def test_when_the_service_is_gone_it_says_so(account: Any, capsys: Any) -> None:
    gone = lambda model, _: refusal(model, "GoneException", "no longer available", 410)  # noqa: E731
    account.calls.stubs["greengrass:ListGroups"] = gone
    assert account.deploy("v1", "status", "--group", "gateways") == 1
    error = capsys.readouterr().err
    assert "greengrass:ListGroups failed: GoneException: no longer available AWS ended Greengrass V1" in error


@pytest.mark.parametrize(
    ("group", "python", "code", "reason"),
    [
        ("nowhere", "38", 1, "no Greengrass V1 group 'nowhere' in eu-west-1. AWS ended Greengrass V1"),
        ("empty", "38", 1, "group empty has no core"),
        ("twins", "38", 2, "--group twins: there are 2 groups of that name; give an id: "),
        ("gateways", "312", 2, "V1 cores run Python 3.7 and 3.8"),
    ],
)
def test_what_stands_against_it(
    account: Any, make_zip: Any, full_group: Any, capsys: Any, group: str, python: str, code: int, reason: str
) -> None:
    for name in ("empty", "twins", "twins"):
        account.client("greengrass").create_group(Name=name)
    assert account.deploy("v1", "apply", "--group", group, "--zip", make_zip(python), "--yes") == code
    assert reason in capsys.readouterr().err
    assert account.calls.writes == []


MORE = {"Id": "more", "Name": "more", "ResourceDataContainer": volume("/m", "/m")}


@pytest.mark.parametrize("verb", ["apply", "remove"])
def test_what_others_change_while_somebody_reads_the_plan_stays(
    account: Any, make_zip: Any, full_group: Any, capsys: Any, verb: str
) -> None:
    apply(account, "--zip", make_zip("38"))

    def ask(question: str) -> str:
        add(account, "Resource", [MORE])
        return "y"

    flags = ["--zip", make_zip("38"), "--MaxListSize", "9"] if verb == "apply" else []
    assert account.deploy("v1", verb, "--group", "gateways", *flags, ask=ask) == 1
    assert "group gateways was changed meanwhile, which stays as it is" in capsys.readouterr().err
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE, MORE]

    assert account.deploy("v1", verb, "--group", "gateways", *flags, "--yes") == 0
    assert MORE in content(account)["Resources"]


def test_what_others_change_at_the_last_moment_stays(account: Any, make_zip: Any, full_group: Any, capsys: Any) -> None:
    create = "greengrass:CreateSubscriptionDefinitionVersion"

    def meanwhile(model: Any, params: Any) -> Any:
        del account.calls.stubs[create]
        add(account, "Resource", [MORE])
        return None

    account.calls.stubs[create] = meanwhile
    assert apply(account, "--zip", make_zip("38")) == 1
    assert "group gateways was changed meanwhile" in capsys.readouterr().err
    assert content(account)["Resources"] == [*THEIR_RESOURCES, MORE]


def let_another_function_use_our_resource(account: Any) -> None:
    policies = {"ResourceAccessPolicies": [{"ResourceId": "device-defender-proc", "Permission": "ro"}]}
    add(account, "Function", [{"Id": "top", "FunctionArn": OTHER, "FunctionConfiguration": {"Environment": policies}}])


def test_our_resource_does_not_move_while_another_function_uses_it(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    apply(account, "--zip", make_zip("38"))
    let_another_function_use_our_resource(account)
    flags = ["--zip", make_zip("38"), "--ProcDestinationPath", "/p2"]
    assert apply(account, *flags) == 1
    error = capsys.readouterr().err
    assert "resource device-defender-proc of group gateways is used by top too and is not what the connector" in error
    assert "choose another id with --ProcDestinationPath-ResourceId" in error
    assert account.calls.writes == []

    assert apply(account, *flags, "--ProcDestinationPath-ResourceId", "p2") == 0
    ours = {"Id": "p2", "Name": "device-defender-connector-proc-p2", "ResourceDataContainer": volume("/proc", "/p2")}
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE, ours]
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert content(account)["Resources"] == [*THEIR_RESOURCES, OUR_RESOURCE]


def test_what_others_have_not_deployed_yet_is_named_before_it_is(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    apply(account, "--zip", make_zip("38"))
    deployed = account.client("greengrass").list_groups()["Groups"][0]["LatestVersion"]
    add(account, "Resource", [MORE])
    newest = account.client("greengrass").list_groups()["Groups"][0]["LatestVersion"]
    capsys.readouterr()
    assert account.deploy("v1", "plan", "--group", "gateways", "--zip", make_zip("38")) == 0
    plan = capsys.readouterr().out
    assert f"    - GroupVersion: {deployed}\n    + GroupVersion: {newest}\n" in plan
    assert "newest version is not the one deployed last. What differs (resources) goes to the core with this" in plan


def test_a_second_removal_does_not_deploy_what_others_have_not(
    account: Any, make_zip: Any, full_group: Any, capsys: Any
) -> None:
    """Our resource, which stays as others use it, is no reason to."""
    apply(account, "--zip", make_zip("38"))
    let_another_function_use_our_resource(account)
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    add(account, "Resource", [MORE])
    assert account.deploy("v1", "remove", "--group", "gateways", "--yes") == 0
    assert account.calls.writes == []
    assert "Group gateways holds nothing of device-defender-connector" in capsys.readouterr().out
