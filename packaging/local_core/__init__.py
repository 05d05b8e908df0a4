"""An AWS IoT Greengrass core on this machine, for one function: the artifact itself runs, without AWS.

core.py       the core: one function, its messages, what a test or a person may ask of it
function.py   the zip unpacked, the function's process
server.py     the wire protocol on loopback
faults.py     what may go wrong with it, on request
router.py     the group's subscriptions
service.py    Device Defender: checks reports, answers
alarms.py     Detect in the service's stead: judges accepted reports by security profiles
mqtt.py       a broker that listens in
runtime/      what the function's process finds on sys.path: the core's runtime and its two packages
"""

from .alarms import event_of, read_profile
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
    "event_of",
    "read_profile",
    "read_subscriptions",
]
