"""An AWS IoT Greengrass core on this machine, for one function: the artifact itself runs, without AWS.

core.py       LocalCore: starts and stops a function, delivers its messages
function.py   unpacks the zip, runs the function's process
server.py     the wire protocol, HTTP on loopback
faults.py     the core's faults, on request
router.py     the group's subscriptions
nucleus.py    LocalNucleus: the same for a native component of a V2 nucleus, nucleus lite or the Java nucleus
nuclei.py     what differs between the two
component.py  the component's process
ipc_server.py, ipc_operations.py, event_stream.py    Greengrass IPC: connections, operations, bytes
component_config.py    the component's configuration and accessControl
mqtt_proxy.py the core's MQTT connection
spans.py      states of a nucleus that last for some seconds: hung, lost, silent
nucleus_faults.py      the nucleus' faults, on request
cloud.py      what both send to
service.py    Device Defender: checks reports and answers them
alarms.py     Device Defender Detect: judges accepted reports by security profiles
mqtt.py       sends what reaches the cloud to an MQTT broker too
screen.py, report_line.py     what run_local.py prints
errors.py     the errors, whose texts are for the person who runs the local core
runtime/      the runtime and the two packages that a core puts on the function's sys.path
"""

from .alarms import event_of, read_profile
from .core import FUNCTION_ARN, LocalCore
from .errors import FunctionError, LocalCoreError
from .nuclei import Times
from .nucleus import LocalNucleus
from .router import Subscription, default_subscriptions, read_subscriptions
from .screen import Screen
from .service import Delivery, MalformedReport, Verdict, check_report, decode_report

__all__ = [
    "FUNCTION_ARN",
    "Delivery",
    "FunctionError",
    "LocalCore",
    "LocalCoreError",
    "LocalNucleus",
    "MalformedReport",
    "Screen",
    "Subscription",
    "Times",
    "Verdict",
    "check_report",
    "decode_report",
    "default_subscriptions",
    "event_of",
    "read_profile",
    "read_subscriptions",
]
