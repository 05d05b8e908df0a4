"""Reports a host's connections, ports, traffic and custom metrics to AWS IoT Device Defender.

Data flows one way, and each module knows its own stage only:

    kernel/        kernel tables -> values
    snapshot.py    values -> one snapshot of sockets, counters and custom metrics
    traffic.py     counters -> traffic that no accepted report has carried yet
    report.py      snapshot -> metrics report, with the names of names.py
    encode.py      report -> JSON or CBOR bytes
    publisher.py   bytes -> topic, over one of transports/

`cycle.py` makes one report of a reading. `reporter.py` is the loop: it owns time, retries and what is not sent yet.
`agent.py` connects the parts and starts the loop.

Entry points: `handler.py`, which a Greengrass core imports (the only module whose import starts anything);
`component.py`, a native Greengrass component; `direct.py`, which reports over MQTT without a core; `__main__.py`, which
prints reports.
"""

__version__ = "1.0.0"
