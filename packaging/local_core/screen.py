"""Prints what run_local.py shows, and writes the recording that was asked for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional, TextIO, Union

from connector.detect.event import sentence

from .alarms import event_of
from .core import LocalCore
from .nucleus import LocalNucleus
from .report_line import ReportLines
from .service import REPORT_TOPIC, Delivery

MAX_SHOWN_BYTES = 2000  # of a message that is no report


class Screen:
    """Prints from any thread.

    full: whether to print each report as a document; otherwise one line each
    on_lost: called when standard output was closed
    record: an open file that gets each accepted report, a line of JSON with the thing's name
    clock: epoch seconds, for the lines
    prog: the command's name, for errors
    """

    def __init__(
        self,
        full: bool,
        on_lost: Callable[[], None],
        record: Optional[TextIO] = None,
        clock: Callable[[], float] = time.time,
        prog: str = "run_local.py",
    ) -> None:
        self._full, self._on_lost, self._record, self._clock = full, on_lost, record, clock
        self._prog = prog
        self._lines = ReportLines()
        self._lock = threading.Lock()

    def introduce(self, core: Union[LocalCore, LocalNucleus], artifact: str) -> None:
        """Print what runs, and on which interpreter and core."""
        version = ".".join(str(part) for part in core.interpreter.version)
        self.say(f"{artifact} on Python {version} ({core.interpreter.path})")
        kind = f"a {core.nucleus.name}" if isinstance(core, LocalNucleus) else f"a V{core.generation} core"
        self.say(f"{kind} on {core.address}, thing {core.thing}; Ctrl-C ends it")
        built_for = re.search(r"-py(3[0-9]+)-", Path(artifact).name)
        major, minor = core.interpreter.version[:2]
        if built_for and built_for.group(1) != f"{major}{minor}":
            self.say(f"this zip is built for Python 3.{built_for.group(1)[1:]}: what is compiled in it may not load")

    def show_alarm(self, event: Dict[str, Any], place: str = "Detect") -> None:
        """Show an event of an alarm, as a sentence."""
        self.say(f"{place}: {sentence(event)}")

    def show(self, delivery: Delivery) -> None:
        """Show a delivery, and record it."""
        event = event_of(delivery)
        if event is not None:
            self.show_alarm(event, delivery.topic)
            return
        if self._record is not None:
            self._write(delivery, self._record)
        if self._full:
            self._show_document(delivery)
        else:
            self.say(f"{time.strftime('%H:%M:%S', time.localtime(self._clock()))}  {self._lines.line(delivery)}")

    def say(self, text: str) -> None:
        """Print lines."""
        with self._lock:
            try:
                print(text, flush=True)
            except OSError:  # the reader of the pipe has gone, or the terminal was closed
                # what is printed from now on, and what is left in the buffer, goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                self._on_lost()

    def complain(self, text: str) -> None:
        """Print an error to standard error."""
        with self._lock, contextlib.suppress(OSError):  # where the terminal was closed
            print(f"{self._prog}: {text}", file=sys.stderr, flush=True)

    def _show_document(self, delivery: Delivery) -> None:
        verdict = delivery.verdict
        outcome = "ACCEPTED"
        if verdict is None:
            outcome = "no report topic, so no verdict"
        elif not verdict.accepted:
            outcome = f"REJECTED, {verdict.code}: {verdict.reason}"
        report = delivery.report
        if report is None:  # a topic of one's own, which nobody judges
            try:
                report = json.loads(delivery.payload)
            except ValueError:
                pass
        text = repr(delivery.payload[:MAX_SHOWN_BYTES]) if report is None else json.dumps(report, indent=2)
        # At once, so that no line of the function comes in between.
        self.say(f"{delivery.topic}, {len(delivery.payload)} bytes: {outcome}\n{text}")

    def _write(self, delivery: Delivery, record: TextIO) -> None:
        match = REPORT_TOPIC.fullmatch(delivery.topic)
        if match and delivery.verdict and delivery.verdict.accepted:
            try:
                record.write(json.dumps({"thing": match.group(1), **delivery.report}) + "\n")
                record.flush()
            except OSError as error:  # the run goes on: the core must still answer
                self._record = None
                self.complain(f"{record.name}: {error.strerror}: nothing more is recorded")
                with contextlib.suppress(OSError):  # what is in the buffer can't be written at the end either
                    record.close()
