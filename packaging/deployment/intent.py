"""The settings to deploy: what a target has now, changed by what was given on the command line.

What is deployed is the start: only what is given on the command line changes, and `--reset` goes back to a default. A
settings file is the whole intent instead: a setting that it does not name goes back to its default, except the
isolation, which stays as it is deployed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from deployment.errors import UsageError
from deployment.parameters import PARAMETERS, RESOURCE_ID
from deployment.settings import CONTAINER, DEFAULT_MEMORY_MB, NO_CONTAINER, READ_BY_FUNCTION, Settings, default_of, make

ALL, ISOLATION, MEMORY = "all", "isolation", "memory"

# Defaults of earlier versions. Every version writes its defaults into the deployment: there such a value is the default
# of that version, which nobody chose, and today's replaces it.
EARLIER_DEFAULTS = {
    "ExcludeInterfaces": ("lo,veth*,docker*,br-*,virbr*,cni*,flannel*,cali*,tap*,ifb*,dummy*,bond*",),
}

KEPT, CHANGED, RESET, NEW_DEFAULT, INVALID = "kept", "changed", "reset", "new default", "not valid"


@dataclass(frozen=True)
class Deployed:
    """What a target has now.

    parameters: the connector's parameters by name, as deployed
    isolation: GreengrassContainer or NoContainer
    memory_kb: the container's limit in KB, None without a container
    variables: environment variables that the connector does not know
    function_arn: the version of the Lambda function; empty for the native component
    component_arn: the version of the native component; empty for the function
    """

    parameters: dict[str, str]
    isolation: str
    memory_kb: int | None
    variables: dict[str, str]
    function_arn: str
    component_arn: str = ""


def deployed_from(
    environment: dict[str, str], isolation: str, memory_kb: int | None, function_arn: str, component_arn: str = ""
) -> Deployed:
    """Return what is deployed, from the environment or the configuration as a group, component or deployment has it."""
    names = {p.name: p.name for p in READ_BY_FUNCTION}
    aliases = {p.alias: p.name for p in READ_BY_FUNCTION if p.alias}
    parameters = {aliases[key]: value for key, value in environment.items() if key in aliases}
    parameters |= {key: value for key, value in environment.items() if key in names}
    variables = {key: value for key, value in environment.items() if key not in names and key not in aliases}
    in_container = isolation != NO_CONTAINER
    limit = memory_kb if in_container else None
    return Deployed(
        parameters, CONTAINER if in_container else NO_CONTAINER, limit, variables, function_arn, component_arn
    )


@dataclass(frozen=True)
class Intent:
    """What was given.

    flags: the parameters of the command line
    file: the parameters of the settings file, None without such a file
    isolation, memory_kb: from the command line or the file, None where neither has it
    reset: the names given to --reset, as `reset_names` returns them
    """

    flags: dict[str, str] = field(default_factory=dict)
    file: dict[str, str] | None = None
    isolation: str | None = None
    memory_kb: int | None = None
    reset: frozenset[str] = frozenset()

    def settings(self, deployed: Deployed | None) -> Settings:
        """Return the settings to deploy; raise UsageError if they clash."""
        isolation = self.isolation or CONTAINER
        if deployed and not self.isolation and not self.resets(ISOLATION):
            isolation = deployed.isolation
        given = dict(self.file or {})
        memory_kb, variables = self.memory_kb, {}
        if deployed:
            if self.file is None:
                kept = self._kept(deployed, isolation)
                given = {name: value for name, value in kept.items() if not self.resets(name)}
                if memory_kb is None and not self.resets(MEMORY) and isolation == CONTAINER:
                    memory_kb = deployed.memory_kb
            variables = {} if ALL in self.reset else deployed.variables
        given = {name: value for name, value in given.items() if not self.resets(name)}
        return make({**given, **self.flags}, isolation=isolation, memory_kb=memory_kb, variables=variables)

    def resets(self, name: str) -> bool:
        """Return whether --reset names a setting, or all."""
        return bool(self.reset & {name, ALL})

    def _kept(self, deployed: Deployed, isolation: str) -> dict[str, str]:
        """Return the deployed parameters that go on, if nothing else is given."""
        kept = {
            name: value
            for name, value in deployed.parameters.items()
            if is_valid(name, value) and value not in EARLIER_DEFAULTS.get(name, ())
        }
        if isolation != deployed.isolation:  # /proc without a container, another path in one: it follows the isolation
            kept.pop("ProcDestinationPath", None)
        return kept

    def marks(self, deployed: Deployed, wanted: Settings, has_isolation: bool = True) -> list[str]:
        """Return a line for each setting that is kept, changed or reset; those that stay at their default have none.

        has_isolation: whether a container is a choice, as it is for the function
        """
        lines = []
        for name, before, after, default in _compared(deployed, wanted):
            if name in (ISOLATION, MEMORY) and not has_isolation:
                continue
            if before == after:
                mark, text = KEPT, after
            elif name in self.flags or (name == ISOLATION and self.isolation) or (name == MEMORY and self.memory_kb):
                mark, text = CHANGED, f"{_shown(before)} -> {_shown(after)}"
            else:
                mark, text = self._mark(name, before, after, default), f"{_shown(before)} -> {_shown(after)}"
            if before != after or after != default:
                lines.append(f"{mark:<11}  {name}={text}")
        return lines

    def _mark(self, name: str, before: str, after: str, default: str) -> str:
        if self.resets(name) or (self.file is not None and after == default and name not in self.file):
            return RESET
        if not is_valid(name, before):
            return INVALID
        return NEW_DEFAULT if before in EARLIER_DEFAULTS.get(name, ()) else CHANGED


def reset_names(given: list[str]) -> frozenset[str]:
    """Return the settings that --reset names, in either spelling; raise UsageError for one that there is not."""
    known = {_plain(name): name for name in (*(p.name for p in PARAMETERS), ISOLATION, MEMORY, ALL)}
    for name in given:
        if _plain(name) not in known:
            raise UsageError(f"--reset {name}: there is no such setting; there are: {', '.join(known.values())}")
    return frozenset(known[_plain(name)] for name in given)


def is_valid(name: str, value: str) -> bool:
    """Return whether the connector takes this value of a parameter; what is no parameter is valid."""
    try:
        for parameter in PARAMETERS:
            if parameter.name == name and (value or parameter.default):
                parameter.check(value)
    except UsageError:
        return False
    return True


def _compared(deployed: Deployed, wanted: Settings) -> list[tuple[str, str, str, str]]:
    """Return name, deployed value, wanted value and default of every setting."""
    names = [p.name for p in READ_BY_FUNCTION]
    if RESOURCE_ID in deployed.parameters or RESOURCE_ID in wanted.parameters:
        names.append(RESOURCE_ID)
    rows = []
    for name in names:
        default = default_of(name)
        before_default = default
        if name == "ProcDestinationPath":  # what follows from the isolation is no choice of its own
            default = "/proc" if wanted.isolation == NO_CONTAINER else default
            before_default = "/proc" if deployed.isolation == NO_CONTAINER else before_default
        rows.append(
            (name, deployed.parameters.get(name, before_default), wanted.parameters.get(name, default), default)
        )
    rows.append((ISOLATION, deployed.isolation, wanted.isolation, CONTAINER))
    if wanted.isolation == CONTAINER and deployed.memory_kb:
        limits = (deployed.memory_kb, wanted.memory_kb, DEFAULT_MEMORY_MB * 1024)
        before_limit, after_limit, default_limit = (f"{limit / 1024:g} MB" for limit in limits)
        rows.append((MEMORY, before_limit, after_limit, default_limit))
    for name in sorted(deployed.variables):
        rows.append((name, deployed.variables[name], wanted.variables.get(name, ""), ""))
    return rows


def _shown(value: str) -> str:
    return value or "(empty)"


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
