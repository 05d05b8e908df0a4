"""An AWS IoT Greengrass core on this machine, for one function: the artifact itself runs, without AWS.

core.py       LocalCore: starts and stops a function, delivers its messages
function.py   unpacks the zip, runs the function's process
server.py     the wire protocol, HTTP on loopback
faults.py     the faults that a caller can ask for
router.py     the group's subscriptions
service.py    Device Defender: checks reports and answers them
mqtt.py       sends what reaches the cloud to an MQTT broker too
runtime/      the runtime and the two packages that a core puts on the function's sys.path
"""

from .core import FUNCTION_ARN, LocalCore
from .errors import FunctionError, LocalCoreError
from .router import Subscription, default_subscriptions, read_subscriptions
from .service import Delivery, MalformedReport, Verdict, check_report, decode_report

__all__ = [
    "FUNCTION_ARN",
    "Delivery",
    "FunctionError",
    "LocalCore",
    "LocalCoreError",
    "MalformedReport",
    "Subscription",
    "Verdict",
    "check_report",
    "decode_report",
    "default_subscriptions",
    "read_subscriptions",
]
