"""A component's configuration, as Get, Update and SubscribeToConfigurationUpdate see it, and its accessControl."""

from __future__ import annotations

import copy
import re
import threading
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from .spans import Span

ACCESS_CONTROL = "accessControl"
Watch = Callable[[List[str]], None]


class NoSuchKey(Exception):
    """The configuration has nothing at a path."""


class Unavailable(Exception):
    """The configuration can't be asked for now."""


class Configuration:
    """A configuration that is read, merged and watched from several threads.

    value: as a recipe's DefaultConfiguration with a deployment's merge
    variables: what {name} stands for in the resources of accessControl, such as iot:thingName
    """

    def __init__(self, value: Mapping[str, Any], variables: Mapping[str, str]) -> None:
        self._value: Dict[str, Any] = copy.deepcopy(dict(value))
        self._variables = dict(variables)
        self._watches: List[Tuple[List[str], Watch]] = []
        self._lock = threading.RLock()
        self.lost = Span(threading.Condition(self._lock))

    def get(self, path: Sequence[str]) -> Dict[str, Any]:
        """Return the map at a path; for a single value, a map with only its key. Raises NoSuchKey, Unavailable."""
        with self._lock:
            if self.lost:
                raise Unavailable("the configuration daemon does not answer")
            value: Any = self._value
            for key in path:
                if not isinstance(value, dict) or key not in value:
                    raise NoSuchKey("/".join(path))
                value = value[key]
            return copy.deepcopy(value if isinstance(value, dict) else {path[-1]: value})

    def merge(self, path: Sequence[str], value: Any) -> None:
        """Put a value at a path, merging maps key by key; call those who watch with the path of each changed leaf."""
        with self._lock:
            at = self._value
            for key in path[:-1]:
                at = at.setdefault(key, {})
            changed: List[List[str]] = []
            if path:
                _merge(at, {path[-1]: value}, list(path[:-1]), changed)
            else:
                _merge(at, value, [], changed)
            watches = list(self._watches)
        for leaf in changed:
            for watched, tell in watches:
                if leaf[: len(watched)] == watched:
                    tell(leaf)

    def watch(self, path: Sequence[str], tell: Watch, on_begin: Callable[[], None]) -> Callable[[], None]:
        """Call `on_begin`, then `tell` with the path of each leaf that changes below `path`; return what ends it.

        Raises NoSuchKey, Unavailable.
        """
        with self._lock:
            self.get(path)
            on_begin()
            entry = (list(path), tell)
            self._watches.append(entry)

        def end() -> None:
            with self._lock:
                if entry in self._watches:
                    self._watches.remove(entry)

        return end

    def forget_watches(self) -> None:
        """Tell nobody of changes any more who watches now, and nobody of that: the daemon was restarted."""
        with self._lock:
            self._watches.clear()

    def allows(self, service: str, operation: str, resource: str) -> bool:
        """Return whether accessControl lets the component do this to that topic."""
        with self._lock:
            policies = self._value.get(ACCESS_CONTROL, {}).get(service, {})
            return any(
                covers(re.sub(r"\{([^{}]+)\}", self._filled_in, allowed), resource)
                for policy in policies.values()
                if operation in policy["operations"] or "*" in policy["operations"]
                for allowed in policy["resources"]
            )

    def _filled_in(self, match: re.Match[str]) -> str:
        return self._variables.get(match.group(1), match.group(0))


def covers(allowed: str, topic: str) -> bool:
    """Return whether a resource of accessControl covers a topic or topic filter: equal, `*`, or by + and #."""
    if allowed == "*":
        return True
    wanted = topic.split("/")
    levels = allowed.split("/")
    for place, level in enumerate(levels):
        if level == "#":
            return True
        if place >= len(wanted) or wanted[place] == "#" or level not in ("+", wanted[place]):
            return False
    return len(levels) == len(wanted)


def leaves(value: Any) -> List[Any]:
    """Return the values in a configuration that are no maps."""
    if not isinstance(value, dict):
        return [value]
    return [leaf for item in value.values() for leaf in leaves(item)]


def _merge(into: Dict[str, Any], value: Mapping[str, Any], path: List[str], changed: List[List[str]]) -> None:
    for key, item in value.items():
        if isinstance(item, dict) and isinstance(into.get(key), dict):
            _merge(into[key], item, [*path, key], changed)
        elif key not in into or into[key] != item:
            into[key] = copy.deepcopy(item)
            changed.append([*path, key])
