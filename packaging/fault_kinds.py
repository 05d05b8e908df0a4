"""The faults that can be asked of the local core and of the nucleus: names, numbers and meaning. Needs no package.

What makes them happen: local_core/faults.py and local_core/nucleus_faults.py.
"""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional, Tuple

MAX_NUMBER = 999_999


class Argument(NamedTuple):
    """A number that belongs to a fault's name, such as the status in status:503."""

    name: str
    least: int
    most: int


class Kind(NamedTuple):
    """A kind of fault.

    text: what happens
    number: what a number after it counts: publishes, seconds, or nothing
    default: the number where none is given
    argument: the number before that one, which such a fault must have
    daemons: whether only nucleus lite has it, whose daemons are separate processes
    """

    text: str
    number: str = "publishes"
    default: int = 1
    argument: Optional[Argument] = None
    daemons: bool = False


CORE: Dict[str, Kind] = {
    "status": Kind("the publish is answered with that HTTP status", argument=Argument("CODE", 400, 599)),
    "redirect": Kind(
        "the publish is answered with a redirect (302) to that port of this machine",
        argument=Argument("PORT", 1, 65535),
    ),
    "hang": Kind("the publish is accepted and never answered"),
    "reset": Kind("the connection is reset"),
    "lost": Kind("the publish is delivered, and the connection is reset before the answer"),
    "cut": Kind("the answer ends in the middle of its first line"),
    "slow": Kind("the publish is delivered, and answered after a second"),
    "full": Kind("the core's queue is full"),
    "restart": Kind("the core drops all connections and starts again on the same port"),
    "refuse": Kind("nothing listens on the core's port, from the start on", "seconds"),
}
NUCLEUS: Dict[str, Kind] = {
    "mqtt-lost": Kind("the MQTT connection is lost, then made again", "seconds", 5),
    "mqtt-restart": Kind(
        "the MQTT daemon is restarted: subscriptions are forgotten, and components don't notice", "", daemons=True
    ),
    "mqtt-hang": Kind(
        "the MQTT daemon hangs: a publish fails after 10 s, and its message arrives later", "seconds", 15, daemons=True
    ),
    "ipc-hang": Kind("the IPC daemon hangs: calls are not answered", "seconds", 15, daemons=True),
    "ipc-restart": Kind(
        "the IPC daemon is restarted: connections are closed, the component's token is refused", "", daemons=True
    ),
    "config-lost": Kind(
        "the configuration daemon does not run: reading the configuration is an error", "seconds", 15, daemons=True
    ),
    "config-restart": Kind(
        "the configuration daemon is restarted: subscriptions to changes are dead without a sign", "", daemons=True
    ),
    "broker-refuse": Kind("the broker refuses messages: each is answered with OK, and lost"),
    "broker-silent": Kind("the broker answers nothing: messages are answered with OK, and lost", "seconds", 60),
    "error": Kind("publishes are answered with ServiceError, and not sent"),
    "unanswered": Kind("the service answers reports neither with accepted nor with rejected"),
}
_NUMBERS = {"publishes": "COUNT", "seconds": "SECONDS"}


def parse(text: str, kinds: Mapping[str, Kind]) -> Tuple[str, int]:
    """Return a fault, such as hang or status:503, and its number. Raises ValueError with what is valid."""
    name, *numbers = text.split(":")
    if name not in kinds:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(kinds)}")
    kind = kinds[name]
    limits = [kind.argument] if kind.argument else []
    if kind.number:
        limits.append(Argument(_NUMBERS[kind.number], 1, MAX_NUMBER))
    needed = 1 if kind.argument else 0
    if not needed <= len(numbers) <= len(limits) or not all(map(_is_in, numbers, limits)):
        ranges = "".join(f", {each.name} from {each.least} to {each.most}" for each in limits)
        raise ValueError(f"{text!r} is not {form(name, kind)}{ranges}")
    return ":".join([name, *numbers[:needed]]), int(numbers[needed]) if numbers[needed:] else kind.default


def form(name: str, kind: Kind) -> str:
    """Return how a fault is written, such as redirect:PORT[:COUNT]."""
    argument = f":{kind.argument.name}" if kind.argument else ""
    return f"{name}{argument}[:{_NUMBERS[kind.number]}]" if kind.number else name + argument


def listed(kinds: Mapping[str, Kind]) -> str:
    """Return a line for each kind, for a help text; those that only nucleus lite has are marked with *."""
    forms = {form(name, kind) + "*" * kind.daemons: kind for name, kind in kinds.items()}
    width = max(map(len, forms))
    default = {written: f" (default: {kind.default})" * (kind.default != 1) for written, kind in forms.items()}
    return "\n".join(f"  {written:{width}}  {kind.text}{default[written]}" for written, kind in forms.items())


def _is_in(text: str, limit: Argument) -> bool:
    return text.isdigit() and text.isascii() and limit.least <= int(text) <= limit.most
