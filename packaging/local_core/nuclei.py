"""What the two nuclei do differently, as far as a component notices it.

Lite: observed on aws-greengrass-lite 2.6.0. Java (2.x): from its documentation and source (2.18), not observed.
"""

from __future__ import annotations

import signal
from typing import FrozenSet, NamedTuple

from .errors import LocalCoreError

MAX_STARTS = 3  # then a component that fails is BROKEN
START_WINDOW_SECONDS = 3600.0


class Nucleus(NamedTuple):
    """One nucleus.

    name: for people
    max_request_bytes: of an event stream message after its prelude; a longer one ends the connection, and a longer
        answer with a configuration is ServiceError
    max_value_bytes: of one value of a configuration, as JSON; a longer one is ServiceError
    max_delivered_bytes: payload of a message for the component; a larger one is dropped
    max_payload_bytes: payload of a publish; a larger one is answered with an error
    max_unacknowledged, max_unacknowledged_bytes: QoS 1 messages that the broker has not acknowledged, of the whole
        core, where there is no spool
    spool_bytes: what is kept of QoS 1 messages while there is no MQTT connection, 0 for nothing
    error_text: whether errors carry one
    ends_responses: whether the answer to a request that has only one ends its stream
    answers_wrong_token: with a refusal, before the connection is closed
    takes_wildcards: in a publish's topic; the broker then ends the core's connection
    separate_daemons: for IPC and MQTT, each of which can be restarted or hang alone
    done: exit codes after which a component is not started again, negative for the signal that ended it
    fills_in_thing: whether {iot:thingName} in accessControl stands for the thing's name
    removed_variables: of the recipe's Setenv, which a component does not get
    counts_failures: whether MAX_STARTS failures make a component BROKEN, each within START_WINDOW_SECONDS of the one
        before; else a failure after MAX_STARTS starts within START_WINDOW_SECONDS does
    """

    name: str
    max_request_bytes: int
    max_value_bytes: int
    max_delivered_bytes: int
    max_payload_bytes: int
    max_unacknowledged: int
    max_unacknowledged_bytes: int
    spool_bytes: int
    error_text: bool
    ends_responses: bool
    answers_wrong_token: bool
    takes_wildcards: bool
    separate_daemons: bool
    done: FrozenSet[int]
    fills_in_thing: bool
    removed_variables: FrozenSet[str]
    counts_failures: bool


LITE = Nucleus(
    name="nucleus lite",
    max_request_bytes=10_000,
    max_value_bytes=1_024,
    max_delivered_bytes=5_000,
    max_payload_bytes=128 * 1024,
    max_unacknowledged=10,
    max_unacknowledged_bytes=15_000,
    spool_bytes=0,
    error_text=False,
    ends_responses=False,
    answers_wrong_token=False,
    takes_wildcards=True,
    separate_daemons=True,
    # Restart=on-failure of systemd (systemd.service(5)): these signals are a clean end.
    done=frozenset((0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE)),
    fills_in_thing=True,
    removed_variables=frozenset(),
    counts_failures=False,
)
JAVA = Nucleus(
    name="Java nucleus",
    max_request_bytes=16 * 1024 * 1024,
    max_value_bytes=16 * 1024 * 1024,
    max_delivered_bytes=128 * 1024,
    max_payload_bytes=128 * 1024,
    max_unacknowledged=0,
    max_unacknowledged_bytes=0,
    spool_bytes=2_621_440,
    error_text=True,
    ends_responses=True,
    answers_wrong_token=True,
    takes_wildcards=False,
    separate_daemons=False,
    done=frozenset((0,)),
    fills_in_thing=False,  # unless it has interpolateComponentConfiguration true
    # It starts a component by `sudo -E`, which takes these out (`sudo -V` as root names them; env_delete, sudoers(5)).
    removed_variables=frozenset(("PYTHONPATH", "PYTHONHOME", "PYTHONINSPECT", "PYTHONUSERBASE")),
    counts_failures=True,
)
NUCLEI = {"lite": LITE, "java": JAVA}


def find_nucleus(name: str) -> Nucleus:
    """Return the nucleus of this name. Raises LocalCoreError for another name."""
    if name not in NUCLEI:
        raise LocalCoreError(f"there is no nucleus '{name}'; there are {', '.join(NUCLEI)}")
    return NUCLEI[name]


class Times(NamedTuple):
    """How long things take on a core, seconds; shorter in tests.

    restart: from the end of a component to its next start
    patience: after which the IPC daemon gives up a call to the MQTT daemon
    keep_alive: after which a silent broker counts as dead
    reconnect: from the loss of the MQTT connection to the next one, where nothing says how long it is lost
    """

    restart: float = 1.0
    patience: float = 10.0
    keep_alive: float = 46.0
    reconnect: float = 5.0


REAL_TIMES = Times()
