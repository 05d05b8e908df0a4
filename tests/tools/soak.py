#!/usr/bin/env python3
"""Run the connector's zip under a local core with random faults for hours; check that nothing grows or is lost.

    zip=$(./build_zip.sh | tail -n 1)
    "$(packaging/venv.sh build/venv packaging/requirements.txt)" tests/tools/soak.py "${zip% *}" --hours 24

Prints a line now and then: accepted reports, faults, and the function's memory, threads and open files. Ends at Ctrl-C,
after --hours, or as soon as something is wrong: a rejected report, an id that does not increase, no report for too
long, growth, or an end of the function. Loopback only.

exit codes: 0 nothing was wrong; 1 something was; 2 wrong usage; 130 Ctrl-C
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "packaging")]

FAULTS = ("status:400", "status:500", "status:503", "reset", "cut", "slow", "full", "restart", "refuse", "hang")
WARM_UP = 600.0  # seconds after which the function should not grow any more
GROWTH_KB = 4096
MAX_MORE_THREADS = 9  # each unanswered call holds a thread and a connection
SILENCE = 300.0  # seconds that the faults here can't explain, over two intervals


class Held(NamedTuple):
    """What a process holds."""

    resident: int  # KB
    threads: int
    descriptors: int


class Broken(Exception):
    """Something is wrong."""


def held(pid: int) -> Held:
    """Return what a process of ours holds."""
    fields: Dict[str, str] = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        fields[name] = value
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Held(int(fields["VmRSS"].split()[0]), int(fields["Threads"]), descriptors)


def check_growth(first: Held, now: Held) -> None:
    """Raise Broken where the function holds more than at the first time, and more than faults explain."""
    if now.resident > first.resident + GROWTH_KB:
        raise Broken(f"memory grew from {first.resident} to {now.resident} KB")
    if now.threads > first.threads + MAX_MORE_THREADS:
        raise Broken(f"threads grew from {first.threads} to {now.threads}")
    if now.descriptors > first.descriptors + MAX_MORE_THREADS:
        raise Broken(f"open files grew from {first.descriptors} to {now.descriptors}")


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line; return the exit code."""
    options = parse(argv)
    from local_core import Delivery, LocalCore, LocalCoreError  # here, so that --help works without their packages

    rng = random.Random(options.seed)
    counts: Counter[str] = Counter()
    wrong: List[str] = []
    last = {"id": 0, "moment": time.monotonic()}

    def delivered(delivery: Delivery) -> None:
        verdict = delivery.verdict
        if verdict is None or not verdict.accepted or delivery.report is None:
            wrong.append(f"a report was not accepted: {verdict}")
            return
        number = delivery.report["header"]["report_id"]
        if number <= last["id"]:
            wrong.append("report id {} came after {}".format(number, last["id"]))
        last["id"], last["moment"] = number, time.monotonic()
        counts["accepted"] += 1

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    core = LocalCore(options.artifact, interval=options.interval, python=options.python, on_delivery=delivered)
    begun = time.monotonic()
    end = begun + options.hours * 3600.0
    next_line = begun + options.every
    first: Optional[Held] = None
    code = 0
    try:
        with core:
            say(f"{options.artifact}; a report every {options.interval} s, seed {options.seed}")
            while time.monotonic() < end:
                time.sleep(min(options.interval, max(0.0, end - time.monotonic())))
                now = time.monotonic()
                if wrong:
                    raise Broken(wrong[0])
                if core.exit_code is not None:
                    raise Broken(f"the function ended with exit code {core.exit_code}")
                if now - last["moment"] > 2 * options.interval + SILENCE:
                    raise Broken("no report for {:.0f} s".format(now - last["moment"]))
                if "Traceback" in core.function_log:
                    raise Broken("the function logged a traceback")
                state = held(core.pid)
                if first is None and now - begun > WARM_UP:
                    first = state
                if first is not None:
                    check_growth(first, state)
                if now >= next_line:
                    say_line(now - begun, state, counts)
                    next_line = now + options.every
                if rng.random() < 0.2:
                    kind, times = rng.choice(FAULTS), rng.randint(1, 4)
                    core.faults.add(kind, times)
                    counts["faults"] += times
                if rng.random() < 0.1:  # or unanswered calls would make the function pause for hours, as it should
                    core.faults.release()
    except KeyboardInterrupt:
        code = 130
    except (Broken, LocalCoreError, OSError) as error:
        say(f"BROKEN: {error}")
        say("\n".join(core.function_log.splitlines()[-20:]))
        code = 1
    if code != 1 and core.exit_code != 0:
        say(f"BROKEN: at its end the function's exit code is {core.exit_code}")
        code = 1
    say(f"{'ended' if code else 'nothing wrong'} after {time.monotonic() - begun:.0f} s: {dict(counts)}")
    return code


def say_line(seconds: float, state: Held, counts: Counter[str]) -> None:
    """Print a line of figures."""
    say(
        "{:8.0f} s  accepted {:6}  faults {:6}  resident {:6} KB  threads {:2}  open files {:3}".format(
            seconds, counts["accepted"], counts["faults"], *state
        )
    )


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def parse(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", metavar="ZIP", help="the zip that build_zip.sh made")
    parser.add_argument("--hours", type=float, default=24.0, help="stop after so long (default: %(default)s)")
    parser.add_argument("--interval", type=int, default=5, help="seconds between reports (default: %(default)s)")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between lines (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (default: %(default)s)")
    parser.add_argument("--python", help="interpreter for the function (default: the one that runs this)")
    options = parser.parse_args(argv)
    if options.interval < 3 or options.hours <= 0 or options.every <= 0:
        # Below 3 s a report that is a second late, as in the fault `slow`, is too close to the next for the service.
        parser.error("--interval is 3 or more, --hours and --every are above zero")
    return options


if __name__ == "__main__":
    sys.exit(main())
