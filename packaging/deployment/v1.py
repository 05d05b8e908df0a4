"""Greengrass V1: the connector's entries in a group, merged with whatever else the group holds.

A group version points to one version of each definition (functions, resources, subscriptions, ...). None of them can
be edited: what changes gets a new definition version, then the group gets a new version, which is deployed.
Definitions that don't change keep their version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deployment import function as lambda_function
from deployment import intent
from deployment.aws import V1_ENDED, Aws, Waiting
from deployment.cores import Core
from deployment.errors import DeployError, UsageError
from deployment.intent import Deployed
from deployment.parameters import RESOURCE_ID
from deployment.plan import Change, Document
from deployment.settings import CONTAINER, INPUT_ENCODING, SUBSCRIPTION_IDS, TIMEOUT_SECONDS, Settings
from deployment.v1_definitions import Definitions, bare, is_version_of, merged, new_core, repointed, way

DEFAULT_RESOURCE_ID = "device-defender-proc"

# V1 cores run Python 3.7 and 3.8, which AWS Lambda no longer takes: the function is created for a Python that Lambda
# still has, and FunctionRuntimeOverride tells the core which one to use.
RUNTIMES = ("python3.7", "python3.8")
CLOUD_RUNTIME = "python3.13"

_KINDS = ("Function", "Resource", "Subscription")


@dataclass
class Group:
    """A group, found by name or id, and what the connector needs in it.

    function: name of the Lambda function, and the id of its entry in the group
    runtime: Lambda's name of the zip's Python, empty without a zip
    resource_id: id of the volume for /proc
    new_core: thing to make a core of, with a new group around it, where there is no group of that name
    notes: what the person should know about the changes last computed
    """

    aws: Aws
    name: str
    function: str
    runtime: str = ""
    resource_id: str = DEFAULT_RESOURCE_ID
    new_core: str | None = None
    notes: list[str] = field(default_factory=list)

    _id: str = field(default="", init=False)
    _version: str = field(default="", init=False)
    _core: Document = field(default_factory=dict, init=False)
    _held: Definitions = field(init=False)

    def __post_init__(self) -> None:
        self._held = Definitions(self.aws)

    @property
    def _client(self) -> Any:
        return self.aws.client("greengrass")

    def read(self) -> None:
        """Find the group and read its newest version and its core."""
        self._id, self._version, self._held, self._core = "", "", Definitions(self.aws), {}
        groups = self.aws.pages("greengrass", "list_groups", "Groups")
        found = [g for g in groups if self.name in (g["Id"], g["Name"])]
        if len(found) > 1:
            ids = ", ".join(group["Id"] for group in found)
            raise UsageError(f"--group {self.name}: there are {len(found)} groups of that name; give an id: {ids}")
        if not found:
            if not self.new_core:
                raise DeployError(f"no Greengrass V1 group {self.name!r} in {self.aws.region}. {V1_ENDED}")
            self._core = new_core(self.aws, self.new_core)
            return
        self._id, self._version = found[0]["Id"], found[0].get("LatestVersion", "")
        if self._version:
            version = self._client.get_group_version(GroupId=self._id, GroupVersionId=self._version)
            self._held.arns = {key: arn for key, arn in version["Definition"].items() if arn}
        cores = self._held.of("Core").get("Cores", [])
        if not cores:
            raise DeployError(f"group {self.name} has no core: add the core's thing and certificate to it first")
        self._core = cores[0]
        if self.new_core and self.new_core != self.thing:
            raise UsageError(f"--new-core {self.new_core}: group {self.name} exists, with core {self.thing}")

    @property
    def thing(self) -> str:
        """The core's thing."""
        return str(self._core["ThingArn"]).partition(":thing/")[2]

    @property
    def title(self) -> str:
        """The target as messages name it."""
        return f"group {self.name}"

    @property
    def log(self) -> str:
        """The files on the core that say why a deployment failed."""
        function = f"/greengrass/ggc/var/log/user/<region>/<account>/{self.function}.log"
        return f"/greengrass/ggc/var/log/system/runtime.log and {function}"

    @property
    def principals(self) -> list[str]:
        """What an AWS IoT policy for the core is attached to."""
        return [self._core["CertificateArn"]]

    def deployed(self, must_be_readable: bool = True) -> Deployed | None:
        """Return the connector's settings in the group's newest version, None if it is not in it.

        A group can always be read: `must_be_readable` is for V2.
        """
        entry = self.entry()
        if not entry:
            return None
        configuration = entry.get("FunctionConfiguration", {})
        environment = configuration.get("Environment", {})
        isolation = environment.get("Execution", {}).get("IsolationMode") or CONTAINER
        found = intent.deployed_from(
            environment.get("Variables", {}), isolation, configuration.get("MemorySize"), entry.get("FunctionArn", "")
        )
        resource = self._proc_resource(environment.get("ResourceAccessPolicies", []))
        if resource and resource != DEFAULT_RESOURCE_ID:
            found.parameters[RESOURCE_ID] = resource
        return found

    def entry(self) -> Document | None:
        """Return the connector's function as the group's newest version has it, None without one."""
        functions = self._held.of("Function").get("Functions", [])
        return next((entry for entry in functions if self._is_ours("Function", entry)), None)

    def _proc_resource(self, policies: list[Document]) -> str | None:
        """Return the id of the volume for /proc among the resources that the function may use."""
        used = [policy["ResourceId"] for policy in policies]
        for resource in self._held.of("Resource").get("Resources", []):
            data = resource.get("ResourceDataContainer", {}).get("LocalVolumeResourceData", {})
            if resource["Id"] in used and data.get("SourcePath") == "/proc":
                return str(resource["Id"])
        return None

    def python_notes(self, deployed: Deployed | None) -> list[str]:
        """Return a note if the zip is for another Python than the group sets now. A core reports none of its own."""
        entry = self.entry() if deployed else None
        now = entry.get("FunctionConfiguration", {}).get("FunctionRuntimeOverride") if entry else None
        return lambda_function.python_notes(now, self.runtime)

    def changes(self, settings: Settings, function_arn: str) -> list[Change]:
        """Return what brings the connector, with these settings, into the group and the group to its core."""
        self.resource_id = settings.parameters.get(RESOURCE_ID, DEFAULT_RESOURCE_ID)
        self.notes = self._conflicts()
        changes = []
        if not self._id:
            title = f"Greengrass group {self.name} with core {self.thing}"
            changes.append(Change(title, None, {"Cores": [self._core]}, self._create))
        resources, policies = self._resources(settings)
        ours = {
            "Function": [self._function(settings, function_arn, policies)],
            "Resource": resources,
            "Subscription": [
                {key.capitalize(): value for key, value in subscription.items()}
                for subscription in settings.subscriptions(function_arn, self.thing)
            ],
        }
        return changes + self._merge(ours, function_arn)

    def removals(self) -> list[Change]:
        """Return what takes the connector out of the group, and only it."""
        held = {kind: self._held.of(kind).get(f"{kind}s", []) for kind in _KINDS}
        # One of ours that others use has stayed: it is no reason to deploy.
        users = self._users_of_resources()
        held["Resource"] = [entry for entry in held["Resource"] if entry["Id"] not in users]
        if not any(self._is_ours(kind, entry) for kind, entries in held.items() for entry in entries):
            self.notes = [f"Group {self.name} holds nothing of {self.function}."]
            if not self._may_still_run():
                return []
            self.notes.append("Its core may still run it: the group's newest version did not get there.")
        return self._merge({kind: [] for kind in _KINDS}, None)

    def core_status(self) -> tuple[str, Core, bool]:
        """Return the last deployment as text, the core in it, and whether the core is not done yet."""
        deployment = self._deployment()
        if not deployment:
            return "the group's newest version was never deployed", Core(self.thing), False
        state, done = self._deployment_state(deployment)
        word, _, reason = state.partition(": ")
        words = {"Success": "succeeded", "Failure": "failed"}
        return (
            f"deployment {deployment}: {word}",
            Core(self.thing, words.get(word, "in progress"), reason=reason),
            not done,
        )

    def wait(self, waiting: Waiting) -> None:
        """Wait until the newest deployment is over; raise DeployError with the core's reason if it failed."""
        deployment = self._deployment()
        if not deployment:
            return
        waiting.until_done(lambda: self._deployment_state(deployment))
        state, _ = self._deployment_state(deployment)
        if state.startswith("Failure"):
            raise DeployError(f"deployment {deployment} of group {self.name}: {state}")

    def settled(self) -> bool:
        """Return whether the core has taken the group's newest version, so that it runs nothing of before."""
        return self._is_deployed() and self._deployment_state(self._deployment() or "")[1]

    def check_unchanged(self) -> None:
        """Raise DeployError if the group got another version since it was read."""
        groups = self.aws.pages("greengrass", "list_groups", "Groups")
        latest = [g.get("LatestVersion", "") for g in groups if g["Id"] == self._id or g["Name"] == self.name]
        if latest != ([self._version] if self._id else []):
            raise DeployError(
                f"group {self.name} was changed meanwhile, which stays as it is: run this again to see what would "
                "change now"
            )

    # The connector's entries, in V1's shape

    def _function(self, settings: Settings, arn: str, policies: list[Document]) -> Document:
        # The user and group that somebody chose for the function stay.
        before = (self.entry() or {}).get("FunctionConfiguration", {}).get("Environment", {}).get("Execution", {})
        run_as = {"RunAs": before["RunAs"]} if before.get("RunAs") else {}
        execution = {"IsolationMode": settings.isolation, **run_as}
        environment: Document = {"Execution": execution, "Variables": settings.environment}
        configuration: Document = {"EncodingType": INPUT_ENCODING, "Environment": environment}
        if settings.volumes:  # in a container only: without one V1 takes neither
            environment["ResourceAccessPolicies"] = policies
            configuration["MemorySize"] = settings.memory_kb
        configuration |= {"Pinned": True, "Timeout": TIMEOUT_SECONDS, "FunctionRuntimeOverride": self.runtime}
        return {"Id": self.function, "FunctionArn": arn, "FunctionConfiguration": configuration}

    def _resources(self, settings: Settings) -> tuple[list[Document], list[Document]]:
        """Return our volume resources, and the function's access to all that it uses."""
        existing = {r["Id"]: r for r in self._held.of("Resource").get("Resources", [])}
        users = self._users_of_resources()
        proc = f"{self.function}-proc"
        if self.resource_id != DEFAULT_RESOURCE_ID:  # two may be there, one for somebody else's function
            proc = f"{proc}-{self.resource_id}"
        names = {self.resource_id: proc, "device-defender-state": f"{self.function}-state"}
        ours, policies = [], []
        for (id_, name), volume in zip(names.items(), settings.volumes, strict=False):
            data = {
                "SourcePath": volume.source,
                "DestinationPath": volume.destination,
                "GroupOwnerSetting": {"AutoAddGroupOwner": True},
            }
            resource = {"Id": id_, "Name": name, "ResourceDataContainer": {"LocalVolumeResourceData": data}}
            policies.append({"ResourceId": id_, "Permission": volume.permission})
            is_ours = id_ not in existing or self._is_ours("Resource", existing[id_])
            if is_ours:
                ours.append(resource)
            if id_ not in existing or (is_ours and id_ not in users):
                continue
            if bare(existing[id_]["ResourceDataContainer"]) != bare(resource["ResourceDataContainer"]):
                whose = f"is used by {users[id_]} too" if is_ours else "belongs to somebody else"
                advice = "give theirs another id, or leave --StateDirectory out"
                if id_ == self.resource_id:
                    advice = f"choose another id with --{RESOURCE_ID}"
                raise DeployError(
                    f"resource {id_} of group {self.name} {whose} and is not what the connector "
                    f"needs ({volume.source} on {volume.destination}, AutoAddGroupOwner true); {advice}"
                )
        return ours, policies

    # What the group holds

    def _is_ours(self, kind: str, entry: Document) -> bool:
        if kind == "Function":
            return entry["Id"] == self.function or is_version_of(entry.get("FunctionArn", ""), self.function)
        if kind == "Resource":
            return entry["Name"] in (f"{self.function}-{of}" for of in ("proc", f"proc-{entry['Id']}", "state"))
        return entry["Id"] in SUBSCRIPTION_IDS

    def _merge(self, ours: dict[str, list[Document]], function_arn: str | None) -> list[Change]:
        changes = []
        for kind, entries in ours.items():
            definition = self._held.of(kind)
            before = definition.get(f"{kind}s", [])
            kept = self._users_of_resources() if kind == "Resource" else {}
            ours_now = [entry for entry in before if self._is_ours(kind, entry) and entry["Id"] not in kept]
            after = merged(before, entries, ours_now)
            if kind == "Subscription":
                # What carries the same, added by hand under another id, is ours too.
                ways = [way(entry) for entry in entries]
                after = repointed(after, self.function, function_arn)
                after = [entry for entry in after if self._is_ours(kind, entry) or way(entry) not in ways]
            if after != before:
                title = f"{kind.lower()}s of group {self.name}"
                shown = {f"{kind}s": before} if before else None, {f"{kind}s": after} if after else None
                changes.append(
                    Change(title, *shown, self._held.writer(self.name, kind, {**definition, f"{kind}s": after}))
                )
        if changes or not self._is_deployed():
            deployed = self._last_deployment()[1]
            before_version = {"GroupVersion": deployed} if deployed else None
            after_version = {"GroupVersion": "(new version)" if changes else self._version}
            if before_version == after_version:
                before_version = None
            title = f"deployment of group {self.name} to its core"
            changes.append(Change(title, before_version, after_version, self._deployer(bool(changes))))
            self.notes += self._undeployed(deployed)
        return changes

    def _undeployed(self, deployed: str) -> list[str]:
        """Return a note on what the newest version holds and the deployed one doesn't: it goes to the core as well."""
        if not deployed or deployed == self._version:
            return []
        arns = self._client.get_group_version(GroupId=self._id, GroupVersionId=deployed)["Definition"]
        keys = sorted(key for key in arns.keys() | self._held.arns.keys() if arns.get(key) != self._held.arns.get(key))
        kinds = ", ".join(key.removesuffix("DefinitionVersionArn").lower() + "s" for key in keys)
        return [
            f"The group's newest version is not the one deployed last. What differs ({kinds or 'nothing'}) goes to the "
            "core with this."
        ]

    def _users_of_resources(self) -> dict[str, str]:
        """Return who else uses which resource, a function or a connector; it stays as it is even if we made it."""
        users: dict[str, str] = {}
        for function in self._held.of("Function").get("Functions", []):
            environment = function.get("FunctionConfiguration", {}).get("Environment", {})
            if not self._is_ours("Function", function):
                users |= {p["ResourceId"]: function["Id"] for p in environment.get("ResourceAccessPolicies", [])}
        for connector in self._held.of("Connector").get("Connectors", []):
            parameters = connector.get("Parameters", {})
            users |= {value: connector["Id"] for name, value in parameters.items() if name.endswith("-ResourceId")}
        return users

    def _deployer(self, new_version: bool) -> Callable[[], None]:
        def deploy() -> None:
            self.check_unchanged()  # once more: a group version that came meanwhile would be left behind
            if new_version:
                self._version = self._client.create_group_version(GroupId=self._id, **self._held.arns)["Version"]
            self._client.create_deployment(
                GroupId=self._id, GroupVersionId=self._version, DeploymentType="NewDeployment"
            )

        return deploy

    # The group's core and its deployments

    def _create(self) -> None:
        core = self._client.create_core_definition(Name=f"{self.name}-core", InitialVersion={"Cores": [self._core]})
        self._held.arns = {"CoreDefinitionVersionArn": core["LatestVersionArn"]}
        made = self._client.create_group(Name=self.name, InitialVersion=self._held.arns)
        self._id, self._version = made["Id"], made["LatestVersion"]

    def _last_deployment(self) -> tuple[str, str]:
        """Return the id of the last deployment, and the group version that it brought; empty without one."""
        if not self._id:
            return "", ""
        deployments = self.aws.pages("greengrass", "list_deployments", "Deployments", GroupId=self._id)
        last = max(deployments, key=lambda d: d["CreatedAt"], default=None)
        if not last or "Reset" in last["DeploymentType"]:
            return "", ""
        return last["DeploymentId"], last["GroupArn"].rpartition("/")[2]

    def _deployment(self) -> str | None:
        """Return the id of the last deployment if it is of the group's newest version."""
        deployment, version = self._last_deployment()
        return deployment if deployment and version == self._version else None

    def _may_still_run(self) -> bool:
        """Return whether the core may run the function that the group's newest version doesn't hold."""
        deployment, version = self._last_deployment()
        if not deployment:
            return False
        if version == self._version:
            return not self._is_deployed()
        arns = self._client.get_group_version(GroupId=self._id, GroupVersionId=version)["Definition"]
        return any(self._is_ours("Function", f) for f in self._held.of("Function", arns).get("Functions", []))

    def _is_deployed(self) -> bool:
        deployment = self._deployment()
        return deployment is not None and not self._deployment_state(deployment)[0].startswith("Failure")

    def _deployment_state(self, deployment: str) -> tuple[str, bool]:
        status = self._client.get_deployment_status(GroupId=self._id, DeploymentId=deployment)
        state = status["DeploymentStatus"]
        details = [detail.get("DetailedErrorMessage", "") for detail in status.get("ErrorDetails", [])]
        reasons = "; ".join(reason for reason in [status.get("ErrorMessage", ""), *details] if reason)
        return f"{state}: {reasons}" if reasons else state, state in ("Success", "Failure")

    def _conflicts(self) -> list[str]:
        connectors = self._held.of("Connector").get("Connectors", [])
        if any("/connectors/DeviceDefender/" in connector["ConnectorArn"] for connector in connectors):
            return [
                f"Group {self.name} also holds AWS's own Device Defender connector. Both report for {self.thing}, and "
                "the service takes one report in 300 s: remove that connector from the group."
            ]
        return []
