"""Connects the parts of the connector and starts the loop, for any entry point, from settings and a transport."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional

from . import config
from .clock import Clock
from .config import Config
from .cycle import Made
from .encode import prepare
from .errors import TableError
from .health import Health, plain
from .kernel import host
from .kernel.proc import locate
from .memory import Memory
from .publisher import Publisher, in_thread
from .reporter import Reporter
from .sigterm import end_on_sigterm
from .snapshot import Snapshot, Source, Wanted
from .transports import Transport
from .verdict import Verdicts

if TYPE_CHECKING:
    from .state import Boot


class Agent:
    """A running connector.

    loop: the thread that reports; it ends after a stop.
    clock: its `stop()` ends the loop, from any thread.
    reporter: what runs on the loop.
    """

    def __init__(self, loop: threading.Thread, clock: Clock, reporter: Reporter) -> None:
        self.loop, self.clock, self.reporter = loop, clock, reporter


def start(
    settings: Mapping[str, str],
    transport: Transport,
    logger: logging.Logger,
    source: Callable[[Wanted, random.Random], Source] = Source,
    ends_on_sigterm: bool = True,
    memory: Optional[Memory] = None,
) -> Agent:
    """Start reporting through a transport, on a thread; return at once.

    settings: the parameters by name, as in `config.PARAMETERS`, and AWS_IOT_THING_NAME; on a core the environment.
    source: makes what takes the snapshots.
    ends_on_sigterm: whether SIGTERM ends the process; that takes the main thread, and no other handler. False where the
        caller handles SIGTERM.
    memory: of the reporter before, if this one takes over from it.

    Raises ConfigError where these settings can't work.
    """
    clock = Clock()
    loop = threading.Thread(target=lambda: run(reporter, transport, logger), name="reporter", daemon=True)
    ends = not ends_on_sigterm or end_on_sigterm(clock.stop, loop)
    parsed, warnings = config.parse(settings)
    logger.setLevel(parsed.log_level)
    if not ends:
        logger.debug("not started by the main thread: SIGTERM is not handled")
    for warning in warnings:
        logger.warning("%s", plain(warning, 1000))
    prepare(parsed.report_format)
    host.prepare(parsed.wanted.custom_metrics)
    reporter = assemble(parsed, transport, clock, random.Random(), logger, source, memory=memory)
    logger.info(
        "metrics of %s go to %s every %d s, read from %s: %s",
        parsed.thing,
        plain(parsed.topic),
        parsed.interval,
        parsed.wanted.proc,
        whose_network(parsed.wanted.proc),
    )
    loop.start()
    return Agent(loop, clock, reporter)


def assemble(
    parsed: Config,
    transport: Transport,
    clock: Clock,
    rng: random.Random,
    logger: logging.Logger,
    source: Callable[[Wanted, random.Random], Source] = Source,
    run_beside: Callable[[Callable[[], None]], None] = in_thread,
    memory: Optional[Memory] = None,
) -> Reporter:
    """Connect the parts, start the transport and return the loop, which does not run yet.

    source: makes what takes the snapshots. run_beside: runs a call of the transport on another thread.
    memory: as of `start`.
    """
    health = Health(logger, clock.monotonic)
    deliveries = None
    if transport.proves_delivery:
        verdicts = Verdicts(parsed.thing, parsed.topic, health, logger, clock.monotonic)
    else:
        from .deliveries import Deliveries  # only the native component needs it

        deliveries = Deliveries(clock, health, logger, transport.renew, transport.peer)
        verdicts = Verdicts(parsed.thing, parsed.topic, health, logger, clock.monotonic, deliveries.answer)

    def on_message(message: Any, topic: Optional[str]) -> None:
        try:
            verdicts.take(message, topic)
        except Exception as error:  # a message must not end the function
            logger.warning("a message could not be read: %s", plain(repr(error)))

    transport.on_message = on_message
    transport.start([parsed.topic + "/accepted", parsed.topic + "/rejected"])
    alarms, wanted = None, parsed.wanted
    if parsed.security_profiles:
        from .alarms import make  # 1 MB of memory that only profiles need

        alarms = make(parsed, transport, clock, run_beside, health, rng, logger)
        if alarms is not None:
            wanted = alarms.wanted(wanted)
    wait = clock.wait if alarms is None else alarms.wait
    publisher: Publisher[Made] = Publisher(transport, clock, run_beside, wait)
    return Reporter(
        parsed,
        take=logging_sources(source(wanted, rng).take, logger),
        publisher=publisher,
        clock=clock,
        health=health,
        rng=rng,
        logger=logger,
        read_boot=lambda: _read_boot(parsed.wanted.proc),
        verdicts=verdicts,
        alarms=alarms,
        deliveries=deliveries,
        max_payload_bytes=transport.max_payload_bytes,
        memory=memory,
    )


def _read_boot(proc: str) -> Optional[Boot]:
    from .state import read_boot  # only here, so that a function without StateDirectory does not load it

    return read_boot(proc)


def logging_sources(take: Callable[[], Snapshot], logger: logging.Logger) -> Callable[[], Snapshot]:
    """Return a `take` that logs at DEBUG where the sockets were read, the first time and when that changes."""
    known: Dict[str, str] = {}

    def take_and_log() -> Snapshot:
        snapshot = take()
        for name, sockets in (("TCP sockets", snapshot.established), ("UDP sockets", snapshot.listening_udp)):
            source = snapshot.sources.get(name, "the tables")
            if sockets is not None and known.get(name) != source:
                known[name] = source
                logger.debug("%s are read from %s", name, plain(source))
        return snapshot

    return take_and_log


def run(reporter: Reporter, transport: Transport, logger: logging.Logger) -> None:
    """Report until the clock is stopped, then close the transport."""
    reporter.run()
    try:
        transport.close()
    except Exception as error:  # the reports are sent: this is not worth a traceback at a stop
        logger.warning("the connection could not be closed: %s", plain(repr(error)))


def whose_network(proc: str) -> str:
    """Return in words whose network the reports show."""
    try:
        found = locate(proc)
    except TableError:
        return "which can't be read yet"
    if found.host:
        return "the host's network" + (", which this process shares" if found.shared else "")
    return "this process' own network"
