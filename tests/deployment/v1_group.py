"""What a V1 group holds: the connector's entries, and those of others."""

from __future__ import annotations

from typing import Any

from fake_aws import ACCOUNT, LAMBDA, REGION

from connector import config

OTHER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Thermostat:7"


PARAMETERS = {
    "SampleIntervalSeconds": "300",
    "ProcDestinationPath": "/host_proc",
    "MetricNames": "long",
    "ReportFormat": "json",
    "MaxListSize": "50",
    "ExcludeInterfaces": config.DEFAULT_EXCLUDE,
    "MetricsTopic": "$aws/things/{thing}/defender/metrics/{format}",
    "ViolationsTopic": "device-defender/{thing}/violations",
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


MORE = {"Id": "more", "Name": "more", "ResourceDataContainer": volume("/m", "/m")}


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


def fill_group(account: Any) -> dict[str, Any]:
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


def add(account: Any, kind: str, entries: list[dict[str, Any]]) -> None:
    """Put entries into the group's newest version, as another person would."""
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    version = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    id_ = version[f"{kind}DefinitionVersionArn"].split("/")[-3]
    create = getattr(greengrass, f"create_{kind.lower()}_definition_version")
    made = create(**{f"{kind}DefinitionId": id_, f"{kind}s": [*content(account)[f"{kind}s"], *entries]})
    greengrass.create_group_version(GroupId=group["Id"], **{**version, f"{kind}DefinitionVersionArn": made["Arn"]})


def let_another_function_use_our_resource(account: Any) -> None:
    policies = {"ResourceAccessPolicies": [{"ResourceId": "device-defender-proc", "Permission": "ro"}]}
    add(account, "Function", [{"Id": "top", "FunctionArn": OTHER, "FunctionConfiguration": {"Environment": policies}}])


def replace_function(account: Any, entry: dict[str, Any]) -> None:
    """Replace the entry of that id in the group's newest version, as another person would."""
    functions = content(account)["Functions"]
    others = [function for function in functions if function["Id"] != entry["Id"]]
    greengrass = account.client("greengrass")
    group = greengrass.list_groups()["Groups"][0]
    version = greengrass.get_group_version(GroupId=group["Id"], GroupVersionId=group["LatestVersion"])["Definition"]
    id_ = version["FunctionDefinitionVersionArn"].split("/")[-3]
    made = greengrass.create_function_definition_version(FunctionDefinitionId=id_, Functions=[*others, entry])
    greengrass.create_group_version(GroupId=group["Id"], **{**version, "FunctionDefinitionVersionArn": made["Arn"]})
