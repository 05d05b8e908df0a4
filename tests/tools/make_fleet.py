"""Write recorded reports of a made-up fleet as a rule and Data Firehose store them, to try the tools at that size.

    python tests/tools/make_fleet.py FOLDER [--devices 1000] [--days 30] [--layout hours] [--seed 1]

1,000 devices for 30 days are 8.64 million reports and about 9 GB. The same arguments give the same bytes. Layouts:
    hours     YYYY/MM/DD/HH/reports-1, an hour of all devices, concatenated as Firehose does, with `thing`
    lines     the same, one report per line
    hive      thing=NAME/date=DATE/reports, one report per line, which does not name its thing
    devices   NAME.jsonl, all reports of a device

A device has its own ports, peers and traffic that follows the day. One in twenty is attacked for some hours: it scans,
listens on a port that it never had, and sends what it should not.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from math import pi, sin
from pathlib import Path

BEGIN = 1767225600  # 2026-01-01T00:00:00Z
INTERVAL = 300
DAY = 86400
HOUR = 3600
ATTACKED = 20  # one device in so many
ATTACK_HOURS = 3
MALICIOUS = ("203.0.113.66", "203.0.113.67")
LAYOUTS = ("hours", "lines", "hive", "devices")


@dataclass(frozen=True)
class Device:
    """A device of the fleet.

    listening: the members of a report that list its ports
    peers: the addresses that it talks to, the first two in every report
    scale: of its traffic
    shift: seconds by which its day is later than midnight, and its reports later than the full five minutes
    attack: from when to when it is attacked, epoch seconds; (0, 0): it is not
    """

    name: str
    listening: str
    peers: tuple[str, ...]
    scale: int
    shift: int
    attack: tuple[int, int]


def device(seed: int, number: int, days: int) -> Device:
    """Return a device, the same for the same arguments."""
    rng = random.Random(f"{seed}/{number}")
    ports = sorted({22, *rng.sample((80, 443, 502, 1883, 5353, 8080, 8443, 8883, 9100, 20000), rng.randint(1, 5))})
    udp = sorted(rng.sample((67, 68, 123, 161, 5353, 5683), rng.randint(1, 3)))
    subnet = rng.randint(0, 40)
    peers = tuple(f"198.51.100.{rng.randint(1, 60)}" for _ in range(4)) + tuple(
        f"10.20.{subnet}.{rng.randint(1, 254)}" for _ in range(rng.randint(2, 6))
    )
    attack = (0, 0)
    if number % ATTACKED == 7:
        start = BEGIN + rng.randrange(days * DAY)
        attack = (start, start + ATTACK_HOURS * HOUR)
    return Device(
        f"gateway-{number:04}",
        f"{_ports('tcp', ports)},{_ports('udp', udp)}",
        peers,
        rng.randint(20, 400),
        rng.randrange(DAY),
        attack,
    )


def _ports(protocol: str, ports: list[int]) -> str:
    entries = ",".join(f'{{"port":{port},"interface":"0.0.0.0"}}' for port in ports)
    return f'"listening_{protocol}_ports":{{"ports":[{entries}],"total":{len(ports)}}}'


def reports(one: Device, seed: int, begin: int, end: int, named: bool) -> Iterator[str]:
    """Yield the reports of a device from one time to another, epoch seconds. named: with its thing."""
    rng = random.Random(f"{seed}/{one.name}/{begin}")
    thing = f',"thing":"{one.name}"' if named else ""
    offset = one.shift % INTERVAL
    for time in range(begin + offset, end, INTERVAL):
        day = 1.2 + sin(2 * pi * ((time + one.shift) % DAY) / DAY)
        rate = int(one.scale * 1000 * day * (0.8 + 0.4 * rng.random()))
        peers = list(one.peers[: 2 + int(rng.random() * (len(one.peers) - 1))])
        listening = one.listening
        if one.attack[0] <= time < one.attack[1]:
            rate *= 30
            peers += [MALICIOUS[0]] * 40 + [MALICIOUS[1]]
            listening = listening.replace('"ports":[', '"ports":[{"port":4444,"interface":"0.0.0.0"},', 1)
        port = 40000 + time // INTERVAL * 7 % 20000
        connections = ",".join(
            f'{{"remote_addr":"{peer}:8883","local_port":{port + index},"local_interface":"eth0"}}'
            for index, peer in enumerate(peers)
        )
        traffic = f'"bytes_in":{rate},"bytes_out":{rate // 3},"packets_in":{rate // 700},"packets_out":{rate // 900}'
        yield (
            f'{{"header":{{"report_id":{time},"version":"1.0"}},'
            f'"metrics":{{{listening},"network_stats":{{{traffic}}},'
            f'"tcp_connections":{{"established_connections":{{"connections":[{connections}],"total":{len(peers)}}}}}}},'
            f'"custom_metrics":{{"cpu_usage":[{{"number":{int(100 * day + rng.random() * 300) / 10}}}],'
            f'"memory_usage":[{{"number":{int(400 + 20 * day) / 10}}}]}}{thing}}}'
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write, made if it is not there")
    parser.add_argument("--devices", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--days", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--layout", choices=LAYOUTS, default="hours", help="(default: %(default)s)")
    parser.add_argument("--gzip", action="store_true", help="compress each file")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives another fleet (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="(default: %(default)s)")
    options = parser.parse_args(argv)
    write = partial(_write, options.folder, options.seed, options.devices, options.days, options.layout, options.gzip)
    count = options.days * 24 if options.layout in ("hours", "lines") else options.devices
    if options.processes == 1:
        size = sum(map(write, range(count)))
    else:
        with multiprocessing.Pool(options.processes) as pool:
            size = sum(pool.imap_unordered(write, range(count)))
    print(f"{options.devices * options.days * DAY // INTERVAL:,} reports, {size:,} bytes")
    return 0


def _write(folder: Path, seed: int, devices: int, days: int, layout: str, compress: bool, number: int) -> int:
    """Write the files of an hour or a device, and return their size."""
    if layout in ("hours", "lines"):
        begin = BEGIN + number * HOUR
        hour = datetime.fromtimestamp(begin, timezone.utc)
        texts = [
            text
            for one in (device(seed, index, days) for index in range(devices))
            for text in reports(one, seed, begin, begin + HOUR, True)
        ]
        path = folder / hour.strftime("%Y/%m/%d/%H") / "reports-1"
        return _save(path, ("\n" if layout == "lines" else "").join(texts), compress)
    one = device(seed, number, days)
    if layout == "devices":
        return _save(
            folder / f"{one.name}.jsonl", "\n".join(reports(one, seed, BEGIN, BEGIN + days * DAY, False)), compress
        )
    size = 0
    for begin in range(BEGIN, BEGIN + days * DAY, DAY):
        date = datetime.fromtimestamp(begin, timezone.utc).strftime("%Y-%m-%d")
        path = folder / f"thing={one.name}" / f"date={date}" / "reports"
        size += _save(path, "\n".join(reports(one, seed, begin, begin + DAY, False)), compress)
    return size


def _save(path: Path, text: str, compress: bool) -> int:
    content = f"{text}\n".encode()
    if compress:
        path, content = path.with_name(path.name + ".gz"), gzip.compress(content, 1, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
