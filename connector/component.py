"""`python -m connector component`: report as a native Greengrass component, over Greengrass IPC.

The loop, the unsent traffic, the state file and the log are those of the Lambda function; only the transport differs
(transports/greengrass_ipc.py, which needs the extra `ipc`). This module runs the process: it reads the settings from
the component's configuration, restarts the loop when they change, and ends the process when only a new one can help.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional

from . import __version__, agent, component_settings, config
from .clock import Clock
from .component_settings import DEFAULT_PAYLOAD_BYTES, PAYLOAD, Settings, bytes_of_topics
from .component_starts import Starts
from .deliveries import VERDICT_SECONDS
from .errors import ConfigError, ConnectorError
from .health import Health, duration, plain
from .memory import Memory
from .sigterm import end_on_sigterm
from .state import read_boot

if TYPE_CHECKING:
    from .transports.greengrass_ipc_connection import IpcConnection

logger = logging.getLogger("connector")

# A nucleus that is starting may take a while to answer. After this time a new process, with a new token, may help.
MAX_CONNECT_SECONDS = 60.0
MAX_CONFIGURATION_SECONDS = 60.0  # then reporting goes on without the configuration, which is asked for again later
FIRST_PAUSE_SECONDS = 1.0  # between two attempts; doubled each time
RETRY_SECONDS = 300.0
CHECK_SECONDS = 3_600.0  # then it is asked for without a sign of a change: the subscription may be dead
SETTLE_SECONDS = 1.0  # a deployment changes one value after the other
EPILOG = """\
A Greengrass nucleus starts this; by hand it finds no nucleus to connect to. Parameters come from the component's
configuration, else from environment variables of the same names. A changed configuration takes effect at once.

