"""Device Defender metrics of a host, from an AWS IoT Greengrass core or any other entry point.

Data flows one way, and each module knows its own stage only:

    kernel/        tables of the mounted proc -> values
    snapshot.py    values -> one snapshot of sockets, counters and custom metrics
    report.py      snapshot -> metrics report, with the names of names.py
    encode.py      report -> JSON or CBOR bytes
    publisher.py   bytes -> topic, over one of transports/

`reporter.py` is the loop: it owns time, retries and what is not sent yet. `agent.py` assembles and starts everything.
Entry points are `handler.py`, which a Greengrass core imports and which is the only module whose import starts
anything, `component.py`, a native Greengrass component, `direct.py`, which reports over MQTT without a core, and
`__main__.py`, which prints reports.
"""

__version__ = "1.0.0"
