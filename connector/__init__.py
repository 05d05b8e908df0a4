"""Device Defender metrics from an AWS IoT Greengrass core.

The way of a datum, one room a step; each knows its own step only:

    kernel/        tables of the mounted proc -> values
    snapshot.py    one picture of sockets, counters and custom metrics
    report.py      the picture as a metrics report
    encode.py      the report as JSON or CBOR bytes
    publisher.py   the bytes to a topic, through the Greengrass SDK

`reporter.py` is the loop that owns time, retries and what was not sent yet. `handler.py` is what a core imports and
the only module whose import starts anything; `python -m connector` prints reports without any core.
"""

__version__ = "1.0.0"