Exit codes: 0 ended by SIGTERM; 1 the connection to the nucleus is lost, which only a new process can make again;
2 wrong usage, not started by a nucleus, or a package is missing; 130 ended by Ctrl-C.
"""


def main(argv: List[str], environ: Mapping[str, str], prog: str) -> int:
    """Run the command line; return the exit code. prog: the command's name, for messages."""
    if argv:
        _parse(argv, prog)
    # The Java nucleus writes what a component prints to stderr as warnings.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout, level=logging.INFO)
    logging.getLogger("awsiot").setLevel(logging.CRITICAL)  # the connector logs one line for all of its
    try:
        from .transports import greengrass_ipc, greengrass_ipc_connection
    except ImportError as error:
        print(
            f"{prog}: Greengrass IPC needs awsiotsdk, which can't be imported ({error}): "
            "in the connector's repository, pip install '.[ipc]'",
            file=sys.stderr,
        )
        return 2

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    component = Component(
        environ,
        component_settings.default_directory(os.getcwd(), package),
        package,
        lambda on_lost: greengrass_ipc_connection.IpcConnection(environ, on_lost),
        lambda connection, settings: greengrass_ipc.GreengrassIpc(connection, settings.max_payload_bytes, logger),
        Clock(),
    )
    try:
        return component.run()
    except ConnectorError as error:
        print(f"{prog}: {plain(error, 1000)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _parse(argv: List[str], prog: str) -> None:
    """Serve --help and --version, and refuse anything else."""
    from .usage import Parser  # only here, with argparse: 0.4 MB that a component does not need

    parser = Parser(
        prog=prog,
        description="Report to AWS IoT Device Defender as a native Greengrass component.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.parse_args(argv)


class Component:
    """A component's process, from its start to its end.

    directory: for state, where StateDirectory is not set; "" for none. package: the folder of this code. connect:
    connects to the nucleus, as IpcConnection does. make_transport: makes what the loop sends through. clock: for
    waiting.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        directory: str,
        package: str,
        connect: Callable[[Callable[[str], None]], IpcConnection],
        make_transport: Callable[[IpcConnection, Settings], Any],
        clock: Clock,
    ) -> None:
        self._environ = environ
        self._directory = directory
        self._package = package
        self._connect = connect
        self._make_transport = make_transport
        self._clock = clock
        self._started = clock.monotonic()
        self._starts: Optional[Starts] = None
        self._lost: Optional[str] = None  # why the connection has ended
        self._is_changed = False  # the configuration, since it was read
        self._unread = False  # whether the configuration could not be read
        self._read: Optional[Settings] = None  # what it was when it could be read last
        self._health = Health(logger, clock.monotonic)
        self._warned: List[str] = []

    def run(self) -> int:
        """Report until SIGTERM, or until the connection is lost; return the exit code. Raises ConnectorError."""
        end_on_sigterm(self._clock.stop, threading.main_thread())
        connection = self._connected()
        if connection is not None:
            try:
                self._report(connection)
            finally:
                connection.close()
        return self._end()

    def _connected(self) -> Optional[IpcConnection]:
        """Connect; return None where the nucleus can't be reached in time, or at a stop. Raises ConfigError."""
        pause = FIRST_PAUSE_SECONDS
        while not self._clock.stopped:
            try:
                return self._connect(self._on_lost)
            except ConfigError:
                raise
            except ConnectorError as error:
                logger.warning("%s", plain(error))
                if self._clock.monotonic() - self._started > MAX_CONNECT_SECONDS:
                    self._lost = "there was none"
                    break
            self._clock.wait(pause)
            pause *= 2
        return None

    def _on_lost(self, reason: str) -> None:
        self._lost = reason
        self._clock.wake()

    def _on_change(self) -> None:
        self._is_changed = True
        self._clock.wake()

    @property
    def _goes_on(self) -> bool:
        return self._lost is None and not self._clock.stopped

    def _report(self, connection: IpcConnection) -> None:
        """Report with the current settings until a stop or the loss of the connection. Raises ConfigError."""
        self._watch(connection)
        settings = self._settings(connection)
        self._starts = self._remembered(settings)
        memory: Optional[Memory] = None
        while self._goes_on:
            transport = self._make_transport(connection, self._carried(settings, self._starts))
            running = agent.start(settings.parameters, transport, logger, ends_on_sigterm=False, memory=memory)
            try:
                settings = self._changed_settings(connection, settings)
                if self._goes_on:
                    # A report whose answer would be lost with the old subscription would be counted twice.
                    until = self._clock.monotonic() + VERDICT_SECONDS
                    while self._goes_on and running.reporter.awaits_answer and self._clock.monotonic() < until:
                        self._clock.wait(SETTLE_SECONDS)
                    logger.info("the configuration has changed: reporting starts anew with it")
            finally:  # also at Ctrl-C, so that the loop saves what is unsent
                running.clock.stop()
                running.loop.join()
            memory = running.reporter.memory  # the file may be older: the disk is full, or there is none
            if self._lost is not None and transport.closed_on > DEFAULT_PAYLOAD_BYTES:
                self._starts.add_too_long(transport.closed_on)
                self._lost += f", on a message of {transport.closed_on} bytes, which only the Java nucleus carries"

    def _carried(self, settings: Settings, starts: Starts) -> Settings:
        """Return the settings with shorter messages where the nucleus has closed the connection on a longer one."""
        carried = DEFAULT_PAYLOAD_BYTES - bytes_of_topics(settings.parameters)
        if not starts.too_long or settings.max_payload_bytes <= carried:
            return settings
        logger.warning(
            "%s is %d, but the nucleus has closed the connection on a message of %d bytes: from now on messages have "
            "at most %d. Leave %s out: only the Java nucleus carries more",
            PAYLOAD.name,
            settings.max_payload_bytes,
            starts.too_long,
            carried,
            PAYLOAD.name,
        )
        return settings._replace(max_payload_bytes=carried)

    def _changed_settings(self, connection: IpcConnection, settings: Settings) -> Settings:
        """Wait for changed settings and return them; at a stop, or a lost connection, return the present ones."""
        while self._goes_on:
            if self._is_changed:
                self._clock.wait(SETTLE_SECONDS)
                changed = self._settings(connection)
                if changed != settings:
                    return changed
            elif self._unread:
                self._ask_after(RETRY_SECONDS, connection)
            else:
                self._ask_after(CHECK_SECONDS, connection)
        return settings

    def _ask_after(self, seconds: float, connection: IpcConnection) -> None:
        """Wait for a sign of a change; without one have the configuration read, and changes told anew."""
        until = self._clock.monotonic() + seconds
        while self._goes_on and not self._is_changed and self._clock.monotonic() < until:
            self._clock.wait(until - self._clock.monotonic())
        if self._goes_on and not self._is_changed:
            self._watch(connection)
            self._is_changed = True

    def _watch(self, connection: IpcConnection) -> None:
        """Have changes of the configuration told."""
        try:
            connection.watch_configuration(self._on_change)
        except ConnectorError as error:
            text = f"{error}; they take effect within {duration(CHECK_SECONDS)}"
            self._health.failed("configuration updates", text)
        else:
            self._health.recovered("configuration updates")

    def _settings(self, connection: IpcConnection) -> Settings:
        """Return the settings as they are now. What can't be used of them is logged, once."""
        self._is_changed = False
        until = self._clock.monotonic() + MAX_CONFIGURATION_SECONDS
        pause = FIRST_PAUSE_SECONDS
        configuration: Dict[str, Any] = {}
        self._unread = True
        while self._goes_on and self._unread:
            try:
                configuration = _configuration(connection)
                self._unread = False
            except ConnectorError as error:
                if self._clock.monotonic() > until:
                    used = "the environment's parameters are" if self._read is None else "what was read last is"
                    again = f"it is asked for again every {duration(RETRY_SECONDS)}"
                    self._health.failed("configuration", f"{error}: {used} used, and {again}")
                    break
                self._clock.wait(pause)
                pause *= 2
        if self._unread and self._read is not None:
            return self._read
        settings, warnings = component_settings.read(configuration, self._environ, self._directory)
        if not self._unread:
            self._read = settings
            self._health.recovered("configuration")
        for warning in warnings:
            if warning not in self._warned:
                logger.warning("%s", plain(warning, 1000))
        self._warned = warnings
        return settings

    def _remembered(self, settings: Settings) -> Starts:
        """Return the remembered starts, this one included."""
        values, _ = config.read(settings.parameters)
        boot = read_boot(values["ProcDestinationPath"])
        return Starts(values["StateDirectory"], boot.boot_id if boot else "", self._started, self._package)

    def _end(self) -> int:
        """Wait until ending can't make the component BROKEN; return the exit code. Unsent traffic is saved already."""
        if self._clock.stopped:
            return 0
        starts = self._starts or self._remembered(component_settings.read({}, self._environ, self._directory)[0])
        seconds = starts.wait_seconds(self._clock.monotonic())
        logger.error(
            "the connection to the nucleus is lost (%s). Only a new process can connect again, so this one ends with "
            "an error%s",
            plain(self._lost),
            f" in {duration(seconds)}: a nucleus gives a component up that ends too often within an hour"
            if seconds
            else "",
        )
        until = self._clock.monotonic() + seconds
        while not self._clock.stopped and self._clock.monotonic() < until:
            self._clock.wait(until - self._clock.monotonic())
        code = 0 if self._clock.stopped else 1
        if code:
            starts.add_error(self._clock.monotonic())
        return code


def _configuration(connection: IpcConnection) -> Dict[str, Any]:
    """Return the whole configuration; if that call fails, read it one parameter at a time. Raises IpcError."""
    try:
        return connection.configuration()
    except ConnectorError:  # nucleus lite has ServiceError in place of an answer over 10,000 bytes
        found = {}
        for parameter in (*config.PARAMETERS, PAYLOAD):
            value = connection.parameter(parameter.name)
            if value is not None:
                found[parameter.name] = value
        return found
